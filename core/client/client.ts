/**
 * A client that connects again.
 *
 * @module
 */
import type { Framing, JsonValue } from "../framing/framing.ts";
import { abortable, pause } from "../tools/abort.ts";
import {
  AuthenticationError,
  type Connection,
  ConnectionClosedError,
  type ConnectionEnd,
  linkOf,
  REQUEST_DEFAULTS,
  REQUEST_OPTIONS,
  type RequestOptions,
  type Settings,
  unsent,
} from "../connection/connection.ts";
import type { Events } from "../tools/events.ts";
import { readOptions } from "../tools/options.ts";
import { quiet } from "../tools/promises.ts";
import {
  type ClientEvent,
  type ReconnectOptions,
  resolveReconnect,
} from "./options.ts";
import { type Sending, WaitingMessages } from "./waiting.ts";
export { Dialer } from "./dialer.ts";
export {
  checkHeartbeatInterval,
  type ClientEvent,
  CONNECT_DEFAULTS,
  CONNECT_OPTIONS,
  type ConnectOptions,
  RECONNECT_DEFAULTS,
  type ReconnectOptions,
} from "./options.ts";

const CONNECTED_OPTIONS = { signal: REQUEST_OPTIONS.signal };

/** What else is done with the connections of a client, as calls are made. */
export interface Tenant<T> {
  /** Takes a connection over, before anything that waits for it is sent. */
  use(connection: Connection<T>): void;
  /** Closes it. */
  close(): Promise<void>;
}

/**
 * A client that connects again when its connection is lost and one is needed.
 * Made by `connect` with the option `reconnect`.
 *
 * Messages that are sent while there is no connection wait for one. They are
 * encoded during the call, sent in order, and limited by `maxQueuedBytes`.
 *
 * A request is sent at most once. If the connection is lost before the reply
 * has come, it rejects; the server may or may not have handled it. To stay
 * connected, iterate over the client: it gives one connection after the other.
 *
 * ```ts
 * import { connect, serve } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => message);
 * await using client = await connect({ ...server.addr, reconnect: true });
 * assertEquals(await client.request("hello"), "hello");
 * const connection = await client.connected();
 * connection.abort(); // as if the link broke
 * await connection.closed;
 * assertEquals(await client.request("again"), "again");
 * ```
 *
 * @typeParam T Type of the server's messages. It is not checked at run time.
 */
