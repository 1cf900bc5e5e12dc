/**
 * No method has to be awaited: whatever a link does, it ends no process for
 * that.
 */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { ConnectionRpcTransport } from "../adapters/capnweb.ts";
import { ConnectionTransport } from "../adapters/mcp.ts";
import {
  ConnectionMessageReader,
  ConnectionMessageWriter,
} from "../adapters/vscode_jsonrpc.ts";
import { ReconnectingClient } from "../core/client/client.ts";
import {
  type Connection,
  ConnectionClosedError,
  fromDuplex,
} from "../core/connection/connection.ts";
import { makeRpcClient, type RpcClient } from "../core/rpc/client.ts";
import type { RpcMethods } from "../core/rpc/contract.ts";
import { makePeer } from "../core/rpc/peer.ts";
import { RpcSettings } from "../core/rpc/options.ts";
import { listen, serve } from "../mod.ts";
import { type RpcPeer, serveRpc } from "../rpc.ts";
import { delay, faultTest, settled } from "./ledger.ts";
import { type MemoryEnd, memoryPair, socketOf } from "./memory_pair.ts";
import { bytesOf, frame, LOCAL } from "./peers.ts";

const ROOT = new URL("../", import.meta.url);
const CONNECTION_OPTIONS = { maxQueuedBytes: 64 };

/** A link, from the side of the object whose methods are called. */
interface Link {
  readonly near: MemoryEnd;
  readonly far: MemoryEnd;
  /** Ends the connection here. */
  abort(): void;
}

function say(message: unknown): Uint8Array {
  return frame(JSON.stringify({ jsonrpc: "2.0", ...message as object }));
}

/** How a link ends. */
const ENDS: Record<string, (link: Link) => unknown> = {
  "the peer closes": ({ far }) => far.close(),
  "the peer resets": ({ near }) => near.cut(),
  "the peer resets while it is written to": ({ near }) => near.cut(),
  "the peer ends its side": ({ far }) => far.closeWrite(),
  "stops inside a frame": async ({ far }) => {
    await far.write(bytesOf("00 00 00 09 22"));
    far.close();
  },
  "brings too much": ({ far }) => far.write(bytesOf("FF FF FF FF")),
  "brings what is not JSON": async ({ far }) => {
    await far.write(frame("}"));
    far.close();
  },
  "brings an error for each call": async ({ far }) => {
    for (const id of [1, 2, 3]) {
      await far.write(say({ id, error: { code: 1, message: "no" } }));
    }
    far.close();
  },
  "brings a value for each call": async ({ far }) => {
    for (const id of [1, 2, 3]) await far.write(say({ id, result: 1 }));
    far.close();
  },
  "breaks inside streams": async ({ near, far }) => {
    for (const id of [1, 2, 3]) {
      const params = { id, items: [1] };
      await far.write(say({ method: "$/stream", params }));
    }
    await delay(0);
    near.cut();
  },
  "calls, and breaks": async ({ near, far }) => {
    await far.write(say({ id: 1, method: "callBack" }));
    await delay(0);
    near.cut();
  },
  "is aborted here": (link) => link.abort(),
};

/** An object whose methods are called, over a link of its own. */
interface Subject<Target> {
  make(link: Link): Target | Promise<Target>;
  abort(target: Target): void;
  /** Calls of its methods, by name. */
  readonly calls: Record<string, (target: Target) => unknown>;
}

/** Calls what an iterator has. */
function iterate(iterable: AsyncIterable<unknown>): void {
  const one = iterable[Symbol.asyncIterator]();
  one.next();
  one.next();
  one.return?.();
  const other = iterable[Symbol.asyncIterator]();
  other.return?.();
  other.next();
}

function connectionOf({ near }: Link): Connection {
  return fromDuplex(near, CONNECTION_OPTIONS);
}

const SUBJECTS: Record<string, Subject<unknown>> = {};

function subject<Target>(name: string, subject: Subject<Target>): void {
  SUBJECTS[name] = subject as Subject<unknown>;
}

subject<Connection>("Connection", {
  make: connectionOf,
  abort: (connection) => connection.abort(),
  calls: {
    send(connection) {
      for (let i = 0; i < 10; i++) connection.send("0123456789");
    },
    request(connection) {
      for (let i = 0; i < 10; i++) connection.request("0123456789");
      connection.request(1, { signal: AbortSignal.abort() });
    },
    "[Symbol.asyncIterator]": iterate,
    closeWrite(connection) {
      connection.send("0123456789");
      connection.closeWrite();
      connection.closeWrite();
    },
    close(connection) {
      connection.send("0123456789");
      connection.close();
      connection.close();
    },
    "[Symbol.asyncDispose]": (connection) => connection[Symbol.asyncDispose](),
  },
});

const METHODS: RpcMethods = {
  callBack() {
    this.call("a");
    this.notify("a");
    this.api.a();
    iterate(this.call("a"));
    return new Promise(() => {});
  },
};

interface Remote {
  readonly api: { a(): unknown };
  call(method: string, params?: object, options?: object): unknown;
  notify(method: string): unknown;
  close(): unknown;
  [Symbol.asyncDispose](): unknown;
}

