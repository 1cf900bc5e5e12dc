/**
 * What slow, silent, greedy and vanishing peers may do, provoked from outside.
 * Times are a fiftieth of those that are usual.
 */
import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLess,
  assertLessOrEqual,
  assertRejects,
} from "@std/assert";
import { connect as connectNode } from "node:net";
import { connect as connectTls } from "node:tls";
import {
  BackpressureError,
  connect,
  type Connection,
  ConnectionClosedError,
  type ConnectionEnd,
  listen,
  serve,
  SERVE_DEFAULTS,
} from "../mod.ts";
import { certificates } from "./certificates.ts";
import { startChildServer, type State } from "./child_server.ts";
import {
  Clock,
  delay,
  faultTest as test,
  Sockets,
  standstill,
  until,
  watch,
  whileServed,
} from "./ledger.ts";
import {
  bytesOf,
  connectResetter,
  frame,
  join,
  LOCAL,
  Peer,
  portOf,
  prefix,
  repeat,
} from "./peers.ts";
import { type Running, start } from "./process.ts";
import { Random, SEED } from "./random.ts";

const KIB = 1_024;
const MIB = 1_048_576;
function echo(message: unknown): unknown {
  return message;
}

function assertTimeout({ clean, cause }: ConnectionEnd): void {
  assert(!clean);
  assertInstanceOf(cause, DOMException);
  assertEquals(cause.name, "TimeoutError");
}

/** Checks that it has not ended early. */
function assertNotBefore(start: number, deadline: number): void {
  const milliseconds = performance.now() - start;
  assert(milliseconds >= 0.95 * deadline, `after ${milliseconds} ms`);
}

/** A server program in a process of its own, once it listens. */
async function startServer(): Promise<
  Running & { addr: { hostname: string; port: number } }
> {
  const server = start(Deno.execPath(), [
    ...["run", "--no-prompt", "--allow-net=127.0.0.1:0"],
    new URL("../server.ts", import.meta.url).pathname,
    ...["--hostname", "127.0.0.1", "--port", "0"],
  ]);
  const [, port] = await server.line(/127\.0\.0\.1\D+(\d+)/);
  return Object.assign(server, { addr: { ...LOCAL, port: Number(port) } });
}

// Time

test("frameTimeout ends 100 peers that send a byte now and then, and others are served", async () => {
  const timeouts = { frameTimeout: 1_000, writeTimeout: Infinity };
  using clock = new Clock(1_000);
  await using watched = watch(echo, { ...timeouts, idleTimeout: Infinity });
  await whileServed(watched.addr, async (replies) => {
    const bytes = frame(JSON.stringify("x".repeat(1_000)));
    const peers = await Promise.all(
      Array.from({ length: 100 }, () => Peer.connect(watched.addr)),
    );
    const { server } = watched;
    await until(() => server.connections.size === 101, "not accepted");
    const all = [...server.connections];
    for (let sent = 0; sent < 20; sent++) {
      await Promise.all(
        peers.map((peer) => peer.write(bytes.subarray(sent, sent + 1))),
      );
      await until(
        () =>
          all.filter(({ stats }) => stats.bytesReceived === sent + 1).length ===
            100,
        "not read",
      );
      const before = replies();
      await until(() => replies() > before, "others are not served");
      assertEquals(watched.ends, []);
      clock.advance(clock.period);
    }
    clock.advance(clock.period);
    await Promise.all(peers.map((peer) => peer.ended()));
    for (const peer of peers) peer[Symbol.dispose]();
  });
  await until(() => watched.ends.length === 101, "connections are open");
  watched.ends.slice(0, 100).forEach(assertTimeout);
});

