/**
 * The answering half of a peer: the calls that its methods work on.
 *
 * @module
 */
import { CallTable } from "./call_table.ts";
import {
  ConnectionClosedError,
  type ConnectionEnd,
  type Link,
  linkOf,
} from "../connection/connection.ts";
import {
  answerOf,
  failureOf,
  RPC_ERRORS,
  RpcError,
  type RpcRequest,
  type RpcResponse,
} from "./jsonrpc.ts";
import { isPromiseLike } from "../tools/promises.ts";
import { type CallSetting, IncomingCall } from "./incoming_call.ts";
import { CLOCK_DIFFERENCE } from "./caller.ts";
import {
  isStreamable,
  OutgoingStream,
  type Streamable,
} from "./outgoing_stream.ts";
import { type Batch, carriedOf, isError, Replies } from "./replies.ts";
import { IncomingQueue } from "./incoming_queue.ts";
import { saltedKey } from "../tools/hashes.ts";
import { isWithinMethod, withinMethod } from "./within.ts";

type Cause = readonly [code: number, message: string];

/** Works on the calls that come over a connection, and answers them. */
export class Answerer {
  /** What came for calls that are not running. */
  strays = 0;
  /** What is answered. */
  readonly replies: Replies;
  readonly #setting: CallSetting;
  readonly #link: Link;
  /** Calls that run or are parked; a notification is its own id. */
  readonly #calls = new CallTable<unknown, IncomingCall>(saltedKey);
  readonly #queue: IncomingQueue;
  #isDraining = false;
  /** Why the calls that there are are to end soon. */
  #shutdown: RpcError | undefined;
  /** How the caller has ended its side. */
  #end: ConnectionEnd | undefined;
  #isStarting = false;

  /** Makes an answerer that has no calls. */
  constructor(setting: CallSetting) {
    const { connection, settings: { options } } = setting;
    this.#setting = setting;
    this.#link = linkOf(connection);
    const hasSent = () => this.#goOn();
    this.replies = new Replies(connection, options.onError, hasSent);
    this.#queue = new IncomingQueue(setting, this.replies);
  }

  /** Answers that are outstanding. */
  get size(): number {
    return this.#calls.size + this.replies.waiting;
  }

  /** Those that are streams. */
  get streams(): number {
    return this.#queue.streamSlots.taken;
  }

  /** Methods at work whose answers are wanted. */
  get working(): number {
    return this.#queue.slots.taken + this.#queue.streamSlots.taken;
  }

  /** Whether the caller has ended its side. */
  get isFlowing(): boolean {
    return this.#end !== undefined;
  }

  /** No call is late before. */
  get earliest(): number {
    return this.#calls.earliest;
  }

