/**
 * JSON-RPC 2.0 over connections: any number of calls at once, in both
 * directions, with cancellation, deadlines and streams, and types from the
 * methods themselves.
 *
 * {@linkcode serveRpc} serves methods, {@linkcode connectRpc} calls them,
 * {@linkcode rpc} does both over any connection. On the wire each frame holds
 * one message of the [specification](https://www.jsonrpc.org/specification), so
 * a peer in another language needs only the length in front of it.
 *
 * ```ts
 * import { connectRpc, serveRpc } from "@blackbelt/networking/rpc";
 * import { assertEquals } from "@std/assert";
 *
 * const methods = {
 *   add: (a: number, b: number) => a + b,
 *   async *count({ to }: { to: number }) {
 *     for (let i = 1; i <= to; i++) yield i;
 *   },
 * };
 * await using server = serveRpc({ hostname: "127.0.0.1", port: 0 }, methods);
 * await using client = await connectRpc<typeof methods>(server.addr);
 * assertEquals(await client.api.add(1, 2), 3);
 * assertEquals(await Array.fromAsync(client.api.count({ to: 3 })), [1, 2, 3]);
 * ```
 *
 * @module
 */
import {
  type CLIENT_DEFAULTS,
  type ClientOptions,
  connect,
  type CONNECT_DEFAULTS,
  type ConnectOptions,
} from "./client.ts";
import {
  CLIENT_OPTIONS,
  CONNECT_OPTIONS,
  ReconnectingClient,
} from "./core/client/client.ts";
import { Connection } from "./core/connection/connection.ts";
import type { JsonValue } from "./core/framing/framing.ts";
import {
  checkArgument,
  defaultsOf,
  type OptionTable,
  readOptions,
  timeout,
  wrongType,
} from "./core/tools/options.ts";
import { bind, dial } from "./core/platform/platform.ts";
import {
  makeServer,
  type Server,
  SERVER_OPTIONS,
} from "./core/server/server.ts";
import { makeRpcClient, type RpcClient } from "./core/rpc/client.ts";
import type { RpcMethods, RpcUntyped } from "./core/rpc/contract.ts";
import { makePeer, type RpcPeer } from "./core/rpc/peer.ts";
import {
  type RPC_DEFAULTS,
  RPC_OPTIONS,
  type RpcOptions,
  RpcSettings,
} from "./core/rpc/options.ts";
import type { SERVE_DEFAULTS, ServeOptions } from "./server.ts";

export { RpcError } from "./core/rpc/jsonrpc.ts";
export type { RpcClient, RpcClientStats } from "./core/rpc/client.ts";
export {
  method,
  type RpcApi,
  type RpcCallOptions,
  type RpcCallParams,
  type RpcCheckedMethod,
  type RpcContext,
  type RpcFunction,
  type RpcMethod,
  type RpcMethods,
  type RpcName,
  type RpcNameWithoutParams,
  type RpcParams,
  type RpcRemote,
  type RpcReply,
  type RpcReserved,
  type RpcResult,
  type RpcSignature,
  type RpcStream,
  type RpcUntyped,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchema,
} from "./core/rpc/contract.ts";
export type { Jsonify } from "./core/rpc/jsonify.ts";
export type { RpcPeer, RpcStats } from "./core/rpc/peer.ts";
export { type RpcErrorHandler } from "./core/rpc/replies.ts";
export { RPC_DEFAULTS, type RpcOptions } from "./core/rpc/options.ts";

/**
 * Options of {@linkcode serveRpc}: those of `serve` and {@linkcode RpcOptions}.
 *
 * @typeParam I Type of `identity`: what `authenticate` returns for a peer.
 */
export interface ServeRpcOptions<I = unknown>
  extends
    Omit<ServeOptions<JsonValue, I>, "maxInFlight" | "onError">,
    RpcOptions<I> {}

const SERVE_RPC_OPTIONS: OptionTable<ServeRpcOptions> = {
  ...SERVER_OPTIONS,
  ...RPC_OPTIONS,
};

/** The defaults of {@linkcode ServeRpcOptions}. */
export const SERVE_RPC_DEFAULTS: typeof SERVE_DEFAULTS & typeof RPC_DEFAULTS =
  defaultsOf(SERVE_RPC_OPTIONS);

/**
 * Options of {@linkcode connectRpc}: those of `connect` and {@linkcode
 * RpcOptions}.
 */
export interface ConnectRpcOptions
  extends Omit<ConnectOptions, "heartbeat">, RpcOptions {
  /**
   * Milliseconds without a message in one direction before `rpc.ping` is
   * called, and for its answer; `false` calls nothing. Every peer answers it,
   * even if only that there is no such method. A peer that does not answer is
   * disconnected. So a quiet client stays connected to a server with an
   * `idleTimeout`, and notices a server that has disappeared.
   *
   * @default {20_000}
   */
  heartbeat?: number | false;
}

const CONNECT_RPC_OPTIONS: OptionTable<ConnectRpcOptions> = {
  ...CONNECT_OPTIONS,
  ...RPC_OPTIONS,
  heartbeat: {
    default: 20_000,
    check(name, value) {
      if (value === false) return;
      if (typeof value === "number") return timeout().check(name, value);
      throw wrongType(name, value, "false or a number of milliseconds");
    },
  },
};

