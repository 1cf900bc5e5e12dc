/**
 * Faults of accepting, of handlers and of shutting down, provoked from outside.
 */
import {
  assert,
  assertEquals,
  assertGreater,
  assertInstanceOf,
  assertLessOrEqual,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { connect as connectNode } from "node:net";
import {
  connect,
  type Connection,
  ConnectionClosedError,
  type JsonValue,
  listen,
  serve,
  type Server,
  type ServerEvent,
  type ServerStats,
  sharedSecret,
} from "../mod.ts";
import { certificates } from "./certificates.ts";
import {
  delay,
  faultTest,
  Now,
  Sockets,
  until,
  whileServed,
} from "./ledger.ts";
import { connectResetter, frame, LOCAL, Peer, portOf } from "./peers.ts";
import { SEED, seeded } from "./random.ts";
import { processorTime, startLimited, startScript } from "./scripts.ts";

const { ca, server: IDENTITY } = certificates();
const SECRET = sharedSecret("a secret of the tests");

function echo(message: JsonValue): JsonValue {
  return message;
}

/** Events, and how many there are of a type. */
class EventLog {
  readonly events: ServerEvent[] = [];
  readonly onEvent = (event: ServerEvent) => void this.events.push(event);

  of<Type extends ServerEvent["type"]>(
    type: Type,
  ): Extract<ServerEvent, { type: Type }>[] {
    return this.events.filter((event) => event.type === type) as never;
  }

  /** Every connection that began has ended, once. */
  assertBalanced(): void {
    const begun = this.of("connected").map(({ connection }) => connection);
    const ended = this.of("closed").map(({ connection }) => connection);
    assertEquals(new Set(begun).size, begun.length);
    assertEquals(ended.length, begun.length);
    assertEquals(new Set(ended), new Set(begun));
  }
}

/** The reply to a message from another address of this machine. */
function askFrom(localAddress: string, port: number): Promise<void> {
  const socket = connectNode({ host: "127.0.0.1", port, localAddress });
  return new Promise((resolve, reject) => {
    socket.on("connect", () => socket.write(frame("1")));
    socket.on("data", () => {
      resolve();
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

/** That one who knows the secret is served. */
async function assertFriendGetsIn(server: Server): Promise<void> {
  await using friend = await connect({ ...server.addr, authenticate: SECRET });
  assertEquals(await friend.request(1), 1);
}

faultTest(
  "serve() serves 80 clients where it may have 64 descriptors, and hardly works while it has none",
  async () => {
    // Deno sets up its signals half a second after the start, and panics if it
    // has no descriptor for them then; who listens for one has them at once.
    await using child = await startScript(
      `Deno.addSignalListener("SIGTERM", () => Deno.exit());
    const server = networking.serve(
      { hostname: "127.0.0.1", port: 0 },
      (message) => message === "stats" ? server.stats() : message,
    );
    console.log(server.addr.port);`,
      { descriptors: 64 },
    );
    const port = Number((await child.line(/^\d+$/))[0]);
    const clients = await Promise.all(
      Array.from({ length: 80 }, () => connect({ ...LOCAL, port })),
    );
    const served: Connection[] = [];
    const replies = clients.map(async (client, i) => {
      assertEquals(await client.request(i), i);
      served.push(client);
      return client;
    });
    const witness = await Promise.race(replies);
    const stats = async () =>
      await witness.request("stats") as unknown as ServerStats;
    await until(async () => (await stats()).acceptFailures > 0, "all got in");

    const start = performance.now();
    const { acceptFailures, accepted } = await stats();
    assertEquals(accepted, served.length);
    const processor = processorTime(child.pid);
    let more = 0;
    await until(async () => {
      await delay(50);
      more = (await stats()).acceptFailures - acceptFailures;
      return more >= 5;
    }, "it does not try again");
    const busy = processorTime(child.pid) - processor;
    const time = performance.now() - start;
    console.log(
      `${served.length} of 80 served; in ${time.toFixed()} ms without a descriptor ${more} attempts, ${busy} ms of work`,
    );
    assertLessOrEqual(more, time / 100 + 1); // each waits 100 ms
    assertLessOrEqual(busy, time / 4);
    assertEquals(
      await Promise.all(served.map((client, i) => client.request(i))),
      served.map((_, i) => i),
    );

    const leave = [...served];
    await Promise.all(leave.map((client) => client.close()));
    await Promise.all(replies);
    assertEquals(served.length, 80);
    await Promise.all(clients.map((client) => client.close()));
  },
);

faultTest(
  "the server program serves 80 clients where it may have 64 descriptors, and says why some wait",
  async () => {
    await using server = startLimited(64, [
      ...["run", "--no-prompt", "--allow-net=127.0.0.1:0", "server.ts"],
      ...["--hostname=127.0.0.1", "--port=0", "--log=text"],
    ]);
    const port = Number((await server.line(/127\.0\.0\.1:(\d+)/))[1]);
    const clients = await Promise.all(
      Array.from({ length: 80 }, () => connect({ ...LOCAL, port })),
    );
    let served = 0;
    const over = Promise.withResolvers<void>();
    const late = over.promise.then(() => clients.length - served);
    const replies = clients.map(async (client, i) => {
      assertEquals(await client.request({ message: i }), {
        status: "success",
        echo: i,
      });
      if (++served === 30) setTimeout(over.resolve, 200);
      await over.promise;
      await client.close();
    });
    await Promise.all(replies);
    server.kill();
    assertEquals((await server.status).code, 0);
    const lines = (await server.stderr()).trim().split("\n");
    // One more behind each that was let in, and none for each attempt.
    assertLessOrEqual(lines.length, 1 + await late);
    for (const line of lines) {
      assertMatch(
        line,
        /^server: cannot accept a connection: .+; trying again$/,
      );
    }
  },
);

faultTest(
  "serve() has those beyond maxConnections wait, and serves them when a place is free",
  async () => {
    let most = 0;
    await using server = serve({ ...LOCAL, maxConnections: 5 }, (message) => {
      most = Math.max(most, server.connections.size);
      return message;
    });
    const clients = await Promise.all(
      Array.from({ length: 16 }, () => connect(server.addr)),
    );
    const replies = clients.map((client, i) => client.request(i));
    await Promise.all(replies.slice(0, 5));
    for (let i = 5; i < clients.length; i++) {
      await clients[i - 5].close();
      assertEquals(await replies[i], i);
    }
    assertEquals(most, 5);
    await Promise.all(clients.map((client) => client.close()));
  },
);

faultTest(
  "serve() keeps maxConnectionsPerIp of one address, and lets others in",
  async () => {
    const log = new EventLog();
    await using server = serve(
      { ...LOCAL, maxConnectionsPerIp: 20, onEvent: log.onEvent },
      echo,
    );
    const peers = await Promise.all(
      Array.from({ length: 200 }, () => Peer.connect(server.addr)),
    );
    await until(() => server.stats().rejected === 180, "none was rejected");
    assertEquals(server.connections.size, 20);
    assert(
      log.of("rejected").every(({ reason }) =>
        reason === "maxConnectionsPerIp"
      ),
    );
    for (let i = 0; i < 5; i++) {
      await askFrom("127.0.0.2", portOf(server.addr));
    }
    const rejected = new Set(
      log.of("rejected").map(({ remoteAddr }) => portOf(remoteAddr)),
    );
    for (const peer of peers) {
      // Those who were rejected know it.
      if (rejected.has(peer.conn.localAddr.port)) await peer.ended();
      peer[Symbol.dispose]();
    }
    await until(() => server.connections.size === 0, "connections are open");
    for (let i = 0; i < 20; i++) {
      const peer = await Peer.connect(server.addr);
      await peer.write(frame("1"));
      assertEquals(await peer.take(1), [1]);
      peers.push(peer);
    }
    for (const peer of peers) peer[Symbol.dispose]();
  },
);

faultTest(
  "serve() takes an IPv4 address that IPv6 carries for the same peer, and counts nobody behind a Unix socket",
  async () => {
    const log = new EventLog();
    await using server = serve({
      hostname: "::",
      port: 0,
      maxConnectionsPerIp: 1,
      onEvent: log.onEvent,
    }, echo);
    const port = portOf(server.addr);
    await using first = await connect({ ...LOCAL, port });
    assertEquals(await first.request(1), 1);
    await using second = await connect({ ...LOCAL, port });
    await assertRejects(() => second.request(2), ConnectionClosedError);
    await using other = await connect({ hostname: "::1", port });
    assertEquals(await other.request(3), 3);
    assertEquals(log.of("rejected").map(({ reason }) => reason), [
      "maxConnectionsPerIp",
    ]);

    const directory = await Deno.makeTempDir();
    {
      const path = `${directory}/socket`;
      await using server = serve({ path }, echo);
      for (const i of [1, 2, 3]) {
        await using _client = await connect(server.addr);
        assertEquals(await _client.request(i), i);
      }
      const clients = await Promise.all(
        [1, 2, 3].map(() => connect(server.addr)),
      );
      const replies = clients.map((client, i) => client.request(i));
      assertEquals(await Promise.all(replies), [0, 1, 2]);
      await Promise.all(clients.map((client) => client.close()));
    }
    await Deno.remove(directory);
  },
);

faultTest(
  "serve() never has more than maxPending strangers, drops the oldest, and lets a friend in",
  async () => {
    const log = new EventLog();
    let most = 0;
    await using server = serve({
      ...LOCAL,
      maxPending: 20,
      handshakeTimeout: Infinity,
      authenticate: SECRET,
      onEvent(event) {
        log.onEvent(event);
        if (event.type === "rejected") {
          most = Math.max(most, server.stats().pending);
        }
      },
    }, echo);
    const peers: Peer[] = [];
    for (let i = 0; i < 10; i++) {
      peers.push(
        ...await Promise.all(
          Array.from({ length: 20 }, () => Peer.connect(server.addr)),
        ),
      );
    }
    await until(() => server.stats().accepted === 200, "not all were accepted");
    await until(() => server.stats().rejected === 180, "none made room");
    assertEquals(server.stats().pending, 20);
    assertLessOrEqual(most, 20);
    const rejected = log.of("rejected");
    assert(rejected.every(({ reason }) => reason === "maxPending"));
    assertEquals(rejected.length, 180);
    const last = new Set(
      peers.slice(-20).map(({ conn }) => conn.localAddr.port),
    );
    assert(rejected.every(({ remoteAddr }) => !last.has(portOf(remoteAddr))));
    await assertFriendGetsIn(server);
    for (const peer of peers) peer[Symbol.dispose]();
  },
);

faultTest(
  "serve() lets a friend in while 200 strangers come and say nothing",
  async () => {
    await using server = serve({
      ...LOCAL,
      maxPending: 20,
      handshakeTimeout: Infinity,
      authenticate: SECRET,
    }, echo);
    const peers: Peer[] = [];
    const flood = (async () => {
      while (peers.length < 200) {
        peers.push(await Peer.connect(server.addr));
        await delay(1);
      }
    })();
    let friends = 0;
    while (peers.length < 200) {
      await assertFriendGetsIn(server);
      friends++;
    }
    await flood;
    assertGreater(friends, 0);
    for (const peer of peers) peer[Symbol.dispose]();
  },
);

faultTest(
  "serve() lets a friend in where strangers that say nothing have taken all places",
  async () => {
    const log = new EventLog();
    using now = new Now();
    const start = performance.now();
    const times: number[] = [];
    await using server = serve({
      ...LOCAL,
      maxConnections: 5,
      handshakeTimeout: Infinity,
      authenticate: SECRET,
      onEvent(event) {
        log.onEvent(event);
        if (event.type === "rejected") times.push(performance.now());
      },
    }, echo);
    const sockets = new Sockets();
    const peers = await Promise.all(
      Array.from({ length: 12 }, () => Peer.connect(server.addr)),
    );
    await until(() => server.stats().pending === 5, "they are not pending");
    let isIn = false;
    const connecting = connect({ ...server.addr, authenticate: SECRET })
      .finally(() => isIn = true);
    await until(() => {
      now.advance(10);
      return isIn;
    }, "the friend is not let in");
    await using friend = await connecting;
    assertEquals(await friend.request(1), 1);
    // Nobody had less than its time, and nobody left whose place was not needed.
    assertGreater(times[0] - start, 249);
    assertGreater(times[5] - times[0], 249);
    const { pending, accepted } = server.stats();
    assertEquals([pending, accepted], [4, 13]);
    assertEquals(
      log.of("rejected").map(({ reason }) => reason),
      Array(8).fill("maxPending"),
    );
    // Those of the peers and of the friend, and of the five that are in.
    await until(() => sockets.open === 18, "they were not freed");
    for (const peer of peers) peer[Symbol.dispose]();
  },
);

faultTest(
  "serve() lets a friend in where strangers that were refused stay in all places",
  async () => {
    await using server = serve({
      ...LOCAL,
      maxConnections: 4,
      handshakeTimeout: Infinity,
      authenticate: SECRET,
    }, echo);
    const peers = await Promise.all(
      Array.from({ length: 4 }, () => Peer.connect(server.addr)),
    );
    for (const peer of peers) {
      await peer.write(frame('"let me in"'));
      assertEquals(await peer.take(1), [{ $login: "refused" }]);
    }
    await assertFriendGetsIn(server);
    for (const peer of peers) peer[Symbol.dispose]();
  },
);

faultTest(
  "serve() drops no stranger while nobody waits for its place, and none that is quick",
  async () => {
    using now = new Now();
    const log = new EventLog();
    const entered = Promise.withResolvers<void>();
    await using server = serve({
      ...LOCAL,
      maxConnections: 2,
      authenticate: async () => {
        await entered.promise;
        return true;
      },
      onEvent: log.onEvent,
    }, echo);
    const options = { ...server.addr, authenticate: () => ({ $login: "own" }) };
    const clients = [connect(options), connect(options)];
    await until(() => server.stats().pending === 2, "they are not pending");
    now.advance(10_000);
    entered.resolve();
    const connections = await Promise.all(clients);
    const third = connect(options);
    assertEquals(await connections[0].request(1), 1);
    await connections[0].close();
    await (await third).close();
    await connections[1].close();
    assertEquals(log.of("rejected"), []);
  },
);

faultTest(
  "serve() counts nobody as refused who left without a word",
  async () => {
    await using server = serve({ ...LOCAL, authenticate: SECRET }, echo);
    for (let i = 0; i < 20; i++) (await Peer.connect(server.addr)).conn.close();
    await until(() => server.stats().rejected === 20, "not all were rejected");
    await using friend = await connect({
      ...server.addr,
      authenticate: SECRET,
    });
    assertEquals(await friend.request(1), 1);
  },
);

faultTest(
  "serve() outlives hooks and handlers that throw, again and again",
  async () => {
    const log = new EventLog();
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

faultTest(
  "accept() may be called many times before anybody comes",
  async () => {
    using listener = listen(LOCAL);
    const accepted = Promise.all(
      Array.from({ length: 5 }, () => listener.accept()),
    );
    const clients = await Promise.all(
      Array.from({ length: 5 }, () => connect(listener.addr)),
    );
    const connections = await accepted;
    assertEquals(new Set(connections).size, 5);
    await Promise.all([...clients, ...connections].map((one) => one.close()));
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
        const log = new EventLog();
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
    const log = new EventLog();
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
      if (message === 2) return 1n;
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
        (message) => replies[message as number],
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
  const log = new EventLog();
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
  using stranger = await Peer.connect(server.addr);
  const friends = await Promise.all(
    [1, 2].map(() => connect({ ...server.addr, authenticate: SECRET })),
  );
  await friends[0].request("é");
  await friends[1].request(1);
  await friends[1].close();
  await until(() => server.connections.size === 1, "it was not closed");
  await until(() => server.stats().pending === 1, "nobody is pending");
  const { messagesReceived, messagesSent, ...rest } = server.stats();
  // The two messages of a login are messages, too.
  assertEquals([messagesReceived, messagesSent], [6, 6]);
  assertEquals(rest.accepted, 3);
  assertEquals(rest.rejected, 0);
  assertEquals(rest.connections, 1);
  assertEquals(rest.acceptFailures, 0);
  assertEquals(rest.bytesQueued, 0);
  stranger[Symbol.dispose]();
  await until(() => server.stats().rejected === 1, "nobody was rejected");
  assertEquals(server.stats().pending, 0);
  await friends[0].close();
});

faultTest(
  "shutdown() loses no reply of a handler that has begun",
  seeded(async (random) => {
    console.log(`TEST_SEED=${SEED}`);
    let begun = 0;
    const server = serve(LOCAL, async (message) => {
      begun++;
      await delay(random.integer(1, 60));
      return message;
    });
    const clients = await Promise.all(
      Array.from({ length: 20 }, () => connect(server.addr)),
    );
    const replies = clients.flatMap((client) =>
      Array.from({ length: 10 }, (_, i) => client.request(i))
    );
    const settled = Promise.allSettled(replies);
    await until(() => begun > 100, "too few handlers were called");
    await server.shutdown();
    const outcomes = await settled;
    const answered = outcomes.filter(({ status }) => status === "fulfilled");
    assertEquals(answered.length, begun);
    await Promise.all(clients.map((client) => client.close()));
  }),
);

faultTest(
  "shutdown() closes idle connections at once, whatever the others do",
  async () => {
    const gate = Promise.withResolvers<void>();
    let begun = false;
    const server = serve({ ...LOCAL, shutdownTimeout: Infinity }, async () => {
      begun = true;
      await gate.promise;
      return "at last";
    });
    const idle = await Promise.all([1, 2, 3].map(() => connect(server.addr)));
    const busy = await connect(server.addr);
    const reply = busy.request(1);
    await until(() => begun, "the handler was not called");
    await until(() => server.connections.size === 4, "not all are connected");
    const shutdown = server.shutdown();
    const ends = await Promise.all(
      idle.map((client) => client[Symbol.asyncIterator]().next()),
    );
    assert(ends.every(({ done }) => done));
    gate.resolve();
    assertEquals(await reply, "at last");
    await shutdown;
    await Promise.all([...idle, busy].map((client) => client.close()));
  },
);

faultTest(
  "shutdown() waits no longer than shutdownTimeout for a peer that reads nothing",
  async () => {
    const text = "x".repeat(1_000_000);
    const server = serve({ ...LOCAL, shutdownTimeout: 100 }, () => text);
    using peer = await Peer.connect(server.addr);
    for (let i = 0; i < 30; i++) await peer.write(frame("1"));
    await until(() => server.stats().bytesQueued > 0, "nothing is queued");
    const start = performance.now();
    await server.shutdown();
    assertGreater(performance.now() - start, 95);
  },
);

faultTest(
  "shutdown() ends those who wait for a place, and no handler sees what they sent",
  async () => {
    const seen: JsonValue[] = [];
    const server = serve({ ...LOCAL, maxConnections: 1 }, (message) => {
      seen.push(message);
      return message;
    });
    await using first = await connect(server.addr);
    assertEquals(await first.request("first"), "first");
    await using second = await connect(server.addr);
    const reply = assertRejects(
      () => second.request("second"),
      ConnectionClosedError,
    );
    await server.shutdown();
    await reply;
    assertEquals(seen, ["first"]);
  },
);

faultTest(
  "shutdown() drops strangers, and leaves nothing of those who were refused",
  async () => {
    const server = serve({
      ...LOCAL,
      handshakeTimeout: Infinity,
      shutdownTimeout: Infinity,
      authenticate: SECRET,
    }, echo);
    using silent = await Peer.connect(server.addr);
    using refused = await Peer.connect(server.addr);
    await refused.write(frame('"let me in"'));
    assertEquals(await refused.take(1), [{ $login: "refused" }]);
    assertEquals(server.stats().pending, 1);
    await server.shutdown();
    await Promise.all([silent.ended(), refused.ended()]);
  },
);

faultTest(
  "shutdown() may be called in a handler: without waiting for it the reply leaves, and waiting ends with the time",
  async () => {
    {
      const server = serve(LOCAL, () => {
        server.shutdown();
        return "goodbye";
      });
      await using client = await connect(server.addr);
      assertEquals(await client.request(1), "goodbye");
      await server.finished;
    }
    const server = serve({ ...LOCAL, shutdownTimeout: 50 }, async () => {
      await server.shutdown();
      return "never";
    });
    await using client = await connect(server.addr);
    await assertRejects(() => client.request(1), ConnectionClosedError);
    await server.finished;
  },
);

faultTest(
  "shutdown() may come at any time: twice, in onListen, in an event, after the end",
  async () => {
    const controller = new AbortController();
    const early = serve({
      ...LOCAL,
      signal: controller.signal,
      onListen: () => controller.abort(),
    }, echo);
    await early.finished;
    const late = serve({
      ...LOCAL,
      shutdownTimeout: Infinity,
      onEvent(event) {
        if (event.type === "connected") late.shutdown();
      },
    }, echo);
    await using client = await connect(late.addr);
    assertEquals((await client[Symbol.asyncIterator]().next()).done, true);
    assertStrictEquals(late.shutdown(), late.shutdown());
    await late.finished;
    await late.shutdown();
    await late[Symbol.asyncDispose]();
  },
);

for (
  const [kind, options, clientOptions] of [
    ["a plain server", {}, {}],
    ["one that authenticates", { authenticate: SECRET }, {
      authenticate: SECRET,
    }],
    ["one that encrypts", { tls: IDENTITY }, { tls: { ca } }],
  ] as const
) {
  faultTest(
    `shutdown() takes on nobody who comes in the same turn: ${kind}`,
    async () => {
      const log = new EventLog();
      const { listen: original } = Deno;
      Deno.listen = ((options: Deno.TcpListenOptions) => {
        const listener = original(options);
        const { accept } = listener;
        listener.accept = async () => {
          const conn = await Reflect.apply(accept, listener, []);
          server.shutdown(); // who accepts hears of the peer after this
          return conn;
        };
        return listener;
      }) as typeof Deno.listen;
      const server = serve(
        {
          ...LOCAL,
          ...options,
          shutdownTimeout: Infinity,
          onEvent: log.onEvent,
        },
        echo,
      );
      Deno.listen = original;
      const request = assertRejects(async () => {
        await using client = await connect({
          ...server.addr,
          ...clientOptions,
        });
        await client.request("hello");
      });
      await server.finished;
      await request;
      assertEquals(log.of("connected"), []);
      assertEquals(server.stats().pending, 0);
    },
  );
}

faultTest(
  "close() in an event leaves no connection behind that nobody waited for",
  async () => {
    const log = new EventLog();
    const listener = listen({
      ...LOCAL,
      authenticate: SECRET,
      onEvent(event) {
        log.onEvent(event);
        if (log.of("connected").length === 2) listener.close();
      },
    });
    const accepted = listener.accept();
    const clients = await Promise.all(
      [1, 2].map(() => connect({ ...listener.addr, authenticate: SECRET })),
    );
    await (await accepted).close();
    for (const client of clients) {
      assertEquals((await client[Symbol.asyncIterator]().next()).done, true);
      await client.close();
    }
    await until(() => listener.connections.size === 0, "one is still open");
    log.assertBalanced();
  },
);

faultTest(
  "serve() leaves signals alone, and the process ends by itself once it is shut down",
  async () => {
    {
      await using child = await startScript(
        `const server = networking.serve({ hostname: "127.0.0.1", port: 0 }, (m) => m);
      console.log(server.addr.port);`,
        { flags: ["--allow-net=127.0.0.1"] },
      );
      await child.line(/^\d+$/);
      child.kill("SIGTERM");
      assertEquals((await child.status).signal, "SIGTERM");
    }
    await using child = await startScript(
      `const asked = Promise.withResolvers();
    const server = networking.serve({ hostname: "127.0.0.1", port: 0 }, async (message) => {
      console.log("asked");
      await asked.promise;
      return message;
    });
    Deno.addSignalListener("SIGTERM", async () => {
      setTimeout(asked.resolve, 50);
      await server.shutdown();
      console.log("over");
    });
    console.log(server.addr.port);`,
      { flags: ["--allow-net=127.0.0.1"] },
    );
    const port = Number((await child.line(/^\d+$/))[0]);
    await using client = await connect({ ...LOCAL, port });
    const reply = client.request("in flight");
    await child.line(/asked/);
    child.kill("SIGTERM");
    assertEquals(await reply, "in flight");
    await child.line(/over/);
    // A signal listener does not keep the process alive, nor does the server.
    assertEquals((await child.status).code, 0);
  },
);

faultTest("serve() is shut down at the end of await using", async () => {
  let server;
  let reply: Promise<JsonValue>;
  let client: Connection;
  {
    let asked = false;
    await using scoped = serve(LOCAL, async (message) => {
      asked = true;
      await delay(20);
      return message;
    });
    server = scoped;
    client = await connect(server.addr);
    reply = client.request("in flight");
    await until(() => asked, "the handler was not called");
  }
  assertEquals(await reply, "in flight");
  await assertRejects(
    () => connect(server.addr),
    Deno.errors.ConnectionRefused,
  );
  await client.close();
});
