/**
 * First in, first out.
 *
 * @module
 */

/**
 * A queue that does not move what is behind the first. An empty one holds
 * nothing.
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
    }
    return item;
  }
}
