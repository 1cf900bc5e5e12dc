/**
 * The calling half of a peer: calls that wait for their answers.
 *
 * @module
 */
import { CallTable } from "./call_table.ts";
import {
  BackpressureError,
  type ConnectionEnd,
  isMistake,
  type Link,
  unsent,
} from "../connection/connection.ts";
import {
  idOf,
  isResponse,
  isUnnamed,
  notAResponse,
  receivedError,
  requestOf,
  RPC_ERRORS,
  type RpcError,
  type RpcErrorObject,
  type RpcRequest,
  type RpcResponse,
} from "./jsonrpc.ts";
import { checkedParams } from "./api.ts";
import type { RpcCallOptions, RpcReply } from "./contract.ts";
import type { Failure, StreamTotal } from "./incoming_stream.ts";
import {
  type CallOwner,
  type CallScope,
  OutgoingCall,
  type Rank,
} from "./outgoing_call.ts";
import {
  type Methods,
  Sender,
  type SenderOptions,
  type SenderOwner,
} from "./sender.ts";
import { FENCE } from "./methods.ts";
import { isWithinMethod } from "./within.ts";
import { quiet } from "../tools/promises.ts";

const RESOLVED = Promise.resolve();
/** Milliseconds by which clocks may differ at the end of a call. */
export const CLOCK_DIFFERENCE = 10;
/**
 * Calls that are open, or wait: 100 000 may be made at once, and a loop that makes
 * them without an end does not take all memory, as each takes up to 2 KiB beside
 * its message. As many more are for methods, as others may wait for what they call.
 * A peer that has answered so many that were never made is cut off.
 */
const MOST_OPEN = 262_144;

/** What a caller is made with. */
export interface CallerOptions extends SenderOptions {
  /** Called with the time at which a call is late. */
  watch(deadline: number): void;
  /** Called with an error that may be for any of the calls. */
  onUnclaimed?(error: RpcError): void;
}

/**
 * Calls methods of the peer at the other end of a connection, or of one after
 * another. So much is open on the wire at a time that the other end can hold it;
 * the rest waits here, in order, as it was when it was called. What a method calls
 * does not wait behind that: two methods would wait for each other.
 */
export class Caller implements CallOwner, SenderOwner {
  /** What came for calls that are not open: late, or never made. */
  strays = 0;
  /** What the streams of all calls hold. */
  readonly streams: StreamTotal = { bytes: 0 };
  readonly #options: CallerOptions;
  readonly #calls = new CallTable<unknown, OutgoingCall>();
  readonly #sender: Sender;
  #lastId = 0;
  /** The id of the last call of `rpc.sync`. */
  #fenceId: number | undefined;
  /** Calls given up whose answers may still come. */
  #givenUp = 0;
  /** Answers to calls that were never made. */
  #unasked = 0;
  #end: ConnectionEnd | undefined;

  /** Makes a caller that has no calls, and no link yet. */
  constructor(options: CallerOptions) {
    this.#options = options;
    this.#sender = new Sender(options, this);
  }

  /** Calls that are open, or wait. */
  get size(): number {
    return this.#calls.size - (this.#calls.get(this.#fenceId) ? 1 : 0);
  }

  /** Calls on the wire, streams included. */
  get sent(): number {
    return this.#calls.size - this.#sender.size;
  }

  /** Streams that the other end sends no more of before they are read here. */
  get behind(): number {
    let count = 0;
    for (const call of this.#calls.values()) if (call.isBehind) count++;
    return count;
  }

  /** No call is late before. */
  get earliest(): number {
    return this.#calls.earliest;
  }

  /** Sends over that link from now on, and tells of each call. */
  attach(link: Link, methods: Methods): void {
    this.#sender.attach(link, methods);
  }

  /** A method is at work: it may be lent what it calls. */
  lend(): void {
    if (this.#sender.waiting("inner") > 0) this.#sender.sendWaiting();
  }

  /**
   * Calls a method; see {@linkcode RpcRemote.call}. It is made within the call
   * `scope`, with those of the `others` that its own options leave out.
   */
  call(
    method: string,
    params: object | undefined,
    options?: RpcCallOptions,
    scope?: CallScope,
    others?: RpcCallOptions,
  ): RpcReply<unknown> {
    const call = this.#make(this.#rankOf(method, scope));
    try {
      if (this.#end !== undefined) {
        throw this.#sender.link!.noReply(`call "${method}"`);
      }
      this.#checkRoom(call.rank);
      params = checkedParams(method, params);
      const { now, timeout } = this.#options;
      call.limit(options, others, scope, now(), timeout);
      this.#sender.send(
        call,
        requestOf(call.id, method, params, call.limits?.timeout),
      );
      this.#add(call);
      call.listen();
      return call.reply();
    } catch (error) {
      call.fail(() => error);
      return isMistake(error) ? call.reply() : quiet(call.reply());
    }
  }

  /** Calls `rpc.sync`. */
  callFence(): Promise<unknown> {
    this.#fenceId = this.#lastId + 1;
    return this.call(FENCE, undefined);
  }

  #rankOf(method: string, scope: CallScope | undefined): Rank {
    // A heartbeat does not wait.
    if (method === "rpc.ping" || method === FENCE) return "urgent";
    if (scope !== undefined) return "inner";
    // To ask what has begun this costs much, and rarely matters.
    return !this.#sender.isFree && isWithinMethod() ? "inner" : "outer";
  }

