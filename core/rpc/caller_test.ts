import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLessOrEqual,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { FrameTooLargeError, InvalidMessageError } from "../../framing.ts";
import { RawPeer, rpcPair } from "../../tests/rpc_pair.ts";
import { BackpressureError, type Link } from "../connection/connection.ts";
import { delay, Now, settled, until } from "../../tests/ledger.ts";
import { RpcError } from "./jsonrpc.ts";
import { withinMethod } from "./within.ts";
import { Caller } from "./caller.ts";
import { framingOf } from "../framing/framing.ts";
import type { RpcCallOptions, RpcContext } from "./contract.ts";
import { quiet } from "../tools/promises.ts";
import { turn } from "../../tests/turns.ts";

const MOST_OPEN = 262_144;
const NO_METHODS = { working: 0, lend() {} };

interface Request {
  id: number;
  method: string;
  params: unknown;
  timeout?: number;
}

function callerOver(
  link: object,
  limits: { timeout: number },
  clock: { now: number },
): Caller {
  const caller = new Caller({
    ...limits,
    framing: framingOf({}),
    now: () => clock.now,
    watch() {},
  });
  caller.attach(link as Link, NO_METHODS);
  return caller;
}

/** A caller, what it sends, and a clock. */
function caller(
  { timeout = 1_000 } = {},
): {
  caller: Caller;
  sent: Request[];
  aborted: Error[];
  clock: { now: number };
} {
  const sent: Request[] = [];
  const aborted: Error[] = [];
  const clock = { now: 5_000 };
  const link = {
    enqueue: (message: Request) => sent.push(message),
    room: () => undefined,
    abort: (reason: Error) => aborted.push(reason),
  };
  return {
    caller: callerOver(link, { timeout }, clock),
    sent,
    aborted,
    clock,
  };
}

function answer(id: number, result: unknown): Parameters<Caller["settle"]>[0] {
  return { jsonrpc: "2.0", id, result };
}

Deno.test("Caller gives up calls that are late, and tells the other end", async () => {
  const { caller: calls, sent, clock } = caller();
  const late = calls.call("a", [1], undefined);
  clock.now += 100;
  const later = calls.call("b", undefined, undefined);
  const short = calls.call("c", undefined, { timeout: 50 });
  const never = calls.call("d", undefined, { timeout: Infinity });
  assertEquals(sent.map(({ timeout }) => timeout), [
    undefined,
    undefined,
    50,
    undefined,
  ]);
  assertEquals(calls.earliest, 5_150);
  calls.stopLate(5_150);
  const error = await assertRejects(
    () => short,
    DOMException,
    "Cannot receive reply: timed out after 50 ms",
  );
  assertEquals(error.name, "TimeoutError");
  calls.stopLate(5_999);
  assertEquals(calls.size, 3);
  calls.stopLate(6_000);
  await assertRejects(() => late, DOMException, "1000 ms");
  calls.settle(answer(2, "in time"));
  assertEquals(await later, "in time");
  calls.stopLate(1e9);
  assertEquals([calls.size, calls.earliest], [1, Infinity]);
  assertEquals(sent.slice(4) as unknown[], [
    { jsonrpc: "2.0", method: "$/cancelRequest", params: { id: 3 } },
    { jsonrpc: "2.0", method: "$/cancelRequest", params: { id: 1 } },
  ]);
  calls.settle(answer(1, "too late"));
  calls.settle(answer(3, "too late"));
  assertEquals(calls.strays, 2);
  calls.settle(answer(4, "at last"));
  assertEquals(await never, "at last");
});

Deno.test("Caller limits how long a stream may take to begin, and all of it if that is asked for", async () => {
  const { caller: calls } = caller();
  const stream = calls.call("a", undefined, undefined)[Symbol.asyncIterator]();
  const whole = calls.call("b", undefined, { timeout: 3_000 });
  const first = stream.next();
  calls.push({ id: 1, items: ["a"] }, 1);
  calls.push({ id: 2, items: ["b"] }, 1);
  calls.stopLate(7_999);
  assertEquals(calls.size, 2);
  calls.stopLate(8_000);
  assertEquals(calls.size, 1);
  const items = whole[Symbol.asyncIterator]();
  await assertRejects(() => items.next(), DOMException, "3000 ms");
  calls.settle(answer(1, "done"));
  assertEquals(await first, { done: false, value: "a" });
  assertEquals(await stream.next(), { done: true, value: "done" });
});

