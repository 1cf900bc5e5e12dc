/**
 * Waiting that ends: by a signal, or after some time.
 *
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";

/**
 * Adding a listener to a signal takes the longer the more it has, so each signal
 * has one for all.
 */
const WAITING = new WeakMap<AbortSignal, Waiting>();

interface Waiting {
  readonly listeners: Set<(reason: unknown) => void>;
  /** Tells all of them. */
  abort(): void;
}

function waitingFor(signal: AbortSignal): Waiting {
  const listeners = new Set<(reason: unknown) => void>();
  function abort(): void {
    WAITING.delete(signal);
    for (const listener of listeners) listener(signal.reason);
  }
  signal.addEventListener("abort", abort, { once: true });
  const waiting = { listeners, abort };
  WAITING.set(signal, waiting);
  return waiting;
}

/**
 * Calls `listener` with the reason when `signal`, if there is one, is aborted, at
 * once if it is already; not any more after `over`, a signal of our own. The
 * function that comes back prevents it, too.
 */
export function onAbort(
  signal: AbortSignal | undefined,
  listener: (reason: unknown) => void,
  over?: AbortSignal,
): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) {
    listener(signal.reason);
    return () => {};
  }
  const { listeners, abort } = WAITING.get(signal) ?? waitingFor(signal);
  // One may wait twice.
  const own = (reason: unknown) => listener(reason);
  listeners.add(own);
  function stop(): void {
    listeners.delete(own);
    if (listeners.size > 0 || WAITING.get(signal!)?.abort !== abort) return;
    // A timeout's signal keeps the process alive while it has a listener.
    signal!.removeEventListener("abort", abort);
    WAITING.delete(signal!);
  }
  if (over !== undefined) onAbort(over, stop);
  return stop;
}

/**
 * Waits for a promise, but not beyond a signal. Of a promise that is given up,
 * has no effect any more, not even if it rejects.
 */
export async function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (signal === undefined) return await promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const stop = onAbort(signal, reject);
  try {
    return await Promise.race([aborted, promise]);
  } finally {
    stop();
  }
}

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
  signal: AbortSignal | undefined,
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
