/**
 * Requests that have waited for a connection.
 *
 * @module
 */
import type { Connection, RequestOptions } from "../connection/connection.ts";
import { onTimeout, timeoutError } from "../tools/timer.ts";

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
