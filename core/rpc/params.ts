/**
 * Parameters of calls, as they are sent.
 *
 * @module
 */
import { trimmed } from "./api.ts";
import { isPlain, show } from "../tools/show.ts";

/** Gives parameters as they are sent; throws for what are none. */
export function checkedParams(
  method: string,
  params: unknown,
): object | undefined {
  if (typeof method !== "string") {
    throw new TypeError(
      `Cannot call method: received ${show(method)}, expected its name`,
    );
  }
  if (params === undefined) return undefined;
  if (Array.isArray(params)) return trimmed(params);
  const carried = carriedOf(params);
  if (Array.isArray(carried) || isCarriedByName(carried)) return carried;
  throw new TypeError(
    `Cannot call "${method}": its parameters are ${
      show(params)
    }, expected an array or an object`,
  );
}

/** What JSON carries of parameters by name. */
function carriedOf(params: unknown): unknown {
  const { toJSON } = Object(params);
  return typeof toJSON === "function" ? toJSON.call(params, "params") : params;
}

/**
 * Whether JSON makes an object of that with all that it is: of a `Map`, of a
 * promise or of an error it would make `{}`, and of a `String` a text.
 */
function isCarriedByName(value: unknown): value is object {
  return typeof value === "object" && value !== null &&
    (isPlain(value) ||
      Object.keys(value).length > 0 && !(value instanceof String));
}
