/**
 * Which errors are the failure of a link: no bug of the function that met them.
 *
 * @module
 */

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
