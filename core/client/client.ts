/**
 * A client that connects again.
 *
 * @module
 */
import type { Framing, JsonValue } from "../framing/framing.ts";
import { abortable, onAbort } from "../tools/abort.ts";
import {
  type Connection,
  ConnectionClosedError,
  type ConnectionEnd,
  linkOf,
  REQUEST_OPTIONS,
  type RequestOptions,
  Totals,
  unsent,
} from "../connection/connection.ts";
import type { dial } from "../platform/platform.ts";
import { readOptions } from "../tools/options.ts";
import { quiet } from "../tools/promises.ts";
import { Dialer, isFinal } from "./dialer.ts";
import {
  CLIENT_DEFAULTS,
  CLIENT_OPTIONS,
  type ClientOptions,
} from "./options.ts";
import type { Client, ClientStats } from "./contract.ts";
import { type Sending, WaitingMessages } from "./waiting.ts";
export type {
  Client,
  ClientEvent,
  ClientStats,
  ConnectingEvent,
} from "./contract.ts";
export { Dialer } from "./dialer.ts";
export {
  CLIENT_DEFAULTS,
  CLIENT_OPTIONS,
  type ClientOptions,
  CONNECT_DEFAULTS,
  CONNECT_OPTIONS,
  type ConnectOptions,
  type Heartbeat,
} from "./options.ts";

const CONNECTED_OPTIONS = { signal: REQUEST_OPTIONS.signal };

/** Sending waits for as long as it takes. */
const UNLIMITED = { timeout: Infinity };

/** Most milliseconds before the first attempt after a loss or a failure. */
const FIRST_DELAY = 100;

/** What uses the connections of a client beside its own requests: a caller. */
export interface Tenant<T> {
  /** Takes over a new connection, before the messages that wait are sent. */
  use(connection: Connection<T>): void;
  /** Closes it. */
  close(): Promise<void>;
}

/** See {@linkcode Client}. */
export class ReconnectingClient<T = JsonValue> implements Client<T> {
  readonly #dialer: Dialer<T>;
  readonly #maxRetryDelay: number;
  readonly #waiting: WaitingMessages<T>;
  readonly #over = new AbortController();
  readonly #closed = Promise.withResolvers<ConnectionEnd>();
  #tenant: Tenant<T> | undefined;
  #connection: Connection<T> | undefined;
  /** The current connection, and earlier ones that are still closing. */
  readonly #open = new Set<Connection<T>>();
  #connecting: Promise<Connection<T>> | undefined;
  /** Delays drawn since the last connection that lasted or was of use. */
  #delays = 0;
  /** How the client ends, once it does. */
  #end: ConnectionEnd = { clean: true };
  readonly #totals = new Totals();
  #connected = 0;
  #failed = 0;

  /**
   * Creates a client that is not connected yet.
   *
   * @param options Its options.
   * @param dialSocket Opens a socket.
   * @throws {RangeError} If a number is out of range.
   * @throws {TypeError} If an option does not exist or has the wrong type.
   */
  constructor(options: ClientOptions<T>, dialSocket: typeof dial) {
    const given = readOptions(CLIENT_OPTIONS, options);
    this.#dialer = new Dialer(given, dialSocket);
    this.#maxRetryDelay = given.maxRetryDelay ?? CLIENT_DEFAULTS.maxRetryDelay;
    this.#waiting = new WaitingMessages(this.#dialer.settings);
  }

  get closed(): Promise<ConnectionEnd> {
    return this.#closed.promise;
  }

  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** The layout and limits of what is sent. */
  get framing(): Framing {
    return this.#dialer.settings.framing;
  }

  /**
   * Connects for the first time.
   *
   * @throws The error of an attempt that would fail again in the same way.
   * @throws The signal's reason, if it is aborted before the client is connected.
   */
  async open(signal?: AbortSignal): Promise<this> {
    const stop = onAbort(signal, (reason) => this.abort(reason));
    try {
      await this.#reach();
      signal?.throwIfAborted();
      return this;
    } catch (error) {
      this.abort(error);
      throw signal?.aborted ? signal.reason : error;
    } finally {
      stop();
    }
  }

