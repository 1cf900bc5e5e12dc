/** Frames that are too large, cut short, empty or cut anywhere, over TCP. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { equals } from "@std/bytes/equals";
import {
  connect,
  type Connection,
  FrameDecoder,
  FrameTooLargeError,
  FrameTruncatedError,
  fromDuplex,
  InvalidMessageError,
  type JsonValue,
  NO_REPLY,
  type Server,
} from "../mod.ts";
import {
  Clock,
  delay,
  faultTest as test,
  until,
  watch,
  whileServed,
} from "./ledger.ts";
import { memoryPair } from "./memory_pair.ts";
import {
  bytesOf,
  connectResetter,
  echo,
  frame,
  join,
  LOCAL,
  Peer,
  prefix,
  Relay,
  repeat,
} from "./peers.ts";
import { Random, SEED } from "./random.ts";

const MIB = 1_048_576;
const KIB = 1_024;

test("serve() refuses a length over the limit by its prefix alone", async () => {
  let handled = 0;
  await using watched = watch(() => handled++);
  const sizes = [4_294_967_295, MIB + 1, 2 * MIB, 12 * MIB];
  for (let i = 0; i < 200; i++) {
    using peer = await Peer.connect(watched.addr);
    await peer.write(prefix(sizes[i % 4]));
    await peer.ended();
    assertEquals(peer.received, 0);
  }
  assertEquals(handled, 0);
  await until(() => watched.ends.length === 200, "connections are open");
  for (const [i, { clean, cause }] of watched.ends.entries()) {
    assert(!clean);
    assertInstanceOf(cause, FrameTooLargeError);
    assertEquals([cause.size, cause.limit], [sizes[i % 4], MIB]);
    assertStringIncludes(cause.message, `payload is ${sizes[i % 4]} bytes`);
  }
});

test("serve() holds memory for what came and not for what was announced, and gives up after frameTimeout", async () => {
  const frameTimeout = 1_000;
  using clock = new Clock(frameTimeout);
  await using watched = watch(echo, { frameTimeout });
  const peers = await Promise.all(
    Array.from({ length: 200 }, () => Peer.connect(watched.addr)),
  );
  await until(() => watched.server.connections.size === 200, "not accepted");
  const before = Deno.memoryUsage().external;
  const begun = frame("x".repeat(MIB)).subarray(0, 300);
  await Promise.all(peers.map((peer) => peer.write(begun)));
  await until(
    () => watched.server.stats().bytesReceived === 200 * begun.length,
    "not read",
  );
  const held = Deno.memoryUsage().external - before;
  assertLess(held / peers.length, 32 * KIB);
  clock.advance(frameTimeout);
  await delay(0);
  assertEquals(watched.ends, []);
  clock.advance(clock.period);
  await Promise.all(peers.map(async (peer) => {
    await peer.ended();
    peer[Symbol.dispose]();
  }));
  await until(() => watched.ends.length === 200, "connections are open");
  for (const { cause } of watched.ends) {
    assertInstanceOf(cause, DOMException);
    assertEquals(cause.name, "TimeoutError");
  }
});

test("serve() understands a frame of 64 KiB that comes byte by byte", async () => {
  await using watched = watch((message) => (message as string).length);
  using peer = await Peer.connect(watched.addr);
  const length = 64 * KIB;
  const bytes = frame(JSON.stringify("x".repeat(length - 2)));
  for (let i = 0; i < bytes.length; i++) {
    await peer.conn.write(bytes.subarray(i, i + 1));
  }
  assertEquals(await peer.take(1), [length - 2]);
});

test("Connection reads a frame of 1 MiB byte by byte", async () => {
  const [near, far] = memoryPair();
  near.readAtMost = 1;
  await using connection = fromDuplex(near);
  const text = "x".repeat(MIB - 2);
  await far.write(frame(JSON.stringify(text)));
  const { value } = await connection[Symbol.asyncIterator]().next();
  assert(value === text);
});

test("serve() answers 13 107 frames of one write, in order", async () => {
  await using watched = watch(echo);
  using peer = await Peer.connect(watched.addr);
  const digits = Array.from({ length: 13_107 }, (_, i) => i % 10);
  await peer.write(join(...digits.map((digit) => frame(`${digit}`))));
  assertEquals(await peer.take(digits.length), digits);
});

test("serve() takes an empty frame for a bad message: it closes at the first, or answers each", async () => {
  let handled = 0;
  let failed = 0;
  const empty = repeat(prefix(0), 16_384);
  await using strict = watch(() => handled++);
  using first = await Peer.connect(strict.addr);
  first.write(empty).catch(() => {}); // it may be cut off before it has written all
  assertEquals(await first.rest(), []);
  first[Symbol.dispose]();
  const { clean, cause } = strict.ends[0] ?? await strict.next();
  assert(!clean);
  assertInstanceOf(cause, InvalidMessageError);
  assertEquals(strict.server.stats().messagesSent, 0);

  await using lenient = watch(() => handled++, { onError: () => ++failed });
  using second = await Peer.connect(lenient.addr);
  await second.write(empty);
  assertEquals(
    await second.take(16_384),
    Array.from({ length: 16_384 }, (_, i) => i + 1),
  );
  assertEquals(handled, 0);
});

test("serve() sends every reply to a peer that ends its side between frames, and ends cleanly", async () => {
  const gate = Promise.withResolvers<void>();
  await using watched = watch(async (message) => {
    await gate.promise;
    return message;
  });
  using peer = await Peer.connect(watched.addr);
  const numbers = Array.from({ length: 50 }, (_, i) => i);
  await peer.write(join(...numbers.map((number) => frame(`${number}`))));
  await peer.conn.closeWrite();
  await until(() => watched.server.stats().messagesReceived === 50, "unread");
  gate.resolve();
  assertEquals(await peer.rest(), numbers);
  await until(() => watched.ends.length === 1, "the connection is open");
  assertEquals(watched.ends, [{ clean: true }]);
});

test("serve() handles nothing of a frame that is cut short, and attempts no reply", async () => {
  const seen: unknown[] = [];
  await using watched = watch((message) => {
    seen.push(message);
    return message;
  });
  for (
    const [bytes, received, expected] of [
      [bytesOf("00 00"), 2, 4],
      [join(prefix(9), bytesOf("22 78 78 78 78")), 5, 9],
      [join(frame('"whole"'), prefix(9)), 0, 9],
    ] as const
  ) {
    for (const half of [true, false]) {
      const ended = watched.next();
      using peer = await Peer.connect(watched.addr);
      await peer.write(bytes);
      if (half) {
        await peer.conn.closeWrite();
        assertEquals(await peer.rest(), received === 0 ? ["whole"] : []);
      } else peer[Symbol.dispose]();
      const { clean, cause } = await ended;
      assert(!clean);
      assertInstanceOf(cause, FrameTruncatedError);
      assertEquals([cause.received, cause.expected], [received, expected]);
    }
  }
  assertEquals(seen, ["whole", "whole"]);
});

test("request() rejects wherever a link is cut in its reply, and takes none for whole", async () => {
  await using watched = watch(echo);
  const { length } = frame('"reply"');
  for (let cut = 1; cut <= length; cut++) {
    await using relay = new Relay(watched.addr, cut);
    const client = await connect(relay.addr);
    const reply = client.request("reply");
    if (cut === length) assertEquals(await reply, "reply");
    else await assertRejects(() => reply, Error, "Cannot receive reply");
    await client.close();
    assertEquals((await client.closed).clean, cut === length, `cut ${cut}`);
  }
});

test("serve() frees the slot of a peer that resets in a frame, aborts the signal of its handlers, and goes on for others", async () => {
  let aborted = 0;
  await using watched = watch((message, { signal }) => {
    if (message !== "hang") return message;
    const { promise, resolve } = Promise.withResolvers<symbol>();
    signal.addEventListener("abort", () => {
      aborted++;
      resolve(NO_REPLY);
    });
    return promise;
  });
  const { server } = watched;
  await whileServed(watched.addr, async () => {
    for (let i = 0; i < 100; i++) {
      const peer = await connectResetter(watched.addr);
      const received = server.stats().bytesReceived;
      const cut = frame('"never whole"').subarray(0, 9);
      await peer.write(join(frame('"hang"'), cut));
      await until(
        () => server.stats().bytesReceived >= received + 19,
        "the server has not read",
      );
      await peer.reset();
      await until(() => aborted === i + 1, "the signal is not aborted");
      assertEquals(server.connections.size, 1);
    }
  });
  for (const { clean, cause } of watched.ends.slice(0, 100)) {
    assert(!clean);
    assertInstanceOf(cause, Deno.errors.ConnectionReset);
  }
});

test("serve() says what a peer speaks that does not speak its protocol, and closes at once", async () => {
  await using watched = watch(echo, { frameTimeout: Infinity });
  const cases: [Uint8Array, string][] = [
    [new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"), "HTTP"],
    [bytesOf("16 03 01 02 00 01 00 01 fc"), "TLS"],
    [new TextEncoder().encode("SSH-2.0-x\r\n"), "SSH"],
    [new TextEncoder().encode("PROXY TCP4 10.0.0.1"), "the PROXY protocol"],
    [new TextEncoder().encode('{"token":"t0ken"}'), "JSON without a length"],
    [bytesOf("07 00 00 00 22"), "little-endian lengths"],
  ];
  for (const [bytes, name] of cases) {
    using peer = await Peer.connect(watched.addr);
    await peer.write(bytes);
    assertEquals(await peer.rest(), []);
    peer[Symbol.dispose]();
    const { cause } = watched.ends.at(-1) ?? await watched.next();
    assertInstanceOf(cause, FrameTooLargeError);
    await until(
      () => String(watched.ends.at(-1)?.cause).includes(`${name} (first`),
      `${watched.ends.at(-1)?.cause} does not name ${name}`,
    );
  }
  assert(!Deno.inspect(watched.ends).includes("t0ken"));
});

test("send() refuses a frame over the limit before a byte of it is written, and the link goes on", async () => {
  await using watched = watch((message) => (message as string).length);
  await using client = await connect(watched.addr);
  const text = "x".repeat(2 * MIB);
  for (const attempt of ["send", "request"] as const) {
    const error = await assertRejects(
      () => client[attempt](text),
      FrameTooLargeError,
    );
    assertEquals([error.size, error.limit], [2 * MIB + 2, MIB]);
  }
  assertEquals([client.stats().bytesSent, client.stats().bytesQueued], [0, 0]);
  assertEquals(await client.request(text.slice(0, MIB - 2)), MIB - 2);
  assertEquals(client.stats().bytesSent, MIB + 4);
});

/** Sends texts, aborts at some point, and gives what the peer decodes. */
async function sendAndAbort(
  random: Random,
  texts: string[],
): Promise<{ messages: JsonValue[]; broken: boolean }> {
  const [near, far] = memoryPair();
  const connection = fromDuplex(near, { maxFrameBytes: Infinity });
  near.writeAtMost = random.integer(1, 2_000);
  for (const text of texts) connection.send(text).catch(() => {});
  for (let turns = random.integer(0, 40); turns > 0; turns--) await undefined;
  connection.abort();
  assertEquals(near.closed, 1);
  const decoder = new FrameDecoder<JsonValue>();
  const messages: JsonValue[] = [];
  const space = new Uint8Array(random.integer(1, 3_000));
  for (;;) {
    const size = await far.read(space);
    if (size === null) break;
    messages.push(...decoder.push(space.subarray(0, size)));
  }
  try {
    decoder.end();
    return { messages, broken: false };
  } catch (error) {
    assertInstanceOf(error, FrameTruncatedError);
    return { messages, broken: true };
  }
}

