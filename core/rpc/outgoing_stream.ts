/**
 * The answering end of a stream: items from an iterator, sent as long as there
 * is credit for them.
 *
 * @module
 */
import { BackpressureError, type Link } from "../connection/connection.ts";
import type { RpcId } from "./jsonrpc.ts";
import { Queue } from "../tools/queue.ts";
import { WINDOW_BYTES, WINDOW_ITEMS } from "./incoming_stream.ts";
import { giveWay, NEXT_ITEM_WITHIN } from "../tools/schedule.ts";

/** Most items and, as far as the last frame tells, bytes of one frame. */
const FRAME_ITEMS = 128;
const FRAME_BYTES = 32_768;

/** What is sent item by item: an async iterable, or any generator. */
export type Streamable = AsyncIterable<unknown> | IterableIterator<unknown>;

/**
 * Whether that is a stream: what a method gives may be anything, also what
 * throws when it is looked at. An array is iterable, too, and is a result; a
 * generator has a `next` as well.
 */
export function isStreamable(value: unknown): value is Streamable {
  try {
    return typeof value === "object" && value !== null &&
      (Symbol.asyncIterator in value ||
        Symbol.iterator in value && "next" in value &&
          typeof value.next === "function");
  } catch {
    return false;
  }
}

/** Waits for the items that a generator which is not async may promise. */
async function* awaited<R>(items: Iterable<unknown, R>) {
  return yield* items;
}

/**
 * The answering end: takes items from an iterator, as long as there is credit,
 * and sends those together that come together.
 */
export class OutgoingStream {
  readonly #iterator: AsyncIterator<unknown>;
  readonly #link: Pick<Link, "enqueue" | "room">;
  readonly #id: RpcId | undefined;
  /** Frames that are on their way: how many items, how many bytes. */
  readonly #frames = new Queue<{ items: number; bytes: number }>();
  #items: unknown[] = [];
  #itemsAdded = 0;
  #itemsSent = 0;
  #bytesSent = 0;
  /** Items of the first frame that were taken already. */
  #itemsTaken = 0;
  /** Items of the next frame: first one, to see how large they are. */
  #most = 1;
  #isOpen = false;
  #isFlushing = false;
  #isUnlimited = false;
  #isSpent = false;
  /** Whether the iterator was asked for an item, and has given none yet. */
  #isAsking = false;
  #stopping: Promise<void> | undefined;
  #failure: { error: unknown } | undefined;
  /** What it ends with, once the next item has come. */
  #ending: { error: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** Makes a stream of what `items` gives; nothing is taken from it yet. */
  constructor(
    items: Streamable,
    link: Pick<Link, "enqueue" | "room">,
    id: RpcId | undefined,
  ) {
    this.#iterator = Symbol.asyncIterator in items
      ? items[Symbol.asyncIterator]()
      : awaited(items);
    this.#link = link;
    this.#id = id;
  }

