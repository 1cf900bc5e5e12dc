/**
 * Requests that wait for their reply: matched by order, given up when they are
 * late.
 *
 * @module
 */
import type { Decoded } from "../framing/framing.ts";
import { onAbort, timeoutError } from "../tools/abort.ts";
import { Queue } from "../tools/queue.ts";
import {
  BackpressureError,
  type ConnectionEnd,
  type RequestOptions,
} from "./options.ts";
import type { Ticker, Tickers, Ticking } from "../tools/ticker.ts";
import { rejectAwaited } from "../tools/promises.ts";
import { again } from "./failures.ts";

/** Requests that may be open on one connection. */
export const MOST_REQUESTS = 65_536;

/**
 * Requests that get an error of their own when the link ends, with a stack that
 * leads to them. It takes some 15 µs to make one.
 */
const MOST_STACKS = 256;

/** Where the messages of an inbox come from. */
export interface InboxOwner {
  /** What deadlines tick by. */
  readonly settings: { readonly tickers: Tickers };
  /** Bytes received so far. */
  readonly bytesReceived: number;
  /** Whether the peer has answered a request. */
  hasAnswered: boolean;
  /** Called when more is to be read. */
  wanted(): void;
  /** Called when the connection cannot go on, for the reason given. */
  closeFor(end: ConnectionEnd): void;
}

/** The slot of a request in the order of the replies. */
interface Slot<T> {
  /** Bytes received when it was sent: its reply begins behind them. */
  after: number;
  /** Whether its reply is not missed if something else takes it. */
  readonly isHeartbeat: boolean;
  readonly timeout: number;
  /** When the reply is late, and once the request is given up, missing. */
  deadline: number;
  /** Nothing once the request is given up. */
  settlers: PromiseWithResolvers<T> | undefined;
  /** Leaves its signal. */
  leave: (() => void) | undefined;
}

/** Options of a request, checked. */
export type RequestLimits = RequestOptions & { timeout: number };

/** The open requests of one connection, in order. */
export class Requests<T> implements Ticking {
  readonly #slots = new Queue<Slot<T>>();
  /** Fine enough for the shortest timeout, while there is one. */
  #ticker: Ticker | undefined;
  /** Milliseconds that have ticked away, and when the first may be late. */
  #time = 0;
  #earliest = Infinity;
  /** The least timeout that may be open. */
  #shortest = Infinity;
  #heartbeats = 0;
  /** Whether the requests were not sent yet, so that no message is a reply. */
  isHeld = false;
  readonly #owner: InboxOwner;

  /** Makes a list of no requests; `owner` is closed where a reply is missing. */
  constructor(owner: InboxOwner) {
    this.#owner = owner;
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
    isHeartbeat: boolean,
  ): Promise<T> {
    const settlers = Promise.withResolvers<T>();
    const slot: Slot<T> = {
      after: this.#owner.bytesReceived,
      isHeartbeat,
      timeout,
      deadline: this.#deadlineOf(timeout),
      settlers,
      leave: undefined,
    };
    this.#slots.push(slot);
    if (isHeartbeat) this.#heartbeats++;
    if (signal !== undefined) {
      slot.leave = onAbort(
        signal,
        (reason) => this.#giveUp(slot, () => reason),
      );
    }
    return settlers.promise;
  }

  #deadlineOf(timeout: number): number {
    if (timeout === Infinity) return Infinity;
    if (this.#ticker === undefined || timeout < this.#shortest) {
      this.#shortest = timeout;
      this.#tickBy(this.#owner.settings.tickers.for(timeout));
    }
    const deadline = this.#time + timeout;
    if (deadline < this.#earliest) this.#earliest = deadline;
    return deadline;
  }

  #tickBy(ticker: Ticker | undefined): void {
    if (ticker === this.#ticker) return;
    this.#ticker?.delete(this);
    this.#ticker = ticker;
    ticker?.add(this);
  }

  /** Gives up what is late. */
  tick(): void {
    // The first tick may come at once: so each deadline is one tick later.
    const now = this.#time;
    this.#time += this.#ticker!.period;
    if (now < this.#earliest) return;
    this.#earliest = Infinity;
    let shortest = Infinity;
    for (const slot of this.#slots) {
      const { timeout } = slot;
      if (slot.deadline <= now) {
        if (slot.settlers === undefined) {
          // Later replies would be taken for the wrong requests'.
          const cause = timeoutError(
            `Cannot receive reply: it is missing ${timeout} ms after its request was given up (timeout), and replies are matched by their order`,
          );
          return this.#owner.closeFor({ clean: false, cause });
        }
        this.#giveUp(slot, () =>
          timeoutError(
            `Cannot receive reply: timed out after ${timeout} ms (timeout)`,
          ));
      }
      this.#earliest = Math.min(this.#earliest, slot.deadline);
      shortest = Math.min(shortest, timeout);
    }
    this.#shortest = shortest;
    this.#tickBy(this.#owner.settings.tickers.for(shortest));
  }

  /** Keeps nothing of a request but its slot. */
  #giveUp(slot: Slot<T>, failure: () => unknown): void {
    slot.deadline = this.#deadlineOf(slot.timeout);
    reject(slot, failure);
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
    if (isBad) rejectAwaited(settlers, () => again(message as Error));
    else settlers.resolve(message as T);
    return true;
  }

  /** The requests are sent now: what was received before is no reply. */
  release(): void {
    this.isHeld = false;
    for (const slot of this.#slots) slot.after = this.#owner.bytesReceived;
  }

  /** Rejects all. */
  end(reason: object): void {
    this.#tickBy(undefined);
    let made = 0;
    for (let slot; (slot = this.#slots.shift()) !== undefined;) {
      reject(slot, () => made++ < MOST_STACKS ? again(reason) : reason);
    }
    this.#heartbeats = 0;
  }
}

function reject<T>(slot: Slot<T>, failure: () => unknown): void {
  const { settlers, leave } = slot;
  slot.settlers = slot.leave = undefined;
  leave?.();
  if (settlers !== undefined) rejectAwaited(settlers, failure);
}
