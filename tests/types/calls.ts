/** What the compiler accepts. Nothing of this runs: see `../types_test.ts`. */
import type { Connection, JsonValue } from "../../mod.ts";
import {
  type Jsonify,
  method,
  rpc,
  type RpcContext,
  type RpcMethods,
  type RpcPeer,
  type StandardSchema,
} from "../../rpc.ts";

/** Compiles if both types are the same. */
export type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends
  (<T>() => T extends B ? 1 : 2) ? true : false;

/** Compiles with `true` if both types are the same. */
export function same<A, B>(_: Same<A, B>): void {}

export interface Book {
  title: string;
  year?: number;
}

/** A contract as an interface. */
export interface Library {
  add(a: number, b: number): number;
  find(query: { title: string; year?: number }): Promise<Book | undefined>;
  list(limit?: number): Book[];
  sum(numbers: number[]): number;
  ping(): void;
  watch(query: { title: string }): AsyncIterable<Book>;
  fails(): Promise<never>;
  then(): string;
}

declare const pair: StandardSchema<[string, string], [number, number]>;
declare const either: StandardSchema<[number, number] | { a: number }>;
declare const optional: StandardSchema<{ a: number } | undefined>;

/** A contract as what is served. */
export const methods = {
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

/** The same with the call as first parameter. */
export const arrows = {
  ask: method(async (context: RpcContext<Library>, title: string) =>
    await context.api.find({ title })
  ),
  left: method((context, factor: number, unit?: string) => {
    same<RpcContext, typeof context>(true);
    return `${context.timeLeft * factor} ${unit}`;
  }),
  alone: method(() => 1),
  ticks: method(async function* (context, { every }: { every: number }) {
    if (!context.signal.aborted) yield new Date(every);
  }),
};

/** The same with schemas, which exist only at compile time here. */
export const checked = {
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
  within: method({
    params: pair,
    handler: method((context, [a, b]) => {
      same<RpcContext, typeof context>(true);
      same<[number, number], [typeof a, typeof b]>(true);
      return context.timeLeft + a + b;
    }),
  }),
};

export async function interfaceContract(peer: RpcPeer<Library>): Promise<void> {
  const { api } = peer;
  same<number, Awaited<ReturnType<typeof api.add>>>(true);
  const book = await api.find({ title: "a" });
  same<Book | null, typeof book>(true); // JSON has no undefined
  const books: Book[] = await api.list();
  await api.list(3);
  await api.sum([1, 2]);
  same<Promise<null>, ReturnType<typeof api.ping>>(true);
  same<Promise<never>, ReturnType<typeof api.fails>>(true);
  for await (const found of api.watch({ title: "a" })) found.title;
  for await (const found of await api.watch({ title: "a" })) found.title;
  books.length;
}

export async function explicitStyle(peer: RpcPeer<Library>): Promise<void> {
  const { signal } = new AbortController();
  const sum = await peer.call("add", [1, 2], { signal, timeout: 5 });
  const limited = peer.with({ signal, timeout: 5 });
  same<number, Awaited<ReturnType<typeof limited.api.add>>>(true);
  await limited.with({ timeout: Infinity }).call("add", [1, 2], { signal });
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
}

export async function objectContract(
  peer: RpcPeer<typeof methods>,
): Promise<void> {
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
}

/** The call is no parameter of the caller. */
export async function arrowContract(
  peer: RpcPeer<typeof arrows>,
): Promise<void> {
  const book = await peer.api.ask("a");
  same<Book | null, typeof book>(true);
  same<string, Awaited<ReturnType<typeof peer.api.left>>>(true);
  await peer.api.left(1);
  await peer.call("left", [1, "ms"]);
  await peer.call("alone");
  for await (const tick of peer.api.ticks({ every: 1 })) {
    same<string, typeof tick>(true);
  }
  await peer.call("ticks", { every: 1 });
}

export async function schemaContract(
  peer: RpcPeer<typeof checked>,
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
  same<number, Awaited<ReturnType<typeof peer.api.within>>>(true);
}

export async function noContract(peer: RpcPeer): Promise<void> {
  const result = await peer.api.anything(1, "a", {});
  same<unknown, typeof result>(true);
  await peer.call("any.thing", { a: 1 }, { timeout: 5 });
  await peer.call("any.thing", [1]);
  await peer.call("any.thing");
  for await (const item of peer.api.anything()) {
    same<unknown, typeof item>(true);
  }
}

export function whatIsServed(connection: Connection): void {
  rpc(connection, methods);
  rpc(connection, checked);
  rpc<Library>(connection, arrows);
  rpc<Library>(connection, {
    inferred(a, b) {
      same<unknown, typeof a | typeof b>(true);
      same<RpcContext<Library>, typeof this>(true);
      this.api.add(1, 2);
    },
    async nested() {
      return await this.call("add", [this.timeLeft, 2]);
    },
    arrow: method((context: RpcContext<Library>) => context.api.ping()),
    short: method((context, a: number) => {
      same<RpcContext<Library>, typeof context>(true);
      return context.api.add(a, 2);
    }),
  });
  const typed = {
    async ask(this: RpcContext<Library>, title: string) {
      return await this.api.find({ title });
    },
  };
  rpc<Library>(connection, typed);
  const served: RpcMethods = methods;
  rpc(connection, served);
}

export class Money {
  readonly cents = 100n;
  toJSON(): { cents: string } {
    return { cents: String(this.cents) };
  }
}

export class Itself {
  readonly at = new Date();
  toJSON(): this {
    return this;
  }
}

export class Refused extends Error {
  readonly code = 1;
}

interface Tree {
  at: Date;
  children: Tree[];
}

enum Color {
  Red,
  Blue = "blue",
}

/** Types that hold themselves. */
type Json = string | number | Json[] | { [name: string]: Json };
type Dates = Date | Dates[];

type Id = string & { readonly kind: unique symbol };

/** What arrives of what is sent. */
export function whatArrives(
  tree: Jsonify<Tree>,
  json: Jsonify<Json>,
  dates: Jsonify<Dates>,
): void {
  // JSON as it is
  same<Jsonify<JsonValue>, JsonValue>(true);
  same<Jsonify<Book>, Book>(true);
  same<Jsonify<Id>, Id>(true);
  same<Jsonify<Color>, Color>(true);
  same<Jsonify<Record<string, number>>, Record<string, number>>(true);
  same<Jsonify<JsonValue[]>, JsonValue[]>(true);
  same<Jsonify<{ a: JsonValue }>, { a: JsonValue }>(true);
  same<Jsonify<JsonValue | Date>, JsonValue>(true);
  // of which nothing is known
  same<Jsonify<unknown>, unknown>(true);
  same<Jsonify<never>, never>(true);
  // toJSON
  same<Jsonify<Date>, string>(true);
  same<Jsonify<URL>, string>(true);
  same<Jsonify<Money>, { cents: string }>(true);
  same<Jsonify<Itself>, { readonly at: string }>(true);
  // nothing, alone and in arrays
  same<Jsonify<undefined>, null>(true);
  same<Jsonify<void>, null>(true);
  same<Jsonify<string | undefined>, string | null>(true);
  same<Jsonify<(Date | undefined)[]>, (string | null)[]>(true);
  same<Jsonify<readonly (() => void)[]>, readonly null[]>(true);
  // tuples
  same<Jsonify<[Date, number]>, [string, number]>(true);
  same<Jsonify<[Date, string?]>, [string, (string | null)?]>(true);
  same<Jsonify<readonly [1, ...Date[]]>, readonly [1, ...string[]]>(true);
  // members
  same<
    Jsonify<{
      readonly at: Date;
      nested: { at?: Date };
      any: unknown;
      maybe: string | undefined;
      save(): void;
      none: undefined;
      mixed: number | (() => number);
      [Symbol.iterator]: number;
    }>,
    {
      readonly at: string;
      nested: { at?: string };
      any: unknown;
      maybe?: string;
      mixed?: number;
    }
  >(true);
  same<Jsonify<Record<string, Date>>, Record<string, string>>(true);
  same<Jsonify<{ a: 1; [Symbol.iterator]: 1 }[]>, { a: 1 }[]>(true);
  same<string, typeof tree.children[0]["children"][0]["at"]>(true);
  const asWritten: Json = json;
  const asRead: Jsonify<Json> = asWritten;
  if (typeof asRead === "object") Object.keys(asRead);
  if (typeof dates === "string") dates.length;
  else if (typeof dates[0] === "string") dates[0].length;
  else dates[0][0];
  // unions, member by member
  same<
    Jsonify<{ kind: "at"; at: Date } | { kind: "none" }>,
    { kind: "at"; at: string } | { kind: "none" }
  >(true);
  // what JSON sees nothing of
  same<Jsonify<Map<string, Date>>, Record<never, never>>(true);
  same<Jsonify<{ all: Set<number> }>, { all: Record<never, never> }>(true);
  same<Jsonify<Promise<number>[]>, Record<never, never>[]>(true);
  same<Jsonify<Error>, Record<never, never>>(true);
  same<Jsonify<Refused>, { readonly code: 1 }>(true);
  same<Jsonify<Uint8Array>, { [index: string]: number }>(true);
  // what it refuses
  same<Jsonify<bigint>, never>(true);
  same<Jsonify<() => void>, never>(true);
  same<Jsonify<symbol>, never>(true);
}

/** What arrives of what methods give. */
export async function results(
  peer: RpcPeer<{
    now(): Date;
    later(): Promise<{ at: Date; map: Map<string, number> }>;
    log(): AsyncGenerator<{ at: Date }, Date>;
    bytes(): ReadableStream<Date>;
    either(): Date | AsyncIterable<Date>;
  }>,
): Promise<void> {
  same<string, Awaited<ReturnType<typeof peer.api.now>>>(true);
  const later = await peer.call("later");
  same<{ at: string; map: Record<never, never> }, typeof later>(true);
  const log = await peer.api.log();
  const step = await log.next();
  if (step.done) same<string, typeof step.value>(true);
  else same<{ at: string }, typeof step.value>(true);
  for await (const item of peer.api.bytes()) same<string, typeof item>(true);
  const either = await peer.api.either();
  if (typeof either === "object") {
    for await (const item of either) same<string, typeof item>(true);
  } else same<string, typeof either>(true);
}
