/**
 * UTF-8 to text.
 *
 * @module
 */

/** UTF-16 units that a string of the engine can have (V8, 64 bits). */
export const MOST_UNITS = 536_870_888;

// A byte order mark stays in the text, where JSON.parse rejects it.
const OPTIONS = { ignoreBOM: true };
const DECODER = new TextDecoder("utf-8", OPTIONS);
const FATAL_DECODER = new TextDecoder("utf-8", { ...OPTIONS, fatal: true });
/** Bytes that are decoded together where there are very many. */
const PIECE_BYTES = 16_777_216;

/**
 * Decodes UTF-8. A fatal decoder costs three times as much, so it is asked only
 * where the text may be patched up.
 *
 * @throws {TypeError} If the bytes are not UTF-8.
 * @throws {RangeError} If the text is longer than a string can be.
 */
export function decodeUtf8(bytes: Uint8Array): string {
  if (bytes.length > MOST_UNITS) return decodeLong(bytes);
  const text = DECODER.decode(bytes);
  return text.includes("\uFFFD") ? FATAL_DECODER.decode(bytes) : text;
}

/**
 * The same for more bytes than the engine takes at once, of which the text may
 * have fewer units.
 */
function decodeLong(bytes: Uint8Array): string {
  const decoder = new TextDecoder("utf-8", { ...OPTIONS, fatal: true });
  let text = "";
  for (let offset = 0; offset < bytes.length; offset += PIECE_BYTES) {
    const piece = bytes.subarray(offset, offset + PIECE_BYTES);
    text += decoder.decode(piece, { stream: true });
  }
  return text + decoder.decode();
}
