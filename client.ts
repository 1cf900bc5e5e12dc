/**
 * Clients: `connect` and `createClient`. Run as a program, this module is the
 * client: `deno run --allow-net=localhost client.ts`.
 *
 * @module
 */
import {
  type Client,
  type ClientOptions,
  CONNECT_OPTIONS,
  type ConnectOptions,
  Dialer,
  ReconnectingClient,
} from "./core/client/client.ts";
import type { Connection } from "./core/connection/connection.ts";
import type { JsonValue } from "./core/framing/framing.ts";
import { dial } from "./core/platform/platform.ts";
import { readOptions } from "./core/tools/options.ts";

export {
  type Client,
  CLIENT_DEFAULTS,
  type ClientEvent,
  type ClientOptions,
  type ClientStats,
  CONNECT_DEFAULTS,
  type ConnectingEvent,
  type ConnectOptions,
  type Heartbeat,
} from "./core/client/client.ts";

/**
 * Connects to a server, like `Deno.connect`.
 *
 * ```ts
 * import { connect, serve } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => message);
 * await using connection = await connect(server.addr);
 * const replies = await Promise.all([connection.request(1), connection.request(2)]);
 * assertEquals(replies, [1, 2]);
 * ```
 *
 * @typeParam T Type of the server's messages. It is not checked at run time.
 * @param options Where to connect to, framing and limits.
 * @throws {Deno.errors.ConnectionRefused} If no server listens there.
 * @throws {Deno.errors.NotCapable} If the permission to connect there is
 * missing.
 * @throws {DOMException} With the name `TimeoutError`, if it takes longer than
 * `connectTimeout`.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If an option does not exist or has the wrong type.
 */
export async function connect<T = JsonValue>(
  options: ConnectOptions<T> = {},
): Promise<Connection<T>> {
  const given = readOptions(CONNECT_OPTIONS, options);
  const dialer = new Dialer<T>(given, dial);
  given.signal?.throwIfAborted();
  return await dialer.connect(given.signal);
}

/**
 * Creates a client, which connects again when its connection is lost and one is
 * needed.
 *
 * It resolves when the client is connected for the first time. Until then it
 * tries again after every failure that may be temporary: no server listens
 * there, the server cannot be reached, is too slow or says to try again later.
 * The event `failed` tells why. It rejects if another attempt would fail in the
 * same way, for example if the login is rejected. A server that refuses the
 * client's certificate may only cut the connection, which looks temporary: if
 * it never resolves, see what `failed` says. After the first connection,
 * such a failure is only reported, and the next attempt is made after
 * `maxRetryDelay`.
 *
 * ```ts
 * import { createClient, serve } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * const first = serve({ hostname: "127.0.0.1", port: 0 }, () => "first");
 * await using client = await createClient(first.addr);
 * assertEquals(await client.request("which server is it?"), "first");
 * const { closed } = await client.connected();
 * await first.shutdown();
 * await closed;
 * await using second = serve(first.addr, () => "second");
 * assertEquals(await client.request("which server is it?"), "second");
 * ```
 *
 * @typeParam T Type of the server's messages. It is not checked at run time.
 * @param options Where to connect to, framing and limits.
 * @throws {AuthenticationError} If the server rejects the login.
 * @throws {Deno.errors.NotCapable} If the permission to connect there is
 * missing.
 * @throws {Error} If there is no such host.
 * @throws {RangeError} If a number is out of range.
 * @throws {TlsError} If the server's certificate is not trusted, or the server
 * does not speak TLS, or requires a certificate and there is none.
 * @throws {TypeError} If an option does not exist or has the wrong type.
 */
export async function createClient<T = JsonValue>(
  options: ClientOptions<T> = {},
): Promise<Client<T>> {
  const client = new ReconnectingClient<T>(options, dial);
  return await client.open(options.signal);
}

if (import.meta.main) {
  // Not awaited: the program imports this module.
  import("./cli/client.ts").then(({ main }) => main());
}
