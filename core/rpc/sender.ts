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
import type { RpcRequest } from "./jsonrpc.ts";
import type { OutgoingCall } from "./outgoing_call.ts";
import { FENCE } from "./methods.ts";
import { quiet } from "../tools/promises.ts";
import { Window } from "./window.ts";

const RESOLVED = Promise.resolve();
/**
 * Nothing answers a notification: behind so many UTF-16 units of them goes a call
 * whose answer tells that the other end has begun with all before it.
 */
const FENCE_UNITS = 65_536;
/** UTF-16 units that may wait: 100 000 calls of 600 bytes may be made at once. */
const MOST_WAITING_UNITS = 67_108_864;

/** Whom a caller tells. */
export interface Lender {
  /** A call was sent. */
  lend(): void;
}

/** What a sender is made with. */
export interface SenderOptions {
  /** The limits of what is sent. */
  readonly framing: Framing;
  /** See {@linkcode RpcOptions.timeout}. */
  readonly timeout: number;
  /** See {@linkcode RpcOptions.maxOpenCalls}. */
  readonly maxOpenCalls: number;
  /** The time now, in milliseconds. */
  now(): number;
  /**
   * Called when something waits and there is no link. Without it, the first link
   * is the last one.
   */
  reach?(): void;
}

/** Whose calls a sender sends. */
export interface SenderOwner {
  /** Makes a call of which nobody knows yet. */
  make(window: Window<OutgoingCall>, isNotification?: boolean): OutgoingCall;
  /** Keeps a call until it is answered, or late. */
  add(call: OutgoingCall): void;
  /** Keeps a call no more. */
  forget(call: OutgoingCall): void;
  /** Calls that are kept. */
  readonly size: number;
}

/** Sends calls as far as their windows allow, the others when they do. */
export class Sender {
  /** For what is called from outside of methods. */
  readonly outer: Window<OutgoingCall> = new Window();
  /** For what methods call. */
  readonly inner: Window<OutgoingCall> = new Window(Infinity, Infinity);
  /** Over which it sends. */
  link: Link | undefined;
  /** Whether no answers come any more: nothing waits for them then. */
  isEnded = false;
  readonly #options: SenderOptions;
  readonly #owner: SenderOwner;
  #lender: Lender | undefined;
  /** The link that has no room: it is tried again when it has. */
  #stuck: Link | undefined;
  /** Units of notifications that no fence is behind. */
  #unfenced = 0;

  /** Makes a sender that has no link yet. */
  constructor(options: SenderOptions, owner: SenderOwner) {
    this.#options = options;
    this.#owner = owner;
  }

  /** Sends over that link from now on, and tells of each call. */
  attach(link: Link, lender?: Lender): void {
    this.link = link;
    this.#lender = lender;
    this.#sendWaiting();
  }

  /** Sends no more over that link. */
  detach(link: Link): void {
    if (this.link !== link) return;
    this.link = undefined;
    this.outer.units -= this.#unfenced;
    this.#unfenced = 0;
  }

  /** Sends a call, or has it wait. */
  send(call: OutgoingCall, request: RpcRequest): void {
    const units = this.#sendNow(call.window, request);
    if (units === undefined) this.#wait(call, request);
    else this.#opened(call, units);
  }

