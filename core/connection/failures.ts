/**
 * Whose fault an error is: the link's, or the caller's.
 *
 * @module
 */
import { InvalidMessageError } from "../framing/framing.ts";
import { quiet } from "../tools/promises.ts";
import { BackpressureError } from "./options.ts";

/** The link of each error. Nothing is kept of errors that are gone. */
const LINKS = new WeakMap<object, object>();

/** Marks an error as a failure of one link: its end, or what its peer sent. */
export function markFailure(error: object, link: object): void {
  LINKS.set(error, link);
}

/** Whether an error, which may be anything that is thrown, is one of a link. */
export function isFailureOf(link: object, error: unknown): boolean {
  return typeof error === "object" && error !== null &&
    LINKS.get(error) === link;
}

/** Whether an error is for a mistake of the caller's, which is not to be missed. */
export function isMistake(error: unknown): boolean {
  return error instanceof InvalidMessageError || error instanceof TypeError ||
    error instanceof RangeError && !(error instanceof BackpressureError);
}

/**
 * Rejects with why a message was not sent. It need not be awaited, except for a
 * mistake of the caller's.
 */
export function unsent(error: unknown): Promise<never> {
  const rejected = Promise.reject(error);
  return isMistake(error) ? rejected : quiet(rejected);
}
