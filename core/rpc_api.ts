/**
 * Methods of another end, to be called like functions.
 *
 * @module
 */
import type { RpcApi, RpcReply } from "./rpc_contract.ts";

/**
 * The peer's methods as functions. It is no promise, although it would have any
 * method.
 */
export function apiOf<Contract>(
  call: (method: string, params: object | undefined) => RpcReply<unknown>,
): RpcApi<Contract> {
  const functions: Record<string, unknown> = Object.create(null);
  return new Proxy(functions, {
    get(functions, name) {
      if (typeof name !== "string" || name === "then" || name === "toJSON") {
        return undefined;
      }
      return functions[name] ??= (...params: unknown[]) =>
        call(name, paramsOf(params));
    },
  }) as RpcApi<Contract>;
}

/** By name what is one plain object, by position anything else. */
function paramsOf(params: unknown[]): object | undefined {
  if (params.length === 0) return undefined;
  const [first] = params;
  return params.length === 1 && isPlainObject(first) ? first : params;
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
