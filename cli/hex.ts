/**
 * Frames as annotated hex dumps.
 *
 * @module
 */

const PREFIX_BYTES = 4;
const ROW_BYTES = 16;

/**
 * The bytes of one frame: its prefix with the number it stands for, then the
 * payload with its text beside, a row of bytes a line.
 */
export function dumpFrame(frame: Uint8Array): string[] {
  const prefix = frame.subarray(0, PREFIX_BYTES);
  const payload = frame.subarray(PREFIX_BYTES);
  const length = new DataView(prefix.buffer, prefix.byteOffset).getUint32(0);
  const rows = [row(prefix, `length: ${length} bytes`)];
  for (let offset = 0; offset < payload.length; offset += ROW_BYTES) {
    const bytes = payload.subarray(offset, offset + ROW_BYTES);
    rows.push(row(bytes, readable(bytes)));
  }
  return rows;
}

function row(bytes: Uint8Array, note: string): string {
  const hex = bytes.toHex().toUpperCase().match(/../g) ?? [];
  return `${hex.join(" ").padEnd(3 * ROW_BYTES)} ${note}`;
}

/**
 * One character a byte: a dot for what is not ASCII, or only part of a
 * character.
 */
function readable(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes).replace(/[^ -~]/g, ".");
}
