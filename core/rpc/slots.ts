/**
 * How many calls are at work and wait, and what they hold.
 *
 * @module
 */
import { Queue } from "../queue.ts";

/**
 * Counts the calls that are at work, and the bytes of their parameters. A call
 * that was given up frees its slot, but counts until its method is done: who
 * calls and gives up, again and again, must not have methods at work without a
 * limit.
 */
export class Slots {
  readonly #most: number;
  readonly #mostBytes: number;
  #taken = 0;
  #takenBytes = 0;
  #abandoned = 0;
  #abandonedBytes = 0;

  /** Makes so many slots, all free. */
  constructor(most: number, mostBytes: number) {
    this.#most = most;
    this.#mostBytes = mostBytes;
  }

  /** Calls that have a slot. */
  get taken(): number {
    return this.#taken;
  }

  /** Bytes of all calls whose methods are at work. */
  get bytes(): number {
    return this.#takenBytes + this.#abandonedBytes;
  }

  /** Whether there is no slot for one more call of so many bytes. */
  isFull(bytes: number): boolean {
    return this.#taken >= this.#most ||
      this.#taken + this.#abandoned >= 2 * this.#most ||
      this.isFullOfBytes(bytes);
  }

  /** Whether so many bytes are too many more; not where no call has a slot. */
  isFullOfBytes(bytes: number): boolean {
    return this.#abandonedBytes > this.#mostBytes ||
      this.#taken > 0 && this.bytes + bytes > this.#mostBytes;
  }

  /** A call takes a slot. */
  take(bytes: number): void {
    this.#taken++;
    this.#takenBytes += bytes;
  }

  /** A call leaves its slot, as its method is done. */
  leave(bytes: number): void {
    this.#taken--;
    this.#takenBytes -= bytes;
  }

  /** A call leaves its slot, although its method still works. */
  abandon(bytes: number): void {
    this.leave(bytes);
    this.#abandoned++;
    this.#abandonedBytes += bytes;
  }

  /** The method of such a call is done. */
  forget(bytes: number): void {
    this.#abandoned--;
    this.#abandonedBytes -= bytes;
  }
}

/** Calls that wait for a slot, in order, with the bytes of their parameters. */
export class WaitingCalls<Call extends { readonly bytes: number }> {
  readonly #queue = new Queue<Call>();
  #bytes = 0;

  /** Calls that wait. */
  get size(): number {
    return this.#queue.size;
  }

  /** Bytes of the calls that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Has a call wait. */
  push(call: Call): void {
    this.#queue.push(call);
    this.#bytes += call.bytes;
  }

  /** The call that has waited longest. */
  peek(): Call | undefined {
    return this.#queue.peek();
  }

  /** Removes and gives the call that has waited longest. */
  shift(): Call | undefined {
    const call = this.#queue.shift();
    if (call !== undefined) this.#bytes -= call.bytes;
    return call;
  }

  /** Forgets all calls. */
  clear(): void {
    while (this.#queue.shift() !== undefined);
    this.#bytes = 0;
  }
}
