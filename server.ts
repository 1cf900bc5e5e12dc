/**
 * Servers: `listen` and `serve`. Run as a program, this module is the server:
 * `deno run --allow-net=0.0.0.0 server.ts`.
 *
 * @module
 */
import {
  type ConnectionHandler,
  handle,
  type Handler,
  LISTEN_OPTIONS,
  type Listener,
  type ListenOptions,
  makeListener,
  makeServer,
  Responder,
  SERVE_DEFAULTS,
  SERVE_OPTIONS,
  type ServeOptions,
  type Server,
  SERVER_OPTIONS,
  type ServerOptions,
} from "./core/server/server.ts";
import type { JsonValue } from "./core/framing/framing.ts";
import { bind } from "./core/platform/platform.ts";
import { checkArgument, readOptions } from "./core/tools/options.ts";

export {
  type AcceptFailedEvent,
  type AcceptOptions,
  type ConnectionHandler,
  type DrainingEvent,
  type ErrorHandler,
  type Handler,
  LISTEN_DEFAULTS,
  type Listener,
  type ListeningEvent,
  type ListenOptions,
  NO_REPLY,
  type RejectedEvent,
  type RejectionReason,
  type Reply,
  SERVE_DEFAULTS,
  type ServeOptions,
  type Server,
  type ServerEvent,
  type ServerOptions,
  type ServerStats,
} from "./core/server/server.ts";

/**
 * Listens for connections, like `Deno.listen`, and calls `handler` with each.
 * The connection is closed when the handler is done. A broken link ends its own
 * connection alone; any other error of the handler is also printed.
 *
 * Once the handler is done, `send` rejects. Await everything that it has
 * started before it returns; what was sent by then is still written.
 *
 * ```ts
 * import { connect, type Connection, listen } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * await using listener = listen(
 *   { hostname: "127.0.0.1", port: 0 },
 *   async (connection) => {
 *     for await (const message of connection) await connection.send([message]);
 *   },
 * );
 * await using client = await connect(listener.addr);
 * assertEquals(await client.request("hello"), ["hello"]);
 *
 * async function reply(connection: Connection, message: unknown): Promise<void> {
 *   await new Promise((resolve) => setTimeout(resolve, 10));
 *   connection.send([message]);
 * }
 * await using busy = listen(
 *   { hostname: "127.0.0.1", port: 0 },
 *   async (connection) => {
 *     const replies: Promise<void>[] = [];
 *     for await (const message of connection) {
 *       replies.push(reply(connection, message));
 *     }
 *     await Promise.all(replies);
 *   },
 * );
 * await using other = await connect(busy.addr);
 * await other.send("hello");
 * await other.closeWrite();
 * assertEquals(await Array.fromAsync(other), [["hello"]]);
 * ```
 *
 * @typeParam T Type of the peers' messages. It is not checked at run time.
 * @typeParam I Type of `identity`: what `authenticate` returns for a peer.
 * @param options Where to listen, framing and limits.
 * @param handler Handles one connection.
 * @throws {Deno.errors.AddrInUse} If the address is in use.
 * @throws {Deno.errors.NotCapable} If the permission to listen there is
 * missing.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If an option does not exist or has the wrong type.
 */
export function listen<T = JsonValue, I = unknown>(
  options: ServerOptions<T, I>,
  handler: ConnectionHandler<T, I>,
): Server<T, I>;
/**
 * Listens for connections, which the program accepts one by one. Catch what the
 * code for a connection throws: an iteration throws when the link breaks.
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
 * await connection.close();
 * await client.close();
 * ```
 *
 * @typeParam T Type of the peers' messages. It is not checked at run time.
 * @typeParam I Type of `identity`: what `authenticate` returns for a peer.
 * @param options Where to listen, framing and limits.
 */
export function listen<T = JsonValue, I = unknown>(
  options?: ListenOptions<T, I>,
): Listener<T, I>;
export function listen<T = JsonValue, I = unknown>(
  options: ServerOptions<T, I> = {},
  handler?: ConnectionHandler<T, I>,
): Listener<T, I> | Server<T, I> {
  if (handler === undefined) {
    return makeListener(readOptions(LISTEN_OPTIONS, options), bind);
  }
  const given = readOptions(SERVER_OPTIONS, options);
  checkHandler(handler);
  return makeServer(
    given,
    bind,
    (connection) => void handle(connection, handler),
  );
}

/**
 * Answers messages, like `Deno.serve`. The reply is what the handler returns or
 * resolves to.
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
 * @typeParam T Type of the clients' messages. It is not checked at run time.
 * @typeParam I Type of `identity`: what `authenticate` returns for a peer.
 * @param options Where to listen, framing and limits.
 * @param handler Answers a message.
 * @throws {Deno.errors.AddrInUse} If the address is in use.
 * @throws {Deno.errors.NotCapable} If the permission to listen there is
 * missing.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If an option does not exist or has the wrong type.
 */
export function serve<T = JsonValue, I = unknown>(
  options: ServeOptions<T, I>,
  handler: Handler<T, I>,
): Server<T, I>;
/**
 * Answers messages on port 8080 of all addresses of this machine.
 *
 * @typeParam T Type of the clients' messages. It is not checked at run time.
 * @typeParam I Type of `identity`: what `authenticate` returns for a peer.
 * @param handler Answers a message.
 */
export function serve<T = JsonValue, I = unknown>(
  handler: Handler<T, I>,
): Server<T, I>;
export function serve<T = JsonValue, I = unknown>(
  ...args: [Handler<T, I>] | [ServeOptions<T, I>, Handler<T, I>]
): Server<T, I> {
  const [options, handler] = args.length === 1 && typeof args[0] === "function"
    ? [{}, args[0]]
    : args as [ServeOptions<T, I>, Handler<T, I>];
  const { maxInFlight = SERVE_DEFAULTS.maxInFlight, onError, ...rest } =
    readOptions(SERVE_OPTIONS, options);
  checkHandler(handler);
  return makeServer(rest, bind, (connection) => {
    new Responder(connection, handler, onError, maxInFlight);
  });
}

function checkHandler(handler: unknown): void {
  const isRight = typeof handler === "function";
  checkArgument("handler", handler, isRight, "a function");
}

if (import.meta.main) {
  // Not awaited: the program imports this module.
  import("./cli/server.ts").then(({ main }) => main());
}
