import { assertEquals } from "@std/assert";
import deno from "../deno.json" with { type: "json" };

const ROOT = new URL("../", import.meta.url);
/** As source declares it, by the words of `deno doc`. */
const KINDS: Record<string, string> = { variable: "const", typeAlias: "type" };

/** A block of code with an assertion. */
const EXAMPLE = /^```ts$[^]*^ *(?:await )?assert\w*\([^]*^```$/m;

/** Where a symbol is declared, in `deno doc --json`. */
interface Location {
  filename: string;
  line: number;
  col: number;
}

interface Declaration {
  kind: string;
  location: Location;
  def?: { target?: Location };
  jsDoc?: { doc?: string; tags?: { kind: string; doc?: string }[] };
}

interface Documentation {
  nodes: Record<
    string,
    { symbols: { name: string; declarations: Declaration[] }[] }
  >;
}

async function documentation(paths: string[]): Promise<Documentation> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--json", ...paths],
    cwd: ROOT,
  }).output();
  return JSON.parse(new TextDecoder().decode(stdout));
}

function keyOf({ filename, line, col }: Location): string {
  return `${filename}:${line}:${col}`;
}

/**
 * What each entry point exports, as "kind name". A class of which only the type
 * is exported is a "class type".
 */
async function exportsOf(
  paths: string[],
): Promise<Record<string, string[]>> {
  const { nodes } = await documentation(paths);
  const declarations = Object.values(nodes).flatMap(({ symbols }) =>
    symbols.flatMap(({ declarations }) => declarations)
  );
  const kinds = new Map(
    declarations.filter(({ kind }) => kind !== "reference")
      .map(({ kind, location }) => [keyOf(location), kind]),
  );
  const found: Record<string, string[]> = {};
  for (const path of paths) {
    const url = new URL(path, ROOT).href;
    const values = await import(url);
    const lines = new Set<string>();
    for (const { name, declarations } of nodes[url].symbols) {
      for (const { kind, def } of declarations) {
        const target = def?.target && kinds.get(keyOf(def.target));
        const word = target ?? kind;
        const suffix = word === "class" && !(name in values) ? " type" : "";
        lines.add(`${KINDS[word] ?? word}${suffix} ${name}`);
      }
    }
    found[path] = [...lines].sort();
  }
  return found;
}

Deno.test("each entry point exports what it did, and nothing else", async () => {
  const paths = Object.values(deno.exports);
  assertEquals(await exportsOf(paths), EXPORTS);
});

/** Interfaces of what functions make, which are classes inside. */
const MADE = new Set(["Client", "RpcClient", "RpcPeer", "RpcServer"]);

Deno.test("each class and each error has an example that asserts", async () => {
  const { nodes } = await documentation(Object.values(deno.exports));
  const without = new Set<string>();
  for (const { symbols } of Object.values(nodes)) {
    for (const { name, declarations } of symbols) {
      for (const { kind, jsDoc } of declarations) {
        const text = [jsDoc?.doc, ...jsDoc?.tags?.map(({ doc }) => doc) ?? []];
        const isMade = kind === "interface" && MADE.has(name);
        if (kind !== "class" && !isMade) continue;
        if (EXAMPLE.test(text.join("\n"))) continue;
        without.add(name);
      }
    }
  }
  assertEquals([...without], []);
});

