/**
 * What methods look like where they are written, and what becomes of them where
 * they are called: types, from one contract for both ends.
 *
 * @module
 */
import type { Connection } from "../connection/connection.ts";
import { checkArgument } from "../tools/options.ts";
import type { Jsonify } from "./jsonify.ts";

/**
 * A value that checks others: any [Standard Schema](https://standardschema.dev),
 * as Zod, Valibot, ArkType and others make them.
 *
 * @typeParam Input What is accepted.
 * @typeParam Output What comes out of it.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  /** What all such libraries have in common. */
  readonly "~standard": {
    /** The version of the interface. */
    readonly version: 1;
    /** The library. */
    readonly vendor: string;
    /** Checks a value. */
    readonly validate: (
      value: unknown,
    ) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** Both types, at compile time only. */
    readonly types?:
      | { readonly input: Input; readonly output: Output }
      | undefined;
  };
}

/** What a check comes to: a value, or what is wrong with it. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** One thing that is wrong with a value. */
export interface SchemaIssue {
  /** What is wrong. */
  readonly message: string;
  /** Where it is, from the outside in. */
  readonly path?:
    | readonly (PropertyKey | { readonly key: PropertyKey })[]
    | undefined;
}

/**
 * A method as a function, like `add(a: number, b: number) { return a + b; }`.
 *
 * Parameters by position are its parameters; parameters by name come together
 * as its first one. What it returns, or resolves to, is the result; an async
 * iterable, or what any generator makes, is a stream. `this` is the call, an
 * {@linkcode RpcContext}; for an arrow function, {@linkcode method} makes that its
 * first parameter.
 */
export type RpcFunction = {
  // As a method, it may name types for its parameters.
  call(...params: unknown[]): unknown;
}["call"];

/** A method with more to it than a function. */
export interface RpcMethod {
  /** What it does, for `rpc.discover`. */
  readonly description?: string;
  /**
   * Checks the parameters: the array or the object that the call has, or
   * `undefined`. What comes out is the handler's only parameter; where nothing
   * does, the answer is -32602, with the issues as its data.
   */
  readonly params?: StandardSchema;
  /** The function. */
  readonly handler: RpcFunction;
}

/**
 * Methods by their names: own properties of a plain object. Names that begin
 * with `rpc.` or `$/` are taken. Methods of a class, whose `this` would not be
 * the instance, are rejected, and so are objects within the object: a name may
 * have dots instead.
 *
 * @typeParam Remote The contract of what the callers serve.
 */
export type RpcMethods<Remote = RpcUntyped> =
  & { readonly [name: string]: RpcFunction | RpcMethod }
  & ThisType<RpcContext<Remote>>;

/** The contract of a peer of which nothing is known. */
export interface RpcUntyped {
  /** It may have any method. */
  readonly [name: string]: (...params: unknown[]) => unknown;
}

/**
 * Makes a method of a function whose first parameter is the call, for arrow
 * functions, which have no `this` of their own. The others are the parameters of
 * the method.
 *
 * ```ts
 * import { connectRpc, method, serveRpc } from "@blackbelt/networking/rpc";
 * import { assertEquals } from "@std/assert";
 *
 * const methods = {
 *   greet: method(async (context, greeting: string) =>
 *     `${greeting}, ${await context.call("name")}`
 *   ),
 * };
 * await using server = serveRpc({ hostname: "127.0.0.1", port: 0 }, methods);
 * await using client = await connectRpc<typeof methods>(server.addr, { name: () => "Ada" });
 * assertEquals(await client.api.greet("Hello"), "Hello, Ada");
 * ```
 *
 * @typeParam Params Parameters of the method.
 * @typeParam Result What it returns.
 * @typeParam Remote The contract of what the caller serves.
 * @param handler The function.
 * @returns The method: a function with the call as `this`.
 * @throws {TypeError} If that is a class.
 */
