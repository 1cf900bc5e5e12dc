/** What handlers and hooks do wrong, and what they hear. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import {
  connect,
  ConnectionClosedError,
  type Reply,
  serve,
  sharedSecret,
} from "../mod.ts";
import { delay, faultTest, until, whileServed } from "./ledger.ts";
import { connectResetter, echo, frame, LOCAL, Peer } from "./peers.ts";
import { ServerEventLog } from "./event_logs.ts";

const SECRET = sharedSecret("a secret of the tests");

faultTest(
  "serve() outlives hooks and handlers that throw, again and again",
  async () => {
    const log = new ServerEventLog();
    await using server = serve({
      ...LOCAL,
      authenticate(message) {
        if (Reflect.get(Object(message), "throw")) {
          throw new Error("from the hook");
        }
        return true;
      },
      onEvent(event) {
        log.onEvent(event);
        throw new Error("from the log");
      },
      onError() {
        throw new Error("from the error hook");
      },
    }, () => {
      throw new Error("from the handler");
    });
    for (let i = 0; i < 4; i++) {
      using peer = await Peer.connect(server.addr);
      await peer.write(frame('{"$login":"own","throw":true}'));
      assertEquals(await peer.rest(), [{ $login: "later" }]);
    }
    for (let i = 0; i < 6; i++) {
      using peer = await Peer.connect(server.addr);
      await peer.write(frame('{"$login":"own"}'));
      await peer.write(frame('"work"'));
      assertEquals(await peer.rest(), [{ $login: "accepted" }]);
    }
    await until(() => server.connections.size === 0, "connections are open");
    assertEquals(log.of("rejected").length, 4);
    log.assertBalanced();
  },
);

/** What handlers may throw, and what looks into it may not survive. */
function* thrown(): Generator<[string, unknown]> {
  yield ["an Error", new Error("a secret detail")];
  yield ["text", "a secret detail"];
  yield ["undefined", undefined];
  yield ["null", null];
  yield ["a frozen Error", Object.freeze(new Error("a secret detail"))];
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  yield ["a revoked Proxy", proxy];
  const trap = () => {
    throw new Error("a secret detail");
  };
  yield [
    "a Proxy that throws",
    new Proxy(new Error(), { get: trap, getPrototypeOf: trap, has: trap }),
  ];
  yield [
    "an Error whose message throws",
    Object.defineProperty(new Error(), "message", { get: trap }),
  ];
}

for (const [kind, error] of thrown()) {
  faultTest(
    `serve() closes the connection, and tells the peer nothing, when a handler throws or rejects with ${kind}`,
    async () => {
      for (const how of ["throw", "reject"]) {
        const log = new ServerEventLog();
        await using server = serve(
          { ...LOCAL, onEvent: log.onEvent },
          (message) => {
            if (message === "throw") throw error;
            return message === "reject" ? Promise.reject(error) : message;
          },
        );
        await using witness = await connect(server.addr);
        using peer = await Peer.connect(server.addr);
        await peer.write(frame("1"));
        await peer.write(frame(`"${how}"`));
        await peer.write(frame("2"));
        assertEquals(await peer.rest(), [1]);
        peer[Symbol.dispose]();
        await until(() => log.of("closed").length === 1, "none was closed");
        const [{ end }] = log.of("closed");
        assert(!end.clean);
        assertStrictEquals(end.cause, error);
        assertEquals(await witness.request(3), 3);
      }
    },
  );
}

faultTest(
  "serve() answers others while a handler never ends, and is freed of it when its peer resets",
  async () => {
    let aborted: Promise<unknown> | undefined;
    const log = new ServerEventLog();
    await using server = serve(
      { ...LOCAL, onEvent: log.onEvent },
      (message, { signal }) => {
        if (message !== "hang") return message;
        aborted = new Promise((resolve) => {
          signal.addEventListener("abort", () => resolve(signal.reason));
        });
        return new Promise(() => {});
      },
    );
    const resetter = await connectResetter(server.addr);
    await resetter.write(frame('"hang"'));
    await until(() => aborted !== undefined, "the handler was not called");
    await whileServed(
      server.addr,
      (replies) => until(() => replies() === 5, "others are not served"),
    );
    await resetter.reset();
    const reason = await aborted!;
    assertInstanceOf(reason, ConnectionClosedError);
    assertInstanceOf(reason.cause, Deno.errors.ConnectionReset);
    await until(() => server.connections.size === 0, "it was not freed");
    assertEquals(log.of("closed").length, 2);
  },
);

