import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { awake, failure, RawPeer, rpcPair } from "../../tests/rpc_pair.ts";
import { Reporter, useReporter } from "../tools/report.ts";
import type { RpcErrorHandler } from "./replies.ts";
import {
  Connection,
  ConnectionClosedError,
  linkOf,
} from "../connection/connection.ts";
import { RpcError } from "./jsonrpc.ts";
import type { RpcContext, RpcMethods } from "./contract.ts";
import { turn } from "../../tests/turns.ts";

function request(id: unknown, method: string, params?: unknown): object {
  return { jsonrpc: "2.0", id, method, params };
}

function result(id: unknown, result: unknown): object {
  return { jsonrpc: "2.0", id, result };
}

const cancel = (id: unknown) => ({
  jsonrpc: "2.0",
  method: "$/cancelRequest",
  params: { id },
});

/** Methods that end when they are told to, and tell who is at work. */
function gated(): {
  methods: RpcMethods;
  open: (name: unknown) => void;
  running: Set<unknown>;
  most: () => number;
  aborted: Map<unknown, unknown>;
} {
  const gates = new Map<unknown, () => void>();
  const running = new Set<unknown>();
  const aborted = new Map<unknown, unknown>();
  let most = 0;
  return {
    methods: {
      async wait(this: RpcContext, name) {
        const gate = Promise.withResolvers<void>();
        running.add(name);
        most = Math.max(most, running.size);
        gates.set(name, () => gate.resolve());
        this.signal.addEventListener("abort", () => {
          aborted.set(name, this.signal.reason);
        });
        await gate.promise;
        running.delete(name);
        return name;
      },
      now: (name) => name,
    },
    open: (name) => gates.get(name)!(),
    running,
    most: () => most,
    aborted,
  };
}

function nested(levels: number): unknown {
  let value: unknown = 1;
  while (levels-- > 0) value = [value];
  return value;
}

Deno.test("Answerer answers whatever a method fails with, and tells nothing of it", async () => {
  const frozen = Object.freeze(new Error("secret"));
  const proxy = new Proxy({}, {
    get() {
      throw new Error("secret");
    },
  });
  const kinds = [
    new Error("secret"),
    "secret",
    undefined,
    null,
    frozen,
    proxy,
    new Proxy(new RpcError(1, "secret"), {
      get() {
        throw new Error("secret");
      },
    }),
    { message: "secret", code: 1 },
  ];
  const errors: unknown[] = [];
  const { client, server } = rpcPair({
    throws(i) {
      throw kinds[Number(i)];
    },
    rejects: (i) => Promise.reject(kinds[Number(i)]),
  }, {
    onError(error, method, connection) {
      errors.push(error, method);
      assert(connection instanceof Connection);
    },
  });
  for (const [i, kind] of kinds.entries()) {
    for (const method of ["throws", "rejects"]) {
      const error = await assertRejects(
        () => client.call(method, [i]),
        RpcError,
        "Internal error",
      );
      assertEquals([error.code, error.data], [-32603, undefined]);
      assert(errors.shift() === kind);
      assertEquals(errors.shift(), method);
    }
  }
  assertEquals(server.stats().callsRunning, 0);
  await client.close();
});

Deno.test("Answerer answers with the code, message and data of an RpcError", async () => {
  const errors: unknown[] = [];
  const { client } = rpcPair({
    throws() {
      throw new RpcError(7, "seven", { a: 1 });
    },
    rejects: () => Promise.reject(new RpcError(-7, "", null)),
    unsendable: () => Promise.reject(new RpcError(8, "eight", 8n)),
  }, { onError: (error, method) => errors.push(error, method) });
  const first = await assertRejects(() => client.api.throws(), RpcError);
  assertEquals([first.code, first.message, first.data], [7, "seven", { a: 1 }]);
  const second = await assertRejects(() => client.api.rejects(), RpcError);
  assertEquals([second.code, second.message, second.data], [-7, "", null]);
  assertEquals(errors, []);
  const third = await assertRejects(() => client.api.unsendable(), RpcError);
  assertEquals([third.code, third.data], [-32603, undefined]);
  assertEquals([errors.length, errors[1]], [2, "unsendable"]);
  await client.close();
});

Deno.test("Answerer answers what it cannot send with an error, and goes on", async () => {
  const errors: unknown[] = [];
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  const { client } = rpcPair(
    {
      bigint: () => 1n,
      cyclic: () => cyclic,
      function: () => () => 1,
      symbol: () => Promise.resolve(Symbol("a")),
      throwing: () => ({
        toJSON() {
          throw new Error("secret");
        },
      }),
      large: () => "x".repeat(2_000),
      nothing: () => undefined,
    },
    { onError: (error) => errors.push(error) },
    {},
    {},
    {
      maxFrameBytes: 1_000,
    },
  );
  for (
    const method of [
      "bigint",
      "cyclic",
      "function",
      "symbol",
      "throwing",
      "large",
    ]
  ) {
    const error = await assertRejects(() => client.call(method), RpcError);
    assertEquals(error.code, -32603, method);
  }
  assertEquals(errors.length, 6);
  assertEquals(await client.api.nothing(), null);
  await client.close();
});

