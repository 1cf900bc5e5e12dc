/**
 * Accepting connections: how many, and who is let in.
 *
 * @module
 */
import {
  admit,
  halfOf,
  screenClient,
  type Verifier,
  VerifierError,
} from "../auth/auth.ts";
import {
  type Address,
  type Connection,
  type ConnectionEnd,
  isFailureOf,
  linkOf,
  makeConnection,
  Settings,
} from "../connection/connection.ts";
import { framingOf } from "../framing/framing.ts";
import {
  addressOf,
  type Binding,
  checkEndpoint,
  closeSocket,
  dropPermissions,
  isClosed,
  isOfPeer,
  type Socket,
} from "../platform/platform.ts";
import { secureServer } from "../tls/tls.ts";
import { onAbort, pause } from "../tools/abort.ts";
import { Events } from "../tools/events.ts";
import { readOptions } from "../tools/options.ts";
import { report } from "../tools/report.ts";
import {
  type AcceptedInfo,
  type Entrance,
  Handshakes,
  type LetIn,
} from "./handshakes.ts";
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
import { Slots } from "./slots.ts";

/** Most bytes of a frame before its sender is authenticated. */
const PENDING_FRAME_BYTES = 16_384;

/** Opens a socket that listens. */
export type Bind = (address: Address, removeStale: boolean) => Binding;

/** Who has the connections. */
export interface ConnectionConsumer<T> {
  /** Whether to accept one more. */
  readonly isWaiting: boolean;
  /** Called once with each connection. */
  take(connection: Connection<T>): void;
  /** Called once, when there will be no more. */
  close?(): void;
}

/** Accepts connections and hands each to a consumer, until it is closed. */
export class Acceptor<T> implements Entrance<T> {
  readonly #binding: Binding;
  readonly #consumer: ConnectionConsumer<T>;
  readonly options: typeof LISTEN_DEFAULTS;
  readonly settings: Settings;
  readonly #events: Events<ServerEvent<T>>;
  readonly #admission: Admission;
  readonly slots: Slots;
  /** Nothing where a connection is one as soon as it is accepted. */
  readonly #handshakes: Handshakes<T> | undefined;
  readonly #screen: typeof screenClient | undefined;
  readonly #connections = new Set<Connection<T>>();
  #isAccepting = false;
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
  /** Aborted by `close`, so that a wait for a change ends with it. */
  readonly #closing = new AbortController();
  /** Whether the process waits for this, and for its connections. */
  #keepsAlive = true;
  readonly #onEnd = (connection: Connection<T>, end: ConnectionEnd) => {
    this.#admission.leave(peerOf(connection.remoteAddr!));
    if (!this.#connections.delete(connection)) return;
    this.slots.release();
    const stats = connection.stats();
    this.#totals.messagesReceived += stats.messagesReceived;
    this.#totals.messagesSent += stats.messagesSent;
    this.#totals.bytesReceived += stats.bytesReceived;
    this.#totals.bytesSent += stats.bytesSent;
    this.#events.emit({ type: "closed", connection, end, stats });
  };

