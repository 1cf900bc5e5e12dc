import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import {
  encodeFrame,
  FrameTooLargeError,
  FrameTruncatedError,
  InvalidMessageError,
} from "../../framing.ts";
import { framingOf } from "../framing/framing.ts";
import { concat } from "@std/bytes/concat";
import { clearImmediate, setImmediate } from "node:timers";
import {
  type MemoryEnd,
  memoryPair,
  written,
} from "../../tests/memory_pair.ts";
import {
  BackpressureError,
  type Connection,
  ConnectionClosedError,
  type ConnectionOptions,
  fromDuplex,
  isFailureOf,
  linkOf,
} from "./connection.ts";
import { turn } from "../../tests/turns.ts";

function connectionPair(options?: ConnectionOptions): {
  near: MemoryEnd;
  far: MemoryEnd;
  one: Connection;
  other: Connection;
} {
  const [near, far] = memoryPair();
  return {
    near,
    far,
    one: fromDuplex(near, options),
    // Made where it is asked for.
    get other() {
      return fromDuplex(far, options);
    },
  };
}

async function next<T>(
  connection: Connection<T>,
): Promise<IteratorResult<T>> {
  const iteration = connection[Symbol.asyncIterator]();
  const result = await iteration.next();
  await iteration.return?.();
  return result;
}

const BAD_FRAME = Uint8Array.of(0, 0, 0, 3, 0x6e, 0x6f, 0x21); // no!

Deno.test("Connection carries messages both ways, in order", async () => {
  const { one, other } = connectionPair();
  await Promise.all([one.send("a"), one.send({ b: [1] }), other.send(null)]);
  assertEquals(await next(other), { done: false, value: "a" });
  assertEquals(await next(other), { done: false, value: { b: [1] } });
  assertEquals(await next(one), { done: false, value: null });
  await one.close();
  assertEquals(await next(other), { done: true, value: undefined });
  await other.close();
  assertEquals(await other.closed, { clean: true });
});

Deno.test("send() writes once for 64 sends in one turn", async () => {
  const { near, one, other } = connectionPair();
  for (let i = 0; i < 64; i++) one.send({ i });
  for (let i = 0; i < 64; i++) {
    assertEquals((await next(other)).value, { i });
  }
  assertEquals(near.writes.length, 1);
  await Promise.all([one.close(), other.close()]);
});

Deno.test("send() writes 32 messages at a time when each is awaited before the next", async () => {
  const { near, one, other } = connectionPair();
  for (let i = 0; i < 64; i++) await one.send({ i });
  for (let i = 0; i < 64; i++) await next(other);
  assert(near.writes.length <= 3, `${near.writes.length} writes`);
  await Promise.all([one.close(), other.close()]);
});

Deno.test("send() writes 32 messages at a time when they answer 64 messages of one read", async () => {
  const { near, one, other } = connectionPair();
  const replies = Array.from({ length: 64 }, (_, i) => other.request(i));
  let count = 0;
  for await (const message of one) {
    await one.send(message);
    if (++count === 64) break;
  }
  await Promise.all(replies);
  assert(near.writes.length <= 3, `${near.writes.length} writes`);
  await Promise.all([one.close(), other.close()]);
});

Deno.test("request() writes the next requests of 64 in two halves when the replies came together", async () => {
  const { near, one, other } = connectionPair();
  linkOf(other).consume({
    name: "a test",
    size: 0,
    receive: (message) => (linkOf(other).enqueue(message), undefined),
    end() {},
  });
  await one.request("x".repeat(2_000)); // from now on, both read as much at once
  near.writes.length = 0;
  await Promise.all(Array.from({ length: 64 }, async (_, i) => {
    for (let round = 0; round < 3; round++) await one.request(i);
  }));
  assertEquals(near.writes.length, 1 + 2 + 2);
  await Promise.all([one.close(), other.close()]);
});

