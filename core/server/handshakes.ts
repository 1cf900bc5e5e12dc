/**
 * Connections in their handshakes, a bounded number at a time.
 *
 * @module
 */
import { AuthenticationError, BarredError } from "../auth/auth.ts";
import {
  type Address,
  type Connection,
  type ConnectionInfo,
  type Link,
  linkOf,
  type Settings,
} from "../connection/connection.ts";
import {
  type Handshake,
  type HandshakeSteps,
  shakeHands,
} from "../handshake/handshake.ts";
import type { Socket } from "../platform/platform.ts";
import { startTimer } from "../tools/abort.ts";
import type { ListenOptions, RejectionReason } from "./options.ts";
import { firstToGo, peerOf } from "./peers.ts";
import type { Slots } from "./slots.ts";

const REASONS = {
  handshakeTimeout: "the handshake took too long (handshakeTimeout)",
  maxConnections:
    "no connection ended within handshakeTimeout (maxConnections)",
  maxPending: "too many handshakes are in progress (maxPending)",
  closed: "the server is closing",
};

/** Why a peer is given up in the middle of its handshake. */
class Rejection extends Error {
  constructor(readonly reason: keyof typeof REASONS) {
    super(`Cannot accept connection: ${REASONS[reason]}`);
  }
}

/** One that is not let in yet, or is being told that it is not. */
interface Pending<T> extends Handshake<T> {
  readonly peer: string | undefined;
  readonly socket: Socket;
  giveUp(reason: Rejection): void;
}

/** What a connection on a server knows of its two ends. */
export type AcceptedInfo<T> = ConnectionInfo<T> & {
  readonly remoteAddr: Address;
};

/** Who began the handshakes, and hears how each ended. */
export interface Entrance<T> {
  readonly settings: Settings;
  readonly options: Required<
    Pick<ListenOptions, "maxPending" | "handshakeTimeout">
  >;
  readonly slots: Slots;
  /** Takes a connection that has a slot. */
  deliver(connection: Connection<T>): void;
  /** Hears of a peer that was not let in, and has a connection or is gone. */
  refuse(
    info: AcceptedInfo<T>,
    reason: RejectionReason,
    error: unknown,
    connection: Connection<T> | undefined,
  ): void;
}

/** The server's half of a login, which waits for `enter` before it says yes. */
export type LetIn<T> = (
  link: Link<T>,
  signal: AbortSignal,
  enter: () => Promise<void> | undefined,
) => Promise<unknown>;

/** Has peers encrypt and log in, and hands on those that have. */
export class Handshakes<T> {
  readonly #encrypt: HandshakeSteps<T>["encrypt"];
  readonly #letIn: LetIn<T>;
  readonly #entrance: Entrance<T>;
  /** Those that are not done, the oldest first. */
  readonly #pending = new Set<Pending<T>>();
  /** Those that may come in, and wait for a slot. */
  readonly #ready = new Set<Pending<T>>();
  #isClosed = false;

  constructor(
    encrypt: HandshakeSteps<T>["encrypt"],
    letIn: LetIn<T> | undefined,
    entrance: Entrance<T>,
  ) {
    this.#encrypt = encrypt;
    this.#letIn = letIn ?? (async (_link, _signal, enter) => await enter());
    this.#entrance = entrance;
  }

  /** Number of peers that are not let in yet. */
  get size(): number {
    return this.#pending.size + this.#ready.size;
  }

  /** All that may keep the process alive. */
  *[Symbol.iterator](): Generator<{ ref(): void; unref(): void }> {
    for (const { connection, socket } of [...this.#pending, ...this.#ready]) {
      yield socket;
      if (connection !== undefined) yield connection;
    }
  }

  /** Begins one; where there are too many, another one makes room. */
  start(socket: Socket, info: AcceptedInfo<T>): void {
    const handshake = new AbortController();
    const pending: Pending<T> = {
      peer: peerOf(info.remoteAddr),
      socket,
      signal: handshake.signal,
      giveUp: (reason) => handshake.abort(reason),
    };
    this.#pending.add(pending);
    if (this.size > this.#entrance.options.maxPending) {
      const first = firstToGo(this.#pending)!;
      this.#pending.delete(first);
      first.giveUp(new Rejection("maxPending"));
    }
    this.#run(pending, info);
  }

  /** Never rejects. */
  async #run(pending: Pending<T>, info: AcceptedInfo<T>): Promise<void> {
    const { signal } = pending;
    const { settings, options, slots } = this.#entrance;
    // Who is pending keeps the process alive, its deadline does not.
    const stopTimer = startTimer(
      options.handshakeTimeout,
      () =>
        pending.giveUp(
          new Rejection(
            this.#ready.has(pending) ? "maxConnections" : "handshakeTimeout",
          ),
        ),
      false,
    );
    let hasSlot = false;
    const enter = async () => {
      this.#pending.delete(pending);
      this.#ready.add(pending);
      await slots.take(signal);
      hasSlot = true;
    };
    const steps: HandshakeSteps<T> = {
      encrypt: this.#encrypt,
      logIn: (link, signal) => this.#letIn(link, signal, enter),
    };
    try {
      const connection = await shakeHands(pending, steps, settings, info);
      // It may have ended since, and would never be told closed.
      const link = linkOf(connection);
      if (link.isEnded) throw link.gone("accept connection");
      this.#entrance.deliver(connection);
    } catch (error) {
      if (hasSlot) slots.release();
      this.#fail(pending, info, error);
    } finally {
      this.#ready.delete(pending);
      stopTimer();
    }
  }

  #fail(pending: Pending<T>, info: AcceptedInfo<T>, cause: unknown): void {
    const { connection, signal } = pending;
    const rejection: Rejection | undefined = signal.reason;
    const isTold = rejection === undefined
      ? cause instanceof AuthenticationError
      : rejection.reason === "handshakeTimeout" ||
        rejection.reason === "maxConnections";
    if (isTold && connection !== undefined && !this.#isClosed) {
      this.#tell(pending, connection, cause);
    } else {
      this.#pending.delete(pending);
      connection?.abort(rejection ?? cause);
    }
    const reason = rejection?.reason ??
      (connection === undefined
        ? "tls"
        : cause instanceof BarredError
        ? "failures"
        : "authentication");
    this.#entrance.refuse(info, reason, cause, connection);
  }

  /** Closes the connection once its peer has what was sent: it is pending. */
  #tell(pending: Pending<T>, connection: Connection<T>, cause: unknown): void {
    linkOf(connection).closeFor({ clean: false, cause });
    this.#pending.add(pending);
    pending.giveUp = (reason) => connection.abort(reason);
    connection.closed.then(() => this.#pending.delete(pending));
  }

  /** Gives up all that have begun. */
  close(): void {
    this.#isClosed = true;
    for (const pending of [...this.#pending, ...this.#ready]) {
      pending.giveUp(new Rejection("closed"));
    }
  }
}
