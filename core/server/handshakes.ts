/**
 * Connections in their handshakes, a bounded number at a time.
 *
 * @module
 */
import {
  admit,
  AuthenticationError,
  BarredError,
  type Verifier,
} from "../auth/auth.ts";
import {
  type Address,
  type Connection,
  type ConnectionInfo,
  type Link,
  linkOf,
  type Settings,
} from "../connection/connection.ts";
import { type Framing, framingOf } from "../framing/framing.ts";
import {
  type Handshake,
  type HandshakeSteps,
  shakeHands,
} from "../handshake/handshake.ts";
import type { Socket } from "../platform/platform.ts";
import { startTimer } from "../tools/abort.ts";
import type { RejectedEvent } from "./events.ts";
import type { LISTEN_DEFAULTS } from "./options.ts";
import { type Admission, firstToGo, peerOf } from "./peers.ts";
import type { Slots } from "./slots.ts";

/** Most bytes of a frame before its sender is authenticated. */
const PENDING_FRAME_BYTES = 16_384;

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

/**
 * A handshake in progress, or a peer that is being told that it is rejected.
 */
interface Pending<T> extends Handshake<T> {
  readonly peer: string | undefined;
  readonly socket: Socket;
  giveUp(reason: Rejection): void;
}

/** What a connection on a server knows of its two ends. */
export type AcceptedInfo<T> = ConnectionInfo<T> & {
  readonly remoteAddr: Address;
};

/** What handshakes are made with, and what is told how each ended. */
export interface Entrance<T> {
  readonly encrypt: HandshakeSteps<T>["encrypt"];
  readonly verify: Verifier | undefined;
  readonly options: Pick<
    typeof LISTEN_DEFAULTS,
    "maxPending" | "handshakeTimeout"
  >;
  readonly settings: Settings;
  readonly admission: Admission;
  readonly slots: Slots;
  /** Takes a connection that has a slot. */
  deliver(connection: Connection<T>): void;
  /** Takes a peer that was rejected, and its connection unless it is gone. */
  refuse(event: RejectedEvent, connection: Connection<T> | undefined): void;
}

/** Has peers encrypt and log in, and hands on those that have. */
export class Handshakes<T> {
  readonly #entrance: Entrance<T>;
  /** The framing before the login. */
  readonly #small: Framing;
  /** Those that are not done, the oldest first. */
  readonly #pending = new Set<Pending<T>>();
  /** Those that may come in, and wait for a slot. */
  readonly #ready = new Set<Pending<T>>();
  #isClosed = false;

  constructor(entrance: Entrance<T>) {
    const { framing } = entrance.settings;
    this.#entrance = entrance;
    this.#small = framingOf({
      ...framing,
      maxFrameBytes: Math.min(framing.maxFrameBytes, PENDING_FRAME_BYTES),
    });
  }

  /** Number of handshakes in progress. */
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
    const { encrypt, settings, options, slots } = this.#entrance;
    // A pending peer keeps the process alive, its deadline does not.
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
    const logIn = (link: Link<T>) => this.#letIn(link, pending, enter);
    try {
      const connection = await shakeHands(
        pending,
        { encrypt, logIn },
        settings,
        info,
      );
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

  /** The server's half of a login; what comes before it is small. */
  async #letIn(
    link: Link<T>,
    { peer, signal }: Pending<T>,
    enter: () => Promise<void>,
  ): Promise<unknown> {
    const { verify, settings: { framing }, admission } = this.#entrance;
    if (verify === undefined) return await enter();
    link.limit(this.#small, true);
    const limit = admission.limitFor(peer);
    const identity = await admit(link, verify, signal, limit, enter);
    link.limit(framing);
    return identity;
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
    const { remoteAddr } = info;
    this.#entrance.refuse(
      { type: "rejected", remoteAddr, reason, error: cause },
      connection,
    );
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