test("idleTimeout ends a silent peer, whatever is sent to it, and none that speaks", async () => {
  const idleTimeout = 1_000;
  using clock = new Clock(idleTimeout);
  using listener = listen({ ...LOCAL, idleTimeout });
  using silent = await Peer.connect(listener.addr);
  const connection = await listener.accept();
  using speaker = await Peer.connect(listener.addr);
  const other = await listener.accept();
  const messages = Array.fromAsync(other);
  const receiving = connection[Symbol.asyncIterator]().next();
  const iterating = assertRejects(() => receiving, ConnectionClosedError);
  for (let passed = 0; passed <= idleTimeout; passed += clock.period) {
    assertEquals(await Promise.race([connection.closed, "open"]), "open");
    await connection.send("news");
    await speaker.write(frame("1"));
    await until(
      () => other.stats.messagesReceived > passed / clock.period,
      "not read",
    );
    clock.advance(clock.period);
  }
  await silent.ended();
  await speaker.conn.closeWrite();
  assertEquals((await messages).length, 21);
  silent[Symbol.dispose]();
  await iterating;
  assertTimeout(await connection.closed);
});

test("heartbeats keep a connection over many times idleTimeout, on both sides", async () => {
  const idleTimeout = 1_000;
  using clock = new Clock(idleTimeout);
  using beats = new Clock(600);
  await using watched = watch(echo, { idleTimeout });
  await using client = await connect({
    ...watched.addr as { hostname: string; port: number },
    idleTimeout,
    heartbeat: "are you there?",
    heartbeatInterval: 600,
  });
  for (let i = 1; i <= 10; i++) {
    await beats.advanceUntil(() => client.stats.messagesSent === i, "no beat");
    await until(() => client.stats.messagesReceived === i, "no answer");
    clock.advance(600);
  }
  assertEquals(await client.request("still here"), "still here");
  assertEquals(watched.ends, []);
});

test("handshakeTimeout ends who does not say who it is, and 16 KiB are enough to say it", async () => {
  let handled = 0;
  const rejected: string[] = [];
  const large = frame(JSON.stringify({ $login: "x".repeat(16 * KIB) }));
  for (
    const [bytes, late] of [
      [new Uint8Array(0), true],
      [frame('{"$login":"own","word":"let me in"}').subarray(0, -1), true],
      [large, false],
      [frame('{"$login":"own","word":"let me out"}'), false],
      [prefix(16 * KIB + 1), false],
    ] as const
  ) {
    const handshakeTimeout = late ? 200 : Infinity;
    await using server = serve({
      ...LOCAL,
      handshakeTimeout,
      authenticate: (message) =>
        Reflect.get(Object(message), "word") === "let me in",
      onEvent(event) {
        if (event.type === "rejected") rejected.push(event.reason);
      },
    }, () => ++handled);
    const start = performance.now();
    using peer = await Peer.connect(server.addr);
    await peer.write(join(bytes, late ? new Uint8Array(0) : frame("1")));
    await peer.ended();
    if (late) assertNotBefore(start, handshakeTimeout);
  }
  await until(() => rejected.length === 5, "not rejected");
  assertEquals(rejected, [
    ...["handshakeTimeout", "handshakeTimeout"],
    ...["authentication", "authentication", "authentication"],
  ]);
  assertEquals(handled, 0);
});

test("heartbeats find a server that is frozen, which takes what is sent and says nothing", async () => {
  using clock = new Clock(1_000);
  await using server = await startServer();
  const client = await connect({
    ...server.addr,
    heartbeat: { message: "are you there?" },
    heartbeatInterval: 1_000,
  });
  await client.request({ message: "hello" });
  clock.advance(clock.period);
  const reply = assertRejects(async () => {
    server.kill("SIGSTOP");
    await client.request({ message: "never answered" });
  }, ConnectionClosedError);
  clock.advance(2_000 + clock.period);
  assertTimeout(await client.closed);
  await reply;
  server.kill("SIGCONT");
});

test("connect() and request() end in time where the server accepts nobody", async () => {
  using listener = Deno.listen(LOCAL);
  const { port } = listener.addr;
  using clock = new Clock(1_000);
  const client = await connect({ port, idleTimeout: 1_000 });
  const closed = assertRejects(
    () => client.request("anybody?"),
    ConnectionClosedError,
  );
  await until(() => client.stats.bytesQueued === 0, "it was not sent");
  clock.advance(1_000 + 2 * clock.period);
  assertInstanceOf((await closed).cause, DOMException);
  client.abort();

  const again = performance.now();
  const late = await assertRejects(
    () =>
      connect({
        port,
        handshakeTimeout: 100,
        authenticate: () => ({ $login: "me" }),
      }),
    DOMException,
    "the handshake is not done after 100 ms",
  );
  assertEquals(late.name, "TimeoutError");
  assertNotBefore(again, 100);
});