/** What users import: to be changed only with the CHANGELOG. */
const EXPORTS: Record<string, string[]> = {
  "./mod.ts": [
    "class AuthenticationError",
    "class BackpressureError",
    "class ConnectionClosedError",
    "class FrameDecoder",
    "class FrameDecoderStream",
    "class FrameEncoder",
    "class FrameEncoderStream",
    "class FrameTooLargeError",
    "class FrameTruncatedError",
    "class InvalidMessageError",
    "class TlsError",
    "class type Connection",
    "class type Listener",
    "class type Server",
    "const CLIENT_DEFAULTS",
    "const CONNECTION_DEFAULTS",
    "const CONNECT_DEFAULTS",
    "const FRAMING_DEFAULTS",
    "const LISTEN_DEFAULTS",
    "const NO_REPLY",
    "const SERVE_DEFAULTS",
    "function connect",
    "function createClient",
    "function dropPermissions",
    "function encodeFrame",
    "function fromDuplex",
    "function fromStreams",
    "function listen",
    "function report",
    "function serve",
    "function sharedSecret",
    "function sharedToken",
    "interface AcceptFailedEvent",
    "interface AcceptOptions",
    "interface Authentication",
    "interface AuthenticationPeer",
    "interface ByteDuplex",
    "interface ByteStreams",
    "interface Client",
    "interface ClientOptions",
    "interface ClientStats",
    "interface ClosedEvent",
    "interface ConnectOptions",
    "interface ConnectedEvent",
    "interface ConnectingEvent",
    "interface ConnectionEnd",
    "interface ConnectionOptions",
    "interface ConnectionStats",
    "interface DrainingEvent",
    "interface DuplexOptions",
    "interface EndpointOptions",
    "interface FailedEvent",
    "interface FramingOptions",
    "interface Heartbeat",
    "interface ListenOptions",
    "interface ListeningEvent",
    "interface RejectedEvent",
    "interface RequestOptions",
    "interface ServeOptions",
    "interface ServerOptions",
    "interface ServerStats",
    "interface SharedTokenOptions",
    "interface TlsCertificate",
    "interface TlsClientOptions",
    "interface TlsInfo",
    "interface TlsOptions",
    "interface TlsServerOptions",
    "type Address",
    "type ClientEvent",
    "type ConnectionHandler",
    "type ErrorHandler",
    "type Handler",
    "type JsonValue",
    "type Prover",
    "type RejectionReason",
    "type Reply",
    "type ServerEvent",
    "type TlsName",
    "type TlsVersion",
    "type Verifier",
  ],
  "./framing.ts": [
    "class FrameDecoder",
    "class FrameDecoderStream",
    "class FrameEncoder",
    "class FrameEncoderStream",
    "class FrameTooLargeError",
    "class FrameTruncatedError",
    "class InvalidMessageError",
    "const FRAMING_DEFAULTS",
    "function encodeFrame",
    "interface FramingOptions",
    "type JsonValue",
  ],
  "./server.ts": [
    "class type Listener",
    "class type Server",
    "const LISTEN_DEFAULTS",
    "const NO_REPLY",
    "const SERVE_DEFAULTS",
    "function listen",
    "function serve",
    "interface AcceptFailedEvent",
    "interface AcceptOptions",
    "interface DrainingEvent",
    "interface ListenOptions",
    "interface ListeningEvent",
    "interface RejectedEvent",
    "interface ServeOptions",
    "interface ServerOptions",
    "interface ServerStats",
    "type ConnectionHandler",
    "type ErrorHandler",
    "type Handler",
    "type RejectionReason",
    "type Reply",
    "type ServerEvent",
  ],
  "./client.ts": [
    "const CLIENT_DEFAULTS",
    "const CONNECT_DEFAULTS",
    "function connect",
    "function createClient",
    "interface Client",
    "interface ClientOptions",
    "interface ClientStats",
    "interface ConnectOptions",
    "interface ConnectingEvent",
    "interface Heartbeat",
    "type ClientEvent",
  ],
  "./rpc.ts": [
    "class RpcError",
    "const CONNECT_RPC_DEFAULTS",
    "const RPC_CLIENT_DEFAULTS",
    "const RPC_DEFAULTS",
    "const SERVE_RPC_DEFAULTS",
    "function connectRpc",
    "function createRpcClient",
    "function method",
    "function rpc",
    "function serveRpc",
    "interface ConnectRpcOptions",
    "interface RpcCallOptions",
    "interface RpcCheckedMethod",
    "interface RpcClient",
    "interface RpcClientOptions",
    "interface RpcClientStats",
    "interface RpcContext",
    "interface RpcMethod",
    "interface RpcOptions",
    "interface RpcPeer",
    "interface RpcRemote",
    "interface RpcServer",
    "interface RpcStats",
    "interface RpcUntyped",
    "interface SchemaIssue",
    "interface ServeRpcOptions",
    "interface StandardSchema",
    "type Jsonify",
    "type RpcApi",
    "type RpcCallParams",
    "type RpcErrorHandler",
    "type RpcFunction",
    "type RpcMethods",
    "type RpcName",
    "type RpcNameWithoutParams",
    "type RpcParams",
    "type RpcReply",
    "type RpcReserved",
    "type RpcResult",
    "type RpcSignature",
    "type RpcStream",
    "type SchemaResult",
  ],
  "./testing.ts": [
    "function connectionPair",
  ],
  "./adapters/capnweb.ts": [
    "class ConnectionRpcTransport",
  ],
  "./adapters/mcp.ts": [
    "class ConnectionTransport",
  ],
  "./adapters/vscode_jsonrpc.ts": [
    "class ConnectionMessageReader",
    "class ConnectionMessageWriter",
    "interface JsonRpcMessage",
    "interface Subscription",
    "type Subscribe",
    "type WriteFailure",
  ],
};
