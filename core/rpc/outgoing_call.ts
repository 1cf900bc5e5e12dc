/**
 * A call that waits for its answer.
 *
 * @module
 */
import { onAbort } from "../tools/abort.ts";
import type { RpcCallOptions, RpcReply } from "./contract.ts";
import {
  type OptionTable,
  readOptions,
  signal,
  timeout,
} from "../tools/options.ts";
import {
  type Failure,
  IncomingStream,
  notAStream,
  raise,
  type StreamSource,
  type StreamTotal,
} from "./incoming_stream.ts";
import { quiet, quietSoon } from "../tools/promises.ts";
import { BackpressureError, type Link } from "../connection/connection.ts";

/** Whose calls they are. */
export interface CallOwner {
  /** Gives a call up, with the reason for the code that waits for it. */
  giveUp(call: OutgoingCall, failure?: Failure): void;
  /** What the streams of all calls hold. */
  readonly streams: StreamTotal;
}

/**
 * Who calls, and so before which others it is sent: what keeps the connection
 * going, methods, or anything else.
 */
export type Rank = "urgent" | "inner" | "outer";

/** Limits that few calls have, and that cost nothing for the others. */
export interface CallLimits {
  /** Milliseconds until it is late. */
  readonly limit: number;
  /** When all of it has to be over. */
  readonly deadline: number;
  /** What the other end is told of that. */
  readonly timeout: number | undefined;
  /** What it is given up by. */
  readonly signals: readonly (AbortSignal | undefined)[];
}

/** The call within which another is made. */
export interface CallScope {
  /** Aborted when it is not waited for any more. */
  readonly over: AbortSignal;
  /** When its time is over; `Infinity` for never. */
  readonly deadline: number;
}

/** What each option of a call may be. */
export const CALL_OPTIONS: OptionTable<RpcCallOptions> = {
  signal: signal(),
  timeout: timeout(),
};

/** The key under which a reply has its call. */
const CALL = Symbol("call");

type Reply = RpcReply<unknown> & { [CALL]: OutgoingCall };

/** What a reply has as its way to be iterated over. */
function iterate(this: Reply): AsyncGenerator<unknown, unknown, void> {
  return this[CALL].iterate(this);
}

const captured: {
  resolve: (result: unknown) => void;
  reject: (failure: Failure) => void;
} = { resolve() {}, reject() {} };

/**
 * The executor of every promise: a closure for each would cost as much again,
 * and what is allocated for a call is what it costs.
 */
function capture(
  resolve: (result: unknown) => void,
  reject: (failure: Failure) => void,
): void {
  captured.resolve = resolve;
  captured.reject = reject;
}

/**
 * One call that waits for the wire, for its answer, or for the rest of a stream;
 * or a notification that waits for the wire.
 */
export class OutgoingCall implements StreamSource {
  /** What it is known by. */
  readonly id: number;
  /**
   * When it is late: for its answer to begin, and where that is a stream for
   * its reader; then for all of it.
   */
  deadline = Infinity;
  /** Limits of its own. */
  limits: CallLimits | undefined;
  /** Its message, as long as that waits for the wire. */
  text: string | undefined;
  /** Over which it was sent. */
  link: Link | undefined;
  /** What of the window it takes: nothing once its answer has begun. */
  units = 0;
  /** Whether it went beyond the window. */
  isLent = false;
  /** Before which others it is sent. */
  readonly rank: Rank;
  /** Whether it is done when it is sent. */
  readonly isNotification: boolean;
  readonly #owner: CallOwner;
  readonly #settled = new Promise<unknown>(capture);
  readonly #resolve = captured.resolve;
  readonly #reject = captured.reject;
  #reply: Reply | undefined;
  #stream: IncomingStream<unknown, unknown> | undefined;
  /** Whether items have come, or that there will be some. */
  #isStream = false;
  #isRead = false;
  /** What iterating over it fails with. */
  #failure: Failure | undefined;
  #stopListening: (() => void) | undefined;

  /** Makes a call that waits. */
  constructor(
    owner: CallOwner,
    id: number,
    rank: Rank,
    isNotification = false,
  ) {
    this.#owner = owner;
    this.id = id;
    this.rank = rank;
    this.isNotification = isNotification;
  }

  /** Whether it waits for the wire. */
  get isWaiting(): boolean {
    return this.text !== undefined;
  }

  /** What the caller is given; made once. */
  reply(): RpcReply<unknown> {
    // The error is made behind a promise of its own, where the engine finds the
    // stack of the code that awaits that one.
    const reply = this.#settled.then(undefined, raise) as Reply;
    reply[Symbol.asyncIterator] = iterate;
    reply[CALL] = this;
    return this.#reply = reply;
  }