test("connectTimeout ends connecting where nobody answers", async () => {
  using full = Deno.listen(
    { ...LOCAL, tcpBacklog: 0 } as Deno.TcpListenOptions,
  );
  const { port } = full.addr;
  using _filler = await Deno.connect({ port });
  const start = performance.now();
  await assertRejects(
    () => connect({ port, connectTimeout: 100 }),
    DOMException,
    "no answer after 100 ms",
  );
  assertNotBefore(start, 100);
});

test("request() that is given up in time costs no other request its reply", async () => {
  let gate = Promise.withResolvers<void>();
  await using watched = watch(async (message) => {
    if (message === "slow") await gate.promise;
    return message;
  });
  await using client = await connect(watched.addr);
  for (let i = 0; i < 5; i++) {
    const signal = AbortSignal.timeout(20);
    const slow = assertRejects(
      () => client.request("slow", { signal }),
      DOMException,
    );
    const replies = [1, 2, 3].map((number) => client.request(number));
    assertEquals((await slow).name, "TimeoutError");
    gate.resolve();
    gate = Promise.withResolvers();
    assertEquals(await Promise.all(replies), [1, 2, 3]);
  }
});

test("no clock that jumps makes anybody late", async () => {
  using clock = new Clock(1_000);
  await using watched = watch(echo, {
    idleTimeout: 1_000,
    frameTimeout: 1_000,
  });
  await using client = await connect(watched.addr);
  using peer = await Peer.connect(watched.addr);
  await peer.write(frame('"half"').subarray(0, 7));
  assertEquals(await client.request(1), 1);
  const { now } = Date;
  const { now: sinceStart } = performance;
  try {
    const day = 24 * 3_600_000;
    Date.now = () => now() + day;
    performance.now = () => Reflect.apply(sinceStart, performance, []) + day;
    clock.advance(300);
    assertEquals(await client.request(2), 2);
    Date.now = () => now() - day;
    performance.now = () => Reflect.apply(sinceStart, performance, []) - day;
    clock.advance(300);
    assertEquals(await client.request(3), 3);
  } finally {
    Date.now = now;
    performance.now = sinceStart;
  }
  assertEquals(await client.request(3), 3);
  await peer.write(frame('"half"').subarray(7));
  assertEquals(await peer.take(1), ["half"]);
  assertEquals(watched.ends, []);
});

// Memory and turns

test("serve() keeps no more than the high-water mark and one reply for a peer that reads nothing, and gives it up", async () => {
  const writeTimeout = 1_000;
  using clock = new Clock(writeTimeout);
  const reply = "x".repeat(MIB - 2);
  let handled = 0;
  await using watched = watch((message) => {
    handled++;
    return message === "large" ? reply : message;
  }, { writeTimeout, maxQueuedBytes: Infinity });
  const { server } = watched;
  const sockets = new Sockets();
  await whileServed(watched.addr, async () => {
    const peers = await Promise.all(
      Array.from({ length: 10 }, () => Peer.connect(watched.addr)),
    );
    const requests = repeat(frame('"large"'), 1_000);
    await Promise.all(peers.map((peer) => peer.write(requests)));
    await until(() => server.connections.size === 11, "not accepted");
    const [_witness, ...blocked] = server.connections;
    await until(
      () => blocked.every(({ stats }) => stats.bytesQueued > 0),
      "not all are blocked",
    );
    await standstill(() =>
      blocked.reduce((sum, { stats }) => sum + stats.bytesSent, 0)
    );
    clock.advance(writeTimeout / 2);
    assertEquals(server.connections.size, 11);
    for (const { stats } of server.connections) {
      assertLessOrEqual(stats.bytesQueued, 64 * KIB + MIB + 4);
    }
    // The platform takes some 4 MB for each before it blocks.
    const large = [...server.connections]
      .reduce((sum, { stats }) => sum + stats.messagesReceived, 0);
    assertLess(large, 10 * 12);
    await until(() => {
      clock.advance(clock.period);
      return watched.ends.length === 10;
    }, "still connected");
    watched.ends.forEach(assertTimeout);
    await until(() => sockets.open <= 12, "descriptors are open");
    for (const peer of peers) peer[Symbol.dispose]();
  });
  assertLess(handled, 1_000);
});

