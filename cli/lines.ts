/**
 * JSON lines as messages.
 *
 * @module
 */
import { CONNECTION_DEFAULTS, type JsonValue } from "../mod.ts";
import { Failure } from "./program.ts";

const LINE_FEED = 0x0a;
/**
 * Longest line in bytes: what is longer would not fit into a frame, or is no
 * text with lines.
 */
const MOST_LINE_BYTES = CONNECTION_DEFAULTS.maxFrameBytes;
const TEXT_DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The messages of JSON lines; blank lines are skipped. A line that is not JSON
 * ends them with a failure that has its number.
 */
export async function* parseLines(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<JsonValue, void> {
  let number = 0;
  for await (const block of wholeLines(chunks)) {
    if (block.length > MOST_LINE_BYTES && !block.includes(LINE_FEED)) {
      throw new Failure(
        `line ${
          number + 1
        } of the input is longer than ${MOST_LINE_BYTES} bytes`,
      );
    }
    for (const line of decodeLines(block)) {
      number++;
      const text = number === 1 ? line?.replace(/^\uFEFF/, "") : line;
      if (text?.trim() === "") continue;
      yield parseLine(text, number);
    }
  }
}

/**
 * Blocks of bytes that end where lines end, the last one excepted. One that
 * ends inside a line that is too long is the last.
 */
async function* wholeLines(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(LINE_FEED) + 1;
    if (end > 0) {
      yield join([...parts, chunk.subarray(0, end)]);
      parts = [];
      bytes = 0;
    }
    if (end === chunk.length) continue;
    parts.push(chunk.subarray(end));
    bytes += chunk.length - end;
    if (bytes > MOST_LINE_BYTES) break;
  }
  if (bytes > 0) yield join(parts);
}

function join(parts: Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0];
  const joined = new Uint8Array(
    parts.reduce((bytes, part) => bytes + part.length, 0),
  );
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/**
 * The lines of a block: one call of the decoder for all, or one for each, so
 * that one that is not UTF-8 has a number.
 */
function decodeLines(block: Uint8Array): (string | undefined)[] {
  const whole = block.at(-1) === LINE_FEED ? block.subarray(0, -1) : block;
  try {
    return TEXT_DECODER.decode(whole).split("\n");
  } catch {
    const lines: (string | undefined)[] = [];
    for (let start = 0; start <= whole.length;) {
      const next = whole.indexOf(LINE_FEED, start);
      const end = next < 0 ? whole.length : next;
      lines.push(decodeLine(whole.subarray(start, end)));
      start = end + 1;
    }
    return lines;
  }
}

function decodeLine(line: Uint8Array): string | undefined {
  try {
    return TEXT_DECODER.decode(line);
  } catch {
    return undefined;
  }
}

function parseLine(line: string | undefined, number: number): JsonValue {
  if (line === undefined) {
    throw new Failure(`line ${number} of the input is not UTF-8`);
  }
  try {
    return JSON.parse(line);
  } catch {
    throw new Failure(`line ${number} of the input is not JSON`);
  }
}