/** What `RpcPeer` and `RpcClient` have in common. */
const REMOTE_CALLS: Subject<Remote>["calls"] = {
  call(remote) {
    const { signal } = new AbortController();
    const reply = remote.call("a", [], { signal });
    remote.call("a", [], { signal: AbortSignal.abort() });
    iterate(reply as AsyncIterable<unknown>);
    iterate(remote.api.a() as AsyncIterable<unknown>);
    remote.call("a");
  },
  notify(remote) {
    for (let i = 0; i < 10; i++) remote.notify("a");
  },
  close(remote) {
    remote.call("a");
    remote.notify("a");
    remote.close();
  },
  "[Symbol.asyncDispose]": (remote) => remote[Symbol.asyncDispose](),
};

const SETTINGS = new RpcSettings(METHODS, {});

subject<RpcPeer>("RpcPeer", {
  make: (link) => makePeer(connectionOf(link), SETTINGS),
  abort: ({ connection }) => connection.abort(),
  calls: REMOTE_CALLS as unknown as Subject<RpcPeer>["calls"],
});

/** A client that has one connection, and finds none after that. */
async function clientOf(link: Link): Promise<ReconnectingClient> {
  let isFirst = true;
  const client = new ReconnectingClient(
    { ...CONNECTION_OPTIONS, maxRetryDelay: 1 },
    () => {
      if (!isFirst) return Promise.reject(new Error("refused"));
      isFirst = false;
      return Promise.resolve(socketOf(link.near));
    },
  );
  return await client.open();
}

subject<ReconnectingClient>("Client", {
  make: clientOf,
  abort: (client) => client.abort(new Error("enough")),
  calls: {
    connected: (client) => client.connected(),
    send(client) {
      for (let i = 0; i < 10; i++) client.send("0123456789");
    },
    request(client) {
      for (let i = 0; i < 10; i++) client.request("0123456789");
      client.request(1, { signal: AbortSignal.abort() });
    },
    "[Symbol.asyncIterator]": iterate,
    close(client) {
      client.send("0123456789");
      client.close();
      client.send("0123456789");
    },
    "[Symbol.asyncDispose]": (client) => client[Symbol.asyncDispose](),
  },
});

const CLIENTS = new WeakMap<RpcClient, ReconnectingClient>();

subject<RpcClient>("RpcClient", {
  async make(link) {
    const client = await clientOf(link);
    const rpcClient = makeRpcClient(
      client,
      SETTINGS,
    );
    CLIENTS.set(rpcClient, client);
    return rpcClient;
  },
  abort: (client) => CLIENTS.get(client)!.abort(new Error("enough")),
  calls: {
    ...REMOTE_CALLS as unknown as Subject<RpcClient>["calls"],
    connected: (client) => client.connected(),
  },
});

/** An adapter whose connection is known. */
const CONNECTIONS = new WeakMap<object, Connection>();

function adapt<Adapter extends object>(
  link: Link,
  make: (connection: Connection) => Adapter,
): Adapter {
  const connection = connectionOf(link);
  const adapter = make(connection);
  CONNECTIONS.set(adapter, connection);
  return adapter;
}

function abortAdapter(adapter: object): void {
  CONNECTIONS.get(adapter)!.abort();
}

/** A message of JSON-RPC. */
const HELLO = { jsonrpc: "2.0", method: "hello" };

/** Does what can be done once; a second time is a mistake of the caller's. */
const BEGUN = new WeakSet<object>();

function once(target: object, begin: () => unknown): void {
  if (!BEGUN.has(target)) begin();
  BEGUN.add(target);
}

subject<ConnectionTransport>("ConnectionTransport", {
  make: (link) =>
    adapt(link, (connection) => new ConnectionTransport(connection)),
  abort: abortAdapter,
  calls: {
    start: (transport) => once(transport, () => transport.start()),
    send(transport) {
      once(transport, () => transport.start());
      for (let i = 0; i < 10; i++) transport.send(HELLO);
      transport.send({ ...HELLO, id: 1 });
    },
    close(transport) {
      transport.send(HELLO);
      transport.close();
      transport.close();
    },
  },
});

subject<ConnectionMessageReader>("ConnectionMessageReader", {
  make: (link) =>
    adapt(link, (connection) => new ConnectionMessageReader(connection)),
  abort: abortAdapter,
  calls: {
    listen: (reader) => once(reader, () => reader.listen(() => {})),
    dispose(reader) {
      once(reader, () => reader.listen(() => {}));
      reader.dispose();
    },
  },
});

subject<ConnectionMessageWriter>("ConnectionMessageWriter", {
  make: (link) =>
    adapt(link, (connection) => new ConnectionMessageWriter(connection)),
  abort: abortAdapter,
  calls: {
    write(writer) {
      for (let i = 0; i < 10; i++) writer.write(HELLO);
    },
    end(writer) {
      writer.write(HELLO);
      writer.end();
      writer.end();
    },
    dispose: (writer) => writer.dispose(),
  },
});