Deno.test("Answerer answers each call of a batch with an error once the answers are too large together, and looks at no more", async () => {
  const errors: unknown[] = [];
  const looked: number[] = [];
  const raw = new RawPeer({
    large: (n) => ({
      toJSON() {
        looked.push(Number(n));
        return "x".repeat(300);
      },
    }),
    fails() {
      throw new RpcError(1, "no", "x".repeat(300));
    },
  }, {
    onError: (error, method) => errors.push((error as Error).name, method),
  }, { maxFrameBytes: 1_000 });
  await raw.send([
    request(1, "large", [1]),
    request(2, "fails"),
    request(3, "missing"),
    ...[4, 5, 6, 7].map((id) => request(id, "large", [id])),
  ]);
  assertEquals(await raw.receive(1), [
    [1, 2, 3, 4, 5, 6, 7].map((id) =>
      id === 3
        ? failure(3, -32601, "Method not found")
        : failure(id, -32603, "Internal error")
    ),
  ]);
  assertEquals(errors, ["FrameTooLargeError", "large"]);
  // Once as a result, and once to be counted.
  assertEquals(new Set(looked), new Set([1, 4, 5, 6, 7]));
  await raw.close();
});

Deno.test("Answerer answers a batch whose answers just fit", async () => {
  for (const more of [0, 1]) {
    const raw = new RawPeer(
      { x: (n) => "x".repeat(Number(n)) },
      { onError() {} },
      { maxFrameBytes: 1_000 },
    );
    const spare = 1_000 - JSON.stringify([result(1, ""), result(2, "")]).length;
    await raw.send([
      request(1, "x", [300]),
      request(2, "x", [spare - 300 + more]),
    ]);
    const [answers] = await raw.receive(1) as { result?: string }[][];
    assertEquals(
      answers.map(({ result }) => result?.length),
      more === 0 ? [300, spare - 300] : [undefined, undefined],
    );
    await raw.close();
  }
});

Deno.test("Answerer answers one error for a batch of ids that are too long for it", async () => {
  const raw = new RawPeer({}, {}, { maxFrameBytes: 1_000 });
  await raw.send([1, 2].map((n) => request("x".repeat(440) + n, "missing")));
  assertEquals(await raw.receive(1), [failure(null, -32603, "Internal error")]);
  await raw.close();
});

Deno.test("Answerer answers with an error of that id where the message of an RpcError is too long, in a batch as well", async () => {
  const errors: unknown[] = [];
  const raw = new RawPeer({
    long() {
      throw new RpcError(1, "x".repeat(2_000));
    },
  }, {
    onError: (error) => errors.push((error as Error).name),
  }, { maxFrameBytes: 1_000 });
  const calls = [request(1, "long"), request(2, "missing")];
  await raw.send(calls[0], calls);
  assertEquals(await raw.receive(2), [
    failure(1, -32603, "Internal error"),
    [
      failure(1, -32603, "Internal error"),
      failure(2, -32601, "Method not found"),
    ],
  ]);
  assertEquals(errors, ["FrameTooLargeError", "FrameTooLargeError"]);
  await raw.close();
});

Deno.test("Answerer tells of an answer once, and names no method but its own", async () => {
  const errors: unknown[][] = [];
  const raw = new RawPeer({ large: () => "x".repeat(99) }, {
    onError: (error, method) => errors.push([(error as Error).name, method]),
  }, { maxFrameBytes: 1_000 });
  const id = "x".repeat(940);
  await raw.send(
    request(id, "\nroot logged in"),
    request(id, "large"),
    request(id, "$/a"),
    [request(id, "b")],
  );
  const error = failure(null, -32603, "Internal error");
  assertEquals(await raw.receive(4), [error, error, error, error]);
  assertEquals(errors, [
    ["FrameTooLargeError", undefined],
    ["FrameTooLargeError", "large"],
    ["FrameTooLargeError", undefined],
    ["FrameTooLargeError", undefined],
  ]);
  await raw.close();
});

/** What is printed while it is in use. */
function printed(): { lines: string[] } & Disposable {
  const lines: string[] = [];
  const end = useReporter(
    new Reporter((text) => lines.push(text.split("\n")[0]), () => 0),
  );
  return { lines, [Symbol.dispose]: end };
}

Deno.test("Answerer prints an error that no hook takes, and what a hook fails with", async () => {
  function fails() {
    throw new Error("of a method");
  }
  async function* streams() {
    yield 1;
    throw new Error("of a stream");
  }
  const hooks: [onError: RpcErrorHandler | undefined, lines: string[]][] = [
    [undefined, ["Error: of a method", "Error: of a stream"]],
    [() => {}, []],
    [() => {
      throw new Error("of a hook");
    }, ["Error: of a hook", "Error: of a hook"]],
    [
      () => Promise.reject(new Error("of an async hook")),
      ["Error: of an async hook", "Error: of an async hook"],
    ],
  ];
  for (const [onError, lines] of hooks) {
    using output = printed();
    const { client } = rpcPair({ fails, streams }, { onError });
    await assertRejects(() => client.call("fails"), RpcError, "Internal error");
    await client.notify("missing");
    await assertRejects(() => client.call("missing"), RpcError);
    await assertRejects(() => Array.fromAsync(client.call("streams")));
    await turn();
    assertEquals(output.lines, lines);
    await client.close();
  }
});

