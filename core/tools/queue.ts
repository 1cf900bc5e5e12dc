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

  /** Keeps those items for which a function says so. */
  protected keep(isKept: (item: V) => boolean): void {
    const items = [...this].filter(isKept);
    this.#items = items.length > 0 ? items : undefined;
    this.#head = 0;
  }

  /** Iterates from the first to the last; nothing may be removed meanwhile. */
  *[Symbol.iterator](): Generator<V, void> {
    const items = this.#items ?? [];
    for (let i = this.#head; i < items.length; i++) yield items[i] as V;
  }
}

/**
 * A queue whose items may leave it: what has left costs nothing but a slot, and
 * no more slots are kept than twice those in use.
 */
export class LeavableQueue<V extends { readonly isWaiting: boolean }>
  extends Queue<V> {
  #left = 0;

  /** Number of items that wait. */
  override get size(): number {
    return super.size - this.#left;
  }

  /** Gives the first item that waits and leaves it where it is. */
  override peek(): V | undefined {
    let item = super.peek();
    for (; item?.isWaiting === false; item = super.peek()) {
      super.shift();
      this.#left--;
    }
    return item;
  }

  /** Removes and gives the first item that waits. */
  override shift(): V | undefined {
    this.peek();
    return super.shift();
  }

  /** An item waits no more, and was not removed. */
  leave(): void {
    this.#left++;
    if (this.#left <= WORTH_MOVING || this.#left <= this.size) return;
    this.keep(({ isWaiting }) => isWaiting);
    this.#left = 0;
  }
}
