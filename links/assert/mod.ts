import * as untyped from "npm:deno-std@1.4.0/assert/mod.js";

// deno-lint-ignore no-explicit-any
type ErrorClass<E extends Error = Error> = abstract new (...args: any[]) => E;

export function assert(value: unknown, message?: string): asserts value {
  untyped.assert(value, message);
}

export function assertInstanceOf<E extends object>(
  value: unknown,
  // deno-lint-ignore no-explicit-any
  type: abstract new (...args: any[]) => E,
  message?: string,
): asserts value is E {
  untyped.assertInstanceOf(value, type, message);
}

export function assertThrows<E extends Error>(
  run: () => unknown,
  type?: ErrorClass<E>,
  text?: string,
): E {
  return untyped.assertThrows(run, type ?? Error, text);
}

export function assertRejects<E extends Error>(
  run: () => PromiseLike<unknown>,
  type?: ErrorClass<E>,
  text?: string,
): Promise<E> {
  return untyped.assertRejects(run, type ?? Error, text);
}

export const assertEquals: <T>(
  actual: T,
  expected: T,
  message?: string,
) => void = untyped.assertEquals;
export const assertNotEquals: <T>(
  actual: T,
  expected: T,
  message?: string,
) => void = untyped.assertNotEquals;
export const assertStrictEquals: <T>(
  actual: unknown,
  expected: T,
  message?: string,
) => void = untyped.assertStrictEquals;
export const assertStringIncludes: (
  actual: string,
  expected: string,
  message?: string,
) => void = untyped.assertStringIncludes;
export const assertMatch: (
  actual: string,
  expected: RegExp,
  message?: string,
) => void = untyped.assertMatch;
export const assertGreater: <T>(
  actual: T,
  low: T,
  message?: string,
) => void = untyped.assertGreater;
export const assertLess: <T>(actual: T, high: T, message?: string) => void =
  untyped.assertLess;
export const assertLessOrEqual: <T>(
  actual: T,
  high: T,
  message?: string,
) => void = untyped.assertLessOrEqual;
export const assertGreaterOrEqual: <T>(
  actual: T,
  low: T,
  message?: string,
) => void = untyped.assertGreaterOrEqual;
export const fail: (message?: string) => never = untyped.fail;