  /** Sends what nothing waits before; gives how much that takes of the window. */
  #sendNow(
    window: Window<OutgoingCall>,
    request: RpcRequest,
  ): number | undefined {
    if (this.#options.reach !== undefined && this.link?.isOver) {
      this.link = undefined;
    }
    if (this.link === undefined) return undefined;
    if (!window.isFree && !this.isEnded) return undefined;
    try {
      return this.link.enqueue(request, true);
    } catch (error) {
      if (error instanceof BackpressureError) return undefined;
      throw error;
    }
  }

  #opened(call: OutgoingCall, units: number): void {
    call.link = this.link;
    call.units = units;
    call.window.calls++;
    call.window.units += units;
    this.#lender?.lend();
  }

  /** Has a call wait, as it is now. */
  #wait(call: OutgoingCall, request: RpcRequest): void {
    const { window } = call;
    const text = encodeText(request, this.#options.framing);
    if (window.unitsWaiting > MOST_WAITING_UNITS) {
      throw new BackpressureError(
        window.unitsWaiting,
        MOST_WAITING_UNITS,
        "bytes of calls",
      );
    }
    call.text = text;
    window.unitsWaiting += text.length;
    window.queue.push(call);
    this.#sendWaiting();
  }

  /**
   * Sends a notification, or has it wait. Resolves when it is sent, and there is
   * room for more.
   */
  notify(window: Window<OutgoingCall>, request: RpcRequest): Promise<void> {
    const units = this.#sendNow(window, request);
    if (units !== undefined) {
      this.#fence(units);
      return this.link?.room() ?? RESOLVED;
    }
    this.checkRoom(window);
    const call = this.#owner.make(window, true);
    if (this.#options.reach !== undefined) {
      call.deadline = this.#options.now() + this.#options.timeout;
    }
    this.#wait(call, request);
    if (call.isWaiting) this.#owner.add(call);
    return quiet(call.reply().then(() => this.link?.room()));
  }

  /** Throws where as many calls are open, or wait, as may. */
  checkRoom(window: Window<OutgoingCall>): void {
    const { maxOpenCalls } = this.#options;
    // What methods call is counted apart, as it does not wait for the others.
    const size = window === this.inner
      ? window.size
      : this.#owner.size - this.inner.size;
    if (size >= maxOpenCalls) {
      throw new BackpressureError(size, maxOpenCalls, "calls");
    }
  }

  /** Counts a notification until the other end has begun with it. */
  #fence(units: number): void {
    if (this.isEnded) return;
    this.outer.units += units;
    this.#unfenced += units;
    if (this.#unfenced < FENCE_UNITS) return;
    const fence = this.#owner.make(this.inner);
    quiet(fence.reply());
    fence.notified = this.#unfenced;
    this.#unfenced = 0;
    fence.deadline = this.#options.now() + this.#options.timeout;
    try {
      this.send(fence, { jsonrpc: "2.0", id: fence.id, method: FENCE });
    } catch { // no frame has room for it
      this.outer.units -= fence.notified;
      return;
    }
    this.#owner.add(fence);
  }

  get #isStuck(): boolean {
    return this.#stuck !== undefined && this.#stuck === this.link;
  }

  /** Sends what waits, as far as the windows allow. */
  #sendWaiting(): void {
    if (this.#isStuck) return;
    this.#sendFrom(this.inner);
    this.#sendFrom(this.outer);
  }

  #sendFrom(window: Window<OutgoingCall>): void {
    const { queue } = window;
    while (window.hasRoom && !this.#isStuck) {
      const call = queue.peek();
      if (call === undefined || this.link === undefined) return;
      let units: number;
      try {
        const message = new EncodedMessage(this.#textOf(call));
        units = this.link.enqueue(message, true);
      } catch (error) {
        if (error instanceof BackpressureError) this.#sendLater();
        return; // or it hears of the end
      }
      queue.shift();
      takeText(call);
      if (call.isNotification) {
        this.#owner.forget(call);
        call.succeed(undefined);
        this.#fence(units);
      } else this.#opened(call, units);
    }
  }

  #sendLater(): void {
    const { link } = this;
    this.#stuck = link;
    const send = () => {
      if (this.#stuck === link) this.#stuck = undefined;
      this.#sendWaiting();
    };
    (link?.room() ?? RESOLVED).then(send, send);
  }

  /** The message of a call that has waited: with the time that is left. */
  #textOf({ text = "", limits }: OutgoingCall): string {
    if (limits === undefined || limits.deadline === Infinity) return text;
    const left = Math.max(1, Math.ceil(limits.deadline - this.#options.now()));
    return `${text.slice(0, text.lastIndexOf(",") + 1)}"timeout":${left}}`;
  }

  /**
   * A call waits for the wire no more, or needs it no more, but for a stream.
   */
  release(call: OutgoingCall): void {
    const { units, window, isWaiting } = call;
    if (isWaiting) {
      takeText(call);
      window.queue.leave();
    } else if (units === 0) return;
    else {
      call.units = 0;
      window.calls--;
      window.units -= units;
    }
    this.outer.units -= call.notified;
    this.#sendWaiting();
  }

  /** Sends a notification that waits, whatever waits before it. */
  flush(call: OutgoingCall): void {
    const message = new EncodedMessage(call.text!);
    this.release(call);
    this.link?.enqueue(message, true);
  }
}

/** Has a call keep its message no more. */
function takeText(call: OutgoingCall): void {
  call.window.unitsWaiting -= call.text!.length;
  call.text = undefined;
}

/** Tells the other end something, when there is room for it. */
export function tell(
  link: Link,
  method: string,
  params: object,
): void {
  try {
    link.enqueue({ jsonrpc: "2.0", method, params }, true);
  } catch (error) {
    if (!(error instanceof BackpressureError)) return; // the end of it all
    link.room()?.then(() => tell(link, method, params), () => {});
  }
}
