/**
 * What waits for a connection.
 *
 * @module
 */
import {
  EncodedMessage,
  encodeText,
  type Framing,
  framingOf,
} from "../framing/framing.ts";
import {
  BackpressureError,
  type Connection,
  REQUEST_DEFAULTS,
  REQUEST_OPTIONS,
  type RequestOptions,
  type Settings,
} from "../connection/connection.ts";
import { onAbort, startTimer, timeoutError } from "../tools/abort.ts";
import { readOptions } from "../tools/options.ts";
import { rejectAwaited } from "../tools/promises.ts";

/**
 * What a message counts beside its frame: a request that waits with a timeout
 * and a signal takes about so much memory.
 */
const ENTRY_BYTES = 2_048;

/**
 * Sends a message over the connection that it has waited for, and returns the
 * outcome. The signal is aborted when the call is over, the wait included. The
 * timeout is that of the call: a connection also ends if a reply is missing for
 * that long after its request was given up.
 */
export type Sending<T, Result> = (
  connection: Connection<T>,
  message: unknown,
  limits: RequestOptions,
) => Promise<Result>;

interface Entry<T> {
  readonly bytes: number;
  send(connection: Connection<T>): void;
  /** Rejects the call, with an error whose stack leads to it. */
  fail(failure: () => unknown): void;
}

/**
 * Messages in the order of the calls. Each is encoded during the call, so later
 * changes of the value do not matter.
 */
export class WaitingMessages<T> {
  readonly #maxQueuedBytes: number;
  readonly #framing: Framing;
  readonly #entries = new Set<Entry<T>>();
  #bytes = 0;

  /** Takes the framing and the limits of the connections. */
  constructor({ maxQueuedBytes, framing }: Settings) {
    this.#maxQueuedBytes = maxQueuedBytes;
    // As on a connection, only the peer limits the depth of a message.
    this.#framing = framingOf({ ...framing, maxDepth: Infinity });
  }

  /** Bytes that the messages count. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Number of messages. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Adds a message behind all others.
   *
   * @param message The message.
   * @param options How long the call lasts, the wait included.
   * @param bytesQueued Bytes that wait on the connection already.
   * @param send Called once there is a connection.
   * @throws {BackpressureError} If more bytes wait than on a connection may.
   * @throws {InvalidMessageError} If JSON cannot represent the message.
   * @throws {FrameTooLargeError} If it is too large for a frame.
   * @throws {TypeError} If an option does not exist or has the wrong type.
   */
  add<Result>(
    message: unknown,
    options: RequestOptions,
    bytesQueued: number,
    send: Sending<T, Result>,
  ): Promise<Result> {
    const { timeout, signal } = {
      ...REQUEST_DEFAULTS,
      ...readOptions(REQUEST_OPTIONS, options),
    };
    const queued = this.#bytes + bytesQueued;
    if (queued > this.#maxQueuedBytes) {
      throw new BackpressureError(queued, this.#maxQueuedBytes);
    }
    signal?.throwIfAborted();
    const encoded = new EncodedMessage(encodeText(message, this.#framing));
    // A `toJSON` method may have aborted it.
    signal?.throwIfAborted();
    const settlers = Promise.withResolvers<Result>();
    /** Gives up the request, once it was sent. */
    let sent: AbortController | undefined;
    const entry: Entry<T> = {
      bytes: this.#framing.prefixBytes + memoryOf(encoded.text) + ENTRY_BYTES,
      send: (connection) => {
        this.#remove(entry);
        sent = new AbortController();
        const { signal } = sent;
        send(connection, encoded, { signal, timeout }).then((result) => {
          stop();
          settlers.resolve(result);
        }, (error) => {
          if (!signal.aborted) entry.fail(() => error);
        });
      },
      fail: (failure) => {
        this.#remove(entry);
        stop();
        sent?.abort();
        rejectAwaited(settlers, failure);
      },
    };
    const stopTimer = startTimer(timeout, () => {
      const text = sent === undefined
        ? `Cannot send request: no connection after ${timeout} ms (timeout)`
        : `Cannot receive reply: timed out after ${timeout} ms (timeout)`;
      entry.fail(() => timeoutError(text));
    });
    const stopListening = onAbort(signal, (reason) => entry.fail(() => reason));
    function stop(): void {
      stopTimer();
      stopListening();
    }
    this.#entries.add(entry);
    this.#bytes += entry.bytes;
    return settlers.promise;
  }

  #remove(entry: Entry<T>): void {
    if (this.#entries.delete(entry)) this.#bytes -= entry.bytes;
  }

  /** Sends the first message, if there is one. */
  sendNext(connection: Connection<T>): void {
    for (const entry of this.#entries) return entry.send(connection);
  }

  /** Rejects all. */
  fail(failure: () => unknown): void {
    for (const entry of this.#entries) entry.fail(failure);
  }
}

/** Bytes that the engine keeps a text in: two for each unit if one needs them. */
function memoryOf(text: string): number {
  return /[^\0-\xff]/.test(text) ? 2 * text.length : text.length;
}