  /**
   * Limits it by its own options, or by others that were checked, and as the call
   * does within which it is made; without either by `most`.
   *
   * @throws The reason of a signal that is aborted.
   */
  limit(
    own: RpcCallOptions | undefined,
    others: RpcCallOptions | undefined,
    scope: CallScope | undefined,
    now: number,
    most: number,
  ): void {
    this.deadline = now + most;
    const options = own === undefined
      ? others
      : { ...others, ...readOptions(CALL_OPTIONS, own) };
    if (options === undefined && scope === undefined) return;
    const signals = [options?.signal, scope?.over];
    for (const signal of signals) signal?.throwIfAborted();
    const left = Math.min(
      options?.timeout ?? Infinity,
      Math.max(1, (scope?.deadline ?? Infinity) - now),
    );
    const limit = options?.timeout === undefined ? Math.min(left, most) : left;
    this.limits = {
      limit,
      deadline: now + left,
      timeout: left < Infinity ? left : undefined,
      signals,
    };
    this.deadline = now + limit;
  }

  /** What it fails with when it is late, where `most` is its limit by default. */
  late(most: number, hasLink: boolean): Failure {
    const limit = this.limits?.limit ?? most;
    const message = this.text === undefined || hasLink
      ? `Cannot receive reply: timed out after ${limit} ms`
      : `Cannot call "${
        JSON.parse(this.text).method
      }": no connection after ${limit} ms (timeout)`;
    return () => new DOMException(message, "TimeoutError");
  }

  /** Gives up when one of its signals is aborted. */
  listen(): void {
    if (this.limits === undefined) return;
    const stops = this.limits.signals.map((signal) =>
      onAbort(signal, (reason) => this.#owner.giveUp(this, () => reason))
    );
    this.#stopListening = () => stops.forEach((stop) => stop());
  }

  /** Tells the other end that it is not waited for any more. */
  cancelThere(): Promise<void> | undefined {
    return tell(this.link!, "$/cancelRequest", { id: this.id });
  }

  /** So many more items of its stream are taken. */
  credit(items: number): void {
    tell(this.link!, "$/credit", { id: this.id, items });
  }

  /** Its stream is left. */
  cancel(): void {
    this.#owner.giveUp(this);
  }

  /** Its stream is read. */
  begin(): void {
    this.#isRead = true;
    this.#extend();
  }

  /** The answer is a stream, or is taken for one. */
  #open(): IncomingStream<unknown, unknown> {
    const stream = new IncomingStream(this, this.#owner.streams);
    this.#resolve(stream);
    return this.#stream = stream;
  }

  /** Gives what `reply`, which is this call's, is iterated over with. */
  iterate(reply: Promise<unknown>): AsyncGenerator<unknown, unknown, void> {
    const stream = this.#stream ?? this.#open();
    if (this.#failure !== undefined) {
      // It is told where it is iterated.
      quiet(reply);
      stream.fail(this.#failure);
    }
    return stream;
  }

  /** Whether the other end waits until more of a stream is taken here. */
  get isBehind(): boolean {
    return this.#stream !== undefined && this.#stream.itemsHeld > 0;
  }

  /** Whether its answer has begun. */
  get isAnswered(): boolean {
    return this.#isStream;
  }

  /** Items have come. */
  push(items: readonly unknown[], bytes: number): void {
    this.#isStream = true;
    this.#extend();
    (this.#stream ?? this.#open()).push(items, bytes);
  }

  /** A stream that is read may take as long as all of the call. */
  #extend(): void {
    if (!this.#isStream || !this.#isRead) return;
    this.deadline = this.limits?.deadline ?? Infinity;
  }

  /** The result has come. */
  succeed(result: unknown): void {
    this.#stopListening?.();
    if (this.#isStream) return this.#stream!.finish(result);
    this.#failure = notAStream;
    this.#resolve(result);
    this.#stream?.fail(notAStream);
  }

  /** There will be no result; what came before is still handed out. */
  fail(failure: Failure): void {
    this.#stopListening?.();
    this.#failure = failure;
    if (this.#stream !== undefined) return this.#stream.fail(failure);
    this.#reject(failure);
    if (this.#reply !== undefined) quietSoon(this.#reply);
  }

  /** It is not waited for any more. */
  drop(failure?: Failure): void {
    if (failure === undefined) this.#stopListening?.();
    else {
      this.#stream?.drop(failure);
      this.fail(failure);
    }
  }
}

/**
 * Tells the other end something, when there is room for it; gives a promise of
 * that where there is none.
 */
function tell(
  link: Link,
  method: string,
  params: object,
): Promise<void> | undefined {
  try {
    link.enqueue({ jsonrpc: "2.0", method, params }, true);
  } catch (error) {
    if (!(error instanceof BackpressureError)) return; // the end of it all
    return link.room()?.then(() => tell(link, method, params), () => {});
  }
}
