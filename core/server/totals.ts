/**
 * What has happened on a server.
 *
 * @module
 */
import { type Connection, Totals } from "../connection/connection.ts";
import type { ServerStats } from "./events.ts";

/** Counts what has happened on a server so far. */
export class ServerTotals extends Totals {
  /** Peers accepted. */
  accepted = 0;
  /** Peers rejected. */
  rejected = 0;
  /** How often accepting has failed. */
  failed = 0;

  /** The counts, those of the connections that are open included. */
  stats<T>(
    open: ReadonlySet<Connection<T>>,
    pending: number,
  ): ServerStats {
    const { accepted, rejected, failed } = this;
    return {
      connections: open.size,
      pending,
      accepted,
      rejected,
      failed,
      ...this.with(open),
    };
  }
}