Deno.test("Caller gives up a stream that is not read in time, and keeps one that is read", async () => {
  const { caller: calls, sent } = caller();
  const unread = calls.call("a", undefined, undefined);
  const late = calls.call("b", undefined, undefined);
  const read = calls.call("c", undefined, undefined);
  for (const id of [1, 2, 3]) calls.push({ id, items: [id] }, 100);
  const [first, second] = await Promise.all([read, late]) as AsyncGenerator[];
  assertEquals((await first.next()).value, 3);
  assertEquals(calls.streams.bytes, 200);
  calls.stopLate(6_000);
  assertEquals([calls.size, calls.streams.bytes], [1, 0]);
  assertEquals(
    sent.slice(3).map(({ method, params }) => [method, params]),
    [1, 2].map((id) => ["$/cancelRequest", { id }]),
  );
  await assertRejects(
    () => second.next(),
    DOMException,
    "Cannot receive reply: timed out after 1000 ms",
  );
  await assertRejects(() => Array.fromAsync(unread), DOMException);
  calls.push({ id: 3, items: [4] }, 100);
  assertEquals((await first.next()).value, 4);

  // Being read before anything comes does not make up for an answer.
  const items = calls.call("d", undefined, undefined)[Symbol.asyncIterator]();
  const step = items.next();
  calls.stopLate(6_000);
  await assertRejects(() => step, DOMException);
  assertEquals(calls.size, 1);
});

Deno.test("Caller inherits what is left, and what gives the call up", async () => {
  const { caller: calls, sent } = caller();
  const controller = new AbortController();
  const scope = { over: controller.signal, deadline: 5_400 };
  const replies = [
    calls.call("a", undefined, undefined, scope),
    calls.call("b", undefined, { timeout: 100 }, scope),
    calls.call("c", undefined, { timeout: 900 }, scope),
    calls.call("d", undefined, { timeout: Infinity }, scope),
    calls.call("e", undefined, undefined, { ...scope, deadline: Infinity }),
    calls.call("f", undefined, undefined, { ...scope, deadline: 7_000 }),
  ];
  assertEquals(sent.map(({ timeout }) => timeout), [
    400,
    100,
    400,
    400,
    undefined,
    2_000,
  ]);
  calls.stopLate(5_399);
  assertEquals(calls.size, 5);
  calls.stopLate(5_400);
  assertEquals(calls.size, 2);
  calls.stopLate(6_000);
  assertEquals(calls.size, 0);
  const results = await Promise.allSettled(replies);
  assert(results.every(({ status }) => status === "rejected"));

  const last = calls.call("g", undefined, undefined, scope);
  const reason = new Error("over");
  controller.abort(reason);
  assertStrictEquals(await last.catch((error) => error), reason);
  await assertRejects(
    () => calls.call("h", undefined, undefined, scope),
    Error,
    "over",
  );
  assertEquals(sent.filter(({ method }) => method === "h"), []);
});

Deno.test("Caller rejects with the reason of a signal, and tells the other end", async () => {
  const { caller: calls, sent } = caller();
  const controller = new AbortController();
  const { signal } = controller;
  const reason = { not: "an error" };
  const reply = calls.call("a", undefined, { signal });
  const settled = calls.call("b", undefined, { signal });
  calls.settle(answer(2, 1));
  assertEquals(await settled, 1);
  controller.abort(reason);
  assertStrictEquals(await reply.catch((error) => error), reason);
  assertStrictEquals(
    await calls.call("c", undefined, { signal }).catch((error) => error),
    reason,
  );
  assertEquals(sent.map(({ method }) => method), ["a", "b", "$/cancelRequest"]);
  assertEquals(calls.size, 0);
});

Deno.test("with() gives options to calls that have none of their own", async () => {
  const raw = new RawPeer({
    async relay() {
      return await this.with({ timeout: 100 }).api.inner();
    },
  });
  const controller = new AbortController();
  const { signal } = controller;
  const given = raw.peer.with({ signal, timeout: 9_000 });
  const first = given.api.a(1);
  const second = given.with({ timeout: 8_000 }).call("b");
  const third = given.call("c", [], { timeout: 7_000 });
  raw.peer.call("d").catch(() => {});
  const sent = await raw.receive(4) as Request[];
  assertEquals(sent.map(({ method, timeout }) => [method, timeout]), [
    ["a", 9_000],
    ["b", 8_000],
    ["c", 7_000],
    ["d", undefined],
  ]);
  controller.abort(new Error("enough"));
  for (const call of [first, second, third]) {
    await assertRejects(() => call, Error, "enough");
  }
  for (const options of [{ timeout: 0 }, { timeOut: 1 }, 1]) {
    assertThrows(() => raw.peer.with(options as object));
  }
  await raw.receive(3); // of $/cancelRequest
  await raw.send({ jsonrpc: "2.0", id: 1, method: "relay" });
  const [inner] = await raw.receive(1) as Request[];
  assertLessOrEqual(inner.timeout!, 100);
  await raw.close();
});