test("send() that nobody awaits rejects beyond maxQueuedBytes, and what it has taken arrives in order", async () => {
  using listener = Deno.listen(LOCAL);
  await using client = await connect({ port: listener.addr.port });
  using peer = new Peer(await listener.accept());
  const filler = "x".repeat(10 * KIB);
  const taken: number[] = [];
  const errors: unknown[] = [];
  const sending: Promise<void>[] = [];
  for (let i = 0; i < 10_000; i++) {
    if (i % 100 === 0) await delay(0); // the platform takes what it can
    const sent = client.stats.messagesSent;
    sending.push(
      client.send([i, filler]).catch((error) => {
        errors.push(error);
      }),
    );
    if (client.stats.messagesSent > sent) taken.push(i);
    assertLessOrEqual(client.stats.bytesQueued, 4 * MIB + 11 * KIB);
  }
  assert(taken.length < 5_000, `${taken.length} were taken`);
  const arrived = await peer.take(taken.length);
  await Promise.all(sending);
  assertEquals(arrived.map((message) => (message as number[])[0]), taken);
  assertEquals(errors.length, 10_000 - taken.length);
  for (const error of errors) {
    assertInstanceOf(error, BackpressureError);
    assert(error.queued > error.limit && error.limit === 4 * MIB);
  }
  const again = client.request("the link goes on");
  assertEquals(await peer.take(1), ["the link goes on"]);
  await peer.write(frame("1"));
  assertEquals(await again, 1);
});

test("serve() answers all requests where maxQueuedBytes is less than the high-water mark", async () => {
  const reply = "x".repeat(900);
  await using watched = watch(() => reply, { maxQueuedBytes: 1_000 });
  await using client = await connect(watched.addr);
  const replies = Array.from({ length: 100 }, (_, i) => client.request(i));
  assertEquals(await Promise.all(replies), Array(100).fill(reply));
});

test("serve() has no more than maxInFlight messages in hand, however many come in one chunk, and then the peer is blocked", async () => {
  let inFlight = 0;
  let most = 0;
  const gate = Promise.withResolvers<void>();
  await using watched = watch(async (message) => {
    most = Math.max(most, ++inFlight);
    await gate.promise;
    inFlight--;
    return message;
  });
  using peer = await Peer.connect(watched.addr);
  const flood = repeat(frame("7"), 13_107);
  let written = 0;
  const writing = (async () => {
    for (let i = 0; i < 1_000; i++) {
      await peer.write(flood);
      written += flood.length;
    }
  })().catch(() => {});
  await until(() => most === 100, "too few are in hand");
  await standstill(() => written);
  assertLess(written, 1_000 * flood.length);
  assertEquals(most, 100);
  // All that was read is 64 KiB at most behind those in hand.
  assertLess(watched.server.stats().bytesReceived, 2 * 65_536);
  peer[Symbol.dispose]();
  gate.resolve();
  await writing;
  await until(() => inFlight === 0, "messages are in hand");
});

/** Handlers that wait until the connection's signal says that all is over. */
class Waiting {
  handled = 0;
  told = 0;
  readonly handler = (_message: unknown, { signal }: Connection) => {
    this.handled++;
    const { promise, resolve } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => {
      this.told++;
      resolve();
    });
    return promise;
  };
}

