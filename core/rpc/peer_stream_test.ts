/** Streams from one peer to another. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { numbers, RawPeer, rpcPair } from "../../tests/rpc_pair.ts";
import { ConnectionClosedError } from "../connection/connection.ts";
import { delay, Now, until } from "../../tests/ledger.ts";
import { RpcError } from "./jsonrpc.ts";
import type { RpcContext, RpcStream } from "./contract.ts";
import { WINDOW_ITEMS } from "./incoming_stream.ts";
import { turn } from "../../tests/turns.ts";

interface Streams {
  count(to: number): AsyncGenerator<number, string>;
  plain(): string[];
}

/** A method that counts, and tells how far it came and how it ended. */
function counting() {
  const state = { yielded: 0, ended: 0, aborted: undefined as unknown };
  return {
    state,
    methods: {
      async *count(this: RpcContext, to: number) {
        this.signal.addEventListener("abort", () => {
          state.aborted = this.signal.reason;
        });
        try {
          for (let i = 0; i < to; i++) {
            state.yielded++;
            yield i;
          }
          return "counted";
        } finally {
          await turn();
          state.ended++;
        }
      },
      plain: () => ["a", "b"],
      echo: (value: unknown) => value,
    },
  };
}

Deno.test("a stream can be iterated over as it is called", async () => {
  const { methods, state } = counting();
  const { client, server } = rpcPair<Streams>(methods);
  assertEquals(await Array.fromAsync(client.api.count(5_000)), numbers(5_000));
  assertEquals(state.ended, 1);
  const items = client.call("count", [2])[Symbol.asyncIterator]();
  assertEquals(await items.next(), { done: false, value: 0 });
  assertEquals(await items.next(), { done: false, value: 1 });
  assertEquals(await items.next(), { done: true, value: "counted" });
  for (const peer of [client, server]) {
    assertEquals(peer.stats(), { callsOpen: 0, callsRunning: 0, strays: 0 });
  }
  await client.close();
});

Deno.test("a stream can be awaited first, and is one although nothing comes", async () => {
  const { client } = rpcPair<Streams>(counting().methods);
  const stream = await client.api.count(0);
  assertEquals(await stream.next(), { done: true, value: "counted" });
  assertEquals(await Array.fromAsync(await client.api.count(3)), [0, 1, 2]);
  await client.close();
});

Deno.test("a call that is no stream rejects where it is iterated over, before its answer and after", async () => {
  const { client } = rpcPair(counting().methods);
  const reply = client.api.plain();
  assertEquals(await reply, ["a", "b"]);
  for (const items of [client.api.plain(), reply]) {
    await assertRejects(
      () => Array.fromAsync(items),
      TypeError,
      "Cannot iterate over reply: the method answered with one value, not with",
    );
  }
  await assertRejects(
    () => Array.fromAsync(client.api.missing()),
    RpcError,
    "Method not found",
  );
  await client.close();
});

Deno.test("any generator is a stream, and an iterable that is none a result", async () => {
  let ended = 0;
  const { client } = rpcPair({
    *count(to) {
      try {
        for (let i = 0; i < Number(to); i++) yield i;
        return "done";
      } finally {
        ended++;
      }
    },
    *later() {
      yield Promise.resolve(1);
    },
    *nothing() {},
    helper: () => [1, 2].values().map((n) => 2 * n),
    *fails() {
      yield 1;
      throw new RpcError(7, "no");
    },
    set: () => new Set([1]),
  });
  assertEquals(await Array.fromAsync(client.api.count(3)), [0, 1, 2]);
  const items = client.api.count(1e9)[Symbol.asyncIterator]();
  await items.next();
  await items.return?.();
  while (ended < 2) await turn();
  assertEquals(await Array.fromAsync(client.api.later()), [1]);
  assertEquals(await Array.fromAsync(client.api.nothing()), []);
  assertEquals(await Array.fromAsync(client.api.helper()), [2, 4]);
  await assertRejects(
    () => Array.fromAsync(client.api.fails()),
    RpcError,
    "no",
  );
  assertEquals(await client.api.set(), {});
  await client.close();
});