export function method<Params extends unknown[], Result, Remote = RpcUntyped>(
  handler: (context: RpcContext<Remote>, ...params: Params) => Result,
): (this: RpcContext<Remote>, ...params: Params) => Result;
/**
 * Gives the handler's parameter the type that its schema makes, and the
 * contract the one that it accepts.
 *
 * ```ts
 * import { connectRpc, method, serveRpc } from "@blackbelt/networking/rpc";
 * import { assertEquals, assertRejects } from "@std/assert";
 * import * as z from "npm:zod@4";
 *
 * const methods = {
 *   add: method({
 *     description: "Adds two numbers",
 *     params: z.tuple([z.number(), z.number()]),
 *     handler: ([a, b]) => a + b,
 *   }),
 * };
 * await using server = serveRpc({ hostname: "127.0.0.1", port: 0 }, methods);
 * await using client = await connectRpc<typeof methods>(server.addr);
 * assertEquals(await client.api.add(1, 2), 3);
 * await assertRejects(() => client.call("add", [1, "2"] as never), Error, "Invalid params");
 * ```
 *
 * @typeParam Input What the schema accepts.
 * @typeParam Output What the schema makes of it.
 * @typeParam Result What the handler returns.
 * @param definition The method; its handler may be an arrow function within
 * another `method`.
 * @returns The same.
 * @throws {TypeError} If it is no object with a handler.
 */
export function method<Input, Output, Result>(
  definition: {
    readonly description?: string;
    readonly params: StandardSchema<Input, Output>;
    readonly handler: (this: RpcContext, params: Output) => Result;
  },
): {
  readonly description?: string;
  readonly params: StandardSchema<Input, Output>;
  handler(this: RpcContext, params: Output): Result;
};
export function method(definition: unknown): unknown {
  if (typeof definition !== "function") {
    checkArgument(
      "definition",
      definition,
      typeof (definition as Partial<RpcMethod> | null)?.handler === "function",
      "a function or an object with a handler",
    );
    return definition;
  }
  const isClass = CLASS.test(Function.prototype.toString.call(definition));
  checkArgument("handler", definition, !isClass, "a function that is no class");
  return function (this: RpcContext, ...params: unknown[]) {
    return definition(this, ...params);
  };
}

/** How the source of a class begins, which cannot be called. */
export const CLASS = /^class\b/;

/**
 * The function that a method of a contract is for its caller.
 *
 * @typeParam Method The method: a function, or an {@linkcode RpcMethod}.
 */
export type RpcSignature<Method> = Method extends
  { readonly params: StandardSchema<infer Input, infer _Output> }
  ? Method extends { handler(params: never): infer Result } ? (
      ...params: Input extends readonly unknown[] ? Input
        : undefined extends Input ? [params?: Input]
        : [params: Input]
    ) => Result
  : never
  : Method extends { readonly handler: infer Handler } ? Handler
  : Method;

/**
 * The parameters of a method of a contract.
 *
 * @typeParam Method The method.
 */
export type RpcParams<Method> = RpcSignature<Method> extends
  (...params: infer Params) => unknown ? Params : never;

/**
 * What arrives of what a method of a contract returns, or resolves to: as JSON
 * carries it, item by item where it is streamed. See {@linkcode Jsonify}.
 *
 * @typeParam Method The method.
 */
export type RpcResult<Method> = RpcSignature<Method> extends
  (...params: never) => infer Returned
  ? Awaited<Returned> extends infer Result ? unknown extends Result ? Result
    : Result extends
      | AsyncIterable<infer Item, infer Return>
      | IterableIterator<infer Item, infer Return>
      ? AsyncIterable<Jsonify<Item>, Jsonify<Return>>
    : Jsonify<Result>
  : never
  : never;

/**
 * What a call is: a promise of its result. Of a method that streams, it can be
 * iterated over as it is, or be awaited for something to iterate over. Iterating
 * over a call that is answered with one value throws a `TypeError`.
 *
 * @typeParam Result What arrives; see {@linkcode RpcResult}.
 */
export type RpcReply<Result> = unknown extends Result
  ? Promise<unknown> & AsyncIterable<unknown, unknown, void>
  : [Result] extends [never] ? Promise<never>
  : Result extends AsyncIterable<infer Item, infer Return>
    ? RpcStream<Item, Return>
  : Promise<Result>;

/**
 * A call of a method that streams. It can be iterated over once; leaving the
 * iteration ends the generator at the other end.
 *
 * @typeParam Item What it yields.
 * @typeParam Return What it returns in the end.
 */
export type RpcStream<Item, Return = void> =
  & Promise<AsyncGenerator<Item, Return, void>>
  & AsyncIterable<Item, Return, void>;

/**
 * The names of a contract's methods.
 *
 * @typeParam Contract An interface of methods, or the type of the object that
 * has them.
 */
export type RpcName<Contract> = keyof Contract & string;

/**
 * Names that are no methods of an {@linkcode RpcApi}: those that any object has,
 * and those that other code calls where it finds them.
 */
