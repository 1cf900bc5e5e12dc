/**
 * Connecting to a server. As a program, the client:
 * `deno run --allow-net=localhost:8080 client.ts`.
 *
 * @module
 */
import {
  type Address,
  checkTimeout,
  Connection,
  CONNECTION_DEFAULTS,
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
import { type JsonValue, pickOptions, resolveOptions } from "./framing.ts";

/** Options of {@linkcode connect}. */
export interface ConnectOptions extends ConnectionOptions, EndpointOptions {
  /**
   * Host to connect to.
   *
   * @default {"localhost"}
   */
  hostname?: string;
  /**
   * Port to connect to.
   *
   * @default {8080}
   */
  port?: number;
  /**
   * Milliseconds that connecting may take; `Infinity` for as long as the
   * platform tries.
   *
   * @default {10_000}
   */
  connectTimeout?: number;
  /**
   * Gives up connecting when aborted, and aborts the connection once there is
   * one.
   */
  signal?: AbortSignal;
}

/** The defaults of {@linkcode ConnectOptions}. */
export const CONNECT_DEFAULTS: Readonly<
  Required<Omit<ConnectOptions, "path" | "transport" | "signal">>
> = Object.freeze({
  ...CONNECTION_DEFAULTS,
  hostname: "localhost",
  port: 8080,
  connectTimeout: 10_000,
});

/**
 * Connects to a server, like `Deno.connect`.
 *
 * ```ts
 * import { connect, serve } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => message);
 * await using client = await connect(server.addr);
 * const replies = await Promise.all([client.request(1), client.request(2)]);
 * assertEquals(replies, [1, 2]);
 * ```
 *
 * @typeParam T What the messages of the server are taken to be; nothing checks
 * it.
 * @param options Where to connect to, framing and limits.
 * @throws {Deno.errors.ConnectionRefused} If nobody listens there.
 * @throws {Deno.errors.NotCapable} If the permission to connect there is
 * missing.
 * @throws {DOMException} With the name `TimeoutError`, if it takes longer than
 * `connectTimeout`.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If an option does not exist or has the wrong type.
 */
export async function connect<T = JsonValue>(
  options: ConnectOptions = {},
): Promise<Connection<T>> {
  const { connectTimeout, signal } = resolveOptions<
    typeof CONNECT_DEFAULTS & ConnectOptions
  >({
    ...CONNECT_DEFAULTS,
    path: undefined,
    transport: undefined,
    signal: undefined,
  }, options);
  checkTimeout("connectTimeout", connectTimeout);
  const settings = new Settings(pickOptions(CONNECTION_DEFAULTS, options));
  const endpoint = checkEndpoint(options, CONNECT_DEFAULTS);
  signal?.throwIfAborted();

  const conn = await dial(endpoint, connectTimeout, signal);
  disableNagle(conn as Deno.TcpConn);
  const connection = new Connection<T>(conn, settings, {
    localAddr: addressOf(conn.localAddr),
    remoteAddr: addressOf(conn.remoteAddr),
  });
  if (signal !== undefined) {
    onAbort(signal, () => connection.abort(signal.reason), connection.signal);
  }
  return connection;
}

/**
 * Connects until it takes too long or is aborted. Not every transport takes a
 * signal, so a late connection is closed here.
 */
async function dial(
  endpoint: Address,
  connectTimeout: number,
  signal: AbortSignal | undefined,
): Promise<Deno.Conn> {
  const abandoned = new AbortController();
  const settled = new AbortController();
  const { promise, reject } = Promise.withResolvers<never>();
  function abandon(reason: unknown): void {
    abandoned.abort(reason);
    reject(reason);
  }
  const stopTimer = startTimer(connectTimeout, () => {
    abandon(
      new DOMException(
        `Cannot connect: no answer after ${connectTimeout} ms`,
        "TimeoutError",
      ),
    );
  });
  onAbort(signal, () => abandon(signal?.reason), settled.signal);
  const dialing = endpoint.transport === "tcp"
    ? Deno.connect({ ...endpoint, signal: abandoned.signal })
    : Deno.connect(endpoint);
  try {
    return await Promise.race([dialing, promise]);
  } catch (error) {
    dialing.then((conn) => conn.close(), () => {});
    throw error;
  } finally {
    stopTimer();
    settled.abort();
  }
}

if (import.meta.main) {
  // Not awaited: the program imports this module.
  import("./cli/client.ts").then(({ main }) => main(Deno.args));
}