for (
  const [behind, requests] of [
    ["nothing more", repeat(frame("7"), 100)],
    ["10 000 requests", repeat(frame("7"), 10_100)],
    ["half a frame", join(repeat(frame("7"), 100), frame("77").subarray(0, 5))],
    ["a MiB", repeat(frame(`"${"x".repeat(100_000)}"`), 100)],
  ] as const
) {
  test(`serve() tells all handlers within a second that a peer has reset from which no more is read, and frees its place, with ${behind} unread`, async () => {
    using clock = new Clock(SERVE_DEFAULTS.frameTimeout);
    const waiting = new Waiting();
    await using watched = watch(waiting.handler);
    const peer = await connectResetter(watched.addr);
    peer.write(requests);
    const inHand = behind === "a MiB" ? 11 : 100;
    await until(() => waiting.handled === inHand, "no handler was called");
    // A peer that is there stays, however often it is asked.
    for (let i = 0; i < 5; i++) {
      clock.advance(clock.period);
      await delay(1);
    }
    assertEquals(watched.ends, []);
    await peer.reset();
    await until(() => {
      clock.advance(clock.period);
      return waiting.told === inHand;
    }, "a handler was not told");
    assertEquals(watched.server.connections.size, 0);
    assert(!watched.ends[0].clean);
    assertInstanceOf(watched.ends[0].cause, Deno.errors.ConnectionReset);
    assertEquals(waiting.handled, inHand);
  });
}

test("serve({ tls }) tells all handlers within a second that a peer has reset from which no more is read", async () => {
  using clock = new Clock(SERVE_DEFAULTS.frameTimeout);
  const { ca, server: tls } = certificates();
  const waiting = new Waiting();
  await using watched = watch(waiting.handler, { tls });
  const socket = connectNode(portOf(watched.addr), "127.0.0.1");
  const secure = connectTls({ socket, ca, host: "localhost" });
  secure.on("error", () => {});
  await new Promise<void>((resolve) => secure.on("secureConnect", resolve));
  secure.write(repeat(frame("7"), 200));
  await until(() => waiting.handled === 100, "no handler was called");
  for (let i = 0; i < 5; i++) {
    clock.advance(clock.period);
    await delay(1);
  }
  assertEquals(watched.ends, []);
  socket.resetAndDestroy();
  await until(() => {
    clock.advance(clock.period);
    return waiting.told === 100;
  }, "a handler was not told");
  assertEquals(watched.server.connections.size, 0);
  assert(!watched.ends[0].clean);
  secure.destroy();
});

test("serve() answers a peer that has ended its side and is read from no more, whatever it asks for its place", async () => {
  using clock = new Clock(SERVE_DEFAULTS.frameTimeout);
  const gate = Promise.withResolvers<void>();
  let inHand = 0;
  await using watched = watch((message) => {
    inHand++;
    return gate.promise.then(() => message);
  });
  using peer = await Peer.connect(watched.addr);
  await peer.write(repeat(frame("7"), 150));
  await peer.conn.closeWrite();
  await until(() => inHand === 100, "too few are in hand");
  for (let i = 0; i < 5; i++) {
    clock.advance(clock.period);
    await delay(1);
  }
  gate.resolve();
  assertEquals(await peer.rest(), Array(150).fill(7));
  await until(() => watched.ends.length === 1, "it was not closed");
  assert(watched.ends[0].clean);
});

test("serve() gives others their turn while a peer sends as fast as it can", async () => {
  await using server = await startChildServer();
  const flood = repeat(frame("7"), 13_107);
  await whileServed(server.addr, async (replies) => {
    using peer = await Peer.connect(server.addr);
    while (replies() < 50) await peer.write(flood);
    await peer.write(frame("0"));
    await peer.take(1);
  });
  await using client = await connect(server.addr);
  const state = await client.request({ state: true }) as unknown as State;
  const { bytesReceived, mostPerTurn } = state;
  console.log(`${bytesReceived} bytes, ${mostPerTurn} in one turn at most`);
  assertGreaterOrEqual(bytesReceived, 50 * 65_536);
  assertLess(mostPerTurn, MIB);
});

