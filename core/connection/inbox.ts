/**
 * What reads a connection, and the messages that were not asked for yet.
 *
 * ```
 *             request             iterate()
 * requests ◀──────────── nobody ────────────▶ iteration
 *     └── last reply ────▶ │ ▲ ◀── left, ended ───┘
 *                          │ consume()
 *                          ▼
 *                      consumer, for good
 * ```
 *
 * @module
 */
import { type Decoded, InvalidMessageError } from "../framing/framing.ts";
import { Queue } from "../tools/queue.ts";
import type { ConnectionEnd } from "./options.ts";
import { quiet, rejectQuietly } from "../tools/promises.ts";
import { giveWay, Share } from "../tools/schedule.ts";
import { markFailure } from "./failures.ts";
import { type InboxOwner, type RequestLimits, Requests } from "./requests.ts";

/** Bytes of messages that may wait for a reader, beyond the last one. */
export const MOST_UNCLAIMED_BYTES = 1_048_576;
/** What a message that waits counts at least: a small one takes more than its bytes. */
const LEAST_BYTES = 64;

function costOf(bytes: number): number {
  return Math.max(bytes, LEAST_BYTES);
}

/** Takes every message of a connection. */
export interface Consumer<T> {
  /** What errors call it. */
  readonly name: string;
  /** Messages whose answers are outstanding: the peer waits for us. */
  readonly size: number;
  /**
   * Called for each message and the size of its payload, in order; a promise
   * that comes back is awaited before the next.
   */
  receive(message: Decoded<T>, bytes: number): Promise<void> | undefined;
  /** Called once, when no more messages will come. */
  end(end: ConnectionEnd): void;
  /**
   * Takes on nothing new, finishes what it has begun, and closes the
   * connection. Without it, nothing more is received.
   */
  drain?(): void;
}

type Result<T> = IteratorResult<T, undefined>;

/** One iteration over the messages of a connection. */
class Iteration<T> implements AsyncIterator<T, undefined> {
  readonly #inbox: Inbox<T>;
  /** Calls of `next` that wait. */
  readonly waiting: Queue<PromiseWithResolvers<Result<T>>> = new Queue();
  /** Whether it was left by its user. */
  isLeft = false;

  constructor(inbox: Inbox<T>) {
    this.#inbox = inbox;
  }

  next(): Promise<Result<T>> {
    try {
      return this.#inbox.next(this);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  return(): Promise<Result<T>> {
    this.#inbox.leave(this);
    return Promise.resolve({ done: true, value: undefined });
  }

  end(failure?: unknown): void {
    for (let next; (next = this.waiting.shift()) !== undefined;) {
      if (failure === undefined) next.resolve({ done: true, value: undefined });
      else rejectQuietly(next, failure);
    }
  }
}

interface Unclaimed<T> {
  readonly message: Decoded<T>;
  readonly bytes: number;
}

/** The messages of one connection, for one reader at a time. */
export class Inbox<T> {
  readonly #owner: InboxOwner;
  #requests: Requests<T> | undefined;
  #iteration: Iteration<T> | undefined;
  #consumer: Consumer<T> | undefined;
  #unclaimed: Queue<Unclaimed<T>> | undefined;
  #bytes = 0;
  /** What the bodies of iterations may do before the next message. */
  #share: Share | undefined;
  /** Bytes of the message that an iteration was given last. */
  #lastBytes = 0;
  /** Whether messages are read although none is asked for. */
  isWatched = false;
  /** How the messages ended, and what an iteration is to throw for it. */
  #end: { readonly failure: unknown } | undefined;

  /** Makes an empty inbox. */
  constructor(owner: InboxOwner) {
    this.#owner = owner;
  }

  /** What takes every message, if anything does. */
  get consumer(): Consumer<T> | undefined {
    return this.#consumer;
  }

  /** Whether a message is asked for now. */
  get isAwaited(): boolean {
    return this.#consumer !== undefined || !!this.#requests?.size ||
      !!this.#iteration?.waiting.size;
  }

  /** Whether an iteration or a consumer reads, although perhaps not now. */
  get isRead(): boolean {
    return this.#consumer !== undefined || this.#iteration !== undefined;
  }

  /**
   * Whether more is to be read. An iteration slows its peer down. Where requests
   * are made, reading goes on between them: what has come before one is not its
   * reply.
   */
  get isWanted(): boolean {
    if (this.isAwaited) return true;
    return this.#iteration === undefined
      ? this.isWatched || this.#requests !== undefined
      : this.isWatched && this.#bytes <= MOST_UNCLAIMED_BYTES;
  }

  /** Whether messages wait that were not asked for. */
  get hasUnclaimed(): boolean {
    return this.#unclaimed !== undefined;
  }

  /** Whether a consumer has to take first what came before it. */
  get isBehind(): boolean {
    return this.#unclaimed !== undefined && this.#consumer !== undefined;
  }

  /** Hands out the first message that came before the consumer. */
  catchUp(): Promise<void> | undefined {
    const { message, bytes } = this.#shift() as Unclaimed<T>;
    return this.#consumer?.receive(message, bytes);
  }

