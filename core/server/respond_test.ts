import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLessOrEqual,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  encodeFrame,
  FrameTooLargeError,
  InvalidMessageError,
} from "../../framing.ts";
import { Clock } from "../../tests/ledger.ts";
import { type MemoryEnd, memoryPair } from "../../tests/memory_pair.ts";
import { Reports } from "../../tests/reports.ts";
import {
  Connection,
  ConnectionClosedError,
  type ConnectionOptions,
  fromDuplex,
  linkOf,
  makeConnection,
  settingsOf,
} from "../connection/connection.ts";
import {
  type ErrorHandler,
  type Handler,
  NO_REPLY,
  type Reply,
  Responder,
} from "./respond.ts";
import { turn } from "../../tests/turns.ts";

interface Setup {
  handler: Handler;
  onError?: ErrorHandler;
  maxInFlight?: number;
  options?: ConnectionOptions;
}

function respond(
  {
    handler,
    onError,
    maxInFlight = 100,
    options,
  }: Setup,
): {
  client: Connection;
  far: MemoryEnd;
  near: MemoryEnd;
  connection: Connection;
} {
  const [near, far] = memoryPair();
  const connection = fromDuplex(near, options);
  new Responder(
    connection,
    handler,
    onError,
    maxInFlight,
  );
  return {
    client: fromDuplex(far),
    far,
    near,
    connection,
  };
}

const BAD_FRAME = Uint8Array.of(0, 0, 0, 3, 0x6e, 0x6f, 0x21); // no!

Deno.test("Responder answers with what the handler returns or resolves to, in order", async () => {
  const slow = Promise.withResolvers<string>();
  const { client, connection } = respond({
    handler: (message) =>
      message === "slow"
        ? slow.promise
        : message === "later"
        ? Promise.resolve("later")
        : message,
  });
  const replies = ["first", "slow", "sync", "later", "last"].map((message) =>
    client.request(message)
  );
  assertEquals(await replies[0], "first");
  slow.resolve("slow at last");
  assertEquals(await Promise.all(replies), [
    "first",
    "slow at last",
    "sync",
    "later",
    "last",
  ]);
  await client.close();
  await connection.closed;
});

Deno.test("Responder writes the replies to 64 messages of one read at once", async () => {
  const { client, near, connection } = respond({
    handler: (message) => message,
  });
  await client.request("x".repeat(1_000)); // from now on, it reads as much at once
  await Promise.all(Array.from({ length: 64 }, (_, i) => client.request(i)));
  assertEquals(near.writes.length, 2);
  await client.close();
  await connection.closed;
});

Deno.test("Responder sends nothing for NO_REPLY, neither the handler's nor onError's", async () => {
  const { client, connection } = respond({
    handler(message) {
      if (message === 4) throw new Error("failure");
      return message === 2
        ? NO_REPLY
        : message === 3
        ? Promise.resolve(NO_REPLY)
        : message;
    },
    onError: () => NO_REPLY,
  });
  for (const message of [1, 2, 3, 4, 5]) client.send(message);
  await client.closeWrite();
  assertEquals(await Array.fromAsync(client), [1, 5]);
  await connection.closed;
});

Deno.test("Responder takes undefined for an error of the handler, which says what to return", async () => {
  const text =
    "Cannot send reply: the handler returned undefined; return a value, or NO_REPLY to send nothing";
  const forgotten: Handler[] = [
    (() => {}) as never,
    (async () => await turn()) as never,
  ];
  for (const handler of forgotten) {
    const errors: unknown[] = [];
    const { client, connection } = respond({
      handler: (message, connection) =>
        message === "fine" ? message : handler(message, connection),
      onError(error) {
        errors.push(error);
        return "sorry";
      },
    });
    assertEquals(await client.request("forgotten"), "sorry");
    assertEquals(await client.request("fine"), "fine");
    assertEquals(errors.map(String), [`TypeError: ${text}`]);
    await client.close();
    await connection.closed;

    using reports = new Reports();
    const strict = respond({ handler });
    await assertRejects(
      () => strict.client.request("forgotten"),
      ConnectionClosedError,
    );
    const end = await strict.connection.closed;
    assert(!end.clean);
    assertStrictEquals(end.cause, reports.errors[0]);
    assertEquals(reports.errors.map(String), [`TypeError: ${text}`]);
  }
});