Deno.test("Answerer answers with no error that came over a link, in whatever way it is passed on", async () => {
  const errors: unknown[] = [];
  const inner = rpcPair({
    secret() {
      throw new RpcError(7, "secret", "secret");
    },
    async *stream() {
      yield 1;
      throw new RpcError(7, "secret", "secret");
    },
  });
  const { client } = rpcPair(
    {
      call: () => inner.client.call("secret"),
      missing: () => inner.client.call("missing"),
      await: async () => await inner.client.api.secret(),
      back(this: RpcContext) {
        return this.call("fails");
      },
      stream: () => inner.client.call("stream"),
      async *yields() {
        yield* inner.client.call("stream");
      },
      made: () =>
        inner.client.call("secret").catch(({ code, message, data }) => {
          throw new RpcError(code, message, data);
        }),
    },
    { onError: (error) => errors.push(error) },
    {
      fails() {
        throw new RpcError(8, "secret", "secret");
      },
    },
  );
  const names = ["call", "missing", "await", "back", "stream", "yields"];
  for (const name of names) {
    const error = await assertRejects(
      () =>
        ["stream", "yields"].includes(name)
          ? Array.fromAsync(client.call(name))
          : client.call(name),
      RpcError,
      "Internal error",
    );
    assertEquals([error.code, error.data], [-32603, undefined], name);
    assert(error.isReceived);
    const inside = errors.pop();
    assertInstanceOf(inside, RpcError, name);
    assert(inside.isReceived);
  }
  const error = await assertRejects(() => client.call("made"), RpcError);
  assertEquals([error.code, error.message, error.data], [
    7,
    "secret",
    "secret",
  ]);
  assertEquals(errors, []);
  await client.close();
  await inner.client.close();
});

Deno.test("Answerer answers no notification, and tells what went wrong with it", async () => {
  const errors: unknown[] = [];
  const seen: unknown[] = [];
  const raw = new RawPeer({
    note: (...params) => seen.push(params),
    throws() {
      throw new Error("thrown");
    },
    rejects: () => Promise.reject(new Error("rejected")),
    async *streams() {
      yield seen.push("never");
    },
  }, { onError: (error) => errors.push((error as Error).message) });
  assertEquals(
    await raw.exchange(
      ...["note", "throws", "rejects", "streams", "missing"].map((method) =>
        JSON.stringify(request(undefined, method, [1]))
      ),
    ),
    [],
  );
  await turn();
  assertEquals([seen, errors], [[[1]], ["thrown", "rejected"]]);
  assertEquals(raw.peer.stats(), { callsOpen: 0, callsRunning: 0, strays: 0 });
  await raw.close();
});

Deno.test("Answerer stops a call that the caller gives up", async () => {
  const { methods, running, aborted, open } = gated();
  const raw = new RawPeer(methods);
  await raw.send(request(1, "wait", ["a"]), request("1", "wait", ["b"]));
  await turn();
  await raw.send(cancel(1), cancel(2), cancel("1"), cancel("1"));
  assertEquals(await raw.receive(2), [
    failure(1, -32800, "Request cancelled"),
    failure("1", -32800, "Request cancelled"),
  ]);
  assertEquals([...aborted.keys()], ["a", "b"]);
  const reason = aborted.get("a");
  assertInstanceOf(reason, DOMException);
  assertEquals(reason.name, "AbortError");
  assertEquals(raw.peer.stats(), { callsOpen: 0, callsRunning: 0, strays: 2 });
  open("a"); // its result comes too late for anybody
  open("b");
  assertEquals(await raw.exchange(), []);
  assertEquals(running.size, 0);
  await raw.close();
});

Deno.test("Answerer stops a call that timed out, and frees its slot", async () => {
  const { methods, aborted, open } = gated();
  const options = { maxInFlight: 1, handlerTimeout: 40 };
  const raw = new RawPeer(methods, options);
  using _ = awake();
  await raw.send(
    { ...request(1, "wait", ["mine"]), timeout: 10 },
    request(2, "wait", ["yours"]),
    request(3, "now", [3]),
  );
  assertEquals(await raw.receive(1), [failure(1, -32001, "Request timed out")]);
  assertEquals((aborted.get("mine") as DOMException).name, "TimeoutError");
  assertEquals(await raw.receive(1), [failure(2, -32001, "Request timed out")]);
  assertEquals((aborted.get("yours") as DOMException).name, "TimeoutError");
  // Both methods still work, although nobody waits: that is one too many.
  await raw.send(cancel("mark"));
  await turn();
  assertEquals(raw.peer.stats(), { callsOpen: 0, callsRunning: 1, strays: 1 });
  open("mine");
  assertEquals(await raw.receive(1), [result(3, 3)]);
  open("yours");
  assertEquals(await raw.exchange(), []);
  await raw.close();
});

Deno.test("Answerer stops all calls when the link is lost", async () => {
  const { methods, aborted, open } = gated();
  const errors: unknown[] = [];
  const raw = new RawPeer({
    ...methods,
    async follows(this: RpcContext) {
      await new Promise((_, reject) => {
        this.signal.addEventListener("abort", () => reject(this.signal.reason));
      });
    },
    late: () => errors.push("called, although nobody is there"),
  }, { onError: (error) => errors.push(error), maxInFlight: 2 });
  const parked = request(3, "late");
  await raw.send(request(1, "wait", ["a"]), request(2, "follows"), parked);
  await turn();
  raw.near.cut();
  const { cause } = await raw.peer.connection.closed;
  await turn();
  const reason = aborted.get("a");
  assertInstanceOf(reason, ConnectionClosedError);
  assertStrictEquals(reason.cause, cause);
  assertEquals(raw.peer.stats(), { callsOpen: 0, callsRunning: 0, strays: 0 });
  open("a");
  await turn();
  assertEquals(errors, []);
  await raw.close();
});