Deno.test("send() takes the value as it is at the call", async () => {
  const { near, one, other } = connectionPair();
  near.hold();
  const message = { a: 1 };
  one.send(message);
  message.a = 2;
  near.release();
  assertEquals((await next(other)).value, { a: 1 });
  await Promise.all([one.close(), other.close()]);
});

Deno.test("send() keeps frames whole and in order when writes are partial", async () => {
  const { near, far, one, other } = connectionPair();
  near.writeAtMost = 7;
  far.readAtMost = 3;
  const texts = Array.from({ length: 50 }, (_, i) => "é".repeat(i));
  for (const text of texts) one.send(text);
  for (const text of texts) assertEquals((await next(other)).value, text);
  await Promise.all([one.close(), other.close()]);
});

Deno.test("send() waits above the high-water mark until the bytes are taken", async () => {
  const { near, one, other } = connectionPair();
  near.hold();
  let waited = true;
  await one.send("x".repeat(40_000));
  const blocked = one.send("x".repeat(40_000)).then(() => waited = false);
  await turn();
  assert(waited);
  assertEquals(one.stats().bytesQueued, 2 * 40_006);
  near.release();
  await blocked;
  assertEquals(one.stats().bytesQueued, 0);
  await Promise.all([one.close(), other.close()]);
});

Deno.test("send() rejects what cannot be sent, writes nothing of it, and the link goes on", async () => {
  const { near, one, other } = connectionPair({ maxFrameBytes: 10 });
  await assertRejects(() => one.send(undefined), InvalidMessageError);
  await assertRejects(() => one.send(1n), InvalidMessageError);
  const error = await assertRejects(
    () => one.send("0123456789"),
    FrameTooLargeError,
    "Cannot encode frame: payload is 12 bytes, limit is 10 bytes",
  );
  assertEquals([error.size, error.limit], [12, 10]);
  await turn();
  assertEquals(near.writes, []);
  await one.send("fits");
  assertEquals((await next(other)).value, "fits");
  await Promise.all([one.close(), other.close()]);
});

Deno.test("send() that is not awaited does no harm when the link breaks", async () => {
  const { near, one, other } = connectionPair();
  near.hold();
  one.send("x".repeat(70_000));
  one.send("b");
  await turn();
  near.cut();
  await one.closed;
  await other.close();
});

Deno.test("Connection counts messages and bytes", async () => {
  const { one, other } = connectionPair();
  await one.send("a");
  await next(other);
  await other.send("bc");
  await next(one);
  assertEquals(one.stats(), {
    messagesReceived: 1,
    messagesSent: 1,
    bytesReceived: 8,
    bytesSent: 7,
    bytesQueued: 0,
  });
  await Promise.all([one.close(), other.close()]);
});

Deno.test("Connection reads nothing while no message is asked for", async () => {
  const { near, one, other } = connectionPair();
  await other.send(1);
  await turn();
  assertEquals(near.reads, []);
  await next(one);
  await turn();
  assertEquals(near.reads.length, 1);
  await Promise.all([one.close(), other.close()]);
});

Deno.test("Connection reads a frame that arrives whole with one read, into space that stays small", async () => {
  const { near, one, other } = connectionPair();
  for (let i = 0; i < 100; i++) {
    await other.send(i);
    await next(one);
  }
  assertEquals(near.reads.length, 100);
  assertEquals(new Set(near.reads), new Set([128]));
  await Promise.all([one.close(), other.close()]);
});

Deno.test("Connection yields to other work while it has much to read", async () => {
  const { far, one } = connectionPair();
  const frame = encodeFrame(1);
  const frames = new Uint8Array(200_000 * frame.length);
  for (let i = 0; i < frames.length; i += frame.length) frames.set(frame, i);
  await far.write(frames);
  let received = 0;
  linkOf(one).consume({
    name: "a test",
    size: 0,
    receive() {
      received++;
      return undefined;
    },
    end: (end) => linkOf(one).closeFor(end),
  });
  await turn();
  assert(received > 0 && received < 200_000, `${received} in one turn`);
  await far.closeWrite();
  await one.closed;
  assertEquals(received, 200_000);
});

