/**
 * Requests that wait for their reply: matched by order, given up when they are
 * late.
 *
 * @module
 */
import type { Decoded } from "../framing/framing.ts";
import { onAbort, timeoutError } from "../tools/abort.ts";
import { Queue } from "../tools/queue.ts";
import { BackpressureError } from "./options.ts";
import type { Ticker, Tickers, Ticking } from "../tools/ticker.ts";
import { rejectQuietly } from "../tools/promises.ts";

/** Requests that may be open on one connection. */
export const MOST_REQUESTS = 65_536;

/** The slot of a request in the order of the replies. */
interface Slot<T> {
  /** Bytes received when it was sent: its reply begins behind them. */
  after: number;
  /** Whether nobody misses its reply if somebody else takes it. */
  readonly isHeartbeat: boolean;
  readonly timeout: number;
  readonly countdown: Countdown | undefined;
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

/** Counts the ticks of one ticker while requests are open. */
class Countdown implements Ticking {
  readonly ticker: Ticker;
  readonly #late: (countdown: Countdown) => void;
  ticks = 0;
  /** The tick at which the first is late; it may have its reply by then. */
  earliest = Infinity;
  isCounting = false;

  constructor(ticker: Ticker, late: (countdown: Countdown) => void) {
    this.ticker = ticker;
    this.#late = late;
  }

  /** The tick that is at least so many milliseconds from now. */
  after(timeout: number): number {
    if (!this.isCounting) {
      this.isCounting = true;
      this.ticker.add(this);
    }
    const deadline = this.ticks + this.ticker.ticks(timeout) + 1;
    if (deadline < this.earliest) this.earliest = deadline;
    return deadline;
  }

  tick(): void {
    if (++this.ticks >= this.earliest) this.#late(this);
  }

  stop(): void {
    this.isCounting = false;
    this.ticker.delete(this);
  }
}

/** The open requests of one connection, in order. */
export class Requests<T> {
  readonly #slots = new Queue<Slot<T>>();
  readonly #countdowns: Countdown[] = [];
  /** The last one that was asked for, and for what: most are asked for alike. */
  #countdown: Countdown | undefined;
  #timeout = Infinity;
  #heartbeats = 0;
  /** Whether the requests were not sent yet, so that no message is a reply. */
  isHeld = false;
  readonly #tickers: Tickers;
  readonly #onMissing: (cause: unknown) => void;

  /**
   * `onMissing` is called when a reply is still missing a whole `timeout` after
   * its request was given up: later replies would be taken for the wrong
   * requests'.
   */
  constructor(tickers: Tickers, onMissing: (cause: unknown) => void) {
    this.#tickers = tickers;
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
    const countdown = this.#countdownFor(timeout);
    const settlers = Promise.withResolvers<T>();
    const slot: Slot<T> = {
      after,
      isHeartbeat,
      timeout,
      countdown,
      deadline: countdown === undefined ? Infinity : countdown.after(timeout),
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

  #countdownFor(timeout: number): Countdown | undefined {
    if (timeout === this.#timeout) return this.#countdown;
    const ticker = this.#tickers.for(timeout);
    let countdown = this.#countdowns.find((one) => one.ticker === ticker);
    if (countdown === undefined && ticker !== undefined) {
      countdown = new Countdown(ticker, (one) => this.#lookForLate(one));
      this.#countdowns.push(countdown);
    }
    this.#timeout = timeout;
    return this.#countdown = countdown;
  }

  #lookForLate(countdown: Countdown): void {
    countdown.earliest = Infinity;
    for (const slot of this.#slots) {
      if (slot.countdown !== countdown) continue;
      if (slot.deadline <= countdown.ticks) {
        const { timeout } = slot;
        if (slot.settlers === undefined) {
          return this.#onMissing(timeoutError(
            `Cannot receive reply: it is missing ${timeout} ms after its request was given up (timeout), and replies are matched by their order`,
          ));
        }
        giveUp(
          slot,
          timeoutError(
            `Cannot receive reply: timed out after ${timeout} ms (timeout)`,
          ),
        );
      }
      countdown.earliest = Math.min(countdown.earliest, slot.deadline);
    }
    if (countdown.earliest === Infinity) countdown.stop();
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
    for (const countdown of this.#countdowns) countdown.stop();
    for (let slot; (slot = this.#slots.shift()) !== undefined;) {
      giveUp(slot, reason);
    }
    this.#heartbeats = 0;
  }
}

/** Keeps nothing of a request but its slot. */
function giveUp<T>(slot: Slot<T>, reason: unknown): void {
  const { settlers, leave, countdown } = slot;
  if (settlers === undefined) return;
  slot.settlers = slot.leave = undefined;
  leave?.();
  rejectQuietly(settlers, reason);
  if (countdown?.isCounting) {
    slot.deadline = countdown.after(slot.timeout);
  }
}
