/**
 * Deadlines of many connections, by one coarse timer.
 *
 * Connections count the ticks in which nothing has happened: that costs them
 * nothing while something happens, and a clock that jumps, or a process that
 * was stopped for a while, makes nobody late.
 *
 * @module
 */
import { clearInterval, setInterval } from "node:timers";

/** Something with deadlines. */
export interface Ticking {
  /** Called once in each period. */
  tick(): void;
}

/** Calls `tick` once in each period, until the function it returns is called. */
type StartTicks = (tick: () => void, period: number) => () => void;

/** Most milliseconds between two ticks. */
const MOST_PERIOD = 250;
/** Ticks in the shortest of the timeouts: keeps each deadline within 5 %. */
const TICKS = 20;

let startTicks: StartTicks = startInterval;

function startInterval(tick: () => void, period: number): () => void {
  const timer = setInterval(tick, period);
  // Whoever waits for the peer keeps the process alive, not the deadline.
  timer.unref();
  return () => clearInterval(timer);
}

/**
 * Has `other` tick what starts from now on, for a test; it may use what did that
 * before. The function that is returned ends that.
 */
export function useTicks(
  other: (
    ...args: [...Parameters<StartTicks>, before: StartTicks]
  ) => () => void,
): () => void {
  const before = startTicks;
  startTicks = (tick, period) => other(tick, period, before);
  return () => void (startTicks = before);
}

/** Ticks its members once in each period, as long as it has any. */
export class Ticker {
  /** Milliseconds between two ticks. */
  readonly period: number;
  readonly #members = new Set<Ticking>();
  #stop: (() => void) | undefined;

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
    this.#stop ??= startTicks(() => this.#tick(), this.period);
  }

  /** Ticks a member no more. */
  delete(member: Ticking): void {
    this.#members.delete(member);
    if (this.#members.size > 0) return;
    this.#stop?.();
    this.#stop = undefined;
  }

  #tick(): void {
    for (const member of this.#members) member.tick();
  }
}

/** The tickers of one server or client: one for each period that is in use. */
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
