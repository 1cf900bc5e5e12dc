/**
 * Sending for libraries that do not wait before they send more.
 *
 * @module
 */
import { BackpressureError, type Connection } from "../mod.ts";

/** Bytes that wait to be written where `send` of a connection begins to wait. */
const MOST_QUEUED = 65_536;

/**
 * Sends in order. Where more waits to be written than the connection takes,
 * messages wait here: none is refused for want of room.
 */
export class PacedSender {
  readonly #connection: Connection;
  /** What became of the message that the connection took last. */
  #sent: Promise<void> = Promise.resolve();
  /** Resolves when the last message that waits was sent, while any does. */
  #last: Promise<void> | undefined;

  /** Sends over the connection; nothing else should. */
  constructor(connection: Connection) {
    checkConnection(connection);
    this.#connection = connection;
  }

  /**
   * Sends a message as it is now. Returns what resolves when it was taken and
   * there is room for more, and rejects where it cannot be sent.
   */
  send(message: unknown): Promise<void> {
    if (this.#last !== undefined) return this.#wait(this.#last, message);
    const { messagesSent } = this.#connection.stats();
    const sent = this.#connection.send(message);
    if (this.#connection.stats().messagesSent === messagesSent) {
      return this.#wait(sent, message);
    }
    return this.#sent = sent;
  }

  /** Sends a message as it is now, where it is time and `before` allows it. */
  #wait(before: Promise<void>, message: unknown): Promise<void> {
    const sent = this.#sendAfter(before, snapshotOf(message));
    const last = this.#last = sent.catch(() => {}).then(() => {
      if (this.#last === last) this.#last = undefined;
    });
    return sent;
  }

  async #sendAfter(before: Promise<void>, message: unknown): Promise<void> {
    try {
      await before; // those that wait already, or why it was refused
    } catch (error) {
      if (!(error instanceof BackpressureError)) throw error;
    }
    // Why the link broke is told by sending.
    await this.#sent.catch(() => {});
    await (this.#sent = this.#connection.send(message));
  }

  /**
   * Something to wait for before more is read from the peer: until it has taken
   * what it asked for.
   */
  room(): Promise<void> | undefined {
    if (this.#last !== undefined) return this.#last;
    const { bytesQueued } = this.#connection.stats();
    return bytesQueued > MOST_QUEUED ? this.#sent.catch(() => {}) : undefined;
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