  /** Takes a call on, or answers why not. */
  receive(request: RpcRequest, bytes: number, batch?: Batch): void {
    const call = new IncomingCall(request, bytes, batch, this.#setting);
    const { id, invoke } = call;
    if (id === undefined) batch?.add();
    if (invoke === undefined) this.#refuse(call, RPC_ERRORS.methodNotFound);
    else if (id !== undefined && this.#calls.get(id) !== undefined) {
      // Two answers with one id would be taken for one call's.
      this.#refuse(call, RPC_ERRORS.invalidRequest);
    } else if (this.#isDraining) this.#refuse(call, RPC_ERRORS.shuttingDown);
    else if (this.#queue.mayPass(call)) this.#start(call);
    else if (this.#queue.mayWait(call)) {
      this.#add(call);
      this.startParked();
    } else this.#refuse(call, RPC_ERRORS.tooManyCalls);
  }

  #refuse(call: IncomingCall, cause: Cause): void {
    this.#answer(call, failureOf(call.id!, cause));
  }

  #add(call: IncomingCall): void {
    this.#calls.add(call.id ?? call, call);
    this.#setting.watch(call.deadline);
  }

  /** A call to the peer was sent: what a method at work waits for may be parked. */
  lend(): void {
    if (this.#queue.size > 0) queueMicrotask(() => this.startParked());
  }

  /** Gives calls that are parked the slots that are free. */
  startParked(): void {
    // One that is over at once comes back here: a loop, as there may be many.
    if (this.#isStarting || this.#queue.size === 0) return;
    if (!isWithinMethod()) return withinMethod(() => this.startParked());
    this.#isStarting = true;
    for (let call; (call = this.#queue.shift()) !== undefined;) {
      this.#calls.take(call.id ?? call);
      this.#start(call);
    }
    this.#isStarting = false;
  }

  #start(call: IncomingCall): void {
    let result: unknown;
    try {
      result = call.invoke!(call, call.params);
    } catch (error) {
      return this.#fail(call, error);
    }
    if (!isPromiseLike(result)) return this.#succeed(call, result);
    call.takeSlot(this.#queue.slots);
    this.#add(call);
    this.#setting.caller.lend();
    Promise.resolve(result).then(
      (result) => this.#succeed(call, result),
      (error) => this.#fail(call, error),
    );
  }

  #succeed(call: IncomingCall, result: unknown): void {
    try {
      if (call.stream === undefined && isStreamable(result)) {
        return this.#stream(call, result);
      }
      const carried = carriedOf(result);
      this.#finish(call, { jsonrpc: "2.0", id: call.id!, result: carried });
    } catch (error) {
      this.#fail(call, error);
    }
  }

  #fail(call: IncomingCall, error: unknown): void {
    const answer = answerOf(call.id!, error);
    if (answer !== undefined) return this.#finish(call, answer);
    if (
      isError(error, DOMException, "TimeoutError") &&
      call.timeLeft <= CLOCK_DIFFERENCE
    ) {
      // A call within it was late, so all of it is about to be.
      return this.#finish(call, failureOf(call.id!, RPC_ERRORS.timedOut));
    }
    const isGone = this.isFlowing && isError(error, ConnectionClosedError);
    if (!isGone && !call.isAbortedFor(error)) {
      this.replies.report(error, call.method);
    }
    this.#finish(call, failureOf(call.id!, RPC_ERRORS.internalError));
  }

  /** Sends the items of an iterable, unless the call has no answer or is over. */
  #stream(call: IncomingCall, items: Streamable): void {
    const { id } = call;
    const stream = new OutgoingStream(items, this.#link, id);
    if (id === undefined || call.state === "over") {
      stream.stop();
      return this.#finish(call);
    }
    if (!this.#queue.mayStream(call)) {
      stream.stop();
      return this.#finish(call, failureOf(id, RPC_ERRORS.tooManyCalls));
    }
    const isKnown = call.state === "working";
    call.stream = stream;
    // It may last: calls do not wait for it.
    call.takeSlot(this.#queue.streamSlots);
    if (!isKnown) this.#add(call);
    this.#setting.caller.lend();
    if (this.isFlowing) stream.flow();
    if (this.#shutdown !== undefined) this.#endStream(call, stream);
    stream.run().then(
      (result) => this.#succeed(call, result),
      (error) => this.#fail(call, error),
    );
    this.startParked();
  }

  /** The method of a call is done, and that is its answer, if it needs one. */
  #finish(call: IncomingCall, response?: RpcResponse): void {
    call.slots?.rest(call.bytes);
    if (call.state !== "over") this.#answer(call, response);
    this.#goOn();
  }

  /** Ends a call that was taken from the table before its method is done. */
  #stop(call: IncomingCall, reason: unknown, cause?: Cause): void {
    if (call.isWaiting) this.#queue.leave(call);
    this.#answer(call, cause && failureOf(call.id!, cause));
    call.abort(reason);
    this.#goOn();
  }

  /** A call is over: that is its answer, unless it is a notification. */
  #answer(call: IncomingCall, response: RpcResponse | undefined): void {
    if (call.state !== "new") this.#calls.take(call.id ?? call);
    call.slots?.leave(call.bytes);
    call.state = "over";
    if (response === undefined || call.id === undefined) return;
    (call.batch ?? this.replies).add(response, call.method);
  }

  /** The caller gives a call up: the parameters of `$/cancelRequest`. */
  cancel({ id }: { id?: unknown }): void {
    const call = this.#calls.take(id);
    if (call === undefined) this.strays++;
    else {
      this.#stop(
        call,
        new DOMException("The caller cancelled the call", "AbortError"),
        RPC_ERRORS.cancelled,
      );
    }
  }

  /** The caller takes more items: the parameters of `$/credit`. */
  credit({ id, items }: { id?: unknown; items?: unknown }): void {
    const stream = this.#calls.get(id)?.stream;
    if (stream === undefined || !Number.isSafeInteger(items)) this.strays++;
    else stream.credit(Math.max(0, items as number));
  }

  /** Stops the calls that are late. */
  stopLate(now: number): void {
    for (const call of this.#calls.takeLate(now)) {
      this.#stop(
        call,
        new DOMException("The call timed out", "TimeoutError"),
        RPC_ERRORS.timedOut,
      );
    }
  }

  /** Takes no more calls on, and has those that there are end soon. */
  drain(): void {
    this.#shutdown ??= new RpcError(...RPC_ERRORS.shuttingDown);
    for (const call of [...this.#calls.values()]) {
      call.endSoon(this.#shutdown);
      if (call.stream !== undefined) this.#endStream(call, call.stream);
    }
    this.#isDraining = true;
    this.#restIfDone();
  }

  /**
   * Ends a stream at its next item, as the server shuts down; without one where
   * its generator gives none, and does not heed the signal either.
   */
  #endStream(call: IncomingCall, stream: OutgoingStream): void {
    stream.endWith(this.#shutdown);
    stream.isSilent().then((isSilent) => {
      if (!isSilent || this.#calls.get(call.id) !== call) return;
      this.#calls.take(call.id);
      this.#stop(call, this.#shutdown, RPC_ERRORS.shuttingDown);
    });
  }

  /** There will be no more calls, and no credit either. */
  end(end: ConnectionEnd): void {
    this.#end = end;
    for (const { stream } of this.#calls.values()) stream?.flow();
    this.#isDraining = true;
    this.#restIfDone();
  }

  /** Stops all calls: the link is gone. */
  abort(reason: unknown): void {
    const calls = this.#calls.takeAll();
    for (const call of calls) if (call.isWaiting) this.#queue.leave(call);
    for (const call of calls) this.#stop(call, reason);
  }

  /** Starts what has waited for that, or closes the connection at the end. */
  #goOn(): void {
    this.startParked();
    this.#restIfDone();
  }

  /** Closes the connection if there is nothing more to do. */
  #restIfDone(): void {
    if (!this.#isDraining || this.size > 0) return;
    this.#link.closeFor(this.#end ?? { clean: true });
  }
}
