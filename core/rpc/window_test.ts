/** What is open on the wire, and what waits for that, in order. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { AsyncLocalStorage } from "node:async_hooks";
import { InvalidMessageError } from "../../framing.ts";
import { waitersOf } from "../../tests/listeners.ts";
import { awake, type Ends, RawPeer, rpcPair } from "../../tests/rpc_pair.ts";
import { turn } from "../../tests/turns.ts";
import { BackpressureError, fromDuplex } from "../connection/connection.ts";
import { makePeer, type RpcPeer } from "./peer.ts";
import { RpcSettings } from "./options.ts";
import { memoryPair } from "../../tests/memory_pair.ts";
import type { RpcContext, RpcMethods, RpcUntyped } from "./contract.ts";

interface Request {
  id: number;
  method: string;
  params: unknown[];
  timeout?: number;
}

const WINDOW = 1_024;
/** Many windows, also where each call makes another. */
const MANY = 10_000;

function result(id: unknown, result: unknown): object {
  return { jsonrpc: "2.0", id, result };
}

/** A peer with a full window, and the calls in it. */
async function full(): Promise<{ raw: RawPeer; sent: Request[] }> {
  const raw = new RawPeer();
  for (let i = 0; i < WINDOW; i++) raw.peer.call("fill").catch(() => {});
  return { raw, sent: await raw.receive(WINDOW) as Request[] };
}

/** Nothing here depends on how long it takes. */
const UNLIMITED = { timeout: Infinity, handlerTimeout: Infinity };
const REST = { callsOpen: 0, callsRunning: 0, strays: 0 };

/** Runs what is not within a method, like the worker of a pool. */
const elsewhere = AsyncLocalStorage.snapshot();

const WORK: Record<string, [calls: number, work: RpcMethods["work"]]> = {
  "answer at once": [MANY, () => {}],
  "answer later": [100_000, () => Promise.resolve()],
  "call back": [
    MANY,
    async function (this: RpcContext) {
      await this.call("leaf");
    },
  ],
  "have code call back that was begun elsewhere": [
    2_000,
    function (this: RpcContext) {
      return elsewhere(() => this.call("leaf"));
    },
  ],
  "call each other in chains": [
    2_000,
    async function (this: RpcContext) {
      await this.call("hop", [5]);
    },
  ],
};

/** Two peers whose methods call back by the peer, not by their context. */
function callingBack(
  methods: (peer: () => RpcPeer) => RpcMethods,
): Ends<RpcUntyped> {
  const ends: Ends<RpcUntyped> = rpcPair(
    methods(() => ends.server),
    UNLIMITED,
    methods(() => ends.client),
    UNLIMITED,
  );
  return ends;
}

function callMany(peer: RpcPeer, count: number): Promise<unknown>[] {
  return Array.from({ length: count }, () => peer.call("work"));
}

for (const [name, [count, work]] of Object.entries(WORK)) {
  const methods: RpcMethods = {
    work,
    leaf: () => Promise.resolve(),
    async hop(this: RpcContext, hops: unknown) {
      if (Number(hops) > 0) await this.call("hop", [Number(hops) - 1]);
    },
  };

  Deno.test(`two peers make ${count} calls to each other at once of methods that ${name}`, async () => {
    const { client, server } = rpcPair(methods, UNLIMITED, methods, UNLIMITED);
    await Promise.all([...callMany(client, count), ...callMany(server, count)]);
    assertEquals([client.stats(), server.stats()], [REST, REST]);
    await client.close();
  });
}

Deno.test(`two peers make ${MANY} calls to each other at once of methods that await and call back by the peer`, async () => {
  const { client, server } = callingBack((peer) => ({
    async work() {
      await undefined;
      await peer().call("leaf");
    },
    leaf: () => Promise.resolve(),
  }));
  await Promise.all([...callMany(client, MANY), ...callMany(server, MANY)]);
  assertEquals([client.stats(), server.stats()], [REST, REST]);
  await client.close();
});

