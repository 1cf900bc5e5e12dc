/**
 * What waits for a connection.
 *
 * @module
 */
import { FrameEncoder } from "../framing/framing.ts";
import {
  BackpressureError,
  type Connection,
  type RequestOptions,
  type Settings,
} from "../connection/connection.ts";
import { quiet } from "../tools/promises.ts";
import { onTimeout, timeoutError } from "../tools/abort.ts";

/**
 * What a message counts beside its frame: a request that waits with a timeout
 * and a signal takes about so much memory.
 */
const ENTRY_BYTES = 2_048;

/** How long a message waits. */
export interface WaitingLimits {
  /** What fails where it waits for too long: `send request`. */
  readonly doing: string;
  /** Milliseconds until it is given up; without it, no limit. */
  readonly timeout?: number;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal;
}

/**
 * Sends a message over the connection that it has waited for, and says what
 * comes of it; `left` are the milliseconds that the timeout leaves.
 */
export type Sending<Link, Result> = (
  link: Link,
  message: unknown,
  left: number,
) => Result | Promise<Result>;

interface Entry<Link> {
  readonly bytes: number;
  send(link: Link): void;
  fail(reason: unknown): void;
}

/**
 * Messages in the order of the calls, encoded when they were sent: what happens
 * to the values afterwards does not matter.
 */
export class WaitingMessages<Link> {
  readonly #settings: Settings;
  readonly #encoder: FrameEncoder;
  readonly #entries = new Set<Entry<Link>>();
  #bytes = 0;

  /** Takes the framing and the limits of the connections. */
  constructor(settings: Settings) {
    this.#settings = settings;
    this.#encoder = new FrameEncoder(settings.framing);
  }

  /** Messages that wait. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Adds a message behind all others.
   *
   * @param message The message.
   * @param limits How long it waits.
   * @param bytesQueued Bytes that wait on the connection already.
   * @param send What is done with it once there is a connection.
   * @throws {BackpressureError} If more bytes wait than on a connection may.
   * @throws {InvalidMessageError} If JSON cannot carry the message.
   * @throws {FrameTooLargeError} If it is too large for a frame.
   */
  add<Result>(
    message: unknown,
    { doing, timeout = Infinity, signal }: WaitingLimits,
    bytesQueued: number,
    send: Sending<Link, Result>,
  ): Promise<Result> {
    const { maxQueuedBytes, framing } = this.#settings;
    const queued = this.#bytes + bytesQueued;
    if (queued > maxQueuedBytes) {
      throw new BackpressureError(queued, maxQueuedBytes);
    }
    signal?.throwIfAborted();
    this.#encoder.push(message);
    const frame = this.#encoder.take();
    // A method `toJSON` may have aborted it.
    signal?.throwIfAborted();
    const start = performance.now();
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    const entry: Entry<Link> = {
      bytes: frame.length + ENTRY_BYTES,
      send: (link) => {
        this.#remove(entry);
        stop();
        const left = Math.max(1, timeout - (performance.now() - start));
        const message = messageOf(frame.subarray(framing.prefixBytes));
        resolve(send(link, message, Math.ceil(left)));
      },
      fail: (reason) => {
        this.#remove(entry);
        stop();
        reject(reason);
      },
    };
    const stop = onTimeout(
      timeout,
      signal,
      () =>
        timeoutError(
          `Cannot ${doing}: no connection after ${timeout} ms (timeout)`,
        ),
      (reason) => entry.fail(reason),
    );
    this.#entries.add(entry);
    this.#bytes += entry.bytes;
    return quiet(promise);
  }

  #remove(entry: Entry<Link>): void {
    if (this.#entries.delete(entry)) this.#bytes -= entry.bytes;
  }

  /** Sends the first message, if there is one. */
  sendNext(link: Link): void {
    for (const entry of this.#entries) return entry.send(link);
  }

  /** Rejects all. */
  fail(reason: unknown): void {
    for (const entry of this.#entries) entry.fail(reason);
  }
}

/**
 * Makes a request that has waited, for the rest of its time. The connection has
 * the whole timeout, as it ends where a reply is missing for that long after its
 * request was given up.
 */
export function requestWithin<T>(
  connection: Connection<T>,
  message: unknown,
  { signal, timeout }: RequestOptions & { timeout: number },
  left: number,
): Promise<T> {
  const late = new AbortController();
  const stop = onTimeout(
    left,
    signal,
    () =>
      timeoutError(
        `Cannot receive reply: none came in ${timeout} ms (timeout)`,
      ),
    (reason) => late.abort(reason),
  );
  const reply = connection.request(message, { signal: late.signal, timeout });
  reply.then(stop, stop);
  return reply;
}

const TEXT_DECODER = new TextDecoder();

/** The message of a payload of ours, to become the same text again. */
function messageOf(payload: Uint8Array): unknown {
  const text = TEXT_DECODER.decode(payload);
  const message: unknown = JSON.parse(text);
  return JSON.stringify(message) === text
    ? message
    : JSON.parse(text, keepNumber);
}

/** Keeps the digits of `JSON.rawJSON`, which a number has no room for. */
function keepNumber(
  _name: string,
  value: unknown,
  { source }: { source?: string } = {},
): unknown {
  return typeof value === "number" && source !== undefined
    ? (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(source)
    : value;
}
