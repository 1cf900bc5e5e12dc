/** What ends what takes too long. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import {
  connect,
  ConnectionClosedError,
  listen,
  serve,
  SERVE_DEFAULTS,
} from "../mod.ts";
import { turn } from "./turns.ts";
import {
  assertTimeout,
  Clock,
  faultTest as test,
  listening,
  until,
  watch,
  whileServed,
} from "./ledger.ts";
import { echo, frame, join, LOCAL, Peer, prefix } from "./peers.ts";

const KIB = 1_024;

/** Checks that it has not ended early. */
function assertNotBefore(start: number, deadline: number): void {
  const milliseconds = performance.now() - start;
  assert(milliseconds >= 0.95 * deadline, `after ${milliseconds} ms`);
}

/** A server program in a process of its own, once it listens. */
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
          all.filter((one) => one.stats().bytesReceived === sent + 1).length ===
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
      () => other.stats().messagesReceived > passed / clock.period,
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
  const message: unknown[] = ["are you there?"];
  await using client = await connect({
    ...watched.addr as { hostname: string; port: number },
    idleTimeout,
    heartbeat: { message, interval: 600 },
  });
  message.push(1n); // too late to matter
  for (let i = 1; i <= 10; i++) {
    await beats.advanceUntil(
      () => client.stats().messagesSent === i,
      "no beat",
    );
    await until(() => client.stats().messagesReceived === i, "no answer");
    clock.advance(600);
  }
  assertEquals(await client.request("still here"), "still here");
  assertEquals(watched.ends, []);
});

test("handshakeTimeout ends peers that do not log in, and 16 KiB are enough for a login", async () => {
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

test("connect() and request() time out where the server does not accept", async () => {
  using listener = Deno.listen(LOCAL);
  const { port } = listener.addr;
  using clock = new Clock(1_000);
  const client = await connect({ port, idleTimeout: 1_000 });
  const closed = assertRejects(
    () => client.request("anybody?"),
    ConnectionClosedError,
  );
  await until(() => client.stats().bytesQueued === 0, "it was not sent");
  await listening(client);
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
    "the handshake took longer than 100 ms",
  );
  assertEquals(late.name, "TimeoutError");
  assertNotBefore(again, 100);
});

test("connectTimeout ends connecting where no answer comes", async () => {
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
  let received = Promise.withResolvers<void>();
  let gate = Promise.withResolvers<void>();
  await using watched = watch(async (message) => {
    if (message === "slow") {
      received.resolve();
      await gate.promise;
    }
    return message;
  });
  await using client = await connect(watched.addr);
  for (let i = 0; i < 5; i++) {
    received = Promise.withResolvers();
    gate = Promise.withResolvers();
    const signal = AbortSignal.timeout(20);
    const slow = assertRejects(
      () => client.request("slow", { signal }),
      DOMException,
    );
    const replies = [1, 2, 3].map((number) => client.request(number));
    assertEquals((await slow).name, "TimeoutError");
    await received.promise;
    gate.resolve();
    assertEquals(await Promise.all(replies), [1, 2, 3]);
  }
});

test("a clock that jumps makes nothing late", async () => {
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

test("connect() has no idleTimeout unless it is set", async () => {
  using clock = new Clock(SERVE_DEFAULTS.frameTimeout);
  await using listener = listen({ ...LOCAL, idleTimeout: Infinity });
  await using client = await connect(listener.addr);
  const connection = await listener.accept();
  const next = client[Symbol.asyncIterator]().next();
  await turn();
  clock.advance(2 * SERVE_DEFAULTS.idleTimeout);
  await connection.send("late");
  assertEquals((await next).value, "late");
  await connection.close();
});