  /**
   * Takes a message with a payload of so many bytes, whose frame begins behind
   * `start` bytes; a promise that comes back is to be awaited before the next.
   */
  deliver(
    message: Decoded<T>,
    bytes: number,
    start: number,
  ): Promise<void> | undefined {
    if (this.#consumer !== undefined) {
      return this.#consumer.receive(message, bytes);
    }
    const isBad = message instanceof InvalidMessageError;
    if (isBad) markFailure(message, this.#owner);
    if (this.#requests?.settle(message, isBad, start)) {
      this.#owner.hasAnswered = true;
      return;
    }
    const next = this.#iteration?.waiting.shift();
    if (next !== undefined) {
      if (isBad) {
        this.#iteration = undefined; // a loop ends with what is thrown
        rejectQuietly(next, message);
      } else {
        this.#share?.read(0);
        this.#lastBytes = bytes;
        next.resolve({ done: false, value: message });
      }
    } else if (
      this.#bytes > MOST_UNCLAIMED_BYTES && this.#iteration === undefined
    ) {
      const cause = new RangeError(
        `Cannot receive message: ${this.#bytes} bytes of messages wait that no request or iteration takes, limit is ${MOST_UNCLAIMED_BYTES} bytes`,
      );
      this.#owner.closeFor({ clean: false, cause });
    } else {
      (this.#unclaimed ??= new Queue()).push({ message, bytes });
      this.#bytes += costOf(bytes);
    }
  }

  #shift(): Unclaimed<T> | undefined {
    const first = this.#unclaimed?.shift();
    if (first === undefined) return undefined;
    this.#bytes -= costOf(first.bytes);
    if (this.#unclaimed?.size === 0) this.#unclaimed = undefined;
    return first;
  }

  #checkReader(failed: string): void {
    const hasEnded = this.#end !== undefined && this.#unclaimed === undefined;
    if (this.#consumer !== undefined) {
      failed += `: ${this.#consumer.name} reads the connection`;
    } else if (this.#iteration !== undefined && !hasEnded) {
      failed += ": an iteration reads the connection, and was not left";
    } else return;
    throw new TypeError(`Cannot ${failed}`);
  }

  #checkFree(failed: string): void {
    this.#checkReader(failed);
    const requests = this.#requests;
    if (requests === undefined) return;
    if (!requests.isQuiet) {
      throw new TypeError(
        `Cannot ${failed}: ${requests.size} requests wait for their replies`,
      );
    }
    // The reply to a heartbeat is a message like any other from now on.
    requests.end(new DOMException("The heartbeat was given up", "AbortError"));
    this.#requests = undefined;
  }

  /**
   * Throws where no request can be made.
   *
   * @throws {TypeError} If something else reads the connection.
   * @throws {BackpressureError} If too many requests are open.
   */
  checkRequest(): void {
    this.#checkReader("send request");
    this.#requests?.checkRoom();
  }

  /** Waits for the reply to a request that is sent now. */
  request(limits: RequestLimits, isHeartbeat = false): Promise<T> {
    this.#requests ??= new Requests(this.#owner);
    const reply = this.#requests.add(limits, isHeartbeat);
    this.#owner.wanted();
    return reply;
  }

  /** Takes no message for a reply until {@linkcode Inbox.release}. */
  hold(): void {
    if (this.#requests !== undefined) this.#requests.isHeld = true;
  }

  /** What comes from now on may be a reply. */
  release(): void {
    this.#requests?.release();
  }

  /**
   * An iteration that begins now: nothing else reads, although nothing is asked
   * for yet.
   *
   * @throws {TypeError} If something else reads the connection.
   */
  iterate(): AsyncIterator<T, undefined> {
    const iteration = new Iteration(this);
    this.#begin(iteration);
    return iteration;
  }

  /** Gives the next message to an iteration. */
  next(iteration: Iteration<T>): Promise<Result<T>> {
    if (iteration.isLeft) {
      return Promise.resolve({ done: true, value: undefined });
    }
    if (this.#iteration !== iteration) this.#begin(iteration);
    const isSpent = this.#share!.isSpent(this.#lastBytes);
    const first = this.#shift();
    if (first !== undefined) return this.#handOut(first, isSpent);
    const next = Promise.withResolvers<Result<T>>();
    iteration.waiting.push(next);
    if (this.#end !== undefined) iteration.end(this.#end.failure);
    else if (isSpent) giveWay().then(() => this.#owner.wanted());
    else this.#owner.wanted();
    return next.promise;
  }

  /** Gives an iteration a message that waits, behind a rest where it is due. */
  #handOut(
    { message, bytes }: Unclaimed<T>,
    isSpent: boolean,
  ): Promise<Result<T>> {
    if (this.isWatched) this.#owner.wanted(); // reading may have paused
    if (message instanceof InvalidMessageError) {
      this.#iteration = undefined;
      return quiet(Promise.reject(message));
    }
    this.#lastBytes = bytes;
    const result: Result<T> = { done: false, value: message };
    return isSpent ? giveWay().then(() => result) : Promise.resolve(result);
  }

  #begin(iteration: Iteration<T>): void {
    this.#checkFree("iterate");
    this.#share ??= new Share();
    this.#iteration = iteration;
  }

  /** Lets others read. */
  leave(iteration: Iteration<T>): void {
    iteration.isLeft = true;
    iteration.end();
    if (this.#iteration === iteration) this.#iteration = undefined;
  }

  /** Hands every message to `consumer` from now on, what waits first. */
  consume(consumer: Consumer<T>): void {
    this.#checkFree(`use ${consumer.name}`);
    this.#consumer = consumer;
    this.#iteration = undefined;
  }

  /**
   * There will be no more messages: iterations end, or throw `failure`; requests
   * reject.
   */
  end(failure: unknown, reason: object): void {
    this.#end = { failure };
    this.#iteration?.end(failure);
    this.#requests?.end(reason);
  }
}