Deno.test("Caller listens to a signal no longer than its call is open", async () => {
  const { caller: calls } = caller();
  const { signal } = new AbortController();
  let listeners = 0;
  signal.addEventListener = () => listeners++;
  signal.removeEventListener = () => listeners--;
  const replies = [1, 2, 3, 4].map(() => calls.call("a", [], { signal }));
  const stream = calls.call("b", [], { signal })[Symbol.asyncIterator]();
  // One for all: the more there are, the longer it takes to add one.
  assertEquals(listeners, 1);
  calls.settle(answer(1, 1));
  calls.settle({ jsonrpc: "2.0", id: 2, error: { code: 1, message: "" } });
  await stream.return!();
  assertEquals(listeners, 1);
  calls.stopLate(Infinity);
  assertEquals(listeners, 0);
  const again = calls.call("a", [], { signal });
  assertEquals(listeners, 1);
  calls.settle(answer(6, 1));
  assertEquals(listeners, 0);
  replies.push(again);
  await Promise.allSettled(replies);
});

Deno.test("Caller gives credit when there is room for it", async () => {
  const room = Promise.withResolvers<void>();
  const sent: unknown[] = [];
  let isFull = false;
  const calls = callerOver(
    {
      enqueue(message: unknown) {
        if (isFull) throw new BackpressureError(2, 1);
        return sent.push(message);
      },
      room: () => room.promise,
    },
    { timeout: 1_000 },
    { now: 0 },
  );
  const items = calls.call("a", undefined, undefined)[Symbol.asyncIterator]();
  isFull = true;
  calls.push({ id: 1, items: Array(600).fill(0) }, 600);
  for (let i = 0; i < 600; i++) await items.next();
  assertEquals(sent.length, 1);
  isFull = false;
  room.resolve();
  await turn();
  assertEquals(sent.slice(1), [
    { jsonrpc: "2.0", method: "$/credit", params: { id: 1, items: 600 } },
  ]);
});

Deno.test("Caller drops what comes for calls that it has not, and keeps nothing of it", () => {
  const { caller: calls } = caller();
  for (let id = 1; id <= 10_000; id++) {
    calls.settle(answer(id, "stray"));
    calls.push({ id, items: [1] }, 1);
  }
  calls.settle({ jsonrpc: "2.0", id: null, error: { code: 1, message: "" } });
  assertEquals([calls.size, calls.strays], [0, 20_001]);
});

Deno.test("Caller cuts a peer off that answers more than 262 144 calls which were never made", async () => {
  const { caller: calls, aborted } = caller();
  const late = calls.call("a", [], { timeout: 1 });
  calls.stopLate(Infinity);
  await assertRejects(() => late, DOMException);
  // A late answer is none of those.
  for (let id = 1; id <= MOST_OPEN + 1; id++) calls.settle(answer(id, "stray"));
  assertEquals(aborted, []);
  calls.settle(answer(1, "stray"));
  assertEquals(aborted.map(({ message }) => message), [
    "Cannot receive reply: 262145 came for calls that were never made, limit is 262144",
  ]);
});

Deno.test("Caller gives each of 100 000 calls an id of its own", () => {
  const { caller: calls, sent } = caller();
  const ids = new Set<number>();
  for (let i = 0; i < 100_000; i++) {
    calls.call("a", undefined, undefined);
    const { id } = sent.pop()!;
    ids.add(id);
    calls.settle(answer(id, null));
  }
  assertEquals([ids.size, calls.size, calls.strays], [100_000, 0, 0]);
});

