/** What the compiler accepts and what it rejects: most of this never runs. */
import { assert } from "@std/assert";
import {
  method,
  rpc,
  type RpcContext,
  type RpcMethods,
  type RpcPeer,
  type StandardSchema,
} from "../rpc.ts";

/** Compiles if both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends
  (<T>() => T extends B ? 1 : 2) ? true : false;

function same<A, B>(_: Same<A, B>): void {}

interface Book {
  title: string;
  year?: number;
}

/** A contract as an interface. */
interface Library {
  add(a: number, b: number): number;
  find(query: { title: string; year?: number }): Promise<Book | undefined>;
  list(limit?: number): Book[];
  sum(numbers: number[]): number;
  ping(): void;
  watch(query: { title: string }): AsyncIterable<Book>;
  then(): string;
}

declare const pair: StandardSchema<[string, string], [number, number]>;
declare const either: StandardSchema<[number, number] | { a: number }>;
declare const optional: StandardSchema<{ a: number } | undefined>;

/** A contract as what is served. */
const methods = {
  add: (a: number, b: number) => a + b,
  async greet({ name }: { name: string }) {
    return `Hello, ${await Promise.resolve(name)}`;
  },
  async *count(this: RpcContext, to: number): AsyncGenerator<number, string> {
    for (let i = 0; i < to && !this.signal.aborted; i++) yield i;
    return "done";
  },
  *steps(to: number): Generator<number, string> {
    for (let i = 0; i < to; i++) yield i;
    return "done";
  },
  described: { description: "Says so", handler: (word: string) => word.length },
};

/** The same with schemas, which exist only at compile time here. */
function checkedMethods() {
  return {
    concat: method({ params: pair, handler: ([a, b]) => a.toFixed() + b }),
    either: method({
      params: either,
      handler: async (params) => "a" in params ? await params.a : params[0],
    }),
    optional: method({ params: optional, handler: (params) => params?.a }),
    ticks: method({
      params: optional,
      async *handler(params) {
        yield params?.a;
      },
    }),
  };
}

async function interfaceContract(peer: RpcPeer<Library>): Promise<void> {
  const { api } = peer;
  same<number, Awaited<ReturnType<typeof api.add>>>(true);
  const book = await api.find({ title: "a" });
  same<Book | null, typeof book>(true); // JSON has no undefined
  const books: Book[] = await api.list();
  await api.list(3);
  await api.sum([1, 2]);
  await api.ping();
  for await (const found of api.watch({ title: "a" })) found.title;
  for await (const found of await api.watch({ title: "a" })) found.title;
  books.length;

  // @ts-expect-error: no such method
  await api.subtract(1, 2);
  // @ts-expect-error: a parameter is missing
  await api.add(1);
  // @ts-expect-error: one too many
  await api.add(1, 2, 3);
  // @ts-expect-error: the wrong type
  await api.add(1, "2");
  // @ts-expect-error: the wrong member
  await api.find({ titel: "a" });
  // @ts-expect-error: no parameters at all
  await api.find();
  // @ts-expect-error: the result is no string
  (await api.add(1, 2)).length;
  // @ts-expect-error: it may be undefined
  (await api.find({ title: "a" })).title;
  // @ts-expect-error: a number is not streamed
  for await (const _ of api.add(1, 2));
  // @ts-expect-error: an item has no such member
  for await (const found of api.watch({ title: "a" })) found.author;
  // @ts-expect-error: the proxy is not thenable
  api.then;
}

async function explicitStyle(peer: RpcPeer<Library>): Promise<void> {
  const { signal } = new AbortController();
  const sum = await peer.call("add", [1, 2], { signal, timeout: 5 });
  same<number, typeof sum>(true);
  await peer.call("find", { title: "a" });
  await peer.call("find", [{ title: "a" }]);
  await peer.call("list");
  await peer.call("list", [], { timeout: Infinity });
  await peer.call("sum", [[1, 2]]);
  await peer.call("then");
  for await (const found of peer.call("watch", { title: "a" })) found.title;
  await peer.notify("ping");
  await peer.notify("add", [1, 2]);

  // @ts-expect-error: no such method
  await peer.call("subtract", [1, 2]);
  // @ts-expect-error: the parameters are missing
  await peer.call("add");
  // @ts-expect-error: one is missing
  await peer.call("add", [1]);
  // @ts-expect-error: by name, although it has two
  await peer.call("add", { a: 1, b: 2 });
  // @ts-expect-error: an array is not by name
  await peer.call("sum", [1, 2]);
  // @ts-expect-error: the wrong type
  await peer.call("find", { title: 1 });
  // @ts-expect-error: no such option
  await peer.call("add", [1, 2], { timeOut: 5 });
  // @ts-expect-error: a notification has no options
  await peer.notify("add", [1, 2], { signal });
  // @ts-expect-error: no such method
  await peer.notify("pong");
}

