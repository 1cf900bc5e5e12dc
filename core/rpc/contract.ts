/**
 * What methods look like where they are written, and what becomes of them where
 * they are called: types, from one contract for both ends.
 *
 * @module
 */
import type { JsonValue } from "../framing/framing.ts";
import type { Connection } from "../connection/connection.ts";
import { checkArgument } from "../tools/options.ts";
import type { Jsonify } from "./jsonify.ts";

/**
 * Checks values: a [Standard Schema](https://standardschema.dev), as Zod,
 * Valibot, ArkType and others make them.
 *
 * @typeParam Input Type of the accepted value.
 * @typeParam Output Type of the checked value.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  /** The members of the standard. */
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

/** Result of a check: a value, or issues. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** One issue of a value. */
export interface SchemaIssue {
  /** What is wrong. */
  readonly message: string;
  /** Path to the issue, from the outside in. */
  readonly path?:
    | readonly (PropertyKey | { readonly key: PropertyKey })[]
    | undefined;
}

/**
 * A method that is a function, such as `add(a: number, b: number) { return a +
 * b; }`.
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

/** A method with a description, or a schema for its parameters. */
export interface RpcMethod {
  /** What it does, for `rpc.discover`. */
  readonly description?: string;
  /**
   * Checks the parameters of a call: an array, an object or `undefined`. Its
   * result is the handler's only parameter. If it finds issues, the answer is
   * -32602 with the issues as its data.
   */
  readonly params?: StandardSchema;
  /** The function. */
  readonly handler: RpcFunction;
}

/**
 * A method whose parameters are checked by a schema, for {@linkcode method}.
 *
 * @typeParam Input Type that the schema accepts.
 * @typeParam Output Type that the schema returns.
 * @typeParam Result Type of the handler's result.
 * @typeParam Context Type of `this` in the handler.
 */
export interface RpcCheckedMethod<
  Input,
  Output,
  Result,
  Context = RpcContext,
> {
  /** What the method does, for `rpc.discover`. */
  readonly description?: string;
  /** Checks the parameters; see {@linkcode RpcMethod}. */
  readonly params: StandardSchema<Input, Output>;
  /** The function. Its parameter is what the schema returns. */
  readonly handler: (this: Context, params: Output) => Result;
}

/**
 * Methods by name: the own properties of a plain object. Names that begin with
 * `rpc.` or `$/` are reserved. An instance of a class is refused, since `this`
 * of its methods would not be the instance, and so are objects within the
 * object; a name may contain dots instead.
 *
 * @typeParam Remote Type of the callers' methods.
 * @typeParam I Type of `identity`: what `authenticate` returns for a caller.
 */
export type RpcMethods<Remote = RpcUntyped, I = unknown> =
  & {
    readonly [name: string]:
      | RpcFunction
      | RpcMethod
      | {
        // Any function is the first; this one tells `method` what its context is.
        call(this: RpcContext<Remote, I>, ...params: unknown[]): unknown;
      }["call"];
  }
  & ThisType<RpcContext<Remote, I>>;

/** The methods of a peer, if nothing is known about them. */
export interface RpcUntyped {
  /** It may have any method. */
  readonly [name: string]: (...params: unknown[]) => unknown;
}

/**
 * Makes a method of a function that gets the call as its first parameter, such
 * as an arrow function, which has no `this` of its own. Its other parameters
 * are those of the method.
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
 * @typeParam Remote Type of the caller's methods.
 * @typeParam I Type of `identity`: what `authenticate` returns for a caller.
 * @param handler The function.
 * @returns The method: a function with the call as `this`.
 * @throws {TypeError} If that is a class.
 */
export function method<
  Params extends unknown[],
  Result,
  Remote = RpcUntyped,
  I = unknown,