Deno.test("Responder gives the handler the connection, to send and watch, and no messages of it", async () => {
  const { client, connection } = respond({
    async handler(message, connection) {
      if (message !== "start") return NO_REPLY;
      connection.send("news");
      const text = "serve() reads the connection";
      assertThrows(() => connection[Symbol.asyncIterator](), TypeError, text);
      await assertRejects(() => connection.request("?"), TypeError, text);
      return "alone";
    },
  });
  client.send("start");
  const messages = client[Symbol.asyncIterator]();
  assertEquals((await messages.next()).value, "news");
  assertEquals((await messages.next()).value, "alone");
  assert(!connection.signal.aborted);
  await client.close();
  await connection.closed;
  assert(connection.signal.aborted);
});

Deno.test("Responder sends every reply to a peer that half-closes", async () => {
  const gate = Promise.withResolvers<void>();
  const { client, connection } = respond({
    handler: (message) => gate.promise.then(() => message),
  });
  for (const message of [1, 2, 3]) client.send(message);
  await client.closeWrite();
  await turn();
  gate.resolve();
  assertEquals(await Array.fromAsync(client), [1, 2, 3]);
  await connection.closed;
  assertEquals(await client.closed, { clean: true });
});

Deno.test("Responder sends what onError returns in place of a failed reply", async () => {
  const errors: unknown[] = [];
  const { client, far, connection } = respond({
    handler(message) {
      if (message === "throw") throw "thrown";
      if (message === "reject") return Promise.reject(new Error("rejected"));
      if (message === "undefined") return Promise.reject(undefined);
      if (message === "unsendable") return { n: 1n };
      if (message === "large") return "x".repeat(100);
      return message;
    },
    onError(error, connection) {
      assert(connection instanceof Connection);
      errors.push(error);
      const reply = { error: errors.length };
      return errors.length % 2 === 0 ? reply : Promise.resolve(reply);
    },
    options: { maxFrameBytes: 50 },
  });
  const replies: Promise<unknown>[] = [];
  for (const message of ["throw", "reject", "fine", "undefined"]) {
    replies.push(client.request(message));
  }
  await Promise.all(replies);
  await far.write(BAD_FRAME);
  for await (const reply of client) {
    replies.push(Promise.resolve(reply));
    break;
  }
  replies.push(client.request("unsendable"));
  await replies.at(-1);
  replies.push(client.request("large"), client.request("fine"));
  assertEquals(await Promise.all(replies), [
    { error: 1 },
    { error: 2 },
    "fine",
    { error: 3 },
    { error: 4 },
    { error: 5 },
    { error: 6 },
    "fine",
  ]);
  assertEquals(errors.slice(0, 3).map(String), [
    "thrown",
    "Error: rejected",
    "undefined",
  ]);
  assertInstanceOf(errors[3], InvalidMessageError);
  assertInstanceOf(errors[4], InvalidMessageError);
  assertInstanceOf(errors[5], FrameTooLargeError);
  await client.close();
  await connection.closed;
});

Deno.test("Responder sends null like any other reply, also where onError returns it or resolves to it", async () => {
  const { client, connection } = respond({
    handler(message) {
      if (message === "sync") throw new Error("failure");
      if (message === "async") return Promise.reject(new Error("failure"));
      if (message === "unsendable") return 1n as never;
      return null;
    },
    onError: (error) =>
      error instanceof InvalidMessageError ? Promise.resolve(null) : null,
  });
  const messages = ["sync", "async", "unsendable", "fine", "sync"];
  for (const message of messages) {
    assertEquals(await client.request(message), null, message);
  }
  await client.close();
  await connection.closed;
});

Deno.test("Responder asks onError about a reply that throws when it is looked at", async () => {
  const thrown = new Error("looked at");
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const replies: Record<string, () => unknown> = {
    then: () => ({
      get then() {
        throw thrown;
      },
    }),
    get: () =>
      new Proxy({}, {
        get() {
          throw thrown;
        },
      }),
    getPrototypeOf: () =>
      new Proxy({ n: 1n }, {
        getPrototypeOf() {
          throw thrown;
        },
      }),
    revoked: () => revoked.proxy,
  };
  for (const [name, make] of Object.entries(replies)) {
    for (const isAsync of [false, true]) {
      const errors: unknown[] = [];
      const { client, connection } = respond({
        handler: (message) =>
          (message === "bad"
            ? isAsync ? turn().then(make) : make()
            : message) as Reply,
        onError(error) {
          errors.push(error);
          return "answered";
        },
      });
      const asked = ["good", "bad", "good"].map((message) =>
        client.request(message)
      );
      assertEquals(
        await Promise.all(asked),
        ["good", "answered", "good"],
        name,
      );
      assertEquals(errors.length, 1, name);
      await client.close();
      assertEquals(await connection.closed, { clean: true }, name);
    }
  }
});

