/**
 * Methods as they are called: looked up, their parameters checked.
 *
 * @module
 */
import { RPC_ERRORS, RpcError } from "./jsonrpc.ts";
import {
  CLASS,
  type RpcContext,
  type RpcFunction,
  type RpcMethod,
  type RpcMethods,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchema,
} from "./contract.ts";
import { escape } from "../tools/escape.ts";
import { isPlain, show } from "../tools/show.ts";

/** Calls one method: with what `this` is, and the parameters as they came. */
export type Invoke = (call: RpcContext, params: object | undefined) => unknown;

/** Methods by their names: nothing that is not a method has a name here. */
export type MethodTable = ReadonlyMap<string, Invoke>;

/** More parameters by position could take more stack than there is. */
const MOST_PARAMS = 10_000;
const PARTS = ["description", "params", "handler"];

/**
 * Checks methods, and makes a table of them, which later changes do not change.
 * `discover` adds a method that lists them.
 */
export function tableOf(
  methods: RpcMethods,
  discover: boolean,
): MethodTable {
  const problem = problemOfAll(methods);
  if (problem !== undefined) throw new TypeError(`Cannot serve ${problem}`);
  const table = new Map<string, Invoke>();
  const list: { name: string; description?: string }[] = [];
  for (const [name, definition] of Object.entries(methods)) {
    const method = typeof definition === "function"
      ? { handler: definition }
      : definition;
    const problem = problemOf(name, method);
    if (problem !== undefined) {
      throw new TypeError(`Cannot serve method "${name}": ${problem}`);
    }
    const { handler, params, description } = method;
    table.set(
      name,
      params === undefined ? plain(handler) : checked(params, handler),
    );
    list.push({ name, description });
  }
  table.set(FENCE, () => null);
  if (discover) table.set("rpc.discover", () => ({ methods: list }));
  return table;
}

/**
 * Is answered when all that came before has begun: behind notifications it tells
 * that they wait no more.
 */
export const FENCE = "rpc.sync";

/**
 * What is wrong with methods together. Those of a class would need `this` to be
 * the instance, and not the call.
 */
function problemOfAll(methods: unknown): string | undefined {
  if (
    typeof methods !== "object" || methods === null || Array.isArray(methods) ||
    methods instanceof Promise
  ) return `methods: received ${show(methods)}, expected an object`;
  for (
    let prototype = Object.getPrototypeOf(methods);
    prototype !== null && prototype !== Object.prototype;
    prototype = Object.getPrototypeOf(prototype)
  ) {
    const name = Object.getOwnPropertyNames(prototype)
      .find((name) => name !== "constructor");
    if (name === undefined) continue;
    return `method "${name}": it is a member of a class, expected a plain object like { ${name}: (...params) => instance.${name}(...params) }`;
  }
  const symbol = Object.getOwnPropertySymbols(methods)
    .find((key) => Object.prototype.propertyIsEnumerable.call(methods, key));
  if (symbol !== undefined) {
    const name = escape(String(symbol));
    return `method ${name}: its key is a symbol, expected a string`;
  }
  if (isPlain(methods) || Object.keys(methods).length > 0) return undefined;
  const received = show(methods);
  return `methods: received ${received} without methods of its own, expected a plain object like { name: (...params) => result }`;
}

/** What is wrong with a method. */
function problemOf(
  name: string,
  method: Partial<RpcMethod>,
): string | undefined {
  if (/^(rpc\.|\$\/)/.test(name)) {
    return 'names that begin with "rpc." or "$/" are taken';
  }
  if (typeof method !== "object" || method === null) {
    const received = show(method);
    return `received ${received}, expected a function or an object with a handler`;
  }
  const unknown = Object.keys(method).find((key) => !PARTS.includes(key));
  const { description, params, handler } = method;
  if (unknown !== undefined) {
    return handler === undefined
      ? `it is an object without a handler, and methods do not nest; write "${name}.${unknown}" as the name of what is inside`
      : `it has a part "${unknown}", which does not exist`;
  }
  if (typeof handler !== "function") {
    return `its handler is ${show(handler)}, expected a function`;
  }
  if (CLASS.test(Function.prototype.toString.call(handler))) {
    return `it is a class, expected a function like (...params) => new ${handler.name}(...params)`;
  }
  if (description !== undefined && typeof description !== "string") {
    return `its description is ${show(description)}, expected a string`;
  }
  const validate = params?.["~standard"]?.validate;
  return params === undefined || typeof validate === "function"
    ? undefined
    : "its params are not a Standard Schema";
}

/** By position they are parameters, by name they are one. */
function plain(handler: RpcFunction): Invoke {
  return (call, params) => {
    if (params === undefined) return handler.call(call);
    if (!Array.isArray(params)) return handler.call(call, params);
    if (params.length <= MOST_PARAMS) return handler.apply(call, params);
    throw new RpcError(...RPC_ERRORS.invalidParams);
  };
}

/** All together are one parameter, as the schema makes it. */
function checked(schema: StandardSchema, handler: RpcFunction): Invoke {
  return (call, params) => {
    function handle(result: SchemaResult<unknown>): unknown {
      if (result.issues === undefined) return handler.call(call, result.value);
      throw new RpcError(
        ...RPC_ERRORS.invalidParams,
        result.issues.map(issueOf),
      );
    }
    const result = schema["~standard"].validate(params);
    return result instanceof Promise ? result.then(handle) : handle(result);
  };
}

/** An issue as it is sent, without what a library adds to it. */
function issueOf({ message, path }: SchemaIssue): object {
  return {
    message,
    path: path?.map((part) => {
      const key = typeof part === "object" ? part.key : part;
      return typeof key === "number" ? key : String(key);
    }),
  };
}
