/**
 * Timers that who starts one can stop.
 *
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";
import { onAbort } from "./abort.ts";

/**
 * Calls `late` after so many milliseconds, and never after `Infinity`. The
 * function that comes back prevents it. The process may end before, unless the
 * timer `keepsAlive`.
 */
export function startTimer(
  timeout: number,
  late: () => void,
  keepsAlive = true,
): () => void {
  if (timeout === Infinity) return () => {};
  const timer = setTimeout(late, timeout);
  if (!keepsAlive) timer.unref();
  return () => clearTimeout(timer);
}

/** The error for what has taken too long. */
export function timeoutError(message: string): DOMException {
  return new DOMException(message, "TimeoutError");
}

/**
 * Calls `giveUp` when `signal` is aborted, with its reason, or after `timeout`
 * milliseconds, with what `late` makes. The function that comes back prevents
 * both.
 */
export function onTimeout(
  timeout: number,
  signal: AbortSignal | undefined,
  late: () => unknown,
  giveUp: (reason: unknown) => void,
): () => void {
  const stopTimer = startTimer(timeout, () => giveUp(late()));
  const stopListening = onAbort(signal, giveUp);
  return () => {
    stopTimer();
    stopListening();
  };
}

/** Resolves after so many milliseconds, or as soon as `signal` is aborted. */
export async function pause(
  milliseconds: number,
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = onTimeout(
    milliseconds,
    signal,
    () => undefined,
    () => resolve(),
  );
  await promise;
  stop();
}