/** How messages that take a while are taken, until the connection is closed. */
const TAKERS: Record<
  string,
  (connection: Connection, take: () => void) => Promise<void>
> = {
  async "a consumer"(connection, take) {
    linkOf(connection).consume({
      name: "a test",
      size: 0,
      receive: () => void take(),
      end: (end) => linkOf(connection).closeFor(end),
    });
    await connection.closed;
  },
  async "an iteration"(connection, take) {
    for await (const _message of connection) take();
    await connection.close();
  },
  async "iterations over one message each"(connection, take) {
    while (!(await next(connection)).done) take();
    await connection.close();
  },
};

for (const [name, takeAll] of Object.entries(TAKERS)) {
  Deno.test(`${name} rests before the next message when those before took 10 ms`, async () => {
    const { now } = Date;
    let time = 0;
    let turns = 0;
    let immediate = setImmediate(function next() {
      turns++;
      immediate = setImmediate(next);
    });
    Date.now = () => time;
    try {
      // Milliseconds that each message takes, and most of them in one turn.
      for (const [cost, most] of [[12, 1], [5, 2], [1, 20]]) {
        const { far, one } = connectionPair();
        const inTurns: number[] = [];
        const frames = Array.from({ length: 64 }, (_, i) => encodeFrame(i));
        await far.write(concat(frames));
        await far.closeWrite();
        await takeAll(one, () => {
          time += cost;
          inTurns[turns] = (inTurns[turns] ?? 0) + 1;
        });
        const counts = inTurns.filter((count) => count > 0);
        assertEquals(counts.reduce((a, b) => a + b), 64);
        // The first message of an iteration is one that it has waited for.
        const first = name === "a consumer" ? 0 : 1;
        assert(Math.max(...counts) <= most + first, `${counts} at ${cost} ms`);
      }
    } finally {
      Date.now = now;
      clearImmediate(immediate);
    }
  });
}

Deno.test("Connection iterates past a bad message", async () => {
  const { far, one } = connectionPair();
  await far.write(encodeFrame(1));
  await far.write(BAD_FRAME);
  await far.write(encodeFrame(2));
  await far.closeWrite();
  const messages: unknown[] = [];
  await assertRejects(
    async () => {
      for await (const message of one) messages.push(message);
    },
    InvalidMessageError,
    "payload of 3 bytes is not JSON",
  );
  for await (const message of one) messages.push(message);
  assertEquals(messages, [1, 2]);
  await one.close();
  assertEquals(await one.closed, { clean: true });
});

Deno.test("Connection stays open when an iteration is left early", async () => {
  const { one, other } = connectionPair();
  for (let i = 0; i < 4; i++) other.send(i);
  const messages: unknown[] = [];
  for await (const message of one) {
    messages.push(message);
    if (messages.length === 2) break;
  }
  messages.push((await next(one)).value, (await next(one)).value);
  assertEquals(messages, [0, 1, 2, 3]);
  await Promise.all([one.close(), other.close()]);
});

Deno.test("Connection throws when the peer ends inside a frame", async () => {
  for (
    const [bytes, received, expected] of [
      [[0, 0], 2, 4],
      [[0, 0, 0, 9, 1, 2, 3, 4, 5], 5, 9],
    ] as const
  ) {
    const { far, one } = connectionPair();
    const iterating = assertRejects(() => next(one), FrameTruncatedError);
    await far.write(Uint8Array.from(bytes));
    await far.closeWrite();
    const error = await iterating;
    assertEquals([error.received, error.expected], [received, expected]);
    const { cause } = await assertRejects(
      () => one.request(1),
      ConnectionClosedError,
    );
    assertStrictEquals(cause, error);
    const end = await one.closed;
    assertEquals(end.clean, false);
    assertStrictEquals(end.cause, error);
  }
});

