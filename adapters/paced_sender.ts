/**
 * Sending for libraries that do not wait before they send more.
 *
 * @module
 */
import { BackpressureError, type Connection } from "../mod.ts";

/**
 * Sends in order. Where more waits to be written than the connection takes,
 * messages wait here: none is refused for want of room.
 */
export class PacedSender {
  readonly #connection: Connection;
  /** Resolves when the last message that waits was sent, while any does. */
  #last: Promise<void> | undefined;

  /** Sends over the connection; nobody else should. */
  constructor(connection: Connection) {
    checkConnection(connection);
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
    const sent = this.#sendAfter(this.#last, snapshotOf(message));
    const last = this.#last = sent.catch(() => {}).then(() => {
      if (this.#last === last) this.#last = undefined;
    });
    return sent;
  }

  async #sendAfter(
    last: Promise<void> | undefined,
    message: unknown,
  ): Promise<void> {
    await last;
    // Why the link broke is told by sending.
    await this.#connection.room()?.catch(() => {});
    this.#connection.enqueue(message);
  }

  /**
   * Something to wait for before more is read from the peer: until it has taken
   * what it asked for.
   */
  room(): Promise<void> | undefined {
    return this.#last ?? this.#connection.room()?.catch(() => {});
  }
}

/** Throws for what is no connection. */
function checkConnection(value: Connection): void {
  if (typeof value?.send === "function" && Symbol.asyncIterator in value) {
    return;
  }
  const received = value === null ? "null" : typeof value;
  throw new TypeError(
    `Cannot use argument "connection": received ${received}, expected a connection`,
  );
}

/** What JSON makes of a message now, whatever becomes of it later. */
function snapshotOf(message: unknown): unknown {
  try {
    return JSON.parse(JSON.stringify(message));
  } catch {
    return message; // sending it will tell why it cannot be sent
  }
}