/** A caller over a link that takes anything, and what it sends. */
function callerOverText(reach?: () => void): {
  caller: Caller;
  sent: Request[];
  link: Link;
  clock: { now: number };
} {
  const sent: Request[] = [];
  const clock = { now: 0 };
  const link = {
    enqueue(message: { text?: string }) {
      const text = message.text ?? JSON.stringify(message);
      sent.push(JSON.parse(text));
      return text.length;
    },
    room: () => undefined,
    noReply: (what: string) => new Error(`Cannot ${what}`),
  } as unknown as Link;
  const caller = new Caller({
    timeout: 1_000,
    framing: framingOf({}),
    now: () => clock.now,
    watch() {},
    reach,
  });
  caller.attach(link, NO_METHODS);
  return { caller, sent, link, clock };
}

Deno.test("Caller frees the window of a call that is given up when the other end is told", async () => {
  const { caller: calls, sent, link, clock } = callerOverText();
  const large = ["x".repeat(300_000)];
  const late = quiet(calls.call("late", large, { timeout: 10 }));
  const waits = quiet(calls.call("waits", undefined));
  assertEquals(sent.map(({ method }) => method), ["late"]);
  // The link takes nothing, as a ping finds out before anything else.
  const room = Promise.withResolvers<void>();
  const { enqueue } = link;
  link.enqueue = () => {
    throw new BackpressureError(2, 1, "bytes");
  };
  link.room = () => room.promise;
  const ping = quiet(calls.call("rpc.ping", undefined));
  calls.stopLate(clock.now = 10);
  await assertRejects(() => late, DOMException);
  link.enqueue = enqueue;
  room.resolve();
  await turn();
  assertEquals(
    sent.map(({ method }) => method),
    ["late", "rpc.ping", "$/cancelRequest", "waits"],
  );
  for (const { id } of sent.slice(1)) {
    if (id !== undefined) calls.settle(answer(id, null));
  }
  assertEquals([await ping, await waits, calls.sent], [null, null, 0]);
});

const NO_SUCH_METHOD = { code: -32601, message: "Method not found" };
const OUTCOMES: Record<
  string,
  [isKnown: boolean, end: (caller: Caller, id: number) => void]
> = {
  "is answered": [true, (caller, id) => caller.settle(answer(id, null))],
  "is refused as a call too many": [
    true,
    (caller, id) =>
      caller.settle({
        jsonrpc: "2.0",
        id,
        error: { code: -32000, message: "Too many calls" },
      }),
  ],
  "is not known": [
    false,
    (caller, id) =>
      caller.settle({ jsonrpc: "2.0", id, error: NO_SUCH_METHOD }),
  ],
  "is late": [false, (caller) => caller.stopLate(1_000)],
};

for (const [name, [isKnown, end]] of Object.entries(OUTCOMES)) {
  Deno.test(
    `Caller ${
      isKnown ? "has notifications wait again" : "lets all notifications pass"
    } where rpc.sync ${name}`,
    async () => {
      const { caller: calls, sent } = callerOverText();
      const text = ["x".repeat(64_000)];
      for (let i = 0; i < 20; i++) calls.notify("note", text);
      const fences = () => sent.filter(({ method }) => method === "rpc.sync");
      const notes = () => sent.filter(({ method }) => method === "note").length;
      assertEquals([fences().length, notes()], [1, 5]);
      assertEquals(calls.size, 15); // without the call of rpc.sync
      end(calls, fences()[0].id);
      await turn();
      if (!isKnown) assertEquals([fences().length, notes()], [1, 20]);
      while (notes() < 20) {
        calls.settle(answer(fences().at(-1)!.id, null));
        await turn();
      }
      for (let i = 0; i < 20; i++) calls.notify("note", text);
      assertEquals(fences().length > 1, isKnown);
      assertEquals(notes() < 40, isKnown);
      assertEquals(calls.size, isKnown ? 40 - notes() : 0);
    },
  );
}

for (const reach of [undefined, () => {}]) {
  for (const isFull of [false, true]) {
    Deno.test(
      `Caller settles a call whose parameters end the link as they are encoded${
        reach === undefined ? "" : ", where there may be another link"
      }${isFull ? ", and a notification that waits" : ""}`,
      async () => {
        const { caller: calls, link } = callerOverText(reach);
        const filler = quiet(
          calls.call("fill", ["x".repeat(300_000)], undefined),
        );
        if (!isFull) calls.settle(answer(1, null));
        const params = [{
          toJSON: () => calls.end(link, { clean: true }),
        }];
        const ending = isFull
          ? calls.notify("ends", params)
          : calls.call("ends", params, undefined);
        if (isFull && reach !== undefined) {
          assertEquals(calls.size, 1); // it waits for the next link
          return;
        }
        await assertRejects(() => ending, Error, "Cannot receive reply");
        if (isFull) await assertRejects(() => filler);
        assertEquals([calls.size, calls.sent], [0, 0]);
      },
    );
  }
}