export class Client<T = JsonValue>
  implements AsyncIterable<Connection<T>>, AsyncDisposable {
  /**
   * The layout and limits of what is sent.
   * @internal
   */
  readonly framing: Framing;
  readonly #dial: (signal: AbortSignal) => Promise<Connection<T>>;
  readonly #isFinal: (error: unknown) => boolean;
  readonly #events: Events<ClientEvent<T>>;
  readonly #options: Required<ReconnectOptions>;
  readonly #over = new AbortController();
  readonly #waiting: WaitingMessages<T>;
  #tenant: Tenant<T> | undefined;
  #connection: Connection<T> | undefined;
  /** That one, and those before it that are not closed yet. */
  readonly #open = new Set<Connection<T>>();
  /** Why the server did not let us in: who asks again is told the same. */
  #refusal: AuthenticationError | undefined;
  #connecting: Promise<Connection<T>> | undefined;
  #attempts = 0;
  /** How it ends, if it does. */
  #end: ConnectionEnd = { clean: true };

  /**
   * Makes a client that is not connected yet.
   * @internal
   */
  constructor(
    dial: (signal: AbortSignal) => Promise<Connection<T>>,
    isFinal: (error: unknown) => boolean,
    events: Events<ClientEvent<T>>,
    options: ReconnectOptions,
    settings: Settings,
  ) {
    this.#dial = dial;
    this.#isFinal = isFinal;
    this.#events = events;
    this.#options = resolveReconnect(options);
    this.framing = settings.framing;
    this.#waiting = new WaitingMessages(settings);
  }

  /** Aborted when the client is closed. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** Connects for the first time, once. */
  async open(): Promise<this> {
    try {
      this.#use(await this.#dial(this.#over.signal));
    } catch (error) {
      this.#over.abort(this.#gone());
      throw error;
    }
    return this;
  }

  /**
   * Has a tenant use this connection and all that follow: there is to be one at
   * all times.
   * @internal
   */
  takeOver(tenant: Tenant<T>): void {
    this.#tenant = tenant;
    if (this.#connection === undefined) this.#stay();
    else tenant.use(this.#connection);
  }

  /**
   * The connection over which something new can be sent at once: it is not over,
   * and nothing waits for it.
   * @internal
   */
  get ready(): Connection<T> | undefined {
    return isUsable(this.#connection) && this.#waiting.size === 0 &&
        !this.#over.signal.aborted
      ? this.#connection
      : undefined;
  }

  /**
   * Returns the open connection, or connects until there is one.
   *
   * @throws The error of the last attempt, if the client gives up.
   * @throws {ConnectionClosedError} If the client is closed.
   * @throws The signal's reason, if it is aborted. Others that wait for the
   * same connection continue to wait.
   */
  connected(
    options: Pick<RequestOptions, "signal"> = {},
  ): Promise<Connection<T>> {
    try {
      const { signal } = readOptions(CONNECTED_OPTIONS, options);
      signal?.throwIfAborted();
      return quiet(abortable(this.#reach(), signal));
    } catch (error) {
      return unsent(error);
    }
  }

  /** The connection that is open, or else the next. */
  #reach(): Promise<Connection<T>> {
    this.#check();
    const connection = this.#connection;
    if (isUsable(connection)) return Promise.resolve(connection);
    // Not at once: a hook that hears of it may need the same connection.
    const begun = Promise.resolve();
    return this.#connecting ??= quiet(begun.then(() => this.#connect()));
  }

  #check(): void {
    if (this.#over.signal.aborted) throw this.#gone();
    if (this.#refusal !== undefined) throw this.#refusal;
  }

  async #connect(): Promise<Connection<T>> {
    this.#check(); // it may have been closed since
    for (let failures = 1;; failures++) {
      await this.#pause();
      try {
        const connection = await this.#dial(this.#over.signal);
        this.#use(connection);
        this.#connecting = undefined;
        this.#sendWaiting(connection);
        return connection;
      } catch (error) {
        if (this.#over.signal.aborted) throw this.#gone();
        if (error instanceof AuthenticationError && !error.mayRetry) {
          this.#refusal = error;
        }
        if (
          this.#refusal !== undefined || this.#isFinal(error) ||
          failures >= this.#options.maxAttempts
        ) {
          this.#attempts = 0;
          this.#connecting = undefined;
          this.#waiting.fail(error);
          throw error;
        }
      }
    }
  }

  async #pause(): Promise<void> {
    const { minDelay, maxDelay } = this.#options;
    const most = Math.min(minDelay * 2 ** this.#attempts, maxDelay);
    const delay = Math.random() * most;
    this.#events.emit({ type: "waiting", attempt: ++this.#attempts, delay });
    await pause(delay, this.#over.signal);
    if (this.#over.signal.aborted) throw this.#gone();
  }

  #use(connection: Connection<T>): void {
    if (this.#over.signal.aborted) {
      connection.abort();
      throw this.#gone();
    }
    this.#connection = connection;
    this.#open.add(connection);
    this.#tenant?.use(connection);
    const connectedAt = performance.now();
    const link = linkOf(connection);
    link.watch();
    link.over.then(() => {
      // One that says hello and leaves has to be left alone for longer, too.
      const lifetime = performance.now() - connectedAt;
      if (link.hasAnswered || lifetime > this.#options.maxDelay) {
        this.#attempts = 0;
      }
      // It may have something left to write, for which nothing else waits.
      if (this.#connection === connection) this.#stay();
    });
    connection.closed.then(() => {
      this.#open.delete(connection);
      if (this.#connection === connection) this.#connection = undefined;
    });
  }

  /** Connects again where that is not left to the next message. */
  #stay(): void {
    const isNeeded = this.#tenant !== undefined || this.#waiting.size > 0;
    if (!isNeeded || this.#over.signal.aborted) return;
    // Where there is to be no connection, the next call tells why.
    if (this.#refusal === undefined) this.#reach();
  }

  /** Sends what waits, as fast as the link takes it. */
  async #sendWaiting(connection: Connection<T>): Promise<void> {
    while (this.#waiting.size > 0 && isUsable(connection)) {
      this.#waiting.sendNext(connection);
      const room = linkOf(connection).room();
      // That the link has ended, the connection tells.
      if (room !== undefined) await room.catch(() => {});
    }
    this.#stay();
  }

  /**
   * Has a message wait for a connection, behind all that waits for it already.
   * Throws where it cannot be sent, or too much waits.
   */
  #wait<Result>(
    message: unknown,
    limits: RequestOptions,
    send: Sending<T, Result>,
  ): Promise<Result> {
    this.#check();
    const queued = this.#connection?.stats().bytesQueued ?? 0;
    const waiting = this.#waiting.add(message, limits, queued, send);
    this.#reach();
    return waiting;
  }

  /**
   * Sends a message over the connection, once there is one; see
   * {@linkcode Connection.send}.
   */
  send(message: unknown): Promise<void> {
    const connection = this.ready;
    if (connection !== undefined) return connection.send(message);
    try {
      return this.#wait(
        message,
        {},
        (connection, message) => connection.send(message),
      );
    } catch (error) {
      return unsent(error);
    }
  }

  /**
   * Sends a message and waits for its reply, once there is a connection; see
   * {@linkcode Connection.request}. It is sent once at most.
   */
  request(message: unknown, options: RequestOptions = {}): Promise<T> {
    const connection = this.ready;
    if (connection !== undefined) return connection.request(message, options);
    try {
      const limits = {
        ...REQUEST_DEFAULTS,
        ...readOptions(REQUEST_OPTIONS, options),
      };
      const { timeout } = limits;
      return this.#wait(
        message,
        limits,
        // The connection has the whole timeout: it ends where a reply is missing
        // for that long after its request was given up.
        (connection, message, signal) =>
          connection.request(message, { signal, timeout }),
      );
    } catch (error) {
      return unsent(error);
    }
  }

  /**
   * Iterates over the connections, one after the other. It ends when the client
   * is closed, and throws when the client gives up.
   */
  [Symbol.asyncIterator](): AsyncIterator<Connection<T>, void> {
    const connections = this.#connections();
    return {
      next: () => quiet(connections.next()),
      return: () => quiet(connections.return()),
    };
  }

  async *#connections(): AsyncGenerator<Connection<T>, void> {
    while (!this.#over.signal.aborted) {
      let connection: Connection<T>;
      try {
        connection = await this.connected();
      } catch (error) {
        if (this.#over.signal.aborted) return;
        throw error;
      }
      yield connection;
      await linkOf(connection).over;
    }
  }

  /**
   * Closes the connection, once everything sent before has been written, and
   * connects no more. It may be called at any time and more than once. Requests
   * without a reply reject, and so does everything that waits for a connection.
   */
  async close(): Promise<void> {
    const connection = this.#connection;
    while (this.#waiting.size > 0 && isUsable(connection)) {
      this.#waiting.sendNext(connection);
    }
    this.#over.abort(this.#gone());
    this.#waiting.fail(this.#gone());
    await this.#tenant?.close();
    await Promise.all([...this.#open].map((connection) => connection.close()));
  }

  /**
   * Connects no more, and aborts the connection.
   * @internal
   */
  abort(reason: unknown): void {
    this.#end = { clean: false, cause: reason };
    this.#over.abort(reason);
    this.#waiting.fail(this.#gone());
    for (const connection of this.#open) connection.abort(reason);
  }

  /** The same as {@linkcode Client.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #gone(): ConnectionClosedError {
    return new ConnectionClosedError(
      "Cannot connect: the client is closed",
      this.#end,
    );
  }
}

/** Whether something new can be sent over a connection, and replies can come. */
function isUsable<T>(
  connection: Connection<T> | undefined,
): connection is Connection<T> {
  return connection !== undefined && !linkOf(connection).isOver;
}
