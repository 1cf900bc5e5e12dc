/**
 * Answers on their way out.
 *
 * @module
 */
import {
  FrameTooLargeError,
  InvalidMessageError,
  type JsonValue,
} from "../framing/framing.ts";
import {
  BackpressureError,
  type Connection,
  ConnectionClosedError,
  type Link,
  linkOf,
} from "../connection/connection.ts";
import {
  failureOf,
  RPC_ERRORS,
  type RpcResponse,
  standInFor,
} from "./jsonrpc.ts";
import { callHook, report } from "../tools/report.ts";

/**
 * See {@linkcode RpcOptions.onError}.
 *
 * @typeParam I Type of `identity`: what `authenticate` returns for a peer.
 */
export type RpcErrorHandler<I = unknown> = (
  error: unknown,
  method: string | undefined,
  connection: Connection<JsonValue, I>,
) => unknown;

/**
 * Answers that leave together: those to the calls of a batch. Once they are too
 * large together, each is an error: what has come is dropped, and what comes is
 * not looked at any more.
 */
export class Batch {
  readonly #replies: Replies;
  #answers: RpcResponse[] = [];
  /** Bytes of the answers, each with the comma or bracket behind it. */
  #bytes = 0;
  #isTooLarge = false;
  #left: number;

  /** Waits until each of so many messages has its answer, or none. */
  constructor(size: number, replies: Replies) {
    this.#left = size;
    this.#replies = replies;
  }

