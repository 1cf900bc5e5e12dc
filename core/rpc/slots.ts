/**
 * How many calls are at work and wait, and what they hold.
 *
 * @module
 */
import { Queue } from "../tools/queue.ts";

/** What limits slots. */
export interface SlotLimits {
  /** Calls that have a slot. */
  readonly most: number;
  /** Bytes of all calls whose methods are at work, unless they are one. */
  readonly mostBytes: number;
  /** Calls that were given up and whose methods are at work. */
  readonly mostAbandoned: number;
  /** Bytes that each call counts besides those of its message. */
  readonly overhead: number;
}

/**
 * Counts the calls that are at work, and the bytes of their parameters. A call
 * that was given up frees its slot, but its bytes count until its method is
 * done: a peer that calls and gives up, again and again, must not have methods at
 * work without a limit.
 */
export class Slots {
  /** Whether it was told that calls which were given up fill them. */
  hasTold = false;
  readonly #limits: SlotLimits;
  #taken = 0;
  #abandoned = 0;
  #bytes = 0;

  /** Makes slots that are all free. */
  constructor(limits: SlotLimits) {
    this.#limits = limits;
  }

  /** Calls that have a slot. */
  get taken(): number {
    return this.#taken;
  }

  /** Calls that were given up and whose methods are at work. */
  get abandoned(): number {
    return this.#abandoned;
  }

  /** Bytes of all calls whose methods are at work. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether there is no slot for one more call of so many bytes. */
  isFull(bytes: number): boolean {
    const { most, mostAbandoned } = this.#limits;
    return this.#taken >= most ||
      this.#taken + this.#abandoned >= most + mostAbandoned ||
      this.isFullOfBytes(bytes);
  }

  /** Whether so many bytes are too many more; not where no method is at work. */
  isFullOfBytes(bytes: number): boolean {
    const { mostBytes, overhead } = this.#limits;
    return this.#bytes > 0 && this.#bytes + bytes + overhead > mostBytes;
  }

  /** A call takes a slot. */
  take(bytes: number): void {
    this.#taken++;
    this.#bytes += bytes + this.#limits.overhead;
  }

  /** A call leaves its slot, as its method is done. */
  leave(bytes: number): void {
    this.#taken--;
    this.#bytes -= bytes + this.#limits.overhead;
  }

  /** A call leaves its slot, although its method still works. */
  abandon(): void {
    this.#taken--;
    this.#abandoned++;
  }

  /** The method of such a call is done. */
  forget(bytes: number): void {
    if (--this.#abandoned === 0) this.hasTold = false;
    this.#bytes -= bytes + this.#limits.overhead;
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
