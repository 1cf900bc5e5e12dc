import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLessOrEqual,
  assertRejects,
  assertThrows,
} from "@std/assert";
import {
  CancellationTokenSource,
  createMessageConnection,
  ErrorCodes,
  type Message,
  type MessageConnection,
  MessageReader,
  MessageWriter,
  ResponseError,
} from "npm:vscode-jsonrpc@10.0.0/node";
import {
  type Connection,
  ConnectionClosedError,
  fromDuplex,
} from "../core/connection/connection.ts";
import {
  encodeFrame,
  FrameTooLargeError,
  InvalidMessageError,
} from "../framing.ts";
import {
  CONNECTIONS,
  memoryConnections,
  rawConnection,
  tcpConnections,
  turn,
} from "../tests/connection_pairs.ts";
import { memoryPair } from "../tests/memory_pair.ts";
import { Reports } from "../tests/reports.ts";
import {
  ConnectionMessageReader,
  ConnectionMessageWriter,
} from "./vscode_jsonrpc.ts";

/** A message connection that is disposed of when the link has ended. */
function open(connection: Connection): {
  rpc: MessageConnection;
  errors: Error[];
  closed: Promise<void>;
} {
  // That the types are the library's own is part of the test.
  const reader: MessageReader = new ConnectionMessageReader(connection);
  const writer: MessageWriter = new ConnectionMessageWriter(connection);
  const rpc = createMessageConnection(reader, writer);
  const errors: Error[] = [];
  rpc.onError(([error]) => errors.push(error));
  const closed = new Promise<void>((resolve) =>
    rpc.onClose(() => {
      rpc.dispose();
      resolve();
    })
  );
  return { rpc, errors, closed };
}

/** A call that the other side never answers, and when it has got there. */
async function pendingCall(
  caller: MessageConnection,
  callee: MessageConnection,
): Promise<Promise<unknown>[]> {
  const arrived = new Promise<void>((resolve) =>
    callee.onRequest("wait", () => {
      resolve();
      return new Promise(() => {});
    })
  );
  const call = caller.sendRequest("wait");
  call.catch(() => {});
  await arrived;
  return [call];
}

Deno.test("the library takes the reader and the writer for its own", async () => {
  const { one, other } = memoryConnections();
  assert(MessageReader.is(new ConnectionMessageReader(one)));
  assert(MessageWriter.is(new ConnectionMessageWriter(one)));
  await Promise.all([one.close(), other.close()]);
});