  /** Makes a call that nothing knows of yet. */
  #make(rank: Rank, isNotification = false): OutgoingCall {
    return new OutgoingCall(this, ++this.#lastId, rank, isNotification);
  }

  /** Throws where as many calls are open, or wait, as may. */
  #checkRoom(rank: Rank): void {
    const most = rank === "inner" ? 2 * MOST_OPEN : MOST_OPEN;
    if (this.#calls.size >= most && rank !== "urgent") {
      throw new BackpressureError(this.#calls.size, most, "calls");
    }
  }

  /** Keeps a call until it is answered, or late. */
  #add(call: OutgoingCall): void {
    this.#calls.add(call.id, call);
    this.#options.watch(call.deadline);
    if (call.isWaiting && this.#sender.link === undefined) {
      this.#options.reach?.();
    }
  }

  /** Keeps a call no more. */
  forget(call: OutgoingCall): void {
    this.#calls.take(call.id);
  }

  /** Sends what is not to be answered; see {@linkcode RpcRemote.notify}. */
  notify(
    method: string,
    params: object | undefined,
    scope?: CallScope,
  ): Promise<void> {
    try {
      params = checkedParams(method, params);
      const rank = this.#rankOf(method, scope);
      const request = requestOf(undefined, method, params);
      if (this.#sender.notify(rank, request)) return this.#room();
      this.#checkRoom(rank);
      const call = this.#make(rank, true);
      const { now, timeout, reach } = this.#options;
      if (reach !== undefined) call.deadline = now() + timeout;
      this.#sender.send(call, request);
      if (call.isWaiting) this.#add(call);
      return quiet(call.reply().then(() => this.#room()));
    } catch (error) {
      return unsent(error);
    }
  }

  #room(): Promise<void> {
    return this.#sender.link?.room() ?? RESOLVED;
  }

  /** Removes and gives the call of that id that was sent; without one the only. */
  #take(id: unknown): OutgoingCall | undefined {
    if (id === null || id === undefined) return this.#takeOnly();
    const call = this.#calls.get(id);
    if (call === undefined || call.isWaiting) return undefined;
    this.forget(call);
    this.#sender.release(call);
    return call;
  }

  /** Takes an answer in. */
  settle(response: RpcResponse): void {
    // The peer could not tell which call it is that it could not read: its id
    // is null then, and some peers send none.
    const call = this.#take(response.id);
    if (call === undefined) return this.#countStray(response);
    call.link!.hasAnswered = true;
    if (!isResponse(response)) call.fail(notAResponse);
    else if (!response.error) call.succeed(response.result);
    else if (this.#saysLate(call, response.error)) call.fail(this.#late(call));
    else call.fail(failureOf(response.error));
  }

  /**
   * Fails the call that a message seems to answer which is no response; any
   * message, where the peer has calls to answer. Returns whether it was taken
   * for an answer.
   */
  settleBadly(message: unknown): boolean {
    const { method } = Object(message) as Partial<RpcRequest>;
    if (this.#calls.size === 0 || typeof method === "string") return false;
    const call = this.#take(idOf(message));
    if (call === undefined) this.strays++;
    else call.fail(notAResponse);
    return true;
  }

  /** The one call that is on the wire, if it has no answer yet. */
  #takeOnly(): OutgoingCall | undefined {
    let only: OutgoingCall | undefined;
    for (const call of this.#calls.values()) {
      // Nor is it for a call that only tells whether notifications have begun.
      if (call.isWaiting || call.id === this.#fenceId) continue;
      if (only !== undefined) return undefined;
      only = call;
    }
    return only?.isAnswered === false ? this.#take(only.id) : undefined;
  }

  /** A peer that goes on answering calls that were never made is cut off. */
  #countStray(response: RpcResponse): void {
    this.strays++;
    if (isUnnamed(response) && response.error && isResponse(response)) {
      this.#options.onUnclaimed?.(receivedError(response.error));
    }
    if (this.#givenUp > 0) this.#givenUp--;
    else if (++this.#unasked > MOST_OPEN) {
      this.#sender.link?.abort(
        new RangeError(
          `Cannot receive reply: ${this.#unasked} came for calls that were never made, limit is ${MOST_OPEN}`,
        ),
      );
    }
  }

  /** Whether it only says what the clock here is about to say. */
  #saysLate(call: OutgoingCall, { code }: RpcErrorObject): boolean {
    return code === RPC_ERRORS.timedOut[0] &&
      call.deadline - this.#options.now() <= CLOCK_DIFFERENCE;
  }

  /** Takes items of a stream in: the parameters of `$/stream`. */
  push(params: { id?: unknown; items?: unknown }, bytes: number): void {
    const call = this.#calls.get(params.id);
    if (
      call === undefined || call.isWaiting || !Array.isArray(params.items)
    ) {
      this.strays++;
      return;
    }
    this.#sender.release(call);
    call.push(params.items, bytes);
  }

  /** Gives a call up, with the reason for the code that waits for it. */
  giveUp(call: OutgoingCall, failure?: Failure): void {
    if (this.#calls.take(call.id) !== undefined) this.#drop(call, failure);
  }

  /** Drops a call that was taken from the table. */
  #drop(call: OutgoingCall, failure?: Failure): void {
    let told: Promise<void> | undefined;
    if (!call.isWaiting) {
      this.#givenUp++;
      told = call.cancelThere();
    }
    // It is open at the other end until that is told.
    if (told === undefined) this.#sender.release(call);
    else told.then(() => this.#sender.release(call));
    call.drop(failure);
  }

  /** Gives up the calls that are late. */
  stopLate(now: number): void {
    for (const call of this.#calls.takeLate(now)) {
      this.#drop(call, this.#late(call));
    }
  }

  #late(call: OutgoingCall): Failure {
    return call.late(this.#options.timeout, this.#sender.link !== undefined);
  }

  /**
   * Tells the other end that answers are not waited for any more; what is not
   * to be answered still leaves.
   */
  close(): void {
    for (const call of [...this.#calls.values()]) {
      if (!call.isWaiting) call.cancelThere();
      else if (call.isNotification) this.#flush(call);
    }
  }

  /** Sends a notification that waits, whatever waits before it. */
  #flush(call: OutgoingCall): void {
    this.forget(call);
    try {
      this.#sender.flush(call);
      call.succeed(undefined);
    } catch (error) {
      call.fail(() => error);
    }
  }

  /** There will be no more answers over that link. */
  end(link: Link, end: ConnectionEnd): void {
    const isLast = this.#options.reach === undefined;
    if (isLast) {
      this.#end ??= end;
      this.#sender.isEnded = true;
    } else this.#sender.detach(link);
    // Each makes an error of its own, but they share how.
    const failure = () => link.noReply("receive reply");
    const calls = [...this.#calls.values()];
    // What waits is not to be sent when what was sent fails.
    for (const call of isLast ? calls : []) {
      if (call.isWaiting && call.isNotification) this.#flush(call);
      else if (call.isWaiting) this.#fail(call, failure);
    }
    for (const call of calls) {
      if (call.link === link) this.#fail(call, failure);
    }
    if (this.#calls.size > 0 && this.#sender.link === undefined) {
      this.#options.reach?.();
    }
  }

  #fail(call: OutgoingCall, failure: Failure): void {
    this.forget(call);
    this.#sender.release(call);
    call.fail(failure);
  }

  /** Nothing is going to be sent of what waits. */
  failWaiting(error: unknown): void {
    for (const call of [...this.#calls.values()]) {
      if (call.isWaiting) this.#fail(call, () => error);
    }
  }
}

function failureOf(error: RpcErrorObject): Failure {
  return () => receivedError(error);
}
