/** How connections end. */
import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import {
  connect,
  type Connection,
  ConnectionClosedError,
  listen,
  serve,
} from "../mod.ts";
import { delay, faultTest as test, Sockets, until, watch } from "./ledger.ts";
import {
  bytesOf,
  connectResetter,
  echo,
  frame,
  join,
  LOCAL,
  Peer,
  prefix,
  repeat,
} from "./peers.ts";

const KIB = 1_024;
const MIB = 1_048_576;

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
    await until(() => connection.stats().bytesSent > 0, "nothing is written");
    const { bytesSent } = connection.stats();
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

test("send() that is not awaited does no harm where the peer is gone, is being closed, or reads nothing", async () => {
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
      () => act === "read" || connection.stats().bytesSent > 0,
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
