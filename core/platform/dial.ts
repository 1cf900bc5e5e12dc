/**
 * Opening the socket of a client.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { onAbort } from "../tools/abort.ts";
import type { Address } from "../connection/connection.ts";
import { addressText } from "../tools/address.ts";
import { startTimer } from "../tools/timer.ts";
import { closeSocket, type Socket, tuned } from "./socket.ts";

/** Milliseconds before a failure that passes is tried again, doubled each time. */
const FIRST_PAUSE = 1;
/** Most milliseconds between two attempts. */
const LONGEST_PAUSE = 50;

/**
 * What passes by itself: the backlog of a Unix socket is full (TCP waits on its
 * own), or this machine is out of descriptors or buffers for the moment.
 */
const PASSING_CODES = ["EAGAIN", "EMFILE", "ENFILE", "ENOBUFS"];

/** How long to try. */
export interface DialOptions {
  /** Milliseconds until it is given up. */
  readonly timeout: number;
  /** Gives up when aborted. */
  readonly signal: AbortSignal | undefined;
}

/**
 * Connects to an address. Failures that pass are tried again until the time is
 * over. Once it is given up, nothing stays open.
 *
 * @throws {Deno.errors.ConnectionRefused} If nobody listens there.
 * @throws {DOMException} With the name `TimeoutError`, if it takes too long.
 * @throws The reason of the signal, if that is aborted.
 */
export async function dial(
  endpoint: Address,
  { timeout, signal }: DialOptions,
): Promise<Socket> {
  signal?.throwIfAborted();
  const attempt = new Attempt(endpoint);
  const stopTimer = startTimer(timeout, () => attempt.giveUpLate(timeout));
  const stopListening = onAbort(signal, (reason) => attempt.giveUp(reason));
  try {
    return tuned(await attempt.run());
  } finally {
    stopTimer();
    stopListening();
  }
}

class Attempt {
  readonly #endpoint: Address;
  /** What the platform hears: later than who waits for the connection. */
  readonly #abandoned = new AbortController();
  readonly #givenUp = Promise.withResolvers<never>();
  #isGivenUp = false;
  /** Why the last try failed. */
  #cause: unknown;

  constructor(endpoint: Address) {
    this.#endpoint = endpoint;
  }

  giveUp(reason: unknown): void {
    this.#isGivenUp = true;
    this.#givenUp.reject(reason);
    // A socket that is aborted at the moment when it is connected is lost to the
    // platform. By now the platform has told of those that are.
    setImmediate(() => this.#abandoned.abort());
  }

  giveUpLate(timeout: number): void {
    const error = new DOMException(
      `Cannot connect to ${
        addressText(this.#endpoint)
      }: no answer after ${timeout} ms (connectTimeout)`,
      "TimeoutError",
    );
    if (this.#cause !== undefined) {
      Object.defineProperty(error, "cause", { value: this.#cause });
    }
    this.giveUp(error);
  }

  /** Resolves to a connection, or rejects when there will be none. */
  async run(): Promise<Deno.Conn> {
    const trying = this.#tryUntilGivenUp();
    // One that comes late is closed, and nobody waits for an error.
    trying.catch(() => {});
    const conn = await Promise.race([this.#givenUp.promise, trying]);
    // It may have been given up since the race was over.
    return this.#isGivenUp ? this.#refuse(conn) : conn;
  }

  #refuse(conn: Deno.Conn): Promise<never> {
    closeSocket(conn);
    return this.#givenUp.promise;
  }

  async #tryUntilGivenUp(): Promise<Deno.Conn> {
    for (let pause = FIRST_PAUSE;; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      try {
        const conn = await this.#open();
        return this.#isGivenUp ? await this.#refuse(conn) : checked(conn);
      } catch (error) {
        if (this.#isGivenUp || !isPassing(error)) throw error;
        this.#cause = error;
      }
      await this.#pause(pause);
    }
  }

  #open(): Promise<Deno.Conn> {
    const endpoint = this.#endpoint;
    return endpoint.transport === "tcp"
      ? Deno.connect({ ...endpoint, signal: this.#abandoned.signal })
      : Deno.connect(endpoint);
  }

  /** Waits, but not once it is given up. */
  async #pause(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const stopTimer = startTimer(milliseconds, resolve);
    try {
      await Promise.race([promise, this.#givenUp.promise]);
    } finally {
      stopTimer();
    }
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof Deno.errors.WouldBlock ||
    error instanceof Error && "code" in error &&
      PASSING_CODES.includes(String(error.code));
}

/**
 * Where nobody listens on a port of this machine, a connection to it may be
 * given that same port as its own, and is then connected to itself.
 */
function checked(conn: Deno.Conn): Deno.Conn {
  const { localAddr, remoteAddr } = conn;
  if (
    localAddr.transport !== "tcp" || remoteAddr.transport !== "tcp" ||
    localAddr.port !== remoteAddr.port ||
    localAddr.hostname !== remoteAddr.hostname
  ) return conn;
  closeSocket(conn);
  throw new Deno.errors.ConnectionRefused(
    `Cannot connect: nobody listens on port ${remoteAddr.port}`,
  );
}
