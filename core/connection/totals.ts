/**
 * What several connections add up to.
 *
 * @module
 */
import type { ConnectionStats } from "./options.ts";

const NONE = {
  messagesReceived: 0,
  messagesSent: 0,
  bytesReceived: 0,
  bytesSent: 0,
  bytesQueued: 0,
};

/** Counts what went over connections, those that have ended included. */
export class Totals {
  readonly #ended = { ...NONE };

  /** Adds a connection that has ended. */
  add(stats: ConnectionStats): void {
    add(this.#ended, { ...stats, bytesQueued: 0 });
  }

  /** The totals with those connections that are open. */
  with(open: Iterable<{ stats(): ConnectionStats }>): ConnectionStats {
    const sums = { ...this.#ended };
    for (const connection of open) add(sums, connection.stats());
    return sums;
  }
}

function add(sums: typeof NONE, stats: ConnectionStats): void {
  for (const name in NONE) {
    const key = name as keyof typeof NONE;
    sums[key] += stats[key];
  }
}