Deno.test("Connection hands out what came before a frame that is too large, then throws and closes", async () => {
  const { near, far, one } = connectionPair({ maxFrameBytes: 8 });
  near.hold();
  one.send("sent");
  await far.write(encodeFrame(1));
  await far.write(encodeFrame("123456789"));
  await far.write(encodeFrame(2));
  assertEquals((await next(one)).value, 1);
  const error = await assertRejects(() => next(one), FrameTooLargeError);
  assertEquals([error.size, error.limit], [11, 8]);
  assertEquals(near.closed, 0);
  near.release(); // what was sent before still leaves
  await far.closeWrite();
  assertStrictEquals((await one.closed).cause, error);
  assertEquals(await far.read(new Uint8Array(20)), 10);
  await assertRejects(() => next(one), FrameTooLargeError);
});

Deno.test("Connection rejects everything that waits with one cause when the link breaks", async () => {
  const { near, one } = connectionPair();
  near.hold();
  const reset = new Deno.errors.ConnectionReset("reset");
  const waiting = [
    one.request(1),
    one.send("x".repeat(70_000)),
    one.request(3),
  ].map((promise) =>
    assertRejects(() => promise, ConnectionClosedError, "reset the connection")
  );
  const { signal } = one;
  await turn();
  near.cut(reset);
  for (const error of await Promise.all(waiting)) {
    assertStrictEquals(error.cause, reset);
    assertEquals(error.clean, false);
  }
  assertEquals(await one.closed, { clean: false, cause: reset });
  assertInstanceOf(signal.reason, ConnectionClosedError);
  assertStrictEquals(
    (await assertRejects(() => one.send(1), ConnectionClosedError)).cause,
    reset,
  );
  await assertRejects(() => one.request(1), ConnectionClosedError);
  await assertRejects(() => next(one), ConnectionClosedError);
  assertEquals(near.closed, 1);
});

Deno.test("request() gives the replies in the order of the requests", async () => {
  const { one, other } = connectionPair();
  const replies = [1, 2, 3].map((n) => one.request(n));
  for await (const message of other) {
    other.send([message]);
    if (message === 3) break;
  }
  assertEquals(await Promise.all(replies), [[1], [2], [3]]);
  await Promise.all([one.close(), other.close()]);
});

Deno.test("request() throws the reply of an aborted request away", async () => {
  const { one, other } = connectionPair();
  const controller = new AbortController();
  const first = one.request(1);
  const second = one.request(2, { signal: controller.signal });
  const third = one.request(3);
  const reason = new Error("enough");
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => second, Error), reason);
  await written(one);
  for (const reply of ["one", "two", "three"]) other.send(reply);
  assertEquals(await Promise.all([first, third]), ["one", "three"]);
  await assertRejects(
    () => one.request(4, { signal: controller.signal }),
    Error,
    "enough",
  );
  assertEquals(one.stats().messagesSent, 3);
  await Promise.all([one.close(), other.close()]);
});

Deno.test("request() is given up where encoding its message aborts the signal", async () => {
  const { one, other } = connectionPair();
  const controller = new AbortController();
  function toJSON() {
    controller.abort("encoded");
    return 1;
  }
  const { signal } = controller;
  const reason = await one.request({ toJSON }, { signal })
    .catch((reason) => reason);
  assertEquals(reason, "encoded");
  one.abort();
  other.abort();
});

Deno.test("request() leaves no listener on its signal", async () => {
  const { one, other } = connectionPair();
  const { signal } = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: unknown[]) => {
    listeners++;
    Reflect.apply(addEventListener, signal, args);
  };
  signal.removeEventListener = (...args: unknown[]) => {
    listeners--;
    Reflect.apply(removeEventListener, signal, args);
  };
  const replies = [one.request(1, { signal }), one.request(2, { signal })];
  assertEquals(listeners, 1); // one for all that wait for it
  await written(one);
  await other.send("reply");
  await replies[0];
  assertEquals(listeners, 1);
  await Promise.all([
    assertRejects(() => replies[1], ConnectionClosedError),
    one.close(),
    other.close(),
  ]);
  assertEquals(listeners, 0);
});

