import process from "node:process";
import { inspect } from "node:util";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { awake, failure, RawPeer, rpcPair } from "../../tests/rpc_pair.ts";
import {
  ConnectionClosedError,
  fromDuplex,
  linkOf,
} from "../connection/connection.ts";
import { RpcError } from "./jsonrpc.ts";
import type { RpcContext, RpcUntyped } from "./contract.ts";
import { makePeer } from "./peer.ts";
import { type RpcOptions, RpcSettings } from "./options.ts";
import { memoryPair } from "../../tests/memory_pair.ts";
import { turn } from "../../tests/turns.ts";

/** The methods of the specification's examples. */
const EXAMPLES = {
  subtract: (
    a: number | { minuend: number; subtrahend: number },
    b: number,
  ) => typeof a === "object" ? a.minuend - a.subtrahend : a - b,
  sum: (...numbers: number[]) => numbers.reduce((a, b) => a + b),
  notify_hello() {},
  notify_sum() {},
  update() {},
  get_data: () => ["hello", 5],
};

/** Section 7 of the specification: what is sent, and what comes back. */
const SPECIFICATION: [name: string, sent: string, received: string][] = [
  [
    "positional parameters",
    '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
    '{"jsonrpc": "2.0", "result": 19, "id": 1}',
  ],
  [
    "positional parameters, the other way around",
    '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
    '{"jsonrpc": "2.0", "result": -19, "id": 2}',
  ],
  [
    "named parameters",
    '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
    '{"jsonrpc": "2.0", "result": 19, "id": 3}',
  ],
  [
    "named parameters in another order",
    '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
    '{"jsonrpc": "2.0", "result": 19, "id": 4}',
  ],
  [
    "a notification",
    '{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}',
    "",
  ],
  [
    "a notification of a method that does not exist",
    '{"jsonrpc": "2.0", "method": "foobar"}',
    "",
  ],
  [
    "a method that does not exist",
    '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
    '{"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "1"}',
  ],
  [
    "invalid JSON",
    '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
    '{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}',
  ],
  [
    "an invalid request",
    '{"jsonrpc": "2.0", "method": 1, "params": "bar"}',
    '{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}',
  ],
  [
    "a batch, invalid JSON",
    '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"]',
    '{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}',
  ],
  [
    "an empty batch",
    "[]",
    '{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}',
  ],
  [
    "an invalid batch that is not empty",
    "[1]",
    '[{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}]',
  ],
  [
    "an invalid batch",
    "[1,2,3]",
    '[{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}]',
  ],
  [
    "a batch",
    '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},{"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},{"foo": "boo"},{"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},{"jsonrpc": "2.0", "method": "get_data", "id": "9"}]',
    '[{"jsonrpc": "2.0", "result": 7, "id": "1"},{"jsonrpc": "2.0", "result": 19, "id": "2"},{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},{"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "5"},{"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}]',
  ],
  [
    "a batch of notifications",
    '[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]',
    "",
  ],
];

Deno.test("RpcPeer answers the specification's examples as it says", async () => {
  const raw = new RawPeer(EXAMPLES);
  for (const [name, sent, received] of SPECIFICATION) {
    assertEquals(
      await raw.exchange(sent),
      received === "" ? [] : [JSON.parse(received)],
      name,
    );
  }
  await raw.close();
});

Deno.test("RpcPeer sends the specification's examples, and takes their answers", async () => {
  const raw = new RawPeer();
  for (const [name, sent, received] of SPECIFICATION.slice(0, 7)) {
    const { method, params, id } = JSON.parse(sent);
    if (id === undefined) {
      await raw.peer.notify(method, params);
      assertEquals(await raw.receive(1), [JSON.parse(sent)], name);
      continue;
    }
    const reply = raw.peer.call(method, params).catch((error) => error);
    const [request] = await raw.receive(1) as { id: number }[];
    assertEquals(request, { ...JSON.parse(sent), id: request.id }, name);
    const answer = JSON.parse(received);
    await raw.send({ ...answer, id: request.id });
    const result = await reply;
    if (answer.error === undefined) assertEquals(result, answer.result);
    else {
      assertInstanceOf(result, RpcError);
      assertEquals([result.code, result.message], [-32601, "Method not found"]);
    }
  }
  await raw.close();
});

