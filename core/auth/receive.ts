/**
 * The messages of a login, as they come.
 *
 * @module
 */
import type { JsonValue } from "../framing/framing.ts";
import { abortable } from "../tools/abort.ts";
import { ConnectionClosedError, type Link } from "../connection/connection.ts";

/** The peer's next message; gives up when the signal is aborted. */
export async function receive<T>(
  link: Link<T>,
  signal: AbortSignal,
): Promise<JsonValue> {
  signal.throwIfAborted();
  const messages = link.iterate();
  try {
    const { done, value } = await abortable(messages.next(), signal);
    if (!done) return value as JsonValue;
  } finally {
    messages.return?.(); // others may read behind it
  }
  throw new ConnectionClosedError(
    "Cannot receive message: the connection is closed",
    { clean: true },
  );
}
