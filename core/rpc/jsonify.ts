/**
 * What arrives of a value that is sent as JSON: types.
 *
 * @module
 */
import type { JsonValue } from "../framing/framing.ts";

/** What JSON leaves out of an object, and makes null in an array. */
type Omitted =
  | undefined
  | void
  | symbol
  | ((...params: never) => unknown)
  | (abstract new (...params: never) => unknown);

/** Objects whose content is not in properties that JSON writes. */
type Opaque =
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | WeakMap<WeakKey, unknown>
  | WeakSet<WeakKey>
  | Promise<unknown>
  | RegExp
  | ArrayBuffer;

/** The same members in one type, as editors show it. */
type Flat<T> = { [Name in keyof T]: T[Name] };

/**
 * Whether that is any JSON, or nothing is known of it.
 *
 * @internal
 */
type IsAsItIs<T> = unknown extends T ? true
  : [T, JsonValue] extends [JsonValue, T] ? true
  : false;

/** Whether JSON may leave a member with that value out. */
type IsOptional<Value> = unknown extends Value ? false
  : [Extract<Value, Omitted>] extends [never] ? false
  : true;

type Always<T> = {
  [
    Name in keyof T as Name extends symbol ? never
      : IsOptional<T[Name]> extends true ? never
      : Name
  ]: Jsonify<T[Name]>;
};

type Sometimes<T> = {
  [
    Name in keyof T as Name extends symbol ? never
      : IsOptional<T[Name]> extends false ? never
      : [Exclude<T[Name], Omitted>] extends [never] ? never
      : Name
  ]?: Jsonify<Exclude<T[Name], Omitted>>;
};

type Members<T> = Flat<Always<T> & Sometimes<T>>;

type Item<T> = IsAsItIs<T> extends true ? T
  : T extends Omitted ? null
  : Jsonify<T>;

/** Of an array, which may hold itself, or of a tuple. */
type Items<T extends readonly unknown[]> = T[number][] extends T
  ? T extends unknown[] ? Item<T[number]>[] : readonly Item<T[number]>[]
  : { [Index in keyof T]: Item<T[Index]> };

/**
 * What is written of a value whose `toJSON`, if it has one, was called.
 *
 * @internal
 */
type Written<T> = T extends undefined | void ? null
  : T extends bigint | Omitted ? never
  : T extends readonly unknown[] ? Items<T>
  : T extends ArrayBufferView ? { [index: string]: number }
  : T extends Opaque ? Record<never, never>
  : T extends Error ? Members<Omit<T, keyof Error>>
  : Members<T>;

/**
 * What arrives where a value of that type is sent: the type of
 * `JSON.parse(JSON.stringify(value))`, with null for `undefined`, as in an array.
 * A `Date` arrives as a string, and anything with `toJSON` as what that gives;
 * members that are `undefined`, functions or symbols do not arrive; of a `Map` an
 * empty object does. `never` is what JSON cannot carry, such as a bigint.
 *
 * ```ts
 * import type { Jsonify } from "@blackbelt/networking/rpc";
 * import { assertEquals } from "@std/assert";
 *
 * const sent = { at: new Date(0), tags: ["a", undefined], save() {} };
 * const received: Jsonify<typeof sent> = JSON.parse(JSON.stringify(sent));
 * assertEquals(received, { at: "1970-01-01T00:00:00.000Z", tags: ["a", null] });
 * ```
 *
 * @typeParam T What is sent.
 */
export type Jsonify<T> = IsAsItIs<T> extends true ? T
  : T extends string | number | boolean | null ? T
  : T extends { toJSON(...params: never): infer Carried } ? Written<Carried>
  : Written<T>;