Deno.test("Answerer aborts a signal that is asked for late, too", async () => {
  const gate = Promise.withResolvers<void>();
  const seen: unknown[] = [];
  const raw = new RawPeer({
    async late(this: RpcContext) {
      await gate.promise;
      seen.push(this.signal.aborted, this.signal.reason.name);
      await this.call("other");
    },
  }, { onError: (error) => seen.push(error) });
  await raw.send(request(1, "late"), cancel(1));
  assertEquals(await raw.receive(1), [failure(1, -32800, "Request cancelled")]);
  gate.resolve();
  assertEquals(await raw.exchange(), []);
  assertEquals(seen, [true, "AbortError"]);
  await raw.close();
});

Deno.test("Answerer refuses an id that is taken", async () => {
  const { methods, open } = gated();
  const raw = new RawPeer(methods);
  await raw.send(request(1, "wait", ["a"]), request(1, "now", ["b"]));
  assertEquals(await raw.receive(1), [failure(1, -32600, "Invalid Request")]);
  open("a");
  assertEquals(await raw.receive(1), [result(1, "a")]);
  await raw.send(request(1, "now", ["c"]));
  assertEquals(await raw.receive(1), [result(1, "c")]);
  await raw.close();
});

Deno.test("Answerer works on so many calls at a time, and on the next in their order", async () => {
  const { methods, open, running, most } = gated();
  const raw = new RawPeer(methods, { maxInFlight: 2 });
  const names = ["a", "b", "c", "d", "e"];
  await raw.send(...names.map((name) => request(name, "wait", [name])));
  await turn();
  assertEquals([...running], ["a", "b"]);
  assertEquals(raw.peer.stats().callsRunning, 5);
  await raw.send(cancel("c"), cancel("a"));
  assertEquals(await raw.receive(2), [
    failure("c", -32800, "Request cancelled"),
    failure("a", -32800, "Request cancelled"),
  ]);
  await turn();
  assertEquals([...running], ["a", "b", "d"]); // nobody waits for a
  open("b");
  assertEquals(await raw.receive(1), [result("b", "b")]);
  await turn();
  assertEquals([...running], ["a", "d", "e"]);
  for (const name of ["a", "d", "e"]) open(name);
  assertEquals(await raw.receive(2), [result("d", "d"), result("e", "e")]);
  assertEquals(most(), 3);
  await raw.close();
});

Deno.test("Answerer has at most twice as many methods at work, however many calls are given up", async () => {
  let running = 0;
  let most = 0;
  const gate = Promise.withResolvers<void>();
  const raw = new RawPeer({
    async deaf() {
      most = Math.max(most, ++running);
      await gate.promise;
      running--;
    },
  }, { maxInFlight: 10 });
  for (let id = 0; id < 500; id++) {
    await raw.send(request(id, "deaf"), cancel(id));
  }
  assertEquals((await raw.receive(500)).length, 500);
  assertEquals([running, most], [20, 20]);
  gate.resolve();
  assertEquals(await raw.exchange(), []);
  assertEquals([running, most], [0, 20]);
  await raw.close();
});

Deno.test("Answerer refuses what is more than 896 KiB of calls that wait, and reads on", async () => {
  const { methods, open, running } = gated();
  const raw = new RawPeer(methods, { maxInFlight: 1 });
  const padding = "x".repeat(10_000);
  const ids = Array.from({ length: 150 }, (_, i) => i);
  await raw.send(...ids.map((id) => request(id, "wait", [id, padding])));
  const bytes = JSON.stringify(request(100, "wait", [100, padding])).length;
  const most = 2 + Math.floor(917_504 / bytes); // one more, and one that runs
  assertEquals(
    await raw.receive(150 - most),
    ids.slice(most).map((id) => failure(id, -32000, "Too many calls")),
  );
  assertEquals(raw.peer.connection.stats().messagesReceived, 150);
  assertEquals(running.size, 1);
  // What is given up makes room at once.
  await raw.send(...[1, 2].map(cancel), request("more", "now", [padding]));
  await raw.receive(2);
  for (const id of ids.slice(0, most)) {
    if (id === 1 || id === 2) continue;
    while (!running.has(id)) await turn();
    open(id);
  }
  const answers = await raw.receive(most - 1) as { id: unknown }[];
  assertEquals(
    answers.map(({ id }) => id),
    [0, ...ids.slice(3, most), "more"],
  );
  await raw.close();
});

Deno.test("Answerer lends slots where methods may wait for the peer, up to a limit", async () => {
  const { methods, open } = gated();
  const raw = new RawPeer({
    ...methods,
    async asks(this: RpcContext) {
      return await this.call("question");
    },
  }, { maxInFlight: 2 });
  const padding = "x".repeat(10_000);
  await raw.send(request("asks", "asks"), request("a", "wait", ["a"]));
  const [question] = await raw.receive(1) as { id: number }[];
  // One more works, as the one that asks may wait for it.
  await raw.send(request("b", "wait", ["b"]), request("c", "wait", ["c"]));
  for (let id = 0; id < 150; id++) {
    await raw.send(request(id, "now", [id, padding]));
  }
  const refused = await raw.receive(58) as { id: number }[];
  assertEquals(refused[0], failure(refused[0].id, -32000, "Too many calls"));
  await raw.send(result(question.id, "answer"));
  for (const name of ["a", "b"]) open(name);
  await turn();
  open("c");
  const rest = await raw.receive(96) as { result: unknown }[];
  assertEquals(
    new Set(rest.map(({ result }) => typeof result)),
    new Set(["string", "number"]),
  );
  assertEquals(await raw.exchange(), []);
  await raw.close();
});

