/**
 * Accepting connections: how many, and who is let in.
 *
 * @module
 */
import { onAbort, whenAborted } from "../tools/abort.ts";
import {
  checkForAddress,
  LISTEN_DEFAULTS,
  LISTEN_OPTIONS,
  type ListenOptions,
  type RejectionReason,
  type ServerEvent,
  type ServerStats,
} from "./options.ts";
import { Admission, peerOf } from "./peers.ts";
import { type PendingConnection, PendingConnections } from "./pending.ts";
import { Timers } from "./timers.ts";
import {
  admit,
  AuthenticationError,
  BarredError,
  type LoginLimit,
  screenClient,
  type Verifier,
  VerifierError,
  verifierOf,
} from "../auth/auth.ts";
import {
  type Address,
  type Connection,
  type ConnectionEnd,
  type ConnectionInfo,
  isFailureOf,
  linkOf,
  makeConnection,
  Settings,
} from "../connection/connection.ts";
import {
  addressOf,
  bind,
  type Binding,
  checkEndpoint,
  closeSocket,
  dropPermissions,
  isClosed,
  isOfPeer,
  peerAddressOf,
  type Socket,
} from "../platform/platform.ts";
import { Events } from "../tools/events.ts";
import { Framing, type JsonValue } from "../framing/framing.ts";
import { Queue } from "../tools/queue.ts";
import { secureServer, TlsServerContext } from "../tls/tls.ts";
import {
  type OptionTable,
  readOptions,
  signal as signalOption,
} from "../tools/options.ts";
import { quiet } from "../tools/quiet.ts";
import { report } from "../tools/report.ts";

/** Most bytes of a frame before its sender is authenticated. */
const STRANGER_FRAME_BYTES = 16_384;
/**
 * Milliseconds after which a peer that is not let in yet makes room for another
 * one, where all places are taken.
 */
const STRANGER_TIME = 250;

/** A connection in its handshake, and how to give that up. */
interface Pending extends PendingConnection {
  readonly socket: Socket;
  readonly handshake: AbortController;
}

/** Options of {@linkcode Listener.accept}. */
export interface AcceptOptions {
  /** Gives the wait up when aborted; the next client goes to the next wait. */
  signal?: AbortSignal;
}

/** What each option may be. */
const ACCEPT_OPTIONS: OptionTable<AcceptOptions> = { signal: signalOption() };

/** A call of `accept`. */
interface Waiting<T> {
  resolve(connection: Connection<T>): void;
  reject(reason: unknown): void;
}

