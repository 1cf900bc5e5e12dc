/** The same behaviour over everything that bytes go through. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  connect,
  type Connection,
  ConnectionClosedError,
  type ConnectionOptions,
  listen,
} from "../mod.ts";
import { certificates } from "./certificates.ts";
import { memoryConnections, tcpConnections } from "./connection_pairs.ts";
import { delay, faultTest, standstill } from "./ledger.ts";
import { echoAll } from "./peers.ts";
import { connectionPair } from "../testing.ts";

type Pair = [client: Connection, server: Connection];

async function tlsConnections(options: ConnectionOptions): Promise<Pair> {
  const { ca, server: { cert, key } } = certificates();
  using listener = listen({
    ...options,
    ...{ hostname: "127.0.0.1", port: 0, tls: { cert, key } },
  });
  return await Promise.all([
    connect({ ...options, ...listener.addr, tls: { ca } }),
    listener.accept(),
  ]);
}

async function unixConnections(options: ConnectionOptions): Promise<Pair> {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/test.sock`;
  using listener = listen({ ...options, path });
  const pair = await Promise.all([
    connect({ ...options, path }),
    listener.accept(),
  ]);
  listener.close();
  await Deno.remove(directory, { recursive: true });
  return pair;
}

function inMemory(options: ConnectionOptions): Promise<Pair> {
  const { one, other } = memoryConnections(options);
  return Promise.resolve([one, other]);
}

function overStreams(options: ConnectionOptions): Promise<Pair> {
  return Promise.resolve(connectionPair(options));
}

const TRANSPORTS: [
  string,
  (options: ConnectionOptions) => Promise<Pair>,
][] = [
  ["TCP", tcpConnections],
  ["TLS", tlsConnections],
  ["a Unix socket", unixConnections],
  ["Web Streams", overStreams],
  ["memory", inMemory],
];

/** Declares a test of a pair over a transport. */
function transportTest(
  [name, open]: typeof TRANSPORTS[number],
  what: string,
  body: (pair: Pair) => Promise<void>,
  options: ConnectionOptions = {},
): void {
  faultTest(`over ${name}, ${what}`, async () => {
    const pair = await open(options);
    await body(pair);
    for (const connection of pair) connection.abort();
    await Promise.all(pair.map(({ closed }) => closed));
  });
}

for (const transport of TRANSPORTS) {
  transportTest(
    transport,
    "a thousand requests get their replies in order",
    async ([
      client,
      server,
    ]) => {
      const echoing = echoAll(server);
      const numbers = Array.from({ length: 1_000 }, (_, i) => i);
      const replies = numbers.map((number) => client.request(number));
      assertEquals(await Promise.all(replies), numbers);
      await client.close();
      assertEquals(await echoing, 1_000);
      assertEquals(await server.closed, { clean: true });
    },
  );

  transportTest(transport, "large frames go both ways, of any text", async ([
    client,
    server,
  ]) => {
    const echoing = echoAll(server);
    for (const size of [1, 16_383, 16_384, 65_537, 500_000]) {
      const text = `${size}é😀`.padEnd(size, "x");
      assertEquals(await client.request(text), text);
    }
    await client.close();
    assertEquals(await echoing, 5);
  });

  transportTest(
    transport,
    "senders at the same time keep frames whole and in order",
    async ([
      client,
      server,
    ]) => {
      const texts = Array.from({ length: 60 }, (_, i) => `${i}`.repeat(20_000));
      const sending = Promise.all(texts.map((text) => client.send(text)));
      const received: unknown[] = [];
      for await (const message of server) {
        received.push(message);
        if (received.length === texts.length) break;
      }
      await sending;
      assert(received.every((text, i) => text === texts[i]));
    },
  );

  transportTest(
    transport,
    "a client that has ended its side gets every reply",
    async ([
      client,
      server,
    ]) => {
      const echoing = echoAll(server);
      for (let i = 0; i < 100; i++) client.send(i);
      await client.closeWrite();
      assertEquals(await Array.fromAsync(client), [...Array(100).keys()]);
      assertEquals(await echoing, 100);
      assertEquals(await client.closed, { clean: true });
    },
  );

  transportTest(
    transport,
    "close() sends what was sent before, and ends the iteration of the peer",
    async ([
      client,
      server,
    ]) => {
      client.send("x".repeat(300_000));
      client.send("last");
      const messages = Array.fromAsync(server);
      await client.close();
      assertEquals((await messages).length, 2);
    },
  );

  transportTest(
    transport,
    "abort() rejects everything that waits, here and there",
    async ([
      client,
      server,
    ]) => {
      const reply = client.request("nobody answers");
      const iterator = server[Symbol.asyncIterator]();
      await iterator.next();
      const reason = new Error("enough");
      client.abort(reason);
      const error = await assertRejects(() => reply, ConnectionClosedError);
      assertEquals(error.cause, reason);
      await iterator.next().catch((error) => {
        assert(error instanceof ConnectionClosedError);
      });
      assertEquals((await client.closed).cause, reason);
    },
  );

  transportTest(
    transport,
    "the deadline of an idle peer ends the connection",
    async ([
      client,
      server,
    ]) => {
      // Deadlines do not keep a process alive, and memory does not either.
      const alive = setTimeout(() => {}, 5_000);
      const iteration = server[Symbol.asyncIterator]().next();
      const error = await assertRejects(() => iteration, ConnectionClosedError);
      clearTimeout(alive);
      assert(error.cause instanceof DOMException);
      assertEquals(error.cause.name, "TimeoutError");
      client.abort();
    },
    { idleTimeout: 40 },
  );

  // What was written to memory is there, whatever becomes of the writer.
  if (transport[0] === "memory") continue;
  transportTest(
    transport,
    "a peer that vanishes inside a frame has not ended well",
    async ([client, server]) => {
      const sent = assertRejects(
        () => client.send("x".repeat(16_000_000)),
        ConnectionClosedError,
      );
      await standstill(() => client.stats().bytesSent);
      client.abort();
      await sent;
      await assertRejects(() => server[Symbol.asyncIterator]().next());
      assert(!(await server.closed).clean);
    },
    { maxFrameBytes: 16_000_002, maxQueuedBytes: 20_000_000 },
  );

  transportTest(
    transport,
    "abort() drops what the platform has not taken",
    async ([client, server]) => {
      const count = 64;
      for (let i = 0; i < count; i++) client.send("x".repeat(300_000));
      await delay(0); // the first writes are under way
      client.abort();
      let received = 0;
      try {
        for await (const _ of server) received++;
      } catch {
        // It may stop inside a frame.
      }
      assert(received < count / 2, `${received} messages came`);
    },
    { maxQueuedBytes: Infinity },
  );
}
