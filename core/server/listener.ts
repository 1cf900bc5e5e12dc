/**
 * Accepting connections: how many, which ones, and what each is handed to.
 *
 * @module
 */
import { halfOf, screenClient, VerifierError } from "../auth/auth.ts";
import {
  type Address,
  type Connection,
  type ConnectionEnd,
  isFailureOf,
  linkOf,
  makeConnection,
  type Settings,
  settingsOf,
} from "../connection/connection.ts";
import type { JsonValue } from "../framing/framing.ts";
import {
  addressOf,
  type Binding,
  checkEndpoint,
  closeSocket,
  isClosed,
  isOfPeer,
  type Socket,
} from "../platform/platform.ts";
import { secureServer } from "../tls/tls.ts";
import { onAbort } from "../tools/abort.ts";
import { Events } from "../tools/events.ts";
import {
  type OptionTable,
  readOptions,
  signal as signalOption,
} from "../tools/options.ts";
import { quiet } from "../tools/promises.ts";
import { Queue } from "../tools/queue.ts";
import { report } from "../tools/report.ts";
import type { RejectedEvent, ServerEvent, ServerStats } from "./events.ts";
import { type AcceptedInfo, Handshakes } from "./handshakes.ts";
import {
  checkForAddress,
  LISTEN_DEFAULTS,
  type ListenOptions,
} from "./options.ts";
import { Admission, peerOf } from "./peers.ts";
import { Slots } from "./slots.ts";
import { ServerTotals } from "./totals.ts";

/** Opens a socket that listens. */
export type Bind = (address: Address, removeStale: boolean) => Binding;

/** Takes each connection. */
type Consume<T, I = unknown> = (connection: Connection<T, I>) => void;

/** Options of {@linkcode Listener.accept}. */
export interface AcceptOptions {
  /** Gives up waiting when aborted. */
  signal?: AbortSignal;
}

/** What each option may be. */
const ACCEPT_OPTIONS: OptionTable<AcceptOptions> = { signal: signalOption() };

/** Opens the socket, with options that were read; use `listen`. */
export let makeListener: <T, I>(
  options: ListenOptions<T, I>,
  bind: Bind,
  consume?: Consume<T, I>,
) => Listener<T, I>;
/**
 * Accepts for a server until the listener is closed, and rejects if the socket
 * fails before.
 */
export let run: <T, I>(listener: Listener<T, I>) => Promise<void>;
/** Closes the listener, and lets what is open end once it is answered. */
export let drain: <T, I>(listener: Listener<T, I>) => void;

/**
 * Accepts connections until it is closed, made by `listen` without a handler.
 *
 * ```ts
 * import { connect, listen } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * using listener = listen({ hostname: "127.0.0.1", port: 0 });
 * await using client = await connect(listener.addr);
 * await using connection = await listener.accept();
 * await connection.send("welcome");
 * for await (const message of client) {
 *   assertEquals(message, "welcome");
 *   break;
 * }
 * ```
 */
