import { assert, assertEquals } from "@std/assert";
import { defaultTags } from "./default_tags.ts";
import {
  CONNECT_DEFAULTS,
  CONNECTION_DEFAULTS,
  LISTEN_DEFAULTS,
  RECONNECT_DEFAULTS,
  REQUEST_DEFAULTS,
  SERVE_DEFAULTS,
  SHARED_TOKEN_DEFAULTS,
  TLS_DEFAULTS,
} from "../mod.ts";
import { RPC_DEFAULTS } from "../rpc.ts";

const ROOT = new URL("../", import.meta.url);

/**
 * The row of a file: it imports only from rows above its own. The last row
 * imports what is published.
 */
function rowOf(path: string): number {
  const [, folder] = /^core\/(\w+)\/\w+\.ts$/.exec(path) ?? [];
  if (folder !== undefined) return FOLDER_ROWS[folder];
  const [, name] = /^core\/(\w+)\.ts$/.exec(path) ?? [];
  if (path === "framing.ts") return 0;
  if (name !== undefined) return CORE_ROWS[name] ?? 2;
  if (path === "server.ts" || path === "client.ts") return 3;
  if (path === "rpc.ts") return 4;
  if (path === "mod.ts") return 5;
  if (path.startsWith("adapters/")) return 5.5;
  return 6;
}

/** Files of one folder may import each other. */
const FOLDER_ROWS: Record<string, number> = {
  tools: -1,
  framing: -0.5,
  connection: 0.7,
  platform: 1.05,
  auth: 1.1,
  rpc: 2.3,
  tls: 1.1,
  server: 2.2,
  client: 2.2,
};

/** Those that others of the second row are made of stand between. */
const CORE_ROWS: Record<string, number> = {
  jsonrpc: 0,
  abortion: 0,
  promise_like: 0,
  queue: 0,
  sweep: 0,
  turn: 0,
  events: 0.1,
  outbox: 0.5,
  linger: 0.6,
  settings: 0.5,
  streams: 0.8,
  connection: 1,
  endpoint: 1.01,
  permissions: 1.02,
  certificate: 1.1,
  tls_duplex: 1.1,
  rpc_alive: 1.1,
  rpc_contract: 1.1,
  rpc_incoming: 1.1,
  rpc_replies: 1.1,
  rpc_methods: 1.2,
  rpc_outgoing: 1.2,
  rpc_open_call: 1.2,
  rpc_api: 1.2,
  rpc_caller: 1.3,
  rpc_settings: 1.3,
  rpc_call: 1.4,
  rpc_answerer: 1.5,
  rpc_client: 2.3,
  server_settings: 2.1,
};

const LAST_ROW = 6;
const PUBLISHED = [
  "mod.ts",
  "framing.ts",
  "server.ts",
  "client.ts",
  "rpc.ts",
];
/**
 * Files that may speak of the platform, and only outside of comments does it
 * count.
 */
const MAY_MENTION_DENO = ["core/platform/permissions.ts"];
/** Tools that the programs share with the library, which exports none. */
const CLI_TOOLS = [
  "core/tools/address.ts",
  "core/tools/escape.ts",
  "core/tools/nearest.ts",
];
/** What the adapters share with the library, as no entry point exports it. */
const ADAPTER_TOOLS = ["core/tools/report.ts"];
/** Files that know nothing of time and I/O. */
const SANS_IO = /^(framing|core\/rpc\/jsonrpc|core\/framing\/\w+)\.ts$/;

function* sources(folder = ""): Generator<string> {
  for (
    const { name, isDirectory } of Deno.readDirSync(
      new URL(folder || ".", ROOT),
    )
  ) {
    if (name.startsWith(".") || name === "node_modules") continue;
    if (isDirectory) yield* sources(`${folder}${name}/`);
    else if (name.endsWith(".ts")) yield folder + name;
  }
}

function codeOf(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT))
    .replaceAll(/\/\*[^]*?\*\//g, "")
    .replaceAll(/^\s*\/\/.*$/gm, "");
}

