/**
 * Answers on their way out.
 *
 * @module
 */
import { encodeFrame, FrameTooLargeError } from "../framing.ts";
import {
  BackpressureError,
  type Connection,
  ConnectionClosedError,
} from "./connection.ts";
import { failureOf, RPC_ERRORS, type RpcResponse } from "./jsonrpc.ts";

/** See {@linkcode RpcOptions.onError}. */
export type RpcErrorHandler = (
  error: unknown,
  method: string,
  connection: Connection,
) => void;

/** An answer, and to a call of which method. */
interface Answer {
  readonly response: RpcResponse;
  readonly method: string;
}

/** Answers that leave together: those to the calls of a batch. */
export class Batch {
  readonly #send: (answers: readonly Answer[]) => void;
  readonly #answers: Answer[] = [];
  #left: number;

  /** Waits until each of so many messages has its answer, or none. */
  constructor(size: number, send: (answers: readonly Answer[]) => void) {
    this.#left = size;
    this.#send = send;
  }

  /** Adds the answer to a message, if it has one. */
  add(response?: RpcResponse, method = ""): void {
    if (response !== undefined) this.#answers.push({ response, method });
    this.#left--;
    if (this.#left === 0 && this.#answers.length > 0) this.#send(this.#answers);
  }
}

type Message = RpcResponse | RpcResponse[];
type Replace = (error: unknown) => Message;

/** Those of a batch may be too large together once each can be sent alone. */
const REPLACEMENTS = 2;

/** Sends answers, all of which find a way to the other end. */
export class Replies {
  readonly #connection: Connection;
  readonly #onError: RpcErrorHandler | undefined;
  readonly #onSent: () => void;
  #waiting = 0;

  /** Calls `onSent` when an answer that had to wait is sent. */
  constructor(
    connection: Connection,
    onError: RpcErrorHandler | undefined,
    onSent: () => void,
  ) {
    this.#connection = connection;
    this.#onError = onError;
    this.#onSent = onSent;
  }

  /** Answers that wait until there is room for them. */
  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Sends an answer when there is room for it. One that cannot be sent is
   * replaced by an error.
   */
  send(response: RpcResponse, method = ""): void {
    try {
      this.#connection.enqueue(response);
    } catch (error) {
      this.#recover(error, response, (error) => {
        this.report(error, method);
        return insteadOf(response);
      });
    }
  }

  /** The same for those to a batch, each of which is replaced on its own. */
  sendBatch(answers: readonly Answer[]): void {
    this.#sendAgain(responsesOf(answers), (error) => {
      const limit = error instanceof FrameTooLargeError
        ? error.limit
        : Infinity;
      answers = this.#thoseThatFit(answers, limit);
      return responsesOf(answers);
    });
  }

  #sendAgain(message: Message, replace: Replace, tries = REPLACEMENTS): void {
    try {
      this.#connection.enqueue(message);
    } catch (error) {
      this.#recover(error, message, replace, tries);
    }
  }

  /** Sends what was not sent later, or something else in its place. */
  #recover(
    error: unknown,
    message: Message,
    replace: Replace,
    tries = REPLACEMENTS,
  ): void {
    if (error instanceof ConnectionClosedError) return; // nobody reads it
    const room = error instanceof BackpressureError
      ? this.#connection.room()
      : undefined;
    if (room !== undefined) {
      this.#waiting++;
      room.then(() => this.#sendAgain(message, replace), () => {}).then(() => {
        this.#waiting--;
        this.#onSent();
      });
    } else if (tries > 0) {
      this.#sendAgain(replace(error), replace, tries - 1);
    }
    // Where not even that can be sent, the caller's time for it will be over.
  }

  /** As many of the answers as there is room for, and errors for the others. */
  #thoseThatFit(answers: readonly Answer[], limit: number): Answer[] {
    let left = limit;
    const choices = answers.map((answer) => {
      const instead = insteadOf(answer.response);
      const least = encodeFrame(instead).length;
      left -= least;
      return { ...answer, instead, least };
    });
    return choices.map(({ response, method, instead, least }) => {
      try {
        const size = this.#connection.measure(response);
        if (size - least > left) {
          throw new FrameTooLargeError("encode", size, limit);
        }
        left -= size - least;
        return { response, method };
      } catch (error) {
        this.report(error, method);
        return { response: instead, method };
      }
    });
  }

  /** Tells what went wrong, and is not for the other end to know. */
  report(error: unknown, method: string): void {
    try {
      this.#onError?.(error, method, this.#connection);
    } catch {
      // A log that fails is no reason to stop serving.
    }
  }
}

function responsesOf(answers: readonly Answer[]): RpcResponse[] {
  return answers.map(({ response }) => response);
}

function insteadOf({ id }: RpcResponse): RpcResponse {
  return failureOf(id, RPC_ERRORS.internalError);
}
