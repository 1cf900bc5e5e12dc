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
import type { JsonValue } from "../framing/framing.ts";
import { report } from "../tools/report.ts";

/**
 * Handles a connection, which is closed when the function has returned or its
 * promise is settled. What it sends after that is refused.
 *
 * @typeParam T Type of the peer's messages. It is not checked at run time.
 * @typeParam I Type of `identity`: what `authenticate` returns for a peer.
 */
export type ConnectionHandler<T = JsonValue, I = unknown> = (
  connection: Connection<T, I>,
) => unknown;

/**
 * Calls the handler, and closes the connection when it is done. Never rejects:
 * what the peer breaks ends its connection alone, and any other error is
 * reported, too.
 */
export async function handle<T, I>(
  connection: Connection<T, I>,
  handler: ConnectionHandler<T, I>,
): Promise<void> {
  const link = linkOf(connection);
  try {
    await handler(connection);
    await link.close("the connection's handler has returned");
  } catch (cause) {
    if (!isFailureOf(link, cause)) report(cause);
    link.closeFor({ clean: false, cause });
  }
}
