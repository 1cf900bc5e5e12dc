/**
 * The length in front of a payload.
 *
 * @module
 */
import type { Framing } from "./options.ts";

/** Reads the length that begins at `offset`. */
export function readPrefix(
  bytes: Uint8Array,
  offset: number,
  framing: Framing,
): number {
  const { prefixBytes, littleEndian } = framing;
  let length = 0;
  for (let i = 0; i < prefixBytes; i++) {
    length = length * 256 +
      bytes[littleEndian ? offset + prefixBytes - 1 - i : offset + i];
  }
  return length;
}

/** Writes a length that begins at `offset`. */
export function writePrefix(
  bytes: Uint8Array,
  offset: number,
  length: number,
  framing: Framing,
): void {
  const { prefixBytes, littleEndian } = framing;
  for (let i = 0; i < prefixBytes; i++) {
    bytes[littleEndian ? offset + i : offset + prefixBytes - 1 - i] = length;
    length = Math.floor(length / 256);
  }
}
