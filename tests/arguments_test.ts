import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { ConnectionRpcTransport } from "../adapters/capnweb.ts";
import { ConnectionTransport } from "../adapters/mcp.ts";
import {
  ConnectionMessageReader,
  ConnectionMessageWriter,
} from "../adapters/vscode_jsonrpc.ts";
import * as framing from "../framing.ts";
import * as networking from "../mod.ts";
import * as calls from "../rpc.ts";
import { memoryPair } from "./memory_pair.ts";

const { connect, fromStreams, listen, serve } = networking;
const LOCAL = { hostname: "127.0.0.1", port: 0 };
const TEXT = "a text of the tests";

/** A value of each kind, and how an error shows it. */
const KINDS: readonly (readonly [value: unknown, shown: string])[] = [
  [9282, "9282"],
  ["9282", '"9282"'],
  [true, "true"],
  [9282n, "9282n"],
  [null, "null"],
  [undefined, "undefined"],
  [Symbol("9282"), "a symbol"],
  [[9282], "an array"],
  [() => 9282, "a function"],
  [new Map(), "a Map"],
  [Promise.resolve({}), "a promise"],
];

/** Kinds that an argument may be, by how they are shown. */
const OBJECT: readonly string[] = ["a Map"];
const LEFT_OUT = "undefined";

function streams(): networking.ByteStreams {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  return { readable, writable };
}

function connection(): networking.Connection {
  return networking.fromDuplex(memoryPair()[0], {
    idleTimeout: Infinity,
    frameTimeout: Infinity,
    writeTimeout: Infinity,
  });
}

/** A function, an argument of it, and the kinds that this may be. */
type Row = [
  name: string,
  call: (value: never) => unknown,
  allowed: readonly string[],
];

const ROWS: readonly Row[] = [
  ["listen(options)", (options) => listen(options), [LEFT_OUT]],
  ["serve(options)", (options) => serve(options, () => 1), []],
  ["serve(handler)", (handler) => serve(LOCAL, handler), ["a function"]],
  ["connect(options)", (options) => connect(options), [LEFT_OUT]],
  [
    "createClient(options)",
    (options) => networking.createClient(options),
    [LEFT_OUT],
  ],
  ["serveRpc(options)", (options) => calls.serveRpc(options, {}), []],
  ["serveRpc(methods)", (methods) => calls.serveRpc(LOCAL, methods), OBJECT],
  ["connectRpc(options)", (options) => calls.connectRpc(options), [LEFT_OUT]],
  [
    "connectRpc(methods)",
    (methods) => calls.connectRpc({ ...LOCAL, port: 1 }, methods),
    [LEFT_OUT, ...OBJECT],
  ],
  [
    "createRpcClient(options)",
    (options) => calls.createRpcClient(options),
    [LEFT_OUT],
  ],
  [
    "createRpcClient(methods)",
    (methods) => calls.createRpcClient({ ...LOCAL, port: 1 }, methods),
    [LEFT_OUT, ...OBJECT],
  ],
  ["rpc(connection)", (value) => calls.rpc(value), []],
  [
    "rpc(methods)",
    (methods) => calls.rpc(connection(), methods),
    [LEFT_OUT, ...OBJECT],
  ],
  [
    "rpc(options)",
    (options) => calls.rpc(connection(), {}, options),
    [LEFT_OUT],
  ],
  ["method(definition)", (value) => calls.method(value), [
    ...OBJECT,
    "a function",
  ]],
  [
    "fromDuplex(duplex)",
    (duplex) => networking.fromDuplex(duplex),
    [],
  ],
  [
    "fromDuplex(options)",
    (options) => networking.fromDuplex(memoryPair()[0], options),
    [LEFT_OUT],
  ],
  ["fromStreams(streams)", (value) => fromStreams(value), []],
  [
    "fromStreams(options)",
    (options) => fromStreams(streams(), options),
    [LEFT_OUT],
  ],
  [
    "encodeFrame(options)",
    (options) => framing.encodeFrame(1, options),
    [LEFT_OUT],
  ],
  [
    "new FrameDecoder(options)",
    (options) => new framing.FrameDecoder(options),
    [LEFT_OUT],
  ],
  [
    "new FrameEncoder(options)",
    (options) => new framing.FrameEncoder(options),
    [LEFT_OUT],
  ],
  [
    "new FrameDecoderStream(options)",
    (options) => new framing.FrameDecoderStream(options),
    [LEFT_OUT],
  ],
  [
    "new FrameEncoderStream(options)",
    (options) => new framing.FrameEncoderStream(options),
    [LEFT_OUT],
  ],
  [
    "sharedToken(options)",
    (options) => networking.sharedToken(TEXT, options),
    [LEFT_OUT],
  ],
  [
    "Connection.request(options)",
    (options) => connection().request(1, options),
    [LEFT_OUT],
  ],
  [
    "RpcPeer.call(method)",
    async (method) => {
      await using peer = calls.rpc(connection());
      await peer.call(method as string);
    },
    ['"9282"'],
  ],
  [
    "RpcPeer.notify(method)",
    async (method) => {
      await using peer = calls.rpc(connection());
      await peer.notify(method as string);
    },
    ['"9282"'],
  ],
  [
    "new RpcError(message)",
    (message) => new calls.RpcError(1, message as string),
    ['"9282"'],
  ],
  [
    "RpcPeer.call(options)",
    async (options) => {
      await using peer = calls.rpc(connection());
      await peer.call("a", [], options);
    },
    [LEFT_OUT],
  ],
];