Deno.test("leaving a stream ends the generator at the other end", async () => {
  const ways: [
    name: string,
    leave: (stream: RpcStream<number, string>) => Promise<void>,
  ][] = [
    ["break", async (stream) => {
      for await (const item of stream) if (item === 10) break;
    }],
    ["throw", async (stream) => {
      await assertRejects(async () => {
        for await (const item of stream) {
          if (item === 10) throw new Error("mine");
        }
      });
    }],
    ["return", async (stream) => {
      const items = await stream;
      await items.next();
      assertEquals(await items.return("left"), { done: true, value: "left" });
    }],
    ["dispose", async (stream) => {
      await using items = await stream;
      await items.next();
    }],
  ];
  for (const [name, leave] of ways) {
    const { methods, state } = counting();
    const { client, server } = rpcPair<Streams>(methods);
    await leave(client.api.count(1e9));
    assertEquals(client.stats().callsOpen, 0, name);
    while (state.ended === 0) await turn();
    assertEquals(state.ended, 1, name);
    assertInstanceOf(state.aborted, DOMException, name);
    assertLess(state.yielded, 3 * WINDOW_ITEMS);
    await turn();
    assertEquals(server.stats().callsRunning, 0, name);
    await client.close();
  }
});

Deno.test("a signal ends a stream at both ends", async () => {
  const { methods, state } = counting();
  const { client } = rpcPair<Streams>(methods);
  const controller = new AbortController();
  const reason = new Error("enough");
  const seen: number[] = [];
  const error = await assertRejects(async () => {
    const { signal } = controller;
    for await (const item of client.call("count", [1e9], { signal })) {
      seen.push(item);
      if (item === 99) controller.abort(reason);
    }
  });
  assertStrictEquals(error, reason);
  assertEquals(seen, numbers(100));
  while (state.ended === 0) await turn();
  await client.close();
});

Deno.test("a stream that fails throws its error behind its items", async () => {
  const errors: unknown[] = [];
  const { client } = rpcPair({
    async *rpc() {
      yield* numbers(10);
      throw new RpcError(7, "seven", [7]);
    },
    async *other() {
      yield 1;
      throw new Error("secret");
    },
    // deno-lint-ignore require-yield
    async *atOnce() {
      throw new RpcError(8, "eight");
    },
    async *unsendable() {
      yield 1;
      yield 2n;
    },
    late: () =>
      Promise.resolve({
        [Symbol.asyncIterator]() {
          throw new RpcError(9, "nine");
        },
      }),
  }, { onError: (error, method) => errors.push(method, error) });
  const cases: [method: string, items: number[], code: number][] = [
    ["rpc", numbers(10), 7],
    ["other", [1], -32603],
    ["atOnce", [], 8],
    ["unsendable", [1], -32603],
    ["late", [], 9],
  ];
  for (const [method, items, code] of cases) {
    const seen: unknown[] = [];
    const iterateHere = async () => {
      for await (const item of client.call(method)) seen.push(item);
    };
    const error = await assertRejects(iterateHere, RpcError);
    assertEquals([seen, error.code], [items, code], method);
    assert(error.stack!.includes("iterateHere"));
  }
  assertEquals([errors.length, errors[0], errors[2]], [
    4,
    "other",
    "unsendable",
  ]);
  await client.close();
});

Deno.test("a stream waits for a caller that is slow, and others do not", async () => {
  const { methods, state } = counting();
  const { client, server } = rpcPair<Streams & { echo(n: number): number }>(
    methods,
  );
  const slow = client.api.count(20_000)[Symbol.asyncIterator]();
  for (let i = 0; i < 50; i++) {
    await slow.next();
    assertEquals(await client.api.echo(i), i);
  }
  for (let i = 0; i < 10; i++) await turn();
  assertEquals(state.yielded, WINDOW_ITEMS);
  const fast = { count: 0 };
  for await (const _ of client.api.count(20_000)) fast.count++;
  assertEquals(fast.count, 20_000);
  assertEquals(server.stats().callsRunning, 1);
  let count = 50;
  while (!(await slow.next()).done) count++;
  assertEquals(count, 20_000);
  await client.close();
});

