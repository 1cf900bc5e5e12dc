/**
 * What a caller sends, and when.
 *
 * @module
 */
import {
  EncodedMessage,
  encodeText,
  type Framing,
} from "../framing/framing.ts";
import { BackpressureError, type Link } from "../connection/connection.ts";
import { LeavableQueue } from "../tools/queue.ts";
import { RPC_ERRORS, RpcError, type RpcRequest } from "./jsonrpc.ts";
import type { OutgoingCall, Rank } from "./outgoing_call.ts";

const RESOLVED = Promise.resolve();
/** Calls that are open on the wire. */
const WINDOW_CALLS = 1_024;
/**
 * UTF-16 units of those calls, and of notifications with which the other end may
 * not have begun; may be exceeded by one of them. A unit is up to three bytes, so
 * it is less than what an answerer has wait.
 */
const WINDOW_UNITS = 262_144;
/**
 * Nothing answers a notification: behind so many units of them goes a call whose
 * answer tells that the other end has begun with all before it.
 */
const FENCE_UNITS = 65_536;
/** Units that may wait: 100 000 calls of 600 bytes may be made at once. */
const MOST_WAITING_UNITS = 67_108_864;

/** What a sender is made with. */
export interface SenderOptions {
  /** The limits of what is sent. */
  readonly framing: Framing;
  /** See {@linkcode RpcOptions.timeout}. */
  readonly timeout: number;
  /** The time now, in milliseconds. */
  now(): number;
  /**
   * Called when something waits and there is no link. Without it, the first link
   * is the last one.
   */
  reach?(): void;
}

/** The methods of this end: those that the other end calls may call it. */
export interface Methods {
  /** Those at work. */
  readonly working: number;
  /** A call was sent: what a method waits for may wait for a slot. */
  lend(): void;
}

/** Whose calls a sender sends. */
export interface SenderOwner {
  /** Keeps a notification that waited no more. */
  forget(call: OutgoingCall): void;
  /** Calls `rpc.sync`. */
  callFence(): Promise<unknown>;
}

/** What waits for the wire, in order. */
class Line {
  readonly calls = new LeavableQueue<OutgoingCall>();
  units = 0;
}

/** What is on the wire in front of the next fence, or of the last one. */
class Fenced {
  /** Units of notifications. */
  units = 0;
  /** Notifications that were lent. */
  lent = 0;
}

/**
 * Sends calls as far as the window allows, the others when it does.
 *
 * ```
 *  outer: made outside of methods ───────────┐      ┌─ window: 1 024 calls
 *  inner: made by methods ───────────────────┼────▶ │  of 262 144 units
 *           └─ where the window is full ──────────▶ ├─ lent: one for each method
 *  urgent: rpc.ping, rpc.sync ────────────────────▶ └─ always
 * ```
 *
 * The calls in a full window may all wait for methods of this end, and these for
 * what they call. So methods are lent as much beyond the window as there are of
 * them: were all of that on the wire and waited for, then so many methods would
 * work at the other end, and lend as many more to each other, without end.
 */