Deno.test("Answerer begins with a call that waits when a method begins to wait for the peer", async () => {
  const gate = Promise.withResolvers<void>();
  const raw = new RawPeer({
    async asksLater(this: RpcContext) {
      await gate.promise;
      return await this.call("question");
    },
    now: (value) => value,
  }, { maxInFlight: 1 });
  await raw.send(request("asks", "asksLater"), request(1, "now", [1]));
  for (let i = 0; i < 20; i++) await turn();
  gate.resolve();
  const [question, answer] = await raw.receive(2) as { id: number }[];
  assertEquals(answer, result(1, 1));
  await raw.send(result(question.id, "answer"));
  assertEquals(await raw.receive(1), [result("asks", "answer")]);
  await raw.close();
});

Deno.test("Answerer reads on when a method that runs begins to stream", async () => {
  const gate = Promise.withResolvers<void>();
  const raw = new RawPeer({
    async streamsLater() {
      await gate.promise;
      return ReadableStream.from(Array(2_000).fill(0));
    },
    now: (value) => value,
  }, { maxInFlight: 1 });
  const padding = "x".repeat(10_000);
  await raw.send(request("stream", "streamsLater"));
  await raw.send(
    ...Array.from({ length: 120 }, (_, i) => request(i, "now", [i, padding])),
    {
      jsonrpc: "2.0",
      method: "$/credit",
      params: { id: "stream", items: 1_000 },
    },
  );
  await turn();
  gate.resolve();
  let items = 0;
  let answers = 0;
  for (let isOver = false; !isOver || answers < 120;) {
    const [message] = await raw.receive(1) as {
      id?: unknown;
      params?: { items: unknown[] };
    }[];
    if (message.id === "stream") isOver = true;
    else if (message.params === undefined) answers++;
    else items += message.params.items.length;
  }
  assertEquals([items, answers], [2_000, 120]);
  await raw.close();
});

Deno.test("Answerer answers thousands of calls that waited for one slot", async () => {
  const { methods, open } = gated();
  const raw = new RawPeer(methods, { maxInFlight: 1 });
  await raw.send(request("first", "wait", ["first"]));
  const ids = Array.from({ length: 5_000 }, (_, id) => id);
  await raw.send(...ids.map((id) => request(id, "now", [id])));
  await turn();
  open("first");
  const answers = await raw.receive(5_001);
  assertEquals(answers.slice(1), ids.map((id) => result(id, id)));
  await raw.close();
});

Deno.test("Answerer counts what is held of a batch, however uneven its calls", async () => {
  const { methods } = gated();
  const raw = new RawPeer({
    ...methods,
    async *streams() {
      yield 0;
      await new Promise<void>((resolve) =>
        this.signal.addEventListener("abort", () => resolve())
      );
    },
  }, { maxInFlight: 1 });
  await raw.send(request("stream", "streams"), request("a", "wait", ["a"]));
  await raw.receive(1);
  const padding = "x".repeat(500_000);
  for (let id = 1; id <= 3; id++) {
    await raw.send([
      request(id, "now", [padding]),
      ...Array(99).fill(request(undefined, "missing")),
    ]);
  }
  assertEquals(await raw.receive(1), [
    [failure(3, -32000, "Too many calls")],
  ]);
  await raw.close();
});

Deno.test("Answerer gives calls slots of their own while streams go on, and has no more than 1 000", async () => {
  const raw = new RawPeer({
    async *quiet() {
      yield 0;
      await new Promise<void>((resolve) =>
        this.signal.addEventListener("abort", () => resolve())
      );
    },
    later: async (value) => await value,
  }, { maxInFlight: 2 });
  const ids = Array.from({ length: 1_001 }, (_, i) => i);
  await raw.send(...ids.map((id) => request(id, "quiet")));
  const answers = (await raw.receive(1_001) as { id?: number }[])
    .filter(({ id }) => id !== undefined);
  assertEquals(answers, [failure(1_000, -32000, "Too many calls")]);
  await raw.send(...["a", "b", "c"].map((id) => request(id, "later", [id])));
  assertEquals(
    await raw.receive(3),
    ["a", "b", "c"].map((id) => result(id, id)),
  );
  await raw.send(cancel(1), request("d", "later", ["d"]));
  assertEquals(await raw.receive(2), [
    failure(1, -32800, "Request cancelled"),
    result("d", "d"),
  ]);
  await raw.send(request("e", "quiet"));
  assertEquals(
    await raw.receive(1),
    [{ jsonrpc: "2.0", method: "$/stream", params: { id: "e", items: [0] } }],
  );
  await raw.close();
});

Deno.test("Answerer frees the slot of a stream that is given up, though its generator does not end", async () => {
  let running = 0;
  const gate = Promise.withResolvers<void>();
  const raw = new RawPeer({
    async *deaf() {
      running++;
      await gate.promise;
      running--;
      yield 0;
    },
  });
  async function openAndLeave(id: number): Promise<unknown> {
    await raw.send(request(id, "deaf"));
    const [first] = await raw.receive(1) as { method?: string }[];
    if (first.method === undefined) return first;
    await raw.send(cancel(id));
    return (await raw.receive(1))[0];
  }
  for (let id = 0; id < 1_100; id++) {
    assertEquals(
      await openAndLeave(id),
      failure(id, -32800, "Request cancelled"),
    );
  }
  assertEquals(running, 1_100);
  gate.resolve();
  while (running > 0) await turn();
  await raw.close();
});