Deno.test("a stream of large items holds few of them", async () => {
  let yielded = 0;
  const { client, server } = rpcPair({
    async *large() {
      for (; yielded < 200; yielded++) yield "x".repeat(100_000);
    },
  });
  const items = client.api.large()[Symbol.asyncIterator]();
  await items.next();
  for (let i = 0; i < 20; i++) await turn();
  assertLess(yielded, 8);
  assertEquals(server.connection.stats().bytesQueued, 0);
  let count = 1;
  while (!(await items.next()).done) count++;
  assertEquals(count, 200);
  await client.close();
});

Deno.test("a hundred streams that are not read leave room for calls", async () => {
  const { methods, state } = counting();
  const { client } = rpcPair<Streams & { echo(n: number): number }>(methods);
  const streams = await Promise.all(
    numbers(99).map(() => client.api.count(1e9)),
  );
  assertEquals(await client.api.echo(1), 1);
  while (state.yielded < 99 * WINDOW_ITEMS) await turn();
  for (let i = 0; i < 10; i++) await turn();
  assertEquals(state.yielded, 99 * WINDOW_ITEMS);
  for (const stream of streams) await stream.return("left");
  while (state.ended < 99) await turn();
  await client.close();
});

Deno.test("a stream ends with the link, at both ends", async () => {
  const { methods, state } = counting();
  const { client, near } = rpcPair<Streams>(methods);
  const items = client.api.count(1e9)[Symbol.asyncIterator]();
  await items.next();
  for (let i = 0; i < 10; i++) await turn();
  near.cut();
  await assertRejects(
    async () => {
      while (!(await items.next()).done);
    },
    ConnectionClosedError,
    "Cannot receive reply: the peer reset the connection",
  );
  while (state.ended === 0) await turn();
  assertInstanceOf(state.aborted, ConnectionClosedError);
});

Deno.test("a handler can pass a stream on, and stream to the one that it calls", async () => {
  const { client } = rpcPair<{ twice(to: number): AsyncIterable<number> }>(
    {
      async *twice(this: RpcContext<Streams>, to: number) {
        for await (const item of this.api.count(to)) yield 2 * item;
      },
      passOn(this: RpcContext<Streams>, to: number) {
        return this.api.count(to);
      },
    },
    {},
    counting().methods,
  );
  assertEquals(
    await Array.fromAsync(client.api.twice(3_000)),
    numbers(3_000).map((n) => 2 * n),
  );
  const passed = client.call("passOn" as "twice", [3]);
  assertEquals(await Array.fromAsync(passed), [0, 1, 2]);
  await client.close();
});

Deno.test("a stream on the wire is notifications and one answer", async () => {
  const gate = Promise.withResolvers<void>();
  const raw = new RawPeer({
    async *count({ to }: { to: number }) {
      for (let i = 1; i <= to; i++) {
        yield i;
        if (i === 3) await gate.promise;
      }
      return "done";
    },
  });
  await raw.write(
    '{"jsonrpc":"2.0","id":1,"method":"count","params":{"to":4}}',
  );
  const messages = await raw.receive(2);
  gate.resolve();
  messages.push(...await raw.receive(2));
  assertEquals(messages.map((message) => JSON.stringify(message)), [
    '{"jsonrpc":"2.0","method":"$/stream","params":{"id":1,"items":[1]}}',
    '{"jsonrpc":"2.0","method":"$/stream","params":{"id":1,"items":[2,3]}}',
    '{"jsonrpc":"2.0","method":"$/stream","params":{"id":1,"items":[4]}}',
    '{"jsonrpc":"2.0","id":1,"result":"done"}',
  ]);
  await raw.close();
});

