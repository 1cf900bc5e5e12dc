/**
 * How many calls are at work, and what they hold.
 *
 * @module
 */

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

  /**
   * Whether there is no slot for one more call of so many bytes, which may be too
   * many where others are at work. As many more slots are `lent` as of those that
   * have one may wait for just that call; then they do not wait for bytes either.
   */
  isFull(bytes: number, lent: number = 0): boolean {
    const { most, mostAbandoned, mostBytes, overhead } = this.#limits;
    return this.#taken >= most + lent ||
      this.#taken + this.#abandoned >= most + mostAbandoned + lent ||
      lent === 0 && this.#bytes > 0 &&
        this.#bytes + bytes + overhead > mostBytes;
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
