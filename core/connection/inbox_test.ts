import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import { concat } from "@std/bytes/concat";
import { encodeFrame } from "../../framing.ts";
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
  linkOf,
} from "./connection.ts";
import { NO_REPLY, Responder } from "../server/respond.ts";
import { keepAlive } from "./keepalive.ts";
import { rpc } from "../../rpc.ts";
import { MOST_UNCLAIMED_BYTES } from "./inbox.ts";
import { MOST_REQUESTS } from "./requests.ts";
import { NEVER, tick, TIMEOUT } from "../../tests/ticks.ts";
import { turn } from "../../tests/turns.ts";

function pair(options?: ConnectionOptions): [Connection, Connection] {
  const [near, far] = memoryPair();
  return [
    fromDuplex(near, { ...NEVER, ...options }),
    fromDuplex(far, NEVER),
  ];
}

async function close(...connections: Connection[]): Promise<void> {
  await Promise.all(connections.map((connection) => connection.close()));
}

async function writeAll(
  far: MemoryEnd,
  ...messages: unknown[]
): Promise<void> {
  await far.write(concat(messages.map((message) => encodeFrame(message))));
}

async function collect(
  connection: Connection,
  received: unknown[],
): Promise<void> {
  for await (const message of connection) received.push(message);
}

/** A notification of RPC. */
function push(n: number): unknown {
  return { jsonrpc: "2.0", method: "push", params: [n] };
}

function take(connection: Connection): Promise<unknown> {
  return connection[Symbol.asyncIterator]().next();
}

/** Who may read a connection, and what another reader is told. */
const READERS: [
  name: string,
  read: (connection: Connection) => unknown,
  text: string,
][] = [
  [
    "a request",
    (one) => void one.request(1).catch(() => {}),
    "1 requests wait for their replies",
  ],
  [
    "an iteration",
    (one) => void take(one).catch(() => {}),
    "an iteration",
  ],
  ["rpc()", (one) => rpc(one), "rpc() reads the connection"],
  [
    "a handler",
    (one) => new Responder(one, () => null, undefined, 1),
    "serve() reads the connection",
  ],
];

Deno.test("a connection has one reader: another one is a TypeError at once", async () => {
  const seconds: [string, (connection: Connection) => unknown][] = [
    ["a request", (one) => one.request(2)],
    ["an iteration", (one) => take(one)],
    ["rpc()", (one) => rpc(one)],
    [
      "a handler",
      (one) => new Responder(one, () => null, undefined, 1),
    ],
  ];
  for (const [name, read, text] of READERS) {
    for (const [second, readToo] of seconds) {
      if (name === "a request" && second === name) continue;
      const [one, other] = pair();
      read(one);
      // deno-lint-ignore require-await
      await assertRejects(async () => readToo(one), TypeError, text);
      one.abort();
      await other.close();
    }
  }
});

Deno.test("request() in the body of an iteration is a TypeError, and works when the iteration was left", async () => {
  const [one, other] = pair();
  other.send("push");
  for await (const _push of one) {
    await assertRejects(() => one.request(1), TypeError, "was not left");
    break;
  }
  const reply = one.request(1);
  await written(one);
  other.send("reply");
  assertEquals(await reply, "reply");
  await close(one, other);
});

Deno.test("a second reader in the body of an iteration is refused at once, and the iteration goes on", async () => {
  const seconds: Record<string, (connection: Connection) => unknown> = {
    "an iteration": (one) => take(one),
    "rpc()": (one) => rpc(one),
    "[Symbol.asyncIterator]()": (one) => one[Symbol.asyncIterator](),
  };
  for (const [name, read] of Object.entries(seconds)) {
    const [one, other] = pair();
    for (let i = 0; i < 3; i++) other.send(i);
    other.closeWrite();
    const received: unknown[] = [];
    for await (const message of one) {
      received.push(message);
      await assertRejects(
        // deno-lint-ignore require-await
        async () => read(one),
        TypeError,
        "was not left",
      );
    }
    assertEquals(received, [0, 1, 2], name);
    await close(one, other);
  }
});

