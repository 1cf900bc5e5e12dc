/**
 * Values that were received, as errors show them.
 *
 * @module
 */
import { escape } from "./escape.ts";

/** Most UTF-16 units of a string that are shown. */
const MOST_LENGTH = 64;

/**
 * A primitive value as source would write it, such as `"9280"` or `null`; of
 * anything else what it is. Not for what may be a secret: see
 * {@linkcode kindOf}.
 */
export function show(value: unknown): string {
  switch (typeof value) {
    case "string": {
      const isLong = value.length > MOST_LENGTH;
      const text = JSON.stringify(isLong ? value.slice(0, MOST_LENGTH) : value);
      return escape(text) + (isLong ? "…" : "");
    }
    case "bigint":
      return `${value}n`;
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "boolean":
      return String(value);
    default:
      return kindOf(value);
  }
}

/** What a value is, and nothing of what it holds. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "an array";
  if (value instanceof Promise) return "a promise";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