  /** Adds the answer to a message, if it has one. */
  add(response?: RpcResponse, method?: string): void {
    if (response !== undefined) {
      const answer = this.#fit(response, method);
      this.#answers.push(answer); // which that may have replaced
    }
    if (--this.#left > 0) return;
    this.#replies.bytesKept -= this.#bytes;
    if (this.#answers.length > 0) {
      this.#replies.send(this.#answers, undefined, this.#isTooLarge);
    }
  }

  /** Counts an answer; gives what is sent of it. */
  #fit(response: RpcResponse, method: string | undefined): RpcResponse {
    if (this.#isTooLarge) return insteadOf(response);
    try {
      const bytes = this.#replies.measure(response) + 1;
      const { maxBytes } = this.#replies;
      this.#bytes += bytes;
      this.#replies.bytesKept += bytes;
      if (this.#bytes < maxBytes) return response;
      throw new FrameTooLargeError("encode", this.#bytes + 1, maxBytes);
    } catch (error) {
      this.#replies.report(error, method);
      if (error instanceof FrameTooLargeError) {
        this.#isTooLarge = true;
        this.#answers = this.#answers.map(insteadOf);
        this.#replies.bytesKept -= this.#bytes;
        this.#bytes = 0;
      }
      return insteadOf(response);
    }
  }
}

/** The answer to a message, or those to a batch. */
type Answer = RpcResponse | RpcResponse[];

/** Sends answers, all of which find a way to the other end. */
export class Replies {
  /** Bytes of the answers to batches that are not complete. */
  bytesKept = 0;
  /** Answers that wait until there is room for them. */
  waiting = 0;
  /** Bytes of messages that were answered at once while answers have to wait. */
  bytesRefused = 0;
  readonly #connection: Connection;
  readonly #link: Link;
  readonly #onError: RpcErrorHandler | undefined;
  readonly #hasSent: () => void;

  /**
   * Sends over that connection; `onError` hears what cannot be sent, `hasSent` is
   * called when an answer was sent that had to wait.
   */
  constructor(
    connection: Connection,
    onError: RpcErrorHandler | undefined,
    hasSent: () => void,
  ) {
    this.#connection = connection;
    this.#link = linkOf(connection);
    this.#onError = onError;
    this.#hasSent = hasSent;
  }

  /** Bytes of the largest message. */
  get maxBytes(): number {
    return this.#link.framing.maxFrameBytes;
  }

  /** Gives the size of an answer in bytes; throws where it cannot be sent. */
  measure(response: RpcResponse): number {
    return this.#link.outbox.measure(response) -
      this.#link.framing.prefixBytes;
  }

  /** Sends the answer to a message, if it has one. */
  add(response?: RpcResponse, method?: string): void {
    if (response !== undefined) this.send(response, method);
  }

  /**
   * Sends an answer, or those to a batch, when there is room for it. One that
   * cannot be sent is reported, unless it was before, and replaced by an error,
   * with the id if that is not too long.
   */
  send(answer: Answer, method?: string, isReplaced = false): void {
    if (this.#sendNow(answer, method, isReplaced)) return;
    try {
      // What waits is no larger than what can be sent.
      this.#link.outbox.measure(answer);
    } catch (error) {
      return this.#replace(error, answer, method, isReplaced);
    }
    this.waiting++;
    this.#sendLater(answer, method, isReplaced);
  }

  /**
   * Hands an answer to the connection, or an error in its place; gives whether
   * there was room for it. Where the connection has ended, it is dropped.
   */
  #sendNow(answer: Answer, method?: string, isReplaced = false): boolean {
    try {
      this.#link.enqueue(answer);
    } catch (error) {
      if (error instanceof BackpressureError) return false;
      if (!(error instanceof ConnectionClosedError)) {
        this.#replace(error, answer, method, isReplaced);
      }
    }
    return true;
  }

  #sendLater(answer: Answer, method?: string, isReplaced = false): void {
    const send = () => {
      if (!this.#sendNow(answer, method, isReplaced)) {
        return this.#sendLater(answer, method, isReplaced);
      }
      this.waiting--;
      if (this.waiting === 0) this.bytesRefused = 0;
      this.#hasSent();
    };
    (this.#link.room() ?? Promise.resolve()).then(send, send);
  }

  /** Sends an error in place of an answer, if there is a smaller one. */
  #replace(
    error: unknown,
    answer: Answer,
    method: string | undefined,
    isReplaced: boolean,
  ): void {
    if (!isReplaced) {
      this.report(error, method);
      const instead = Array.isArray(answer)
        ? answer.map(insteadOf)
        : insteadOf(answer);
      this.send(instead, method, true);
    } else if (Array.isArray(answer) || answer.id !== null) {
      this.send(failureOf(null, RPC_ERRORS.internalError), method, true);
    }
  }

  /**
   * Tells what went wrong, and is not for the other end to know. What is no
   * method's doing is not printed.
   */
  report(error: unknown, method: string | undefined): void {
    if (this.#onError !== undefined) {
      callHook(this.#onError, error, method, this.#connection);
    } else if (method !== undefined) report(error);
  }
}

/**
 * What JSON carries of a result, null for none: a response without a result
 * would be no response.
 */
export function carriedOf(result: unknown): unknown {
  if (result === undefined) return null;
  const carried = standInFor(result, "result");
  const type = typeof carried;
  if (type !== "undefined" && type !== "function" && type !== "symbol") {
    return carried;
  }
  throw new InvalidMessageError(
    `Cannot encode message: JSON cannot represent a value of type ${type}`,
  );
}

/** Most UTF-16 units of an error's message that is sent where room is short. */
const SHORT = 64;

/** The error in place of an answer; a short one takes no more room. */
function insteadOf(response: RpcResponse): RpcResponse {
  const { id, error } = response;
  return error && error.data === undefined && error.message.length <= SHORT
    ? response
    : failureOf(id, RPC_ERRORS.internalError);
}

/**
 * Whether an error is of that class, and has that name; it may be anything, also
 * what throws when it is looked at.
 */
export function isError<Kind extends Error>(
  error: unknown,
  type: new (...args: never[]) => Kind,
  name?: string,
): boolean {
  try {
    return error instanceof type && (name === undefined || error.name === name);
  } catch {
    return false;
  }
}
