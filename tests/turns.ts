/**
 * The event loop, as tests of one process see it: a busy machine makes nothing
 * wait longer.
 */

// Work gives way to others after some time, which here takes none: so what is
// under way is done when `turn` resolves, however slow the machine is.
const stopped = Date.now();
Date.now = () => stopped;

/** Resolves when all is done that waits for nothing. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