Deno.test("RpcPeer takes answers that come together, in any order", async () => {
  const raw = new RawPeer();
  const replies = [1, 2, 3].map((n) => raw.peer.call("double", [n]));
  const requests = await raw.receive(3) as { id: number; params: number[] }[];
  await raw.send(
    requests.toReversed().map(({ id, params: [n] }) => (
      { jsonrpc: "2.0", id, result: 2 * n }
    )),
  );
  assertEquals(await Promise.all(replies), [2, 4, 6]);
  await raw.close();
});

Deno.test("RpcPeer answers what is no request with what is wrong, and goes on", async () => {
  const raw = new RawPeer(EXAMPLES);
  const invalid = (id: unknown) => [failure(id, -32600, "Invalid Request")];
  const notFound = [failure(1, -32601, "Method not found")];
  const cases: [sent: string, received: unknown[]][] = [
    ["", [failure(null, -32700, "Parse error")]],
    [" ", [failure(null, -32700, "Parse error")]],
    ["[".repeat(200), [failure(null, -32700, "Parse error")]],
    ["[".repeat(200) + "]".repeat(200), [failure(null, -32700, "Parse error")]],
    ["1", invalid(null)],
    ["null", invalid(null)],
    ['"a"', invalid(null)],
    ["{}", invalid(null)],
    ["[[]]", [invalid(null)]],
    ["[[1]]", [invalid(null)]],
    ['{"jsonrpc":"1.0","id":1,"method":"sum"}', invalid(1)],
    ['{"id":"a","method":"sum"}', invalid("a")],
    ['{"jsonrpc":"2.0","id":null,"method":"sum"}', invalid(null)],
    ['{"jsonrpc":"2.0","id":{"a":1},"method":"sum"}', invalid(null)],
    ['{"jsonrpc":"2.0","id":[1],"method":"sum"}', invalid(null)],
    ['{"jsonrpc":"2.0","id":0.5,"method":"sum"}', invalid(null)],
    ['{"jsonrpc":"2.0","id":9007199254740993,"method":"sum"}', invalid(null)],
    ['{"jsonrpc":"2.0","id":1e400,"method":"sum"}', invalid(null)],
    ['{"jsonrpc":"2.0","id":true,"method":"sum"}', invalid(null)],
    ['{"jsonrpc":"2.0","id":1,"method":{}}', invalid(1)],
    ['{"jsonrpc":"2.0","id":1,"method":"sum","params":1}', invalid(1)],
    ['{"jsonrpc":"2.0","id":1,"method":"sum","params":"a"}', invalid(1)],
    [
      '{"jsonrpc":"2.0","id":1,"method":"update","params":null}',
      [{ jsonrpc: "2.0", id: 1, result: null }],
    ],
    ['{"jsonrpc":"2.0","id":1,"method":""}', notFound],
    ['{"jsonrpc":"2.0","id":1,"method":"constructor"}', notFound],
    ['{"jsonrpc":"2.0","id":1,"method":"__proto__"}', notFound],
    ['{"jsonrpc":"2.0","id":1,"method":"toString"}', notFound],
    ['{"jsonrpc":"2.0","id":1,"method":"valueOf"}', notFound],
    ['{"jsonrpc":"2.0","id":1,"method":"then"}', notFound],
    ['{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}', notFound],
    ['{"jsonrpc":"2.0","id":1,"method":"rpc.anything"}', notFound],
    ['{"jsonrpc":"2.0","id":1,"method":"$/cancelRequest"}', notFound],
    ['{"jsonrpc":"2.0","id":1,"method":"$/anything"}', notFound],
    ['[{"jsonrpc":"2.0","id":1,"method":"$/stream"}]', [notFound]],
    // What is about calls and makes no sense is counted, and not answered.
    ['{"jsonrpc":"2.0","method":"$/anything"}', []],
    ['{"jsonrpc":"2.0","method":"$/cancelRequest"}', []],
    ['{"jsonrpc":"2.0","method":"$/cancelRequest","params":[1]}', []],
    ['{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":{}}}', []],
    ['{"jsonrpc":"2.0","method":"$/credit","params":{"id":1,"items":1}}', []],
    ['{"jsonrpc":"2.0","method":"$/credit"}', []],
    ['{"jsonrpc":"2.0","method":"$/stream"}', []],
    ['{"jsonrpc":"2.0","method":"$/stream","params":{"id":1,"items":1}}', []],
    ['[{"jsonrpc":"2.0","method":"$/stream"}]', []],
    ['{"jsonrpc":"2.0","id":1,"result":1}', []],
    ['{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":""}}', []],
    ['[{"jsonrpc":"2.0","id":1,"result":1}]', []],
    // An own property of the message, and no method of ours.
    ['{"jsonrpc":"2.0","id":1,"method":"sum","params":[1],"__proto__":{}}', [
      { jsonrpc: "2.0", id: 1, result: 1 },
    ]],
  ];
  for (const [sent, received] of cases) {
    assertEquals(await raw.exchange(sent), received, sent.slice(0, 80));
  }
  // Not UTF-8.
  await raw.far.write(Uint8Array.of(0, 0, 0, 3, 0x22, 0xff, 0x22));
  assertEquals(await raw.receive(1), [failure(null, -32700, "Parse error")]);
  assertEquals(raw.peer.stats(), { callsOpen: 0, callsRunning: 0, strays: 11 });
  await raw.close();
});

