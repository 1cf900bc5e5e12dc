/**
 * Telling calls that methods make from others, also behind an `await` and by any
 * peer that they know.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";

const messages = new AsyncLocalStorage<true>();

/** Whether what runs now was begun by a message of a peer: mostly, a method. */
export function isWithinMethod(): boolean {
  return messages.getStore() === true;
}

/** Runs what takes messages of a peer: what that begins is within a method. */
export function withinMethod<Result>(run: () => Result): Result {
  return messages.run(true, run);
}
