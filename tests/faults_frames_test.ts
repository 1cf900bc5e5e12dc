/** What may go wrong in frames and in messages, provoked from outside. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertLessOrEqual,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { equals } from "@std/bytes/equals";
import {
  connect,
  Connection,
  encodeFrame,
  FrameDecoder,
  FrameTooLargeError,
  FrameTruncatedError,
  InvalidMessageError,
  type JsonValue,
  type Server,
} from "../mod.ts";
import { serveRpc } from "../rpc.ts";
import { startChildServer } from "./child_server.ts";
import { WIDE } from "./costly_texts.ts";
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
  frame,
  join,
  LOCAL,
  Peer,
  prefix,
  Relay,
  repeat,
} from "./peers.ts";
import { start } from "./process.ts";
import { Random, SEED } from "./random.ts";

const MIB = 1_048_576;
const KIB = 1_024;

function echo(message: unknown): unknown {
  return message;
}

/** In the place of a bad message. */
function answerError(error: unknown): unknown {
  return { error: (error as Error).message };
}

// Frames

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
  await using connection = new Connection(near);
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

test("serve() frees the place of a peer that resets in a frame, aborts the signal of its handlers, and disturbs nobody", async () => {
  let aborted = 0;
  await using watched = watch((message, { signal }) => {
    if (message !== "hang") return message;
    const { promise, resolve } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => {
      aborted++;
      resolve();
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
  assertEquals([client.stats.bytesSent, client.stats.bytesQueued], [0, 0]);
  assertEquals(await client.request(text.slice(0, MIB - 2)), MIB - 2);
  assertEquals(client.stats.bytesSent, MIB + 4);
});

/** Sends texts, aborts at some point, and gives what the peer decodes. */
async function sendAndAbort(
  random: Random,
  texts: string[],
): Promise<{ messages: JsonValue[]; broken: boolean }> {
  const [near, far] = memoryPair();
  const connection = new Connection(near, { maxFrameBytes: Infinity });
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

test("abort() behind a write that the peer has blocked ends the link, and whoever waits", async () => {
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
    await until(() => client.stats.bytesSent > 0, "nothing is written");
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
  while (texts.length < 100 || size < 24 * MIB) {
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
  await until(() => client.stats.bytesSent > 0, "nothing is written");
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
    }, { authenticate: () => true });
    using peer = await Peer.connect(watched.addr);
    const numbers = [1, 2, 3, 4, 5].map((number) => frame(`${number}`));
    await peer.write(join(frame('{"$login":"own"}'), ...numbers));
    await peer.ended();
    assertEquals(seen, [1], name);
  }
});

// Messages

const SECRET = "s3cr3t";

/** Payloads that are no message, each with `SECRET` where there is room. */
const BAD_PAYLOADS: [string, string | Uint8Array][] = [
  ["a byte that UTF-8 has not", hostile("ff")],
  ["an overlong zero", hostile("c0 80")],
  ["an overlong letter", hostile("c1 81")],
  ["a surrogate", hostile("ed a0 80")],
  ["beyond Unicode", hostile("f4 90 80 80")],
  ["a character cut short", hostile("f0 9f 98")],
  ["a byte order mark", `\ufeff"${SECRET}"`],
  ["white space", " \t\r\n"],
  ["something behind", `"${SECRET}" 1`],
  ["two values", `{"${SECRET}":1}{}`],
  ["not a number", "NaN"],
  ["a word", SECRET],
  ["a control character", `"${SECRET}\u0007"`],
  ["a raw zero", `"${SECRET}\0"`],
  ["an escape sequence", `\x1b[31m${SECRET}\x1b[0m\n`],
  ["a long one", SECRET.repeat(100_000)],
  ["arrays in arrays", `"${SECRET}"`.padStart(524_288, "[")],
  ["objects in objects", `{"${SECRET}":`.repeat(40_000)],
];

function hostile(hex: string): Uint8Array {
  const text = new TextEncoder().encode(`"${SECRET}`);
  return join(text, bytesOf(hex), bytesOf("22"));
}

test("serve() answers for what is no message, tells none of it, and goes on; without onError, it closes", async () => {
  const errors: Error[] = [];
  await using lenient = watch(echo, {
    onError(error) {
      errors.push(error as Error);
      return answerError(error);
    },
  });
  await using strict = watch(echo);
  using patient = await Peer.connect(lenient.addr);
  for (const [name, payload] of BAD_PAYLOADS) {
    const bytes = join(frame(payload), frame('"good"'));
    await patient.write(bytes);
    const [reply, next] = await patient.take(2);
    const { error } = reply as { error: string };
    assertStringIncludes(error, "Cannot decode message: payload of ", name);
    assert(!error.includes(SECRET), name);
    assertEquals(next, "good", name);

    using cut = await Peer.connect(strict.addr);
    await cut.write(bytes);
    assertEquals(await cut.rest(), [], name);
  }
  await until(() => strict.ends.length === BAD_PAYLOADS.length, "not closed");
  for (const error of [...errors, ...strict.ends.map(({ cause }) => cause)]) {
    assertInstanceOf(error, InvalidMessageError);
    assert(!Deno.inspect(error).includes(SECRET));
    // deno-lint-ignore no-control-regex
    assert(!/[\0-\x1f\x7f-\x9f]/.test(error.message), error.message);
    assertLess(error.message.length, 120);
  }
  assertEquals(errors.length, BAD_PAYLOADS.length);
});

test("connect() rejects the request whose reply is no message, tells none of it, and goes on", async () => {
  using listener = Deno.listen(LOCAL);
  await using client = await connect({ port: listener.addr.port });
  using peer = new Peer(await listener.accept());
  for (const [name, payload] of BAD_PAYLOADS) {
    const replies = [client.request(1), client.request(2)];
    const rejected = assertRejects(() => replies[0], InvalidMessageError);
    await peer.write(join(frame(payload), frame('"good"')));
    assert(!Deno.inspect(await rejected).includes(SECRET), name);
    assertEquals(await replies[1], "good", name);
  }
});

test("serve() goes on serving others while a peer sends 1 MiB of brackets again and again", async () => {
  await using watched = watch(echo, { onError: answerError });
  const deep = frame("[".repeat(MIB));
  await whileServed(watched.addr, async (replies) => {
    using peer = await Peer.connect(watched.addr);
    let sent = 0;
    while (replies() < 20) {
      await peer.write(deep);
      await peer.take(1);
      sent++;
    }
    // 10 ms lie between two requests.
    assertLess(sent, 20 * 50);
  });
});

test(
  "serve() goes on serving others while a peer sends 64 KiB of empty frames again and again",
  async () => {
    await using server = await startChildServer();
    const empty = repeat(prefix(0), 16_384);
    await whileServed(server.addr, async (replies) => {
      using peer = await Peer.connect(server.addr);
      while (replies() < 10) {
        await peer.write(empty);
        await peer.take(16_384);
      }
    });
  },
);

test("serve() takes 128 levels of arrays and objects, and not one more", async () => {
  await using watched = watch(echo, { onError: () => "refused" });
  using peer = await Peer.connect(watched.addr);
  for (const [open, close] of [["[", "]"], ['{"a":', "}"]]) {
    for (const depth of [128, 129]) {
      const text = `${open.repeat(depth)}1${close.repeat(depth)}`;
      await peer.write(frame(text));
      const [reply] = await peer.take(1);
      const good = depth === 128;
      assertEquals(JSON.stringify(reply), good ? text : '"refused"');
    }
  }
});

test("serve() takes what is wide and under the limit", async () => {
  await using watched = watch((message) => (message as unknown[]).length);
  using peer = await Peer.connect(watched.addr);
  for (const [name, text] of WIDE) {
    const bytes = frame(text);
    assertLessOrEqual(bytes.length, MIB + 4, name);
    await peer.write(bytes);
    assertEquals(await peer.take(1), [JSON.parse(text).length], name);
  }
});

test("serve() gives what JSON text says: the last of two keys, the nearest number, half a surrogate pair", async () => {
  await using watched = watch(echo);
  using peer = await Peer.connect(watched.addr);
  const cases = [
    ['{"a":1,"a":2}', '{"a":2}'],
    ["9007199254740993", "9007199254740992"],
    ["1e400", "null"],
    ["-0", "0"],
    ['"\\ud800"', '"\\ud800"'],
    ['"\\ufeff\\u0000"', '"\ufeff\\u0000"'],
  ];
  for (const [text, reply] of cases) {
    await peer.write(frame(text));
    const space = new Uint8Array(100);
    const count = await peer.conn.read(space) ?? 0;
    assertEquals(space.subarray(0, count), frame(reply), text);
  }
});

test("keys that have a meaning in JavaScript are keys like others, also where it lets __proto__ have one", async () => {
  const mod = new URL("../mod.ts", import.meta.url);
  for (const flags of [[], ["--unstable-unsafe-proto"]]) {
    await using child = start(Deno.execPath(), [
      "eval",
      ...flags,
      `--config=${new URL("../deno.json", import.meta.url).pathname}`,
      `
        import { connect, Connection, serve } from "${mod}";
        const texts = ["__proto__", "constructor", "prototype", "toString", "valueOf"]
          .flatMap((key) => [
            \`{"\${key}":{"admin":true}}\`,
            \`{"\${key}":{"prototype":{"admin":true}}}\`,
            \`[{"a":{"\${key}":{"admin":true}}}]\`,
            \`{"token":"token","\${key}":{"admin":true}}\`,
          ]);
        const local = { hostname: "127.0.0.1", port: 0 };
        const echo = (message) => message;
        await using open = serve(local, echo);
        await using closed = serve({
          ...local,
          authenticate: async (_, peer) => {
            await peer.ask(await peer.ask("?"));
            return {};
          },
        }, echo);
        for (const text of texts) {
          for (const { addr } of [open, closed]) {
            const conn = await Deno.connect(addr);
            await using link = new Connection(conn);
            if (addr === closed.addr) await link.request({ $login: "own" });
            const frame = new TextEncoder().encode("\\0\\0\\0" + String.fromCharCode(text.length) + text);
            await conn.write(frame);
            let value;
            for await (value of link) break;
            if (JSON.stringify(value) !== text) throw new Error(text);
            if (addr === closed.addr) await link.request(1);
          }
        }
        if ({}.admin !== undefined || Object.keys(Object.prototype).length > 0) {
          throw new Error("a prototype was changed");
        }
        console.log(texts.length, "payloads");
      `,
    ]);
    const [stdout, stderr] = [await child.stdout(), await child.stderr()];
    assertEquals([stdout, stderr], ["20 payloads\n", ""]);
  }
});

/** Values that JSON cannot carry, by name. */
const UNSENDABLE: Record<string, () => unknown> = {
  undefined: () => undefined,
  function: () => echo,
  symbol: () => Symbol("s"),
  bigint: () => ({ n: 1n }),
  cycle() {
    const list: unknown[] = [];
    list.push(list);
    return list;
  },
  toJSON: () => ({
    toJSON() {
      throw new Error(SECRET);
    },
  }),
  getter: () => ({
    get a() {
      throw new Error(SECRET);
    },
  }),
  proxy: () =>
    new Proxy({}, {
      ownKeys() {
        throw new Error(SECRET);
      },
    }),
  "too long": () => Array(512).fill({ ["x".repeat(MIB)]: 1 }),
};

test("send() refuses what JSON cannot carry, writes nothing of it, and the link goes on", async () => {
  await using watched = watch(echo);
  await using client = await connect(watched.addr);
  for (const [name, make] of Object.entries(UNSENDABLE)) {
    const { bytesSent } = client.stats;
    await assertRejects(() => client.send(make()), InvalidMessageError);
    assertEquals(client.stats.bytesSent, bytesSent, name);
    assertEquals(await client.request(name), name);
  }
  const lossy = { a: NaN, b: undefined, c: new Map([[1, 2]]), d: [echo] };
  assertEquals(await client.request(lossy), { a: null, c: {}, d: [null] });
});

test("serve() answers by onError for a reply that JSON cannot carry, and the link goes on; without it, it closes", async () => {
  function handler(message: JsonValue): unknown {
    // A handler that returns undefined has no reply to give.
    if (message === "undefined") return "";
    return UNSENDABLE[message as string]?.() ?? message;
  }
  const errors: unknown[] = [];
  await using lenient = watch(handler, {
    onError(error) {
      errors.push(error);
      return answerError(error);
    },
  });
  await using strict = watch(handler);
  await using client = await connect(lenient.addr);
  const names = Object.keys(UNSENDABLE).slice(1, -1);
  for (const name of names) {
    const reply = await client.request(name) as { error: string };
    assertStringIncludes(reply.error, "Cannot encode message: JSON cannot");
    assertEquals(await client.request("good"), "good");

    await using other = await connect(strict.addr);
    assertEquals(await other.request("good"), "good");
    await assertRejects(() => other.request(name), Error, "Cannot receive");
  }
  assertEquals(errors.length, names.length);
  for (const error of errors) assertInstanceOf(error, InvalidMessageError);
  await until(() => strict.ends.length === names.length, "not closed");
});

test("the server program prints nothing that a peer has written, and no line is long", async () => {
  for (const format of ["text", "json"]) {
    await using server = start(Deno.execPath(), [
      ...["run", "--no-prompt", "--allow-net=127.0.0.1:0"],
      new URL("../server.ts", import.meta.url).pathname,
      ...["--hostname", "127.0.0.1", "--port", "0", "--verbose"],
      ...["--log", format],
    ]);
    const [, port] = await server.line(/127\.0\.0\.1\D+(\d+)/);
    const addr = { ...LOCAL, transport: "tcp", port: Number(port) } as const;
    for (const [, payload] of BAD_PAYLOADS) {
      const bytes = typeof payload === "string"
        ? new TextEncoder().encode(payload)
        : payload;
      // As a payload, and in the place of a length.
      for (const attack of [frame(bytes), bytes]) {
        using peer = await Peer.connect(addr);
        await peer.write(attack).catch(() => {});
        await peer.conn.closeWrite().catch(() => {});
        await peer.ended();
      }
    }
    server.kill();
    await server.status;
    const printed = await server.stdout() + await server.stderr();
    assert(printed.split("\n").length > 2 * BAD_PAYLOADS.length);
    assert(!printed.includes(SECRET));
    for (const line of printed.split("\n")) {
      // deno-lint-ignore no-control-regex
      assert(!/[\0-\x1f\x7f-\x9f]/.test(line), line);
      assertLess(line.length, 300);
    }
  }
});

test("a web page can call no method through a browser, whatever the width of the prefix", async () => {
  const head = new TextEncoder().encode(
    "POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n",
  );
  const framings = ([1, 2, 4, 8] as const).flatMap((prefixBytes) =>
    [false, true].map((littleEndian) => ({ prefixBytes, littleEndian }))
  );
  await Promise.all(framings.map(async (framing) => {
    const called: unknown[] = [];
    const ends: unknown[] = [];
    await using server = serveRpc({
      ...LOCAL,
      ...framing,
      onEvent(event) {
        if (event.type === "closed") ends.push(event.end.cause);
      },
    }, { transfer: (params: unknown) => void called.push(params) });
    const { prefixBytes, littleEndian } = framing;
    // The length that "P" or "PO" announces, and in the body a call behind it.
    const length = [0x50, littleEndian ? 0x4f50 : 0x504f][prefixBytes - 1] ?? 0;
    const body = new Uint8Array(
      Math.max(0, prefixBytes + length - head.length),
    ).fill(0x20);
    const call = encodeFrame(
      { jsonrpc: "2.0", method: "transfer", params: [1] },
      framing,
    );
    using peer = await Peer.connect(server.addr);
    await peer.write(join(head, body, call));
    await peer.ended();
    peer[Symbol.dispose](); // else it is waited for
    await until(() => ends.length === 1, "it was not closed");
    assertEquals(called, []);
    assertInstanceOf(ends[0], FrameTooLargeError);
    assertStringIncludes(ends[0].message, "the peer seems to speak HTTP");
  }));
});
