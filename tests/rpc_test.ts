/** RPC as it is published: over TCP, TLS, Unix sockets and in memory. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertThrows,
} from "@std/assert";
import * as z from "npm:zod@4.6.7";
import {
  AuthenticationError,
  type ClientEvent,
  connect,
  ConnectionClosedError,
  encodeFrame,
  fromDuplex,
  InvalidMessageError,
  listen,
  SERVE_DEFAULTS,
  sharedToken,
} from "../mod.ts";
import {
  connectRpc,
  type ConnectRpcOptions,
  createRpcClient,
  method,
  rpc,
  type RpcContext,
  RpcError,
  type RpcMethods,
  serveRpc,
  type ServeRpcOptions,
} from "../rpc.ts";
import { Clock, listening, standstill, until } from "./ledger.ts";
import { certificates } from "./certificates.ts";
import { memoryPair } from "./memory_pair.ts";
import { turn } from "./turns.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };

const methods = {
  add: (a: number, b: number) => a + b,
  echo: (value: unknown) => value,
  fail() {
    throw new RpcError(7, "It fails", { why: "because" });
  },
  async sleep(this: RpcContext, { ms }: { ms: number }): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const timer = setTimeout(() => resolve("slept"), ms);
    this.signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(this.signal.reason);
    });
    return await promise;
  },
  async *count({ to }: { to: number }): AsyncGenerator<number, string> {
    for (let i = 1; i <= to; i++) yield i;
    return "counted";
  },
  async ask(this: RpcContext<{ name(): string }>): Promise<string> {
    return `Hello, ${await this.api.name()}`;
  },
};

type Methods = typeof methods;

Deno.test("serveRpc() and connectRpc() speak over TCP, TLS and a Unix socket", async () => {
  const folder = await Deno.makeTempDir();
  const { ca, server: identity } = certificates();
  const token = sharedToken("a token that is long enough");
  const cases: [ServeRpcOptions, ConnectRpcOptions][] = [
    [LOCAL, {}],
    [{ path: `${folder}/socket` }, {}],
    [{ ...LOCAL, tls: identity }, { tls: { ca } }],
    [
      { ...LOCAL, tls: identity, authenticate: token },
      { tls: { ca }, authenticate: token },
    ],
  ];
  for (const [serverOptions, clientOptions] of cases) {
    await using server = serveRpc(serverOptions, methods);
    await using client = await connectRpc<Methods>(
      { ...server.addr, ...clientOptions },
      { name: () => "Ada" },
    );
    assertEquals(await client.api.add(1, 2), 3);
    assertEquals(await client.api.ask(), "Hello, Ada");
    const items = await Array.fromAsync(client.api.count({ to: 3_000 }));
    assertEquals(items.length, 3_000);
    const error = await assertRejects(() => client.api.fail(), RpcError);
    assertEquals([error.code, error.data], [7, { why: "because" }]);
    await assertRejects(
      () => client.call("sleep", { ms: 60_000 }, { timeout: 20 }),
      DOMException,
    );
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("serveRpc() accepts only authenticated clients", async () => {
  const authenticate = sharedToken("a token that is long enough");
  await using server = serveRpc({ ...LOCAL, authenticate }, methods);
  await assertRejects(
    () =>
      connectRpc({
        ...server.addr,
        authenticate: sharedToken("another that is long enough"),
      }),
    AuthenticationError,
  );
  await using client = await connectRpc<Methods>({
    ...server.addr,
    authenticate,
  });
  assertEquals(await client.api.add(1, 2), 3);
});

Deno.test("rpc() speaks over any connection", async () => {
  const [near, far] = memoryPair();
  const server = rpc(fromDuplex(near), methods);
  const client = rpc<Methods>(fromDuplex(far), { name: () => "Bob" });
  assertEquals(await client.api.ask(), "Hello, Bob");
  await client.close();
  await server.connection.closed;

  using listener = listen(LOCAL);
  const accepting = listener.accept();
  await using caller = rpc<Methods>(await connect(listener.addr));
  await using answerer = rpc(await accepting, methods);
  assertEquals(await caller.api.add(2, 3), 5);
  assertEquals(answerer.stats().callsRunning, 0);
});

Deno.test("RpcServer knows its peers, and can call them", async () => {
  await using server = serveRpc<{ name(): string }>(LOCAL, methods);
  const names = ["Ada", "Bob", "Eve"];
  const clients = await Promise.all(
    names.map((name) => connectRpc<Methods>(server.addr, { name: () => name })),
  );
  for (const client of clients) await client.api.add(0, 0);
  assertEquals(server.peers.size, 3);
  const answers = await Promise.all(
    [...server.peers].map((peer) => peer.api.name()),
  );
  assertEquals(answers.toSorted(), names);
  for (const client of clients) await client.close();
  while (server.peers.size > 0) {
    await new Promise((next) => setTimeout(next, 1));
  }
});

Deno.test("RpcServer shuts down when the calls that it has are answered", async () => {
  const gate = Promise.withResolvers<string>();
  const server = serveRpc(LOCAL, { ...methods, wait: () => gate.promise });
  const idle = await connectRpc(server.addr);
  const client = await connectRpc<Methods & { wait(): string }>(server.addr);
  const waiting = client.api.wait();
  const items = client.api.count({ to: 1e9 })[Symbol.asyncIterator]();
  await items.next();
  const shutdown = server.shutdown();
  await idle.connection.closed;
  const error = await assertRejects(() => client.api.add(1, 2), RpcError);
  assertEquals(error.code, -32002);
  gate.resolve("done");
  assertEquals(await waiting, "done");
  const ended = await assertRejects(async () => {
    while (!(await items.next()).done);
  }, RpcError);
  assertEquals([ended.code, ended.message], [-32002, "Shutting down"]);
  await shutdown;
  await server.finished;
  assertEquals(await client.connection.closed, { clean: true });
});

Deno.test("RpcServer aborts what is left after shutdownTimeout", async () => {
  const server = serveRpc({ ...LOCAL, shutdownTimeout: 50 }, {
    ...methods,
    never: () => new Promise(() => {}),
  });
  const client = await connectRpc<Methods & { never(): void }>(server.addr);
  const sleeping = assertRejects(
    () => client.api.sleep({ ms: 60_000 }),
    RpcError,
    "Shutting down",
  );
  const left = assertRejects(() => client.api.never(), ConnectionClosedError);
  await client.api.add(0, 0);
  await server.shutdown();
  await sleeping;
  await left;
  await client.close();
});

Deno.test("two peers that call each other for more than all buffers hold get all of it", async () => {
  const large = "x".repeat(100 * 1024);
  const both = { large: () => large, later: () => Promise.resolve(large) };
  await using server = serveRpc(LOCAL, both);
  await using client = await connectRpc<typeof both>(server.addr, both);
  await client.api.later();
  const [peer] = server.peers as Set<typeof client>;
  const replies = [client, peer].flatMap(({ api }) =>
    Array.from({ length: 200 }, (_, i) => i % 2 ? api.large() : api.later())
  );
  for (const reply of await Promise.all(replies)) {
    assertEquals(reply.length, large.length);
  }
});

Deno.test("two peers that notify each other of more than all buffers hold get all of it", async () => {
  const count = 200;
  const done = Promise.withResolvers<void>();
  let received = 0;
  const both = {
    ping() {},
    note(_: string) {
      if (++received === 2 * count) done.resolve();
    },
  };
  await using server = serveRpc(LOCAL, both);
  await using client = await connectRpc<typeof both>(server.addr, both);
  await client.api.ping();
  const [peer] = server.peers as Set<typeof client>;
  const large = "x".repeat(100 * 1024);
  await Promise.all([client, peer].map(async (peer) => {
    for (let i = 0; i < count; i++) await peer.notify("note", [large]);
  }));
  await done.promise;
});

Deno.test("a call is cancelled at the other end, over TCP", async () => {
  const aborted = Promise.withResolvers<unknown>();
  await using server = serveRpc(LOCAL, {
    async never(this: RpcContext) {
      await new Promise(() => {
        this.signal.addEventListener(
          "abort",
          () => aborted.resolve(this.signal.reason),
        );
      });
    },
  });
  await using client = await connectRpc(server.addr);
  const controller = new AbortController();
  const call = client.call("never", [], { signal: controller.signal });
  controller.abort(new Error("never mind"));
  await assertRejects(() => call, Error, "never mind");
  const reason = await aborted.promise;
  assertInstanceOf(reason, DOMException);
  assertEquals(reason.name, "AbortError");
});

Deno.test("a method's parameters are checked by a schema of Zod", async () => {
  const checked = {
    add: method({
      params: z.union([
        z.tuple([z.number(), z.number()]),
        z.object({ a: z.number(), b: z.number() })
          .transform(({ a, b }): [number, number] => [a, b]),
      ]),
      handler: ([a, b]) => a + b,
    }),
    later: method({
      params: z.object({
        name: z.string().refine((name) => Promise.resolve(name !== "taken")),
      }),
      handler: ({ name }) => name.toUpperCase(),
    }),
    list: method({
      params: z.tuple([z.array(z.object({ id: z.int() }))]),
      async *handler([list]) {
        for (const { id } of list) yield id;
      },
    }),
  };
  await using server = serveRpc(LOCAL, checked);
  await using client = await connectRpc<typeof checked>(server.addr);
  assertEquals(await client.api.add(1, 2), 3);
  assertEquals(await client.api.add({ a: 1, b: 2 }), 3);
  assertEquals(await client.api.later({ name: "free" }), "FREE");
  const ids = client.api.list([{ id: 1 }, { id: 2 }]);
  assertEquals(await Array.fromAsync(ids), [1, 2]);

  const wrong: [method: string, params: object | undefined, path: unknown[]][] =
    [
      ["add", [1], []],
      ["add", [1, "2"], []],
      ["add", undefined, []],
      ["later", { name: 1 }, ["name"]],
      ["later", { name: "taken" }, ["name"]],
      ["list", [[{ id: 1 }, { id: 0.5 }]], [0, 1, "id"]],
    ];
  for (const [name, params, path] of wrong) {
    const error = await assertRejects(
      () => client.call(name as "add", params as [number, number]),
      RpcError,
      "Invalid params",
    );
    assertEquals(error.code, -32602);
    const [issue] = error.data as { message: string; path: unknown[] }[];
    assertEquals(issue.path, path);
    assert(issue.message.length > 0);
  }
});

Deno.test("createRpcClient() connects again, and sends no call twice", async () => {
  let runs = 0;
  const never = { ...methods, never: () => new Promise(() => runs++) };
  const server = serveRpc(LOCAL, never);
  const { addr } = server;
  const events: ClientEvent["type"][] = [];
  await using client = await createRpcClient<
    Methods & { never(): void; name(): string }
  >({
    ...addr,
    maxRetryDelay: 1,
    onEvent: ({ type }) => events.push(type),
  }, { name: () => "Ada" });
  assertEquals(await client.api.add(1, 2), 3);
  const lost = assertRejects(() => client.api.never(), ConnectionClosedError);
  await client.api.add(0, 0);
  for (const connection of server.connections) connection.abort();
  await lost;
  const later = client.api.add(2, 3);
  assertEquals(await later, 5);
  assertEquals(await client.api.ask(), "Hello, Ada");
  assertEquals(runs, 1);

  for (const connection of server.connections) connection.abort();
  await server.shutdown();
  while (!events.includes("failed")) {
    await new Promise((next) => setTimeout(next, 1));
  }
  await assertRejects(
    () => client.call("add", [1, 2], { timeout: 20 }),
    DOMException,
    'Cannot call "add": no connection after 20 ms',
  );
  await assertRejects(
    () =>
      client.call("add", [1, 2], {
        signal: AbortSignal.abort(new Error("never mind")),
      }),
    Error,
    "never mind",
  );
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = assertRejects(
    () => client.call("add", [1, 2], { signal }),
    Error,
    "enough",
  );
  controller.abort(new Error("enough"));
  await aborted;
  const items = Array.fromAsync(client.api.count({ to: 3 }));
  const plain = client.call("add", [3, 4], { timeout: 5_000 });
  const note = client.notify("add", [1, 1]);
  await using _ = serveRpc({ ...addr }, never);
  assertEquals(await items, [1, 2, 3]);
  assertEquals(await plain, 7);
  await note;
});

Deno.test("createRpcClient() stays connected again after a call that had to try again", async () => {
  const first = serveRpc(LOCAL, methods);
  const { addr } = first;
  const failed = Promise.withResolvers<void>();
  await using client = await createRpcClient<Methods>({
    ...addr,
    maxRetryDelay: 1,
    onEvent: ({ type }) => type === "failed" && failed.resolve(),
  }, { name: () => "Ada" });
  await first.shutdown();
  await failed.promise;
  await using server = serveRpc<{ name(): string }>({ ...addr }, methods);
  assertEquals(await client.api.add(1, 2), 3);
  const [lost] = server.peers;
  lost.connection.abort();
  while ([...server.peers].every((peer) => peer === lost)) {
    await new Promise((next) => setTimeout(next, 1));
  }
  const [found] = [...server.peers].filter((peer) => peer !== lost);
  assertEquals(await found.api.name(), "Ada");
});

Deno.test("createRpcClient() rejects calls when it is closed", async () => {
  await using server = serveRpc(LOCAL, methods);
  const client = await createRpcClient<Methods>(server.addr);
  await client.close();
  await client.close();
  await assertRejects(() => client.api.add(1, 2), ConnectionClosedError);
  await assertRejects(
    () => client.notify("add", [1, 2]),
    ConnectionClosedError,
  );
});

Deno.test("connectRpc() finds a server that has disappeared without closing", async () => {
  using clock = new Clock(1_000);
  using listener = listen(LOCAL);
  const client = await connectRpc({
    ...listener.addr,
    heartbeat: 1_000,
  });
  const silent = await listener.accept();
  await listening(client.connection);
  clock.advance(3_000);
  const end = await client.connection.closed;
  assert(!end.clean);
  assertInstanceOf(end.cause, DOMException);
  assertEquals(end.cause.name, "TimeoutError");
  silent.abort();

  await using server = serveRpc(LOCAL, methods);
  await using other = await connectRpc<Methods>({
    ...server.addr,
    heartbeat: 1_000,
  });
  const { messagesReceived, messagesSent } = other.connection.stats();
  for (let i = 1; i <= 5; i++) {
    await clock.advanceUntil(
      () => other.connection.stats().messagesSent === messagesSent + i,
      "no heartbeat",
    );
    await until(
      () => other.connection.stats().messagesReceived === messagesReceived + i,
      "no answer to a heartbeat",
    );
  }
  assertEquals(await other.api.add(1, 2), 3);
});

Deno.test("RpcClient sends parameters as they were at the call, and leaves a stream before there is a connection", async () => {
  const first = serveRpc(LOCAL, methods);
  const { addr } = first;
  const waits = Promise.withResolvers<void>();
  await using client = await createRpcClient<Methods>({
    ...addr,
    maxRetryDelay: 1,
    onEvent: ({ type }) => type === "failed" && waits.resolve(),
  });
  await first.shutdown();
  await waits.promise;
  const params: [number, number] = [1, 2];
  const sum = client.call("add", params);
  params[0] = 100;
  const items = client.api.count({ to: 3 })[Symbol.asyncIterator]();
  const next = items.next();
  assertEquals((await items.return!()).done, true);
  assertEquals((await next).done, true);
  await using _ = serveRpc({ ...addr }, methods);
  assertEquals(await sum, 3);
});

/** A method that is told when nobody waits for it, and one that streams. */
function waiting(): {
  methods: RpcMethods;
  aborted: Promise<unknown>[];
} {
  const gone = [0, 1].map(() => Promise.withResolvers<unknown>());
  function wait(signal: AbortSignal, i: number): Promise<void> {
    return new Promise((resolve) =>
      signal.addEventListener("abort", () => {
        gone[i].resolve(signal.reason);
        resolve();
      })
    );
  }
  return {
    methods: {
      async wait() {
        await wait(this.signal, 0);
      },
      async *events() {
        yield "first";
        await wait(this.signal, 1);
      },
    },
    aborted: gone.map(({ promise }) => promise),
  };
}