function importsOf(path: string): string[] {
  const pattern = /(?<!")\b(?:from|import)\s*\(?\s*"([^"]+)"/g;
  return [...codeOf(path).matchAll(pattern)].map(([, specifier]) => specifier);
}

const LIBRARY = [...sources()].filter((path) =>
  rowOf(path) < LAST_ROW && !path.endsWith("_test.ts")
);

Deno.test("every file imports only from rows above its own", () => {
  assert(LIBRARY.includes("core/connection/connection.ts"));
  for (const path of LIBRARY) {
    for (const specifier of importsOf(path)) {
      const where = `${path} imports ${specifier}`;
      if (!specifier.startsWith(".")) {
        const allowed = SANS_IO.test(path) ? /^@std\/bytes/ : /^@std\/|^node:/;
        assert(allowed.test(specifier), where);
        continue;
      }
      const target = new URL(specifier, new URL(path, ROOT)).pathname
        .slice(ROOT.pathname.length);
      // The one exception: a program loads its command line, and an importer
      // does not.
      const isProgram = /^(server|client)\.ts$/.test(path) &&
        target === `cli/${path}`;
      const isNeighbour = /^(core\/\w+|adapters)\//.test(path) &&
        path.replace(/\w+\.ts$/, "") === target.replace(/\w+\.ts$/, "");
      assert(
        isProgram || isNeighbour || rowOf(target) < rowOf(path),
        where,
      );
    }
  }
});

Deno.test("programs, adapters, examples and benchmarks import what is published", () => {
  for (const path of sources()) {
    if (!/^(cli|adapters|examples|bench|interop)\//.test(path)) continue;
    const isAdapter = /^adapters\/(?!\w+_test)/.test(path);
    if (/^adapters\//.test(path) && !isAdapter) continue;
    for (const specifier of importsOf(path)) {
      if (!specifier.startsWith("../")) continue;
      const target = specifier.slice(3);
      assert(
        PUBLISHED.includes(target) ||
          /^cli\//.test(path) && CLI_TOOLS.includes(target) ||
          isAdapter && ADAPTER_TOOLS.includes(target) ||
          /^(adapters|tests|cli)\/|^deno\.json$/.test(target),
        `${path} imports ${specifier}`,
      );
    }
  }
});

Deno.test("only the files that listen and dial speak of the platform, and only report prints", () => {
  for (const path of LIBRARY) {
    const code = codeOf(path);
    if (
      !MAY_MENTION_DENO.includes(path) && !path.startsWith("core/platform/")
    ) {
      assert(!/\bDeno\./.test(code), `${path} mentions Deno`);
    }
    assert(
      !/\bconsole\./.test(code) || path === "core/tools/report.ts",
      `${path} prints`,
    );
    assert(
      !/\bDeno\.(listen|connect)/.test(code) || rowOf(path) === 3 ||
        path.startsWith("core/platform/"),
      `${path} listens or dials`,
    );
  }
});

Deno.test("defaults are what the documentation says", async () => {
  const cases: [string, string, object][] = [
    ["core/connection/options.ts", "ConnectionOptions", CONNECTION_DEFAULTS],
    ["core/connection/options.ts", "RequestOptions", REQUEST_DEFAULTS],
    ["core/server/options.ts", "ListenOptions", LISTEN_DEFAULTS],
    ["core/server/options.ts", "ServeOptions", SERVE_DEFAULTS],
    ["client.ts", "ConnectOptions", CONNECT_DEFAULTS],
    ["core/client/reconnect.ts", "ReconnectOptions", RECONNECT_DEFAULTS],
    ["core/tls/tls.ts", "TlsOptions", TLS_DEFAULTS],
    ["core/rpc/options.ts", "RpcOptions", RPC_DEFAULTS],
    ["core/auth/shared.ts", "SharedTokenOptions", SHARED_TOKEN_DEFAULTS],
  ];
  for (const [path, name, defaults] of cases) {
    const tags = await defaultTags(new URL(path, ROOT), name);
    assert(Object.keys(tags).length > 0, name);
    for (const [option, value] of Object.entries(tags)) {
      assertEquals(Reflect.get(defaults, option), value, `${name}.${option}`);
    }
  }
});