for (const [name, connections] of CONNECTIONS) {
  Deno.test(`requests, notifications and errors go both ways over ${name}`, async () => {
    const [near, far] = await connections();
    const one = open(near);
    const other = open(far);
    one.rpc.onRequest("upper", (text: string) => text.toUpperCase());
    other.rpc.onRequest("add", (a: number, b: number) => a + b);
    other.rpc.onRequest("refuse", () => {
      throw new ResponseError(7, "no", { why: "é" });
    });
    other.rpc.onRequest("fail", () => Promise.reject(new Error("oh")));
    const noted = new Promise((resolve) =>
      other.rpc.onNotification("note", (params: unknown) => resolve(params))
    );
    one.rpc.listen();
    other.rpc.listen();

    const sums = Array.from(
      { length: 100 },
      (_, i) => one.rpc.sendRequest("add", i, 1),
    );
    assertEquals(
      await Promise.all(sums),
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
    assertEquals(await other.rpc.sendRequest("upper", "é"), "É");
    await one.rpc.sendNotification("note", { text: "hi" });
    assertEquals(await noted, { text: "hi" });

    for (
      const [method, code, data] of [
        ["refuse", 7, { why: "é" }],
        ["fail", ErrorCodes.InternalError, undefined],
        ["missing", ErrorCodes.MethodNotFound, undefined],
      ]
    ) {
      const error = await assertRejects(
        () => one.rpc.sendRequest(method as string),
        ResponseError,
      );
      assertEquals([error.code, error.data], [code, data]);
    }
    await near.close();
    await Promise.all([one.closed, other.closed, far.closed]);
    assertEquals([...one.errors, ...other.errors], []);
  });

  Deno.test(`a cancelled request reaches its handler over ${name}`, async () => {
    const [near, far] = await connections();
    const one = open(near);
    const other = open(far);
    const started = Promise.withResolvers<void>();
    other.rpc.onRequest("slow", (token) => {
      started.resolve();
      return new Promise((resolve) =>
        token.onCancellationRequested(() => resolve("cancelled"))
      );
    });
    other.rpc.onRequest("peek", (token) => token.isCancellationRequested);
    one.rpc.listen();
    other.rpc.listen();
    const source = new CancellationTokenSource();
    const slow = one.rpc.sendRequest("slow", source.token);
    await started.promise;
    source.cancel();
    assertEquals(await slow, "cancelled");

    // Both have arrived before the handler starts, as with the library's own
    // reader.
    const early = new CancellationTokenSource();
    const peek = one.rpc.sendRequest("peek", early.token);
    early.cancel();
    assertEquals(await peek, true);
    await near.close();
    await Promise.all([one.closed, other.closed]);
  });

  Deno.test(`calls that are pending reject, and both ends hear of it, when the peer vanishes over ${name}`, async () => {
    const [near, far] = await connections();
    const one = open(near);
    const other = open(far);
    one.rpc.listen();
    other.rpc.listen();
    const [call] = await pendingCall(one.rpc, other.rpc);
    far.abort(new Error("pulled the plug"));
    const error = await assertRejects(() => call, ResponseError);
    assertEquals(error.code, ErrorCodes.PendingResponseRejected);
    await Promise.all([one.closed, other.closed]);
    assertThrows(() => one.rpc.sendRequest("wait"), Error, "disposed");
    assertInstanceOf(other.errors[0], ConnectionClosedError);
  });

  Deno.test(`replies that come just before the end are not lost over ${name}`, async () => {
    const [near, far] = await connections();
    const one = open(near);
    one.rpc.listen();
    const calls = Array.from(
      { length: 300 },
      (_, i) => one.rpc.sendRequest("echo", i),
    );
    let count = 0;
    const replies: unknown[] = [];
    for await (const message of far) {
      const { id, params } = message as { id: number; params: [number] };
      replies.push({ jsonrpc: "2.0", id, result: params[0] });
      if (++count === calls.length) break;
    }
    for (const reply of replies) far.send(reply);
    await far.close();
    assertEquals(
      await Promise.all(calls),
      Array.from({ length: 300 }, (_, i) => i),
    );
    await one.closed;
    assertEquals(one.errors, []);
  });
}

Deno.test("onError tells that the link was cut, before onClose", async () => {
  const { near, connection } = rawConnection();
  const one = open(connection);
  one.rpc.listen();
  near.cut();
  await one.closed;
  assertEquals(one.errors.length, 1);
  assertInstanceOf(one.errors[0], ConnectionClosedError);
  assertInstanceOf(one.errors[0].cause, Deno.errors.ConnectionReset);
});

Deno.test("onError tells of a bad message in a good frame, and the link goes on", async () => {
  const { far, connection } = rawConnection();
  const one = open(connection);
  one.rpc.onRequest("echo", (value: unknown) => value);
  one.rpc.listen();
  await far.write(Uint8Array.of(0, 0, 0, 3, 0x6e, 0x6f, 0x21)); // no!
  // Not JSON-RPC: the library throws over the first, and ignores the others.
  for (
    const message of [
      { jsonrpc: "2.0", method: "$/cancelRequest" },
      null,
      "",
      [],
      { id: {} },
    ]
  ) {
    await far.write(encodeFrame(message));
  }
  await far.write(
    encodeFrame({ jsonrpc: "2.0", id: 1, method: "echo", params: ["still"] }),
  );
  const reply = new Uint8Array(1_000);
  const count = await far.read(reply);
  assertEquals(
    reply.subarray(0, count!),
    encodeFrame({ jsonrpc: "2.0", id: 1, result: "still" }),
  );
  assertEquals(one.errors.map(({ name }) => name), [
    "InvalidMessageError",
    "TypeError",
  ]);
  far.close();
  await one.closed;
});

Deno.test("a request that is too large rejects, and the link goes on", async () => {
  const [near, far] = await tcpConnections({ maxFrameBytes: 1_000 });
  const one = open(near);
  const other = open(far);
  other.rpc.onRequest("length", (text: string) => text.length);
  other.rpc.onRequest("repeat", (count: number) => "x".repeat(count));
  one.rpc.listen();
  other.rpc.listen();
  const error = await assertRejects(
    () => one.rpc.sendRequest("length", "x".repeat(1_000)),
    ResponseError,
    "payload is 1056 bytes, limit is 1000 bytes",
  );
  assertEquals(error.code, ErrorCodes.MessageWriteError);
  assertInstanceOf(one.errors[0], FrameTooLargeError);
  // So does a reply that is too large: the caller is answered all the same.
  await assertRejects(
    () => one.rpc.sendRequest("repeat", 1_000),
    ResponseError,
    "limit is 1000 bytes",
  );
  await assertRejects(
    () => one.rpc.sendNotification("note", 1n),
    InvalidMessageError,
  );
  assertEquals(await one.rpc.sendRequest("length", "x"), 1);
  await near.close();
  await Promise.all([one.closed, other.closed]);
});

Deno.test("a message from the peer that is too large ends the link", async () => {
  const { far, connection } = rawConnection({ maxFrameBytes: 10 });
  const one = open(connection);
  one.rpc.listen();
  await far.write(Uint8Array.of(0, 0, 0, 11));
  await one.closed;
  assertInstanceOf(one.errors[0], FrameTooLargeError);
  far.close();
  assertEquals((await connection.closed).clean, false);
});

Deno.test("listen() gets what came before it, in order", async () => {
  const [near, far] = await tcpConnections();
  await near.send("hello");
  for (let i = 0; i < 1_000; i++) near.send({ jsonrpc: "2.0", i });
  await near.close();
  // The receiving side was used before, and has read ahead.
  for await (const message of far) {
    assertEquals<unknown>(message, "hello");
    break;
  }
  const received: unknown[] = [];
  const reader = new ConnectionMessageReader(far);
  const closed = new Promise<void>((resolve) => reader.onClose(resolve));
  await turn();
  reader.listen((message) => received.push(message));
  await closed;
  assertEquals(
    received,
    Array.from({ length: 1_000 }, (_, i) => ({ jsonrpc: "2.0", i })),
  );
});

Deno.test("listen() reads no more than 256 messages ahead of the library", async () => {
  const { one, other } = memoryConnections();
  for (let i = 0; i < 2_000; i++) other.send({ jsonrpc: "2.0", i });
  await other.close();
  const reader = new ConnectionMessageReader(one);
  let ended = false;
  reader.onClose(() => ended = true);
  let inTurn = 0;
  const perTurn: number[] = [];
  reader.listen(() => inTurn++);
  while (!ended) {
    await new Promise((resolve) => setImmediate(resolve));
    perTurn.push(inTurn);
    inTurn = 0;
  }
  assertEquals(perTurn.reduce((sum, count) => sum + count), 2_000);
  assertLessOrEqual(Math.max(...perTurn), 256);
  assertLessOrEqual(2_000, perTurn.length);
});

Deno.test("listen() throws when the connection has a reader already", async () => {
  const { one, other } = memoryConnections();
  new ConnectionMessageReader(one).listen(() => {});
  assertThrows(
    () => new ConnectionMessageReader(one).listen(() => {}),
    TypeError,
    "Cannot listen: the connection has a reader already",
  );
  await Promise.all([one.close(), other.close()]);
});

Deno.test("dispose() calls no listener any more, and leaves the connection open", async () => {
  const { one, other } = memoryConnections();
  const calls: string[] = [];
  const reader = new ConnectionMessageReader(one);
  const writer = new ConnectionMessageWriter(one);
  for (const part of [reader, writer]) {
    part.onError(() => calls.push("error"));
    part.onClose(() => calls.push("close"));
  }
  reader.listen(() => calls.push("message"));
  reader.dispose();
  writer.dispose();
  await one.send("still open");
  const { value } = await other[Symbol.asyncIterator]().next();
  assertEquals<unknown>(value, "still open");
  await other.send({ jsonrpc: "2.0" });
  await other.close();
  await one.closed;
  await assertRejects(
    () => writer.write({ jsonrpc: "2.0" }),
    ConnectionClosedError,
  );
  await turn();
  assertEquals(calls, []);
});

Deno.test("onError and onClose call every listener that is not disposed of", async () => {
  using reports = new Reports();
  const { one, other } = memoryConnections();
  const writer = new ConnectionMessageWriter(one);
  const calls: unknown[] = [];
  const disposables: { dispose(): void }[] = [];
  const owner = { name: "owner" };
  writer.onClose(() => {
    throw new Error("a listener that fails");
  });
  writer.onClose(
    function (this: typeof owner) {
      calls.push(this.name);
    },
    owner,
    disposables,
  );
  writer.onClose(() => calls.push("disposed of")).dispose();
  writer.onError(([error, message, count]) =>
    calls.push([error.name, message, count])
  );
  assertEquals(disposables.length, 1);
  await one.close();
  await turn();
  const message: Message = { jsonrpc: "2.0" };
  for (let i = 0; i < 2; i++) {
    await assertRejects(() => writer.write(message), ConnectionClosedError);
  }
  assertEquals(reports.errors.map(String), ["Error: a listener that fails"]);
  assertEquals(calls, [
    "owner",
    ["ConnectionClosedError", message, 1],
    ["ConnectionClosedError", message, 2],
  ]);
  await other.close();
});

Deno.test("write() waits above the high-water mark until the bytes are taken", async () => {
  const { near, one, other } = memoryConnections({ maxQueuedBytes: 10 });
  const writer = new ConnectionMessageWriter(one);
  near.hold();
  let waiting = true;
  const written = writer.write({ jsonrpc: "2.0" }).then(() => waiting = false);
  await turn();
  assert(waiting);
  near.release();
  await written;
  await Promise.all([one.close(), other.close()]);
});

Deno.test("end() ends the sending side once everything has left, and replies still come", async () => {
  const [near, far] = await tcpConnections();
  const one = open(near);
  one.rpc.listen();
  one.rpc.sendNotification("note", "last words");
  const reply = one.rpc.sendRequest("more?");
  one.rpc.end();
  const methods: unknown[] = [];
  for await (const message of far) {
    const { method, id } = message as { method: string; id?: number };
    methods.push(method);
    if (id !== undefined) far.send({ jsonrpc: "2.0", id, result: "no" });
  }
  await far.close();
  assertEquals(methods, ["note", "more?"]);
  assertEquals(await reply, "no");
  await one.closed;
  assertEquals(await near.closed, { clean: true });
  assertEquals(await far.closed, { clean: true });
});

Deno.test("end() closes the connection where it cannot be closed one way only", async () => {
  const [near, far] = memoryPair();
  const other = fromDuplex(far);
  const connection = fromDuplex({
    read: (space) => near.read(space),
    write: (bytes) => near.write(bytes),
    close: () => near.close(),
  });
  const writer = new ConnectionMessageWriter(connection);
  writer.write({ jsonrpc: "2.0" });
  writer.end();
  writer.end();
  assertEquals(await Array.fromAsync(other), [{ jsonrpc: "2.0" }]);
  await other.close();
  assertEquals(await connection.closed, { clean: true });
});
