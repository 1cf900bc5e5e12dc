import { assertEquals } from "@std/assert";
import { rpcPair } from "../../tests/rpc_pair.ts";
import type { RpcResult } from "./contract.ts";

class Money {
  readonly cents = 100n;
  toJSON(): { cents: string } {
    return { cents: String(this.cents) };
  }
}

class Itself {
  readonly at = new Date(0);
  toJSON(): this {
    return this;
  }
}

class Refused extends Error {
  readonly code = 1;
}

const METHODS = {
  date: () => new Date(0),
  url: async () => new URL(await "data:,"),
  money: () => [new Money()],
  itself: () => new Itself(),
  nothing: () => {},
  maybe: () => undefined as string | undefined,
  items: () => ["a", undefined],
  functions: () => [() => 1, Symbol()],
  tuple: (): [Date, number?] => [new Date(0)],
  members: () => ({ a: undefined, b: () => 1, c: { d: new Date(0) } }),
  symbols: () => ({ [Symbol.iterator]: 1, a: 1 }),
  map: () => new Map([["a", 1]]),
  set: () => ({ all: new Set([1]) }),
  promise: () => ({ value: Promise.resolve(1) }),
  error: () => new Error("no"),
  refused: () => new Refused("no"),
  bytes: () => new Uint8Array([1, 2]),
};

const TIME = "1970-01-01T00:00:00.000Z";

/** What arrives, by its types and by its values. */
const EXPECTED: {
  [Name in keyof typeof METHODS]: RpcResult<typeof METHODS[Name]>;
} = {
  date: TIME,
  url: "data:,",
  money: [{ cents: "100" }],
  itself: { at: TIME },
  nothing: null,
  maybe: null,
  items: ["a", null],
  functions: [null, null],
  tuple: [TIME],
  members: { c: { d: TIME } },
  symbols: { a: 1 },
  map: {},
  set: { all: {} },
  promise: { value: {} },
  error: {},
  refused: { code: 1 },
  bytes: { 0: 1, 1: 2 },
};

Deno.test("Jsonify is the type of what arrives", async () => {
  const { client } = rpcPair(METHODS);
  for (const [name, expected] of Object.entries(EXPECTED)) {
    assertEquals(await client.call(name), expected, name);
  }
  await client.close();
});