/** The defaults of {@linkcode ConnectRpcOptions}. */
export const CONNECT_RPC_DEFAULTS:
  & typeof CONNECT_DEFAULTS
  & typeof RPC_DEFAULTS
  & Required<Pick<ConnectRpcOptions, "heartbeat">> = defaultsOf(
    CONNECT_RPC_OPTIONS,
  );

/**
 * Options of {@linkcode createRpcClient}: those of `createClient` and
 * {@linkcode RpcOptions}.
 */
export interface RpcClientOptions
  extends ConnectRpcOptions, Pick<ClientOptions, "maxRetryDelay"> {}

const RPC_CLIENT_OPTIONS: OptionTable<RpcClientOptions> = {
  ...CLIENT_OPTIONS,
  ...CONNECT_RPC_OPTIONS,
};

/** The defaults of {@linkcode RpcClientOptions}. */
export const RPC_CLIENT_DEFAULTS:
  & typeof CLIENT_DEFAULTS
  & typeof CONNECT_RPC_DEFAULTS = defaultsOf(RPC_CLIENT_OPTIONS);

/**
 * Speaks JSON-RPC over a connection of any kind. The peer owns the connection.
 *
 * ```ts
 * import { fromStreams } from "@blackbelt/networking";
 * import { rpc } from "@blackbelt/networking/rpc";
 * import { assertEquals } from "@std/assert";
 *
 * const there = new TransformStream<Uint8Array, Uint8Array>();
 * const back = new TransformStream<Uint8Array, Uint8Array>();
 * const methods = { greet: (name: string) => `Hello, ${name}` };
 * rpc(fromStreams({ readable: there.readable, writable: back.writable }), methods);
 * await using client = rpc<typeof methods>(
 *   fromStreams({ readable: back.readable, writable: there.writable }),
 * );
 * assertEquals(await client.api.greet("Ada"), "Hello, Ada");
 * ```
 *
 * @typeParam Remote Type of the other end's methods: an interface, or `typeof`
 * the object that has them.
 * @param connection The connection.
 * @param methods What this end serves.
 * @param options Limits of calls.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If an option does not exist or has the wrong type, or a
 * method is invalid.
 */
export function rpc<Remote = RpcUntyped>(
  connection: Connection,
  methods: RpcMethods<Remote> = {},
  options: RpcOptions = {},
): RpcPeer<Remote> {
  checkArgument(
    "connection",
    connection,
    connection instanceof Connection,
    "a connection",
  );
  return makePeer(connection, new RpcSettings(methods, options));
}

/**
 * A server of methods that runs until it is shut down. Made by {@linkcode
 * serveRpc}.
 *
 * ```ts
 * import { connectRpc, serveRpc } from "@blackbelt/networking/rpc";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serveRpc({ hostname: "127.0.0.1", port: 0 }, { ping: () => "pong" });
 * await using client = await connectRpc(server.addr, { name: () => "Ada" });
 * assertEquals(await client.call("ping"), "pong");
 * for (const peer of server.peers) {
 *   assertEquals(await peer.call("name"), "Ada"); // calls each client
 * }
 * ```
 *
 * @typeParam Remote Type of the clients' methods.
 * @typeParam I Type of `identity`: what `authenticate` returns for a client.
 */
export interface RpcServer<Remote = RpcUntyped, I = unknown>
  extends Server<JsonValue, I> {
  /** The peers that are connected. Use them to call the clients. */
  readonly peers: ReadonlySet<RpcPeer<Remote, I>>;
}

/**
 * Serves methods. It takes all options of `serve`, such as TLS, authentication
 * and limits. When it shuts down, it refuses new calls and aborts the methods'
 * signals. Calls at work are answered within `shutdownTimeout`; each stream
 * ends at its next item, or at once if there is none, with -32002.
 *
 * A method is a function, or an object with a handler, a description and a
 * schema for its parameters. See {@linkcode RpcFunction}, {@linkcode RpcMethod}
 * and {@linkcode method}.
 *
 * ```ts
 * import { connectRpc, type RpcContext, RpcError, serveRpc } from "@blackbelt/networking/rpc";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const methods = {
 *   divide(a: number, b: number): number {
 *     if (b === 0) throw new RpcError(1, "Division by zero");
 *     return a / b;
 *   },
 *   async greet(this: RpcContext, { greeting }: { greeting: string }) {
 *     return `${greeting}, ${await this.call("name")}`; // calls the caller
 *   },
 * };
 * await using server = serveRpc({ hostname: "127.0.0.1", port: 0 }, methods);
 * await using client = await connectRpc<typeof methods>(server.addr, { name: () => "Ada" });
 * assertEquals(await client.api.greet({ greeting: "Hello" }), "Hello, Ada");
 * await assertRejects(() => client.api.divide(1, 0), RpcError, "Division by zero");
 * ```
 *
 * @typeParam Remote Type of the clients' methods.
 * @typeParam I Type of `identity`: what `authenticate` returns for a client.
 * @param options Where to listen, and limits.
 * @param methods What to serve.
 * @throws {Deno.errors.AddrInUse} If the address is in use.
 * @throws {Deno.errors.NotCapable} If the permission to listen there is
 * missing.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If an option does not exist or has the wrong type, or a
 * method is invalid.
 */