subject<ConnectionRpcTransport>("ConnectionRpcTransport", {
  make: (link) =>
    adapt(link, (connection) => new ConnectionRpcTransport(connection)),
  abort: abortAdapter,
  calls: {
    send(transport) {
      for (let i = 0; i < 10; i++) trySend(() => transport.send(["pull", i]));
    },
    receive(transport) {
      transport.receive();
      transport.receive();
    },
    abort(transport) {
      transport.receive();
      transport.abort(new Error("enough"));
    },
  },
});

/** Calls what throws at once where a link has ended. */
function trySend(send: () => void): void {
  try {
    send();
  } catch (error) {
    assertInstanceOf(error, ConnectionClosedError);
  }
}

/** Runs, and gives the rejections that nobody has handled. */
async function unhandled(run: () => Promise<void>): Promise<unknown[]> {
  const reasons: unknown[] = [];
  function note(event: PromiseRejectionEvent): void {
    event.preventDefault();
    reasons.push(event.reason);
  }
  addEventListener("unhandledrejection", note);
  try {
    await run();
    await delay(0); // they are told when the turn is over
  } finally {
    removeEventListener("unhandledrejection", note);
  }
  return reasons;
}

for (const [name, { make, abort, calls }] of Object.entries(SUBJECTS)) {
  faultTest(`no method of ${name} has to be awaited`, async () => {
    const failures: string[] = [];
    for (const [method, call] of Object.entries(calls)) {
      for (const [end, run] of Object.entries(ENDS)) {
        const reasons = await unhandled(async () => {
          const [near, far] = memoryPair();
          if (end.endsWith("written to")) near.hold();
          const link = { near, far, abort() {} };
          const target = await make(link);
          link.abort = () => abort(target);
          call(target);
          await delay(0);
          // It may have been closed from this side.
          await Promise.resolve(run(link)).catch(() => {});
          await delay(0);
          call(target);
          await delay(5); // the client that connects again has tried to
          call(target);
          link.abort();
        });
        failures.push(
          ...reasons.map((reason) =>
            `${name}.${method}, the link ${end}: ${reason}`
          ),
        );
      }
    }
    assertEquals(failures, []);
  });
}

faultTest("no method of Listener and Server has to be awaited", async () => {
  assertEquals(
    await unhandled(async () => {
      const listener = listen(LOCAL);
      listener.accept();
      iterate(listener);
      listener.close();
      listener.accept();
      iterate(listener);
      const servers = [serve(LOCAL, () => 1), serveRpc(LOCAL, {})];
      for (const server of servers) {
        server.shutdown();
        server.shutdown();
        server[Symbol.asyncDispose]();
        await settled(server.finished, "it goes on");
      }
    }),
    [],
  );
});

/** Of these every method is called, as some begin what rejects later. */
const ADAPTERS = /^ConnectionM|Transport$/;
/** What need not be awaited is tested above; the codec waits for nothing. */
const OTHERS = ["Listener", "Server", "RpcServer"];
/** Interfaces that the library implements, and whose subject has their methods. */
const INTERFACES: Record<string, string> = {
  RpcClient: "RpcClient",
  RpcPeer: "RpcPeer",
  RpcRemote: "RpcPeer",
};

Deno.test("every public class or interface whose methods can be awaited is tested without", async () => {
  const adapters = ["capnweb", "mcp", "vscode_jsonrpc"];
  const files = adapters.map((name) => `adapters/${name}.ts`);
  const args = ["doc", "--json", "mod.ts", "rpc.ts", ...files];
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: ROOT,
    stderr: "null",
  }).output();
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout));
  let count = 0;
  for (const { symbols } of Object.values<Documented>(nodes)) {
    for (const { name, declarations } of symbols) {
      for (const { kind, def } of declarations) {
        const subject = kind === "class" ? name : INTERFACES[name];
        if (subject === undefined || OTHERS.includes(name)) continue;
        for (
          const { name: method, kind, functionDef, returnType, jsDoc }
            of def.methods ?? []
        ) {
          if (kind !== "method") continue;
          const isInternal = jsDoc?.tags?.some((tag) =>
            tag.kind === "internal"
          );
          const type = (returnType ?? functionDef?.returnType)?.repr ?? "";
          const isAdapter = ADAPTERS.test(name);
          const isAwaitable = /^Promise|^Async|^RpcReply/.test(type);
          if (isInternal || !isAdapter && !isAwaitable) continue;
          count++;
          assert(
            SUBJECTS[subject]?.calls[method] !== undefined,
            `${name}.${method} is not called`,
          );
        }
      }
    }
  }
  assert(count > 15, `${count} methods are known`);
});

/** What `deno doc --json` says of a file, as far as it is of use here. */
interface Documented {
  readonly symbols: readonly {
    readonly name: string;
    readonly declarations: readonly {
      readonly kind: string;
      readonly def: {
        readonly methods?: readonly {
          readonly name: string;
          readonly kind: string;
          readonly functionDef?: { readonly returnType?: { repr?: string } };
          readonly returnType?: { repr?: string };
          readonly jsDoc?: { readonly tags?: readonly { kind: string }[] };
        }[];
      };
    }[];
  }[];
}