async function failureOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
}

for (const [name, call, allowed] of ROWS) {
  Deno.test(`${name} is a TypeError that shows what came, whatever other kind that is`, async () => {
    for (const [value, shown] of KINDS) {
      if (allowed.includes(shown)) continue;
      const error = await failureOf(() => call(value as never));
      assertInstanceOf(error, TypeError, `${name}: ${shown}`);
      assert(error.message.startsWith("Cannot "), error.message);
      assert(error.message.includes(`received ${shown}`), error.message);
    }
  });
}

Deno.test("each public function and constructor has its row", () => {
  // Others make the first two, the next two show nothing of a secret, any error
  // can be reported, and the last takes no argument.
  const exceptions = [
    "sharedToken",
    "sharedSecret",
    "report",
    "dropPermissions",
  ];
  const rows = ROWS.map(([name]) => name.replace("new ", ""));
  for (
    const [name, value] of Object.entries({
      ...networking,
      ...calls,
      ...framing,
    })
  ) {
    if (typeof value !== "function" || exceptions.includes(name)) continue;
    if (value.prototype instanceof Error) continue;
    assert(rows.some((row) => row.startsWith(`${name}(`)), name);
  }
});

Deno.test("adapters refuse what is no connection", () => {
  for (
    const Adapter of [
      ConnectionTransport,
      ConnectionRpcTransport,
      ConnectionMessageReader,
      ConnectionMessageWriter,
    ]
  ) {
    for (const [value] of KINDS) {
      assertThrows(
        () => new Adapter(value as networking.Connection),
        TypeError,
        'Cannot use argument "connection": received ',
      );
    }
  }
});

Deno.test("sharedToken() and sharedSecret() show nothing of what came", () => {
  for (const make of [networking.sharedToken, networking.sharedSecret]) {
    for (const [value] of KINDS) {
      const error = assertThrowsTypeOrRange(() => make(value as string));
      assert(!error.message.includes("9282"), error.message);
    }
  }
});

function assertThrowsTypeOrRange(call: () => unknown): Error {
  try {
    call();
  } catch (error) {
    assert(error instanceof TypeError || error instanceof RangeError);
    return error;
  }
  throw new Error("nothing was thrown");
}

Deno.test("each option of a wrong type is a TypeError that names it, before anything is opened", async () => {
  const bags: [defaults: object, call: (options: object) => unknown][] = [
    [networking.LISTEN_DEFAULTS, (options) => listen({ ...LOCAL, ...options })],
    [
      networking.SERVE_DEFAULTS,
      (options) => serve({ ...LOCAL, ...options }, () => 1),
    ],
    [calls.SERVE_RPC_DEFAULTS, (options) => calls.serveRpc(options, {})],
    [networking.CONNECT_DEFAULTS, (options) => connect(options)],
    [calls.CONNECT_RPC_DEFAULTS, (options) => calls.connectRpc(options)],
    [calls.RPC_CLIENT_DEFAULTS, (options) => calls.createRpcClient(options)],
    [calls.RPC_DEFAULTS, (options) => calls.rpc(connection(), {}, options)],
    [
      networking.CONNECTION_DEFAULTS,
      (options) => fromStreams(streams(), options),
    ],
    [
      networking.FRAMING_DEFAULTS,
      (options) => framing.encodeFrame(1, options),
    ],
    [
      { allowPlaintext: false },
      (options) => networking.sharedToken(TEXT, options),
    ],
    [
      networking.CLIENT_DEFAULTS,
      (options) => networking.createClient(options),
    ],
  ];
  for (const [defaults, call] of bags) {
    for (const [option, value] of Object.entries(defaults)) {
      if (option === "heartbeat") continue; // a number or false
      for (const [wrong, shown] of KINDS) {
        if (wrong === undefined || typeof wrong === typeof value) continue;
        const error = await failureOf(() => call({ [option]: wrong }));
        assertInstanceOf(error, TypeError, `${option}: ${shown}`);
        assertEquals(
          error.message.split(", expected")[0],
          `Cannot use option "${option}": received ${shown}`,
        );
      }
    }
  }
});

