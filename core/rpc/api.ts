/**
 * Methods of another end, to be called like functions.
 *
 * @module
 */
import type { RpcApi, RpcReply } from "./contract.ts";

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
  return positional.length === 1 && isPlainObject(first) ? first : positional;
}

/**
 * The parameters without the `undefined` ones at the end, which JSON would make
 * null: the method's defaults apply.
 */
export function trimmed(params: readonly unknown[]): readonly unknown[] {
  let { length } = params;
  while (length > 0 && params[length - 1] === undefined) length--;
  return length === params.length ? params : params.slice(0, length);
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
