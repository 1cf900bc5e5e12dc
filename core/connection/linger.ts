/**
 * Closing without losing what the peer has not received yet: closing with bytes
 * unread would reset the connection, and take that along. So what a peer still
 * sends is thrown away, for a while.
 *
 * @module
 */
import { clearImmediate, setImmediate } from "node:timers";
import { READY_ROUNDS } from "../tools/schedule.ts";
import type { ByteDuplex } from "./duplex.ts";
import { startTimer } from "../tools/abort.ts";

/** Milliseconds that it takes at most, after a fault of the peer. */
export const LINGER_TIMEOUT = 2_000;
/** Milliseconds without a byte, where something is not answered. */
export const LINGER_QUIET = 250;
/** Bytes that are thrown away at most. */
const LINGER_BYTES = 16_777_216;
/** Space for bytes that are thrown away: one is enough for all. */
const WASTE = new Uint8Array(65_536);

/** How long a link lingers, and what has to be done before. */
interface Lingering {
  /** Ends the sending side, if that has not ended. */
  readonly endWriting: () => Promise<void>;
  /** A read that is pending has to come back first. */
  readonly pumped: Promise<void> | undefined;
  /** Resolves when the link is closed meanwhile. */
  readonly closed: Promise<unknown>;
  /** Milliseconds that it takes at most. */
  readonly most: number;
  /** Milliseconds without a byte, or a few rounds of the event loop. */
  readonly patience: number | "rounds";
}

/**
 * Ends the sending side, and throws away what is unread and what still comes,
 * until the peer has ended its side or is gone, is quiet, or time is over. Never
 * rejects.
 */
export async function linger(
  duplex: ByteDuplex,
  { endWriting, pumped, closed, most, patience }: Lingering,
): Promise<void> {
  if (duplex.closeWrite === undefined) return;
  let left = LINGER_BYTES;
  let stopWaiting = () => {};
  const { promise: over, resolve } = Promise.withResolvers<void>();
  async function discard(): Promise<void> {
    await endWriting();
    await pumped;
    while (left > 0) {
      stopWaiting = patience === "rounds"
        ? after(READY_ROUNDS, resolve)
        : startTimer(patience, resolve);
      left -= await duplex.read(WASTE) ?? Infinity;
      stopWaiting();
    }
  }
  const stopTimer = startTimer(most, resolve);
  // Where the peer is gone, nothing is left to be lost.
  discard().then(resolve, () => resolve());
  await Promise.race([over, closed]);
  left = 0;
  stopTimer();
  stopWaiting();
}

/** Calls back after so many rounds of the event loop. */
function after(rounds: number, over: () => void): () => void {
  let immediate = setImmediate(function next() {
    if (--rounds > 0) immediate = setImmediate(next);
    else over();
  });
  return () => clearImmediate(immediate);
}
