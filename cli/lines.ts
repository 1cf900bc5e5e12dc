/**
 * JSON lines as messages.
 *
 * @module
 */
import { concat } from "@std/bytes/concat";
import { CONNECTION_DEFAULTS, type JsonValue } from "../mod.ts";
import { Failure } from "./failure.ts";

const LINE_FEED = 0x0a;
/** What is longer would not fit into a frame, or is no text with lines. */
const MOST_LINE_BYTES = CONNECTION_DEFAULTS.maxFrameBytes;
const TEXT_DECODER = new TextDecoder("utf-8", { fatal: true });

/**
 * The messages of JSON lines; blank lines are skipped. A line that is not JSON
 * ends them with a failure that has its number.
 */
export async function* parseLines(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<JsonValue, void> {
  let number = 0;
  for await (const line of linesOf(chunks)) {
    number++;
    const fail = (what: string) =>
      new Failure(`line ${number} of the input is ${what}`);
    if (line.length > MOST_LINE_BYTES && !isEnded(line)) {
      throw fail(`longer than ${MOST_LINE_BYTES} bytes`);
    }
    let text: string;
    try {
      text = TEXT_DECODER.decode(line);
    } catch {
      throw fail("not UTF-8");
    }
    if (text.trim() === "") continue;
    let message: JsonValue;
    try {
      message = JSON.parse(text);
    } catch {
      throw fail("not JSON");
    }
    yield message;
  }
}

/** Lines with their ends; one that is far too long is the last, and cut. */
async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (
      let end;
      (end = chunk.indexOf(LINE_FEED, start) + 1) > 0;
      start = end
    ) {
      const line = chunk.subarray(start, end);
      yield parts.length === 0 ? line : concat([...parts, line]);
      parts = [];
      bytes = 0;
    }
    parts.push(chunk.subarray(start));
    bytes += chunk.length - start;
    if (bytes > MOST_LINE_BYTES) break;
  }
  if (bytes > 0) yield concat(parts);
}

function isEnded(line: Uint8Array): boolean {
  return line.at(-1) === LINE_FEED;
}
