/**
 * Listening for connections, and answering their messages. As a program, the
 * server: `deno run --allow-net=0.0.0.0:8080 server.ts`.
 *
 * @module
 */
import {
  type Address,
  checkTimeout,
  Connection,
  CONNECTION_DEFAULTS,
  type ConnectionEnd,
  type ConnectionOptions,
  Settings,
  startTimer,
} from "./core/connection.ts";
import {
  addressOf,
  checkEndpoint,
  disableNagle,
  type EndpointOptions,
  onAbort,
} from "./core/endpoint.ts";
import { type ErrorHandler, type Handler, Responder } from "./core/respond.ts";
import {
  checkLimit,
  type JsonValue,
  pickOptions,
  resolveOptions,
} from "./framing.ts";

/**
 * What happens on a server: for a log, for counters. Every `connected` is
 * followed by one `closed` of the same connection.
 */
export type ServerEvent<T = JsonValue> =
  /** The server accepts connections from now on. */
  | { readonly type: "listening"; readonly addr: Address }
  /** A peer connected. */
  | { readonly type: "connected"; readonly connection: Connection<T> }
  /** A connection ended. */
  | {
    readonly type: "closed";
    readonly connection: Connection<T>;
    readonly end: ConnectionEnd;
  }
  /**
   * A connection could not be accepted; the server goes on, after
   * `acceptBackoff` if the peer was not the reason.
   */
  | { readonly type: "acceptFailed"; readonly error: unknown }
  /**
   * No more connections are accepted, and those open end when they are
   * answered.
   */
  | { readonly type: "draining"; readonly connections: number };

/** Options of {@linkcode listen}. */
export interface ListenOptions<T = JsonValue>
  extends ConnectionOptions, EndpointOptions {
  /**
   * Address to listen on.
   *
   * @default {"0.0.0.0"}
   */
  hostname?: string;
  /**
   * Port to listen on; 0 for any that is free.
   *
   * @default {8080}
   */
  port?: number;
  /**
   * Connections open at the same time. Where there are as many, accepting
   * pauses, and peers wait in the platform's backlog.
   *
   * @default {1_000}
   */
  maxConnections?: number;
  /**
   * Milliseconds to wait after a connection could not be accepted, for example
   * for want of descriptors.
   *
   * @default {100}
   */
  acceptBackoff?: number;
  /** Closes the listener when aborted; a server shuts down. */
  signal?: AbortSignal;
  /** Called with what happens. What it throws is ignored. */
  onEvent?: (event: ServerEvent<T>) => void;
}

/** Options of {@linkcode serve}. */
export interface ServeOptions<T = JsonValue> extends ListenOptions<T> {
  /**
   * Messages of one connection whose replies are outstanding; where there are
   * as many, no more is read from it.
   *
   * @default {100}
   */
  maxInFlight?: number;
  /**
   * Milliseconds that {@linkcode Server.shutdown} gives the connections to end.
   *
   * @default {10_000}
   */
  shutdownTimeout?: number;
  /** Called once the server accepts connections, with its address. */
  onListen?: (addr: Address) => void;
  /**
   * Answers for what a handler cannot answer; without it, the connection is
   * closed.
   */
  onError?: ErrorHandler<T>;
}

/** The defaults of {@linkcode ListenOptions}. */
export const LISTEN_DEFAULTS: Readonly<
  Required<Omit<ListenOptions, "path" | "transport" | "signal" | "onEvent">>
> = Object.freeze({
  ...CONNECTION_DEFAULTS,
  hostname: "0.0.0.0",
  port: 8080,
  maxConnections: 1_000,
  acceptBackoff: 100,
});

/** The defaults of {@linkcode ServeOptions}. */
export const SERVE_DEFAULTS: Readonly<
  & Required<Omit<ListenOptions, "path" | "transport" | "signal" | "onEvent">>
  & Required<Pick<ServeOptions, "maxInFlight" | "shutdownTimeout">>
> = Object.freeze({
  ...LISTEN_DEFAULTS,
  maxInFlight: 100,
  shutdownTimeout: 10_000,
});