>(
  handler: (context: RpcContext<Remote, I>, ...params: Params) => Result,
): (this: RpcContext<Remote, I>, ...params: Params) => Result;
/**
 * Types a method by its schema: the handler's parameter is what the schema
 * returns, and callers pass what it accepts.
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
 * @typeParam Input Type that the schema accepts.
 * @typeParam Output Type that the schema returns.
 * @typeParam Result Type of the handler's result.
 * @typeParam Remote Type of the caller's methods.
 * @typeParam I Type of `identity`: what `authenticate` returns for a caller.
 * @param definition The method; its handler may be an arrow function within
 * another `method`.
 * @returns The same.
 * @throws {TypeError} If it is not an object with a handler.
 */
export function method<
  Input,
  Output,
  Result,
  Remote = RpcUntyped,
  I = unknown,
>(
  definition: RpcCheckedMethod<Input, Output, Result, RpcContext<Remote, I>>,
): RpcCheckedMethod<Input, Output, Result, RpcContext<Remote, I>>;
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
  checkArgument(
    "handler",
    definition,
    !isClass,
    "a function that is not a class",
  );
  return function (this: RpcContext, ...params: unknown[]) {
    return definition(this, ...params);
  };
}

/** How the source of a class begins, which cannot be called. */
export const CLASS = /^class\b/;

/**
 * A method as a function that its caller sees.
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
 * The parameters of a method.
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
 * What a call returns: a promise of the result. If the method streams, iterate
 * over it, awaited or not. Iterating over a call that is answered with one
 * value throws a `TypeError`.
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
 * A call of a method that streams. It can be iterated over once. Leaving the
 * loop ends the generator at the other end.
 *
 * @typeParam Item Type of its items.
 * @typeParam Return Type of what it returns in the end.
 */
export type RpcStream<Item, Return = void> =
  & Promise<AsyncGenerator<Item, Return, void>>
  & AsyncIterable<Item, Return, void>;

/**
 * The names of the methods.
 *
 * @typeParam Contract Type of the methods: an interface, or `typeof` the object
 * that has them.
 */
export type RpcName<Contract> = keyof Contract & string;

/**
 * The names of a contract's methods that can be called without parameters.
 *
 * @typeParam Contract Type of the methods: an interface, or `typeof` the object
 * that has them.
 */
export type RpcNameWithoutParams<Contract> = {
  [Name in RpcName<Contract>]: [] extends RpcParams<Contract[Name]> ? Name
    : never;
}[RpcName<Contract>];

/**
 * Names that {@linkcode RpcApi} does not have: those of every object, and those
 * that other code calls if they exist.
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
 * Methods of a peer as functions: `await api.add(1, 2)`. A single plain object
 * is sent as parameters by name, anything else as parameters by position. A
 * method with one of the names in {@linkcode RpcReserved} can only be called by
 * {@linkcode RpcRemote.call}, so that printing, comparing, awaiting or copying
 * this object calls nothing.
 *
 * @typeParam Contract Type of the methods: an interface, or `typeof` the object
 * that has them.
 */
export type RpcApi<Contract> = {
  readonly [
    Name in Exclude<RpcName<Contract>, RpcReserved>
  ]: (
    ...params: RpcParams<Contract[Name]>
  ) => RpcReply<RpcResult<Contract[Name]>>;
};

/**
 * Parameters as they are sent: an array, or an object if the method has a
 * single parameter that is an object.
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

/** Options of a call. */
export interface RpcCallOptions {
  /**
   * Cancels the call when aborted, and rejects with the signal's reason. The
   * method's own signal is aborted.
   */
  signal?: AbortSignal;
  /**
   * Milliseconds for the whole call, a stream to its end included. The method
   * is told how many. `Infinity` means no limit. By default, the peer's
   * `timeout` limits only the time until the answer or the first item, and the
   * time until the stream is read.
   */
  timeout?: number;
}

/**
 * The methods of the other end.
 *
 * @typeParam Contract Type of the peer's methods: an interface, or `typeof` the
 * object that has them.
 */
