/**
 * Addresses as text.
 *
 * @module
 */
import { escape } from "./escape.ts";

/** An address as a person writes it, on one line: `localhost:8080`, a path. */
export function addressText(
  address: { hostname: string; port: number } | { path: string },
): string {
  if ("path" in address) return escape(address.path);
  const { hostname, port } = address;
  const isBare = hostname.includes(":") && !hostname.startsWith("[");
  return escape(`${isBare ? `[${hostname}]` : hostname}:${port}`);
}

/**
 * Puts an endpoint into the message of an error that was made for opening it:
 * the platform's say neither what failed nor where. Class, code and cause stay.
 */
export function nameEndpoint(
  error: unknown,
  action: "connect to" | "listen on",
  endpoint: string,
): void {
  if (!(error instanceof Error)) return;
  const { message, stack } = error;
  if (
    message.startsWith(`Cannot ${action} `) ||
    message.startsWith("Cannot ") && message.includes(endpoint)
  ) return;
  const [, failed, reason] =
    /^(Cannot (?:connect|secure the connection|authenticate)): ([^]*)$/
      .exec(message) ?? [];
  const named = failed === undefined
    ? `Cannot ${action} ${endpoint}: ${clauseOf(message)}`
    : `${failed} to ${endpoint}: ${reason}`;
  try {
    error.message = named;
    // The engine has put the message there, too.
    if (stack !== undefined) error.stack = stack.replace(message, () => named);
  } catch {
    // An error of others may be read-only.
  }
}

/** A message of the platform as the part of a sentence. */
export function clauseOf(message: string): string {
  const text = message.replace(/ \(os error \d+\)/, "");
  return /^[A-Z][a-z]/.test(text)
    ? text[0].toLowerCase() + text.slice(1)
    : text;
}
