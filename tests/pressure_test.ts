/** Peers that send too much or read nothing, and many of them. */
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
  NO_REPLY,
  SERVE_DEFAULTS,
} from "../mod.ts";
import { certificates } from "./certificates.ts";
import { startChildServer, type State } from "./child_server.ts";
import {
  assertTimeout,
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
  connectResetter,
  echo,
  frame,
  join,
  LOCAL,
  Peer,
  portOf,
  prefix,
  repeat,
} from "./peers.ts";
import { Random, SEED } from "./random.ts";

const KIB = 1_024;
const MIB = 1_048_576;

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
      () => blocked.every((one) => one.stats().bytesQueued > 0),
      "not all are blocked",
    );
    await standstill(() =>
      blocked.reduce((sum, one) => sum + one.stats().bytesSent, 0)
    );
    clock.advance(writeTimeout / 2);
    assertEquals(server.connections.size, 11);
    for (const connection of server.connections) {
      assertLessOrEqual(connection.stats().bytesQueued, 64 * KIB + MIB + 4);
    }
    // The platform takes some 4 MB for each before it blocks.
    const large = [...server.connections]
      .reduce((sum, one) => sum + one.stats().messagesReceived, 0);
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

test("send() that is not awaited rejects beyond maxQueuedBytes, and what it has taken arrives in order", async () => {
  using listener = Deno.listen(LOCAL);
  await using client = await connect({ port: listener.addr.port });
  using peer = new Peer(await listener.accept());
  const filler = "x".repeat(10 * KIB);
  const taken: number[] = [];
  const errors: unknown[] = [];
  const sending: Promise<void>[] = [];
  for (let i = 0; i < 10_000; i++) {
    if (i % 100 === 0) await delay(0); // the platform takes what it can
    const sent = client.stats().messagesSent;
    sending.push(
      client.send([i, filler]).catch((error) => {
        errors.push(error);
      }),
    );
    if (client.stats().messagesSent > sent) taken.push(i);
    assertLessOrEqual(client.stats().bytesQueued, 4 * MIB + 11 * KIB);
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
    const { promise, resolve } = Promise.withResolvers<symbol>();
    signal.addEventListener("abort", () => {
      this.told++;
      resolve(NO_REPLY);
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
  test(`serve() tells all handlers within a second that a peer has reset from which no more is read, and frees its slot, with ${behind} unread`, async () => {
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

test("serve() answers a peer that has ended its side and is read from no more, however often it is probed", async () => {
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

test("serve() yields to other work while a peer sends as fast as it can", async () => {
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