export function serveRpc<Remote = RpcUntyped, I = unknown>(
  options: ServeRpcOptions<I>,
  methods: RpcMethods<Remote, I>,
): RpcServer<Remote, I> {
  const given = readOptions(SERVE_RPC_OPTIONS, options);
  const settings = new RpcSettings(methods, given as RpcOptions);
  const peers = new Set<RpcPeer<Remote, I>>();
  const server = makeServer<JsonValue, I>(given, bind, (connection) => {
    const peer = makePeer<Remote, I>(connection, settings);
    peers.add(peer);
    connection.closed.then(() => peers.delete(peer));
  });
  return Object.assign(server, { peers });
}

/**
 * Connects to a server to call its methods. It takes all options of `connect`,
 * such as TLS and authentication.
 *
 * ```ts
 * import { connectRpc, serveRpc } from "@blackbelt/networking/rpc";
 * import { assertRejects } from "@std/assert";
 *
 * interface Clock {
 *   ticks(params: { every: number }): AsyncIterable<number>;
 *   never(): Promise<void>;
 * }
 * await using server = serveRpc({ hostname: "127.0.0.1", port: 0 }, {
 *   async *ticks() {
 *     for (let tick = 1;; tick++) yield tick;
 *   },
 *   never: () => new Promise(() => {}),
 * });
 * await using client = await connectRpc<Clock>(server.addr);
 * for await (const tick of client.api.ticks({ every: 10 })) {
 *   if (tick === 3) break; // ends the generator at the other end, too
 * }
 * await assertRejects(() => client.call("never", [], { timeout: 5 }), DOMException);
 * ```
 *
 * @typeParam Remote Type of the server's methods: an interface, or `typeof` the
 * object that has them.
 * @param options Where to connect to, and limits.
 * @param methods What this end serves for the server to call.
 * @throws {Deno.errors.ConnectionRefused} If no server listens there.
 * @throws {Deno.errors.NotCapable} If the permission to connect there is
 * missing.
 * @throws {DOMException} With the name `TimeoutError`, if it takes longer than
 * `connectTimeout`.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If an option does not exist or has the wrong type, or a
 * method is invalid.
 */
export async function connectRpc<Remote = RpcUntyped>(
  options: ConnectRpcOptions = {},
  methods: RpcMethods<Remote> = {},
): Promise<RpcPeer<Remote>> {
  const given = readOptions(CONNECT_RPC_OPTIONS, options);
  const settings = settingsOf(given, methods);
  return makePeer(await connect(withoutHeartbeat(given)), settings);
}

/**
 * Creates a client of a server's methods, which connects again when its
 * connection is lost. It takes all options of `createClient`, and connects for
 * the first time as that does.
 *
 * ```ts
 * import { createRpcClient, serveRpc } from "@blackbelt/networking/rpc";
 * import { assertEquals } from "@std/assert";
 *
 * const methods = { add: (a: number, b: number) => a + b };
 * await using server = serveRpc({ hostname: "127.0.0.1", port: 0 }, methods);
 * await using client = await createRpcClient<typeof methods>(server.addr);
 * assertEquals(await client.api.add(1, 2), 3);
 * ```
 *
 * @typeParam Remote Type of the server's methods: an interface, or `typeof` the
 * object that has them.
 * @param options Where to connect to, and limits.
 * @param methods What this end serves for the server to call.
 * @throws {AuthenticationError} If the server rejects the login.
 * @throws {Deno.errors.NotCapable} If the permission to connect there is
 * missing.
 * @throws {Error} If there is no such host.
 * @throws {RangeError} If a number is out of range.
 * @throws {TlsError} If the server's certificate is not trusted, or the server
 * does not speak TLS, or requires a certificate and there is none.
 * @throws {TypeError} If an option does not exist or has the wrong type, or a
 * method is invalid.
 */
export async function createRpcClient<Remote = RpcUntyped>(
  options: RpcClientOptions = {},
  methods: RpcMethods<Remote> = {},
): Promise<RpcClient<Remote>> {
  const given = readOptions(RPC_CLIENT_OPTIONS, options);
  const settings = settingsOf(given, methods);
  const client = new ReconnectingClient(withoutHeartbeat(given), dial);
  const rpcClient = makeRpcClient<Remote>(client, settings);
  await client.open(given.signal);
  return rpcClient;
}

function settingsOf<Remote>(
  given: ConnectRpcOptions,
  methods: RpcMethods<Remote>,
): RpcSettings {
  const { heartbeat } = { ...CONNECT_RPC_DEFAULTS, ...given };
  return new RpcSettings(methods, given, heartbeat);
}

/** What `connect` and a client take of the options; the peer has the heartbeat. */
function withoutHeartbeat(given: RpcClientOptions): ClientOptions {
  return { ...readOptions(CLIENT_OPTIONS, given), heartbeat: undefined };
}
