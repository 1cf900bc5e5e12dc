/**
 * A client as its users see it, and what it tells.
 *
 * @module
 */
import type {
  ClosedEvent,
  ConnectedEvent,
  Connection,
  ConnectionEnd,
  ConnectionStats,
  FailedEvent,
  RequestOptions,
} from "../connection/connection.ts";
import type { JsonValue } from "../framing/framing.ts";

/**
 * A client that connects again when its connection is lost and one is needed.
 * Made by `createClient`.
 *
 * Messages that are sent while there is no connection wait for one. They are
 * encoded during the call, sent in order, and limited by `maxQueuedBytes`.
 *
 * A request is sent at most once. If the connection is lost before the reply
 * has come, it rejects; the server may or may not have handled it. To stay
 * connected, iterate over the client: it gives one connection after the other,
 * until the client is closed.
 *
 * ```ts
 * import { createClient, serve } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => message);
 * await using client = await createClient(server.addr);
 * assertEquals(await client.request("hello"), "hello");
 * const connection = await client.connected();
 * connection.abort(); // as if the link broke
 * await connection.closed;
 * assertEquals(await client.request("again"), "again");
 * ```
 *
 * @typeParam T Type of the server's messages. It is not checked at run time.
 */
export interface Client<T = JsonValue>
  extends AsyncIterable<Connection<T>>, AsyncDisposable {
  /** Resolves when the client is closed and so are its connections. */
  readonly closed: Promise<ConnectionEnd>;

  /** Aborted when the client is closed. */
  readonly signal: AbortSignal;

  /**
   * Returns the open connection, or connects until there is one.
   *
   * @throws {ConnectionClosedError} If the client is closed.
   * @throws The signal's reason, if it is aborted. Others that wait for the
   * same connection continue to wait.
   */
  connected(
    options?: Pick<RequestOptions, "signal">,
  ): Promise<Connection<T>>;

  /** Counts over all connections so far. */
  stats(): ClientStats;

  /**
   * Sends a message over the connection, once there is one; see
   * {@linkcode Connection.send}.
   */
  send(message: unknown): Promise<void>;

  /**
   * Sends a message and waits for its reply, once there is a connection; see
   * {@linkcode Connection.request}. It is sent at most once. Its `timeout`
   * begins with the call.
   */
  request(message: unknown, options?: RequestOptions): Promise<T>;

  /**
   * Closes the connection, once everything sent before has been written, and
   * connects no more. It may be called at any time and more than once. Requests
   * without a reply reject, and so does everything that waits for a connection.
   */
  close(): Promise<void>;
}

/** An attempt to connect begins. */
export interface ConnectingEvent {
  /** The kind of event. */
  readonly type: "connecting";
  /** Milliseconds before it; 0 for the first attempt. */
  readonly delay: number;
}

/**
 * An event of a client, for logs and counters. Every `connecting` is followed
 * by `connected` or `failed`, every `connected` by `closed`.
 */
export type ClientEvent<T = JsonValue> =
  | ConnectingEvent
  | ConnectedEvent<T>
  | FailedEvent
  | ClosedEvent<T>;

/** Counts over all connections of a client, the closed ones included. */
export interface ClientStats extends ConnectionStats {
  /** Connections made so far. */
  readonly connected: number;
  /** Attempts to connect that have failed so far. */
  readonly failed: number;
}
