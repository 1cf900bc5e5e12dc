/**
 * What the server program serves as JSON-RPC: a few methods to try things on.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { JsonValue } from "../mod.ts";
import {
  method,
  type RpcContext,
  RpcError,
  type RpcMethod,
  type StandardSchema,
} from "../rpc.ts";

const INVALID_PARAMS = -32602;

/** Two numbers, by position or by name. */
const PAIR: StandardSchema<[a: number, b: number], number[]> = {
  "~standard": {
    version: 1,
    vendor: "@blackbelt/networking",
    validate(params) {
      const { a, b, ...others } = Object(params);
      const value = Array.isArray(params)
        ? params
        : [a, b, ...Object.values(others)];
      const isPair = value.length === 2 &&
        value.every((number) => typeof number === "number");
      return isPair
        ? { value }
        : { issues: [{ message: "expected [a, b] or {a, b}, two numbers" }] };
    },
  },
};

/** A whole number among parameters by name. */
function whole(
  params: unknown,
  name: string,
  least: number,
  missing?: number,
): number {
  const value = Object.hasOwn(Object(params), name)
    ? Reflect.get(Object(params), name)
    : missing;
  if (Number.isInteger(value) && value >= least && value < 2 ** 31) {
    return value;
  }
  throw new RpcError(
    INVALID_PARAMS,
    `Invalid params: expected "${name}", a whole number of at least ${least}`,
  );
}

/** The methods. */
export const METHODS: Readonly<Record<string, RpcMethod>> = {
  echo: {
    description: "Returns its parameter, whatever that is",
    handler: (value: unknown) => value ?? null,
  },
  add: method({
    description: "Adds two numbers, [a, b] or {a, b}",
    params: PAIR,
    handler: ([a, b]) => a + b,
  }),
  sleep: {
    description: "Answers after {ms} milliseconds",
    async handler(this: RpcContext, params: unknown): Promise<JsonValue> {
      const milliseconds = whole(params, "ms", 0);
      await sleep(milliseconds, undefined, { signal: this.signal });
      return { slept: milliseconds };
    },
  },
  count: {
    description:
      "Streams the numbers 1 to {to}, one every {everyMs} milliseconds",
    async *handler(this: RpcContext, params: unknown) {
      const to = whole(params, "to", 0);
      const everyMs = whole(params, "everyMs", 0, 0);
      const { signal } = this;
      for (let i = 1; i <= to; i++) {
        if (everyMs > 0) await sleep(everyMs, undefined, { signal });
        yield i;
      }
    },
  },
  fail: {
    description: "Fails, and does not say why",
    handler() {
      throw new Error("this stays on the server");
    },
  },
};