Deno.test("RpcPeer answers what is no request once, until a request comes", async () => {
  const raw = new RawPeer(EXAMPLES);
  const invalid = failure(null, -32600, "Invalid Request");
  const garbage = ["1", "{", "[]", "{}", "[1,2]"];
  assertEquals(await raw.exchange(...garbage), [invalid]);
  assertEquals(await raw.exchange(...garbage.toReversed()), [[
    invalid,
    invalid,
  ]]);
  const wrong = '{"jsonrpc":"1.0","id":1,"method":"sum"}';
  assertEquals(
    await raw.exchange(wrong, wrong),
    [1, 1].map((id) => failure(id, -32600, "Invalid Request")),
  );
  await raw.close();
});

Deno.test("RpcPeer answers a batch that is too long with one error", async () => {
  const raw = new RawPeer(EXAMPLES);
  const call = '{"jsonrpc":"2.0","id":1,"method":"get_data"}';
  const calls = Array(100).fill(call);
  const [one] = await raw.exchange(`[${calls.join()}]`);
  assertEquals((one as unknown[]).length, 100);
  for (
    const bomb of [
      `[${[...calls, call].join()}]`,
      `[${"1,".repeat(500_000)}1]`,
    ]
  ) {
    assertEquals(await raw.exchange(bomb), [
      failure(null, -32600, "Invalid Request"),
    ]);
  }
  await raw.close();
});

Deno.test("RpcPeer answers a batch when its last method is done", async () => {
  const gate = Promise.withResolvers<string>();
  const raw = new RawPeer({
    slow: () => gate.promise,
    fast: () => "fast",
    async *stream() {
      yield 1;
      return "streamed";
    },
  });
  await raw.send([
    { jsonrpc: "2.0", id: 1, method: "slow" },
    { jsonrpc: "2.0", id: 2, method: "fast" },
    { jsonrpc: "2.0", id: 3, method: "stream" },
    { jsonrpc: "2.0", method: "slow" },
  ]);
  assertEquals(await raw.receive(1), [
    { jsonrpc: "2.0", method: "$/stream", params: { id: 3, items: [1] } },
  ]);
  await turn();
  gate.resolve("slow");
  assertEquals(await raw.receive(1), [[
    { jsonrpc: "2.0", id: 2, result: "fast" },
    { jsonrpc: "2.0", id: 3, result: "streamed" },
    { jsonrpc: "2.0", id: 1, result: "slow" },
  ]]);
  await raw.close();
});

Deno.test("RpcPeer calls in both directions at the same time", async () => {
  const { client, server } = rpcPair<{ ask(n: number): number }>(
    {
      async ask(this: RpcContext, n: unknown) {
        return Number(await this.call("answer", [n])) + 1;
      },
    },
    {},
    { answer: (n) => Number(n) * 10 },
  );
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, n) => client.api.ask(n)),
  );
  assertEquals(answers, Array.from({ length: 200 }, (_, n) => 10 * n + 1));
  assertEquals(await server.api.answer(5), 50);
  await assertRejects(() => server.api.ask(5), RpcError, "Method not found");
  assertEquals(client.stats(), { callsOpen: 0, callsRunning: 0, strays: 0 });
  await client.close();
});

Deno.test("RpcPeer lets peers that call each other go deep", async () => {
  interface Deep {
    down(n: number): number;
  }
  async function down(this: RpcContext<Deep>, n: unknown): Promise<number> {
    return Number(n) === 0 ? 0 : 1 + await this.api.down(Number(n) - 1);
  }
  const { client } = rpcPair<Deep>({ down }, {}, { down });
  assertEquals(await client.api.down(90), 90);
  await client.close();
});

