/**
 * What servers are made of: the door of this folder.
 *
 * @module
 */
import type { JsonValue } from "../framing/framing.ts";
import type { Address, Connection } from "../connection/connection.ts";
import { onAbort, startTimer } from "../tools/abort.ts";
import { callHook } from "../tools/report.ts";
import {
  type AcceptOptions,
  type Bind,
  drain,
  type Listener,
  makeListener,
  run,
} from "./listener.ts";
import type { ServerStats } from "./events.ts";
import { SERVE_DEFAULTS, type ServerOptions } from "./options.ts";

export {
  type ErrorHandler,
  type Handler,
  NO_REPLY,
  type Reply,
  Responder,
} from "./respond.ts";
export {
  LISTEN_DEFAULTS,
  LISTEN_OPTIONS,
  type ListenOptions,
  SERVE_DEFAULTS,
  SERVE_OPTIONS,
  type ServeOptions,
  SERVER_OPTIONS,
  type ServerOptions,
} from "./options.ts";
export type {
  AcceptFailedEvent,
  DrainingEvent,
  ListeningEvent,
  RejectedEvent,
  RejectionReason,
  ServerEvent,
  ServerStats,
} from "./events.ts";
export { type ConnectionHandler, handle } from "./handle.ts";
export { type AcceptOptions, type Listener, makeListener };

/**
 * Opens the socket and serves, with options that were read; use `serve`. What
 * `take` does with a connection has to close it in the end.
 */
export let makeServer: <T, I>(
  options: ServerOptions<T, I>,
  bind: Bind,
  take: (connection: Connection<T, I>) => void,
) => Server<T, I>;

/**
 * A server that runs until it is shut down, made by `serve`, or by `listen`
 * with a handler.
 *
 * ```ts
 * import { connect, serve } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * const server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => message);
 * await using client = await connect(server.addr);
 * assertEquals(await client.request("hello"), "hello");
 * assertEquals(server.connections.size, 1);
 * await server.shutdown(); // replies leave first
 * await server.finished;
 * ```
 */
export class Server<T = JsonValue, I = unknown> implements AsyncDisposable {
  static {
    makeServer = (options, bind, take) => new Server(options, bind, take);
  }

  /**
   * Resolves when the server has shut down and its last connection is closed.
   * It rejects at that moment if the server shut down because its socket
   * failed.
   */
  readonly finished: Promise<void>;
  readonly #listener: Listener<T, I>;
  readonly #shutdownTimeout: number;
  readonly #closed = Promise.withResolvers<void>();
  #isDraining = false;
  #stopTimer = () => {};
  readonly #stopListening: () => void;

  private constructor(
    options: ServerOptions<T, I>,
    bind: Bind,
    take: (connection: Connection<T, I>) => void,
  ) {
    const {
      shutdownTimeout = SERVE_DEFAULTS.shutdownTimeout,
      onListen,
      signal,
      ...rest
    } = options;
    this.#shutdownTimeout = shutdownTimeout;
    this.#listener = makeListener(rest, bind, take);
    this.finished = this.#run();
    callHook(onListen, this.addr);
    this.#stopListening = onAbort(signal, () => void this.shutdown());
  }

  /** The address that it listens on. */
  get addr(): Address {
    return this.#listener.addr;
  }

  /** The connections that are open. */
  get connections(): ReadonlySet<Connection<T, I>> {
    return this.#listener.connections;
  }

  /** Counts, so far and at the moment. */
  stats(): ServerStats {
    return this.#listener.stats();
  }

  async #run(): Promise<void> {
    try {
      await run(this.#listener);
    } catch (error) {
      // No peer can connect any more.
      this.#drain();
      throw error;
    } finally {
      await Promise.all([...this.connections].map(({ closed }) => closed));
      this.#stopListening();
      this.#stopTimer();
      this.#closed.resolve();
    }
  }

  /**
   * Stops accepting and reading, waits for the handlers at work, sends their
   * replies, and closes the connections. Connections that are left after
   * `shutdownTimeout` are aborted. It may be called more than once.
   */
  shutdown(): Promise<void> {
    // A hook that hears of it may call this again.
    if (!this.#isDraining) this.#drain();
    return this.#closed.promise;
  }

  #drain(): void {
    this.#isDraining = true;
    drain(this.#listener);
    this.#stopTimer = startTimer(this.#shutdownTimeout, () => this.#abort());
  }

  #abort(): void {
    const reason = new DOMException(
      `The connection was still open ${this.#shutdownTimeout} ms after shutdown (shutdownTimeout)`,
      "TimeoutError",
    );
    for (const connection of this.connections) connection.abort(reason);
  }

  /** Keeps the process alive while the server runs, as by default. */
  ref(): void {
    this.#listener.ref();
  }

  /**
   * Lets the process end while the server waits for connections and messages.
   */
  unref(): void {
    this.#listener.unref();
  }

  /** The same as {@linkcode Server.shutdown}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown();
  }
}
