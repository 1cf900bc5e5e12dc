/**
 * How much of the calls is open on the wire, and the calls that wait for that.
 *
 * @module
 */
import { LeavableQueue } from "../tools/leavable_queue.ts";

/** Calls that are open on the wire. */
const WINDOW_CALLS = 1_024;
/**
 * UTF-16 units of those calls; may be exceeded by one of them. A unit is up to
 * three bytes, so it is less than what an answerer has wait.
 */
const WINDOW_UNITS = 262_144;

/** What may be open on the wire, and what waits, in order. */
export class Window<Call extends { readonly isWaiting: boolean }> {
  /** What waits. */
  readonly queue: LeavableQueue<Call> = new LeavableQueue();
  /** UTF-16 units of what waits. */
  unitsWaiting = 0;
  /** Calls that are open. */
  calls = 0;
  /** What they and the notifications behind them take. */
  units = 0;
  readonly #mostCalls: number;
  readonly #mostUnits: number;

  /** Makes a window in which nothing is open. */
  constructor(
    mostCalls: number = WINDOW_CALLS,
    mostUnits: number = WINDOW_UNITS,
  ) {
    this.#mostCalls = mostCalls;
    this.#mostUnits = mostUnits;
  }

  /** Calls that are open, or wait. */
  get size(): number {
    return this.calls + this.queue.size;
  }

  /** Whether one more may be sent. */
  get hasRoom(): boolean {
    return this.calls < this.#mostCalls && this.units < this.#mostUnits;
  }

  /** Whether it may be sent before anything that waits. */
  get isFree(): boolean {
    return this.hasRoom && this.queue.size === 0;
  }
}
