/**
 * Requests that wait for their reply: matched by order, given up when they are
 * late.
 *
 * @module
 */
import type { Decoded } from "../framing/framing.ts";
import { onAbort } from "../tools/abort.ts";
import { timeoutError } from "../tools/timer.ts";
import { Queue } from "../tools/queue.ts";
import { BackpressureError } from "./options.ts";
import { type Sweep, sweepFor } from "../tools/sweep.ts";
import { rejectQuietly } from "../tools/quiet.ts";

/** Requests that may be open on one connection. */
export const MOST_REQUESTS = 65_536;

/** The slot of a request in the order of the replies. */
interface Slot<T> {
  /** Bytes received when it was sent: its reply begins behind them. */
  after: number;
  /** Whether nobody misses its reply if somebody else takes it. */
  readonly isHeartbeat: boolean;
  readonly timeout: number;
  readonly ticker: Ticker | undefined;
  deadline: number;
  /** Nothing once the request is given up. */
  settlers: PromiseWithResolvers<T> | undefined;
  /** Leaves its signal. */
  leave: (() => void) | undefined;
}

/** Options of a request, checked. */
export interface RequestLimits {
  /** Gives up when aborted. */
  signal?: AbortSignal;
  /** Milliseconds until the request is given up. */
  timeout: number;
}

/** Counts the ticks of one sweep while requests are open. */
class Ticker {
  readonly sweep: Sweep;
  readonly #late: (ticker: Ticker) => void;
  ticks = 0;
  /** The tick at which the first is late; it may have its reply by then. */
  earliest = Infinity;
  isCounting = false;

  constructor(sweep: Sweep, late: (ticker: Ticker) => void) {
    this.sweep = sweep;
    this.#late = late;
  }

  /** The tick that is at least so many milliseconds from now. */
  after(timeout: number): number {
    if (!this.isCounting) {
      this.isCounting = true;
      this.sweep.add(this);
    }
    const deadline = this.ticks + this.sweep.ticks(timeout) + 1;
    if (deadline < this.earliest) this.earliest = deadline;
    return deadline;
  }

  tick(): void {
    if (++this.ticks >= this.earliest) this.#late(this);
  }

  stop(): void {
    this.isCounting = false;
    this.sweep.delete(this);
  }
}

/** The open requests of one connection, in order. */
export class Requests<T> {
  readonly #slots = new Queue<Slot<T>>();
  readonly #tickers: Ticker[] = [];
  /** The last one that was asked for, and for what: most are asked for alike. */
  #ticker: Ticker | undefined;
  #timeout = Infinity;
  #heartbeats = 0;
  /** Whether the requests were not sent yet, so that no message is a reply. */
  isHeld = false;
  readonly #onMissing: (cause: unknown) => void;

  /**
   * `onMissing` is called when a reply is still missing a whole `timeout` after
   * its request was given up: later replies would be taken for the wrong
   * requests'.
   */
  constructor(onMissing: (cause: unknown) => void) {
    this.#onMissing = onMissing;
  }

  /** Requests whose reply has not come, those that were given up included. */
  get size(): number {
    return this.#slots.size;
  }

  /** Whether no more than heartbeats wait. */
  get isQuiet(): boolean {
    return this.#slots.size === this.#heartbeats;
  }

  /** Throws if one more would be too many. */
  checkRoom(): void {
    const { size } = this.#slots;
    if (size >= MOST_REQUESTS) {
      throw new BackpressureError(size, MOST_REQUESTS, "requests");
    }
  }

  /** Waits for the reply to a request that is sent now. */
  add(
    { signal, timeout }: RequestLimits,
    after: number,
    isHeartbeat: boolean,
  ): Promise<T> {
    const ticker = this.#tickerFor(timeout);
    const settlers = Promise.withResolvers<T>();
    const slot: Slot<T> = {
      after,
      isHeartbeat,
      timeout,
      ticker,
      deadline: ticker === undefined ? Infinity : ticker.after(timeout),
      settlers,
      leave: undefined,
    };
    this.#slots.push(slot);
    if (isHeartbeat) this.#heartbeats++;
    if (signal !== undefined) {
      slot.leave = onAbort(signal, (reason) => giveUp(slot, reason));
    }
    return settlers.promise;
  }

  #tickerFor(timeout: number): Ticker | undefined {
    if (timeout === this.#timeout) return this.#ticker;
    const sweep = sweepFor(timeout);
    let ticker = this.#tickers.find((ticker) => ticker.sweep === sweep);
    if (ticker === undefined && sweep !== undefined) {
      ticker = new Ticker(sweep, (ticker) => this.#lookForLate(ticker));
      this.#tickers.push(ticker);
    }
    this.#timeout = timeout;
    return this.#ticker = ticker;
  }

  #lookForLate(ticker: Ticker): void {
    ticker.earliest = Infinity;
    for (const slot of this.#slots) {
      if (slot.ticker !== ticker) continue;
      if (slot.deadline <= ticker.ticks) {
        const { timeout } = slot;
        if (slot.settlers === undefined) {
          return this.#onMissing(timeoutError(
            `Cannot receive reply: it is missing ${timeout} ms after its request was given up (timeout), and replies are matched by their order`,
          ));
        }
        giveUp(
          slot,
          timeoutError(
            `Cannot receive reply: none came in ${timeout} ms (timeout)`,
          ),
        );
      }
      ticker.earliest = Math.min(ticker.earliest, slot.deadline);
    }
    if (ticker.earliest === Infinity) ticker.stop();
  }

  /**
   * Takes a message that begins behind `start` bytes for the reply to the first
   * request. Returns whether it can be that.
   */
  settle(message: Decoded<T>, isBad: boolean, start: number): boolean {
    const slot = this.#slots.peek();
    if (slot === undefined || this.isHeld || start < slot.after) return false;
    this.#slots.shift();
    if (slot.isHeartbeat) this.#heartbeats--;
    const { settlers, leave } = slot;
    if (leave !== undefined) leave();
    if (settlers === undefined) return true;
    if (isBad) rejectQuietly(settlers, message);
    else settlers.resolve(message as T);
    return true;
  }

  /** The requests are sent now, when so many bytes have been received. */
  release(after: number): void {
    this.isHeld = false;
    for (const slot of this.#slots) slot.after = after;
  }

  /** Rejects all. */
  end(reason: unknown): void {
    for (const ticker of this.#tickers) ticker.stop();
    for (let slot; (slot = this.#slots.shift()) !== undefined;) {
      giveUp(slot, reason);
    }
    this.#heartbeats = 0;
  }
}

/** Keeps nothing of a request but its slot. */
function giveUp<T>(slot: Slot<T>, reason: unknown): void {
  const { settlers, leave, ticker } = slot;
  if (settlers === undefined) return;
  slot.settlers = slot.leave = undefined;
  leave?.();
  rejectQuietly(settlers, reason);
  if (ticker?.isCounting) slot.deadline = ticker.after(slot.timeout);
}