Deno.test("Responder closes the connection behind the earlier replies, where no hook answers for an error", async () => {
  const failure = new Error("failure");
  const kinds: [string, unknown, ErrorHandler | undefined][] = [
    ["no onError", failure, undefined],
    ["onError returns nothing", failure, () => {}],
    ["onError resolves to nothing", failure, () => Promise.resolve()],
    ["onError throws", failure, () => {
      throw new Error("again");
    }],
    ["onError rejects", failure, () => Promise.reject(new Error("again"))],
    ["onError cannot be sent", failure, () => 1n],
    ["a frozen error", Object.freeze(new Error("frozen")), undefined],
    ["a string", "text", undefined],
    ["nothing", undefined, undefined],
  ];
  using reports = new Reports();
  for (const [name, error, onError] of kinds) {
    for (const asynchronous of [false, true]) {
      const { client, connection } = respond({
        handler(message) {
          if (message === "good") return message;
          if (asynchronous) return Promise.reject(error);
          throw error;
        },
        onError,
      });
      for (const message of ["good", "bad", "good"]) client.send(message);
      assertEquals(await Array.fromAsync(client), ["good"], name);
      await client.close();
      const { clean, cause } = await connection.closed;
      assert(!clean, name);
      if (name !== "onError cannot be sent") {
        assertStrictEquals(cause, error, name);
      }
    }
    const isTaken = name.startsWith("onError returns") ||
      name.startsWith("onError resolves");
    assertEquals(reports.errors.splice(0).length, isTaken ? 0 : 2, name);
  }
});

Deno.test("Responder calls no handler behind a frame that is too large, and answers those before", async () => {
  const seen: unknown[] = [];
  const gate = Promise.withResolvers<void>();
  const { client, connection, far } = respond({
    async handler(message) {
      seen.push(message);
      await gate.promise;
      return message;
    },
    options: { maxFrameBytes: 10 },
  });
  await far.write(
    Uint8Array.from(
      [1, "0123456789", 2].flatMap((message) => [...encodeFrame(message)]),
    ),
  );
  await turn();
  gate.resolve();
  assertEquals(await Array.fromAsync(client), [1]);
  await client.close();
  await connection.closed;
  assertEquals(seen, [1]);
  assertInstanceOf((await connection.closed).cause, FrameTooLargeError);
});

Deno.test("Responder never has more than maxInFlight messages in hand", async () => {
  const waiting: (() => void)[] = [];
  let most = 0;
  const { client, connection } = respond({
    maxInFlight: 3,
    handler: (message) =>
      new Promise((resolve) => {
        waiting.push(() => resolve(message));
        most = Math.max(most, waiting.length);
      }),
  });
  const replies = Array.from({ length: 50 }, (_, i) => client.request(i));
  for (const reply of replies) {
    while (waiting.length === 0) await turn();
    waiting.shift()!();
    await reply;
  }
  assertEquals(most, 3);
  await client.close();
  await connection.closed;
});

Deno.test("Responder stops reading from a peer that does not read its replies", async () => {
  const { client, near, connection } = respond({
    handler: () => "x".repeat(1_000),
    options: { maxQueuedBytes: 10_000 },
  });
  near.hold();
  for (let i = 0; i < 100; i++) client.send(i);
  await turn();
  assert(connection.stats().messagesReceived < 15);
  near.release();
  const replies = client[Symbol.asyncIterator]();
  for (let i = 0; i < 100; i++) await replies.next();
  await client.close();
  await connection.closed;
});

