/**
 * Which of many deadlines is over first.
 *
 * @module
 */

/** Something with a deadline, which may be done before. */
export interface Timed {
  /** When it is late; it does not change while it waits for that. */
  dueAt: number;
  /** Whether it is done: set by {@linkcode Deadlines.finish}. */
  isDone: boolean;
}

/** So many that are done may be kept, and one for each two that are not. */
const MOST_DONE = 64;

/**
 * A heap, the earliest first. Adding and taking cost O(log n). What is done in
 * time, as nearly all is, stays until much of the heap is done.
 */
export class Deadlines<T extends Timed> {
  #heap: T[] = [];
  #done = 0;

  /** Number of those that are kept, some of which are done. */
  get size(): number {
    return this.#heap.length;
  }

  /**
   * Nothing is late before this time; `Infinity` if nothing ever is. It may be
   * the deadline of something that is done.
   */
  get earliest(): number {
    return this.#heap.length === 0 ? Infinity : this.#heap[0].dueAt;
  }

  /** Waits for a deadline. */
  add(timed: T): void {
    if (timed.dueAt === Infinity) return;
    const heap = this.#heap;
    let at = heap.length;
    heap.push(timed);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent].dueAt <= timed.dueAt) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = timed;
  }

  /** Says that something that was added, and was not taken since, is done. */
  finish(timed: T): void {
    timed.isDone = true;
    if (timed.dueAt === Infinity) return;
    if (++this.#done <= MOST_DONE + this.#heap.length / 3) return;
    this.#heap = this.#heap.filter(({ isDone }) => !isDone);
    this.#done = 0;
    for (let i = this.#heap.length >> 1; i-- > 0;) this.#sink(i);
  }

  /** Takes the earliest that is not done, if its deadline is not after `now`. */
  takeLate(now: number): T | undefined {
    const heap = this.#heap;
    while (heap.length > 0 && heap[0].dueAt <= now) {
      const [first] = heap;
      const last = heap.pop()!;
      if (heap.length > 0) {
        heap[0] = last;
        this.#sink(0);
      }
      if (!first.isDone) return first;
      this.#done--;
    }
    return undefined;
  }

  /** Forgets all. */
  clear(): void {
    this.#heap = [];
    this.#done = 0;
  }

  /** Moves an element down to where both below it are not earlier. */
  #sink(at: number): void {
    const heap = this.#heap;
    const timed = heap[at];
    for (let child; (child = 2 * at + 1) < heap.length; at = child) {
      if (
        child + 1 < heap.length && heap[child + 1].dueAt < heap[child].dueAt
      ) {
        child++;
      }
      if (heap[child].dueAt >= timed.dueAt) break;
      heap[at] = heap[child];
    }
    heap[at] = timed;
  }
}
