/**
 * Room for so many calls at a time, and a queue in front of it.
 *
 * @module
 */
import { Queue } from "./queue.ts";

/**
 * Counts the calls that have a place, and keeps those that wait for one, with
 * the bytes that they take.
 */
export class Places<Call> {
  readonly #most: number;
  readonly #queue = new Queue<{ call: Call; bytes: number }>();
  #taken = 0;
  #abandoned = 0;
  #bytes = 0;

  /** Makes so many places, all free. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Bytes of the calls that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Whether there is no place for another call. Who calls and gives up, again
   * and again, must not have methods at work without a limit.
   */
  get areTaken(): boolean {
    return this.#taken >= this.#most ||
      this.#taken + this.#abandoned >= 2 * this.#most;
  }

  /** A call takes a place. */
  take(): void {
    this.#taken++;
  }

  /** A call leaves its place, as its method is done. */
  leave(): void {
    this.#taken--;
  }

  /** A call leaves its place, although its method still works. */
  abandon(): void {
    this.#taken--;
    this.#abandoned++;
  }

  /** The method of such a call is done. */
  forget(): void {
    this.#abandoned--;
  }

  /** Has a call wait. */
  queue(call: Call, bytes: number): void {
    this.#queue.push({ call, bytes });
    this.#bytes += bytes;
  }

  /** The call that has waited longest, if there is a place for it. */
  next(): Call | undefined {
    if (this.#queue.size === 0 || this.areTaken) return undefined;
    const { call, bytes } = this.#queue.shift()!;
    this.#bytes -= bytes;
    return call;
  }

  /** Forgets the calls that wait. */
  clear(): void {
    while (this.#queue.shift() !== undefined);
    this.#bytes = 0;
  }
}
