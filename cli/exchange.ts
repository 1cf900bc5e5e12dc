/**
 * Many requests on one connection, without waiting for the replies before.
 *
 * @module
 */
import {
  type Connection,
  ConnectionClosedError,
  InvalidMessageError,
  type JsonValue,
} from "../mod.ts";
import { LineRate, MOST_LINES, withOthers } from "./line_rate.ts";
import {
  clause,
  compact,
  count,
  type Format,
  print,
  printError,
  printProgress,
} from "./output.ts";

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
/** The watchdog waits for all of them. */
const WATCHED = { timeout: Infinity };
/** Characters of replies that are printed together. */
const PRINT_RUN = 65_536;

/** Options of an {@linkcode exchange}. */
export interface ExchangeOptions {
  /** Milliseconds to wait for each reply. */
  timeout: number;
  /** How a reply is printed. */
  format: Format;
}

/**
 * Sends messages as they come and prints their replies in order. If the
 * messages end with an error, the replies to those before are printed, then it
 * is thrown.
 */
export async function exchange(
  connection: Connection,
  messages: AsyncIterable<JsonValue>,
  { timeout, format }: ExchangeOptions,
): Promise<void> {
  const requests = new Requests(connection);
  requests.sendAll(messages);
  const watchdog = new Watchdog(connection, timeout);
  const progress = new Progress();
  let text = "";
  try {
    for (;;) {
      const reply = await requests.next(watchdog);
      if (reply === undefined) break;
      text += `${format.text(reply.value)}\n`;
      progress.replies = requests.replies;
      if (requests.isNextSettled && text.length < PRINT_RUN) continue;
      await print(text, format.paint);
      text = "";
    }
  } finally {
    watchdog.stop();
    progress.stop();
    await print(text, format.paint);
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
      const reply = this.#connection.request(message, WATCHED);
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

/**
 * Sends messages, and prints all that comes as one line each, until the server
 * ends it or the user does with Ctrl-C.
 */
export async function listen(
  connection: Connection,
  messages: AsyncIterable<JsonValue>,
): Promise<void> {
  const interrupted = Promise.withResolvers<never>();
  const interrupt = () => interrupted.reject(INTERRUPTED);
  Deno.addSignalListener("SIGINT", interrupt);
  try {
    await Promise.race([
      printAll(connection),
      sendAll(connection, messages),
      interrupted.promise,
    ]);
  } catch (error) {
    if (error !== INTERRUPTED) throw error;
  } finally {
    Deno.removeSignalListener("SIGINT", interrupt);
  }
}

const INTERRUPTED = Symbol("interrupted");

async function printAll(connection: Connection): Promise<void> {
  const rate = new LineRate(() => performance.now());
  for (;;) {
    try {
      for await (const message of connection) {
        await print(`${compact(message)}\n`);
      }
      return;
    } catch (error) {
      if (!(error instanceof InvalidMessageError)) throw error;
      const others = rate.take("bad message", MOST_LINES);
      if (others === undefined) continue;
      printError(withOthers(`client: ${clause(error)}`, others));
    }
  }
}

/** Rejects where it cannot; what comes goes on when all is sent. */
async function sendAll(
  connection: Connection,
  messages: AsyncIterable<JsonValue>,
): Promise<never> {
  for await (const message of messages) await connection.send(message);
  return await new Promise(() => {});
}

/**
 * Items as they come, up to an error of their own or of `stop`, which is not
 * waited for once for each.
 */
export async function* until<Item>(
  items: AsyncIterable<Item>,
  stop: Promise<never>,
): AsyncGenerator<Item, void> {
  const iterator = items[Symbol.asyncIterator]();
  let fail: (error: unknown) => void = () => {};
  let end: { error: unknown } | undefined;
  stop.catch((error) => {
    end = { error };
    fail(error);
  });
  for (;;) {
    if (end !== undefined) throw end.error;
    const next = Promise.withResolvers<IteratorResult<Item>>();
    fail = next.reject;
    iterator.next().then(next.resolve, next.reject);
    const { done, value } = await next.promise;
    if (done) return;
    yield value;
  }
}

/**
 * Tells how far it is, every second, where a person would otherwise see
 * nothing.
 */
export class Progress {
  /** Replies so far. */
  replies = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isShown = false;

  /** Starts to tell. */
  constructor() {
    if (!Deno.stderr.isTerminal() || Deno.stdout.isTerminal()) return;
    this.#timer = setInterval(() => {
      this.#isShown = true;
      printProgress(count(this.replies, "reply", "replies"));
    }, 1_000);
  }

  /** Removes what it has shown, for a line in its place. */
  clear(): void {
    if (this.#isShown) printProgress("");
    this.#isShown = false;
  }

  /** Tells no more. */
  stop(): void {
    clearInterval(this.#timer);
    this.clear();
  }
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
