/**
 * Many requests on one connection, without waiting for the replies before.
 *
 * @module
 */
import type { Connection, JsonValue } from "../mod.ts";
import { onAbort, startTimer } from "../core/tools/abort.ts";
import { type Format, print } from "./output.ts";
import { lateReply, Progress } from "./waiting.ts";

/**
 * Requests that may wait for their replies: enough to keep both sides busy, few
 * enough to keep memory constant.
 */
const WINDOW = 256;
/** Bytes that may wait to be written: 256 large requests would be too many. */
const MOST_QUEUED = 1_048_576;
/** Replies are waited for one after the other, so one timer is enough. */
const UNTIMED = { timeout: Infinity };
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
  const progress = new Progress();
  let settled = 0;
  let stopTimer = () => {};
  let text = "";
  try {
    const requests = sendAhead(connection, messages, () => settled++);
    for await (const { reply } of requests) {
      if (settled === progress.replies) {
        stopTimer = startTimer(
          timeout,
          () => connection.abort(lateReply(timeout)),
        );
      }
      text += `${format.text(await reply)}\n`;
      stopTimer();
      progress.replies++;
      if (settled > progress.replies && text.length < PRINT_RUN) continue;
      await print(text, format.paint);
      text = "";
    }
  } finally {
    stopTimer();
    progress.stop();
    await print(text, format.paint);
  }
}

/** A request that was sent. */
interface Sent {
  readonly reply: Promise<JsonValue>;
}

/**
 * Requests that are sent as far ahead of their replies as the window allows. An
 * error of the messages, or the end of the connection, comes as the last reply:
 * as one of the stream, it would drop the replies to those before.
 */
function sendAhead(
  connection: Connection,
  messages: AsyncIterable<JsonValue>,
  onSettled: () => void,
): ReadableStream<Sent> {
  const source = messages[Symbol.asyncIterator]();
  const { signal } = connection;
  let isOpen = true;
  function fail(
    controller: ReadableStreamDefaultController<Sent>,
    error: unknown,
  ): void {
    if (!isOpen) return;
    isOpen = false;
    const reply = Promise.reject(error);
    reply.catch(() => {});
    controller.enqueue({ reply });
    controller.close();
  }
  return new ReadableStream<Sent>({
    start(controller) {
      onAbort(signal, (reason) => fail(controller, reason));
    },
    async pull(controller) {
      try {
        const { done, value } = await source.next();
        if (!isOpen) return;
        if (done) {
          isOpen = false;
          return controller.close();
        }
        const reply = connection.request(value, UNTIMED);
        reply.then(onSettled, onSettled);
        controller.enqueue({ reply });
        if (connection.stats().bytesQueued > MOST_QUEUED) await reply;
      } catch (error) {
        fail(controller, error);
      }
    },
    cancel: () => void (isOpen = false),
  }, { highWaterMark: WINDOW });
}