Deno.test("serveRpc() aborts the methods at work for a client that disappears without closing", async () => {
  for (const [i, method] of ["wait", "events"].entries()) {
    const { methods, aborted } = waiting();
    using clock = new Clock(SERVE_DEFAULTS.idleTimeout / 3);
    await using server = serveRpc(LOCAL, methods);
    const conn = await Deno.connect(server.addr as Deno.ConnectOptions);
    await conn.write(encodeFrame({ jsonrpc: "2.0", id: 1, method }));
    while ([...server.peers].every((one) => one.stats().callsRunning === 0)) {
      await new Promise((next) => setTimeout(next, 1));
    }
    // As a process does that is killed.
    conn.close();
    await until(() => {
      clock.advance(clock.period);
      return server.connections.size === 0;
    }, "the server does not know");
    assertInstanceOf(await aborted[i], ConnectionClosedError);
  }
});

Deno.test("serveRpc() lets a client know that it is there while a stream is quiet", async () => {
  const gate = Promise.withResolvers<void>();
  using alive = new Clock(1_000);
  using idle = new Clock(6_000);
  await using server = serveRpc({ ...LOCAL, idleTimeout: 3_000 }, {
    async *quiet() {
      yield 1;
      await gate.promise;
      yield 2;
    },
  });
  await using client = await connectRpc({ ...server.addr, idleTimeout: 6_000 });
  const items = (client.api.quiet() as AsyncIterable<unknown>)
    [Symbol.asyncIterator]();
  assertEquals((await items.next()).value, 1);
  const { messagesReceived } = client.connection.stats();
  for (let i = 1; i <= 5; i++) {
    await until(() => {
      alive.advance(alive.period);
      return client.connection.stats().messagesReceived >= messagesReceived + i;
    }, "the server says nothing");
    idle.advance(5_000);
  }
  gate.resolve();
  assertEquals((await items.next()).value, 2);
  await items.return!();
});

