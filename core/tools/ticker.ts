/**
 * Deadlines of many connections, by one coarse timer.
 *
 * Connections count the ticks in which nothing has happened: that costs them
 * nothing while something happens, and a clock that jumps, or a process that
 * was stopped for a while, makes nothing late.
 *
 * @module
 */
import timers from "node:timers";

/** Something with deadlines. */
export interface Ticking {
  /** Called once in each period. */
  tick(): void;
}

/** Most milliseconds between two ticks. */
const MOST_PERIOD = 250;
/** Ticks in the shortest of the timeouts: keeps each deadline within 5 %. */
const TICKS = 20;

/** Ticks its members once in each period, as long as it has any. */
export class Ticker {
  /** Milliseconds between two ticks. */
  readonly period: number;
  readonly #members = new Set<Ticking>();
  #timer: ReturnType<typeof timers.setInterval> | undefined;

  /** Makes a ticker without members. */
  constructor(period: number) {
    this.period = period;
  }

  /** So many ticks are at least so many milliseconds. */
  ticks(timeout: number): number {
    return Math.ceil(timeout / this.period);
  }

  /** Ticks a member from now on. */
  add(member: Ticking): void {
    this.#members.add(member);
    if (this.#timer !== undefined) return;
    this.#timer = timers.setInterval(() => this.#tick(), this.period);
    // What waits for the peer keeps the process alive, not the deadline.
    this.#timer.unref();
  }

  /** Ticks a member no more. */
  delete(member: Ticking): void {
    this.#members.delete(member);
    if (this.#members.size > 0 || this.#timer === undefined) return;
    timers.clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    for (const member of this.#members) member.tick();
  }
}

/** One ticker for each period that is in use. */
export class Tickers {
  readonly #tickers = new Map<number, Ticker>();

  /**
   * The ticker that is fine enough for the shortest of these timeouts, in
   * milliseconds; none if all are `Infinity`.
   */
  for(...timeouts: number[]): Ticker | undefined {
    const shortest = Math.min(...timeouts);
    if (shortest === Infinity) return undefined;
    const period = Math.min(
      Math.max(1, Math.floor(shortest / TICKS)),
      MOST_PERIOD,
    );
    let ticker = this.#tickers.get(period);
    if (ticker === undefined) {
      this.#tickers.set(period, ticker = new Ticker(period));
    }
    return ticker;
  }
}

/**
 * Those of all the process: a timer of its own for each of ten thousand
 * connections takes 2 % of a core and more.
 */
export const TICKERS = new Tickers();