Deno.test("RpcPeer rejects a chain of calls that is too deep", async () => {
  const options: RpcOptions = { maxInFlight: 10, handlerTimeout: 20 };
  async function down(this: RpcContext): Promise<unknown> {
    return await this.call("down");
  }
  const { client, server } = rpcPair({ down }, options, { down }, options);
  using _ = awake();
  const error = await assertRejects(() => client.call("down"), RpcError);
  assertEquals(error.code, -32001);
  while (client.stats().callsOpen + server.stats().callsOpen > 0) await turn();
  await client.close();
});

Deno.test("RpcPeer waits for deadlines that are weeks away", async () => {
  const warnings: unknown[] = [];
  const warn = (warning: unknown) => warnings.push(warning);
  process.on("warning", warn);
  const raw = new RawPeer({
    wait: () => new Promise(() => {}),
  }, { handlerTimeout: Infinity });
  const call = { jsonrpc: "2.0", id: 1, method: "wait", timeout: 3e9 };
  assertEquals(await raw.exchange(JSON.stringify(call)), []);
  for (let i = 0; i < 5; i++) await turn();
  assertEquals(warnings, []);
  process.off("warning", warn);
  await raw.close();
});

Deno.test("RpcPeer never uses an id twice", async () => {
  const raw = new RawPeer();
  const ids = new Set<number>();
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 100; i++) raw.peer.call("a").catch(() => {});
    for (const request of await raw.receive(100)) {
      const { id } = request as { id: number };
      assert(Number.isSafeInteger(id));
      ids.add(id);
      await raw.send({ jsonrpc: "2.0", id, result: null });
    }
  }
  assertEquals(ids.size, 1_000);
  await raw.close();
});

Deno.test("RpcPeer rejects everything once when the link is cut, with the caller's stack", async () => {
  const raw = new RawPeer();
  let rejections = 0;
  async function callFromHere(): Promise<void> {
    try {
      await raw.peer.call("never");
    } catch (error) {
      rejections++;
      throw error;
    }
  }
  const replies = Array.from({ length: 2_000 }, callFromHere);
  const settled = Promise.allSettled(replies);
  await turn();
  assertEquals(raw.peer.stats().callsOpen, 2_000);
  raw.near.cut();
  const results = await settled;
  assertEquals(rejections, 2_000);
  assertEquals(raw.peer.stats().callsOpen, 0);
  for (const result of results) {
    assert(result.status === "rejected");
    assertInstanceOf(result.reason, ConnectionClosedError);
    assertEquals(
      result.reason.message,
      "Cannot receive reply: the peer reset the connection",
    );
    assert(result.reason.stack!.includes("callFromHere"));
    assertInstanceOf(result.reason.cause, Deno.errors.ConnectionReset);
  }
  await assertRejects(
    () => raw.peer.call("late"),
    ConnectionClosedError,
    'Cannot call "late": the peer reset the connection',
  );
  await assertRejects(
    () => raw.peer.notify("late"),
    ConnectionClosedError,
    "Cannot send message",
  );
  await raw.close();
});

Deno.test("RpcPeer sends every reply to a peer that half-closes, streams included", async () => {
  async function* count(): AsyncGenerator<number> {
    for (let i = 0; i < 3_000; i++) yield i;
  }
  const gate = Promise.withResolvers<string>();
  const raw = new RawPeer({
    slow: () => gate.promise,
    count,
    late: () => gate.promise.then(count),
  });
  await raw.send(
    { jsonrpc: "2.0", id: 1, method: "slow" },
    { jsonrpc: "2.0", id: 2, method: "count" },
    { jsonrpc: "2.0", id: 3, method: "late" },
  );
  await raw.connection.closeWrite();
  let items = 0;
  const answers: unknown[] = [];
  for await (const message of raw.connection) {
    const { id, params, result } = message as {
      id?: number;
      params?: { items: number[] };
      result?: unknown;
    };
    if (params !== undefined) items += params.items.length;
    else answers.push([id, result]);
    if (id === 2) gate.resolve("slow");
  }
  assertEquals(items, 6_000);
  assertEquals(answers, [[2, null], [1, "slow"], [3, null]]);
  assertEquals(await raw.peer.connection.closed, { clean: true });
});

