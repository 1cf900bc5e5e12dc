/**
 * Keeps messages open on a number of connections, and measures how soon their
 * replies come.
 */
import { writeAll } from "@std/io/write-all";
import {
  type NumberedFrame,
  replyFrame,
  requestFrame,
  textsOf,
} from "./load_batch.ts";
import {
  failureOf,
  LoadConnection,
  LoadError,
  readFrame,
} from "./load_connection.ts";

/** How much is asked of a server. */
export interface LoadOptions {
  /** @default {"127.0.0.1"} */
  readonly hostname?: string;
  readonly port: number;
  /** Number of connections. */
  readonly connections: number;
  /** Messages that are open at a time on each. */
  readonly open: number;
  readonly seconds: number;
  /** What the texts are, see `textsOf`. */
  readonly payload: string;
  /**
   * Milliseconds without a byte after which the replies count as missing.
   *
   * @default {10_000}
   */
  readonly timeout?: number;
}

/**
 * What a server has done. Times are milliseconds, from sending a connection's
 * open messages to the last of their replies.
 */
export interface LoadResult {
  /** All messages whose replies were right. */
  readonly messages: number;
  readonly messagesPerSecond: number;
  /** Sent and received together. */
  readonly mebibytesPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  /** Messages of the connection that had the fewest; 1 is an equal share. */
  readonly leastShare: number;
  /** The first failure of every connection that had one. */
  readonly errors: LoadError[];
}

/** Puts load on a server. The first fifth of the time is not counted. */
export async function load(options: LoadOptions): Promise<LoadResult> {
  const { connections, open, seconds, timeout = 10_000 } = options;
  const address = { hostname: options.hostname ?? "127.0.0.1", ...options };
  const texts = textsOf(options.payload);
  if (texts === undefined) {
    throw new TypeError(`Cannot make a payload of "${options.payload}"`);
  }
  const requests = texts.map(requestFrame);
  const measure = new Measure();
  const all: LoadConnection[] = [];
  const watch = setInterval(() => {
    for (const connection of all) connection.giveUpIfStalled();
  }, timeout);
  try {
    const replies = await learnReplies(address, texts, requests, timeout);
    for (let i = 0; i < connections; i++) {
      const conn = await connectTo(address);
      all.push(new LoadConnection(conn, open, requests, replies));
    }
    const ended = all.map((connection) => measure.drive(connection, open));
    await measure.time(seconds, Promise.all(ended));
    const bytes = averageLength(requests, open) + averageLength(replies, open);
    return measure.result(bytes);
  } catch (error) {
    measure.errors.push(failureOf(error));
    return measure.result(0);
  } finally {
    clearInterval(watch);
    for (const connection of all) connection.close();
  }
}

async function connectTo(
  { hostname, port }: { hostname: string; port: number },
): Promise<Deno.Conn> {
  const conn = await Deno.connect({ hostname, port });
  conn.setNoDelay(true);
  return conn;
}

/**
 * Asks the server for a reply to each text, which tells how it writes its JSON.
 */
async function learnReplies(
  address: { hostname: string; port: number },
  texts: string[],
  requests: NumberedFrame[],
  timeout: number,
): Promise<NumberedFrame[]> {
  using conn = await connectTo(address);
  const timer = setTimeout(() => conn.close(), timeout);
  try {
    const replies = [];
    for (const [i, { bytes }] of requests.entries()) {
      await writeAll(conn, bytes);
      const received = await readFrame(conn);
      if (received.length === 0) {
        throw new LoadError("missing", "the first reply is missing");
      }
      const reply = replyFrame(texts[i], received);
      if (reply === undefined) {
        throw new LoadError("wrong", "the first reply is wrong");
      }
      replies.push(reply);
    }
    return replies;
  } catch (error) {
    if (!(error instanceof Deno.errors.Interrupted)) throw error;
    throw new LoadError("missing", "the first reply is missing");
  } finally {
    clearTimeout(timer);
  }
}

function averageLength(frames: NumberedFrame[], count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += frames[i % frames.length].bytes.length;
  return sum / count;
}

/** Counts what all connections do. */
class Measure {
  readonly errors: LoadError[] = [];
  #messages = 0;
  #messagesPerSecond = 0;
  #times: number[] = [];
  /** Exchanges of each connection. */
  #counts: number[] = [];
  #over = false;

  /** Keeps a connection busy until the time is over. Never rejects. */
  async drive(connection: LoadConnection, open: number): Promise<void> {
    const index = this.#counts.push(0) - 1;
    try {
      while (!this.#over) {
        const start = performance.now();
        await connection.exchange();
        this.#times.push(performance.now() - start);
        this.#messages += open;
        this.#counts[index]++;
      }
      await connection.end();
    } catch (error) {
      this.errors.push(failureOf(error));
    } finally {
      connection.close();
    }
  }

  /** Lets the time go by, or waits until the connections have all failed. */
  async time(seconds: number, ended: Promise<unknown>): Promise<void> {
    await sleep(200 * seconds, ended);
    this.#times = [];
    this.#counts.fill(0);
    const from = { messages: this.#messages, time: performance.now() };
    await sleep(800 * seconds, ended);
    this.#messagesPerSecond = (this.#messages - from.messages) * 1_000 /
      (performance.now() - from.time);
    this.#over = true;
    await ended;
  }

  result(bytesOfExchange: number): LoadResult {
    const times = Float64Array.from(this.#times).sort();
    const [p50, p99, p999] = [0.5, 0.99, 0.999].map((share) =>
      times[Math.floor((times.length - 1) * share)] ?? 0
    );
    const { length } = this.#counts;
    const least = this.#counts.reduce((a, b) => Math.min(a, b), Infinity);
    return {
      messages: this.#messages,
      messagesPerSecond: this.#messagesPerSecond,
      mebibytesPerSecond: this.#messagesPerSecond * bytesOfExchange / 2 ** 20,
      p50,
      p99,
      p999,
      leastShare: times.length > 0 ? least * length / times.length : 0,
      errors: this.errors,
    };
  }
}

async function sleep(
  milliseconds: number,
  ended: Promise<unknown>,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  await Promise.race([promise, ended]);
  clearTimeout(timer);
}
