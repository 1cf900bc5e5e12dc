/**
 * Clients: `connect`. Run as a program, this module is the client: `deno run
 * --allow-net=localhost client.ts`.
 *
 * @module
 */
import {
  Client,
  CONNECT_OPTIONS,
  type ConnectOptions,
  Dialer,
  type ReconnectOptions,
} from "./core/client/client.ts";
import type { Connection } from "./core/connection/connection.ts";
import type { JsonValue } from "./core/framing/framing.ts";
import { dial, isDenied } from "./core/platform/platform.ts";
import { onAbort } from "./core/tools/abort.ts";
import { readOptions } from "./core/tools/options.ts";

export { CONNECT_DEFAULTS, type ConnectOptions } from "./core/client/client.ts";

/** Options of {@linkcode connect} for a client that connects again. */
export interface ReconnectingOptions<T = JsonValue> extends ConnectOptions<T> {
  /**
   * Connects again when the connection was lost: `true`, or how. The first
   * connection must succeed.
   */
  reconnect: ReconnectOptions | true;
}

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
export function connect<T = JsonValue>(
  options: ReconnectingOptions<T>,
): Promise<Client<T>>;
/**
 * Connects to a server, like `Deno.connect`.
 *
 * @typeParam T Type of the server's messages. It is not checked at run time.
 * @param options Where to connect to, framing and limits.
 */
export function connect<T = JsonValue>(
  options?: ConnectOptions<T> & { reconnect?: false },
): Promise<Connection<T>>;
export async function connect<T = JsonValue>(
  options: ConnectOptions<T> & {
    reconnect?: ReconnectingOptions<T>["reconnect"] | false;
  } = {},
): Promise<Connection<T> | Client<T>> {
  const { reconnect = false, ...rest } = readOptions(CONNECT_OPTIONS, options);
  const dialer = new Dialer<T>(rest, dial);
  const { signal } = rest;
  signal?.throwIfAborted();
  if (reconnect === false) return await dialer.connect(signal);
  const client = new Client<T>(
    (closing) => dialer.connect(closing),
    isFinal,
    dialer.events,
    reconnect === true ? {} : reconnect,
    dialer.settings,
  );
  onAbort(signal, (reason) => client.abort(reason), client.signal);
  return await client.open();
}

/** Whether trying again now would not help. */
function isFinal(error: unknown): boolean {
  return error instanceof TypeError || isDenied(error);
}

if (import.meta.main) {
  // Not awaited: the program imports this module.
  import("./cli/client.ts").then(({ main }) => main());
}
