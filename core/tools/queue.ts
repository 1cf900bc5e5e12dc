/**
 * First in, first out.
 *
 * @module
 */

/** So many items that are gone are worth moving those behind them. */
const WORTH_MOVING = 64;

/**
 * A queue that moves what is behind the first only now and then, and holds no
 * more than twice its items. An empty one holds nothing.
 */
export class Queue<V> {
  #items: (V | undefined)[] | undefined;
  #head = 0;

  /** Number of items. */
  get size(): number {
    return this.#items === undefined ? 0 : this.#items.length - this.#head;
  }

  /** Adds an item at the end. */
  push(item: V): void {
    if (this.#items === undefined) this.#items = [item];
    else this.#items.push(item);
  }

  /** Gives the first item and leaves it where it is. */
  peek(): V | undefined {
    return this.#items?.[this.#head];
  }

  /** Removes and gives the first item. */
  shift(): V | undefined {
    const items = this.#items;
    if (items === undefined) return undefined;
    const item = items[this.#head];
    items[this.#head++] = undefined;
    if (this.#head === items.length) {
      this.#items = undefined;
      this.#head = 0;
    } else if (this.#head >= WORTH_MOVING && 2 * this.#head >= items.length) {
      items.splice(0, this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Iterates from the first to the last; nothing may be removed meanwhile. */
  *[Symbol.iterator](): Generator<V, void> {
    const items = this.#items ?? [];
    for (let i = this.#head; i < items.length; i++) yield items[i] as V;
  }
}