async function objectContract(peer: RpcPeer<typeof methods>): Promise<void> {
  const sum = await peer.api.add(1, 2);
  same<number, typeof sum>(true);
  const greeting = await peer.api.greet({ name: "a" });
  same<string, typeof greeting>(true);
  const length = await peer.api.described("a");
  same<number, typeof length>(true);
  for await (const item of peer.api.steps(3)) same<number, typeof item>(true);
  const count = peer.api.count(3)[Symbol.asyncIterator]();
  const step = await count.next();
  same<number | string, typeof step.value>(true);
  if (step.done) same<string, typeof step.value>(true);

  // @ts-expect-error: the call is not a parameter
  peer.api.count(3, {});
  // @ts-expect-error: the wrong type
  peer.api.described(1);
  // @ts-expect-error: no such method
  peer.api.discount(3);
}

async function schemaContract(
  peer: RpcPeer<ReturnType<typeof checkedMethods>>,
): Promise<void> {
  const text = await peer.api.concat("1", "2");
  same<string, typeof text>(true);
  await peer.api.either(1, 2);
  await peer.api.either({ a: 1 });
  await peer.call("either", [1, 2]);
  await peer.call("either", { a: 1 });
  const maybe = await peer.api.optional();
  same<number | null, typeof maybe>(true);
  await peer.api.optional({ a: 1 });
  for await (const tick of peer.api.ticks()) tick?.toFixed();

  // @ts-expect-error: what the schema makes is not what it accepts
  await peer.api.concat(1, 2);
  // @ts-expect-error: the wrong type
  await peer.api.either({ b: 1 });
  // @ts-expect-error: the wrong type
  await peer.api.optional({ a: "1" });
}

async function noContract(peer: RpcPeer): Promise<void> {
  const result = await peer.api.anything(1, "a", {});
  same<unknown, typeof result>(true);
  await peer.call("any.thing", { a: 1 }, { timeout: 5 });
  await peer.call("any.thing", [1]);
  await peer.call("any.thing");
  for await (const item of peer.api.anything()) {
    same<unknown, typeof item>(true);
  }

  // @ts-expect-error: nothing is known of it
  result.length;
  // @ts-expect-error: parameters are an array or an object
  await peer.call("any.thing", 1);
}

function whatIsServed(connection: Parameters<typeof rpc>[0]): void {
  rpc(connection, methods);
  rpc(connection, checkedMethods());
  rpc<Library>(connection, {
    inferred(a, b) {
      same<unknown, typeof a | typeof b>(true);
      same<RpcContext<Library>, typeof this>(true);
      this.api.add(1, 2);
      // @ts-expect-error: no such method
      this.api.subtract(1, 2);
    },
    async nested() {
      return await this.call("add", [this.timeLeft, 2]);
    },
  });
  const typed = {
    async ask(this: RpcContext<Library>, title: string) {
      return await this.api.find({ title });
    },
  };
  rpc<Library>(connection, typed);
  const served: RpcMethods = methods;
  rpc(connection, served);

  // @ts-expect-error: a number is no method
  rpc(connection, { one: 1 });
  // @ts-expect-error: no handler
  rpc(connection, { one: { description: "One" } });
  // @ts-expect-error: no such part
  rpc(connection, { one: { handler() {}, parameters: 1 } });
  method({
    params: pair,
    // @ts-expect-error: the schema makes numbers
    handler: ([a]) => a.toUpperCase(),
  });
}

Deno.test("a contract gives its caller the types, and rejects mistakes", () => {
  // That this file compiles is the test.
  const checks = [
    interfaceContract,
    explicitStyle,
    objectContract,
    schemaContract,
    noContract,
    whatIsServed,
  ];
  assert(checks.every((check) => typeof check === "function"));
});