export type RpcReserved =
  | "then"
  | "toJSON"
  | "asymmetricMatch"
  | "constructor"
  | "hasOwnProperty"
  | "isPrototypeOf"
  | "propertyIsEnumerable"
  | "toLocaleString"
  | "toString"
  | "valueOf"
  | "__proto__"
  | "__defineGetter__"
  | "__defineSetter__"
  | "__lookupGetter__"
  | "__lookupSetter__";

/**
 * Methods of a peer, to be called like those of an object:
 * `await api.add(1, 2)`. One object that is a plain one goes as parameters by
 * name, anything else by position. Names that other code asks objects for,
 * {@linkcode RpcReserved}, can only be called by {@linkcode RpcRemote.call}: to
 * print, compare, await or copy this object calls nothing.
 *
 * @typeParam Contract An interface of methods, or the type of the object that
 * has them.
 */
export type RpcApi<Contract> = {
  readonly [
    Name in Exclude<RpcName<Contract>, RpcReserved>
  ]: (
    ...params: RpcParams<Contract[Name]>
  ) => RpcReply<RpcResult<Contract[Name]>>;
};

/**
 * Parameters as they are sent: by position, or, where the only one is an
 * object, by name.
 *
 * @typeParam Params The parameters of the function.
 */
export type RpcCallParams<Params> =
  | Readonly<Params>
  | (unknown[] extends Params ? object
    : Params extends
      | readonly [first: infer Named]
      | readonly [first?: infer Named]
      ? Named extends readonly unknown[] ? never : Extract<Named, object>
    : never);

/**
 * What follows the name in a call: the parameters, which may be missing where
 * all of them may, and options.
 *
 * @typeParam Method The method of the contract.
 * @typeParam Options Type of the options.
 */
export type RpcArguments<Method, Options extends unknown[]> =
  RpcParams<Method> extends infer Params
    ? [] extends Params ? [params?: RpcCallParams<Params>, ...Options]
    : [params: RpcCallParams<Params>, ...Options]
    : never;

/** Options of a call. */
export interface RpcCallOptions {
  /**
   * Gives the call up when aborted, which the method hears of, and rejects with
   * the signal's reason.
   */
  signal?: AbortSignal;
  /**
   * Milliseconds for all of the call, a stream to its end; the method hears how
   * many. `Infinity` for as long as it takes. Without it, the peer's `timeout`
   * limits how long nothing may come, neither the answer nor the beginning of a
   * stream, and how long a stream may wait for somebody to iterate over it.
   */
  timeout?: number;
}

/**
 * What can be called at the other end.
 *
 * @typeParam Contract An interface of the peer's methods, or the type of the
 * object that has them.
 */
export interface RpcRemote<Contract = RpcUntyped> {
  /** The peer's methods as functions. */
  readonly api: RpcApi<Contract>;
  /**
   * Calls a method of the peer.
   *
   * @returns A promise of its result; see {@linkcode RpcReply}. It rejects with
   * an {@linkcode RpcError} if the peer answers with an error.
   */
  call<Name extends RpcName<Contract>>(
    method: Name,
    ...rest: RpcArguments<Contract[Name], [options?: RpcCallOptions]>
  ): RpcReply<RpcResult<Contract[Name]>>;
  /**
   * Calls a method of the peer that is not to answer.
   *
   * @returns A promise that resolves when there is room for more, as that of
   * `send` does.
   */
  notify<Name extends RpcName<Contract>>(
    method: Name,
    ...rest: RpcArguments<Contract[Name], []>
  ): Promise<void>;
}

/**
 * A call from the side of the method that answers it: the function's `this`,
 * or its first parameter where {@linkcode method} makes it. What is called through it
 * is given up with the call, and has no more time than is left.
 *
 * @typeParam Remote The contract of what the caller serves.
 */
export interface RpcContext<Remote = RpcUntyped> extends RpcRemote<Remote> {
  /**
   * Aborted when nobody waits for the answer any more: the caller gave up, the
   * time is over, the connection has ended. Aborted when the server shuts down,
   * too, with an `RpcError` of the code -32002: until `shutdownTimeout` the
   * caller still gets what the method returns, or that error if it throws it.
   */
  readonly signal: AbortSignal;
  /** Milliseconds that are left for the call; `Infinity` without a limit. */
  readonly timeLeft: number;
  /** The connection on which the call came. */
  readonly connection: Connection;
}
