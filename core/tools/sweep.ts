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
export interface Sweepable {
  /** Called once in each period. */
  tick(): void;
}

/** Most milliseconds between two ticks. */
const MOST_PERIOD = 250;
/** Ticks in the shortest of the timeouts, so that none is far too late. */
const TICKS = 20;

/** Looks at its members once in each period, as long as it has any. */
export class Sweep {
  /** Milliseconds between two ticks. */
  readonly period: number;
  readonly #members = new Set<Sweepable>();
  #timer: ReturnType<typeof setInterval> | undefined;
  /**
   * Whether its timer makes no ticks, so that a test makes them by itself and
   * needs no time of its own.
   */
  isHeld = false;

  /** Makes an empty sweep. */
  constructor(period: number) {
    this.period = period;
  }

  /** So many ticks are at least so many milliseconds. */
  ticks(timeout: number): number {
    return Math.ceil(timeout / this.period);
  }

  /** Looks at a member from now on. */
  add(member: Sweepable): void {
    this.#members.add(member);
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.isHeld || this.tick(), this.period);
    // Whoever waits for the peer keeps the process alive, not the deadline.
    this.#timer.unref();
  }

  /** Looks at a member no more. */
  delete(member: Sweepable): void {
    this.#members.delete(member);
    if (this.#members.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Looks at all members. */
  tick(): void {
    for (const member of this.#members) member.tick();
  }
}

/** One for each period that is in use. */
const SWEEPS = new Map<number, Sweep>();

/**
 * The sweep that is fine enough for the shortest of these timeouts, in
 * milliseconds; none if all are `Infinity`.
 */
export function sweepFor(...timeouts: number[]): Sweep | undefined {
  const shortest = Math.min(...timeouts);
  if (shortest === Infinity) return undefined;
  const period = Math.min(
    Math.max(1, Math.floor(shortest / TICKS)),
    MOST_PERIOD,
  );
  let sweep = SWEEPS.get(period);
  if (sweep === undefined) SWEEPS.set(period, sweep = new Sweep(period));
  return sweep;
}
