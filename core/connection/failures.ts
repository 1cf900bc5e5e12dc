/**
 * Whose fault an error is: the link's, or the caller's.
 *
 * @module
 */
import { InvalidMessageError } from "../framing/framing.ts";
import { quiet } from "../tools/promises.ts";
import { BackpressureError, ConnectionClosedError } from "./options.ts";

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

/** Makes an error of a link anew, where it is awaited. */
export function again(error: object): object {
  const { message, cause } = error as Error;
  const made = error instanceof ConnectionClosedError
    ? new ConnectionClosedError(message, error)
    : error instanceof InvalidMessageError
    ? new InvalidMessageError(message, cause === undefined ? {} : { cause })
    : error;
  const link = LINKS.get(error);
  if (link !== undefined) markFailure(made, link);
  return made;
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
