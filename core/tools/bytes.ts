/**
 * Bytes in any of the shapes that the platform has for them.
 *
 * @module
 */
import { kindOf } from "./show.ts";

/** No bytes. */
export const EMPTY: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/**
 * The bytes of a buffer or a view, without a copy.
 *
 * @throws {TypeError} If the value is neither.
 */
export function toBytes(
  value: ArrayBuffer | ArrayBufferView<ArrayBuffer>,
): Uint8Array<ArrayBuffer>;
export function toBytes(value: unknown): Uint8Array;
export function toBytes(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (ArrayBuffer.isView(value)) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  throw new TypeError(
    `Cannot use bytes: received ${
      kindOf(value)
    }, expected an ArrayBuffer or a view of one`,
  );
}