Deno.test("a stream that is read slowly does not make its server look idle", async () => {
  using clock = new Clock(1_000);
  await using server = serveRpc(LOCAL, methods);
  await using client = await connectRpc<Methods>({
    ...server.addr,
    idleTimeout: 1_000,
  });
  let count = 0;
  for await (const _ of client.api.count({ to: 2_000 })) {
    if (++count !== 50) continue;
    await standstill(() => client.connection.stats().messagesReceived);
    clock.advance(4_000);
  }
  assertEquals(count, 2_000);
});

Deno.test("a stream fails where an item cannot be read at the other end, and loses none in silence", async () => {
  let deep: unknown = 1;
  for (let i = 0; i < 127; i++) deep = [deep];
  await using server = serveRpc({ ...LOCAL, onError() {} }, {
    async *items() {
      yield 1;
      yield deep;
      yield 3;
    },
  });
  await using client = await connectRpc(server.addr);
  const seen: unknown[] = [];
  const error = await assertRejects(async () => {
    const items = client.api.items() as AsyncIterable<unknown>;
    for await (const item of items) seen.push(item);
  }, RpcError);
  assertEquals([seen, error.code], [[1], -32603]);
  await assertRejects(
    () => client.call("items", [deep]),
    InvalidMessageError,
    "Cannot encode message: the value is nested deeper than 128 levels",
  );
});