faultTest(
  "serve() throws away what a handler returns, throws or rejects with after its connection is gone",
  async () => {
    const gates = [0, 1, 2].map(() => Promise.withResolvers<void>());
    let left = 0;
    await using server = serve(LOCAL, async (message) => {
      left++;
      await gates[message as number].promise;
      if (message === 1) throw new Error("too late");
      if (message === 2) return 1n as never;
      return "too late";
    });
    const clients = await Promise.all(gates.map(() => connect(server.addr)));
    const replies = clients.map((client, i) =>
      assertRejects(() => client.request(i), ConnectionClosedError)
    );
    await until(() => left === 3, "the handlers were not called");
    for (const connection of server.connections) connection.abort();
    const ends = [...server.connections].map(({ closed }) => closed);
    await Promise.all([...ends, ...replies]);
    for (const { resolve } of gates) resolve();
    await delay(0);
    assertEquals(server.stats().messagesSent, 0);
    await Promise.all(clients.map((client) => client.close()));
  },
);

faultTest(
  "serve() closes the connection when a reply is none, and answers for it where onError does",
  async () => {
    const cycle: Record<string, unknown> = {};
    cycle.cycle = cycle;
    const replies: unknown[] = [
      1n,
      () => {},
      Symbol("reply"),
      cycle,
      { toJSON: () => Promise.reject },
      Object.defineProperty({}, "get", {
        enumerable: true,
        get() {
          throw new Error("from the getter");
        },
      }),
      "x".repeat(1_048_576),
      Object.defineProperty({}, "then", {
        enumerable: true,
        get() {
          throw new Error("from the promise");
        },
      }),
    ];
    for (const onError of [undefined, () => "sorry"]) {
      await using server = serve(
        { ...LOCAL, onError },
        (message) => replies[message as number] as Reply,
      );
      for (const i of replies.keys()) {
        await using client = await connect(server.addr);
        const reply = client.request(i);
        if (onError !== undefined) assertEquals(await reply, "sorry");
        else await assertRejects(() => reply, ConnectionClosedError);
      }
    }
  },
);

faultTest("serve() publishes its events on a diagnostics channel", async () => {
  const log = new ServerEventLog();
  const published: unknown[] = [];
  const subscriber = (event: unknown) => void published.push(event);
  subscribe("@blackbelt/networking:server", subscriber);
  const server = serve({ ...LOCAL, onEvent: log.onEvent }, echo);
  await using client = await connect(server.addr);
  assertEquals(await client.request(1), 1);
  await server.shutdown();
  unsubscribe("@blackbelt/networking:server", subscriber);
  assertEquals(published, log.events);
  log.assertBalanced();
});

faultTest("stats() tells what happened and what is open", async () => {
  await using server = serve({ ...LOCAL, authenticate: SECRET }, echo);
  using pending = await Peer.connect(server.addr);
  const admitted = await Promise.all(
    [1, 2].map(() => connect({ ...server.addr, authenticate: SECRET })),
  );
  await admitted[0].request("é");
  await admitted[1].request(1);
  await admitted[1].close();
  await until(() => server.connections.size === 1, "it was not closed");
  await until(() => server.stats().pending === 1, "nobody is pending");
  const { messagesReceived, messagesSent, ...rest } = server.stats();
  // The two messages of a login are messages, too.
  assertEquals([messagesReceived, messagesSent], [6, 6]);
  assertEquals(rest.accepted, 3);
  assertEquals(rest.rejected, 0);
  assertEquals(rest.connections, 1);
  assertEquals(rest.failed, 0);
  assertEquals(rest.bytesQueued, 0);
  pending[Symbol.dispose]();
  await until(() => server.stats().rejected === 1, "nobody was rejected");
  assertEquals(server.stats().pending, 0);
  await admitted[0].close();
});
