/**
 * What was not sent, and whose fault that is.
 *
 * @module
 */
import { InvalidMessageError } from "../framing/framing.ts";
import { BackpressureError } from "./options.ts";
import { quiet } from "../tools/promises.ts";

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