Deno.test("request() rejects for a reply that is no JSON, and the next one gets its own", async () => {
  const { far, one } = connectionPair();
  const replies = [one.request(1), one.request(2)];
  await written(one);
  await far.write(BAD_FRAME);
  await far.write(encodeFrame("good"));
  await assertRejects(() => replies[0], InvalidMessageError);
  assertEquals(await replies[1], "good");
  await one.close();
});

Deno.test("request() rejects at once when the peer has ended its side", async () => {
  const { far, one } = connectionPair();
  const waiting = one.request(1);
  await far.closeWrite();
  const error = await assertRejects(
    () => waiting,
    ConnectionClosedError,
    "Cannot receive reply: the connection is closed",
  );
  assert(error.clean);
  await assertRejects(() => one.request(2), ConnectionClosedError);
  await one.close();
});

Deno.test("request() rejects an option that does not exist", async () => {
  const { one } = connectionPair();
  await assertRejects(
    () => one.request(1, { timeuot: 5 } as never),
    TypeError,
    'Cannot use option "timeuot": it does not exist',
  );
  await one.close();
});

Deno.test("closeWrite() leaves the other direction open", async () => {
  const { one, other } = connectionPair();
  const replies = [1, 2, 3].map((n) => one.request(n));
  await one.closeWrite();
  await assertRejects(
    () => one.send(4),
    ConnectionClosedError,
    "Cannot send message: closeWrite was called",
  );
  const seen: unknown[] = [];
  for await (const message of other) {
    seen.push(message);
    await other.send(message);
  }
  assertEquals(seen, [1, 2, 3]);
  assertEquals(await Promise.all(replies), [1, 2, 3]);
  await other.close();
  assertEquals(await next(one), { done: true, value: undefined });
  assertEquals(await one.closed, { clean: true });
  assertEquals(await other.closed, { clean: true });
});

Deno.test("closeWrite() waits for what was sent, may be called twice, and says where it is impossible", async () => {
  const { near, one, other } = connectionPair();
  near.hold();
  one.send("last");
  const ending = [one.closeWrite(), one.closeWrite()];
  const settled: string[] = [];
  ending[1].then(() => settled.push("again"));
  const peerEnds = Array.fromAsync(other).then((messages) => {
    settled.push("end");
    return messages;
  });
  await turn();
  assertEquals(settled, []);
  near.release();
  await Promise.all(ending);
  assertEquals(await peerEnds, ["last"]);
  await Promise.all([one.close(), other.close()]);
  await one.closeWrite();
  await assertRejects(() => other.closeWrite(), ConnectionClosedError);

  const [{ closeWrite: _, ...end }] = memoryPair();
  const connection = fromDuplex({
    ...end,
    read: () => Promise.resolve(null),
    write: (bytes) => Promise.resolve(bytes.length),
    close() {},
  });
  await assertRejects(() => connection.closeWrite(), TypeError);
  await connection.close();
});

Deno.test("close() flushes, ends iterations quietly, rejects requests, and may be called again", async () => {
  const { near, one, other } = connectionPair();
  near.hold();
  one.send("last");
  const requesting = assertRejects(
    () => one.request(1),
    ConnectionClosedError,
    "Cannot receive reply: the connection is closed",
  );
  await turn();
  const closing = [one.close(), one.close()];
  await assertRejects(() => one.send("late"), ConnectionClosedError);
  await requesting;
  assertEquals(near.closed, 0);
  near.release();
  await Promise.all(closing);
  await one.close();
  assertEquals(near.closed, 1);
  assertEquals((await next(other)).value, "last");
  assertEquals((await next(other)).value, 1);
  assertEquals((await next(other)).done, true);
  await other.close();
  assertEquals(await one.closed, { clean: true });
  assertEquals((await next(one)).done, true);
});

