/**
 * First in, first out, unless one leaves before.
 *
 * @module
 */
import { Queue } from "./queue.ts";

/** So many that have left are worth moving those behind them. */
const WORTH_MOVING = 64;

/**
 * A queue whose items may leave it: what has left costs nothing but a slot, and
 * no more slots are kept than twice those in use.
 */
export class LeavableQueue<V extends { readonly isWaiting: boolean }> {
  #items = new Queue<V>();
  #left = 0;

  /** Number of items that wait. */
  get size(): number {
    return this.#items.size - this.#left;
  }

  /** Adds an item at the end. */
  push(item: V): void {
    this.#items.push(item);
  }

  /** Gives the first item that waits and leaves it where it is. */
  peek(): V | undefined {
    for (let item; (item = this.#items.peek()) !== undefined;) {
      if (item.isWaiting) return item;
      this.#items.shift();
      this.#left--;
    }
    return undefined;
  }

  /** Removes and gives the first item that waits. */
  shift(): V | undefined {
    this.peek();
    return this.#items.shift();
  }

  /** An item waits no more, and was not removed. */
  leave(): void {
    this.#left++;
    if (this.#left <= WORTH_MOVING || 2 * this.#left <= this.#items.size) {
      return;
    }
    const items = this.#items;
    this.#items = new Queue();
    this.#left = 0;
    for (const item of items) if (item.isWaiting) this.#items.push(item);
  }
}