Deno.test("a peer has no more than 1 024 calls and 262 144 units open, and one more, and sends the others in order", async () => {
  const { raw, sent } = await full();
  const params = { name: "before" };
  const large = "x".repeat(200_000);
  const replies = [
    raw.peer.call("named", [params]),
    raw.peer.call("large", [large]),
    raw.peer.call("large", [large]),
    raw.peer.call("last"),
  ];
  raw.peer.notify("note", ["behind"]);
  params.name = "after";
  assertEquals(await raw.exchange(), []);
  assertEquals(raw.peer.stats().callsOpen, WINDOW + 5);
  await raw.send(...sent.slice(4).map(({ id }) => result(id, null)));
  const [named, ...larges] = await raw.receive(3) as Request[];
  assertEquals([named.method, named.params], ["named", [{ name: "before" }]]);
  assertEquals(larges.map(({ method }) => method), ["large", "large"]);
  // They are too large for one more.
  assertEquals(await raw.exchange(), []);
  await raw.send(result(larges[0].id, null));
  const [last, note] = await raw.receive(2) as Request[];
  assertEquals([last.method, note.method], ["last", "note"]);
  for (const { id } of [named, larges[1], last]) await raw.send(result(id, 1));
  assertEquals(await Promise.all(replies), [1, null, 1, 1]);
  await raw.close();
});

Deno.test("calls wait up to 67 108 864 UTF-16 units of them, notifications included", async () => {
  using _ = awake();
  const { raw } = await full();
  const limit = 67_108_864;
  const large = ["x".repeat(1_000_000)];
  const controller = new AbortController();
  const { signal } = controller;
  const calls: Promise<unknown>[] = [];
  // Each is a little longer than its parameter.
  for (let i = 0; i < 68; i++) {
    calls.push(raw.peer.call("a", large, { signal }));
  }
  for (const refused of [raw.peer.call("a", [1]), raw.peer.notify("a")]) {
    const error = await assertRejects(
      () => refused,
      BackpressureError,
      `UTF-16 units of calls wait, limit is ${limit}`,
    );
    assertEquals(error.limit, limit);
    assert(error.queued > limit && error.queued < limit + 1_000_100);
  }
  raw.peer.notify("a"); // an unhandled rejection would end the test
  controller.abort();
  await Promise.allSettled(calls);
  // What was given up waits no more.
  const waits = raw.peer.call("a", [1]);
  assertEquals(raw.peer.stats().callsOpen, WINDOW + 1);
  await raw.close();
  await assertRejects(() => waits);
});

Deno.test("a call that waits tells of mistakes at once, and is never sent when it is given up", async () => {
  using _ = awake();
  const { raw, sent } = await full();
  for (const params of [[1n], [Symbol()], ["x".repeat(2_000_000)]]) {
    const error = await assertRejects(() =>
      raw.peer.call(
        "a",
        params.length === 1 && typeof params[0] === "symbol"
          ? [() => {}, 1n]
          : params,
      )
    );
    assert(
      error instanceof InvalidMessageError || error instanceof RangeError,
    );
  }
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = raw.peer.call("aborted", [], { signal });
  const reason = new Error("enough");
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => aborted, Error), reason);
  assertEquals(waitersOf(signal), 0);
  await assertRejects(
    () => raw.peer.call("late", [], { timeout: 1 }),
    DOMException,
    "Cannot receive reply: timed out after 1 ms",
  );
  const items = raw.peer.call("left")[Symbol.asyncIterator]();
  await items.return!();
  const stays = raw.peer.call("stays", ['"timeout":1,'], { timeout: 10_000 });
  // An answer to what was not sent is none.
  await raw.send(result(WINDOW + 7, "guessed"));
  assertEquals(await raw.exchange(), []);
  await raw.send(result(sent[0].id, null));
  const [call] = await raw.receive(1) as Request[];
  assertEquals([call.method, call.params], ["stays", ['"timeout":1,']]);
  assert(call.timeout! <= 10_000 && call.timeout! > 0);
  await raw.send(result(call.id, "done"));
  assertEquals(await stays, "done");
  await raw.close();
});

