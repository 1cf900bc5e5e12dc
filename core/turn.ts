/**
 * Giving others their turn.
 *
 * @module
 */
import { setImmediate, setTimeout } from "node:timers";

/**
 * The platform looks for I/O when nothing else is left to do, or at every 61st
 * turn of the event loop: where one connection always has something to do,
 * others would wait for that. So everybody rests at least this often, in
 * milliseconds.
 */
const REST_INTERVAL = 25;

let restedAt = 0;
let rest: Promise<void> | undefined;

/** Resolves when others have had their turn. */
export function nextTurn(): Promise<void> {
  if (performance.now() - restedAt < REST_INTERVAL) {
    return new Promise((resolve) => void setImmediate(resolve));
  }
  return rest ??= new Promise((resolve) => {
    setTimeout(() => {
      restedAt = performance.now();
      rest = undefined;
      resolve();
    }, 0);
  });
}