test("serve() serves 1 000 connections at once", async () => {
  await using watched = watch(echo);
  const clients: Connection[] = [];
  for (let i = 0; i < 1_000; i += 50) {
    clients.push(
      ...await Promise.all(
        Array.from({ length: 50 }, () => connect(watched.addr)),
      ),
    );
  }
  const replies = clients.map((client, i) => client.request(i));
  assertEquals(await Promise.all(replies), clients.map((_, i) => i));
  assertEquals(watched.server.connections.size, 1_000);
  await Promise.all(clients.map((client) => client.close()));
  await until(() => watched.ends.length === 1_000, "connections are open");
  assert(watched.ends.every(({ clean }) => clean));
});

test("serve() keeps nothing of 600 connections that came and went in every way", async () => {
  console.log(`TEST_SEED=${SEED}`);
  const random = new Random(SEED);
  await using watched = watch(echo, { frameTimeout: 20, onError: () => 0 });
  const sockets = new Sockets();
  const ways: (() => Promise<void>)[] = [
    async () => {
      await using client = await connect(watched.addr);
      assertEquals(await client.request("x"), "x");
    },
    async () => {
      const peer = await connectResetter(watched.addr);
      await peer.write(frame('"x"').subarray(0, random.integer(0, 6)));
      await peer.reset();
    },
    async () => {
      using peer = await Peer.connect(watched.addr);
      await peer.write(frame('"x"').subarray(0, random.integer(1, 6)));
      await peer.ended(); // when the frame is late
    },
    async () => {
      using peer = await Peer.connect(watched.addr);
      await peer.write(join(frame("x"), frame("1"), prefix(2 * MIB)));
      assertEquals(await peer.rest(), [0, 1]);
    },
    async () => {
      const client = await connect(watched.addr);
      const reply = client.request("x".repeat(100_000));
      reply.catch(() => {});
      client.abort();
      await assertRejects(() => reply, ConnectionClosedError);
    },
  ];
  for (let i = 0; i < 20; i++) {
    await Promise.all(random.list(30, () => random.pick(ways)()));
  }
  await until(() => watched.server.connections.size === 0, "are open");
  const { connections, pending, bytesQueued } = watched.server.stats();
  assertEquals([connections, pending, bytesQueued], [0, 0, 0]);
  await until(() => sockets.open === 0, "descriptors are open");
});

// The life of a connection

test("close() with a read pending ends the iteration quietly, and the peer sees the end", async () => {
  using listener = listen(LOCAL);
  for (let i = 0; i < 20; i++) {
    using peer = await Peer.connect(listener.addr);
    const connection = await listener.accept();
    const iterating = Array.fromAsync(connection);
    await delay(0);
    const closing = connection.close();
    assertEquals(await peer.rest(), []);
    peer[Symbol.dispose]();
    assertEquals(await iterating, []);
    await closing;
    assertEquals(await connection.closed, { clean: true });
  }
});

test("abort() with a write pending frees the descriptor, and the peer gets what had left", async () => {
  using listener = listen({ ...LOCAL, maxFrameBytes: 32 * MIB });
  for (let i = 0; i < 5; i++) {
    const sockets = new Sockets();
    using peer = await Peer.connect(listener.addr);
    const connection = await listener.accept();
    const sent = assertRejects(
      () => connection.send("x".repeat(20 * MIB)),
      ConnectionClosedError,
    );
    await until(() => connection.stats.bytesSent > 0, "nothing is written");
    const { bytesSent } = connection.stats;
    connection.abort();
    await sent;
    await until(() => sockets.open === 1, "the descriptor is open");
    await peer.ended();
    assertGreaterOrEqual(peer.received, bytesSent);
  }
});

