/**
 * Sending for libraries that do not wait before they send more.
 *
 * @module
 */
import { BackpressureError, type Connection } from "../mod.ts";

/** Bytes that wait to be written when `send` of a connection starts to wait. */
const MOST_QUEUED = 65_536;

/**
 * Sends messages in order. When the connection accepts no more, they wait here,
 * so that none is rejected with a `BackpressureError`.
 */
export class PacedSender {
  readonly #connection: Connection;
  /** The outcome of the message that the connection accepted last. */
  #sent: Promise<void> = Promise.resolve();
  /** Resolves when the last waiting message was sent; set while any waits. */
  #last: Promise<void> | undefined;

  /** Sends over the connection; nothing else should. */
  constructor(connection: Connection) {
    checkConnection(connection);
    this.#connection = connection;
  }

  /**
   * Sends a message, encoded during the call. Returns a promise that resolves
   * when it was accepted and there is room for more, and rejects if it cannot be
   * sent.
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

  /** Sends a message after the earlier ones. */
  #wait(before: Promise<void>, message: unknown): Promise<void> {
    const sent = this.#sendAfter(before, snapshotOf(message));
    const last = this.#last = sent.catch(() => {}).then(() => {
      if (this.#last === last) this.#last = undefined;
    });
    return sent;
  }

  async #sendAfter(before: Promise<void>, message: unknown): Promise<void> {
    try {
      await before; // the earlier messages, or the rejection of this one
    } catch (error) {
      if (!(error instanceof BackpressureError)) throw error;
    }
    // If the link broke, sending rejects with the reason.
    await this.#sent.catch(() => {});
    await (this.#sent = this.#connection.send(message));
  }

  /**
   * Returns a promise to wait for before more is read from the peer, until it
   * has read its answers.
   */
  room(): Promise<void> | undefined {
    if (this.#last !== undefined) return this.#last;
    const { bytesQueued } = this.#connection.stats();
    return bytesQueued > MOST_QUEUED ? this.#sent.catch(() => {}) : undefined;
  }
}

/** Throws if the argument is not a connection. */
function checkConnection(value: Connection): void {
  if (typeof value?.send === "function" && Symbol.asyncIterator in value) {
    return;
  }
  const received = value === null ? "null" : typeof value;
  throw new TypeError(
    `Cannot use argument "connection": received ${received}, expected a connection`,
  );
}

/** Copies a message, so that later changes of it do not matter. */
function snapshotOf(message: unknown): unknown {
  try {
    return JSON.parse(JSON.stringify(message));
  } catch {
    return message; // sending it rejects with the reason
  }
}
