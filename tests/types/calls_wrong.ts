/**
 * What the compiler rejects, each with what it says. Nothing of this runs: see
 * `../types_test.ts`.
 */
import type { Connection } from "../../mod.ts";
import {
  type Jsonify,
  method,
  rpc,
  type RpcPeer,
  type StandardSchema,
} from "../../rpc.ts";
import type { arrows, checked, Library, methods } from "./calls.ts";

export async function interfaceContract(peer: RpcPeer<Library>): Promise<void> {
  const { api } = peer;
  // @ts-expect-error: Property 'subtract' does not exist
  await api.subtract(1, 2);
  // @ts-expect-error: Expected 2 arguments, but got 1
  await api.add(1);
  // @ts-expect-error: Expected 2 arguments, but got 3
  await api.add(1, 2, 3);
  // @ts-expect-error: 'string' is not assignable to parameter of type 'number'
  await api.add(1, "2");
  // @ts-expect-error: 'titel' does not exist in type
  await api.find({ titel: "a" });
  // @ts-expect-error: Expected 1 arguments, but got 0
  await api.find();
  // @ts-expect-error: Property 'length' does not exist on type 'number'
  (await api.add(1, 2)).length;
  // @ts-expect-error: Object is possibly 'null'
  (await api.find({ title: "a" })).title;
  // @ts-expect-error: must have a '[Symbol.asyncIterator]()' method
  for await (const _ of api.add(1, 2));
  // @ts-expect-error: Property 'author' does not exist
  for await (const found of api.watch({ title: "a" })) found.author;
  // @ts-expect-error: Property 'then' does not exist
  api.then;
}

export async function explicitStyle(peer: RpcPeer<Library>): Promise<void> {
  const { signal } = new AbortController();
  // @ts-expect-error: "subtract"
  await peer.call("subtract", [1, 2]);
  // @ts-expect-error: not assignable to parameter of type 'RpcNameWithoutParams
  await peer.call("add");
  // @ts-expect-error: '[number]'
  await peer.call("add", [1]);
  // @ts-expect-error: 'a' does not exist in type
  await peer.call("add", { a: 1, b: 2 });
  // @ts-expect-error: 'number' is not assignable to type 'number[]'
  await peer.call("sum", [1, 2]);
  // @ts-expect-error: 'number' is not assignable to type 'string'
  await peer.call("find", { title: 1 });
  // @ts-expect-error: 'timeOut' does not exist in type 'RpcCallOptions'
  await peer.call("add", [1, 2], { timeOut: 5 });
  // @ts-expect-error: 'timeOut' does not exist in type 'RpcCallOptions'
  peer.with({ timeOut: 5 });
  // @ts-expect-error: Expected
  await peer.notify("add", [1, 2], { signal });
  // @ts-expect-error: "pong"
  await peer.notify("pong");
}

export function objectContract(peer: RpcPeer<typeof methods>): void {
  // @ts-expect-error: Expected 1 arguments, but got 2
  peer.api.count(3, {});
  // @ts-expect-error: 'number' is not assignable to parameter of type 'string'
  peer.api.described(1);
  // @ts-expect-error: Property 'discount' does not exist
  peer.api.discount(3);
}

export async function arrowContract(
  peer: RpcPeer<typeof arrows>,
): Promise<void> {
  // @ts-expect-error: Expected 1-2 arguments, but got 0
  peer.api.left();
  // @ts-expect-error: 'number' is not assignable to parameter of type 'string'
  peer.api.ask(1);
  // @ts-expect-error: Expected 0 arguments, but got 1
  peer.api.alone(1);
  for await (const tick of peer.api.ticks({ every: 1 })) {
    // @ts-expect-error: Property 'getTime' does not exist on type 'string'
    tick.getTime();
  }
}

export async function schemaContract(
  peer: RpcPeer<typeof checked>,
): Promise<void> {
  // @ts-expect-error: 'number' is not assignable to parameter of type 'string'
  await peer.api.concat(1, 2);
  // @ts-expect-error: 'b' does not exist
  await peer.api.either({ b: 1 });
  // @ts-expect-error: 'string' is not assignable to type 'number'
  await peer.api.optional({ a: "1" });
}

export async function noContract(peer: RpcPeer): Promise<void> {
  const result = await peer.api.anything(1, "a", {});
  // @ts-expect-error: 'result' is of type 'unknown'
  result.length;
  // @ts-expect-error: Argument of type '1' is not assignable
  await peer.call("any.thing", 1);
}

declare const pair: StandardSchema<[string, string], [number, number]>;

export function whatIsServed(connection: Connection): void {
  rpc<Library>(connection, {
    inferred() {
      // @ts-expect-error: Property 'subtract' does not exist
      this.api.subtract(1, 2);
    },
  });
  // @ts-expect-error: 'number' is not assignable
  rpc(connection, { one: 1 });
  // @ts-expect-error: is not assignable
  rpc(connection, { one: { description: "One" } });
  // @ts-expect-error: 'parameters' does not exist
  rpc(connection, { one: { handler() {}, parameters: 1 } });
  method({
    params: pair,
    // @ts-expect-error: Property 'toUpperCase' does not exist on type 'number'
    handler: ([a]) => a.toUpperCase(),
  });
  // @ts-expect-error: is not assignable
  method(class {});
  // @ts-expect-error: Property 'timeLeft' does not exist
  method((context, a: number) => a.timeLeft + context.timeLeft);
}

export function whatArrives(
  book: Jsonify<{ at: Date; save(): void; authors: Map<string, number> }>,
): void {
  // @ts-expect-error: Property 'getTime' does not exist on type 'string'
  book.at.getTime();
  // @ts-expect-error: Property 'save' does not exist
  book.save();
  // @ts-expect-error: Property 'get' does not exist
  book.authors.get("a");
  // @ts-expect-error: 'Date' is not assignable to type 'string'
  book.at = new Date();
}

export async function results(
  peer: RpcPeer<{ now(): Date; log(): AsyncIterable<Date>; big(): bigint }>,
): Promise<void> {
  // @ts-expect-error: Property 'getTime' does not exist on type 'string'
  (await peer.api.now()).getTime();
  // @ts-expect-error: Property 'getTime' does not exist on type 'string'
  for await (const at of peer.api.log()) at.getTime();
  // @ts-expect-error: Property 'toString' does not exist on type 'never'
  (await peer.api.big()).toString();
}