  /** Opens the socket. */
  constructor(
    options: ListenOptions<T>,
    bind: Bind,
    consumer: ConnectionConsumer<T>,
  ) {
    const given = readOptions(LISTEN_OPTIONS, options);
    const resolved = { ...LISTEN_DEFAULTS, ...given };
    const { tls, authenticate } = resolved;
    this.#consumer = consumer;
    this.options = resolved;
    this.#events = new Events("@blackbelt/networking:server", resolved.onEvent);
    this.#admission = new Admission(resolved.maxConnectionsPerIp);
    this.slots = new Slots(resolved.maxConnections);
    this.settings = new Settings(given);
    const encrypt = tls && secureServer(tls);
    const endpoint = checkEndpoint(given, LISTEN_DEFAULTS);
    checkForAddress(given, endpoint);
    const verify = authenticate &&
      halfOf("verify", authenticate, endpoint, encrypt !== undefined);
    this.#screen = verify === undefined ? screenClient : undefined;
    if (encrypt !== undefined || verify !== undefined) {
      const letIn = verify && this.#letIn(verify);
      this.#handshakes = new Handshakes(encrypt, letIn, this);
    }
    this.#binding = bind(endpoint, given.removeStale ?? true);
    if (resolved.dropPermissions) dropPermissions(this.#binding.needs);
    this.#events.emit({ type: "listening", addr: this.addr });
    onAbort(resolved.signal, () => this.close(), this.#closing.signal);
  }

  /** The server's half of a login; what comes before it is small. */
  #letIn(verify: Verifier): LetIn<T> {
    const { framing } = this.settings;
    const small = framingOf({
      ...framing,
      maxFrameBytes: Math.min(framing.maxFrameBytes, PENDING_FRAME_BYTES),
    });
    return async (link, signal, enter) => {
      link.limit(small, true);
      const limit = this.#admission.limitFor(peerOf(link.remoteAddr!));
      const identity = await admit(link, verify, signal, limit, enter);
      link.limit(framing);
      return identity;
    };
  }

  /** Where peers connect to. */
  get addr(): Address {
    return this.#binding.addr;
  }

  /** The connections that are open. */
  get connections(): ReadonlySet<Connection<T>> {
    return this.#connections;
  }

  /** Whether it accepts nothing any more. */
  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** What happened so far, and what is open now. */
  stats(): ServerStats {
    const stats = {
      ...this.#totals,
      connections: this.#connections.size,
      pending: this.#handshakes?.size ?? 0,
      bytesQueued: 0,
    };
    for (const connection of this.#connections) {
      const open = connection.stats();
      stats.messagesReceived += open.messagesReceived;
      stats.messagesSent += open.messagesSent;
      stats.bytesReceived += open.bytesReceived;
      stats.bytesSent += open.bytesSent;
      stats.bytesQueued += open.bytesQueued;
    }
    return stats;
  }

  /**
   * Accepts for as long as the consumer waits for a connection. It outlives what
   * goes wrong with single ones, and waits where there are `maxConnections`.
   *
   * @throws {Deno.errors.BadResource} If it is closed.
   */
  async run(): Promise<void> {
    if (this.#isAccepting) return;
    this.#isAccepting = true;
    try {
      while (this.#consumer.isWaiting) await this.#accept();
    } finally {
      this.#isAccepting = false;
    }
  }

  async #accept(): Promise<void> {
    await this.slots.untilFree(this.#closing.signal);
    try {
      const socket = await this.#binding.accept();
      // It may have come while this was being closed.
      if (this.isClosed) closeSocket(socket);
      else this.#take(socket);
    } catch (error) {
      if (this.isClosed || isClosed(error)) throw error;
      this.#totals.acceptFailures++;
      const isPeers = isOfPeer(error);
      this.#events.emit({ type: "acceptFailed", error, isOfPeer: isPeers });
      // No reason to keep the next one waiting.
      if (!isPeers) {
        await pause(this.options.acceptBackoff, this.#closing.signal);
      }
    }
  }

  #take(socket: Socket): void {
    const info: AcceptedInfo<T> = {
      localAddr: addressOf(socket.localAddr, this.addr),
      remoteAddr: addressOf(socket.remoteAddr),
      canProbe: socket.localAddr.transport === "tcp",
      onEnd: this.#onEnd,
      screen: this.#screen,
    };
    this.#totals.accepted++;
    if (!this.#admission.enter(peerOf(info.remoteAddr))) {
      socket.close();
      this.#reject(info.remoteAddr, "maxConnectionsPerIp");
    } else if (this.#handshakes === undefined) {
      this.slots.take(this.#closing.signal); // one is free, and goes to nobody else
      this.deliver(makeConnection<T>(socket, this.settings, info));
    } else {
      if (!this.#keepsAlive) socket.unref();
      this.#handshakes.start(socket, info);
    }
  }

  /** Tells that a peer was not let in. */
  refuse(
    { remoteAddr }: AcceptedInfo<T>,
    reason: RejectionReason,
    error: unknown,
    connection: Connection<T> | undefined,
  ): void {
    if (connection === undefined) this.#admission.leave(peerOf(remoteAddr));
    else if (
      error instanceof VerifierError && !this.#events.isHeard &&
      !isFailureOf(linkOf(connection), error.cause)
    ) report(error.cause);
    this.#reject(remoteAddr, reason, error);
  }

  #reject(remoteAddr: Address, reason: RejectionReason, error?: unknown): void {
    this.#totals.rejected++;
    this.#events.emit({ type: "rejected", remoteAddr, reason, error });
  }

  /** Hands a connection to the consumer. */
  deliver(connection: Connection<T>): void {
    this.#connections.add(connection);
    if (!this.#keepsAlive) connection.unref();
    this.#events.emit({ type: "connected", connection });
    try {
      this.#consumer.take(connection);
    } catch (cause) {
      // A hook that was told of the connection reads it.
      report(cause);
      linkOf(connection).closeFor({ clean: false, cause });
    }
  }

  /** Accepts nothing any more; what is open stays open. */
  close(): void {
    if (this.isClosed) return;
    this.#closing.abort();
    this.#binding.close();
    this.#handshakes?.close();
    this.#consumer.close?.();
  }

  /** The same, and lets what is open end once it is answered. */
  drain(): void {
    this.#events.emit({
      type: "draining",
      connections: this.#connections.size,
    });
    this.close();
    for (const connection of this.#connections) linkOf(connection).drain();
  }

  /** Keeps the process alive, and so do all connections. */
  ref(): void {
    this.#keepsAlive = true;
    for (const one of this.#all()) one.ref();
  }

  /** Lets the process end. */
  unref(): void {
    this.#keepsAlive = false;
    for (const one of this.#all()) one.unref();
  }

  /** All that keeps the process alive. */
  *#all(): Generator<{ ref(): void; unref(): void }> {
    yield this.#binding;
    yield* this.#handshakes ?? [];
    yield* this.#connections;
  }
}