/** Accepts connections until it is closed. Made by `listen`. */
export class Listener<T = JsonValue>
  implements AsyncIterable<Connection<T>>, Disposable {
  readonly #binding: Binding;
  readonly #options: typeof LISTEN_DEFAULTS;
  readonly #settings: Settings;
  /** What a peer may send that is not authenticated yet. */
  readonly #strangerFraming: Framing;
  readonly #tls: TlsServerContext | undefined;
  readonly #verify: Verifier | undefined;
  readonly #events: Events<ServerEvent<T>>;
  readonly #admission: Admission;
  readonly #connections = new Set<Connection<T>>();
  readonly #pending = new PendingConnections<Pending>();
  /** Those that were refused and are still being told, in the same way. */
  readonly #refused = new Map<Connection<T>, number>();
  /** Connections that nobody has accepted yet, and who waits for one. */
  readonly #ready = new Queue<Connection<T>>();
  readonly #waiting = new Set<Waiting<T>>();
  #accepting = false;
  /** Descriptors that are taken. */
  #places = 0;
  /** What the connections that have ended have added up to. */
  #totals = {
    accepted: 0,
    rejected: 0,
    acceptFailures: 0,
    messagesReceived: 0,
    messagesSent: 0,
    bytesReceived: 0,
    bytesSent: 0,
  };
  /**
   * Aborted by `close`, so that a wait for a free place or after an error ends
   * with it.
   */
  readonly #closing = new AbortController();
  #changed: PromiseWithResolvers<void> | undefined;
  readonly #timers = new Timers();
  /** Whether the process waits for this listener, and for its connections. */
  #keepsAlive = true;
  readonly #onEnd = (connection: Connection<T>, end: ConnectionEnd) => {
    this.#refused.delete(connection);
    this.#leave(connection.remoteAddr as Address);
    if (!this.#connections.delete(connection)) return;
    const { stats } = connection;
    this.#totals.messagesReceived += stats.messagesReceived;
    this.#totals.messagesSent += stats.messagesSent;
    this.#totals.bytesReceived += stats.bytesReceived;
    this.#totals.bytesSent += stats.bytesSent;
    this.#events.emit({ type: "closed", connection, end, stats });
  };

  /** Opens the socket; use `listen`. */
  constructor(options: ListenOptions<T> = {}) {
    const given = readOptions(LISTEN_OPTIONS, options);
    const resolved = { ...LISTEN_DEFAULTS, ...given };
    this.#options = resolved;
    this.#events = new Events("@blackbelt/networking:server", resolved.onEvent);
    this.#admission = new Admission(resolved.maxConnectionsPerIp);
    this.#settings = new Settings(given);
    const { framing } = this.#settings;
    this.#strangerFraming = new Framing({
      ...framing,
      maxFrameBytes: Math.min(framing.maxFrameBytes, STRANGER_FRAME_BYTES),
    });
    this.#tls = resolved.tls && new TlsServerContext(resolved.tls);
    const endpoint = checkEndpoint(given, LISTEN_DEFAULTS);
    checkForAddress(given, endpoint);
    const { authenticate } = resolved;
    this.#verify = authenticate === undefined
      ? undefined
      : verifierOf(authenticate, endpoint, this.#tls !== undefined);
    this.#binding = bind(endpoint, given.removeStale ?? true);
    if (resolved.dropPermissions) dropPermissions(this.#binding.needs);
    this.#events.emit({ type: "listening", addr: this.addr });
    onAbort(resolved.signal, () => this.close(), this.#closing.signal);
  }

  /** Where peers connect to. */
  get addr(): Address {
    return this.#binding.addr;
  }

  /** The connections that are open. */
  get connections(): ReadonlySet<Connection<T>> {
    return this.#connections;
  }

  /** What happened so far, and what is open now. */
  stats(): ServerStats {
    const stats = {
      ...this.#totals,
      connections: this.#connections.size,
      pending: this.#pending.size,
      bytesQueued: 0,
    };
    for (const connection of this.#connections) {
      const open = connection.stats;
      stats.messagesReceived += open.messagesReceived;
      stats.messagesSent += open.messagesSent;
      stats.bytesReceived += open.bytesReceived;
      stats.bytesSent += open.bytesSent;
      stats.bytesQueued += open.bytesQueued;
    }
    return stats;
  }

  /**
   * Waits for the next connection. It outlives what goes wrong with single
   * ones, and waits where there are `maxConnections`.
   *
   * @throws {Deno.errors.BadResource} If the listener is closed.
   * @throws The reason of the signal, if that is aborted.
   */
  accept(options: AcceptOptions = {}): Promise<Connection<T>> {
    try {
      const { signal } = readOptions(ACCEPT_OPTIONS, options);
      return quiet(this.#acceptNext(signal));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #acceptNext(signal: AbortSignal | undefined): Promise<Connection<T>> {
    signal?.throwIfAborted();
    const connection = this.#ready.shift();
    if (connection !== undefined) return connection;
    const waiting = Promise.withResolvers<Connection<T>>();
    this.#waiting.add(waiting);
    if (!this.#accepting) this.#acceptAll();
    if (signal === undefined) return await waiting.promise;
    const stop = whenAborted(signal, (reason) => {
      this.#waiting.delete(waiting);
      waiting.reject(reason);
    });
    try {
      return await waiting.promise;
    } finally {
      stop();
    }
  }

  /** Accepts for as long as somebody waits for a connection. Never rejects. */
  async #acceptAll(): Promise<void> {
    this.#accepting = true;
    while (this.#waiting.size > 0) {
      // Where a stranger can make room, it is for somebody who is there.
      while (this.#isFull && this.#pending.size + this.#refused.size === 0) {
        await this.#change();
      }
      try {
        const socket = await this.#binding.accept();
        while (this.#isFull) await this.#makeRoom();
        // It may have come in the turn in which this was closed.
        if (this.#closing.signal.aborted) closeSocket(socket);
        else this.#take(socket);
      } catch (error) {
        if (
          this.#closing.signal.aborted ||
          isClosed(error)
        ) {
          for (const waiting of this.#waiting) waiting.reject(error);
          this.#waiting.clear();
          break;
        }
        this.#totals.acceptFailures++;
        const isPeers = isOfPeer(error);
        this.#events.emit({ type: "acceptFailed", error, isOfPeer: isPeers });
        // No reason to keep the next one waiting.
        if (!isPeers) await this.#pause();
      }
    }
    this.#accepting = false;
  }

  get #isFull(): boolean {
    return this.#places >= this.#options.maxConnections &&
      !this.#closing.signal.aborted;
  }

  /** Drops the oldest stranger if it had its time, and waits for a change. */
  async #makeRoom(): Promise<void> {
    const changed = this.#change();
    const [refused] = this.#refused;
    const pending = this.#pending.first();
    const since = Math.min(
      refused?.[1] ?? Infinity,
      pending?.since ?? Infinity,
    );
    const rest = since + STRANGER_TIME - performance.now();
    let stopTimer: (() => void) | undefined;
    if (rest > 0) stopTimer = this.#timers.start(rest, () => this.#wake());
    else if (since === refused?.[1]) refused[0].abort();
    else this.#dropPending();
    await changed;
    stopTimer?.();
  }

  #dropPending(): void {
    const first = this.#pending.first();
    if (first === undefined) return;
    this.#pending.delete(first);
    first.handshake.abort(new Rejection("maxPending"));
  }

  #take(socket: Socket): void {
    const info: ConnectionInfo<T> & { remoteAddr: Address } = {
      localAddr: this.addr.transport === "unix"
        ? this.addr
        : addressOf(socket.localAddr),
      remoteAddr: peerAddressOf(socket.remoteAddr),
      canProbe: socket.localAddr.transport === "tcp",
      onEnd: this.#onEnd,
      screen: this.#verify === undefined ? screenClient : undefined,
    };
    this.#places++;
    this.#totals.accepted++;
    const refusal = this.#enter(info.remoteAddr);
    if (refusal !== undefined) {
      this.#places--;
      socket.close();
      this.#reject(info.remoteAddr, refusal);
    } else if (this.#tls === undefined && this.#verify === undefined) {
      this.#deliver(makeConnection<T>(socket, this.#settings, info));
    } else this.#shakeHands(socket, info);
  }

  /** Counts a peer in, unless there is a reason against it. */
  #enter(remoteAddr: Address): RejectionReason | undefined {
    const peer = peerOf(remoteAddr);
    if (peer === undefined) return;
    return this.#admission.enter(peer) ? undefined : "maxConnectionsPerIp";
  }

  #leave(remoteAddr: Address): void {
    this.#places--;
    const peer = peerOf(remoteAddr);
    if (peer !== undefined) this.#admission.leave(peer);
    this.#wake();
  }

  #reject(remoteAddr: Address, reason: RejectionReason, error?: unknown): void {
    this.#totals.rejected++;
    this.#events.emit({ type: "rejected", remoteAddr, reason, error });
  }

  #deliver(connection: Connection<T>): void {
    this.#connections.add(connection);
    if (!this.#keepsAlive) connection.unref();
    this.#events.emit({ type: "connected", connection });
    const [waiting] = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting.delete(waiting);
      waiting.resolve(connection);
    } else if (this.#closing.signal.aborted) connection.close();
    else this.#ready.push(connection);
  }

  /** What stands between accepting a peer and handling it. Never rejects. */
  async #shakeHands(
    socket: Socket,
    info: ConnectionInfo<T> & { remoteAddr: Address },
  ): Promise<void> {
    const handshake = new AbortController();
    const { signal } = handshake;
    const { maxPending, handshakeTimeout } = this.#options;
    const pending = {
      peer: peerOf(info.remoteAddr),
      since: performance.now(),
      socket,
      handshake,
    };
    if (!this.#keepsAlive) socket.unref();
    this.#pending.add(pending);
    if (this.#pending.size > maxPending) this.#dropPending();
    const stopTimer = this.#timers.start(
      handshakeTimeout,
      () => handshake.abort(new Rejection("handshakeTimeout")),
    );
    let connection: Connection<T> | undefined;
    try {
      const secure = this.#tls && await secureServer(socket, this.#tls, signal);
      connection = makeConnection<T>(
        secure?.duplex ?? socket,
        this.#settings,
        { ...info, tls: secure?.info },
      );
      const link = linkOf(connection);
      if (this.#verify !== undefined) {
        link.limit(this.#strangerFraming, true);
        link.identity = await admit(
          link,
          this.#verify,
          signal,
          this.#limitFor(info.remoteAddr),
        );
        link.limit(this.#settings.framing);
      }
      signal.throwIfAborted();
      // It may have ended since the verdict, and would never be told closed.
      if (link.isEnded) throw link.gone("let the peer in");
      this.#deliver(connection);
    } catch (error) {
      this.#turnAway(socket, connection, info.remoteAddr, signal, error);
    } finally {
      this.#pending.delete(pending);
      stopTimer();
    }
  }

  /** Counts the failures of an address, so that few can guess. */
  #limitFor(remoteAddr: Address): LoginLimit | undefined {
    const peer = peerOf(remoteAddr);
    if (peer === undefined) return;
    const admission = this.#admission;
    return {
      isBarred: () => admission.isBarred(peer, performance.now()),
      fail: () => admission.fail(peer, performance.now()),
    };
  }

  #turnAway(
    socket: Socket,
    connection: Connection<T> | undefined,
    remoteAddr: Address,
    { reason }: AbortSignal,
    cause: unknown,
  ): void {
    const isRefused = cause instanceof AuthenticationError;
    const late = reason instanceof Rejection &&
      reason.reason === "handshakeTimeout";
    if (connection === undefined) {
      closeSocket(socket);
      this.#leave(remoteAddr);
    } else if ((isRefused || late) && !this.#closing.signal.aborted) {
      if (!linkOf(connection).isEnded) {
        this.#refused.set(connection, performance.now());
      }
      linkOf(connection).closeFor({ clean: false, cause });
    } else connection.abort(reason ?? cause);
    if (
      cause instanceof VerifierError &&
      !this.#events.isHeard &&
      !isFailureOf(linkOf(connection!), cause.cause)
    ) report(cause.cause);
    this.#reject(
      remoteAddr,
      reason instanceof Rejection
        ? reason.reason
        : connection === undefined
        ? "tls"
        : cause instanceof BarredError
        ? "failures"
        : "authentication",
      cause,
    );
  }

  /** Resolves when a connection has ended, a pause is over, or all is. */
  #change(): Promise<void> {
    return (this.#changed ??= Promise.withResolvers()).promise;
  }

  #wake(): void {
    this.#changed?.resolve();
    this.#changed = undefined;
  }

  async #pause(): Promise<void> {
    let over = false;
    const stopTimer = this.#timers.start(this.#options.acceptBackoff, () => {
      over = true;
      this.#wake();
    });
    while (!over && !this.#closing.signal.aborted) await this.#change();
    stopTimer();
  }

  /**
   * Stops accepting. Connections that are open stay open. It may be called more
   * than once.
   */
  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#binding.close();
    for (const { handshake } of this.#pending) {
      handshake.abort(new Rejection("closed"));
    }
    for (const connection of this.#refused.keys()) connection.abort();
    for (let next; (next = this.#ready.shift()) !== undefined;) next.close();
    this.#wake();
  }

  /**
   * Makes the listener and all its connections keep the process alive, as they
   * do by default.
   */
  ref(): void {
    this.#keepsAlive = true;
    for (const one of this.#all()) one.ref();
  }

  /**
   * Lets the process end although the listener waits for connections, or a
   * connection for its peer.
   */
  unref(): void {
    this.#keepsAlive = false;
    for (const one of this.#all()) one.unref();
  }

  /** All that keeps the process alive. */
  *#all(): Generator<{ ref(): void; unref(): void }> {
    yield this.#binding;
    yield this.#timers;
    for (const { socket } of this.#pending) yield socket;
    yield* this.#refused.keys();
    yield* this.#connections;
  }

  /**
   * Iterates over the connections as they come, and ends when the listener is
   * closed. Leaving the iteration closes the listener.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Connection<T>, void> {
    try {
      for (;;) yield await this.accept();
    } catch (error) {
      if (!this.#closing.signal.aborted) throw error;
    } finally {
      this.close();
    }
  }

  /** The same as {@linkcode Listener.close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Why a peer is turned away in the middle of its handshake. */
class Rejection extends Error {
  constructor(readonly reason: RejectionReason) {
    super(`Cannot let the peer in: ${reason}`);
  }
}