Deno.test("serve(), listen() and connect() read options of a class once each", async () => {
  const reads: Record<string, number> = {};
  function counted<Value>(name: string, value: Value): Value {
    reads[name] = (reads[name] ?? 0) + 1;
    return value;
  }
  class Config {
    #port: number;
    constructor(port: number) {
      this.#port = port;
    }
    get hostname() {
      return counted("hostname", "127.0.0.1");
    }
    get port() {
      return counted("port", this.#port);
    }
    get maxFrameBytes() {
      return counted("maxFrameBytes", 100);
    }
    get idleTimeout() {
      return counted("idleTimeout", 9_000);
    }
  }
  const once = { hostname: 1, port: 1, maxFrameBytes: 1, idleTimeout: 1 };
  function readsOnce(what: string): void {
    assertEquals(reads, once, what);
    for (const name of Object.keys(reads)) delete reads[name];
  }
  const pairs: [
    what: string,
    make: (config: Config) => networking.Server<never> | calls.RpcServer,
    dial: (config: Config) => Promise<AsyncDisposable>,
  ][] = [
    [
      "serve()",
      (config) => serve<never>(config, () => 1),
      (config) => connect(config),
    ],
    [
      "serveRpc()",
      (config) => calls.serveRpc(config, {}),
      (config) => calls.connectRpc(config),
    ],
  ];
  for (const [what, make, dial] of pairs) {
    await using server = make(new Config(0));
    readsOnce(what);
    const { addr } = server;
    assert(addr.transport === "tcp" && addr.port !== 8080);
    assertEquals(addr.hostname, "127.0.0.1");
    await using _client = await dial(new Config(addr.port));
    readsOnce(`client of ${what}`);
  }
  using listener = listen(new Config(0));
  readsOnce("listen()");
  assertEquals((listener.addr as Deno.NetAddr).hostname, "127.0.0.1");
});

Deno.test("hooks that are methods of a class have it as this, in every function with options", async () => {
  const heard = new Set<string>();
  class Options {
    readonly hostname = "127.0.0.1";
    readonly port = 0;
    #hear(name: string): void {
      heard.add(name);
    }
    onListen() {
      this.#hear("onListen");
    }
    onEvent() {
      this.#hear("onEvent");
    }
    onError() {
      this.#hear("onError");
    }
    authenticate() {
      this.#hear("authenticate");
      return true;
    }
  }
  class Caller {
    readonly hostname = "127.0.0.1";
    readonly port: number;
    #heard = heard;
    constructor(addr: networking.Address) {
      this.port = (addr as Deno.NetAddr).port;
    }
    onEvent() {
      this.#heard.add("onEvent of the client");
    }
    authenticate() {
      this.#heard.add("authenticate of the client");
      return { $login: "mine" };
    }
  }
  function fail(): never {
    throw new Error("no");
  }
  const servers: Record<string, () => networking.Server | calls.RpcServer> = {
    "serve()": () => serve(new Options(), fail),
    "serveRpc()": () => calls.serveRpc(new Options(), { fail }),
  };
  for (const [name, make] of Object.entries(servers)) {
    await using server = make();
    const caller = new Caller(server.addr);
    if (name === "serve()") {
      await using client = await connect(caller);
      await assertRejects(() => client.request(1));
    } else {
      await using client = await calls.connectRpc(caller);
      await assertRejects(async () => await client.call("fail"));
    }
    assertEquals([...heard].sort(), [
      "authenticate",
      "authenticate of the client",
      "onError",
      "onEvent",
      "onEvent of the client",
      "onListen",
    ], name);
    heard.clear();
  }
});
