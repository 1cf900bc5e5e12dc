/**
 * Closing without losing what the peer has not received yet: closing with bytes
 * unread would reset the connection, and take that along. So what a peer still
 * sends is thrown away, for a while.
 *
 * @module
 */
import type { Reader } from "@std/io/types";
import { clearImmediate, setImmediate } from "node:timers";
import { READY_ROUNDS } from "../tools/schedule.ts";
import { startTimer } from "../tools/timer.ts";

/** Milliseconds that it takes at most, after a fault of the peer. */
export const LINGER_TIMEOUT = 2_000;
/** Milliseconds without a byte, where something is not answered. */
export const LINGER_QUIET = 250;
/** Bytes that are thrown away at most. */
const LINGER_BYTES = 16_777_216;
/** Where it goes: nobody looks at it, so one is enough for all. */
const WASTE = new Uint8Array(65_536);

/**
 * Throws away what comes until the peer has ended its side or is gone, or
 * nothing comes for so many milliseconds, or for a few rounds of the
 * event loop. Never rejects.
 */
export async function discard(
  reader: Reader,
  patience: number | "rounds",
): Promise<void> {
  let left = LINGER_BYTES;
  try {
    while (left > 0) {
      const count = await readWithin(reader.read(WASTE), patience);
      if (count === null) break;
      left -= count;
    }
  } catch {
    // The peer is gone, and nothing is left to be lost.
  }
}

/** What a read gives before so many milliseconds or rounds are over, or `null`. */
async function readWithin(
  read: Promise<number | null>,
  patience: number | "rounds",
): Promise<number | null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  const stopTimer = patience === "rounds"
    ? after(READY_ROUNDS, () => resolve(null))
    : startTimer(patience, () => resolve(null));
  try {
    return await Promise.race([read, promise]);
  } finally {
    stopTimer();
  }
}

/** Calls back after so many rounds of the event loop. */
function after(rounds: number, over: () => void): () => void {
  let immediate = setImmediate(function next() {
    if (--rounds > 0) immediate = setImmediate(next);
    else over();
  });
  return () => clearImmediate(immediate);
}
