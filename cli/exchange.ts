/**
 * Many requests on one connection, without waiting for the replies before.
 *
 * @module
 */
import {
  type Connection,
  ConnectionClosedError,
  type JsonValue,
} from "../mod.ts";
import { print } from "./output.ts";

/**
 * Requests that may wait for their replies: enough to keep both sides busy, few
 * enough to keep memory constant.
 */
const WINDOW = 256;
/**
 * Bytes that may wait to be written before no more requests are made: 256 large
 * ones would be too many.
 */
const MOST_QUEUED = 1_048_576;
/** Characters of replies that are printed together. */
const PRINT_RUN = 65_536;

/** Options of an {@linkcode exchange}. */
export interface ExchangeOptions {
  /** Milliseconds to wait for each reply. */
  timeout: number;
  /** The text that is printed for a reply. */
  format(reply: JsonValue): string;
  /** Called with the number of replies so far. */
  onReply?(replies: number): void;
}

/**
 * Sends messages as they come and prints their replies in order. If the
 * messages end with an error, the replies to those before are printed, then it
 * is thrown.
 */
export async function exchange(
  connection: Connection,
  messages: AsyncIterable<JsonValue>,
  { timeout, format, onReply }: ExchangeOptions,
): Promise<void> {
  const requests = new Requests(connection);
  requests.sendAll(messages);
  const watchdog = new Watchdog(connection, timeout);
  let text = "";
  try {
    for (;;) {
      const reply = await requests.next(watchdog);
      if (reply === undefined) break;
      text += `${format(reply.value)}\n`;
      onReply?.(requests.replies);
      if (requests.isNextSettled && text.length < PRINT_RUN) continue;
      await print(text);
      text = "";
    }
  } finally {
    watchdog.stop();
    await print(text);
  }
}

/**
 * The requests whose replies are outstanding, and what becomes of their source.
 */
class Requests {
  readonly #connection: Connection;
  readonly #pending: Promise<JsonValue>[] = [];
  #settled = 0;
  /** Replies handed out so far. */
  replies = 0;
  #end: { error?: unknown } | undefined;
  #wakeReader = () => {};
  #wakeSender = () => {};

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Whether the next reply need not be waited for. */
  get isNextSettled(): boolean {
    return this.#settled > this.replies;
  }

  /**
   * Sends in the background, as far ahead of the replies as the window allows.
   */
  sendAll(messages: AsyncIterable<JsonValue>): void {
    this.#send(messages).then(
      () => this.#finish({}),
      (error) => this.#finish({ error }),
    );
    untilClosed(this.#connection).catch((error) => this.#finish({ error }));
  }

  async #send(messages: AsyncIterable<JsonValue>): Promise<void> {
    for await (const message of messages) {
      while (this.#isFull) {
        await new Promise<void>((resolve) => this.#wakeSender = resolve);
      }
      if (this.#end !== undefined) return;
      const reply = this.#connection.request(message);
      const settle = () => void this.#settled++;
      reply.then(settle, settle);
      this.#pending.push(reply);
      this.#wakeReader();
    }
  }

  get #isFull(): boolean {
    return this.#pending.length >= WINDOW ||
      this.#pending.length > 0 &&
        this.#connection.stats.bytesQueued > MOST_QUEUED;
  }

  #finish(end: { error?: unknown }): void {
    this.#end ??= end;
    this.#wakeReader();
  }

  /** The next reply, or `undefined` after the last. */
  async next(watchdog: Watchdog): Promise<{ value: JsonValue } | undefined> {
    while (this.#pending.length === 0) {
      if (this.#end !== undefined) {
        if ("error" in this.#end) throw this.#end.error;
        return undefined;
      }
      await new Promise<void>((resolve) => this.#wakeReader = resolve);
    }
    watchdog.start();
    const value = await this.#pending[0];
    watchdog.pause();
    this.#pending.shift();
    this.replies++;
    this.#wakeSender();
    return { value };
  }
}

/** Rejects when the connection ends. */
export async function untilClosed(connection: Connection): Promise<never> {
  const end = await connection.closed;
  throw new ConnectionClosedError(
    "Cannot go on: the connection is closed",
    end,
  );
}

/** The error of a reply that does not come. */
export function lateReply(timeout: number): DOMException {
  return new DOMException(`no reply after ${timeout} ms`, "TimeoutError");
}

/**
 * Aborts a connection that keeps its user waiting. One timer for all the
 * replies: arming one for each would cost more than the reply.
 */
class Watchdog {
  readonly #connection: Connection;
  readonly #timeout: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #since: number | undefined;

  constructor(connection: Connection, timeout: number) {
    this.#connection = connection;
    this.#timeout = timeout;
    if (timeout !== Infinity) this.#arm(timeout);
  }

  #arm(milliseconds: number): void {
    this.#timer = setTimeout(() => this.#check(), milliseconds);
  }

  #check(): void {
    const waited = this.#since === undefined
      ? 0
      : performance.now() - this.#since;
    if (waited < this.#timeout) this.#arm(this.#timeout - waited);
    else this.#connection.abort(lateReply(this.#timeout));
  }

  /** A reply is waited for from now on. */
  start(): void {
    this.#since = performance.now();
  }

  /** No reply is waited for. */
  pause(): void {
    this.#since = undefined;
  }

  /** Frees the timer. */
  stop(): void {
    clearTimeout(this.#timer);
  }
}
