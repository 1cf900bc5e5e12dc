/**
 * How many lines of a kind are printed in a second.
 *
 * @module
 */
import { count } from "./output.ts";

const PERIOD = 1_000;

/** Most lines of one kind in a second: a peer that floods fills no log. */
export const MOST_LINES = 20;

interface Counts {
  since: number;
  printed: number;
  others: number;
}

/** Lets a few lines of each kind through a second, and counts the others. */
export class LineRate {
  readonly #now: () => number;
  readonly #kinds = new Map<string, Counts>();

  /** `now` gives milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * How many lines of the kind were left out since the last one; `undefined`
   * if this one is left out, too.
   */
  take(kind: string, most: number): number | undefined {
    const counts = this.#of(kind);
    const now = this.#now();
    if (now - counts.since >= PERIOD) {
      counts.since = now;
      counts.printed = 0;
    }
    if (counts.printed >= most) {
      counts.others++;
      return undefined;
    }
    counts.printed++;
    const { others } = counts;
    counts.others = 0;
    return others;
  }

  /** The kinds of which lines were left out since the last one, and how many. */
  *takeOthers(): Generator<[kind: string, others: number], void> {
    for (const [kind, counts] of this.#kinds) {
      if (counts.others > 0) yield [kind, counts.others];
      counts.others = 0;
    }
  }

  /** Counts a line that is never printed itself. */
  skip(kind: string): void {
    this.#of(kind).others++;
  }

  #of(kind: string): Counts {
    let counts = this.#kinds.get(kind);
    if (counts === undefined) {
      counts = { since: -Infinity, printed: 0, others: 0 };
      this.#kinds.set(kind, counts);
    }
    return counts;
  }
}

/** A line that says how many of its kind were left out before it. */
export function withOthers(text: string, others: number): string {
  return others === 0
    ? text
    : `${text}; ${count(others, "other")} since the last line`;
}