Deno.test("RpcPeer drains: it takes no more calls, and lets those it has end", async () => {
  const gate = Promise.withResolvers<string>();
  const signals: AbortSignal[] = [];
  const errors: unknown[] = [];
  const { client, server } = rpcPair(
    {
      async slow(this: RpcContext) {
        signals.push(this.signal);
        return await gate.promise + await this.call("more");
      },
      async heeds(this: RpcContext) {
        await aborted(this.signal);
        this.signal.throwIfAborted();
      },
      queued(this: RpcContext) {
        signals.push(this.signal);
      },
    },
    { maxInFlight: 2, onError: (error) => errors.push(error) },
    { more: () => " and more" },
  );
  const slow = client.call("slow");
  const heeds = client.call("heeds").catch((error) => error);
  const queued = client.call("queued");
  await turn();
  linkOf(server.connection).drain();
  const refused = await assertRejects(() => client.call("slow"), RpcError);
  assertEquals([refused.code, refused.message], [-32002, "Shutting down"]);
  assertEquals((await heeds as RpcError).code, -32002);
  assertEquals(await queued, null);
  gate.resolve("slow");
  assertEquals(await slow, "slow and more");
  for (const { reason } of signals) assertEquals(reason.code, -32002);
  assertEquals([signals.length, errors], [2, []]);
  assertEquals(await client.connection.closed, { clean: true });
});

Deno.test("RpcPeer drains: streams end at their next item, with an error that says so", async () => {
  const gate = Promise.withResolvers<void>();
  let ended = 0;
  async function* endless() {
    try {
      for (let i = 0;; i++) yield i;
    } finally {
      ended++;
    }
  }
  const { client, server } = rpcPair({
    busy: endless,
    blocked: endless,
    async *waiting() {
      await gate.promise;
      yield* endless();
    },
    async *heeding(this: RpcContext) {
      yield 0;
      await aborted(this.signal);
      return "done";
    },
    async later() {
      await gate.promise;
      return endless();
    },
  });
  const names = ["busy", "blocked", "waiting", "heeding", "later"];
  const streams = names.map((name) =>
    client.call(name)[Symbol.asyncIterator]()
  );
  // One that nobody reads has used up its window.
  for (let i = 0; i < 10; i++) await turn();
  const read = Array.from(names, () => [] as unknown[]);
  async function readAll(i: number): Promise<unknown> {
    for (;;) {
      const { done, value } = await streams[i].next();
      if (done) return value;
      read[i].push(value);
    }
  }
  const ends = names.map((_, i) => readAll(i).catch((error) => error));
  linkOf(server.connection).drain();
  gate.resolve();
  const [busy, blocked, waiting, heeding, later] = await Promise.all(ends);
  for (const error of [busy, blocked, waiting, later]) {
    assertInstanceOf(error, RpcError);
    assertEquals([error.code, error.message], [-32002, "Shutting down"]);
  }
  assertEquals(heeding, "done");
  for (const items of read) assertEquals(items, items.map((_, i) => i));
  assertEquals(read.map(({ length }) => length).slice(1), [1_024, 1, 1, 0]);
  assertEquals(ended, 3);
  assertEquals(await client.connection.closed, { clean: true });
});

Deno.test("RpcPeer drains: streams without a next item end at once, whether they heed the signal or not", async () => {
  const never = Promise.withResolvers<void>();
  const asked: string[] = [];
  const { client, server } = rpcPair({
    async *silent() {
      asked.push("silent");
      await never.promise;
      yield 0;
    },
    async *deaf() {
      yield 1;
      asked.push("deaf");
      await never.promise;
    },
    unending: () => ({
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise<never>(() => {}),
        return: () => (asked.push("return"), never.promise) as Promise<never>,
      }),
    }),
    async *heeding(this: RpcContext) {
      await aborted(this.signal);
      yield "heard";
      return "done";
    },
  });
  const names = ["silent", "deaf", "unending", "heeding"];
  const ends = names.map(async (name) => {
    const items: unknown[] = [];
    try {
      for await (const item of client.call(name)) items.push(item);
    } catch (error) {
      assertInstanceOf(error, RpcError);
      return [items, error.code];
    }
    return [items];
  });
  while (asked.length < 2) await turn();
  await turn();
  linkOf(server.connection).drain();
  assertEquals(await Promise.all(ends), [
    [[], -32002],
    [[1], -32002],
    [[], -32002],
    [["heard"], -32002],
  ]);
  assertEquals(asked, ["silent", "deaf", "return"]);
  assertEquals(await client.connection.closed, { clean: true });
  assertEquals(await server.connection.closed, { clean: true });
  never.resolve();
});

function aborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => signal.addEventListener("abort", resolve));
}

Deno.test("RpcPeer closes at once when it drains and is idle", async () => {
  const { client, server } = rpcPair({});
  linkOf(server.connection).drain();
  assertEquals(await server.connection.closed, { clean: true });
  assertEquals(await client.connection.closed, { clean: true });
});

Deno.test("RpcPeer has an api that is not thenable", async () => {
  const { client } = rpcPair({
    then: () => "then",
    toJSON: () => "toJSON",
    "a.b": (...params) => params,
    echo: (...params) => params,
  });
  assertEquals(Reflect.get(client.api, "then"), undefined);
  assertEquals(Reflect.get(client.api, Symbol.toPrimitive), undefined);
  assertEquals(await Promise.resolve(client.api), client.api);
  assertEquals(JSON.stringify({ api: client.api }), '{"api":{}}');
  assertEquals(await client.call("then"), "then");
  assertEquals(await client.call("toJSON"), "toJSON");
  assertEquals(await client.call("a.b", [1]), [1]);
  assertEquals(await client.api["a.b"](2), [2]);
  await client.close();
});

Deno.test("RpcPeer's api sends one plain object by name, and anything else by position", async () => {
  const raw = new RawPeer();
  const { api } = raw.peer;
  class Point {
    x = 1;
  }
  const cases: [params: unknown[], sent: unknown][] = [
    [[], undefined],
    [[1, 2], [1, 2]],
    [[{ a: 1 }], { a: 1 }],
    [[Object.assign(Object.create(null), { a: 1 })], { a: 1 }],
    [[{ a: 1 }, 2], [{ a: 1 }, 2]],
    [[[1, 2]], [[1, 2]]],
    [[null], [null]],
    [[undefined], undefined],
    [[1, undefined, undefined], [1]],
    [[undefined, 1], [null, 1]],
    [[{ a: 1 }, undefined], { a: 1 }],
    [["a"], ["a"]],
    [[new Point()], [{ x: 1 }]],
    [[new Date(0)], ["1970-01-01T00:00:00.000Z"]],
  ];
  for (const [params, sent] of cases) {
    api.method(...params).catch(() => {});
    const [request] = await raw.receive(1) as { params: unknown }[];
    assertEquals(request.params, sent);
  }
  await raw.close();
});

Deno.test("RpcPeer sends no undefined parameters at the end, so that defaults apply", async () => {
  const { client } = rpcPair({
    add: (a, b = 10, c = 100) => Number(a) + Number(b) + Number(c),
    all: (...params) => params,
  });
  assertEquals(await client.api.add(1, undefined), 111);
  assertEquals(await client.call("add", [1, undefined, undefined]), 111);
  assertEquals(await client.call("all", [undefined]), []);
  assertEquals(await client.call("all", [undefined, 1]), [null, 1]);
  await client.close();
});

Deno.test("RpcPeer takes null for the member that a response has not", async () => {
  const raw = new RawPeer();
  const reply = raw.peer.call("a");
  const failed = raw.peer.call("b").catch((error) => error);
  const [{ id }, other] = await raw.receive(2) as { id: number }[];
  const error = { code: 1, message: "no" };
  await raw.send(
    { jsonrpc: "2.0", id, result: 1, error: null },
    { jsonrpc: "2.0", id: other.id, result: null, error },
  );
  assertEquals(await reply, 1);
  assertInstanceOf(await failed, RpcError);
  await raw.close();
});

