/**
 * Finding out that an answer is not waited for any more.
 *
 * @module
 */
import type { Link } from "../connection/connection.ts";

/** Most milliseconds in which nothing is sent while a stream is open. */
const MOST_QUIET = 20_000;
/**
 * Writing to a peer that is gone makes its system say so, and the next write
 * fails of it.
 */
const PROBES_AFTER_END = 2;

/** What the other end waits for. */
export interface Owed {
  /** Answers that are outstanding. */
  readonly size: number;
  /** Those that are streams. */
  readonly streams: number;
  /** Whether the peer has ended its side: to wait for the rest, or for good. */
  readonly isFlowing: boolean;
}

/**
 * Sends a notification now and then that says nothing: while a stream has
 * nothing else to send, so that its caller does not take it for dead, and where
 * only a write tells whether the peer is still there.
 */
export function stayAlive(link: Link, owed: Owed): void {
  const interval = Math.min(link.settings.idleTimeout / 3, MOST_QUIET);
  const ticker = link.settings.tickers.for(interval)!;
  const most = ticker.ticks(interval);
  let seen = 0;
  let ticks = 0;
  let probes = 0;
  const member = {
    tick() {
      const { messagesSent } = link.stats();
      ticks = messagesSent === seen && owed.streams > 0 ? ticks + 1 : 0;
      seen = messagesSent;
      const isEnded = owed.isFlowing && owed.size > 0 &&
        probes < PROBES_AFTER_END;
      if (isEnded) probes++;
      if (!isEnded && ticks < most) return;
      try {
        link.enqueue({ jsonrpc: "2.0", method: "$/alive" });
      } catch {
        // More than enough waits to be written, or it has ended.
      }
    },
  };
  ticker.add(member);
  link.closed.then(() => ticker.delete(member));
}
