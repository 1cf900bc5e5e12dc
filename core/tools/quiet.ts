/**
 * Promises that need not be awaited.
 *
 * @module
 */

function ignore(): void {}

/**
 * Gives the same promise, whose rejection does not end the process where nobody
 * awaits it: it is no mistake of the caller's that a link ends.
 */
export function quiet<Kind extends Promise<unknown>>(promise: Kind): Kind {
  promise.catch(ignore);
  return promise;
}
