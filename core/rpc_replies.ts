/**
 * Answers on their way out.
 *
 * @module
 */
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

/** Answers that leave together: those to the calls of a batch. */
export class Batch {
  readonly #send: (responses: RpcResponse[]) => void;
  readonly #responses: RpcResponse[] = [];
  #left: number;

  /** Waits until each of so many messages has its answer, or none. */
  constructor(size: number, send: (responses: RpcResponse[]) => void) {
    this.#left = size;
    this.#send = send;
  }

  /** Adds the answer to a message, if it has one. */
  add(response?: RpcResponse): void {
    if (response !== undefined) this.#responses.push(response);
    this.#left--;
    if (this.#left === 0 && this.#responses.length > 0) {
      this.#send(this.#responses);
    }
  }
}

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
   * Sends an answer, or the answers to a batch, when there is room for it. What
   * cannot be sent is replaced by an error.
   */
  send(response: RpcResponse | RpcResponse[], method = ""): void {
    try {
      this.#connection.enqueue(response);
    } catch (error) {
      if (error instanceof ConnectionClosedError) return; // nobody reads it
      const room = error instanceof BackpressureError
        ? this.#connection.room()
        : undefined;
      if (room === undefined) {
        this.report(error, method);
        this.#sendInstead(response);
      } else this.#sendLater(response, method, room);
    }
  }

  #sendLater(
    response: RpcResponse | RpcResponse[],
    method: string,
    room: Promise<void>,
  ): void {
    this.#waiting++;
    room.then(() => this.send(response, method), () => {}).then(() => {
      this.#waiting--;
      this.#onSent();
    });
  }

  #sendInstead(response: RpcResponse | RpcResponse[]): void {
    const instead = ({ id }: RpcResponse) =>
      failureOf(id, RPC_ERRORS.internalError);
    try {
      this.#connection.enqueue(
        Array.isArray(response) ? response.map(instead) : instead(response),
      );
    } catch {
      // Not even that: some day, the caller's time for it will be over.
    }
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