/** Accepts connections until it is closed. Made by {@linkcode listen}. */
export class Listener<T = JsonValue>
  implements AsyncIterable<Connection<T>>, Disposable {
  readonly #listener: Deno.Listener;
  readonly #options: typeof LISTEN_DEFAULTS;
  readonly #settings: Settings;
  readonly #onEvent: ListenOptions<T>["onEvent"];
  readonly #connections = new Set<Connection<T>>();
  /**
   * Aborted by `close`, so that a wait for a free place or after an error ends
   * with it.
   */
  readonly #closing = new AbortController();
  #changed: PromiseWithResolvers<void> | undefined;
  /** Whether the process waits for this listener, and for its connections. */
  #keepsAlive = true;
  readonly #onEnd = (connection: Connection<T>, end: ConnectionEnd) => {
    this.#connections.delete(connection);
    this.#wake();
    emit(this.#onEvent, { type: "closed", connection, end });
  };

  /** Opens the socket; use {@linkcode listen}. */
  constructor(options: ListenOptions<T> = {}) {
    const resolved = resolveOptions<typeof LISTEN_DEFAULTS & ListenOptions<T>>({
      ...LISTEN_DEFAULTS,
      path: undefined,
      transport: undefined,
      signal: undefined,
      onEvent: undefined,
    }, options);
    checkLimit("maxConnections", resolved.maxConnections);
    checkTimeout("acceptBackoff", resolved.acceptBackoff);
    this.#options = resolved;
    this.#onEvent = resolved.onEvent;
    this.#settings = new Settings(pickOptions(CONNECTION_DEFAULTS, options));
    const endpoint = checkEndpoint(options, LISTEN_DEFAULTS);
    this.#listener = endpoint.transport === "tcp"
      ? Deno.listen(endpoint)
      : Deno.listen(endpoint);
    emit(this.#onEvent, { type: "listening", addr: this.addr });
    onAbort(resolved.signal, () => this.close(), this.#closing.signal);
  }

  /** Where peers connect to. */
  get addr(): Address {
    return addressOf(this.#listener.addr);
  }

  /** The connections that are open. */
  get connections(): ReadonlySet<Connection<T>> {
    return this.#connections;
  }

  /**
   * Waits for the next connection. It outlives what goes wrong with single
   * ones, and waits where there are `maxConnections`.
   *
   * @throws {Deno.errors.BadResource} If the listener is closed.
   */
  async accept(): Promise<Connection<T>> {
    for (;;) {
      while (
        this.#connections.size >= this.#options.maxConnections &&
        !this.#closing.signal.aborted
      ) {
        await this.#change();
      }
      try {
        return this.#admit(await this.#listener.accept());
      } catch (error) {
        // Closed, or two calls at the same time: no pause would mend it.
        if (
          this.#closing.signal.aborted ||
          error instanceof Deno.errors.BadResource ||
          error instanceof Deno.errors.Busy
        ) throw error;
        emit(this.#onEvent, { type: "acceptFailed", error });
        if (!isOfOnePeer(error)) await this.#pause();
      }
    }
  }

  #admit(conn: Deno.Conn): Connection<T> {
    disableNagle(conn as Deno.TcpConn);
    const connection = new Connection<T>(conn, this.#settings, {
      localAddr: addressOf(conn.localAddr),
      remoteAddr: addressOf(conn.remoteAddr),
      onEnd: this.#onEnd,
    });
    this.#connections.add(connection);
    if (!this.#keepsAlive) connection.unref();
    emit(this.#onEvent, { type: "connected", connection });
    return connection;
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
    const stopTimer = startTimer(this.#options.acceptBackoff, () => {
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
    this.#listener.close();
    this.#wake();
  }

  /**
   * Makes waiting for connections keep the process alive, as it does by
   * default.
   */
  ref(): void {
    this.#keepsAlive = true;
    this.#listener.ref();
  }

  /** Lets the process end although the listener waits for connections. */
  unref(): void {
    this.#keepsAlive = false;
    this.#listener.unref();
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

/**
 * Whether the peer left before it was accepted: no reason to keep the next one
 * waiting.
 */
function isOfOnePeer(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.NotConnected;
}

function emit<T>(
  onEvent: ListenOptions<T>["onEvent"],
  event: ServerEvent<T>,
): void {
  try {
    onEvent?.(event);
  } catch {
    // A log that fails is no reason to stop serving.
  }
}

/**
 * Listens for connections, like `Deno.listen`, for full control of each.
 *
 * ```ts
 * import { connect, listen } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * using listener = listen({ hostname: "127.0.0.1", port: 0 });
 * const client = await connect(listener.addr);
 * await client.send("hello");
 * await client.closeWrite();
 * const connection = await listener.accept();
 * for await (const message of connection) assertEquals(message, "hello");
 * await client.close();
 * ```
 *
 * @typeParam T What the messages of the peers are taken to be; nothing checks
 * it.
 * @param options Where to listen, framing and limits.
 * @throws {Deno.errors.AddrInUse} If the address is in use.
 * @throws {Deno.errors.NotCapable} If the permission to listen there is
 * missing.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If an option does not exist or has the wrong type.
 */
export function listen<T = JsonValue>(
  options: ListenOptions<T> = {},
): Listener<T> {
  return new Listener(options);
}

/**
 * Answers the messages of its connections until it is shut down. Made by
 * {@linkcode serve}.
 */
export class Server<T = JsonValue> implements AsyncDisposable {
  /**
   * Resolves when the server has shut down and its last connection is closed.
   */
  readonly finished: Promise<void>;
  readonly #listener: Listener<T>;
  readonly #onEvent: ListenOptions<T>["onEvent"];
  readonly #shutdownTimeout: number;
  readonly #over = new AbortController();
  #shutdown: Promise<void> | undefined;

  /** Opens the socket and starts to answer; use {@linkcode serve}. */
  constructor(options: ServeOptions<T>, handler: Handler<T>) {
    const { maxInFlight, shutdownTimeout, onListen, onError, signal, ...rest } =
      options;
    if (typeof handler !== "function") {
      throw new TypeError(
        `Cannot serve: the handler is ${typeof handler}, expected a function`,
      );
    }
    const resolved = resolveOptions(SERVE_DEFAULTS, {
      maxInFlight,
      shutdownTimeout,
    });
    checkLimit("maxInFlight", resolved.maxInFlight);
    checkTimeout("shutdownTimeout", resolved.shutdownTimeout);
    this.#shutdownTimeout = resolved.shutdownTimeout;
    this.#onEvent = rest.onEvent;
    this.#listener = listen(rest);
    this.finished = this.#run((connection) => {
      new Responder(connection, handler, onError, resolved.maxInFlight);
    });
    onListen?.(this.addr);
    onAbort(signal, () => void this.shutdown(), this.#over.signal);
  }

  /** Where clients connect to. */
  get addr(): Address {
    return this.#listener.addr;
  }

  /** The connections that are open. */
  get connections(): ReadonlySet<Connection<T>> {
    return this.#listener.connections;
  }

  async #run(respond: (connection: Connection<T>) => void): Promise<void> {
    for await (const connection of this.#listener) respond(connection);
    await Promise.all([...this.connections].map(({ closed }) => closed));
    this.#over.abort();
  }

  /**
   * Stops accepting and reading, lets the handlers at work finish, sends their
   * replies, and closes the connections; those that are left after
   * `shutdownTimeout` are aborted. It may be called more than once.
   */
  shutdown(): Promise<void> {
    return this.#shutdown ??= this.#drain();
  }

  async #drain(): Promise<void> {
    emit(this.#onEvent, {
      type: "draining",
      connections: this.connections.size,
    });
    this.#listener.close();
    for (const connection of this.connections) connection.endReceiving();
    const stopTimer = startTimer(this.#shutdownTimeout, () => this.#abort());
    await this.finished;
    stopTimer();
  }

  #abort(): void {
    const reason = new DOMException(
      `The server shut down, and the connection was open after ${this.#shutdownTimeout} ms`,
      "TimeoutError",
    );
    for (const connection of this.connections) connection.abort(reason);
  }

  /** Makes the server keep the process alive, as it does by default. */
  ref(): void {
    this.#listener.ref();
    for (const connection of this.connections) connection.ref();
  }

  /**
   * Lets the process end although the server waits for connections and
   * messages.
   */
  unref(): void {
    this.#listener.unref();
    for (const connection of this.connections) connection.unref();
  }

  /** The same as {@linkcode Server.shutdown}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }
}

/**
 * Answers messages, like `Deno.serve`: what the handler returns, or resolves
 * to, is the reply.
 *
 * ```ts
 * import { connect, serve } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => ({ echo: message }));
 * await using client = await connect(server.addr);
 * assertEquals(await client.request("hello"), { echo: "hello" });
 * ```
 *
 * @typeParam T What the messages of the clients are taken to be; nothing checks
 * it.
 * @param options Where to listen, framing and limits.
 * @param handler Answers a message.
 * @throws {Deno.errors.AddrInUse} If the address is in use.
 * @throws {Deno.errors.NotCapable} If the permission to listen there is
 * missing.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If an option does not exist or has the wrong type.
 */
export function serve<T = JsonValue>(
  options: ServeOptions<T>,
  handler: Handler<T>,
): Server<T> {
  return new Server(options, handler);
}

if (import.meta.main) {
  // Not awaited: the program imports this module.
  import("./cli/server.ts").then(({ main }) => main(Deno.args));
}