  /** Connects no more, and aborts the connection. */
  abort(reason: unknown): void {
    if (!this.#over.signal.aborted) this.#end = { clean: false, cause: reason };
    for (const connection of this.#open) connection.abort(reason);
    this.close();
  }

  /**
   * Gives a tenant this connection and all later ones. From now on the client
   * stays connected.
   */
  takeOver(tenant: Tenant<T>): void {
    this.#tenant = tenant;
    if (this.#connection === undefined) this.#stay();
    else tenant.use(this.#connection);
  }

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

  /** Returns the open connection, or the next one. */
  #reach(): Promise<Connection<T>> {
    this.#check();
    const connection = this.#connection;
    if (isUsable(connection)) return Promise.resolve(connection);
    // Not synchronously: an event hook may ask for the same connection.
    const begun = Promise.resolve();
    return this.#connecting ??= quiet(begun.then(() => this.#connect()));
  }

  #check(): void {
    if (this.#over.signal.aborted) throw this.#gone();
  }

  async #connect(): Promise<Connection<T>> {
    const isFirst = this.#connected === 0;
    for (let delay = isFirst ? 0 : this.#drawDelay();;) {
      this.#check(); // the client may be closed by now
      try {
        const connection = await this.#dialer.connect(this.signal, delay);
        this.#use(connection);
        this.#connecting = undefined;
        this.#sendWaiting(connection);
        return connection;
      } catch (error) {
        this.#check();
        this.#failed++;
        if (isFinal(error)) {
          if (isFirst) throw error;
          delay = this.#maxRetryDelay;
        } else delay = this.#drawDelay();
      }
    }
  }

  #drawDelay(): number {
    const most = Math.min(
      FIRST_DELAY * 2 ** this.#delays++,
      this.#maxRetryDelay,
    );
    return Math.round(Math.random() * most);
  }

  #use(connection: Connection<T>): void {
    if (this.#over.signal.aborted) {
      connection.abort();
      throw this.#gone();
    }
    this.#connected++;
    this.#connection = connection;
    this.#open.add(connection);
    this.#tenant?.use(connection);
    const connectedAt = performance.now();
    const link = linkOf(connection);
    link.watch();
    link.over.then(() => {
      // A server that accepts and leaves at once gets longer delays, too.
      const lifetime = performance.now() - connectedAt;
      if (link.hasAnswered || lifetime > this.#maxRetryDelay) this.#delays = 0;
      // It may still write what was sent before; nothing has to wait for that.
      if (this.#connection === connection) this.#stay();
    });
    connection.closed.then(() => {
      this.#open.delete(connection);
      this.#totals.add(connection.stats());
      if (this.#connection === connection) this.#connection = undefined;
    });
  }

  /** Connects again at once, if something needs a connection. */
  #stay(): void {
    const isNeeded = this.#tenant !== undefined || this.#waiting.size > 0;
    if (isNeeded && !this.#over.signal.aborted) this.#reach();
  }

  /** Sends the messages that wait, as fast as the link takes them. */
  async #sendWaiting(connection: Connection<T>): Promise<void> {
    while (this.#waiting.size > 0 && isUsable(connection)) {
      this.#waiting.sendNext(connection);
      const room = linkOf(connection).room();
      // If the link has ended, sending the next message tells.
      if (room !== undefined) await room.catch(() => {});
    }
    this.#stay();
  }

  stats(): ClientStats {
    const stats = this.#totals.with(this.#open);
    return {
      connected: this.#connected,
      failed: this.#failed,
      ...stats,
      bytesQueued: stats.bytesQueued + this.#waiting.bytes,
    };
  }

  /**
   * The connection, if a message can be sent over it at once: it is usable, and
   * no earlier message waits.
   */
  get #ready(): Connection<T> | undefined {
    return isUsable(this.#connection) && this.#waiting.size === 0 &&
        !this.#over.signal.aborted
      ? this.#connection
      : undefined;
  }

  /** Queues a message until there is a connection, behind earlier ones. */
  #wait<Result>(
    message: unknown,
    options: RequestOptions,
    send: Sending<T, Result>,
  ): Promise<Result> {
    try {
      this.#check();
      const queued = this.#connection?.stats().bytesQueued ?? 0;
      const waiting = this.#waiting.add(message, options, queued, send);
      this.#reach();
      return waiting;
    } catch (error) {
      return unsent(error);
    }
  }

  send(message: unknown): Promise<void> {
    return this.#ready?.send(message) ??
      this.#wait(
        message,
        UNLIMITED,
        (connection, message) => connection.send(message),
      );
  }

  request(message: unknown, options: RequestOptions = {}): Promise<T> {
    return this.#ready?.request(message, options) ??
      this.#wait(
        message,
        options,
        (connection, message, limits) => connection.request(message, limits),
      );
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Connection<T>, void> {
    while (!this.#over.signal.aborted) {
      const connection = await this.#reach().catch(() => undefined);
      if (connection === undefined) return; // it is closed
      yield connection;
      await linkOf(connection).over;
    }
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    while (this.#waiting.size > 0 && isUsable(connection)) {
      this.#waiting.sendNext(connection);
    }
    this.#over.abort(this.#gone());
    this.#waiting.fail(() => this.#gone());
    await this.#tenant?.close();
    await Promise.all([...this.#open].map((connection) => connection.close()));
    this.#closed.resolve(this.#end);
  }

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

/** Whether a connection can still send messages and receive replies. */
function isUsable<T>(
  connection: Connection<T> | undefined,
): connection is Connection<T> {
  return connection !== undefined && !linkOf(connection).isOver;
}
