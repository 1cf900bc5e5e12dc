/**
 * The calling half of a peer: calls that wait for their answers.
 *
 * @module
 */
import { CallTable } from "./call_table.ts";
import { InvalidMessageError } from "../framing/framing.ts";
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
  receivedError,
  RPC_ERRORS,
  type RpcError,
  type RpcErrorObject,
  type RpcRequest,
  type RpcResponse,
} from "./jsonrpc.ts";
import { trimmed } from "./api.ts";
import { isPlain, show } from "../tools/show.ts";
import type { RpcCallOptions, RpcReply } from "./contract.ts";
import type { Failure, StreamTotal } from "./incoming_stream.ts";
import { type CallOwner, OpenCall } from "./outgoing_call.ts";
import {
  type OptionTable,
  readOptions,
  signal,
  timeout,
} from "../tools/options.ts";
import { quiet } from "../tools/quiet.ts";

const RESOLVED = Promise.resolve();

/** What each option of a call may be. */
export const CALL_OPTIONS: OptionTable<RpcCallOptions> = {
  signal: signal(),
  timeout: timeout(),
};

/** Milliseconds by which clocks may differ at the end of a call. */
export const CLOCK_DIFFERENCE = 10;

/** The call within which another is made. */
export interface CallScope {
  /** Aborted when nobody waits for it any more. */
  readonly over: AbortSignal;
  /** When its time is over; `Infinity` for never. */
  readonly deadline: number;
}

/** Calls methods of the peer at the other end of a connection. */
export class Caller implements CallOwner {
  /** What came for calls that are not open: late, or never made. */
  strays = 0;
  /** What the streams of all calls hold. */
  readonly streams: StreamTotal = { bytes: 0 };
  readonly #link: Link;
  readonly #timeout: number;
  readonly #maxOpenCalls: number;
  readonly #now: () => number;
  readonly #onCall: (deadline: number) => void;
  readonly #onUnclaimed: ((error: RpcError) => void) | undefined;
  readonly #calls = new CallTable<unknown, OpenCall>();
  #lastId = 0;
  /** Calls given up whose answers may still come. */
  #givenUp = 0;
  /** Answers to calls that were never made. */
  #unasked = 0;
  #end: ConnectionEnd | undefined;

  /**
   * Makes a caller that has no calls. It tells `onCall` of each when that is
   * late, and `onUnclaimed` of an error that may be for any of them.
   */
  constructor(
    link: Link,
    { timeout, maxOpenCalls }: { timeout: number; maxOpenCalls: number },
    now: () => number,
    onCall: (deadline: number) => void,
    onUnclaimed?: (error: RpcError) => void,
  ) {
    this.#link = link;
    this.#timeout = timeout;
    this.#maxOpenCalls = maxOpenCalls;
    this.#now = now;
    this.#onCall = onCall;
    this.#onUnclaimed = onUnclaimed;
  }