Deno.test("Responder ends with the link, whatever its handlers do", async () => {
  const { connection, near, client } = respond({
    handler: (message) =>
      message === "hang"
        ? new Promise(() => {})
        : turn().then(() => Promise.reject(new Error("late"))),
  });
  client.send("late");
  client.send("hang");
  await turn();
  near.cut();
  await connection.closed;
  assert(!(await connection.closed).clean);
  await client.close();
  await turn();
});

Deno.test("Responder drains: no more messages, the replies in hand, the end", async () => {
  const gate = Promise.withResolvers<void>();
  const seen: unknown[] = [];
  const { client, connection } = respond({
    async handler(message) {
      seen.push(message);
      await gate.promise;
      return message;
    },
  });
  client.send(1);
  await turn();
  linkOf(connection).drain();
  client.send(2).catch(() => {});
  await turn();
  gate.resolve();
  assertEquals(await Array.fromAsync(client), [1]);
  await client.close();
  await connection.closed;
  assertEquals(seen, [1]);
  assertEquals(await connection.closed, { clean: true });
});

Deno.test("Responder has no more than maxFrameBytes and one message in hand", async () => {
  const waiting: (() => void)[] = [];
  const { client, connection } = respond({
    options: { maxFrameBytes: 1_000 },
    handler: (message) =>
      new Promise((resolve) => waiting.push(() => resolve(message))),
  });
  const text = "x".repeat(298);
  const replies = Array.from({ length: 12 }, () => client.request(text));
  while (waiting.length < 4) await turn();
  await turn();
  assertEquals(waiting.length, 4);
  for (const resolve of waiting.splice(0, 2)) resolve();
  await Promise.all(replies.slice(0, 2));
  await turn();
  assertEquals(waiting.length, 2 + 2);
  for (const reply of replies.slice(2)) {
    while (waiting.length === 0) await turn();
    waiting.shift()!();
    await reply;
  }
  await client.close();
  await connection.closed;
});

Deno.test("Responder keeps replies that came late until the peer reads, and loses none", async () => {
  const { client, near, connection } = respond({
    handler: async () => {
      await turn();
      return "x".repeat(1_000);
    },
    options: { maxQueuedBytes: 3_000 },
  });
  near.hold();
  const replies = Array.from({ length: 50 }, (_, i) => client.request(i));
  await turn();
  await turn();
  assertLessOrEqual(connection.stats().bytesQueued, 3_000 + 1_006);
  near.release();
  assertEquals((await Promise.all(replies)).length, 50);
  await client.close();
  await connection.closed;
});

Deno.test("Connection probes no link for reading its signal, and one that an iteration is at work for", async () => {
  using clock = new Clock(10_000);
  const [near, far] = memoryPair();
  const connection = makeConnection(near, settingsOf({}), { canProbe: true });
  const { signal } = connection;
  clock.advance(clock.period);
  assertEquals(near.writes, []);
  const client = fromDuplex(far);
  await client.send(1);
  const first = await connection[Symbol.asyncIterator]().next();
  assertEquals(first.value, 1);
  clock.advance(clock.period);
  await turn();
  assertEquals(near.writes, [new Uint8Array(0)]);
  near.cut();
  clock.advance(clock.period);
  await connection.closed;
  assert(signal.aborted);
  await client.close();
});

Deno.test("Connection probes a link that can be probed, and only while it neither reads nor writes", async () => {
  for (const canProbe of [false, true]) {
    using clock = new Clock(10_000);
    const [near, far] = memoryPair();
    const connection = makeConnection(near, settingsOf({}), { canProbe });
    const gate = Promise.withResolvers<symbol>();
    new Responder(connection, () => gate.promise, undefined, 1);
    const client = fromDuplex(far);
    await turn();
    clock.advance(clock.period);
    assertEquals(near.writes, [], "it reads");
    client.send(1);
    await turn();
    near.hold();
    connection.send("news");
    await turn();
    clock.advance(clock.period);
    assertEquals(near.writes.length, 1, "it writes");
    near.release();
    await turn();
    near.hold();
    clock.advance(clock.period);
    clock.advance(clock.period);
    const probes = canProbe ? [new Uint8Array(0)] : [];
    assertEquals(near.writes.slice(1), probes, "one at a time");
    near.release();
    await turn();
    near.cut();
    clock.advance(clock.period);
    await turn();
    assertEquals(connection.signal.aborted, canProbe);
    gate.resolve(NO_REPLY);
    await connection.closed;
    await client.close();
  }
});
