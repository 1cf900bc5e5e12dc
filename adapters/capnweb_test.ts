import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import {
  type AnyRpcTransport,
  RpcSession,
  RpcTarget,
  type RpcTransport,
} from "npm:capnweb@0.12.0";
import {
  type Connection,
  ConnectionClosedError,
} from "../core/connection/connection.ts";
import {
  FrameDecoder,
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
import { ConnectionRpcTransport } from "./capnweb.ts";

class Counter extends RpcTarget {
  #count: number;

  constructor(count: number) {
    super();
    this.#count = count;
  }

  add(amount: number): number {
    return this.#count += amount;
  }
}

class Api extends RpcTarget {
  readonly started: Promise<void>;
  #start!: () => void;

  constructor() {
    super();
    this.started = new Promise((resolve) => this.#start = resolve);
  }

  echo(value: unknown): unknown {
    return value;
  }

  counter(from: number): Counter {
    return new Counter(from);
  }

  async each(
    items: string[],
    callback: (item: string) => string,
  ): Promise<string[]> {
    const results: string[] = [];
    for (const item of items) results.push(await callback(item));
    return results;
  }

  fail(): never {
    throw new RangeError("oh é");
  }

  numbers(): ReadableStream<number> {
    return ReadableStream.from([1, 2, 3]);
  }

  hang(): Promise<never> {
    this.#start();
    return new Promise(() => {});
  }
}

function open(connection: Connection, main?: RpcTarget): RpcSession<Api> {
  // That the type is the library's own is part of the test.
  const transport: AnyRpcTransport = new ConnectionRpcTransport(connection);
  return new RpcSession<Api>(transport, main);
}

/** What a call rejects with; a stub's promise is no promise to `assertRejects`. */
function rejected<E extends Error>(
  call: PromiseLike<unknown>,
  type?: abstract new (...parameters: never[]) => E,
  text?: string,
): Promise<E> {
  return assertRejects(async () => await call, type as never, text);
}

for (const [name, connections] of CONNECTIONS) {
  Deno.test(`calls, callbacks, references, streams and errors go both ways over ${name}`, async () => {
    const [near, far] = await connections();
    const one = open(near, new Api());
    const other = open(far, new Api());
    for (const api of [one.getRemoteMain(), other.getRemoteMain()]) {
      assertEquals(
        await Promise.all(Array.from({ length: 100 }, (_, i) => api.echo(i))),
        Array.from({ length: 100 }, (_, i) => i),
      );
      const values = { text: "é", list: [1, [2]], big: 1n, at: new Date(0) };
      assertEquals<unknown>(await api.echo(values), values);
      assertEquals(
        await api.each(["a", "b"], (item) => item.toUpperCase()),
        ["A", "B"],
      );
      const error = await rejected(api.fail(), RangeError);
      assertEquals(error.message, "oh é");
      assertEquals(await Array.fromAsync(await api.numbers()), [1, 2, 3]);
    }
    one.getRemoteMain()[Symbol.dispose]();
    await Promise.all([near.closed, far.closed]);
  });

  Deno.test(`a call on a result that is yet to come goes out with the call for it over ${name}`, async () => {
    const [near, far] = await connections();
    const api = open(near).getRemoteMain();
    open(far, new Api());
    const counter = api.counter(10);
    const results = [counter.add(1), counter.add(2)];
    assertEquals(near.stats().messagesReceived, 0);
    assertEquals(await Promise.all(results), [11, 13]);
    api[Symbol.dispose]();
    await Promise.all([near.closed, far.closed]);
  });

  Deno.test(`calls that are pending reject, and later ones too, when the peer vanishes over ${name}`, async () => {
    const [near, far] = await connections();
    const api = open(near).getRemoteMain();
    const served = new Api();
    const other = open(far, served);
    const broken = new Promise((resolve) => api.onRpcBroken(resolve));
    const call = rejected(api.hang(), ConnectionClosedError);
    await served.started;
    const reason = new Error("pulled the plug");
    far.abort(reason);
    const error = await call;
    assertStrictEquals(await broken, error);
    await rejected(api.echo(1), ConnectionClosedError);
    // The end that was cut off itself hears why.
    const lost = await rejected(
      other.getRemoteMain().echo(1),
      ConnectionClosedError,
    );
    assertStrictEquals(lost.cause, reason);
    await Promise.all([near.closed, far.closed]);
  });

  Deno.test(`disposing of the main stub closes the connection at both ends over ${name}`, async () => {
    const [near, far] = await connections();
    const api = open(near).getRemoteMain();
    const other = open(far, new Api()).getRemoteMain();
    assertEquals(await api.echo("hi"), "hi");
    const broken = new Promise((resolve) => other.onRpcBroken(resolve));
    api[Symbol.dispose]();
    assertEquals(await near.closed, { clean: true });
    assertEquals(await far.closed, { clean: true });
    const error = await broken;
    assertInstanceOf(error, ConnectionClosedError);
    assert(error.clean);
  });
}

Deno.test("the wire holds the JSON values that the library's own transports carry as text", async () => {
  const { near, one, other } = memoryConnections();
  const api = open(one).getRemoteMain();
  const messages = other[Symbol.asyncIterator]();
  // As a transport of the library's usual kind would be, on any peer.
  const transport: RpcTransport = {
    send: (text) => other.send(JSON.parse(text)),
    receive: async () => JSON.stringify((await messages.next()).value),
    abort: () => void other.close(),
  };
  new RpcSession(transport, new Api());
  assertEquals(await api.echo({ a: ["é"] }), { a: ["é"] });
  const decoder = new FrameDecoder();
  const sent = near.writes.flatMap((bytes) => [...decoder.push(bytes)]);
  assertEquals(sent.slice(0, 2), [
    ["push", ["pipeline", 0, ["echo"], [{ a: [["é"]] }]]],
    ["pull", 1],
  ]);
  api[Symbol.dispose]();
  await Promise.all([one.closed, other.closed]);
});

Deno.test("pending calls reject when the link is cut", async () => {
  const { near, one, other } = memoryConnections();
  const api = open(one).getRemoteMain();
  const served = new Api();
  open(other, served);
  const call = rejected(api.hang(), ConnectionClosedError);
  await served.started;
  near.cut();
  const error = await call;
  assert(!error.clean);
  assertInstanceOf(error.cause, Deno.errors.ConnectionReset);
});

Deno.test("a bad message in a good frame ends the session, and the peer is told", async () => {
  const { far, one, other } = memoryConnections();
  const served = new Api();
  const api = open(other).getRemoteMain();
  const session = open(one, served);
  const call = rejected(api.hang(), Error, "payload of 3 bytes is not JSON");
  await served.started;
  await far.write(Uint8Array.of(0, 0, 0, 3, 0x6e, 0x6f, 0x21)); // no!
  await call;
  await rejected(session.getRemoteMain().echo(1), InvalidMessageError);
  assertEquals(await one.closed, { clean: true });
  await other.closed;
});

Deno.test("a message that is too large is not sent, and ends the session", async () => {
  const [near, far] = await tcpConnections({ maxFrameBytes: 1_000 });
  const api = open(near).getRemoteMain();
  open(far, new Api());
  assertEquals(await api.echo("fits"), "fits");
  const { bytesSent } = near.stats();
  const error = await rejected(
    api.echo("x".repeat(1_000)),
    FrameTooLargeError,
    "limit is 1000 bytes",
  );
  assertEquals(error.limit, 1_000);
  await Promise.all([near.closed, far.closed]);
  // Nothing of the call has left, but what the library adds to each.
  assertLess(near.stats().bytesSent - bytesSent, 100);
});

Deno.test("a message from the peer that is too large ends the session", async () => {
  const { far, connection } = rawConnection({ maxFrameBytes: 1_000 });
  const api = open(connection).getRemoteMain();
  const call = rejected(api.echo(1), FrameTooLargeError);
  await far.write(Uint8Array.of(0, 0, 3, 0xe9));
  await call;
  far.close();
  assertEquals((await connection.closed).clean, false);
});

Deno.test("a session gets what came before it, in order", async () => {
  const [near, far] = await tcpConnections();
  await near.send("hello");
  const api = open(near).getRemoteMain();
  const counter = api.counter(0);
  const results = Array.from({ length: 100 }, () => counter.add(1));
  const sums = Promise.all(results);
  // The receiving side was used before, and has read ahead.
  for await (const message of far) {
    assertEquals<unknown>(message, "hello");
    break;
  }
  await turn();
  open(far, new Api());
  assertEquals(await sums, Array.from({ length: 100 }, (_, i) => i + 1));
  api[Symbol.dispose]();
  await Promise.all([near.closed, far.closed]);
});

Deno.test("receive() rejects at the end, each time it is called", async () => {
  const { one, other } = memoryConnections();
  const transport = new ConnectionRpcTransport(one);
  const early = transport.receive();
  await other.send(["first"]);
  await other.send(["second"]);
  await other.close();
  assertEquals([await early, await transport.receive()], [
    ["first"],
    ["second"],
  ]);
  for (let i = 0; i < 2; i++) {
    const error = await assertRejects(
      () => transport.receive(),
      ConnectionClosedError,
      "Cannot receive message: the connection is closed",
    );
    assert(error.clean);
  }
  transport.send(["late"]);
  const error = await assertRejects(() => transport.receive());
  assertInstanceOf(error, ConnectionClosedError);
});

Deno.test("abort() lets everything leave that was sent before", async () => {
  const { near, one, other } = memoryConnections();
  const transport = new ConnectionRpcTransport(one);
  near.hold();
  transport.send(["abort", ["error", "Error", "why"]]);
  transport.abort(new Error("why"));
  await turn();
  near.release();
  assertEquals<unknown>(await Array.fromAsync(other), [
    ["abort", ["error", "Error", "why"]],
  ]);
  await other.close();
  assertEquals(await one.closed, { clean: true });
});
