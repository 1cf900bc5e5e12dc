import * as untyped from "npm:deno-std@1.4.0/bytes/copy.js";

export const copy: (
  source: Uint8Array,
  target: Uint8Array,
  offset?: number,
) => number = untyped.copy;
