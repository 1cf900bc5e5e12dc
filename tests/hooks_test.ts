/** What becomes of errors in what users write. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import {
  connect,
  ConnectionClosedError,
  type Handler,
  listen,
  NO_REPLY,
  serve,
} from "../mod.ts";
import { ConnectionTransport } from "../adapters/mcp.ts";
import {
  ConnectionMessageReader,
  ConnectionMessageWriter,
} from "../adapters/vscode_jsonrpc.ts";
import {
  type Connection,
  makeConnection,
  settingsOf,
} from "../core/connection/connection.ts";
import { rpc } from "../rpc.ts";
import { type MemoryEnd, memoryPair } from "./memory_pair.ts";
import { memoryConnections } from "./connection_pairs.ts";
import { faultTest, settled, until } from "./ledger.ts";
import { echo, frame, LOCAL, Peer, portOf } from "./peers.ts";
import { resetAndDestroy } from "./raw.ts";
import { Reports } from "./reports.ts";

faultTest(
  "every hook that throws or rejects is reported, and ends nothing",
  async () => {
    using reports = new Reports();
    const failures = [
      () => {
        throw new Error("from the hook");
      },
      () => Promise.reject(new Error("from the hook")),
    ];
    for (const hook of failures) {
      const hooks = new Set<string>();
      const failing = (name: string) => () => {
        hooks.add(name);
        return hook() as never;
      };
      await using server = serve({
        ...LOCAL,
        onListen: failing("onListen"),
        onEvent: failing("onEvent of serve"),
        onError: failing("onError"),
      }, () => {
        throw new Error("from the handler");
      });
      const client = await connect({
        ...server.addr,
        onEvent: failing("onEvent of connect"),
      });
      await assertRejects(() => client.request(1), ConnectionClosedError);
      await client.close();
      await until(() => server.connections.size === 0, "it is open");
      assertEquals(hooks.size, 4);
    }
    assert(reports.errors.length >= 10, `${reports.errors.length}`);
    for (const error of reports.errors) {
      assertEquals(String(error), "Error: from the hook");
    }
  },
);

/** What users write, by name: each calls `fail` with a link that ends. */
const CALLBACKS: Record<
  string,
  (
    fail: () => never,
    one: Connection,
    other: Connection,
    far: MemoryEnd,
  ) => unknown
> = {
  "onEnd of a connection": (fail) => {
    makeConnection(memoryPair()[0], settingsOf({}), { onEnd: fail }).abort();
  },
  "onmessage of MCP": (fail, one, other) => {
    const transport = new ConnectionTransport(one);
    transport.onmessage = fail;
    transport.start();
    other.send(1);
  },
  "onerror of MCP": (fail, one, _other, far) => {
    const transport = new ConnectionTransport(one);
    transport.onerror = fail;
    transport.start();
    far.write(frame("}"));
  },
  "onclose of MCP": (fail, one, other) => {
    const transport = new ConnectionTransport(one);
    transport.onclose = fail;
    transport.start();
    other.close();
  },
  "onclose of MCP, not started": (fail, one) => {
    const transport = new ConnectionTransport(one);
    transport.onclose = fail;
    transport.close();
  },
  "the callback of vscode-jsonrpc": (fail, one, other) => {
    new ConnectionMessageReader(one).listen(fail);
    other.send(1);
  },
  "onError of the reader of vscode-jsonrpc": (fail, one, _other, far) => {
    const reader = new ConnectionMessageReader(one);
    reader.onError(fail);
    reader.listen(() => {});
    far.write(frame("}"));
  },
  "onClose of the reader of vscode-jsonrpc": (fail, one, other) => {
    const reader = new ConnectionMessageReader(one);
    reader.onClose(fail);
    reader.listen(() => {});
    other.close();
  },
  "onError of the writer of vscode-jsonrpc": (fail, one) => {
    const writer = new ConnectionMessageWriter(one);
    writer.onError(fail);
    writer.write({ jsonrpc: 1n } as never).catch(() => {});
  },
  "onClose of the writer of vscode-jsonrpc": (fail, one) => {
    new ConnectionMessageWriter(one).onClose(fail);
    one.close();
  },
  "a method of RPC": (fail, one, other) => {
    rpc(one, { fail });
    rpc(other).call("fail").catch(() => {});
  },
  "onError of RPC": (fail, one, other) => {
    const mistake = () => Promise.reject(new Error("of the method"));
    rpc(one, { mistake }, { onError: fail });
    rpc(other).call("mistake").catch(() => {});
  },
  "a generator of RPC": (fail, one, other) => {
    rpc(one, {
      // deno-lint-ignore require-yield
      async *fail() {
        await fail();
      },
    });
    rpc(other).call("fail")[Symbol.asyncIterator]().next().catch(() => {});
  },
};

for (const [name, use] of Object.entries(CALLBACKS)) {
  faultTest(
    `${name} that throws or rejects is reported, and ends nothing`,
    async () => {
      const failures = [
        () => {
          throw new Error("from the callback");
        },
        () => Promise.reject(new Error("from the callback")) as never,
      ];
      for (const fail of failures) {
        using reports = new Reports();
        const { one, other, far } = memoryConnections();
        use(fail, one, other, far);
        await until(() => reports.errors.length > 0, "nothing is reported");
        one.abort();
        other.abort();
        await Promise.all([one.closed, other.closed]);
        // The end of the link may be told, too.
        const errors = [...new Set(reports.errors.map(String))];
        assertEquals(errors, ["Error: from the callback"]);
      }
    },
  );
}

