/**
 * Methods of another end, to be called like functions, and parameters as they
 * are sent.
 *
 * @module
 */
import type { RpcApi, RpcReply } from "./contract.ts";
import { standInFor } from "./jsonrpc.ts";
import { isPlain, show } from "../tools/show.ts";

/**
 * Names of functions that other code calls when it finds them: to await a value,
 * to write it as JSON, to compare it in a test.
 */
const NO_METHODS = new Set(["then", "toJSON", "asymmetricMatch"]);

/**
 * The peer's methods as functions. Everything that can be done to it, apart from
 * calling one of them, is done to an empty object. No function is kept, as any
 * number of names may be asked for.
 */
export function apiOf<Contract>(
  call: (method: string, params: object | undefined) => RpcReply<unknown>,
): RpcApi<Contract> {
  return new Proxy(Object.freeze({}), {
    get(target, name) {
      if (typeof name === "symbol" || name in target) {
        return Reflect.get(target, name);
      }
      if (NO_METHODS.has(name)) return undefined;
      return (...params: unknown[]) => call(name, paramsOf(params));
    },
  }) as RpcApi<Contract>;
}

/** By name what is one plain object, by position anything else. */
function paramsOf(params: unknown[]): object | undefined {
  const positional = trimmed(params);
  if (positional.length === 0) return undefined;
  const [first] = positional;
  return positional.length === 1 && typeof first === "object" &&
      first !== null && isPlain(first)
    ? first
    : positional;
}

/**
 * The parameters without the `undefined` ones at the end, which JSON would make
 * null: the method's defaults apply.
 */
function trimmed(params: readonly unknown[]): readonly unknown[] {
  let { length } = params;
  while (length > 0 && params[length - 1] === undefined) length--;
  return length === params.length ? params : params.slice(0, length);
}

/** Gives parameters as they are sent; throws for other values. */
export function checkedParams(
  method: string,
  params: unknown,
): object | undefined {
  if (typeof method !== "string") {
    throw new TypeError(
      `Cannot call method: received ${show(method)}, expected its name`,
    );
  }
  if (params === undefined) return undefined;
  if (Array.isArray(params)) return trimmed(params);
  const carried = standInFor(params, "params");
  if (Array.isArray(carried) || isCarriedByName(carried)) return carried;
  throw new TypeError(
    `Cannot call "${method}": its parameters are ${
      show(params)
    }, expected an array or an object`,
  );
}

/**
 * Whether JSON makes an object of that with all that it is: of a `Map`, of a
 * promise or of an error it would make `{}`, and of a `String` a text.
 */
function isCarriedByName(value: unknown): value is object {
  return typeof value === "object" && value !== null &&
    (isPlain(value) ||
      Object.keys(value).length > 0 && !(value instanceof String));
}
