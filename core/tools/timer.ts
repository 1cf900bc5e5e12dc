/**
 * Timers that who starts one can stop.
 *
 * @module
 */

/**
 * Calls `late` after so many milliseconds, and never after `Infinity`. The
 * function that comes back prevents it.
 */
export function startTimer(timeout: number, late: () => void): () => void {
  if (timeout === Infinity) return () => {};
  const timer = setTimeout(late, timeout);
  return () => clearTimeout(timer);
}