faultTest(
  "a subscriber of a channel that throws or rejects is reported, and ends nothing",
  async () => {
    const name = "@blackbelt/networking:server";
    const heard: unknown[] = [];
    const subscribers = [
      () => {
        throw new Error("from the subscriber");
      },
      () => Promise.reject(new Error("from the subscriber")),
      (event: unknown, channel: unknown) => void heard.push(event, channel),
    ];
    using reports = new Reports();
    for (const subscriber of subscribers) subscribe(name, subscriber);
    await using server = serve(LOCAL, echo);
    await using client = await connect(server.addr);
    assertEquals(await client.request(1), 1);
    await client.close();
    await server.shutdown();
    for (const subscriber of subscribers) unsubscribe(name, subscriber);
    assert(heard.length > 0 && heard[1] === name);
    assertEquals(reports.errors.length, heard.length);
    for (const error of reports.errors) {
      assertEquals(String(error), "Error: from the subscriber");
    }
  },
);

faultTest(
  "a connection handler of listen() that throws or rejects is reported, and ends nothing",
  async () => {
    const handlers = [
      () => {
        throw new Error("from the handler");
      },
      () => Promise.reject(new Error("from the handler")),
    ];
    for (const handler of handlers) {
      using reports = new Reports();
      await using listener = listen(LOCAL, handler);
      await using client = await connect(listener.addr);
      await assertRejects(() => client.request(1), ConnectionClosedError);
      assertEquals(reports.errors.map(String), ["Error: from the handler"]);
    }
  },
);

faultTest(
  "a handler's error is reported where no onError takes it, and a failure of the link is not",
  async () => {
    using reports = new Reports();
    let taken = 0;
    const outside = new ConnectionClosedError("of another link", {
      clean: false,
    });
    const mistakes: [string, Handler][] = [
      ["Error: thrown", () => {
        throw new Error("thrown");
      }],
      ["Error: rejected", () => Promise.reject(new Error("rejected"))],
      ["InvalidMessageError", () => 1n as never],
      ["FrameTooLargeError", () => "x".repeat(2 ** 21)],
      ["ConnectionClosedError: of another link", () => {
        throw outside;
      }],
    ];
    for (const [text, handler] of mistakes) {
      for (const onError of [undefined, () => void taken++]) {
        await using server = serve({ ...LOCAL, onError }, handler);
        await using client = await connect(server.addr);
        await assertRejects(() => client.request(1), ConnectionClosedError);
        const told = reports.errors.splice(0).map(String);
        assertEquals(told.length, onError === undefined ? 1 : 0, text);
        if (onError === undefined) assertStringIncludes(told[0], text);
      }
    }
    assertEquals(taken, mistakes.length);

    // What follows is the peer's doing.
    const ended = Promise.withResolvers<void>();
    await using server = serve(LOCAL, async (_message, connection) => {
      await connection.closed;
      ended.resolve();
      await connection.send("too late");
      return NO_REPLY;
    });
    using peer = await Peer.connect(server.addr);
    await peer.write(frame("no!"));
    await peer.rest();
    await resetAndDestroy(portOf(server.addr), frame("1"));
    await ended.promise;
    await until(() => server.connections.size === 0, "it is open");
    assertEquals(reports.errors, []);
  },
);

faultTest(
  "an error of a verifier is reported where no onEvent takes it, and a refusal is not",
  async () => {
    using reports = new Reports();
    const login = frame('{"$login":"mine"}');
    const cases: [number, () => unknown, Uint8Array][] = [
      [1, () => {
        throw new Error("the database is gone");
      }, login],
      [1, () => Promise.reject(new Error("the database is gone")), login],
      [0, () => false, login],
      [0, () => true, frame("no!")],
    ];
    for (const [count, authenticate, bytes] of cases) {
      for (const onEvent of [undefined, () => {}]) {
        await using server = serve({ ...LOCAL, authenticate, onEvent }, echo);
        using peer = await Peer.connect(server.addr);
        await peer.write(bytes);
        await settled(peer.ended(), "the connection is open");
        const expected = onEvent === undefined ? count : 0;
        assertEquals(
          reports.errors.splice(0).map(String),
          Array.from({ length: expected }, () => "Error: the database is gone"),
        );
      }
    }
  },
);

faultTest(
  "serve() reports that a hook reads a connection, closes that one, and goes on",
  async () => {
    using reports = new Reports();
    for (const options of [{}, { authenticate: () => true }]) {
      let isFirst = true;
      await using server = serve({
        ...LOCAL,
        ...options,
        onEvent(event) {
          if (event.type !== "connected" || !isFirst) return;
          isFirst = false;
          event.connection[Symbol.asyncIterator]().next().catch(() => {});
        },
      }, echo);
      const login = { ...server.addr, authenticate: () => ({ $login: "own" }) };
      const to = "authenticate" in options ? login : server.addr;
      await using first = await connect(to);
      await assertRejects(() => first.request(1), ConnectionClosedError);
      await using second = await connect(to);
      assertEquals(await second.request(2), 2);
      const [error, ...others] = reports.errors.splice(0).map(String);
      assertStringIncludes(error, "TypeError");
      assertEquals(others, []);
      assertEquals(server.stats().failed, 0);
    }
  },
);