Deno.test("Caller has no more than 262 144 calls open, and some more that methods make", async () => {
  const { caller: calls } = caller();
  for (let i = 0; i < MOST_OPEN; i++) calls.call("outer", undefined);
  await assertRejects(
    () => calls.call("outer", undefined),
    BackpressureError,
    "Cannot call: 262144 calls are open, limit is 262144",
  );
  const inner = withinMethod(() => calls.call("inner", undefined));
  assertEquals(calls.size, MOST_OPEN + 1);
  calls.settle(answer(MOST_OPEN + 2, "done"));
  assertEquals(await inner, "done");
});

Deno.test("Caller rejects a call whose answer is not a response, and does not answer it", async () => {
  const raw = new RawPeer();
  for (const [i, response] of [{}, { method: null }, { error: 1 }].entries()) {
    const call = raw.peer.call("a");
    const [{ id }] = await raw.receive(1) as Request[];
    assertEquals(id, i + 1);
    const answer = JSON.stringify({ jsonrpc: "2.0", id, ...response });
    assertEquals(await raw.exchange(answer), []);
    await assertRejects(
      () => call,
      InvalidMessageError,
      "Cannot receive reply: it is not a JSON-RPC 2.0 response",
    );
  }
  await raw.close();
});

Deno.test("Caller takes an error without an id for the answer to the only call, and otherwise tells of it", async () => {
  const errors: unknown[][] = [];
  const raw = new RawPeer({}, {
    onError: (error, method) => errors.push([(error as RpcError).code, method]),
  });
  const error = { code: -32600, message: "Invalid Request" };
  const unclaimed = JSON.stringify({ jsonrpc: "2.0", id: null, error });
  const nameless = JSON.stringify({ jsonrpc: "2.0", error });
  for (const response of [unclaimed, nameless, `[${nameless}]`]) {
    const only = raw.peer.call("a");
    await raw.receive(1);
    await raw.exchange(response);
    const rejected = await assertRejects(() => only, RpcError, error.message);
    assertEquals([rejected.code, rejected.isReceived], [-32600, true]);
  }
  assertEquals(errors, []);

  const others = [raw.peer.call("b"), raw.peer.call("c")];
  const requests = await raw.receive(2) as Request[];
  await raw.exchange(nameless);
  for (const { id } of requests) await raw.send(answer(id, "answered"));
  assertEquals(await Promise.all(others), ["answered", "answered"]);
  await raw.exchange(unclaimed, '{"jsonrpc":"2.0","id":null,"error":1}');
  assertEquals(errors, [[-32600, undefined], [-32600, undefined]]);

  // A stream has begun, so it was read.
  const stream = raw.peer.call("d")[Symbol.asyncIterator]();
  const [{ id }] = await raw.receive(1) as Request[];
  const items = {
    jsonrpc: "2.0",
    method: "$/stream",
    params: { id, items: [1] },
  };
  await raw.exchange(JSON.stringify(items), unclaimed);
  assertEquals(await stream.next(), { done: false, value: 1 });
  await raw.send(answer(id, "done"));
  assertEquals(await stream.next(), { done: true, value: "done" });
  assertEquals(errors.length, 3);
  await raw.close();
});

Deno.test("Caller fails its only call for what is no message, and nothing is answered to that", async () => {
  for (const payload of ["{", "1", '{"echo":1}', '{"id":null}']) {
    const raw = new RawPeer();
    const call = raw.peer.call("a");
    await raw.receive(1);
    assertEquals(await raw.exchange(payload), [], payload);
    await assertRejects(() => call, InvalidMessageError);
    await raw.close();
  }
});

Deno.test("Caller settles a call once", async () => {
  const { caller: calls } = caller();
  const reply = calls.call("a", undefined, undefined);
  calls.settle(answer(1, "first"));
  calls.settle(answer(1, "second"));
  calls.settle({
    ...answer(1, undefined),
    id: "1",
    error: { code: 1, message: "" },
  });
  assertEquals(await reply, "first");
  assertEquals(calls.strays, 2);
});

