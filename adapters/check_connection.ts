/**
 * What the adapters are given.
 *
 * @module
 */
import type { Connection } from "../mod.ts";

/** Throws for what is no connection. */
export function checkConnection(value: Connection): void {
  if (typeof value?.send === "function" && Symbol.asyncIterator in value) {
    return;
  }
  const received = value === null ? "null" : typeof value;
  throw new TypeError(
    `Cannot use argument "connection": received ${received}, expected a connection`,
  );
}