Deno.test("an iteration begins where another was left, by break, return() or an error, or has come to the end", async () => {
  const [one, other] = pair();
  for (let i = 0; i < 4; i++) other.send(i);
  other.closeWrite();
  const received: unknown[] = [];
  for await (const message of one) {
    received.push(message);
    break;
  }
  const iteration = one[Symbol.asyncIterator]();
  received.push((await iteration.next()).value);
  await iteration.return?.();
  await assertRejects(async () => {
    for await (const message of one) {
      received.push(message);
      throw new Error("enough");
    }
  });
  await collect(one, received);
  await collect(one, received);
  assertEquals(received, [0, 1, 2, 3]);
  await close(one, other);
});

Deno.test("an iteration that is left while it waits ends, and takes no message", async () => {
  const [one, other] = pair();
  const messages = one[Symbol.asyncIterator]();
  const waiting = messages.next();
  await messages.return?.();
  assertEquals(await waiting, { done: true, value: undefined });
  assertEquals((await messages.next()).done, true);
  other.send("kept");
  for await (const message of one) {
    assertEquals(message, "kept");
    break;
  }
  await close(one, other);
});

Deno.test("a heartbeat takes no message from an iteration or from rpc()", async () => {
  for (const kind of ["before", "while", "rpc"]) {
    const [one, other] = pair();
    const received: unknown[] = [];
    if (kind === "while") collect(one, received);
    const peer = kind === "rpc" && rpc(one, {
      push: (n: number) => void received.push(n),
    });
    keepAlive(linkOf(one), () => linkOf(one).beat("beat"), TIMEOUT);
    tick(20);
    // One that began before the iteration does is delivered like any other.
    if (kind === "before") collect(one, received);
    for (let i = 0; i < 3; i++) {
      await other.send(
        peer ? push(i) : i,
      );
    }
    for await (const message of other) {
      if (message === "beat") break;
    }
    await turn();
    assertEquals(received, [0, 1, 2], kind);
    await close(one, other);
  }
});

Deno.test("what takes a connection over gets the messages that came before, in order", async () => {
  for (const taking of ["rpc", "iterate", "respond"]) {
    const [one, other] = pair();
    const reply = one.request("hello");
    const received: unknown[] = [];
    await written(one);
    other.send("hello to you");
    for (let i = 0; i < 60; i++) other.send(push(i));
    await reply;
    if (taking === "rpc") {
      rpc(one, { push: (n: number) => void received.push(n) });
    } else if (taking === "respond") {
      new Responder(
        one,
        (message) => {
          received.push(message);
          return NO_REPLY;
        },
        undefined,
        100,
      );
    } else {
      collect(one, received);
    }
    for (let i = 60; i < 100; i++) other.send(push(i));
    while (received.length < 100) await turn();
    const numbers = [...Array(100).keys()];
    assertEquals<unknown>(
      received,
      taking === "rpc" ? numbers : numbers.map(push),
      taking,
    );
    await close(one, other);
  }
});

Deno.test("unrequested messages beyond 1 MiB end a connection, which says so", async () => {
  const text = "x".repeat(65_534);
  for (const kind of ["requests", "watched"]) {
    const [one, other] = pair();
    if (kind === "watched") linkOf(one).watch();
    else {
      const reply = one.request("first");
      await written(one);
      await other.send("reply");
      await reply;
    }
    // So many are 1 MiB, and one more is the message at hand.
    for (let i = 0; i < 17; i++) await other.send(text);
    while (one.stats().messagesReceived < 17) await turn();
    await turn();
    assert(!linkOf(one).isOver, kind);
    await other.send(text);
    other.send("one too many");
    const { clean, cause } = await one.closed;
    assert(!clean && cause instanceof RangeError);
    assertEquals(
      cause.message,
      `Cannot receive message: ${
        17 * 65_536
      } bytes of messages wait that no request or iteration takes, limit is ${MOST_UNCLAIMED_BYTES} bytes`,
    );
    await other.close();
  }
});

