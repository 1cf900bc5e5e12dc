/**
 * Many requests on one connection, without waiting for the replies before.
 *
 * @module
 */
import type { Connection, JsonValue } from "../mod.ts";
import { onAbort, startTimer } from "../core/tools/abort.ts";
import { Queue } from "../core/tools/queue.ts";
import type { Messages } from "./input.ts";
import { type Format, print } from "./output.ts";
import { lateReply, Progress } from "./waiting.ts";

/**
 * Up to twice as many requests wait for their replies: enough to keep both sides
 * busy, few enough to keep memory constant.
 */
const WINDOW = 128;
/** Bytes that may wait to be written: so many large requests would be too many. */
const MOST_QUEUED = 1_048_576;
/** Replies come one after the other, so one timer is enough. */
const UNTIMED = { timeout: Infinity };

/** Options of an {@linkcode exchange}. */
export interface ExchangeOptions {
  /** How many times each message is sent. */
  repeat: number;
  /** Milliseconds to wait for each reply. */
  timeout: number;
  /** How a reply is printed. */
  format: Format;
}

/** Each item so many times. */
export function* repeated<Item>(
  items: Iterable<Item>,
  times: number,
): Generator<Item, void> {
  for (const item of items) {
    for (let i = 0; i < times; i++) yield item;
  }
}

/**
 * Sends messages as they come and prints their replies in order. If the
 * messages end with an error, the replies to those before are printed, then it
 * is thrown.
 */
export async function exchange(
  connection: Connection,
  messages: Messages,
  options: ExchangeOptions,
): Promise<void> {
  const replies = new Replies(connection, options);
  const stop = onAbort(connection.signal, (reason) => replies.fail(reason));
  try {
    const sending = sendAll(connection, messages, options.repeat, replies);
    await Promise.race([sending.then(() => replies.printed), replies.failed]);
  } finally {
    stop();
    await replies.end();
  }
}

async function sendAll(
  connection: Connection,
  messages: Messages,
  repeat: number,
  replies: Replies,
): Promise<void> {
  let sent = 0;
  let before: Promise<void> | undefined;
  try {
    for await (const piece of messages) {
      for (const message of repeated(piece, repeat)) {
        const settled = replies.expect(connection.request(message, UNTIMED));
        if (++sent % WINDOW === 0) {
          await before;
          await replies.printed;
          before = settled;
        }
        if (connection.stats().bytesQueued > MOST_QUEUED) await settled;
      }
    }
  } finally {
    await replies.received;
  }
}

/** Prints replies in order, all that are there together. */
class Replies {
  readonly #connection: Connection;
  readonly #options: ExchangeOptions;
  readonly #progress = new Progress();
  readonly #failure = Promise.withResolvers<never>();
  readonly #open = new Queue<Promise<JsonValue>>();
  #text = "";
  #stopTimer = () => {};
  /** Settles when nothing is open any more. */
  received: Promise<void> | undefined;
  /** Settles when all that has come is printed. */
  printed: Promise<void> | undefined;

  constructor(connection: Connection, options: ExchangeOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /** Rejects when a reply does not come, or cannot be printed. */
  get failed(): Promise<never> {
    return this.#failure.promise;
  }

  fail(error: unknown): void {
    this.#failure.reject(error);
  }

  /** Resolves when the reply has come, or does not come. */
  expect(reply: Promise<JsonValue>): Promise<void> {
    this.#open.push(reply);
    if (this.received === undefined) {
      this.received = this.#receive();
      this.received.catch((error) => this.fail(error));
      this.#restartTimer();
    }
    // One that cannot be sent may fail before those before it are answered.
    return reply.then(() => {}, () => {});
  }

  async end(): Promise<void> {
    this.#stopTimer();
    this.#progress.stop();
    await this.printed;
  }

  async #receive(): Promise<void> {
    for (let reply; (reply = this.#open.shift()) !== undefined;) {
      const message = await reply;
      this.#text += `${this.#options.format.text(message)}\n`;
      this.#progress.replies++;
      if (this.printed !== undefined) continue;
      this.printed = this.#print();
      this.printed.catch((error) => this.fail(error));
    }
    this.received = undefined;
    this.#stopTimer();
  }

  async #print(): Promise<void> {
    // Those that came together with the first are printed with it.
    await Promise.resolve();
    if (this.received !== undefined) this.#restartTimer();
    while (this.#text !== "") {
      const text = this.#text;
      this.#text = "";
      await print(text, this.#options.format.paint);
    }
    this.printed = undefined;
  }

  #restartTimer(): void {
    this.#stopTimer();
    const { timeout } = this.#options;
    const { replies } = this.#progress;
    this.#stopTimer = startTimer(timeout, () => {
      // While stdout takes nothing, more may have come.
      if (replies < this.#progress.replies) return this.#restartTimer();
      this.#connection.abort(lateReply(timeout));
    });
  }
}