for (
  const [calls, padding] of [[1, 300_000], [WINDOW, 0], [2_000, 100]]
) {
  for (const depth of [1, 2, 7]) {
    Deno.test(`methods that await and call back by the peer pass a window full of ${calls} calls of ${padding} bytes, ${depth} deep`, async () => {
      const { client, server } = callingBack((peer) => ({
        async down(depth) {
          await turn();
          if (Number(depth) === 0) return 0;
          return 1 + Number(await peer().call("down", [Number(depth) - 1]));
        },
      }));
      const text = "x".repeat(padding);
      const replies = [client, server].flatMap((peer) =>
        Array.from({ length: calls }, () => peer.call("down", [depth, text]))
      );
      const depths = new Set(await Promise.all(replies));
      assertEquals([...depths], [depth]);
      assertEquals([client.stats(), server.stats()], [REST, REST]);
      await client.close();
    });
  }
}

Deno.test("methods pass a full window as well where requests were made before", async () => {
  const [near, far] = memoryPair().map((end) => fromDuplex(end));
  const reply = near.request("hello");
  const messages = far[Symbol.asyncIterator]();
  assertEquals((await messages.next()).value, "hello");
  await messages.return!();
  await far.send("welcome");
  assertEquals(await reply, "welcome");
  const server: RpcPeer = makePeer(
    near,
    new RpcSettings({
      async outer() {
        await turn();
        return await server.call("leaf");
      },
    }, UNLIMITED),
  );
  for (let i = 0; i < WINDOW; i++) server.call("wait").catch(() => {});
  const client = makePeer(
    far,
    new RpcSettings(
      { leaf: () => 1, wait: () => new Promise(() => {}) },
      { ...UNLIMITED, maxInFlight: WINDOW + 1 },
    ),
  );
  assertEquals(await client.call("outer"), 1);
  assertEquals(await client.call("outer"), 1);
  await client.close();
  await server.close();
});

Deno.test("generators and methods that waited for a slot pass a full window as well", async () => {
  const leaf = async () => await turn();
  const ends: Ends<RpcUntyped> = rpcPair(
    {
      async relay(): Promise<unknown> {
        return await Array.fromAsync(ends.server.call("count"));
      },
      leaf,
    },
    UNLIMITED,
    {
      async *count(): AsyncGenerator<unknown> {
        for (let i = 0; i < 2; i++) {
          await turn();
          yield await ends.client.call("leaf");
        }
      },
    },
    { ...UNLIMITED, maxInFlight: 1 },
  );
  const { client } = ends;
  const params = ["x".repeat(400)]; // fewer than maxStreams fill the window
  const replies = Array.from(
    { length: 2_000 },
    () => client.call("relay", params),
  );
  for (const reply of replies) assertEquals(await reply, [null, null]);
  await client.close();
});

Deno.test("a method that makes many calls at once sends no more of them than the window has room for, and one", async () => {
  const raw: RawPeer = new RawPeer({
    async many() {
      await turn();
      const calls = Array.from(
        { length: 3_000 },
        (_, i) => raw.peer.call("leaf", [i]),
      );
      return (await Promise.all(calls)).length;
    },
  });
  await raw.send({ jsonrpc: "2.0", id: "many", method: "many" });
  const sent = await raw.receive(WINDOW + 2) as Request[];
  assertEquals(await raw.exchange(), []);
  for (let i = 0; i < 3_000; i++) {
    await raw.send(result(sent[i].id, null));
    assertEquals(sent[i].params, [i]);
    if (sent.length < 3_000) sent.push(...await raw.receive(1) as Request[]);
  }
  assertEquals(await raw.receive(1), [result("many", 3_000)]);
  await raw.close();
});