Deno.test("RpcPeer's api calls nothing when it is looked at, and keeps no name", async () => {
  const { client, server } = rpcPair({});
  const api: Record<PropertyKey, unknown> & object = client.api as never;
  const looks: [name: string, look: () => unknown][] = [
    ["print", () => Deno.inspect(api, { showHidden: true, getters: true })],
    ["print a proxy", () => Deno.inspect(api, { showProxy: true })],
    ["inspect in Node's way", () => inspect(api, { showHidden: true })],
    ["template", () => `${api}`],
    ["concatenate", () => "a" + api],
    ["compare", () => (api as unknown) == "a"],
    ["order", () => Number(api) < 1],
    ["equal", () => assertThrows(() => assertEquals(api, { a: 1 } as never))],
    ["expect", () => asymmetric(api)],
    ["JSON", () => JSON.stringify({ api })],
    ["clone", () => assertThrows(() => structuredClone(api))],
    ["spread", () => Object.keys({ ...api })],
    ["keys", () => [Object.keys(api), Reflect.ownKeys(api)]],
    ["for in", () => {
      for (const _ in api);
    }],
    ["in", () => ["echo" in api, "toString" in api]],
    ["instanceof", () => api instanceof Promise],
    ["hasOwn", () => Object.hasOwn(api, "echo")],
    ["an object's methods", () => [String(api.valueOf()), api.toString()]],
    ["type", () => Object.prototype.toString.call(api)],
    ["iterate", () => assertThrows(() => [...api as never])],
    ["assign", () => assertThrows(() => api.echo = 1)],
    ["error", () => String(new Error("a", { cause: api }).cause)],
    ["await", () => Promise.resolve(api)],
    ["Promise.all", () => Promise.all([api])],
  ];
  for (const [name, look] of looks) {
    await look();
    assertEquals(client.stats().callsOpen, 0, name);
  }
  assertEquals(client.connection.stats().messagesSent, 0);
  assertEquals(server.connection.stats().messagesReceived, 0);
  for (let i = 0; i < 10; i++) assertEquals(typeof api[`name${i}`], "function");
  assertEquals(Reflect.ownKeys(api), []);
  await client.close();
});

/** What a matcher of a test library does to what it compares. */
function asymmetric(value: Record<PropertyKey, unknown>): void {
  if (typeof value.asymmetricMatch === "function") value.asymmetricMatch(1);
}

Deno.test("RpcPeer lists its methods if it is to", async () => {
  const { client } = rpcPair(
    { a: { description: "Does a", handler: () => 1 } },
    { discover: true },
  );
  assertEquals(await client.call("rpc.discover"), {
    methods: [{ name: "a", description: "Does a" }],
  });
  await client.close();
});

Deno.test("RpcPeer works over any stream of bytes, however it is cut", async () => {
  const [near, far] = memoryPair();
  near.readAtMost = far.readAtMost = 1;
  near.writeAtMost = far.writeAtMost = 3;
  const server = makePeer(
    fromDuplex(near),
    new RpcSettings({ echo: (...params) => params }, {}),
  );
  const client = makePeer<RpcUntyped>(
    fromDuplex(far),
    new RpcSettings({}, {}),
  );
  const replies = Array.from({ length: 50 }, (_, i) => client.api.echo(i, "é"));
  assertEquals(
    await Promise.all(replies),
    Array.from({ length: 50 }, (_, i) => [i, "é"]),
  );
  await client.close();
  await server.connection.closed;
});

Deno.test("RpcPeer can be disposed of, and leaves nothing behind", async () => {
  const { client, server } = rpcPair({ never: () => new Promise(() => {}) });
  const reply = assertRejects(
    () => client.call("never"),
    ConnectionClosedError,
    "Cannot receive reply: the connection is closed",
  );
  {
    await using _ = client;
    await turn();
    assertEquals(server.stats().callsRunning, 1);
  }
  await reply;
  await server.connection.closed;
  await turn();
  assertEquals(server.stats().callsRunning, 0);
});

Deno.test("RpcSettings rejects wrong options", () => {
  const cases: [options: object, type: ErrorConstructor, text: string][] = [
    [{ timeout: 0 }, RangeError, 'option "timeout": received 0'],
    [{ timeout: "1" }, TypeError, 'option "timeout": received "1"'],
    [{ handlerTimeout: -1 }, RangeError, 'option "handlerTimeout"'],
    [{ maxInFlight: 1.5 }, RangeError, 'option "maxInFlight"'],
    [{ maxInFlight: NaN }, RangeError, 'option "maxInFlight"'],
    [{ discover: 1 }, TypeError, 'option "discover": received 1'],
    [{ onError: 1 }, TypeError, 'option "onError": received 1'],
    [{ maxBatch: 1 }, TypeError, 'option "maxBatch": it does not exist'],
  ];
  for (const [options, type, text] of cases) {
    assertThrows(() => new RpcSettings({}, options), type, text);
  }
  new RpcSettings({}, { timeout: Infinity, maxInFlight: Infinity });
});
