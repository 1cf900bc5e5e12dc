/**
 * The calls that methods work on, and those that wait for that.
 *
 * @module
 */
import { linkOf } from "../connection/connection.ts";
import type { Caller } from "./caller.ts";
import type { CallSetting, IncomingCall } from "./incoming_call.ts";
import type { Replies } from "./replies.ts";
import { Slots } from "./slots.ts";
import { LeavableQueue } from "../tools/queue.ts";

/**
 * Most bytes of the calls that methods work on, where they are several: no more
 * than a message has, within reason.
 */
const MOST_BYTES = 1_048_576;
const LEAST_BYTES = 65_536;
/**
 * Bytes of the calls that wait, but for one of any size; what comes then is
 * refused. Peers like this one have no more than 786 432 open, and one call.
 */
const MOST_WAITING = 917_504;
/**
 * Streams that are open: one that has nothing to send costs memory alone, 5 KB,
 * and may last, so there may be more of them than methods at work.
 */
const MOST_STREAMS = 1_000;
/** Most bytes of the calls whose streams go on, where they are several. */
const MOST_STREAM_BYTES = 1_048_576;
/**
 * What a stream holds besides its message, as bytes of a message: 5 KB, where
 * each byte of a message may become 52.
 */
const STREAM_BYTES = 64;

/** Calls that wait for a slot, in order. */
export class IncomingQueue {
  /** Those of the calls that methods work on. */
  readonly slots: Slots;
  /** Those of the calls that stream. */
  readonly streamSlots: Slots;
  readonly #caller: Caller;
  readonly #replies: Replies;
  readonly #calls = new LeavableQueue<IncomingCall>();
  /** Bytes of a large message. */
  readonly #large: number;
  #bytes = 0;
  /**
   * The call that was one too many: a large one. Behind it there is room for what
   * the peer's methods call, and for {@linkcode FENCE}.
   */
  #last: IncomingCall | undefined;

  /** Makes a queue in which nothing waits, and slots that are free. */
  constructor(
    { connection, caller, settings: { options } }: CallSetting,
    replies: Replies,
  ) {
    const { maxInFlight } = options;
    const { maxFrameBytes } = linkOf(connection).framing;
    this.#caller = caller;
    this.#replies = replies;
    this.#large = Math.max(LEAST_BYTES, maxFrameBytes);
    this.slots = new Slots({
      most: maxInFlight,
      mostBytes: Math.min(MOST_BYTES, this.#large),
      mostAbandoned: maxInFlight,
      overhead: 0,
    });
    // One that was given up costs nothing but memory.
    this.streamSlots = new Slots({
      most: MOST_STREAMS,
      mostBytes: MOST_STREAM_BYTES,
      mostAbandoned: Infinity,
      overhead: STREAM_BYTES,
    });
  }

  /** Calls that wait. */
  get size(): number {
    return this.#calls.size;
  }

  /**
   * Bytes of the calls that wait. Where methods may wait for the peer, calls start
   * without regard to their bytes: what they hold beyond a large one is as if it
   * waited.
   */
  get #bytesWaiting(): number {
    const started = this.#caller.sent > 0 ? this.slots.bytesTaken : 0;
    return this.#bytes + Math.max(0, started - this.#large);
  }

  /** Whether a call may not wait. */
  #isFull({ bytes }: IncomingCall): boolean {
    const waiting = this.#bytesWaiting;
    return this.#last === undefined
      ? waiting > MOST_WAITING
      : waiting - this.#last.bytes + bytes > MOST_WAITING;
  }

  /**
   * Tells once, where a call finds no slot for those that were given up: their
   * methods do not heed the signal, which would go unnoticed otherwise.
   */
  #tellOfAbandoned({ method, bytes }: IncomingCall, slots: Slots): void {
    const abandoned = slots.working - slots.taken;
    if (slots.hasTold || abandoned <= slots.taken || !slots.isFull(bytes)) {
      return;
    }
    slots.hasTold = true;
    const error = new RangeError(
      `Cannot start call: methods still run for ${abandoned} calls of ${slots.bytes} bytes whose callers gave up`,
    );
    this.#replies.report(error, method);
  }

  /**
   * Whether a method can start to work on a call, for those that others and
   * their answers hold. Any call to the peer may be one that a method at work
   * waits for, and the peer may call before it answers that.
   */
  #mayStart({ bytes }: IncomingCall): boolean {
    return this.#replies.waiting === 0 &&
      !this.slots.isFull(bytes + this.#replies.bytesKept, this.#caller.sent);
  }

  /** Whether a method can start to work on a call before any that waits. */
  mayPass(call: IncomingCall): boolean {
    return this.#calls.size === 0 && !this.#isFull(call) &&
      this.#mayStart(call);
  }

  /** Has a call wait, if it may; a notification that may not is lost. */
  mayWait(call: IncomingCall): boolean {
    this.#tellOfAbandoned(call, this.slots);
    if (this.#isFull(call)) {
      if (call.id === undefined) this.#tellOfLoss(call);
      return false;
    }
    call.state = "parked";
    this.#calls.push(call);
    this.#bytes += call.bytes;
    if (this.#bytes > MOST_WAITING) this.#last ??= call;
    return true;
  }

  #tellOfLoss({ method }: IncomingCall): void {
    const error = new RangeError(
      `Cannot take notification: calls of ${this.#bytesWaiting} bytes wait, limit is ${MOST_WAITING} bytes`,
    );
    this.#replies.report(error, method);
  }

  /** Whether a call may go on as a stream. */
  mayStream(call: IncomingCall): boolean {
    this.#tellOfAbandoned(call, this.streamSlots);
    return !this.streamSlots.isFull(call.bytes);
  }

  /** Removes and gives the first call, if a method can start to work on it. */
  shift(): IncomingCall | undefined {
    const call = this.#calls.peek();
    if (call === undefined || !this.#mayStart(call)) return undefined;
    this.#calls.shift();
    this.#left(call, "new");
    return call;
  }

  /** A call waits no more. */
  leave(call: IncomingCall): void {
    this.#left(call, "over");
    this.#calls.leave();
  }

  #left(call: IncomingCall, state: "new" | "over"): void {
    call.state = state;
    this.#bytes -= call.bytes;
    if (this.#bytes <= MOST_WAITING) this.#last = undefined;
  }
}