export class Listener<T = JsonValue, I = unknown>
  implements AsyncIterable<Connection<T, I>>, Disposable {
  readonly #binding: Binding;
  /** Takes each connection; without it, `accept` gives them. */
  readonly #consume: Consume<T> | undefined;
  /**
   * Connections that wait to be accepted, and calls of `accept` that wait for
   * one.
   */
  readonly #ready = new Queue<Connection<T>>();
  readonly #waiting = new Set<PromiseWithResolvers<Connection<T>>>();
  readonly #settings: Settings;
  readonly #events: Events<ServerEvent<T>>;
  readonly #admission: Admission;
  readonly #slots: Slots;
  /** Nothing where a connection is one as soon as it is accepted. */
  readonly #handshakes: Handshakes<T> | undefined;
  readonly #screen: typeof screenClient | undefined;
  readonly #connections = new Set<Connection<T>>();
  readonly #totals = new ServerTotals();
  #isAccepting = false;
  /** Aborted by `close`. */
  readonly #closing = new AbortController();
  /** Whether the process waits for this, and for its connections. */
  #keepsAlive = true;
  readonly #onEnd = (connection: Connection<T>, end: ConnectionEnd) => {
    this.#admission.leave(peerOf(connection.remoteAddr!));
    if (!this.#connections.delete(connection)) return;
    this.#slots.release();
    const stats = connection.stats();
    this.#totals.add(stats);
    this.#events.emit({ type: "closed", connection, end, stats });
  };

  static {
    makeListener = (options, bind, consume) =>
      new Listener(options, bind, consume);
    run = async (listener) => {
      try {
        await listener.#run();
      } catch (error) {
        if (!listener.#isClosed) throw error;
      }
    };
    drain = (listener) => listener.#drain();
  }

  private constructor(
    options: ListenOptions<T, I>,
    bind: Bind,
    consume?: Consume<T, I>,
  ) {
    const resolved = { ...LISTEN_DEFAULTS, ...options as ListenOptions<T> };
    const { tls, authenticate, removeStale = true } = resolved;
    this.#consume = consume as Consume<T>;
    this.#events = new Events("@blackbelt/networking:server", resolved.onEvent);
    this.#admission = new Admission(resolved.maxConnectionsPerIp);
    this.#slots = new Slots(resolved.maxConnections);
    this.#settings = settingsOf(options);
    const encrypt = tls && secureServer(tls);
    const endpoint = checkEndpoint(options, LISTEN_DEFAULTS);
    checkForAddress(options, endpoint);
    const verify = authenticate &&
      halfOf("verify", authenticate, endpoint, encrypt !== undefined);
    this.#screen = verify === undefined ? screenClient : undefined;
    if (encrypt !== undefined || verify !== undefined) {
      this.#handshakes = new Handshakes({
        encrypt,
        verify,
        options: resolved,
        settings: this.#settings,
        admission: this.#admission,
        slots: this.#slots,
        deliver: (connection) => this.#deliver(connection),
        refuse: (event, connection) => this.#refuse(event, connection),
      });
    }
    this.#binding = bind(endpoint, removeStale);
    this.#events.emit({ type: "listening", addr: this.addr });
    onAbort(resolved.signal, () => this.close(), this.#closing.signal);
  }

  /** The address that it listens on. */
  get addr(): Address {
    return this.#binding.addr;
  }

  /** The connections that are open. */
  get connections(): ReadonlySet<Connection<T, I>> {
    return this.#connections as ReadonlySet<Connection<T, I>>;
  }

  /** Counts, so far and at the moment. */
  stats(): ServerStats {
    return this.#totals.stats(this.#connections, this.#handshakes?.size ?? 0);
  }

  /**
   * Waits for the next connection. Errors of single connections do not end it.
   * It waits while there are `maxConnections`.
   *
   * @throws {Deno.errors.BadResource} If the listener is closed.
   * @throws The signal's reason, if it is aborted.
   */
  accept(options: AcceptOptions = {}): Promise<Connection<T, I>> {
    try {
      const { signal } = readOptions(ACCEPT_OPTIONS, options);
      return quiet(this.#next(signal)) as Promise<Connection<T, I>>;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #next(signal: AbortSignal | undefined): Promise<Connection<T>> {
    signal?.throwIfAborted();
    const connection = this.#ready.shift();
    if (connection !== undefined) return connection;
    const waiting = Promise.withResolvers<Connection<T>>();
    this.#waiting.add(waiting);
    this.#run().catch((error) => {
      for (const { reject } of this.#waiting) reject(error);
      this.#waiting.clear();
    });
    const stop = onAbort(signal, (reason) => {
      this.#waiting.delete(waiting);
      waiting.reject(reason);
    });
    try {
      return await waiting.promise;
    } finally {
      stop();
    }
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Accepts as long as a connection is waited for. */
  async #run(): Promise<void> {
    if (this.#isAccepting) return;
    this.#isAccepting = true;
    try {
      while (this.#consume !== undefined || this.#waiting.size > 0) {
        await this.#slots.untilFree(this.#closing.signal);
        await this.#accept();
      }
    } finally {
      this.#isAccepting = false;
    }
  }

  /** Accepts one, and outlives what goes wrong with it. */
  async #accept(): Promise<void> {
    try {
      const socket = await this.#binding.accept();
      // It may have come while this was being closed.
      if (this.#isClosed) closeSocket(socket);
      else this.#greet(socket);
    } catch (error) {
      if (this.#isClosed || isClosed(error)) throw error;
      this.#totals.failed++;
      const isPeers = isOfPeer(error);
      this.#events.emit({ type: "failed", error, isOfPeer: isPeers });
      // No reason to keep the next one waiting.
      if (!isPeers) await this.#binding.recover(this.#closing.signal);
    }
  }

  #greet(socket: Socket): void {
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
      const { remoteAddr } = info;
      const reason = "maxConnectionsPerIp";
      this.#reject({ type: "rejected", remoteAddr, reason });
    } else if (this.#handshakes === undefined) {
      // One is free, and is not given away meanwhile.
      this.#slots.take(this.#closing.signal);
      this.#deliver(makeConnection<T>(socket, this.#settings, info));
    } else {
      if (!this.#keepsAlive) socket.unref();
      this.#handshakes.start(socket, info);
    }
  }

  #refuse(event: RejectedEvent, connection: Connection<T> | undefined): void {
    if (connection === undefined) {
      this.#admission.leave(peerOf(event.remoteAddr));
    } else if (
      event.error instanceof VerifierError && !this.#events.isHeard &&
      !isFailureOf(linkOf(connection), event.error.cause)
    ) report(event.error.cause);
    this.#reject(event);
  }

  #reject(event: RejectedEvent): void {
    this.#totals.rejected++;
    this.#events.emit(event);
  }

  /** Hands a connection on. */
  #deliver(connection: Connection<T>): void {
    this.#connections.add(connection);
    if (!this.#keepsAlive) connection.unref();
    this.#events.emit({ type: "connected", connection });
    const [waiting] = this.#waiting;
    try {
      if (this.#consume !== undefined) this.#consume(connection);
      else if (waiting !== undefined) {
        this.#waiting.delete(waiting);
        waiting.resolve(connection);
      } else if (this.#isClosed) connection.close();
      else this.#ready.push(connection);
    } catch (cause) {
      // A hook that was told of the connection reads it.
      report(cause);
      linkOf(connection).closeFor({ clean: false, cause });
    }
  }

  /**
   * Stops accepting. Open connections stay open. It may be called more than
   * once.
   */
  close(): void {
    if (this.#isClosed) return;
    this.#closing.abort();
    this.#binding.close();
    this.#handshakes?.close();
    for (let next; (next = this.#ready.shift()) !== undefined;) next.close();
  }

  #drain(): void {
    this.#events.emit({
      type: "draining",
      connections: this.#connections.size,
    });
    this.close();
    for (const connection of this.#connections) linkOf(connection).drain();
  }

  /**
   * Keeps the process alive while the listener or one of its connections waits,
   * as by default.
   */
  ref(): void {
    this.#keepsAlive = true;
    for (const one of this.#all()) one.ref();
  }

  /**
   * Lets the process end while the listener waits for connections, or a
   * connection for its peer.
   */
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

  /**
   * Iterates over the connections as they come, and ends when the listener is
   * closed. Leaving the loop closes the listener.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Connection<T, I>, void> {
    try {
      for (;;) yield await this.accept();
    } catch (error) {
      if (!this.#isClosed) throw error;
    } finally {
      this.close();
    }
  }

  /** The same as {@linkcode Listener.close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