Deno.test("abort() ends everything at once, with its reason", async () => {
  const { near, one } = connectionPair();
  near.hold();
  const reason = new Error("enough");
  const sending = one.send("x".repeat(100_000)).catch((error) => error);
  const iterating = assertRejects(() => next(one), ConnectionClosedError);
  one.abort(reason);
  one.abort(new Error("too late"));
  assertStrictEquals((await sending).cause, reason);
  assertStrictEquals((await iterating).cause, reason);
  assertEquals(near.closed, 1);
  assertEquals(await one.closed, { clean: false, cause: reason });
  await one.close();
});

Deno.test("Connection.signal is aborted at the end, also when it is first looked at later", async () => {
  const { one, other } = connectionPair();
  const { signal } = one;
  assert(!signal.aborted);
  await one.close();
  assertInstanceOf(signal.reason, ConnectionClosedError);
  await other.close();
  assertInstanceOf(other.signal.reason, ConnectionClosedError);
});

Deno.test("Connection closes at the end of await using", async () => {
  const { near, one, other } = connectionPair();
  {
    await using connection = one;
    connection.send("bye");
  }
  assertEquals(near.closed, 1);
  assertEquals((await next(other)).value, "bye");
  await other.close();
});

Deno.test("Connection ends well in any order of closing", async () => {
  type End = (connection: Connection) => unknown;
  const ends: End[] = [
    (connection) => connection.close(),
    (connection) => connection.abort(),
    (connection) => connection.closeWrite().catch(() => {}),
    (connection) => next(connection).catch(() => {}),
    (connection) => connection[Symbol.asyncDispose](),
  ];
  for (const first of ends) {
    for (const second of ends) {
      for (const third of ends) {
        const { one, other } = connectionPair();
        one.send(1);
        const all = [first(one), second(other), third(one)];
        await Promise.all([...all, one.close(), other.close()]);
        await Promise.all([one.closed, other.closed]);
      }
    }
  }
});

Deno.test("Connection carries any chunk size with any framing", async () => {
  for (const prefixBytes of [1, 2, 4, 8] as const) {
    for (const littleEndian of [false, true]) {
      for (const size of [1, 2, 3, 5, 1_000]) {
        const { near, far, one, other } = connectionPair({
          prefixBytes,
          littleEndian,
        });
        near.writeAtMost = size;
        far.readAtMost = size;
        const messages = ["", "aé水🥋", [], { a: null }, "x".repeat(200)];
        for (const message of messages) one.send(message);
        one.closeWrite();
        assertEquals(await Array.fromAsync(other), messages);
        await Promise.all([one.close(), other.close()]);
      }
    }
  }
});

Deno.test("Connection rejects wrong options before anything is touched", () => {
  const [near] = memoryPair();
  for (
    const [options, type, text] of [
      [{ maxQueuedBytes: 0 }, RangeError, "received 0"],
      [{ maxQueuedBytes: "1" }, TypeError, 'received "1"'],
      [{ writeTimeout: -1 }, RangeError, "received -1"],
      [{ maxFrameBytes: NaN }, RangeError, "received NaN"],
      [{ prefixBytes: 3 }, RangeError, "received 3"],
      [{ prefixBytes: 1, maxFrameBytes: 256 }, RangeError, "received 256"],
      [{ nodelay: true }, TypeError, '"nodelay": it does not exist'],
    ] as const
  ) {
    try {
      fromDuplex(near, options as ConnectionOptions);
      throw new Error("nothing was thrown");
    } catch (error) {
      assertInstanceOf(error, type);
      assert(error.message.includes(text), error.message);
    }
  }
  assertEquals([near.closed, near.reads.length], [0, 0]);
});

Deno.test("send() rejects where more than maxQueuedBytes wait, and takes more when the peer has read", async () => {
  const { near, one, other } = connectionPair({ maxQueuedBytes: 1_000 });
  near.hold();
  const sent: Promise<void>[] = [];
  for (let i = 0; i < 3; i++) sent.push(one.send("x".repeat(400)));
  const error = await assertRejects(() => one.send("more"), BackpressureError);
  assertEquals([error.queued, error.limit], [1_218, 1_000]);
  assertEquals(
    error.message,
    "Cannot send message: 1218 bytes wait to be written, limit is 1000 bytes (maxQueuedBytes)",
  );
  await assertRejects(() => one.request("more"), BackpressureError);
  near.release();
  await Promise.all(sent);
  await turn();
  await one.send("again");
  const messages: unknown[] = [];
  for await (const message of other) {
    messages.push(message);
    if (message === "again") break;
  }
  assertEquals(messages.length, 4);
  await Promise.all([one.close(), other.close()]);
});

