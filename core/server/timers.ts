/**
 * Timers of a server.
 *
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";

/** Timers that keep the process alive only while their owner does. */
export class Timers {
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #keepAlive = true;

  /**
   * Calls `late` after so many milliseconds, and never after `Infinity`. The
   * function that is returned prevents it.
   */
  start(timeout: number, late: () => void): () => void {
    if (timeout === Infinity) return () => {};
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      late();
    }, timeout);
    if (!this.#keepAlive) timer.unref();
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
      clearTimeout(timer);
    };
  }

  /** Has the timers keep the process alive, as they do by default. */
  ref(): void {
    this.#keepAlive = true;
    for (const timer of this.#timers) timer.ref();
  }

  /** Lets the process end although they run. */
  unref(): void {
    this.#keepAlive = false;
    for (const timer of this.#timers) timer.unref();
  }
}