Deno.test("Caller rejects with the peer's error, or says that there is no answer", async () => {
  const { caller: calls } = caller();
  const cases: [response: object, name: string, text: string][] = [
    [
      { jsonrpc: "2.0", error: { code: 7, message: "seven", data: [7] } },
      "RpcError",
      "seven",
    ],
    [{ result: 1 }, "InvalidMessageError", "not a JSON-RPC 2.0 response"],
    [
      { jsonrpc: "2.0", error: "no" },
      "InvalidMessageError",
      "not a JSON-RPC 2.0",
    ],
    [
      { jsonrpc: "2.0", result: 1, error: {} },
      "InvalidMessageError",
      "not a JSON",
    ],
  ];
  for (const [i, [response, name, text]] of cases.entries()) {
    const callFromHere = async () =>
      await calls.call("a", undefined, undefined);
    const reply = callFromHere();
    calls.settle({ ...response, id: i + 1 } as never);
    const error: unknown = await reply.catch((error) => error);
    assertInstanceOf(error, Error);
    assertEquals(error.name, name);
    assert(error.message.includes(text));
    assert(error.stack!.includes("callFromHere"));
  }
  assertEquals(calls.size, 0);
});

Deno.test("Caller takes an answer that time is over for what its own clock is about to say", async () => {
  const { caller: calls, clock } = caller();
  const replies = [10, 11].map((left) =>
    calls.call("a", undefined, { timeout: 500 + left })
  );
  clock.now += 500;
  const error = { code: -32001, message: "Request timed out" };
  calls.settle({ jsonrpc: "2.0", id: 1, error });
  calls.settle({ jsonrpc: "2.0", id: 2, error });
  await assertRejects(() => replies[0], DOMException, "timed out after 510 ms");
  await assertRejects(() => replies[1], RpcError, "Request timed out");
});

Deno.test("Caller rejects what cannot be called, and sends nothing", async () => {
  const { caller: calls, sent } = caller();
  const cases: [params: unknown, options: unknown, text: string][] = [
    [1, undefined, "its parameters are 1, expected an array or an object"],
    [null, undefined, "its parameters are null"],
    [
      new Date(),
      undefined,
      "its parameters are a Date, expected an array or an object",
    ],
    [new Map([["a", 1]]), undefined, "its parameters are a Map"],
    [Promise.resolve({}), undefined, "its parameters are a promise"],
    [new Error("secret"), undefined, "its parameters are an Error"],
    [new String("ab"), undefined, "its parameters are a String"],
    [() => [], undefined, "its parameters are a function"],
    [{ toJSON: () => "a" }, undefined, "its parameters are an object"],
    [[], { timeout: 0 }, 'option "timeout": received 0'],
    [[], { timeout: "1" }, 'option "timeout": received "1"'],
    [[], { timeOut: 1 }, 'option "timeOut": it does not exist'],
  ];
  for (const [params, options, text] of cases) {
    const error = await calls.call("a", params as object, options as object)
      .catch((error) => error);
    assert(error instanceof TypeError || error instanceof RangeError);
    assert(error.message.includes(text), error.message);
  }
  await assertRejects(() => calls.notify("a", 1 as never), TypeError, "are 1,");
  assertEquals([calls.size, sent.length], [0, 0]);
});

Deno.test("Caller sends what JSON makes an object of", () => {
  const { caller: calls, sent } = caller();
  class Point {
    readonly x = 1;
    get length() {
      return 1;
    }
  }
  const rows: [params: object, json: string][] = [
    [new Point(), '{"x":1}'],
    [Object.assign(Object.create(null), { a: 1 }), '{"a":1}'],
    [{}, "{}"],
    [{ toJSON: () => ({ b: 2 }) }, '{"b":2}'],
    [{ toJSON: () => [3] }, "[3]"],
  ];
  for (const [params, json] of rows) {
    calls.call("a", params, undefined);
    assertEquals(JSON.stringify(sent.pop()!.params), json);
    calls.notify("a", params);
    assertEquals(JSON.stringify(sent.pop()!.params), json);
  }
});

Deno.test("RpcPeer rejects what JSON cannot carry, and goes on", async () => {
  const { client, far } = rpcPair({ echo: (value) => value });
  const options: RpcCallOptions = { timeout: 50 };
  await assertRejects(() => client.api.echo(1n), InvalidMessageError);
  await assertRejects(
    () => client.call("echo", [1n], options),
    InvalidMessageError,
  );
  await assertRejects(() => client.notify("echo", [1n]), InvalidMessageError);
  await assertRejects(
    () => client.api.echo("x".repeat(2_000_000)),
    FrameTooLargeError,
  );
  assertEquals(far.writes, []);
  assertEquals(await client.api.echo(1), 1);
  assertEquals(client.stats().callsOpen, 0);
  await client.close();
});