Deno.test("Connection lets a last message be sent where a frame was too large, and reads on until the peer has ended", async () => {
  const { near, far, one } = connectionPair({ maxFrameBytes: 8 });
  await far.write(Uint8Array.of(0, 0, 0, 9));
  await assertRejects(() => next(one), FrameTooLargeError);
  one.send("last");
  for (let i = 0; i < 100; i++) await far.write(new Uint8Array(1_000));
  await turn();
  assertEquals(await far.read(new Uint8Array(20)), 10);
  assertEquals(await far.read(new Uint8Array(20)), null);
  assertEquals(near.closed, 0);
  await far.closeWrite();
  assertInstanceOf((await one.closed).cause, FrameTooLargeError);
  assertEquals(near.closed, 1);
});

Deno.test("Connection reads no more than 16 MiB of what follows a fault", async () => {
  const { near, far, one } = connectionPair({ maxFrameBytes: 8 });
  const chunk = new Uint8Array(65_536).fill(1);
  for (let i = 0; i < 300; i++) await far.write(chunk);
  await assertRejects(() => next(one), FrameTooLargeError);
  await one.closed;
  assertEquals(near.closed, 1);
  assertLess(near.reads.length, 270);
});

Deno.test("watch() notices the end of the peer while nothing is asked for, and keeps messages for later", async () => {
  const { far, one } = connectionPair();
  linkOf(one).watch();
  await far.write(encodeFrame("unasked"));
  await far.write(encodeFrame("too"));
  await turn();
  assertEquals(one.stats().messagesReceived, 2);
  const { over } = linkOf(one);
  await far.closeWrite();
  await over;
  assert(!linkOf(one).isEnded);
  assertEquals((await next(one)).value, "unasked");
  assertEquals((await next(one)).value, "too");
  assertEquals((await next(one)).done, true);
  await one.close();

  // Nothing waits that could be answered.
  const quiet = connectionPair();
  linkOf(quiet.one).watch();
  await quiet.far.closeWrite();
  assertEquals(await quiet.one.closed, { clean: true });
});

Deno.test("limit() lets larger frames through from then on", async () => {
  const { far, one } = connectionPair({ maxFrameBytes: 8 });
  await far.write(encodeFrame("hello"));
  await far.write(encodeFrame("more than before"));
  assertEquals((await next(one)).value, "hello");
  linkOf(one).limit(framingOf({ maxFrameBytes: 100 }));
  assertEquals((await next(one)).value, "more than before");
  await one.close();
});

Deno.test("request() rejects with a stack that leads to its caller, whatever it fails of", async () => {
  async function askFromHere(connection: Connection): Promise<unknown> {
    return await connection.request("how are you?");
  }
  const failures: Record<string, (far: MemoryEnd, one: Connection) => unknown> =
    {
      "the link breaks": (far) => far.cut(),
      "the peer ends its side": (far) => far.closeWrite(),
      "the reply is no JSON": (far) => far.write(BAD_FRAME),
      "it is closed": (_, one) => void one.close(),
    };
  for (const [how, fail] of Object.entries(failures)) {
    const { far, one } = connectionPair();
    const replies = [askFromHere(one), askFromHere(one)];
    await turn();
    fail(far, one);
    const error = await assertRejects(() => replies[0], Error);
    assert(error.stack!.includes("askFromHere"), `${how}: ${error.stack}`);
    one.abort();
    const last = await assertRejects(() => replies[1], ConnectionClosedError);
    assert(last.stack!.includes("askFromHere"), `${how}: ${last.stack}`);
    assert(isFailureOf(linkOf(one), last));
  }
});
