/**
 * Opening the socket of a client.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { abortable, onTimeout, pause, timeoutError } from "../tools/abort.ts";
import type { Address } from "../connection/connection.ts";
import { addressText } from "../tools/address.ts";
import { permissionsFor, requirePermissions } from "./permissions.ts";
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
 * Connects to an address, where that is allowed. Failures that pass are tried again until the time is
 * over. Once it is given up, nothing stays open.
 *
 * @throws {Deno.errors.ConnectionRefused} If no server listens there.
 * @throws {Deno.errors.NotCapable} If permissions are missing.
 * @throws {DOMException} With the name `TimeoutError`, if it takes too long.
 * @throws The signal's reason, if it is aborted.
 */
export async function dial(
  endpoint: Address,
  { timeout, signal }: DialOptions,
): Promise<Socket> {
  signal?.throwIfAborted();
  requirePermissions("connect to", endpoint, permissionsFor(endpoint));
  const givenUp = new AbortController();
  // What the platform is told: later than the caller of `dial`.
  const abandoned = new AbortController();
  const failure: { cause?: unknown } = {};
  const stop = onTimeout(
    timeout,
    signal,
    () => late(endpoint, timeout, failure),
    (reason) => givenUp.abort(reason),
  );
  const trying = keepTrying(
    () => open(endpoint, abandoned.signal),
    givenUp.signal,
    failure,
  );
  try {
    const conn = await abortable(trying, givenUp.signal);
    // It may have been given up since the race was over.
    givenUp.signal.throwIfAborted();
    return tuned(conn);
  } catch (error) {
    trying.then(closeSocket, () => {});
    // A socket that is aborted at the moment when it is connected is lost to the
    // platform. By then the platform has told of those that are.
    setImmediate(() => abandoned.abort());
    throw error;
  } finally {
    stop();
  }
}

function late(
  endpoint: Address,
  timeout: number,
  failure: { cause?: unknown },
): DOMException {
  const error = timeoutError(
    `Cannot connect to ${
      addressText(endpoint)
    }: no answer after ${timeout} ms (connectTimeout)`,
  );
  if (failure.cause === undefined) return error;
  return Object.defineProperty(error, "cause", { value: failure.cause });
}

/** Tries until it is given up; `failure` tells why the last try failed. */
async function keepTrying(
  connect: () => Promise<Deno.Conn>,
  givenUp: AbortSignal,
  failure: { cause?: unknown },
): Promise<Deno.Conn> {
  for (let delay = FIRST_PAUSE;; delay = Math.min(2 * delay, LONGEST_PAUSE)) {
    try {
      return checked(await connect());
    } catch (error) {
      if (givenUp.aborted || !isPassing(error)) throw error;
      failure.cause = error;
    }
    await pause(delay, givenUp);
    givenUp.throwIfAborted();
  }
}

function open(endpoint: Address, signal: AbortSignal): Promise<Deno.Conn> {
  return endpoint.transport === "tcp"
    ? Deno.connect({ ...endpoint, signal })
    : Deno.connect(endpoint);
}

/**
 * Whether connecting to the same address would fail again: it is not allowed, or
 * there is no such host. That its name cannot be looked up now may pass.
 */
export function isHopeless(error: unknown): boolean {
  return error instanceof Deno.errors.NotCapable ||
    error instanceof Deno.errors.PermissionDenied ||
    error instanceof URIError || error instanceof Error &&
      /failed to lookup address information: (?!Temporary)|no such host/i.test(
        error.message,
      );
}

function isPassing(error: unknown): boolean {
  return error instanceof Deno.errors.WouldBlock ||
    error instanceof Error && "code" in error &&
      PASSING_CODES.includes(String(error.code));
}

/**
 * Where no server listens on a port of this machine, a connection to it may be
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
    `Cannot connect: no server listens on port ${remoteAddr.port}`,
  );
}
