/**
 * What may be printed only now and then.
 *
 * @module
 */

const PERIOD = 1_000;

/** Lets a few through in each second, and counts the others. */
export class Throttle {
  readonly #most: number;
  readonly #now: () => number;
  #since = -Infinity;
  #passed = 0;
  /** How many were left out since the last that passed. */
  omitted = 0;

  /** Lets `most` through in a second; `now` gives milliseconds. */
  constructor(most: number, now: () => number) {
    this.#most = most;
    this.#now = now;
  }

  /** How many were left out since the last; `undefined` if this one is, too. */
  take(): number | undefined {
    const now = this.#now();
    if (now - this.#since >= PERIOD) {
      this.#since = now;
      this.#passed = 0;
    }
    if (this.#passed === this.#most) {
      this.omitted++;
      return undefined;
    }
    this.#passed++;
    return this.takeOmitted();
  }

  /** How many were left out, which are counted anew from now on. */
  takeOmitted(): number {
    const { omitted } = this;
    this.omitted = 0;
    return omitted;
  }
}