  /** Calls that are open. */
  get size(): number {
    return this.#calls.size;
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

  /** Calls a method; see {@linkcode RpcRemote.call}. */
  call(
    method: string,
    params: object | undefined,
    options: RpcCallOptions | undefined,
    scope?: CallScope,
  ): RpcReply<unknown> {
    const call = new OpenCall(this, ++this.#lastId);
    try {
      this.#check(method);
      params = checkedParams(method, params);
      if (options === undefined && scope === undefined) {
        this.#send({ jsonrpc: "2.0", id: call.id, method, params });
        call.deadline = this.#now() + this.#timeout;
        this.#add(call);
      } else this.#open(call, method, params, options, scope);
      return call.reply();
    } catch (error) {
      call.fail(() => error);
      return isMistake(error) ? call.reply() : quiet(call.reply());
    }
  }

  #add(call: OpenCall): void {
    this.#calls.add(call.id, call);
    this.#onCall(call.deadline);
  }

  /** Sends a call that has limits of its own. */
  #open(
    call: OpenCall,
    method: string,
    params: object | undefined,
    options: RpcCallOptions = {},
    scope: CallScope | undefined,
  ): void {
    const { signal, timeout } = readOptions(CALL_OPTIONS, options);
    signal?.throwIfAborted();
    scope?.over.throwIfAborted();
    const now = this.#now();
    const left = Math.min(
      timeout ?? Infinity,
      Math.max(1, (scope?.deadline ?? Infinity) - now),
    );
    this.#send({
      jsonrpc: "2.0",
      id: call.id,
      method,
      params,
      timeout: left < Infinity ? left : undefined,
    });
    const limit = timeout === undefined ? Math.min(left, this.#timeout) : left;
    call.limits = { limit, deadline: now + left };
    call.deadline = now + limit;
    this.#add(call);
    call.listen([signal, scope?.over]);
  }

  #check(method: string): void {
    if (this.#end !== undefined) {
      throw this.#link.noReply(`call "${method}"`);
    }
    if (this.#calls.size >= this.#maxOpenCalls) {
      throw new BackpressureError(
        this.#calls.size,
        this.#maxOpenCalls,
        "calls",
      );
    }
  }

  #send(message: RpcRequest): void {
    this.#link.enqueue(message, true);
  }

  /** Sends what is not to be answered; see {@linkcode RpcRemote.notify}. */
  notify(method: string, params: object | undefined): Promise<void> {
    try {
      params = checkedParams(method, params);
      this.#send({ jsonrpc: "2.0", method, params });
    } catch (error) {
      return unsent(error);
    }
    return this.#link.room() ?? RESOLVED;
  }

  /** Takes an answer in. */
  settle(response: RpcResponse): void {
    // The peer could not tell which call it is that it could not read: its id
    // is null then, and some peers send none.
    const call = isUnnamed(response)
      ? this.#takeOnly()
      : this.#calls.take(response.id);
    if (call !== undefined) this.#link.hasAnswered = true;
    if (call === undefined) this.#countStray(response);
    else if (!isResponse(response)) call.fail(notAResponse);
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
    if (this.#calls.size === 0) return false;
    if (typeof (message as Partial<RpcRequest> | null)?.method === "string") {
      return false;
    }
    const id = idOf(message);
    const call = id === null ? this.#takeOnly() : this.#calls.take(id);
    if (call === undefined) this.strays++;
    else call.fail(notAResponse);
    return true;
  }

  /** The one call that is open, if it has no answer yet. */
  #takeOnly(): OpenCall | undefined {
    if (this.#calls.size !== 1) return undefined;
    const [call] = this.#calls.values();
    return call.isAnswered ? undefined : this.#calls.take(call.id);
  }

  /** A peer that answers what nobody has asked is not listened to for ever. */
  #countStray(response: RpcResponse): void {
    this.strays++;
    if (isUnnamed(response) && response.error && isResponse(response)) {
      this.#onUnclaimed?.(receivedError(response.error));
    }
    if (this.#givenUp > 0) this.#givenUp--;
    else if (++this.#unasked > this.#maxOpenCalls) {
      this.#link.abort(
        new RangeError(
          `Cannot receive reply: ${this.#unasked} came for calls that were never made, limit is ${this.#maxOpenCalls}`,
        ),
      );
    }
  }

  /** Whether it only says what the clock here is about to say. */
  #saysLate(call: OpenCall, { code }: RpcErrorObject): boolean {
    return code === RPC_ERRORS.timedOut[0] &&
      call.deadline - this.#now() <= CLOCK_DIFFERENCE;
  }

  #late({ limits }: OpenCall): Failure {
    return () =>
      new DOMException(
        `Cannot receive reply: ${
          limits?.limit ?? this.#timeout
        } ms for it are over`,
        "TimeoutError",
      );
  }

  /** Takes items of a stream in: the parameters of `$/stream`. */
  push(params: { id?: unknown; items?: unknown }, bytes: number): void {
    const call = this.#calls.get(params.id);
    if (call === undefined || !Array.isArray(params.items)) this.strays++;
    else call.push(params.items, bytes);
  }

  /** Gives credit for items of a stream. */
  credit(id: number, items: number): void {
    this.#tell("$/credit", { id, items });
  }

  /** Gives a call up, for a reason that whoever waits for it is to know. */
  giveUp(call: OpenCall, failure?: Failure): void {
    if (this.#calls.take(call.id) === undefined) return;
    this.#givenUp++;
    this.#tell("$/cancelRequest", { id: call.id });
    call.drop(failure);
  }

  /** Gives up the calls that are late. */
  giveUpLate(now: number): void {
    for (const call of this.#calls.takeLate(now)) {
      this.#givenUp++;
      this.#tell("$/cancelRequest", { id: call.id });
      call.drop(this.#late(call));
    }
  }

  #tell(method: string, params: object): void {
    try {
      this.#send({ jsonrpc: "2.0", method, params });
    } catch (error) {
      if (!(error instanceof BackpressureError)) return; // the end of it all
      this.#link.room()?.then(() => this.#tell(method, params), () => {});
    }
  }

  /** Lets the other end know that nobody waits for answers any more. */
  close(): void {
    for (const { id } of this.#calls.values()) {
      this.#tell("$/cancelRequest", { id });
    }
  }

  /** There will be no more answers. */
  end(end: ConnectionEnd): void {
    this.#end ??= end;
    // Each makes an error of its own, but they share how.
    const failure = () => this.#link.noReply("receive reply");
    for (const call of this.#calls.takeAll()) call.fail(failure);
  }
}

/** Gives parameters as they are sent; throws for what are none. */
export function checkedParams(
  method: string,
  params: unknown,
): object | undefined {
  if (typeof method !== "string") {
    throw new TypeError(
      `Cannot call method: received ${show(method)}, expected its name`,
    );
  }
  if (params === undefined) return undefined;
  if (Array.isArray(params)) return trimmed(params);
  const carried = carriedOf(params);
  if (Array.isArray(carried) || isCarriedByName(carried)) return carried;
  throw new TypeError(
    `Cannot call "${method}": its parameters are ${
      show(params)
    }, expected an array or an object`,
  );
}

/** What JSON carries of parameters by name. */
function carriedOf(params: unknown): unknown {
  const { toJSON } = Object(params);
  return typeof toJSON === "function" ? toJSON.call(params, "params") : params;
}

/**
 * Whether JSON makes an object of that with all that it is: of a `Map`, of a
 * promise or of an error it would make `{}`, and of a `String` a text.
 */
function isCarriedByName(value: unknown): value is object {
  return typeof value === "object" && value !== null &&
    (isPlain(value) ||
      Object.keys(value).length > 0 && !(value instanceof String));
}

/** Whether a response does not say which call it answers. */
function isUnnamed({ id }: Partial<RpcResponse>): boolean {
  return id === null || id === undefined;
}

function notAResponse(): InvalidMessageError {
  return new InvalidMessageError(
    "Cannot receive reply: it is no JSON-RPC 2.0 response",
  );
}

function failureOf(error: RpcErrorObject): Failure {
  return () => receivedError(error);
}