  /**
   * Sends everything, and resolves to what the iterator returned, or to
   * `undefined` if it was stopped; not before the iterator has come to rest.
   */
  async run(): Promise<unknown> {
    this.#flushSoon();
    try {
      return await this.#sendAll();
    } finally {
      if (!this.#isSpent) this.stop();
      await this.#stopping;
    }
  }

  async #sendAll(): Promise<unknown> {
    for (;;) {
      if (!this.#isReady) await this.#getReady();
      if (this.#stopping !== undefined) return;
      if (this.#ending !== undefined) {
        await this.#flushAll();
        throw this.#ending.error;
      }
      let step: IteratorResult<unknown>;
      this.#isAsking = true;
      try {
        step = await this.#iterator.next();
      } catch (error) {
        this.#isAsking = false;
        this.#isSpent = true;
        await this.#flushAll();
        throw error;
      }
      this.#isAsking = false;
      if (step.done) {
        this.#isSpent = true;
        await this.#flushAll();
        return step.value;
      }
      this.#add(step.value);
    }
  }

  /** Whether there is credit, and the link has taken what was sent. */
  get #isReady(): boolean {
    return this.#stopping === undefined && this.#failure === undefined &&
      (this.#isUnlimited ||
        this.#itemsSent + this.#items.length < WINDOW_ITEMS &&
          this.#bytesSent < WINDOW_BYTES) &&
      this.#link.room() === undefined;
  }

  async #getReady(): Promise<void> {
    while (
      !this.#isReady && this.#stopping === undefined &&
      this.#ending === undefined
    ) {
      if (this.#failure !== undefined) throw this.#failure.error;
      this.#flush();
      await (this.#link.room() ??
        new Promise<void>((resolve) => this.#wake = resolve));
    }
  }

  #add(item: unknown): void {
    if (this.#stopping !== undefined) return;
    this.#items.push(item);
    this.#itemsAdded++;
    if (this.#items.length >= this.#most) this.#flush();
    else if (!this.#isFlushing) this.#flushSoon();
  }

  /** Sends what there is when no more of it comes in this turn. */
  #flushSoon(left = NEXT_ITEM_WITHIN): void {
    const seen = this.#itemsAdded;
    this.#isFlushing = true;
    queueMicrotask(() => {
      this.#isFlushing = false;
      if (this.#isOpen && this.#items.length === 0) return;
      if (this.#itemsAdded > seen) this.#flushSoon();
      else if (left > 0) this.#flushSoon(left - 1);
      else this.#flush();
    });
  }

  /** Sends what there is, and, the first time, that there is a stream. */
  #flush(): void {
    let count = this.#items.length;
    while (
      (count > 0 || !this.#isOpen) &&
      this.#stopping === undefined && this.#failure === undefined
    ) {
      try {
        const bytes = this.#link.enqueue({
          jsonrpc: "2.0",
          method: "$/stream",
          params: { id: this.#id, items: this.#items.slice(0, count) },
        });
        this.#isOpen = true;
        this.#items = this.#items.slice(count);
        if (count > 0) this.#sent(count, bytes);
        count = this.#items.length;
      } catch (error) {
        if (error instanceof BackpressureError) {
          this.#link.room()?.then(() => this.#flush(), () => {});
          return;
        }
        // One of them may be too large, or all of them together.
        if (count <= 1) this.#fail(error);
        count >>= 1;
      }
    }
  }

  #fail(error: unknown): void {
    this.#failure = { error };
    this.#wake?.();
  }

  #sent(items: number, bytes: number): void {
    this.#frames.push({ items, bytes });
    this.#itemsSent += items;
    this.#bytesSent += bytes;
    this.#most = Math.min(
      FRAME_ITEMS,
      2 * items,
      Math.max(1, Math.floor(FRAME_BYTES * items / bytes)),
    );
    this.#forgetTaken();
  }

  /** Sends all there is. */
  async #flushAll(): Promise<void> {
    this.#flush();
    while (
      this.#items.length > 0 && this.#stopping === undefined &&
      this.#failure === undefined
    ) {
      await this.#link.room();
      this.#flush();
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** So many more items were taken; more than were sent is credit, too. */
  credit(items: number): void {
    this.#itemsSent -= items;
    this.#itemsTaken += items;
    this.#forgetTaken();
    this.#wake?.();
  }

  #forgetTaken(): void {
    for (
      let frame;
      (frame = this.#frames.peek()) !== undefined &&
      frame.items <= this.#itemsTaken;
    ) {
      this.#frames.shift();
      this.#itemsTaken -= frame.items;
      this.#bytesSent -= frame.bytes;
    }
  }

  /** Sends as fast as the link takes it: there will be no more credit. */
  flow(): void {
    this.#isUnlimited = true;
    this.#wake?.();
  }

  /**
   * Ends with that error at the next item, which is sent, or at once where none
   * is waited for.
   */
  endWith(error: unknown): void {
    this.#ending ??= { error };
    this.#wake?.();
  }

  /**
   * Resolves, once others were served and all items are sent, to whether the
   * next one is still waited for.
   */
  async isSilent(): Promise<boolean> {
    await giveWay();
    try {
      await this.#flushAll();
    } catch {
      return false; // it ends with that
    }
    return this.#isAsking;
  }

  /** Ends the iterator, wherever it is, and sends no more. */
  stop(): void {
    this.#stopping ??= this.#isSpent ? Promise.resolve() : this.#return();
    // The code that runs the stream is told, when that comes to rest.
    this.#stopping.catch(() => {});
    this.#wake?.();
  }

  async #return(): Promise<void> {
    await this.#iterator.return?.();
  }
}