test("abort() in the middle of a frame leaves the peer whole messages and at most one that is cut short", async () => {
  console.log(`TEST_SEED=${SEED}`);
  const random = new Random(SEED);
  let broken = 0;
  for (let i = 0; i < 1_000; i++) {
    const texts = random.list(
      random.integer(1, 5),
      () => `${random.integer(0, 9)}`.repeat(random.integer(0, 9_000)),
    );
    const outcome = await sendAndAbort(random, texts);
    if (outcome.broken) broken++;
    assertEquals(outcome.messages, texts.slice(0, outcome.messages.length));
  }
  assert(broken > 100, `${broken} of 1000 were cut in a frame`);
});

test("abort() behind a write that the peer has blocked ends the link, and rejects everything that waits", async () => {
  for (let i = 0; i < 10; i++) {
    using listener = Deno.listen(LOCAL);
    const client = await connect({
      port: listener.addr.port,
      maxFrameBytes: 16 * MIB,
      maxQueuedBytes: Infinity,
    });
    using peer = new Peer(await listener.accept());
    const sent = [8, 1].map((size) =>
      assertRejects(
        () => client.send("x".repeat(size * MIB)),
        Error,
        "was aborted",
      )
    );
    await until(() => client.stats().bytesSent > 0, "nothing is written");
    client.abort();
    await Promise.all(sent);
    await assertRejects(() => peer.rest(), FrameTruncatedError);
  }
});

