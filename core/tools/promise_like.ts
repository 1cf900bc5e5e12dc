/**
 * Promises, and what is taken for one.
 *
 * @module
 */

/** Whether it has a method `then`; what throws when it is asked has none. */
export function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  try {
    return typeof (value as Partial<PromiseLike<unknown>> | null)?.then ===
      "function";
  } catch {
    return false;
  }
}