Deno.test("notifications of methods pass a full window one by one", async () => {
  const raw: RawPeer = new RawPeer({
    async note() {
      await turn();
      for (let i = 0; i < 5; i++) await raw.peer.notify("note", [i]);
      return "noted";
    },
  });
  for (let i = 0; i < WINDOW; i++) raw.peer.call("fill").catch(() => {});
  await raw.receive(WINDOW);
  await raw.send({ jsonrpc: "2.0", id: "note", method: "note" });
  const notes: unknown[] = [];
  for (;;) {
    const [message] = await raw.receive(1) as (Request & { result: unknown })[];
    if (message.method === "note") notes.push(message.params[0]);
    else if (message.method === "rpc.sync") {
      assertLess(notes.length, 5);
      await raw.send(result(message.id, null));
    } else {
      assertEquals(message as unknown, result("note", "noted"));
      break;
    }
  }
  assertEquals(notes, [0, 1, 2, 3, 4]);
  await raw.close();
});

Deno.test("a stream leaves the window when it begins", async () => {
  const { raw, sent } = await full();
  const waits = raw.peer.call("waits");
  const { id } = sent[0];
  await raw.send({
    jsonrpc: "2.0",
    method: "$/stream",
    params: { id, items: [] },
  });
  const [call] = await raw.receive(1) as Request[];
  await raw.send(result(call.id, "done"));
  assertEquals(await waits, "done");
  await raw.close();
});

Deno.test("notifications wait where the other end is behind with them, and none is lost", async () => {
  let running = 0;
  let received = 0;
  const errors: unknown[] = [];
  const { client, server } = rpcPair({
    async note() {
      assertLess(running++, 100);
      await turn();
      running--;
      received++;
    },
  }, { onError: (error) => errors.push(error) });
  const padding = "x".repeat(1_000);
  for (let i = 0; i < 5_000; i++) client.notify("note", [padding]);
  while (received < 5_000 && errors.length === 0) await turn();
  assertEquals(errors, []);
  assertEquals(server.stats().strays, 0);
  await client.close();
});

Deno.test("notifications do not wait where no frame has room for the call behind them", async () => {
  const raw = new RawPeer({}, {}, { maxFrameBytes: 40 });
  const count = 10_000; // more than the window has room for
  for (let i = 0; i < count; i++) raw.peer.notify("x");
  assertEquals((await raw.receive(count)).length, count);
  assertEquals(raw.peer.stats().callsOpen, 0);
  await raw.close();
});

Deno.test("an error without an id is for the only call, whatever notifications are before it", async () => {
  const raw = new RawPeer();
  raw.peer.notify("note", ["x".repeat(70_000)]);
  const only = raw.peer.call("only");
  const error = { code: -32700, message: "Parse error" };
  await raw.send({ jsonrpc: "2.0", id: null, error });
  const raced = Promise.race([only, raw.exchange()]);
  await assertRejects(() => raced, Error, "Parse error");
  await raw.close();
});

Deno.test("what waits is told when the link ends, and notifications leave before it is closed", async () => {
  const { raw, sent } = await full();
  const waits = raw.peer.call("waits");
  const note = raw.peer.notify("note");
  const closing = raw.peer.close();
  await note;
  const rest = await raw.receive(sent.length + 1) as Request[];
  assertEquals(rest.at(-1)!.method, "note");
  await assertRejects(() => waits);
  await raw.close();
  await closing;
});

Deno.test("notifications that wait leave before the end as far as maxQueuedBytes allows, and the others reject", async () => {
  const raw = new RawPeer({}, {}, { maxQueuedBytes: 100_000 });
  raw.peer.call("a", ["x".repeat(262_144)]).catch(() => {});
  assertEquals((await raw.receive(1)).length, 1);
  const sent: number[] = [];
  const notes = Array.from({ length: 20 }, async (_, i) => {
    await raw.peer.notify("note", [i, "x".repeat(20_000)]);
    sent.push(i);
  });
  const closing = raw.peer.close();
  const results = await Promise.allSettled(notes);
  assertEquals(sent, [0, 1, 2, 3, 4]);
  for (const result of results.slice(sent.length)) {
    assert(result.status === "rejected");
    assertInstanceOf(result.reason, BackpressureError);
  }
  const [cancel, ...received] = await raw.receive(1 + sent.length) as Request[];
  assertEquals(cancel.method, "$/cancelRequest");
  assertEquals(received.map(({ params }) => params[0]), sent);
  await raw.close();
  await closing;
});
