/**
 * What the adapters are given.
 *
 * @module
 */
import { Connection } from "../mod.ts";

/** Throws for what is no connection. */
export function checkConnection(value: Connection): void {
  if (value instanceof Connection) return;
  const received = value === null ? "null" : typeof value;
  throw new TypeError(
    `Cannot use argument "connection": received ${received}, expected a connection`,
  );
}
