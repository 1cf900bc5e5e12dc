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
 * leaves its slot when it is answered, but counts until its method rests: a peer
 * that calls and gives up, again and again, must not have methods at work without
 * a limit.
 */
export class Slots {
  /** Calls that have a slot. */
  taken = 0;
  /** Bytes of those. */
  bytesTaken = 0;
  /** Calls whose methods are at work, given up or not. */
  working = 0;
  /** Bytes of those. */
  bytes = 0;
  /** Whether it was told that calls which were given up fill them. */
  hasTold = false;
  readonly #limits: SlotLimits;

  /** Makes slots that are all free. */
  constructor(limits: SlotLimits) {
    this.#limits = limits;
  }

  /**
   * Whether there is no slot for one more call of so many bytes, which may be too
   * many where others are at work. As many more slots are `lent` as of those that
   * have one may wait for just that call; then it waits for the bytes of those
   * alone that were given up.
   */
  isFull(bytes: number, lent: number = 0): boolean {
    const { most, mostAbandoned, mostBytes, overhead } = this.#limits;
    const held = lent === 0 ? this.bytes : this.bytes - this.bytesTaken;
    return this.taken >= most + lent ||
      this.working >= most + mostAbandoned + lent ||
      held > 0 && held + bytes + overhead > mostBytes;
  }

  /** A call takes a slot, and its method works. */
  take(bytes: number): void {
    this.taken++;
    this.bytesTaken += bytes + this.#limits.overhead;
    this.working++;
    this.bytes += bytes + this.#limits.overhead;
  }

  /** A call leaves its slot: it is answered, or given up. */
  leave(bytes: number): void {
    this.taken--;
    this.bytesTaken -= bytes + this.#limits.overhead;
  }

  /** The method of a call is done, whether it was given up or not. */
  rest(bytes: number): void {
    this.working--;
    this.bytes -= bytes + this.#limits.overhead;
    if (this.working === this.taken) this.hasTold = false;
  }
}
