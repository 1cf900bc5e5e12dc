/**
 * The answering half of a peer: the calls that its methods work on.
 *
 * @module
 */
import { CallTable } from "./call_table.ts";
import { InvalidMessageError } from "../framing/framing.ts";
import {
  ConnectionClosedError,
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
import { isPromiseLike } from "../tools/promise_like.ts";
import { RunningCall, type Surroundings } from "./incoming_call.ts";
import { CLOCK_DIFFERENCE } from "./caller.ts";
import type { Invoke, MethodTable } from "./methods.ts";
import {
  isStreamable,
  OutgoingStream,
  sinkOf,
  type Streamable,
} from "./outgoing_stream.ts";
import type { Batch, Replies } from "./replies.ts";
import { Slots, WaitingCalls } from "./slots.ts";
import { saltedKey } from "../tools/salted_key.ts";

/**
 * Most bytes of the calls that methods work on, where they are several, and of
 * those that wait for a slot; then no more is read. It is no more than a message
 * has, within reason. Where something here waits for what the peer sends next,
 * calls beyond are refused, and it is read on though answers wait to be written,
 * until so many bytes were refused: two peers that both stopped reading would
 * wait for each other.
 */
const MOST_BYTES = 1_048_576;
const LEAST_BYTES = 65_536;
/**
 * What a stream holds besides its message, as bytes of a message: 5 KB, where
 * each byte of a message may become 52.
 */
const STREAM_BYTES = 64;

/** What an answerer is made with. */
export interface AnswererOptions {
  /** See {@linkcode RpcOptions.maxInFlight}. */
  readonly maxInFlight: number;
  /** See {@linkcode RpcOptions.maxStreams}. */
  readonly maxStreams: number;
  /** Called with the time at which a call is late. */
  readonly onDeadline: (deadline: number) => void;
  /** Called when the last call is answered, once no more are taken on. */
  readonly onRest: () => void;
}

interface ParkedCall {
  readonly call: RunningCall;
  readonly invoke: Invoke;
  readonly bytes: number;
}

type Cause = readonly [code: number, message: string];

/** Works on the calls that come over a connection, and answers them. */
export class Answerer {
  /** What came for calls that are not running. */
  strays = 0;
  readonly #methods: MethodTable;
  readonly #surroundings: Surroundings;
  readonly #link: Link;
  readonly #replies: Replies;
  readonly #options: AnswererOptions;
  /** Calls that run or are parked; a notification is its own id. */
  readonly #calls = new CallTable<unknown, RunningCall>(saltedKey);
  readonly #mostBytes: number;
  readonly #slots: Slots;
  readonly #streamSlots: Slots;
  readonly #waiting = new WaitingCalls<ParkedCall>();
  #isDraining = false;
  /** Why the calls that there are are to end soon. */
  #shutdown: RpcError | undefined;
  #isFlowing = false;
  #isStarting = false;
  /** Reads on when fewer calls are parked. */
  #wakeParked: (() => void) | undefined;
  /** Reads on when less waits to be written. */
  #wakeFull: (() => void) | undefined;

  /** Makes an answerer that has no calls. */
  constructor(
    methods: MethodTable,
    surroundings: Surroundings,
    replies: Replies,
    options: AnswererOptions,
  ) {
    this.#methods = methods;
    this.#surroundings = surroundings;
    this.#link = linkOf(surroundings.connection);
    this.#replies = replies;
    this.#options = options;
    const { maxFrameBytes } = this.#link.framing;
    const { maxInFlight, maxStreams } = options;
    this.#mostBytes = Math.min(
      MOST_BYTES,
      Math.max(LEAST_BYTES, maxFrameBytes),
    );
    this.#slots = new Slots({
      most: maxInFlight,
      mostBytes: this.#mostBytes,
      mostAbandoned: maxInFlight,
      overhead: 0,
    });
    // One that was given up costs nothing but memory.
    this.#streamSlots = new Slots({
      most: maxStreams,
      mostBytes: MOST_BYTES,
      mostAbandoned: Infinity,
      overhead: STREAM_BYTES,
    });
  }

  /** Answers that are outstanding. */
  get size(): number {
    return this.#calls.size + this.#replies.waiting;
  }

  /** Those that are streams. */
  get streams(): number {
    return this.#streamSlots.taken;
  }

  /** Whether the caller has ended its side. */
  get isFlowing(): boolean {
    return this.#isFlowing;
  }

  /** No call is late before. */
  get earliest(): number {
    return this.#calls.earliest;
  }

  /** Takes a call on, or answers why not. */
  receive(request: RpcRequest, bytes: number, batch?: Batch): void {
    const invoke = this.#methods.get(request.method);
    const call = new RunningCall(
      request,
      invoke === undefined ? undefined : request.method,
      bytes,
      batch,
      this.#surroundings,
    );
    if (call.id === undefined) batch?.add();
    if (invoke === undefined) this.#refuse(call, RPC_ERRORS.methodNotFound);
    else if (call.id !== undefined && this.#calls.get(call.id) !== undefined) {
      // Two answers with one id would be taken for one call's.
      this.#refuse(call, RPC_ERRORS.invalidRequest);
    } else if (this.#isDraining) this.#refuse(call, RPC_ERRORS.shuttingDown);
    else if (
      !this.#isFull(bytes) &&
      (this.#waiting.size === 0 || this.#mayBeWaitedFor)
    ) this.#start(call, invoke);
    else if (!this.#mustRefuse(call)) {
      this.#park(call, invoke);
      this.#tellOfAbandoned(this.#slots, call);
    } else if (call.id !== undefined) {
      this.#refuse(call, RPC_ERRORS.tooManyCalls);
    } else this.#replies.report(this.#tooMany(bytes), call.method);
  }

  #tooMany(bytes: number): RangeError {
    return new RangeError(
      `Cannot take notification: ${
        this.#waiting.bytes + bytes
      } bytes of calls wait, limit is ${this.#mostBytes} bytes`,
    );
  }

  /**
   * Tells once, where a call finds no slot for those that were given up: their
   * methods do not heed the signal, which nobody would notice otherwise.
   */
  #tellOfAbandoned(slots: Slots, { method, bytes }: RunningCall): void {
    const { taken, abandoned, hasTold } = slots;
    if (hasTold || abandoned <= taken || !slots.isFull(bytes)) return;
    slots.hasTold = true;
    const error = new RangeError(
      `Cannot start call: methods go on with ${abandoned} calls of ${slots.bytes} bytes that were given up`,
    );
    this.#replies.report(error, method);
  }

  /**
   * Whether no method can start to work on a call of so many bytes, for those
   * that other calls and their answers hold.
   */
  #isFull(bytes: number): boolean {
    return this.#replies.waiting > 0 ||
      this.#slots.isFull(bytes + this.#replies.bytesKept);
  }

  /**
   * Whether a call that cannot start cannot wait either. Nobody waits for the
   * answer to a notification, and the peer does not hear that it was refused.
   */
  #mustRefuse({ id, bytes }: RunningCall): boolean {
    if (!this.#dependsOnPeer) return false;
    return this.#waiting.size > 0 &&
        this.#waiting.bytes + bytes > this.#mostBytes ||
      id !== undefined && this.#mayBeWaitedFor &&
        this.#slots.isFullOfBytes(bytes);
  }

  /**
   * Whether the methods at work may need the next call to be answered: one that
   * the peer makes before it answers theirs.
   */
  get #mayBeWaitedFor(): boolean {
    return this.#surroundings.caller.size > 0;
  }

  /** Whether so much is held that no more is to be read before a call ends. */
  get #isOverfull(): boolean {
    return this.#waiting.size > 0 &&
      this.#waiting.bytes + this.#slots.bytes + this.#replies.bytesKept >
        this.#mostBytes;
  }

  #refuse(call: RunningCall, cause: Cause): void {
    this.#respond(call, failureOf(call.id!, cause));
  }

  /** Whether something here cannot end unless the peer is heard. */
  get #dependsOnPeer(): boolean {
    return this.#streamSlots.taken > 0 || this.#mayBeWaitedFor;
  }

  #park(call: RunningCall, invoke: Invoke): void {
    call.state = "parked";
    this.#add(call);
    this.#waiting.push({ call, invoke, bytes: call.bytes });
  }

  #add(call: RunningCall): void {
    this.#calls.add(call.id ?? call, call);
    this.#options.onDeadline(call.deadline);
  }

  /** Gives calls that are parked the slots that are free. */
  #startParked(): void {
    // One that is over at once comes back here: a loop, as there may be many.
    if (this.#isStarting) return;
    this.#isStarting = true;
    for (
      let next;
      (next = this.#waiting.peek()) !== undefined &&
      (next.call.state === "over" || !this.#isFull(next.bytes));
    ) {
      this.#waiting.shift();
      const { call, invoke } = next;
      if (call.state === "over") continue;
      this.#calls.take(call.id ?? call);
      call.state = "new";
      this.#start(call, invoke);
    }
    this.#isStarting = false;
    if (!this.#isOverfull) this.#wakeParked?.();
  }

  #start(call: RunningCall, invoke: Invoke): void {
    let result: unknown;
    try {
      result = invoke(call, call.params);
    } catch (error) {
      return this.#fail(call, error);
    }
    if (!isPromiseLike(result)) return this.#succeed(call, result);
    this.#hold(call);
    Promise.resolve(result).then(
      (result) => this.#succeed(call, result),
      (error) => this.#fail(call, error),
    );
  }

  /** Gives a call a slot until it is over. */
  #hold(call: RunningCall): void {
    if (call.state !== "new") return;
    call.state = "running";
    this.#slots.take(call.bytes);
    this.#add(call);
  }

  #succeed(call: RunningCall, result: unknown): void {
    if (call.stream === undefined && isStreamable(result)) {
      return this.#stream(call, result);
    }
    let carried: unknown;
    try {
      carried = carriedOf(result);
    } catch (error) {
      return this.#fail(call, error);
    }
    this.#finish(call, { jsonrpc: "2.0", id: call.id!, result: carried });
  }

  #fail(call: RunningCall, error: unknown): void {
    const answer = answerOf(call.id!, error);
    if (answer !== undefined) return this.#finish(call, answer);
    if (isTimeoutError(error) && call.timeLeft <= CLOCK_DIFFERENCE) {
      // A call within it was late, so all of it is about to be.
      return this.#finish(call, failureOf(call.id!, RPC_ERRORS.timedOut));
    }
    const isGone = this.#isFlowing && isClosedError(error);
    if (!isGone && !call.isAbortedFor(error)) {
      this.#replies.report(error, call.method);
    }
    this.#finish(call, failureOf(call.id!, RPC_ERRORS.internalError));
  }

  /** Sends what comes from an iterable, if anybody waits for it. */
  #stream(call: RunningCall, items: Streamable): void {
    const { id, bytes } = call;
    let stream: OutgoingStream;
    try {
      stream = new OutgoingStream(items, sinkOf(this.#link, id));
    } catch (error) {
      return this.#fail(call, error);
    }
    if (id === undefined || call.state === "over") {
      stream.stop();
      return this.#finish(call);
    }
    if (this.#streamSlots.isFull(bytes)) {
      stream.stop();
      this.#tellOfAbandoned(this.#streamSlots, call);
      return this.#finish(call, failureOf(id, RPC_ERRORS.tooManyCalls));
    }
    call.stream = stream;
    // It may last: calls do not wait for it.
    if (call.state === "running") this.#slots.leave(bytes);
    else this.#add(call);
    call.state = "streaming";
    this.#streamSlots.take(bytes);
    if (this.#isFlowing) stream.flow();
    if (this.#shutdown !== undefined) this.#endStream(call, stream);
    stream.run().finally(() => {
      if (call.state === "over") this.#streamSlots.forget(bytes);
      else this.#streamSlots.leave(bytes);
    }).then(
      (result) => this.#succeed(call, result),
      (error) => this.#fail(call, error),
    );
    this.heed();
    this.#startParked();
  }

  /** A call is over, unless it was before. */
  #finish(call: RunningCall, response?: RpcResponse): void {
    const { state } = call;
    call.state = "over";
    if (state === "over") {
      if (call.stream === undefined) this.#slots.forget(call.bytes);
    } else {
      if (state !== "new") this.#calls.take(call.id ?? call);
      if (state === "running") this.#slots.leave(call.bytes);
      if (response !== undefined) this.#respond(call, response);
    }
    this.#startParked();
    this.#restIfDone();
  }

  /** Nobody waits for a call any more; it was taken from the table. */
  #stop(call: RunningCall, reason: unknown, cause?: Cause): void {
    if (call.state === "running") this.#slots.abandon();
    else if (call.state === "streaming") this.#streamSlots.abandon();
    call.state = "over";
    if (cause !== undefined) this.#refuse(call, cause);
    call.abort(reason);
    this.#startParked();
    this.#restIfDone();
  }

  /** Sends an answer, unless the call is a notification. */
  #respond(call: RunningCall, response: RpcResponse): void {
    if (call.id === undefined) return;
    if (call.batch === undefined) this.#replies.send(response, call.method);
    else call.batch.add(response, call.method);
  }

  /**
   * Something to wait for before the next message is read: until fewer calls
   * wait for a slot, or, where the last message was answered at once, less to be
   * written. Two peers that only tell each other something would otherwise both
   * stop reading.
   */
  pause(isAnswered: boolean): Promise<void> | undefined {
    if (this.#dependsOnPeer) {
      if (this.#replies.bytesRefused <= MOST_BYTES) return undefined;
    } else if (this.#isOverfull) {
      return new Promise((resolve) => this.#wakeParked = resolve);
    }
    const room = isAnswered ? this.#link.room() : undefined;
    return room && new Promise((resolve) => {
      this.#wakeFull = resolve;
      room.then(resolve, resolve);
    });
  }

  /** Reads on if something depends on what the peer sends next. */
  heed(): void {
    this.#wakeParked?.();
    this.#wakeFull?.();
    this.#wakeParked = this.#wakeFull = undefined;
  }

  /** The caller gives a call up: the parameters of `$/cancelRequest`. */
  cancel({ id }: { id?: unknown }): void {
    const call = this.#calls.take(id);
    if (call === undefined) this.strays++;
    else {
      this.#stop(
        call,
        new DOMException("The caller gave the call up", "AbortError"),
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
        new DOMException("The time for the call is over", "TimeoutError"),
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
    this.#takeNoMore();
  }

  /**
   * Ends a stream at its next item, as the server shuts down; without one where
   * its generator gives none, and does not heed the signal either.
   */
  #endStream(call: RunningCall, stream: OutgoingStream): void {
    stream.endWith(this.#shutdown);
    stream.isSilent().then((isSilent) => {
      if (!isSilent || this.#calls.get(call.id) !== call) return;
      this.#calls.take(call.id);
      this.#stop(call, this.#shutdown, RPC_ERRORS.shuttingDown);
    });
  }

  #takeNoMore(): void {
    this.#isDraining = true;
    this.#restIfDone();
  }

  /** There will be no more calls, and no credit either. */
  end(): void {
    this.#isFlowing = true;
    for (const { stream } of this.#calls.values()) stream?.flow();
    this.heed();
    this.#takeNoMore();
  }

  /** Stops all calls: there is nobody left to answer. */
  abort(reason: unknown): void {
    this.#waiting.clear();
    for (const call of this.#calls.takeAll()) this.#stop(call, reason);
  }

  /** An answer that had to wait was sent. */
  sent(): void {
    this.#startParked();
    this.#restIfDone();
  }

  /** Tells if there is nothing more to do. */
  #restIfDone(): void {
    if (this.#isDraining && this.size === 0) this.#options.onRest();
  }
}

/**
 * What JSON carries of a result, null for none: a response without a result
 * would be no response.
 */
function carriedOf(result: unknown): unknown {
  if (result === undefined) return null;
  let carried = result;
  if (typeof result === "object" && result !== null) {
    const { toJSON } = result as { toJSON?: unknown };
    if (typeof toJSON === "function") carried = toJSON.call(result, "result");
  }
  const type = typeof carried;
  if (type !== "undefined" && type !== "function" && type !== "symbol") {
    return carried;
  }
  throw new InvalidMessageError(
    `Cannot encode message: JSON cannot carry a value of type ${type}`,
  );
}

function isTimeoutError(error: unknown): boolean {
  try {
    return error instanceof DOMException && error.name === "TimeoutError";
  } catch {
    return false; // it is none that throws when it is looked at
  }
}

function isClosedError(error: unknown): boolean {
  try {
    return error instanceof ConnectionClosedError;
  } catch {
    return false;
  }
}