export interface RpcRemote<Contract = RpcUntyped> {
  /** The peer's methods as functions. */
  readonly api: RpcApi<Contract>;
  /**
   * Returns the same peer with options for its calls, also those through
   * {@linkcode RpcRemote.api}: `peer.with({ timeout: 100 }).api.add(1, 2)`.
   *
   * @param options Options for calls that have none of their own.
   * @returns The same peer.
   */
  with(options: RpcCallOptions): RpcRemote<Contract>;
  /**
   * Calls a method of the peer that needs no parameters; see below.
   *
   * @param method Its name.
   * @param params Its parameters, if there are any.
   * @param options Limits of the call.
   */
  call<Name extends RpcNameWithoutParams<Contract>>(
    method: Name,
    params?: RpcCallParams<RpcParams<Contract[Name]>>,
    options?: RpcCallOptions,
  ): RpcReply<RpcResult<Contract[Name]>>;
  /**
   * Calls a method of the peer.
   *
   * @param method Its name.
   * @param params Its parameters: an array or, by name, an object.
   * @param options Limits of the call.
   * @returns A promise of its result; see {@linkcode RpcReply}.
   * @throws {RpcError} If the peer answers with an error.
   * @throws {ConnectionClosedError} If the connection has ended, or ends before
   * the answer has come.
   * @throws {DOMException} With the name `TimeoutError`, if the answer does not
   * come in time.
   * @throws {BackpressureError} If too many calls are open or wait.
   * @throws {InvalidMessageError} If JSON cannot represent the parameters.
   */
  call<Name extends RpcName<Contract>>(
    method: Name,
    params: RpcCallParams<RpcParams<Contract[Name]>>,
    options?: RpcCallOptions,
  ): RpcReply<RpcResult<Contract[Name]>>;
  /**
   * Calls a method of the peer that needs no parameters, without an answer.
   *
   * @param method Its name.
   * @param params Its parameters, if there are any.
   */
  notify<Name extends RpcNameWithoutParams<Contract>>(
    method: Name,
    params?: RpcCallParams<RpcParams<Contract[Name]>>,
  ): Promise<void>;
  /**
   * Calls a method of the peer without an answer.
   *
   * @param method Its name.
   * @param params Its parameters: an array or, by name, an object.
   * @returns A promise that resolves when more can be sent, like that of
   * `send`.
   * @throws {BackpressureError} If too many wait, or if it still waits when the
   * connection is closed and more than `maxQueuedBytes` are queued.
   * @throws {ConnectionClosedError} If the connection has ended.
   * @throws {InvalidMessageError} If JSON cannot represent the parameters.
   */
  notify<Name extends RpcName<Contract>>(
    method: Name,
    params: RpcCallParams<RpcParams<Contract[Name]>>,
  ): Promise<void>;
}

/**
 * The call that a method answers: the method's `this`, or its first parameter
 * with {@linkcode method}. Calls made through it are cancelled with the call,
 * and have only the time that it has left.
 *
 * Where 1 024 calls are open, others wait, except for those of methods, as the
 * open ones may wait for just these. A method that hands its work to code that
 * was begun elsewhere, such as the workers of a pool, has to give it this, too:
 * what that calls by the peer waits like any other.
 *
 * @typeParam Remote Type of the caller's methods.
 * @typeParam I Type of `identity`: what `authenticate` returns for a caller.
 */
export interface RpcContext<Remote = RpcUntyped, I = unknown>
  extends RpcRemote<Remote> {
  /**
   * Aborted when the caller cancels the call, its time is over, or the
   * connection ends. It is also aborted when the server shuts down, with an
   * `RpcError` of code -32002 as its reason; the method may still answer until
   * `shutdownTimeout`, or throw that error.
   */
  readonly signal: AbortSignal;
  /** Milliseconds left for the call; `Infinity` without a limit. */
  readonly timeLeft: number;
  /** The connection on which the call came; its `identity` is the caller's. */
  readonly connection: Connection<JsonValue, I>;
}
