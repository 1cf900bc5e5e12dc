/**
 * Slots for connections.
 *
 * @module
 */
import { abortable, onAbort } from "../tools/abort.ts";

/** Slots for connections: at most so many are taken at a time. */
export class Slots {
  readonly #most: number;
  #taken = 0;
  /** Those that wait for a slot, the first one first. */
  readonly #waiting = new Set<PromiseWithResolvers<void>>();
  /** Resolves when a slot is free that is not waited for. */
  #freed: PromiseWithResolvers<void> | undefined;

  /** Makes so many slots, all free. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Whether all are taken. */
  get isFull(): boolean {
    return this.#taken >= this.#most;
  }

  /** Resolves when one is free, or `signal` is aborted. */
  async untilFree(signal: AbortSignal): Promise<void> {
    if (!this.isFull) return;
    const stop = onAbort(signal, () => this.#freed?.resolve());
    while (this.isFull && !signal.aborted) {
      await (this.#freed ??= Promise.withResolvers()).promise;
    }
    stop();
  }

  /**
   * Takes one, at once or when those that came before have theirs; gives a
   * promise if it has to wait.
   *
   * @throws The reason of the signal, if that is aborted before.
   */
  take(signal: AbortSignal): Promise<void> | undefined {
    if (this.isFull) return this.#wait(signal);
    this.#taken++;
  }

  async #wait(signal: AbortSignal): Promise<void> {
    const waiting = Promise.withResolvers<void>();
    this.#waiting.add(waiting);
    try {
      await abortable(waiting.promise, signal);
    } catch (error) {
      // It may have been given one meanwhile.
      if (!this.#waiting.delete(waiting)) this.release();
      throw error;
    }
  }

  /** Gives one back: to the first that waits. */
  release(): void {
    const [next] = this.#waiting;
    if (next !== undefined) {
      this.#waiting.delete(next);
      next.resolve();
      return;
    }
    this.#taken--;
    this.#freed?.resolve();
    this.#freed = undefined;
  }
}