Deno.test("Answerer bounds the bytes of streams that are given up and go on, and tells of it once", async () => {
  const errors: unknown[][] = [];
  let gate = Promise.withResolvers<void>();
  let running = 0;
  const raw = new RawPeer({
    async *deaf() {
      running++;
      await gate.promise;
      running--;
      yield 0;
    },
  }, {
    onError: (error, method) => errors.push([(error as Error).message, method]),
  });
  for (let round = 1; round <= 2; round++) {
    for (let id = 1; id <= 6; id++) {
      await raw.send(request(id, "deaf", [LARGE]));
      const [first] = await raw.receive(1) as { method?: string }[];
      if (id > 3) {
        assertEquals(first, failure(id, -32000, "Too many calls"));
      } else {
        assertEquals(first.method, "$/stream");
        await raw.send(cancel(id));
        await raw.receive(1);
      }
    }
    assertEquals(running, 3);
    const { length } = JSON.stringify(request(1, "deaf", [LARGE]));
    const error = [
      `Cannot start call: methods still run for 3 calls of ${
        3 * (length + 64)
      } bytes whose callers gave up`,
      "deaf",
    ];
    assertEquals(errors, Array(round).fill(error));
    gate.resolve();
    while (running > 0) await turn();
    gate = Promise.withResolvers();
    await turn();
  }
  await raw.close();
});

const LARGE = "x".repeat(300 * 1024);

Deno.test("Answerer works on about 1 MiB of calls at a time, in their order", async () => {
  const { methods, open, running, most } = gated();
  const raw = new RawPeer(methods);
  const sent = raw.send(
    ...[0, 1, 2, 3, 4, 5].map((id) => request(id, "wait", [id, LARGE])),
  );
  while (running.size < 3) await turn();
  for (let i = 0; i < 20; i++) await turn();
  assertEquals([...running], [0, 1, 2]);
  assertEquals(raw.peer.connection.stats().messagesReceived, 6);
  for (let id = 0; id < 6; id++) {
    while (!running.has(id)) await turn();
    open(id);
    assertEquals(await raw.receive(1), [result(id, id)]);
  }
  await sent;
  assertEquals(most(), 3);
  await raw.close();
});

Deno.test("Answerer works on a call of any size, and hears that it is given up", async () => {
  const { methods, running, aborted, open } = gated();
  const raw = new RawPeer(methods, {}, { maxFrameBytes: 10_000_000 });
  const huge = "x".repeat(3_000_000);
  await raw.send(request(1, "wait", [1, huge]));
  while (!running.has(1)) await turn();
  await raw.send(cancel(1));
  assertEquals(
    await raw.receive(1),
    [failure(1, -32800, "Request cancelled")],
  );
  assert(aborted.has(1));
  // Its method still works, and holds the parameters.
  await raw.send(request(2, "wait", [2, huge]));
  for (let i = 0; i < 20; i++) await turn();
  assertEquals([...running], [1]);
  open(1);
  while (!running.has(2)) await turn();
  open(2);
  assertEquals(await raw.receive(1), [result(2, 2)]);
  await raw.close();
});

Deno.test("Answerer holds no more of calls that are given up than of others", async () => {
  const errors: unknown[] = [];
  const { methods, running, open } = gated();
  const raw = new RawPeer(methods, {
    onError: (error) => errors.push((error as Error).message),
  });
  const large = "x".repeat(900_000);
  await raw.send(request(1, "wait", [1, large]));
  while (!running.has(1)) await turn();
  await raw.send(cancel(1), request(2, "now", [2]));
  assertEquals(await raw.receive(2), [
    failure(1, -32800, "Request cancelled"),
    result(2, 2),
  ]);
  const sent = raw.send(
    request(3, "wait", [3, large]),
    request(4, "wait", [4, large]),
  );
  for (let i = 0; i < 50; i++) await turn();
  assertEquals([...running], [1]);
  assertEquals(raw.peer.connection.stats().messagesReceived, 5);
  const bytes = JSON.stringify(request(1, "wait", [1, large])).length;
  assertEquals(errors, [
    `Cannot start call: methods still run for 1 calls of ${bytes} bytes whose callers gave up`,
  ]);
  for (const id of [1, 3, 4]) {
    while (!running.has(id)) await turn();
    open(id);
  }
  await sent;
  assertEquals(await raw.receive(2), [result(3, 3), result(4, 4)]);
  await raw.close();
});

Deno.test("Answerer works on no more bytes at a time than a message may have", async () => {
  const { methods, open, running, most } = gated();
  const raw = new RawPeer(methods, {}, { maxFrameBytes: 100_000 });
  const padding = "x".repeat(30_000);
  const ids = [1, 2, 3, 4, 5, 6, 7];
  const sent = raw.send(
    ...ids.map((id) => request(id, "wait", [id, padding])),
  );
  for (const id of ids) {
    while (!running.has(id)) await turn();
    open(id);
  }
  await sent;
  assertEquals((await raw.receive(7)).length, 7);
  assertEquals(most(), 3);
  await raw.close();
});

Deno.test("Answerer counts the parameters of streams, too", async () => {
  const raw = new RawPeer({
    async *quiet(this: RpcContext) {
      yield 0;
      await new Promise((resolve) =>
        this.signal.addEventListener("abort", resolve)
      );
    },
    now: (value) => value,
  });
  const ids = [1, 2, 3, 4, 5];
  await raw.send(...ids.map((id) => request(id, "quiet", [LARGE])));
  const answers = (await raw.receive(5) as { id?: number }[])
    .filter(({ id }) => id !== undefined);
  assertEquals(
    answers,
    [4, 5].map((id) => failure(id, -32000, "Too many calls")),
  );
  await raw.send(request(6, "now", [LARGE]));
  assertEquals(await raw.receive(1), [result(6, LARGE)]);
  await raw.close();
});