Deno.test("an iteration slows its peer down, and reads ahead no more than 1 MiB where the link is watched", async () => {
  for (const isWatched of [false, true]) {
    const [one, other] = pair();
    if (isWatched) linkOf(one).watch();
    const text = "x".repeat(65_534);
    for (let i = 0; i < 40; i++) await other.send(text);
    const messages = one[Symbol.asyncIterator]();
    await messages.next();
    for (let i = 0; i < 100; i++) await turn();
    const { bytesReceived } = one.stats();
    assert(
      bytesReceived < (isWatched ? 1.4 : 0.5) * MOST_UNCLAIMED_BYTES,
      `${bytesReceived} bytes`,
    );
    for (let i = 1; i < 40; i++) {
      assertEquals((await messages.next()).value, text);
    }
    await close(one, other);
  }
});

Deno.test("a client notices the end of its link while messages wait", async () => {
  const [near, far] = memoryPair();
  const one = fromDuplex(near, { ...NEVER, idleTimeout: TIMEOUT });
  const other = fromDuplex(far, NEVER);
  linkOf(one).watch();
  await other.send("nobody asks for it");
  await turn();
  tick(22);
  const end = await Promise.race([one.closed, other.close()]);
  assert(end !== undefined || (await one.closed).clean === false);

  const [two, peer] = pair();
  linkOf(two).watch();
  await peer.send("nobody asks for it");
  await turn();
  const { over } = linkOf(two);
  await peer.closeWrite();
  await over;
  await assertRejects(() => two.request("late"), ConnectionClosedError);
  await close(two, peer);
});

Deno.test("messages that wait when the peer ends its side can still be answered, until nothing was sent for idleTimeout", async () => {
  for (const by of ["watch", "request"]) {
    const [one, peer] = pair({ idleTimeout: TIMEOUT });
    if (by === "watch") linkOf(one).watch();
    else {
      const reply = one.request("first");
      await written(one);
      await peer.send("reply");
      await reply;
    }
    for (const n of [1, 2, 3]) await peer.send(n);
    const { over } = linkOf(one);
    await peer.closeWrite();
    await over;
    tick(20);
    for await (const n of one) await one.send(["answer", n]);
    await written(one);
    tick(20);
    assert(!linkOf(one).isEnded);
    tick(2);
    assertEquals(await one.closed, { clean: true });
    const received = await Array.fromAsync(peer);
    assertEquals(received.slice(-3), [1, 2, 3].map((n) => ["answer", n]));
    await peer.close();
  }
});

Deno.test("a message that has come before a request is not its reply", async () => {
  for (const before of [1, 20, 31, 32, 33, 70]) {
    const [near, far] = memoryPair();
    const one = fromDuplex(near, NEVER);
    const pushes = Array.from({ length: before }, (_, push) => ({ push }));
    // Behind a long message it reads as much at once.
    const long = "x".repeat(8_000);
    for (let i = 0; i < 4; i++) {
      const reply = one.request("first");
      await written(one);
      await writeAll(far, long);
      await reply;
    }
    for (let round = 0; round < 3; round++) {
      await writeAll(far, ...pushes);
      await turn();
      const reply = one.request(round);
      await turn();
      await writeAll(far, { reply: round }, ...pushes);
      assertEquals<unknown>(await reply, { reply: round });
      // What has come with the reply is not the reply to the next.
      const next = one.request("next");
      await turn();
      await writeAll(far, long);
      assertEquals(await next, long);
    }
    const iteration = one[Symbol.asyncIterator]();
    for (let i = 0; i < 6 * before; i++) {
      assertEquals<unknown>((await iteration.next()).value, pushes[i % before]);
    }
    await one.close();
  }
});

Deno.test("request() is given up after its timeout, and the connection goes on", async () => {
  const [one, other] = pair();
  const late = one.request("late", { timeout: TIMEOUT });
  const patient = one.request("patient", { timeout: 2 * TIMEOUT });
  tick(20);
  const rejects = assertRejects(
    () => late,
    DOMException,
    "Cannot receive reply: timed out after 5000 ms (timeout)",
  );
  tick(1);
  assertEquals((await rejects).name, "TimeoutError");
  await written(one);
  other.send("too late");
  other.send("in time");
  assertEquals(await patient, "in time");
  const third = one.request("third");
  other.send("third");
  assertEquals(await third, "third");
  tick(100);
  assert(!linkOf(one).isOver);
  await close(one, other);
});

