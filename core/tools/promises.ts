/**
 * Promises that need not be awaited, and what is taken for one.
 *
 * @module
 */

function ignore(): void {}

/**
 * Gives the same promise, whose rejection does not end the process where
 * nothing awaits it: it is no mistake of the caller's that a link ends.
 */
export function quiet<Kind extends Promise<unknown>>(promise: Kind): Kind {
  promise.catch(ignore);
  return promise;
}

/** Rejects a promise that need not be awaited. */
export function rejectQuietly<Value>(
  { promise, reject }: PromiseWithResolvers<Value>,
  reason: unknown,
): void {
  promise.catch(ignore);
  reject(reason);
}

const RESOLVED = Promise.resolve();

/**
 * Rejects like {@linkcode rejectQuietly} with an error that is made only once
 * the engine knows what awaits the promise, so that its stack leads there. It
 * costs nothing before: the promise follows another one that rejects two
 * microtasks later, and nothing else reacts to it by then.
 */
export function rejectAwaited<Value>(
  { promise, resolve }: PromiseWithResolvers<Value>,
  failure: () => unknown,
): void {
  const failed = RESOLVED.then(ignore).then((): never => {
    const error = failure();
    promise.catch(ignore);
    throw error;
  });
  resolve(failed);
}

/**
 * Does the same as `quiet` for a promise that is about to be rejected with an
 * error that is made only then: where nothing but the code that awaits the
 * promise reacts to it, the engine puts them into the stack.
 */
export function quietSoon(promise: Promise<unknown>): void {
  queueMicrotask(() => quiet(promise));
}

/** Whether it has a method `then`; what throws when it is asked has none. */
export function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  try {
    return typeof (value as Partial<PromiseLike<unknown>> | null)?.then ===
      "function";
  } catch {
    return false;
  }
}
