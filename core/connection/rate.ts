/**
 * How fast a peer has to read.
 *
 * @module
 */

/**
 * Most bytes that a platform takes at once when a peer reads slowly: it has room
 * again once a third of its buffer is free, on Linux of 4 MiB by default.
 */
const MOST_UNSEEN_BYTES = 4 * 2 ** 20 / 3;

/**
 * The rate below which a peer reads of which nothing was seen for so many
 * milliseconds, for a person.
 */
export function rateBelow(milliseconds: number): string {
  const rate = MOST_UNSEEN_BYTES / milliseconds * 1_000;
  return rate < 1_000
    ? `${Math.ceil(rate)} B/s`
    : `${Math.round(rate / 1_000)} KB/s`;
}