Deno.test("request() has a timeout of 30 seconds, and Infinity turns it off", async () => {
  const [one, other] = pair();
  const reply = one.request(1);
  const patient = one.request(2, { timeout: Infinity });
  await written(one);
  tick(120);
  const late = assertRejects(() => reply, DOMException, "after 30000 ms");
  tick(1);
  await late;
  other.send(1);
  await turn();
  tick(1_000);
  other.send(2);
  assertEquals(await patient, 2);
  await close(one, other);
});

Deno.test("a reply that is missing a whole timeout after its request was given up ends the connection", async () => {
  for (const by of ["timeout", "signal"]) {
    const [one, other] = pair();
    const controller = new AbortController();
    const { signal } = controller;
    const reply = one.request(1, { signal, timeout: TIMEOUT });
    const others = one.request(2, { timeout: Infinity });
    const rejects = assertRejects(() => reply, DOMException);
    const last = assertRejects(() => others, ConnectionClosedError);
    if (by === "signal") controller.abort();
    else tick(21);
    await rejects;
    tick(20);
    assert(!linkOf(one).isOver);
    tick(1);
    await last;
    await other.close();
    const { clean, cause } = await one.closed;
    assert(!clean && cause instanceof DOMException);
    assertEquals(
      cause.message,
      "Cannot receive reply: it is missing 5000 ms after its request was given up (timeout), and replies are matched by their order",
    );
  }
});

Deno.test("request() rejects where 65 536 are open, those that were given up included", async () => {
  const [one, other] = pair({ maxQueuedBytes: Infinity });
  const controller = new AbortController();
  const { signal } = controller;
  const givenUp = assertRejects(() => one.request(1, { signal }), DOMException);
  controller.abort();
  await givenUp;
  for (let i = 1; i < MOST_REQUESTS; i++) one.request(1).catch(() => {});
  const error = await assertRejects(() => one.request(1), BackpressureError);
  assertEquals(
    error.message,
    "Cannot send request: 65536 requests wait for their replies, limit is 65536",
  );
  one.abort();
  await other.close();
});

Deno.test("unrequested messages of no bytes are bounded, too", async () => {
  const [near, far] = memoryPair();
  const one = fromDuplex(near);
  const reply = one.request("are you there?");
  await written(one);
  await far.write(encodeFrame("yes"));
  assertEquals(await reply, "yes");
  const frames = new Uint8Array(4 * 2_000);
  for (let i = 0; i < 10; i++) await far.write(frames);
  await far.closeWrite();
  const { clean, cause } = await one.closed;
  assertEquals(clean, false);
  assertInstanceOf(cause, RangeError);
});

Deno.test("what is sent while the first request waits for what has arrived leaves in order, and before the end", async () => {
  for (const ending of ["close", "closeWrite"] as const) {
    const [one, other] = pair();
    await other.send("greeting");
    one.send(1);
    const replies = [2, 3].map((n) => one.request(n).catch(() => "no reply"));
    one.send(4);
    const ended = one[ending]();
    if (ending === "close") await other.closeWrite();
    const received: unknown[] = [];
    for await (const message of other) {
      received.push(message);
      if (ending === "closeWrite") await other.send(["reply", message]);
    }
    await ended;
    assertEquals(received, [1, 2, 3, 4]);
    assertEquals<unknown>(
      await Promise.all(replies),
      ending === "close"
        ? ["no reply", "no reply"]
        : [["reply", 1], ["reply", 2]],
    );
    await close(one, other);
  }
});

Deno.test("a consumer that closes at a message that came before it gets none behind it", async () => {
  const [near, far] = memoryPair();
  const { now } = Date;
  let time = 0;
  Date.now = () => time += 20; // each message takes so long that others follow
  try {
    const connection = fromDuplex(near, NEVER);
    const seen: unknown[] = [];
    linkOf(connection).watch();
    await writeAll(far, 1, 2, 3);
    while (connection.stats().messagesReceived === 0) await undefined;
    assertEquals(connection.stats().messagesReceived, 1);
    linkOf(connection).consume({
      name: "a test",
      size: 0,
      receive(message) {
        seen.push(message);
        connection.close();
        return undefined;
      },
      end() {},
    });
    await turn();
    far.close();
    await connection.closed;
    assertEquals(seen, [1]);
  } finally {
    Date.now = now;
  }
});