test("closing in any order, and again, throws nothing and settles closed once", async () => {
  type Act = (connection: Connection) => unknown;
  const acts: Act[] = [
    (connection) => connection.close(),
    (connection) => connection.abort(),
    (connection) => connection[Symbol.asyncDispose](),
    (connection) => connection.closeWrite().catch(() => {}),
    (connection) => Array.fromAsync(connection).catch(() => {}),
  ];
  let closed = 0;
  await using server = serve({
    ...LOCAL,
    onEvent: ({ type }) => void (type === "closed" && closed++),
  }, echo);
  let rounds = 0;
  for (const first of acts) {
    for (const second of acts) {
      rounds++;
      const client = await connect(server.addr);
      client.send("x").catch(() => {});
      const all = [first(client), second(client), second(client)];
      await Promise.all([...all, client.close(), client.closed]);
      await Promise.all([client.close(), first(client), second(client)]);
    }
  }
  await until(() => closed === rounds, `${closed} of ${rounds} are closed`);
});

test("close() may be called in a handler, in a hook, behind closed, and while connecting", async () => {
  let closed = 0;
  const hooked = new Set<Connection>();
  await using server = serve({
    ...LOCAL,
    onEvent(event) {
      if (event.type === "connected") hooked.add(event.connection);
      if (event.type !== "closed") return;
      closed++;
      event.connection.close();
      event.connection.abort();
    },
  }, async (message, connection) => {
    connection.closed.then(() => connection.close());
    if (message === "close") connection.close();
    if (message === "abort") connection.abort();
    if (message === "wait") await connection.close();
    return "bye";
  });
  for (let i = 0; i < 50; i++) {
    for (const message of ["close", "abort", "wait"]) {
      const client = await connect(server.addr);
      await assertRejects(
        () => client.request(message),
        ConnectionClosedError,
      );
      await client.close();
    }
    const controller = new AbortController();
    const connecting = connect({
      ...server.addr as { hostname: string; port: number },
      signal: controller.signal,
    });
    if (i % 2 === 0) await undefined;
    controller.abort();
    await assertRejects(() => connecting, DOMException);
  }
  await until(() => closed === hooked.size, `${closed} of ${hooked.size}`);
  assertGreaterOrEqual(closed, 150);
});

test("the replies before a fault of the peer arrive, however much it has sent behind it", async () => {
  const tail = new Uint8Array(300_000).fill(0x78);
  const faults: [string, Uint8Array][] = [
    ["too large", prefix(2 * MIB)],
    ["no message", frame("x")],
  ];
  await using watched = watch((message) => "x".repeat(message as number));
  async function attack(size: number, fault: Uint8Array): Promise<number[]> {
    using peer = await Peer.connect(watched.addr);
    const good = repeat(frame(`${size}`), 10);
    peer.write(join(good, fault, tail)).catch(() => {});
    const sizes: number[] = [];
    for (let taken; (taken = await peer.take(1)).length > 0;) {
      sizes.push((taken[0] as string).length);
      // So slowly that much of it waits with the platform.
      if (size > KIB) await delay(3);
    }
    return sizes;
  }
  for (const [name, fault] of faults) {
    await Promise.all(Array.from({ length: 5 }, async () => {
      for (let i = 0; i < 10; i++) {
        const size = i < 9 ? 100 : 1_000_000;
        assertEquals(await attack(size, fault), Array(10).fill(size), name);
      }
    }));
  }
});

test("the replies that were sent arrive when the server shuts down, however many requests are left unread", async () => {
  const reply = "x".repeat(500_000);
  for (let i = 0; i < 5; i++) {
    const watched = watch(() => reply);
    const { server } = watched;
    using peer = await Peer.connect(watched.addr);
    const request = frame(JSON.stringify("y".repeat(10_000)));
    const asking = peer.write(repeat(request, 300)).catch(() => {});
    await until(() => server.stats().messagesSent >= 5 + i, "no replies");
    const shutdown = server.shutdown();
    let replies = 0;
    while ((await peer.take(1)).length > 0) {
      replies++;
      await delay(5); // so that the rest waits with the platform
    }
    peer[Symbol.dispose]();
    await Promise.all([asking, shutdown]);
    assertEquals(replies, server.stats().messagesSent);
    assertEquals(watched.ends, [{ clean: true }]);
  }
});

