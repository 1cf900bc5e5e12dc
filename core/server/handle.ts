/**
 * Connections in the hands of a function.
 *
 * @module
 */
import {
  type Connection,
  isFailureOf,
  linkOf,
} from "../connection/connection.ts";
import { report } from "../tools/report.ts";

/**
 * Has a connection to itself. The connection is closed when the function has
 * returned, or the promise that it returns is settled: what it still has to send
 * is lost, unless it was awaited.
 *
 * @typeParam T What the messages of the peer are taken to be; nothing checks
 * it.
 */
export type ConnectionHandler<T> = (connection: Connection<T>) => unknown;

/**
 * Calls the handler, and closes the connection when it is done. Never rejects:
 * what the peer breaks ends its connection alone, and any other error is
 * reported, too.
 */
export async function handle<T>(
  connection: Connection<T>,
  handler: ConnectionHandler<T>,
): Promise<void> {
  const link = linkOf(connection);
  try {
    await handler(connection);
    await link.close("the handler of this connection is done");
  } catch (cause) {
    if (!isFailureOf(link, cause)) report(cause);
    link.closeFor({ clean: false, cause });
  }
}