Deno.test("Answerer counts the answers of a batch that is not complete", async () => {
  const { methods, running, open } = gated();
  const raw = new RawPeer(methods);
  const sent = raw.send(
    ...[1, 3, 5, 7, 9].map((id) => [
      request(id, "now", [LARGE]),
      request(id + 1, "wait", [id + 1]),
    ]),
  );
  while (running.size < 3) await turn();
  for (let i = 0; i < 20; i++) await turn();
  assertEquals([...running], [2, 4, 6]);
  for (const id of [2, 4, 6, 8, 10]) {
    while (!running.has(id)) await turn();
    open(id);
  }
  const answers = await raw.receive(5) as { id: number }[][];
  assertEquals(
    answers.map((batch) => batch.map(({ id }) => id)),
    [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]],
  );
  await sent;
  await raw.close();
});

Deno.test("Answerer lets no more methods work while their answers wait to be sent", async () => {
  let calls = 0;
  const raw = new RawPeer({
    async large() {
      calls++;
      await turn();
      return "x".repeat(1_000_000);
    },
  }, { maxInFlight: 1 });
  raw.near.hold();
  await raw.send(
    ...Array.from({ length: 50 }, (_, id) => request(id, "large")),
  );
  for (let i = 0; i < 100; i++) await turn();
  // 4 MiB are in the queue, one waits for room there.
  assertEquals(calls, 6);
  raw.near.release();
  assertEquals((await raw.receive(50)).length, 50);
  await raw.close();
});

Deno.test("Answerer lets two peers with large calls call each other, and refuses what would wait for itself", async () => {
  async function down(
    this: RpcContext,
    levels: unknown,
    padding: unknown,
  ): Promise<unknown> {
    return Number(levels) === 0
      ? "bottom"
      : await this.call("down", [Number(levels) - 1, padding]);
  }
  const codes: unknown[] = [];
  const options = {
    onError: (error: unknown) => codes.push((error as RpcError).code),
  };
  const { client } = rpcPair({ down }, options, { down }, options);
  using _ = awake();
  assertEquals(await client.call("down", [5, LARGE]), "bottom");
  await assertRejects(
    () => client.call("down", [20, LARGE]),
    RpcError,
    "Internal error",
  );
  assertEquals(codes, [-32000, ...Array(13).fill(-32603)]);
  await client.close();
});

Deno.test("Answerer answers with what toJSON makes of a result, or with an error where that is nothing", async () => {
  const errors: unknown[] = [];
  const raw = new RawPeer({
    date: () => new Date(0),
    nothing: () => ({ toJSON() {} }),
    throws: () => ({
      toJSON() {
        throw new Error("thrown");
      },
    }),
    deep: () => nested(128),
    asDeepAsItGets: () => nested(127),
  }, { onError: (error) => errors.push((error as Error).message) });
  const names = ["date", "nothing", "throws", "deep", "asDeepAsItGets"];
  assertEquals(
    await raw.exchange(
      ...names.map((name, id) => JSON.stringify(request(id, name))),
    ),
    [
      result(0, "1970-01-01T00:00:00.000Z"),
      failure(1, -32603, "Internal error"),
      failure(2, -32603, "Internal error"),
      failure(3, -32603, "Internal error"),
      result(4, nested(127)),
    ],
  );
  assertEquals(errors, [
    "Cannot encode message: JSON cannot represent a value of type undefined",
    "thrown",
    "Cannot encode message: the value is nested deeper than 128 levels",
  ]);
  await raw.close();
});

Deno.test("Answerer reads on although answers wait, where it waits for one itself", async () => {
  let answered: unknown;
  const raw = new RawPeer({
    async asks(this: RpcContext) {
      answered = await this.call("question");
    },
    large: () => "x".repeat(10_000),
  });
  await raw.send(request("asks", "asks"));
  const [question] = await raw.receive(1) as { id: number }[];
  raw.near.hold();
  for (let id = 0; id < 20; id++) await raw.send(request(id, "large"));
  await raw.send(result(question.id, "answer"));
  await turn();
  assertEquals(answered, "answer");
  raw.near.release();
  await raw.receive(21);
  await raw.close();
});

Deno.test("Answerer has notifications wait, and tells of those that are lost", async () => {
  const errors: unknown[][] = [];
  const { methods, running, open } = gated();
  const raw = new RawPeer({
    ...methods,
    async asks(this: RpcContext) {
      await this.call("question");
    },
  }, {
    onError: (error, method) => errors.push([(error as Error).message, method]),
  });
  await raw.send(request("asks", "asks"));
  const [question] = await raw.receive(1) as { id: number }[];
  const ids = Array.from({ length: 8 }, (_, i) => i);
  await raw.send(
    ...ids.map((id) => request(undefined, "wait", [id, LARGE])),
    result(question.id, "answer"),
  );
  assertEquals(await raw.receive(1), [result("asks", null)]);
  // What runs counts where it is more than a message may be.
  const held = JSON.stringify(request("asks", "asks")).length + 7 *
      JSON.stringify(request(undefined, "wait", [0, LARGE])).length -
    1_048_576;
  const error = [
    `Cannot take notification: calls of ${held} bytes wait, limit is 917504 bytes`,
    "wait",
  ];
  assertEquals(errors, [error]);
  for (const id of ids.slice(0, 7)) {
    while (!running.has(id)) await turn();
    open(id);
  }
  await raw.close();
});

