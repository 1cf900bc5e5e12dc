/**
 * Many who wait for one signal.
 *
 * @module
 */

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
 * Calls `listener` with the reason when `signal` is aborted. The function that
 * comes back prevents it.
 */
export function whenAborted(
  signal: AbortSignal,
  listener: (reason: unknown) => void,
): () => void {
  const { listeners, abort } = WAITING.get(signal) ?? waitingFor(signal);
  // One may wait twice.
  const own = (reason: unknown) => listener(reason);
  listeners.add(own);
  return () => {
    listeners.delete(own);
    if (listeners.size > 0 || WAITING.get(signal)?.abort !== abort) return;
    // A timeout's signal keeps the process alive while it has a listener.
    signal.removeEventListener("abort", abort);
    WAITING.delete(signal);
  };
}