Deno.test("RpcPeer's calls end in time, both here and there", async () => {
  using now = new Now();
  let aborted: unknown;
  let left = Infinity;
  const { client, server } = rpcPair({
    async never(this: RpcContext) {
      assertLessOrEqual(this.timeLeft, 60_000);
      assertGreaterOrEqual(this.timeLeft, 1);
      await new Promise((_, reject) =>
        this.signal.addEventListener("abort", () => {
          aborted = this.signal.reason;
          left = this.timeLeft;
          reject(aborted);
        })
      );
    },
  });
  const late = client.call("never", [], { timeout: 30 })
    .catch((error) => error);
  await until(() => server.stats().callsRunning === 1, "it does not run");
  now.advance(29);
  assertEquals(await Promise.race([late, delay(40)]), undefined);
  now.advance(2);
  const error = await settled(late, "it does not end");
  assertInstanceOf(error, DOMException);
  assertEquals(error.name, "TimeoutError");
  await until(() => server.stats().callsRunning === 0, "it goes on");
  assertInstanceOf(aborted, DOMException);
  // The caller's clock began earlier, so its cancellation may be the first.
  assertLessOrEqual(left, 30);
  assertEquals(server.stats().callsOpen, 0);
  assertEquals(client.stats().callsOpen, 0);
  await client.close();
});

Deno.test("RpcPeer looks for calls that are late as often as it has to", async () => {
  const raw = new RawPeer();
  const timer = setTimeout(() => {}, 60_000);
  const start = performance.now();
  const replies = [60, 20, 40].map(async (timeout) => {
    await assertRejects(() => raw.peer.call("a", [], { timeout }));
    return performance.now() - start >= timeout - 1;
  });
  assertEquals(await Promise.all(replies), [true, true, true]);
  clearTimeout(timer);
  await raw.close();
});

Deno.test("RpcPeer's calls within a call are told how long is left", async () => {
  using _now = new Now();
  const raw = new RawPeer({
    async outer(this: RpcContext, timeout) {
      return await this.call("inner", [], { timeout: Number(timeout) });
    },
  });
  await raw.send(
    { jsonrpc: "2.0", id: 1, method: "outer", params: [9_999], timeout: 500 },
    { jsonrpc: "2.0", id: 2, method: "outer", params: [100], timeout: 500 },
    { jsonrpc: "2.0", id: 3, method: "outer", params: [9_999], timeout: "no" },
    { jsonrpc: "2.0", id: 4, method: "outer", params: [99_999], timeout: -1 },
  );
  const timeouts = (await raw.receive(4) as Request[]).map(({ timeout }) =>
    timeout!
  );
  assertEquals(timeouts[0], 500);
  assertEquals(timeouts[1], 100);
  assertEquals(timeouts[2], 9_999);
  assert(timeouts[3] <= 60_000 && timeouts[3] > 59_000, `${timeouts}`);
  await raw.close();
});

Deno.test("RpcPeer's calls within a call are given up with it", async () => {
  const raw = new RawPeer({
    async outer(this: RpcContext) {
      return await this.api.inner();
    },
  });
  await raw.send({ jsonrpc: "2.0", id: "a", method: "outer" });
  const [inner] = await raw.receive(1) as Request[];
  await raw.send({
    jsonrpc: "2.0",
    method: "$/cancelRequest",
    params: { id: "a" },
  });
  assertEquals(await raw.receive(2), [
    {
      jsonrpc: "2.0",
      id: "a",
      error: { code: -32800, message: "Request cancelled" },
    },
    { jsonrpc: "2.0", method: "$/cancelRequest", params: { id: inner.id } },
  ]);
  await raw.close();
});

Deno.test("RpcPeer tells the other end which calls it gives up by closing", async () => {
  const raw = new RawPeer();
  const reply = raw.peer.call("never").catch((error) => error);
  await raw.receive(1);
  await raw.peer.close();
  await reply;
  assertEquals(await raw.receive(1), [
    { jsonrpc: "2.0", method: "$/cancelRequest", params: { id: 1 } },
  ]);
  await raw.close();
});
