/**
 * What the client sends: arguments, and lines of stdin.
 *
 * @module
 */
import { concat } from "@std/bytes/concat";
import { CONNECTION_DEFAULTS, type JsonValue } from "../mod.ts";
import { clause, Failure, UsageError } from "./failure.ts";

/** The argument that stands for the lines of stdin. */
const STDIN = "-";
const LINE_FEED = 0x0a;
/** What is longer would not fit into a frame, or is no text with lines. */
const MOST_LINE_BYTES = CONNECTION_DEFAULTS.maxFrameBytes;
const TEXT_DECODER = new TextDecoder("utf-8", { fatal: true });

/** Messages, in the pieces in which they come. */
export type Messages = AsyncIterable<readonly JsonValue[]>;

/** The messages of a command line. */
export class Input {
  /** The arguments; `undefined` stands for the lines of stdin. */
  readonly #parts: readonly (JsonValue | undefined)[];
  /** Whether stdin is read. */
  readonly hasLines: boolean;

  /**
   * Parses the arguments; stdin is not read yet. It is never read from a
   * terminal where no user `mayType`.
   */
  constructor(operands: readonly string[], mayType: boolean) {
    const isRead = operands.length === 0 &&
      (mayType || !Deno.stdin.isTerminal());
    this.#parts = isRead ? [undefined] : operands.map(parseOperand);
    this.hasLines = this.#parts.includes(undefined);
  }

  /** The arguments that are messages themselves. */
  get given(): JsonValue[] {
    return this.#parts.filter((part) => part !== undefined);
  }

  /** All messages, or `missing` if there are no others. */
  async *messages(missing: readonly JsonValue[]): Messages {
    let isEmpty = true;
    for (const part of this.#parts) {
      const pieces = part === undefined ? parseLines(readStdin()) : [[part]];
      for await (const piece of pieces) {
        isEmpty &&= piece.length === 0;
        yield piece;
      }
    }
    if (isEmpty) yield missing;
  }
}

function parseOperand(text: string, index: number): JsonValue | undefined {
  if (text === STDIN) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(
      `message ${
        index + 1
      } is not JSON; quote it for your shell, as in '{"message":"hi"}'`,
    );
  }
}

async function* readStdin(): AsyncGenerator<Uint8Array, void> {
  try {
    yield* Deno.stdin.readable;
  } catch (error) {
    throw new Failure(`cannot read stdin: ${clause(error)}`);
  }
}

/**
 * The messages of JSON lines; blank lines are skipped. A line that is not JSON
 * ends them with a failure that has its number.
 */
async function* parseLines(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<JsonValue[], void> {
  let number = 0;
  for await (const block of wholeLines(chunks)) {
    if (block === undefined) {
      throw badLine(number + 1, `longer than ${MOST_LINE_BYTES} bytes`);
    }
    const messages: JsonValue[] = [];
    let fault: string | undefined;
    for (const line of decodeLines(block)) {
      number++;
      fault = faultOf(line, messages);
      if (fault !== undefined) break;
    }
    yield messages;
    if (fault !== undefined) throw badLine(number, fault);
  }
}

function badLine(number: number, fault: string): Failure {
  return new Failure(`line ${number} of the input is ${fault}`);
}

/** Adds the message of a line, or says what is wrong with the line. */
function faultOf(
  line: string | undefined,
  messages: JsonValue[],
): string | undefined {
  if (line === undefined) return "not UTF-8";
  if (line.trim() === "") return undefined;
  try {
    messages.push(JSON.parse(line));
  } catch {
    return "not JSON";
  }
}

/** Blocks of whole lines. A line that is too long ends them, as `undefined`. */
async function* wholeLines(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array | undefined, void> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(LINE_FEED) + 1;
    if (end > 0) {
      yield concat([...parts, chunk.subarray(0, end - 1)]);
      parts = [];
      bytes = 0;
    }
    parts.push(chunk.subarray(end));
    bytes += chunk.length - end;
    if (bytes > MOST_LINE_BYTES) return yield undefined;
  }
  if (bytes > 0) yield concat(parts);
}

/** The texts of lines; `undefined` for a line that is not UTF-8. */
function decodeLines(block: Uint8Array): (string | undefined)[] {
  const text = decode(block);
  if (text !== undefined) return text.split("\n");
  // Only one by one can they be told apart.
  const lines: (string | undefined)[] = [];
  for (let start = 0, end; start <= block.length; start = end + 1) {
    end = block.indexOf(LINE_FEED, start);
    if (end < 0) end = block.length;
    lines.push(decode(block.subarray(start, end)));
  }
  return lines;
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return TEXT_DECODER.decode(bytes);
  } catch {
    return undefined;
  }
}
