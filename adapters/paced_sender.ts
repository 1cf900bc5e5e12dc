/**
 * Sending for libraries that do not wait before they send more.
 *
 * @module
 */
import { BackpressureError, type Connection } from "../mod.ts";

interface Waiting extends PromiseWithResolvers<void> {
  readonly message: unknown;
}

/**
 * Sends in order. Where more waits to be written than the connection takes,
 * messages wait here: none is refused for want of room.
 */
export class PacedSender {
  readonly #connection: Connection;
  #waiting: Waiting[] = [];
  /** The last one that waits, while any does. */
  #last: Waiting | undefined;

  /** Sends over the connection; nobody else should. */
  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Sends a message as it is now. Returns what resolves when it was taken and
   * less than the high-water mark waits; not awaiting that is safe. Throws at
   * once if the message cannot be sent.
   */
  send(message: unknown): Promise<void> {
    if (this.#last === undefined) {
      try {
        this.#connection.enqueue(message);
        return this.#connection.room() ?? Promise.resolve();
      } catch (error) {
        if (!(error instanceof BackpressureError)) throw error;
      }
    }
    const waiting = {
      message: snapshotOf(message),
      ...Promise.withResolvers<void>(),
    };
    waiting.promise.catch(() => {});
    this.#waiting.push(waiting);
    const isFirst = this.#last === undefined;
    this.#last = waiting;
    if (isFirst) this.#sendWaiting();
    return waiting.promise;
  }

  async #sendWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      const run = this.#waiting;
      this.#waiting = [];
      for (const { message, resolve, reject } of run) {
        // Why the link broke is told by sending.
        await this.#connection.room()?.catch(() => {});
        try {
          this.#connection.enqueue(message);
          resolve();
        } catch (error) {
          reject(error);
        }
      }
    }
    this.#last = undefined;
  }

  /**
   * Something to wait for before more is read from the peer: until it has taken
   * what it asked for.
   */
  room(): Promise<unknown> | undefined {
    return this.#last?.promise.catch(() => {}) ??
      this.#connection.room()?.catch(() => {});
  }
}

/** What JSON makes of a message now, whatever becomes of it later. */
function snapshotOf(message: unknown): unknown {
  try {
    return JSON.parse(JSON.stringify(message));
  } catch {
    return message; // sending it will tell why it cannot be sent
  }
}
