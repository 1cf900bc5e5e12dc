/**
 * The calling end of a stream: items that have come, for the loop over them.
 *
 * The answering end sends until a window of items or bytes is on its way; this
 * end gives credit for what was taken, half a window at a time.
 *
 * @module
 */
import { Queue } from "../tools/queue.ts";
import { quiet, quietSoon } from "../tools/promises.ts";
import { giveWay, Share } from "../tools/schedule.ts";

/** Items that may be on their way: sent, and not taken yet. */
export const WINDOW_ITEMS = 1_024;
/**
 * Bytes that may be on their way. They are counted by the end that sends, and
 * may be exceeded by one frame, as its size is known only when it is made.
 */
export const WINDOW_BYTES = 262_144;
/**
 * UTF-16 units, in which the sending end counts, are up to three bytes each, in
 * which the receiving end does.
 */
const MOST_BYTES = 3 * WINDOW_BYTES;
/**
 * Bytes that all streams of a connection hold, before the frame at hand: 16
 * windows that are full, of streams that are not read.
 */
export const MOST_STREAM_BYTES = 4_194_304;

/** What all streams of a connection hold together. */
export interface StreamTotal {
  /** Bytes that have come and were not taken yet. */
  bytes: number;
}

/** Makes an error where it is awaited, so that its stack leads there. */
export type Failure = () => unknown;

/** Throws what a failure makes. */
export function raise(failure: Failure): never {
  throw failure();
}

/** The error of iterating over a call that has one result. */
export function notAStream(): TypeError {
  return new TypeError(
    "Cannot iterate over reply: the method answered with one value, not with a stream",
  );
}

/** Where a stream's items come from, and what it says to that end. */
export interface StreamSource {
  /** So many more items are taken. */
  credit(items: number): void;
  /** No more is wanted. */
  cancel(): void;
  /** Its reading has begun. Called once. */
  begin(): void;
}

interface Frame<T> {
  readonly items: readonly T[];
  readonly bytes: number;
}

/**
 * The calling end: holds what has come until it is iterated over. What is held
 * when the stream ends is still handed out; what is held when it is left is
 * not.
 */
export class IncomingStream<T, R> implements AsyncGenerator<T, R, void> {
  /** Items that have come and were not taken yet. */
  itemsHeld = 0;
  readonly #source: StreamSource;
  readonly #total: StreamTotal;
  readonly #frames = new Queue<Frame<T>>();
  readonly #waiting = new Queue<PromiseWithResolvers<IteratorResult<T, R>>>();
  /** Items of the first frame that were taken. */
  #next = 0;
  #bytesHeld = 0;
  #itemsTaken = 0;
  #bytesTaken = 0;
  /** How long the reader may go on before others have to run. */
  #share: Share | undefined;
  #isOver = false;
  /** What comes behind the last item, until it was handed out. */
  #outcome: { result: R } | { failure: Failure } | undefined;

  /** Makes a stream to which nothing has come yet. */
  constructor(source: StreamSource, total: StreamTotal) {
    this.#source = source;
    this.#total = total;
  }

  /**
   * Takes the items of a frame in. Fails if there were more than the window
   * allows: a peer cannot make us hold more.
   */
  push(items: readonly T[], bytes: number): void {
    if (this.#isOver || items.length === 0) return;
    const isBeyondWindow = this.itemsHeld + items.length > WINDOW_ITEMS ||
      this.#bytesHeld > MOST_BYTES;
    if (isBeyondWindow || this.#total.bytes > MOST_STREAM_BYTES) {
      return this.#refuse(
        isBeyondWindow
          ? `${this.itemsHeld + items.length} items and ${
            this.#bytesHeld + bytes
          } bytes wait, limit is ${WINDOW_ITEMS} items and ${MOST_BYTES} bytes`
          : `${
            this.#total.bytes + bytes
          } bytes of all streams wait, limit is ${MOST_STREAM_BYTES} bytes`,
      );
    }
    this.#frames.push({ items, bytes });
    this.itemsHeld += items.length;
    this.#bytesHeld += bytes;
    this.#total.bytes += bytes;
    this.#serve();
  }