Deno.test("a stream goes on with the credit that a peer gives", async () => {
  const { methods, state } = counting();
  const raw = new RawPeer(methods);
  await raw.write(
    '{"jsonrpc":"2.0","id":"a","method":"count","params":[3000]}',
  );
  let items = 0;
  async function receiveItems(until: number): Promise<void> {
    while (items < until) {
      const [{ params }] = await raw.receive(1) as {
        params: { items: number[] };
      }[];
      items += params.items.length;
    }
  }
  await receiveItems(WINDOW_ITEMS);
  await turn();
  assertEquals(state.yielded, WINDOW_ITEMS);
  const credit = (id: unknown, items: unknown) => ({
    jsonrpc: "2.0",
    method: "$/credit",
    params: { id, items },
  });
  await raw.send(credit("a", -5), credit("a", "1"), credit("b", 1));
  await turn();
  assertEquals(state.yielded, WINDOW_ITEMS);
  await raw.send(credit("a", 100));
  await receiveItems(WINDOW_ITEMS + 100);
  await turn();
  assertEquals(state.yielded, WINDOW_ITEMS + 100);
  await raw.send(credit("a", 1e15));
  await receiveItems(3_000);
  assertEquals(await raw.receive(1), [
    { jsonrpc: "2.0", id: "a", result: "counted" },
  ]);
  assertEquals(raw.peer.stats().strays, 2);
  await raw.close();
});

Deno.test("a caller gives credit, and cancels", async () => {
  const raw = new RawPeer();
  const items = raw.peer.call("count", [1])[Symbol.asyncIterator]();
  await raw.receive(1);
  const stream = (id: unknown, items: unknown) => ({
    jsonrpc: "2.0",
    method: "$/stream",
    params: { id, items },
  });
  await raw.send(stream(1, numbers(600)), stream(2, [1]));
  for (let i = 0; i < 600; i++) {
    assertEquals(await items.next(), { done: false, value: i });
  }
  await items.return!();
  await raw.send(stream(1, [1]), { jsonrpc: "2.0", id: 1, result: null });
  assertEquals(await raw.receive(2), [
    { jsonrpc: "2.0", method: "$/credit", params: { id: 1, items: 600 } },
    { jsonrpc: "2.0", method: "$/cancelRequest", params: { id: 1 } },
  ]);
  await raw.exchange();
  assertEquals(raw.peer.stats().strays, 3);
  await raw.close();
});

Deno.test("a peer that sends more than there is credit for is cancelled", async () => {
  const raw = new RawPeer();
  const reply = raw.peer.call("flood");
  await raw.receive(1);
  for (let i = 0; i < 3; i++) {
    await raw.send({
      jsonrpc: "2.0",
      method: "$/stream",
      params: { id: 1, items: numbers(500) },
    });
  }
  const stream = await reply as AsyncGenerator<number>;
  assertEquals(await raw.receive(1), [
    { jsonrpc: "2.0", method: "$/cancelRequest", params: { id: 1 } },
  ]);
  await assertRejects(() => stream.next(), RangeError, "1500 items");
  assertEquals(raw.peer.stats().callsOpen, 0);
  await raw.close();
});

Deno.test("a stream may take longer than a method, but not than its caller allows", async () => {
  using now = new Now();
  const { client, server } = rpcPair(
    {
      async *ticks(this: RpcContext) {
        for (let i = 0; !this.signal.aborted; i++) {
          yield i;
          await turn();
        }
      },
    },
    { handlerTimeout: 200 },
    {},
    { timeout: 200 },
  );
  for await (const i of client.api.ticks()) {
    now.advance(20);
    await delay(5); // timers of so short a time look for what is late
    if (i === 15) break;
  }
  const error = await assertRejects(async () => {
    for await (const _ of client.call("ticks", [], { timeout: 60 })) {
      now.advance(10);
    }
  }, DOMException);
  assertEquals(error.name, "TimeoutError");
  await until(() => server.stats().callsRunning === 0, "it goes on");
  await client.close();
});
