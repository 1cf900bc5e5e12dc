/**
 * Many requests on one connection, without waiting for the replies before.
 *
 * @module
 */
import type { Connection, JsonValue } from "../mod.ts";
import { abortable, startTimer } from "../core/tools/abort.ts";
import type { Messages } from "./input.ts";
import { type Format, print } from "./output.ts";
import { lateReply, Progress } from "./waiting.ts";

/**
 * Requests that may wait for their replies: enough to keep both sides busy, few
 * enough to keep memory constant.
 */
const WINDOW = 256;
/** Requests that are made together. */
const BATCH = 64;
/** Bytes that may wait to be written: as many large requests would be too many. */
const MOST_QUEUED = 1_048_576;
/** Characters of replies that are printed together. */
const PRINT_RUN = 65_536;
/** Replies are waited for one after the other, so one timer is enough. */
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

async function* batchesOf(
  messages: Messages,
  repeat: number,
): AsyncGenerator<JsonValue[], void> {
  for await (const piece of messages) {
    let batch: JsonValue[] = [];
    for (const message of repeated(piece, repeat)) {
      if (batch.push(message) < BATCH) continue;
      yield batch;
      batch = [];
    }
    if (batch.length > 0) yield batch;
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
  { repeat, timeout, format }: ExchangeOptions,
): Promise<void> {
  const progress = new Progress();
  let settled = 0;
  let text = "";
  let stopTimer = () => {};

  async function flush(): Promise<void> {
    const taken = text;
    text = "";
    await print(taken, format.paint);
  }

  try {
    const batches = batchesOf(messages, repeat);
    const requests = sendAhead(connection, batches, () => settled++);
    for await (const replies of requests) {
      for (const reply of replies) {
        if (settled === progress.replies) {
          await flush();
          stopTimer = startTimer(
            timeout,
            () => connection.abort(lateReply(timeout)),
          );
        }
        const message = await reply;
        stopTimer();
        text += `${format.text(message)}\n`;
        progress.replies++;
        if (text.length > PRINT_RUN) await flush();
      }
      if (settled === progress.replies) await flush();
    }
  } finally {
    stopTimer();
    progress.stop();
    await flush();
  }
}

/**
 * Requests that are sent as far ahead of their replies as the window allows. An
 * error of the messages, or the end of the connection, comes as the last reply:
 * as one of the stream, it would drop the replies to those before.
 */
function sendAhead(
  connection: Connection,
  messages: AsyncIterator<JsonValue[]>,
  onSettled: () => void,
): ReadableStream<Promise<JsonValue>[]> {
  return new ReadableStream({
    async pull(controller) {
      const replies: Promise<JsonValue>[] = [];
      try {
        const { signal } = connection;
        const { done, value } = await abortable(messages.next(), signal);
        if (done) return controller.close();
        for (const message of value) {
          const reply = connection.request(message, UNTIMED);
          const isSettled = reply.then(onSettled, onSettled);
          replies.push(reply);
          if (connection.stats().bytesQueued > MOST_QUEUED) await isSettled;
        }
        controller.enqueue(replies);
      } catch (error) {
        const last = Promise.reject(error);
        last.catch(() => {});
        controller.enqueue([...replies, last]);
        controller.close();
      }
    },
  }, { highWaterMark: WINDOW, size: (replies) => replies.length });
}