Deno.test("Answerer reads on only for so long where all that comes is refused, and no answer is read", async () => {
  const raw = new RawPeer(
    {
      async asks(this: RpcContext) {
        await this.call("question");
      },
    },
    {},
    { maxQueuedBytes: 100_000 },
  );
  await raw.send(request("asks", "asks"));
  const [question] = await raw.receive(1) as { id: number }[];
  raw.near.hold();
  const padding = "x".repeat(1_000);
  for (let i = 0; i < 5_000; i++) await raw.send(request(padding + i, "no"));
  for (let i = 0; i < 50; i++) await turn();
  assertLess(raw.peer.connection.stats().messagesReceived, 2_500);
  raw.near.release();
  await raw.send(result(question.id, "answer"));
  assertEquals((await raw.receive(5_001)).length, 5_001);
  await raw.close();
});

Deno.test("Answerer has no more than maxQueuedBytes of answers wait for a peer that does not read them", async () => {
  const { client, server, near } = rpcPair({ large: () => "x".repeat(10_000) });
  near.hold();
  const replies = Array.from({ length: 1_000 }, () => client.call("large"));
  for (let i = 0; i < 20; i++) await turn();
  assertLess(server.connection.stats().bytesQueued, 4_300_000);
  near.release();
  assertEquals((await Promise.all(replies)).length, 1_000);
  await client.close();
});

Deno.test("Answerer sends answers that come late when there is room for them", async () => {
  const gate = Promise.withResolvers<void>();
  const { client, server, near } = rpcPair(
    { large: () => gate.promise.then(() => "x".repeat(10_000)) },
    {},
    {},
    {},
    { maxQueuedBytes: 100_000 },
  );
  near.hold();
  const replies = Array.from({ length: 50 }, () => client.call("large"));
  await turn();
  gate.resolve();
  await turn();
  assertLess(server.connection.stats().bytesQueued, 120_000);
  near.release();
  assertEquals((await Promise.all(replies)).length, 50);
  await client.close();
});

Deno.test("Answerer has no answer wait that can never be sent", async () => {
  const errors: unknown[] = [];
  const gate = Promise.withResolvers<void>();
  const raw = new RawPeer({
    later: (length) => gate.promise.then(() => "x".repeat(Number(length))),
  }, {
    onError: (error) => errors.push((error as Error).name),
  }, { maxFrameBytes: 10_000, maxQueuedBytes: 100_000 });
  raw.near.hold();
  const lengths = [...Array(15).fill(9_000), 20_000, 1_000_000, 9_000];
  await raw.send(
    ...lengths.map((length, id) => request(id, "later", [length])),
  );
  await turn();
  gate.resolve();
  await turn();
  // The peer has read nothing yet.
  assertEquals(errors, ["FrameTooLargeError", "FrameTooLargeError"]);
  raw.near.release();
  const answers = await raw.receive(18) as { id: number; result?: string }[];
  assertEquals(
    answers.map(({ id, result }) => [id, result?.length]),
    lengths.map((length, id) => [id, length === 9_000 ? length : undefined]),
  );
  assertEquals(await raw.exchange(), []);
  assertEquals(raw.peer.stats().callsRunning, 0);
  await raw.close();
});

Deno.test("Answerer is done when answers that came late are sent", async () => {
  const gate = Promise.withResolvers<void>();
  const { client, server, near } = rpcPair(
    { large: () => gate.promise.then(() => "x".repeat(10_000)) },
    {},
    {},
    {},
    { maxQueuedBytes: 100_000 },
  );
  near.hold();
  const replies = Array.from({ length: 50 }, () => client.call("large"));
  await turn();
  linkOf(server.connection).drain();
  gate.resolve();
  await turn();
  near.release();
  assertEquals((await Promise.all(replies)).length, 50);
  assertEquals(await server.connection.closed, { clean: true });
  await client.close();
});

Deno.test("Answerer says nothing of answers that cannot be read any more", async () => {
  const errors: unknown[] = [];
  const gate = Promise.withResolvers<void>();
  const { client, server, near } = rpcPair({
    slow: () => gate.promise,
    large: () => "x".repeat(10_000),
    async *endless() {
      for (;;) yield 1;
    },
  }, { onError: (error) => errors.push(error) });
  const replies = ["slow", "large", "endless"].map((method) =>
    client.call(method).then((result) => result, (error) => error)
  );
  await turn();
  near.hold();
  client.call("large").catch(() => {});
  await turn();
  const closing = server.close();
  gate.resolve();
  await turn();
  near.release();
  await closing;
  await Promise.all(replies);
  await turn();
  assertEquals(errors, []);
  await client.close();
});

Deno.test("Answerer lets two peers call each other as much as they can", async () => {
  const echo = async (value: unknown) => {
    await turn();
    return value;
  };
  const options = { maxInFlight: 5 };
  const { client, server } = rpcPair({ echo }, options, { echo }, options);
  const value = "x".repeat(2_000);
  const replies = [client, server].flatMap((peer) =>
    Array.from({ length: 150 }, () => peer.call("echo", [value]))
  );
  for (const reply of await Promise.all(replies)) assertEquals(reply, value);
  assertEquals(client.stats(), { callsOpen: 0, callsRunning: 0, strays: 0 });
  await client.close();
});