  #refuse(reason: string): void {
    this.#source.cancel();
    this.drop(() => new RangeError(`Cannot receive stream: ${reason}`));
  }

  /** There is no more to come. */
  finish(result: R): void {
    this.#end({ result });
  }

  /** There is no more to come, and not because all has come. */
  fail(failure: Failure): void {
    this.#end({ failure });
  }

  /** The same, and what is held is not wanted any more. */
  drop(failure: Failure): void {
    this.#discard();
    this.#end({ failure });
  }

  #end(outcome: { result: R } | { failure: Failure }): void {
    if (this.#isOver) return;
    // Nothing but the stream itself holds its items from now on.
    this.#total.bytes -= this.#bytesHeld;
    this.#isOver = true;
    this.#outcome = outcome;
    this.#serve();
  }

  #discard(): void {
    while (this.#frames.shift() !== undefined);
    if (!this.#isOver) this.#total.bytes -= this.#bytesHeld;
    this.#next = this.itemsHeld = this.#bytesHeld = 0;
  }

  /**
   * Settles the reads that wait: with items, then once with how it ended, then
   * with the end of an iteration.
   */
  #serve(): void {
    while (this.#waiting.size > 0 && (this.itemsHeld > 0 || this.#isOver)) {
      const { resolve, reject } = this.#waiting.shift()!;
      const frame = this.#frames.peek();
      if (frame !== undefined) {
        this.#share?.read(0); // what was before was no work
        resolve({ done: false, value: this.#take(frame) });
        continue;
      }
      const outcome = this.#outcome;
      this.#outcome = undefined;
      if (outcome === undefined) resolve({ done: true, value: undefined as R });
      else if ("failure" in outcome) reject(outcome.failure);
      else resolve({ done: true, value: outcome.result });
    }
  }

  /** Takes the next item of the first frame. */
  #take(frame: Frame<T>): T {
    const item = frame.items[this.#next++];
    this.itemsHeld--;
    if (this.#next === frame.items.length) {
      this.#next = 0;
      this.#frames.shift();
      this.#giveCredit(frame);
    }
    return item;
  }

  /** A frame was taken; half a window is worth a message. */
  #giveCredit({ items, bytes }: Frame<T>): void {
    this.#bytesHeld -= bytes;
    if (!this.#isOver) this.#total.bytes -= bytes;
    this.#itemsTaken += items.length;
    this.#bytesTaken += bytes;
    if (
      this.#isOver || this.#itemsTaken < WINDOW_ITEMS / 2 &&
        this.#bytesTaken < WINDOW_BYTES / 2
    ) return;
    this.#source.credit(this.#itemsTaken);
    this.#itemsTaken = this.#bytesTaken = 0;
  }

  /** Gives the next item, when there is one, or the end. */
  next(): Promise<IteratorResult<T, R>> {
    if (this.#share === undefined) {
      this.#share = new Share();
      this.#source.begin();
    }
    const frame = this.#frames.peek();
    if (frame !== undefined) {
      const isSpent = this.#share.isSpent(frame.bytes / frame.items.length);
      const value = this.#take(frame);
      const result: IteratorResult<T, R> = { done: false, value };
      return isSpent ? giveWay().then(() => result) : Promise.resolve(result);
    }
    const waiting = Promise.withResolvers<IteratorResult<T, R>>();
    this.#waiting.push(waiting);
    this.#serve();
    const next = waiting.promise.then(undefined, (failure) => {
      quietSoon(next);
      return raise(failure);
    });
    return next;
  }

  /** Leaves the stream, which ends the generator at the other end. */
  return(value: R | PromiseLike<R>): Promise<IteratorResult<T, R>> {
    this.#leave();
    return Promise.resolve(value).then((value) => ({ done: true, value }));
  }

  /** Leaves the stream, and rejects with `error`. */
  throw(error: unknown): Promise<IteratorResult<T, R>> {
    this.#leave();
    return quiet(Promise.reject(error));
  }

  #leave(): void {
    if (!this.#isOver) this.#source.cancel();
    this.#discard();
    this.#isOver = true;
    this.#outcome = undefined;
    this.#serve();
  }

  /** The stream itself: it can be iterated over once. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Leaves the stream. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#leave();
    return Promise.resolve();
  }
}
