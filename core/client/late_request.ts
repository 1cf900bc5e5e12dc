/**
 * Requests that have waited for a connection.
 *
 * @module
 */
import { onAbort } from "../tools/abort.ts";
import type { Connection, RequestOptions } from "../connection/connection.ts";
import { startTimer } from "../tools/timer.ts";

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
  const stopListening = onAbort(signal, (reason) => late.abort(reason));
  const stopTimer = startTimer(left, () => {
    late.abort(
      new DOMException(
        `Cannot receive reply: none came in ${timeout} ms (timeout)`,
        "TimeoutError",
      ),
    );
  });
  function stop(): void {
    stopListening();
    stopTimer();
  }
  const reply = connection.request(message, { signal: late.signal, timeout });
  reply.then(stop, stop);
  return reply;
}