export class Sender {
  /** Over which it sends. */
  link: Link | undefined;
  /** Whether no answers come any more: nothing waits for them then. */
  isEnded = false;
  /** Calls and notifications that wait. */
  size = 0;
  readonly #options: SenderOptions;
  readonly #owner: SenderOwner;
  readonly #lines: Record<Rank, Line> = {
    urgent: new Line(),
    inner: new Line(),
    outer: new Line(),
  };
  #methods: Methods | undefined;
  /** Calls in the window, and units of these and of notifications. */
  #calls = 0;
  #units = 0;
  /** Calls and notifications on the wire beyond it. */
  #lent = 0;
  /** Notifications behind the last fence; `undefined` where there are none. */
  #fenced: Fenced | undefined;
  #isFenceOpen = false;
  /** The link that has no room: it is tried again when it has. */
  #stuck: Link | undefined;

  /** Makes a sender that has no link yet. */
  constructor(options: SenderOptions, owner: SenderOwner) {
    this.#options = options;
    this.#owner = owner;
  }

  /** Sends over that link from now on, for methods that are called over it. */
  attach(link: Link, methods: Methods): void {
    // The one before may have been given up before its end.
    this.#unfence();
    this.link = link;
    this.#methods = methods;
    this.#fenced = new Fenced();
    this.sendWaiting();
  }

  /** Sends no more over that link. */
  detach(link: Link): void {
    if (this.link !== link) return;
    this.link = undefined;
    this.#unfence();
  }

  /** Calls and notifications of that rank that wait. */
  waiting(rank: Rank): number {
    return this.#lines[rank].calls.size;
  }

  /** Whether anything is sent at once, whatever its rank. */
  get isFree(): boolean {
    return this.#hasRoom && this.size === 0;
  }

  get #hasRoom(): boolean {
    return this.#calls < WINDOW_CALLS && this.#units < WINDOW_UNITS;
  }

  /** Whether the first of that rank may be sent. */
  #maySend(rank: Rank): boolean {
    return this.#hasRoom || this.isEnded || rank === "urgent" ||
      // One that begins is not at work yet.
      rank === "inner" && this.#lent <= this.#methods!.working;
  }

  /** Whether what is sent now goes beyond the window. */
  #isLent(rank: Rank): boolean {
    return rank === "inner" && !this.#hasRoom;
  }

  /** Sends a call, or has it wait. */
  send(call: OutgoingCall, request: RpcRequest): void {
    const isLent = this.#isLent(call.rank);
    const units = this.#sendNow(call.rank, request);
    if (units === undefined) this.#wait(call, request);
    else this.#opened(call, units, isLent);
  }

  /**
   * Sends a notification if nothing waits before it; otherwise gives false, and
   * it is to be sent as a call that waits.
   */
  notify(rank: Rank, request: RpcRequest): boolean {
    const isLent = this.#isLent(rank);
    const units = this.#sendNow(rank, request);
    if (units !== undefined) this.#notified(units, isLent);
    return units !== undefined;
  }

  /** Sends what nothing waits before; gives how much that takes of the window. */
  #sendNow(rank: Rank, request: RpcRequest): number | undefined {
    if (this.#options.reach !== undefined && this.link?.isOver) {
      this.link = undefined;
    }
    const { link, isEnded } = this;
    if (link === undefined || !this.#maySend(rank)) return undefined;
    if (this.size > 0 && this.waiting(rank) > 0 && !isEnded) return undefined;
    let units: number;
    try {
      units = link.enqueue(request, true);
    } catch (error) {
      if (error instanceof BackpressureError) return undefined;
      throw error;
    }
    // To make JSON of it, functions of the user's run.
    if (link !== this.link || isEnded !== this.isEnded) {
      throw link.noReply("receive reply");
    }
    return units;
  }

  #opened(call: OutgoingCall, units: number, isLent: boolean): void {
    call.link = this.link;
    call.units = units;
    call.isLent = isLent;
    this.#count(1, units, isLent);
    this.#methods!.lend();
  }

  #count(calls: number, units: number, isLent: boolean): void {
    if (isLent) this.#lent += calls;
    else {
      this.#calls += calls;
      this.#units += units;
    }
  }

  /** Has a call wait, as it is now. */
  #wait(call: OutgoingCall, request: RpcRequest): void {
    const line = this.#lines[call.rank];
    const text = encodeText(request, this.#options.framing);
    if (this.isEnded) throw this.link!.noReply("receive reply");
    if (line.units > MOST_WAITING_UNITS) {
      throw new BackpressureError(
        line.units,
        MOST_WAITING_UNITS,
        "UTF-16 units of calls",
      );
    }
    call.text = text;
    line.units += text.length;
    line.calls.push(call);
    this.size++;
    this.sendWaiting();
  }

  /** Counts a notification until the other end has begun with it. */
  #notified(units: number, isLent: boolean): void {
    if (this.isEnded || this.#fenced === undefined) return;
    if (isLent) this.#fenced.lent++;
    else this.#fenced.units += units;
    this.#count(isLent ? 1 : 0, units, isLent);
    this.#sendFence();
  }

  /** Sends a fence where one is due. A peer that does not know it gets no other. */
  #sendFence(): void {
    const { link } = this;
    const fenced = this.#fenced;
    if (this.#isFenceOpen || fenced === undefined) return;
    if (fenced.units < FENCE_UNITS && fenced.lent === 0) return;
    this.#isFenceOpen = true;
    this.#fenced = new Fenced();
    this.#owner.callFence().then(() => true, knowsFence).then((isKnown) => {
      this.#isFenceOpen = false;
      this.#takeBack(fenced);
      if (this.link === link && !isKnown) this.#unfence();
      this.#sendFence();
      this.sendWaiting();
    });
  }

  /** The other end has begun with these notifications. */
  #takeBack({ units, lent }: Fenced): void {
    this.#units -= units;
    this.#lent -= lent;
  }

  /** Counts no more notifications. */
  #unfence(): void {
    if (this.#fenced !== undefined) this.#takeBack(this.#fenced);
    this.#fenced = undefined;
  }

  /** Sends what waits, as far as the window allows. */
  sendWaiting(): void {
    if (this.size === 0) return;
    this.#sendFrom("urgent");
    this.#sendFrom("inner");
    this.#sendFrom("outer");
  }

  #sendFrom(rank: Rank): void {
    const { calls } = this.#lines[rank];
    for (;;) {
      const { link } = this;
      if (link === undefined || link === this.#stuck) return;
      const call = calls.peek();
      if (call === undefined || !this.#maySend(rank)) return;
      const isLent = this.#isLent(rank);
      let units: number;
      try {
        units = link.enqueue(new EncodedMessage(this.#textOf(call)), true);
      } catch (error) {
        if (error instanceof BackpressureError) this.#sendLater(link);
        return; // or it hears of the end
      }
      calls.shift();
      this.#takeText(call);
      if (call.isNotification) {
        this.#owner.forget(call);
        call.succeed(undefined);
        this.#notified(units, isLent);
      } else this.#opened(call, units, isLent);
    }
  }

  #sendLater(link: Link): void {
    this.#stuck = link;
    const send = () => {
      if (this.#stuck === link) this.#stuck = undefined;
      this.sendWaiting();
    };
    (link.room() ?? RESOLVED).then(send, send);
  }

  /** The message of a call that has waited: with the time that is left. */
  #textOf({ text = "", limits }: OutgoingCall): string {
    if (limits === undefined || limits.deadline === Infinity) return text;
    const left = Math.max(1, Math.ceil(limits.deadline - this.#options.now()));
    return `${text.slice(0, text.lastIndexOf(",") + 1)}"timeout":${left}}`;
  }

  /** Has a call keep its message no more. */
  #takeText(call: OutgoingCall): void {
    this.#lines[call.rank].units -= call.text!.length;
    call.text = undefined;
    this.size--;
  }

  /**
   * A call waits for the wire no more, or needs it no more, but for a stream.
   */
  release(call: OutgoingCall): void {
    const { units, rank, isWaiting, isLent } = call;
    if (isWaiting) {
      this.#takeText(call);
      this.#lines[rank].calls.leave();
    } else if (units === 0) return;
    else {
      call.units = 0;
      this.#count(-1, -units, isLent);
    }
    this.sendWaiting();
  }

  /** Sends a notification that waits, whatever waits before it. */
  flush(call: OutgoingCall): void {
    const message = new EncodedMessage(call.text!);
    this.release(call);
    this.link?.enqueue(message, true);
  }
}

/**
 * Whether an error is the answer of a peer that knows `rpc.sync`: not that there
 * is no such method, and not that there is no answer in time.
 */
function knowsFence(error: unknown): boolean {
  return error instanceof RpcError &&
    error.code !== RPC_ERRORS.methodNotFound[0];
}