test("send() that nobody awaits does no harm where the peer is gone, is being closed, or reads nothing", async () => {
  await using watched = watch(echo);
  const { server } = watched;
  using bad = await Peer.connect(watched.addr);
  using deaf = await Peer.connect(watched.addr);
  await bad.write(prefix(2 * MIB));
  await deaf.write(frame("1"));
  await bad.ended(); // and it does not close its side
  await until(() => server.stats().messagesSent === 1, "no reply");
  assertEquals(server.connections.size, 2);
  const news = "x".repeat(MIB - 2);
  const [one, other] = server.connections;
  for (let i = 0; i < 20; i++) {
    for (const connection of [one, other]) connection.send(news);
    await delay(1);
  }
  bad[Symbol.dispose]();
  deaf[Symbol.dispose]();
  await until(() => watched.ends.length === 2, "connections are open");
  for (const connection of [one, other]) connection.send(news);
});

test("send() resolves when the platform has the message, which is no proof that the peer has it", async () => {
  using listener = Deno.listen(LOCAL);
  const client = await connect({ port: listener.addr.port });
  const peer = new Peer(await listener.accept());
  peer[Symbol.dispose]();
  await client.send("into the void");
  const error = await assertRejects(
    async () => {
      for (;;) {
        await client.send("again");
        await delay(1);
      }
    },
    ConnectionClosedError,
    "the connection",
  );
  assertInstanceOf(error.cause, Error);
  assert(!error.clean);
});

test("whatever ends a connection is told as a ConnectionClosedError with its cause", async () => {
  using listener = Deno.listen(LOCAL);
  const endings: [
    string,
    (client: Connection, conn: Deno.TcpConn) => unknown,
    boolean,
    string | undefined,
  ][] = [
    ["closed here", (client) => client.close(), true, undefined],
    ["closed there", (_, conn) => conn.close(), true, undefined],
    ["aborted", (client) => client.abort(), false, "AbortError"],
    [
      "aborted for a reason",
      (client) => client.abort(new TypeError("enough")),
      false,
      "TypeError",
    ],
    [
      "cut short",
      async (_, conn) => {
        await conn.write(bytesOf("00 00 00 09 22"));
        conn.close();
      },
      false,
      "FrameTruncatedError",
    ],
    [
      "too large",
      (_, conn) => conn.write(bytesOf("ff ff ff ff")),
      false,
      "FrameTooLargeError",
    ],
  ];
  for (const [name, end, clean, cause] of endings) {
    const client = await connect({ port: listener.addr.port });
    using conn = await listener.accept();
    const { signal } = client;
    const request = assertRejects(
      () => client.request("never answered"),
      ConnectionClosedError,
    );
    await conn.read(new Uint8Array(100));
    await end(client, conn);
    const { name: type, ...error } = await request;
    assertEquals([type, error.clean], ["ConnectionClosedError", clean], name);
    conn[Symbol.dispose](); // else a faulty peer is waited for
    await client.close();
    assertEquals((await client.closed).clean, clean, name);
    assertInstanceOf(signal.reason, ConnectionClosedError);
    for (const attempt of ["send", "request"] as const) {
      const late = await assertRejects(
        () => client[attempt]("late"),
        ConnectionClosedError,
      );
      const found = late.cause as Error | undefined;
      assertEquals([late.clean, found?.name], [clean, cause], name);
    }
  }
});

test("a reset is told as a ConnectionClosedError, whether it meets a read or a write", async () => {
  using listener = listen({ ...LOCAL, maxFrameBytes: 32 * MIB });
  for (const act of ["read", "write"] as const) {
    const peer = await connectResetter(listener.addr);
    const connection = await listener.accept();
    const waiting = assertRejects(
      () =>
        act === "read"
          ? connection[Symbol.asyncIterator]().next()
          : connection.send("x".repeat(20 * MIB)),
      ConnectionClosedError,
      "the connection",
    );
    await until(
      () => act === "read" || connection.stats.bytesSent > 0,
      "nothing is written",
    );
    await peer.reset();
    const { clean, cause } = await waiting;
    assert(!clean);
    assert(
      cause instanceof Deno.errors.ConnectionReset ||
        cause instanceof Deno.errors.BrokenPipe,
      `${cause}`,
    );
  }
});
