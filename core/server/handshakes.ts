/**
 * Connections in their handshakes, a bounded number at a time.
 *
 * @module
 */
import {
  AuthenticationError,
  BarredError,
  VerifierError,
} from "../auth/auth.ts";
import {
  type Address,
  type Connection,
  type ConnectionInfo,
  isFailureOf,
  linkOf,
  type Settings,
} from "../connection/connection.ts";
import {
  type Handshake,
  type HandshakeSteps,
  shakeHands,
} from "../handshake/handshake.ts";
import type { Socket } from "../platform/platform.ts";
import { abortable, startTimer } from "../tools/abort.ts";
import { report } from "../tools/report.ts";
import type { ListenOptions, RejectionReason } from "./options.ts";
import { firstToGo, peerOf } from "./peers.ts";

/** Why a peer is given up in the middle of its handshake. */
class Rejection extends Error {
  constructor(readonly reason: RejectionReason) {
    super(`Cannot let the peer in: ${reason}`);
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
  /** Whether as many connections are open as may be. */
  readonly isFull: boolean;
  /** Whether somebody hears why a verifier has failed. */
  readonly isHeard: boolean;
  /** Resolves when a connection has ended, or all is over. */
  change(): Promise<void>;
  deliver(connection: Connection<T>): void;
  reject(remoteAddr: Address, reason: RejectionReason, error: unknown): void;
  /** Called for a peer that is gone without having been a connection. */
  leave(remoteAddr: Address): void;
}

/** Has peers encrypt and log in, and hands on those that have. */
export class Handshakes<T> {
  readonly #steps: HandshakeSteps<T>;
  readonly #entrance: Entrance<T>;
  /** Those that are not done, the oldest first. */
  readonly #pending = new Set<Pending<T>>();
  /** Those that are done, and wait until fewer connections are open. */
  readonly #ready = new Set<Pending<T>>();
  #isClosed = false;

  constructor(steps: HandshakeSteps<T>, entrance: Entrance<T>) {
    this.#steps = steps;
    this.#entrance = entrance;
  }

  /** Number of peers that are not let in yet. */
  get size(): number {
    return this.#pending.size + this.#ready.size;
  }

  /** Number of those that only wait until fewer connections are open. */
  get ready(): number {
    return this.#ready.size;
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
    const { settings, options } = this.#entrance;
    // Who is pending keeps the process alive, its deadline does not.
    const stopTimer = startTimer(
      options.handshakeTimeout,
      () => pending.giveUp(new Rejection("handshakeTimeout")),
      false,
    );
    try {
      const connection = await shakeHands(
        pending,
        this.#steps,
        settings,
        info,
      );
      this.#pending.delete(pending);
      this.#ready.add(pending);
      while (this.#entrance.isFull) {
        await abortable(this.#entrance.change(), signal);
      }
      signal.throwIfAborted();
      // It may have ended since, and would never be told closed.
      const link = linkOf(connection);
      if (link.isEnded) throw link.gone("let the peer in");
      this.#entrance.deliver(connection);
    } catch (error) {
      this.#fail(pending, info.remoteAddr, error);
    } finally {
      this.#ready.delete(pending);
      stopTimer();
    }
  }

  #fail(pending: Pending<T>, remoteAddr: Address, cause: unknown): void {
    const { connection, signal } = pending;
    const rejection: Rejection | undefined = signal.reason;
    const isTold = rejection === undefined
      ? cause instanceof AuthenticationError
      : rejection.reason === "handshakeTimeout";
    if (isTold && connection !== undefined && !this.#isClosed) {
      this.#tell(pending, connection, cause);
    } else {
      this.#pending.delete(pending);
      connection?.abort(rejection ?? cause);
      if (connection === undefined) this.#entrance.leave(remoteAddr);
    }
    if (
      cause instanceof VerifierError && !this.#entrance.isHeard &&
      !isFailureOf(linkOf(connection!), cause.cause)
    ) report(cause.cause);
    const reason = rejection?.reason ??
      (connection === undefined
        ? "tls"
        : cause instanceof BarredError
        ? "failures"
        : "authentication");
    this.#entrance.reject(remoteAddr, reason, cause);
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