test("send() writes whole frames in the order of the calls, byte for byte, however many and large and slow the peer", async () => {
  console.log(`TEST_SEED=${SEED}`);
  const random = new Random(SEED);
  using listener = Deno.listen(LOCAL);
  await using client = await connect({
    port: listener.addr.port,
    maxFrameBytes: 4 * MIB,
    maxQueuedBytes: Infinity,
  });
  using peer = new Peer(await listener.accept());
  const blocks = random.list(64, () => random.bytes(512).toHex());
  let size = 0;
  const texts: string[] = [];
  while (size < 24 * MIB) {
    const length = random.integer(100, 1_300);
    const text = `${texts.length}:` +
      random.list(length, () => random.pick(blocks)).join("");
    texts.push(text);
    size += text.length;
  }
  const sending = texts.map((text) => client.send(text));
  const expected = texts.map((text) => frame(JSON.stringify(text)));
  const space = new Uint8Array(256 * KIB);
  for (const bytes of expected) {
    for (let offset = 0; offset < bytes.length;) {
      const rest = Math.min(space.length, bytes.length - offset);
      const count = await peer.conn.read(space.subarray(0, rest)) ?? 0;
      const part = bytes.subarray(offset, offset += count);
      assert(equals(space.subarray(0, count), part));
    }
    await delay(1);
  }
  await Promise.all(sending);
});

