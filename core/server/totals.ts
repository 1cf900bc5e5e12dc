/**
 * What the connections of a server add up to.
 *
 * @module
 */
import type { Connection, ConnectionStats } from "../connection/connection.ts";
import type { ServerStats } from "./events.ts";

const SUMMED = [
  "messagesReceived",
  "messagesSent",
  "bytesReceived",
  "bytesSent",
  "bytesQueued",
] as const;

type Sums = Record<typeof SUMMED[number], number>;

function add(sums: Sums, stats: ConnectionStats): void {
  for (const name of SUMMED) sums[name] += stats[name];
}

/** What has happened on a server so far. */
export class Totals {
  /** Peers accepted. */
  accepted = 0;
  /** Peers rejected. */
  rejected = 0;
  /** How often accepting has failed. */
  failed = 0;
  readonly #ended: Sums = {
    messagesReceived: 0,
    messagesSent: 0,
    bytesReceived: 0,
    bytesSent: 0,
    bytesQueued: 0,
  };

  /** Adds what went over a connection that has ended. */
  add(stats: ConnectionStats): void {
    add(this.#ended, { ...stats, bytesQueued: 0 });
  }

  /** The totals, those of the connections that are open included. */
  with<T>(
    connections: ReadonlySet<Connection<T>>,
    pending: number,
  ): ServerStats {
    const { accepted, rejected, failed } = this;
    const sums = { ...this.#ended };
    for (const connection of connections) add(sums, connection.stats());
    return {
      connections: connections.size,
      ...{ pending, accepted, rejected, failed },
      ...sums,
    };
  }
}