Deno.test("serveRpc() and connectRpc() reject what they do not know, before anything is opened", async () => {
  const wrong: [options: object, text: string][] = [
    [{ maxInFlight: 0 }, 'option "maxInFlight": received 0'],
    [{ maxBatch: 1 }, 'option "maxBatch": it does not exist'],
    [{ port: -1 }, 'option "port": received -1'],
    [{ timeout: "soon" }, 'option "timeout": received "soon"'],
  ];
  for (const [options, text] of wrong) {
    assertThrows(
      () => serveRpc({ ...LOCAL, ...options }, methods),
      Error,
      text,
    );
    await assertRejects(
      () => connectRpc({ hostname: "127.0.0.1", port: 1, ...options }),
      Error,
      text,
    );
  }
  assertThrows(() => serveRpc(LOCAL, { one: 1 } as never), TypeError, '"one"');
  await assertRejects(
    () => connectRpc({ heartbeat: true as never }),
    TypeError,
    'option "heartbeat": received true, expected false or a number',
  );
  await assertRejects(
    () => connectRpc({}, { "rpc.mine": () => 1 }),
    TypeError,
    "are taken",
  );
});

Deno.test("onError of a client that connects again hears of an error without an id", async () => {
  using listener = listen(LOCAL);
  const heard = Promise.withResolvers<unknown>();
  await using client = await createRpcClient({
    ...listener.addr,
    onError: heard.resolve,
  });
  await using server = await listener.accept();
  const calls = [client.call("one"), client.call("two")];
  const requests = server[Symbol.asyncIterator]();
  for (let i = 0; i < 2; i++) await requests.next();
  const error = { code: -32700, message: "Parse error" };
  await server.send({ jsonrpc: "2.0", id: null, error });
  assertInstanceOf(await heard.promise, RpcError);
  await client.close();
  for (const call of calls) await assertRejects(() => call);
});

Deno.test("a stream with a caller that reads slowly takes no memory, over TCP", async () => {
  let yielded = 0;
  const text = "x".repeat(1_000);
  await using server = serveRpc(LOCAL, {
    async *endless() {
      for (;; yielded++) yield text;
    },
  });
  await using client = await connectRpc(server.addr);
  const items = client.api.endless()[Symbol.asyncIterator]();
  let taken = 0;
  for (let round = 0; round < 50; round++) {
    for (let i = 0; i < 20; i++, taken++) await items.next();
    await new Promise((next) => setTimeout(next, 1));
    assertLess(yielded - taken, 1_025);
  }
  for (const { bytesQueued } of [...server.connections].map((c) => c.stats())) {
    assertLess(bytesQueued, 300_000);
  }
  await items.return!();
  await client.close();
  await server.shutdown();
  await turn(); // the stream may have been giving way
});
