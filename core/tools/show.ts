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

/**
 * What a value is, and nothing of what it holds: an instance by the name of its
 * class, a boolean as it is.
 */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "boolean") return String(value);
  if (typeof value !== "object") return `a ${typeof value}`;
  try {
    if (Array.isArray(value)) return "an array";
    if (value instanceof Promise) return "a promise";
    return instance(value) ?? "an object";
  } catch {
    return "an object"; // a proxy may throw when it is looked at
  }
}

/** Such as `a Date`; nothing for what is plain, or of a class without a name. */
function instance(value: object): string | undefined {
  if (isPlain(value)) return undefined;
  const prototype = Object.getPrototypeOf(value);
  const { value: constructor } =
    Object.getOwnPropertyDescriptor(prototype, "constructor") ?? {};
  if (typeof constructor !== "function") return undefined;
  // A getter is no name: it is not called.
  const name = Object.getOwnPropertyDescriptor(constructor, "name")?.value;
  if (typeof name !== "string" || name === "") return undefined;
  const article = /^[aeio]/i.test(name) ? "an" : "a";
  return `${article} ${escape(name.slice(0, MOST_LENGTH))}`;
}

/** Whether an object is what `{}` makes, in whichever realm. */
export function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
