import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { connect, CONNECT_DEFAULTS, createClient } from "../client.ts";
import {
  listen,
  LISTEN_DEFAULTS,
  serve,
  SERVE_DEFAULTS,
  sharedToken,
} from "../mod.ts";
import {
  CONNECT_RPC_DEFAULTS,
  connectRpc,
  createRpcClient,
  SERVE_RPC_DEFAULTS,
  serveRpc,
} from "../rpc.ts";
import { certificates } from "./certificates.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const PATH = "/nowhere/test.sock";
const TOKEN = "a token of the tests";

/** Whatever opens something; the types would find many of the mistakes. */
type Open = (options: never) => unknown;

const LISTENING: Record<string, Open> = {
  "listen()": (options) => listen(options),
  "listen() with a handler": (options) => listen(options, () => {}),
  "serve()": (options) => serve(options, () => 1),
  "serveRpc()": (options) => serveRpc(options, {}),
};
const CONNECTING: Record<string, Open> = {
  "connect()": (options) => connect(options),
  "createClient()": (options) => createClient(options),
  "connectRpc()": (options) => connectRpc(options),
  "createRpcClient()": (options) => createRpcClient(options),
};
const ALL = { ...LISTENING, ...CONNECTING };

/** Options that do not go together, who takes them, and what the error says. */
type Row = [options: object, openers: Record<string, Open>, message: string];

const { cert, key } = certificates().server;

const ROWS: readonly Row[] = [
  ...[
    { path: PATH, hostname: "127.0.0.1" },
    { path: PATH, port: 1 },
    { path: PATH, transport: "tcp" },
    { path: PATH, ...LOCAL, transport: "unix" },
  ].map((options): Row => [
    options,
    ALL,
    'Cannot use option "path" together with a host, a port or TCP',
  ]),
  ...[
    { transport: "unix" },
    { transport: "unix", ...LOCAL },
  ].map((options): Row => [
    options,
    ALL,
    'Cannot use option "path": received undefined, expected a path',
  ]),
  ...[
    { ...LOCAL, removeStale: true },
    { ...LOCAL, removeStale: false },
    { path: "\0networking-test", removeStale: false },
  ].map((options): Row => [
    options,
    LISTENING,
    'Cannot use option "removeStale": only a Unix socket with a path has a file',
  ]),
  [
    { path: PATH, maxConnectionsPerIp: 10 },
    LISTENING,
    'Cannot use option "maxConnectionsPerIp": clients of a Unix socket have no address',
  ],
  [
    { hostname: "example.com", authenticate: sharedToken(TOKEN) },
    ALL,
    'Cannot authenticate with a token: TCP to "example.com" is not encrypted; use TLS, a shared secret, or allowPlaintext',
  ],
  [
    { ...LOCAL, tls: { cert } },
    ALL,
    'Cannot use option "key": expected a private key, not encrypted, as PEM text',
  ],
  [
    { ...LOCAL, tls: { key } },
    ALL,
    'Cannot use option "cert": expected certificates as PEM text',
  ],
  ...[true, {}].map((tls): Row => [
    { path: PATH, tls },
    CONNECTING,
    'Cannot use option "tls": a Unix socket has no name to check, so it needs "serverName"',
  ]),
  [
    { ...LOCAL, prefixBytes: 1, maxFrameBytes: 256 },
    ALL,
    'Cannot use option "maxFrameBytes": received 256, expected Infinity or a whole number from 1 to 255',
  ],
];

async function failureOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
}

Deno.test("options that do not go together are refused before anything is opened", async () => {
  for (const [options, openers, message] of ROWS) {
    for (const [name, open] of Object.entries(openers)) {
      const events: unknown[] = [];
      const error = await failureOf(() =>
        open({
          ...options,
          onEvent: (event: unknown) => events.push(event),
        } as never)
      );
      assertInstanceOf(error, Error, name);
      assert(
        error instanceof TypeError || error instanceof RangeError,
        error.message,
      );
      assertEquals(error.message, message, name);
      assertEquals(events, [], name);
    }
  }
});

Deno.test("the defaults of each function go together, and with any address", async () => {
  const directory = await Deno.makeTempDir();
  const { hostname: _h, port: _p, ...unix } = SERVE_RPC_DEFAULTS;
  const { hostname: _host, port: _port, ...toUnix } = CONNECT_RPC_DEFAULTS;
  const path = `${directory}/test.sock`;
  {
    using _listener = listen({ ...LISTEN_DEFAULTS, ...LOCAL });
    await using server = serve({ ...SERVE_DEFAULTS, ...LOCAL }, () => 1);
    await using calls = serveRpc({ ...SERVE_RPC_DEFAULTS, ...LOCAL }, {});
    await using _client = await connect({
      ...CONNECT_DEFAULTS,
      ...server.addr,
    });
    await using _caller = await connectRpc({
      ...CONNECT_RPC_DEFAULTS,
      ...calls.addr,
    });
    await using over = serveRpc({ ...unix, path }, {});
    await using _overUnix = await connectRpc({ ...toUnix, ...over.addr });
  }
  assertEquals([...Deno.readDirSync(directory)], []);
  await Deno.remove(directory);
});