test("send() takes a message as it is at the call, also behind a write that the peer has blocked", async () => {
  using listener = Deno.listen(LOCAL);
  await using client = await connect({
    port: listener.addr.port,
    maxFrameBytes: 16 * MIB,
    maxQueuedBytes: Infinity,
  });
  using peer = new Peer(await listener.accept());
  const block = "x".repeat(8 * MIB);
  client.send(block);
  await until(() => client.stats().bytesSent > 0, "nothing is written");
  const message = { list: [1], text: "before" };
  client.send(message);
  message.list.push(2);
  message.text = "after";
  client.send(message);
  message.list.length = 0;
  const [first, ...rest] = await peer.take(3);
  assert(first === block);
  assertEquals(rest, [
    { list: [1], text: "before" },
    { list: [1, 2], text: "after" },
  ]);
});

test("serve() handles nothing behind a frame that is too large", async () => {
  const seen: unknown[] = [];
  await using watched = watch((message) => {
    seen.push(message);
    return message;
  }, { maxFrameBytes: 100 });
  using peer = await Peer.connect(watched.addr);
  const large = frame(JSON.stringify("x".repeat(100)));
  await peer.write(join(frame('"good"'), large, frame('"late"')));
  assertEquals(await peer.rest(), ["good"]);
  assertEquals(seen, ["good"]);
});

test("serve({ authenticate }) handles nothing that came with the login behind the message that ended the connection", async () => {
  const ways: Record<string, (connection: Connection, server: Server) => void> =
    {
      close: (connection) => void connection.close(),
      abort: (connection) => connection.abort(),
      shutdown: (_, server) => void server.shutdown(),
      throw() {
        throw new Error("no more");
      },
    };
  for (const [name, end] of Object.entries(ways)) {
    const seen: unknown[] = [];
    await using watched = watch((message, connection) => {
      seen.push(message);
      end(connection, watched.server);
      return NO_REPLY;
    }, { authenticate: () => true });
    using peer = await Peer.connect(watched.addr);
    const numbers = [1, 2, 3, 4, 5].map((number) => frame(`${number}`));
    await peer.write(join(frame('{"$login":"own"}'), ...numbers));
    await peer.ended();
    assertEquals(seen, [1], name);
  }
});
