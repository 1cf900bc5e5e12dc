/**
 * Writing to stdout and stderr. All that is printed goes through here, and
 * nothing that came from outside can end a line or be obeyed by a terminal.
 *
 * @module
 */
import { escape, escapeLines } from "../core/tools/escape.ts";
import { clause, OutputClosedError, OutputError } from "./failure.ts";

/** Most lines of one kind in a second: a peer that floods fills no log. */
export const MOST_LINES = 20;

/** How messages are printed. */
export interface Format {
  /** The text of a message. */
  text(message: unknown): string;
  /** Adds colours to texts, which are safe for a terminal already. */
  paint(text: string): string;
}

/** Where lines are written. */
export type Output = Pick<typeof Deno.stdout, "write">;

const TEXT_ENCODER = new TextEncoder();
/** Larger and deeper messages are not indented, which makes them many times larger. */
const MOST_INDENTED = 16_384;
const MOST_INDENTED_DEPTH = 20;

/** Writes text of any number of lines to stdout; resolves when it is taken. */
export async function print(
  text: string,
  paint: (text: string) => string = String,
): Promise<void> {
  try {
    await write(Deno.stdout, paint(escapeLines(text)));
  } catch (cause) {
    const Kind = cause instanceof Deno.errors.BrokenPipe
      ? OutputClosedError
      : OutputError;
    throw new Kind(`cannot print: ${clause(cause)}`, { cause });
  }
}

/** Writes a line to a stream, and resolves when it is taken. */
export async function writeLine(stream: Output, line: string): Promise<void> {
  await write(stream, `${escape(line)}\n`);
}

async function write(stream: Output, text: string): Promise<void> {
  let bytes = TEXT_ENCODER.encode(text);
  while (bytes.length > 0) bytes = bytes.subarray(await stream.write(bytes));
}

/** Writes a line to stderr at once. */
export function printError(line: string): void {
  writeSync(Deno.stderr, `${escape(line)}\n`);
}

/** Writes over the last line of a terminal. */
export function printProgress(line: string): void {
  writeSync(Deno.stderr, `\r\x1b[K${escape(line)}`);
}

/** Writes what moves the cursor of a terminal; nothing from outside is in it. */
export function control(sequence: string | Uint8Array): void {
  writeSync(Deno.stdout, sequence);
}

function writeSync(
  stream: Pick<typeof Deno.stdout, "writeSync">,
  text: string | Uint8Array,
): void {
  let bytes = typeof text === "string" ? TEXT_ENCODER.encode(text) : text;
  try {
    while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
  } catch {
    // There is nowhere else to report it.
  }
}

/** A number with its noun. */
export function count(
  number: number,
  noun: string,
  plural = `${noun}s`,
): string {
  return `${number} ${number === 1 ? noun : plural}`;
}

/** A line that says how many of its kind were left out before it. */
export function withOthers(text: string, others: number): string {
  return others === 0
    ? text
    : `${text}; ${count(others, "other")} since the last line`;
}

/** A message as one line. */
export function compact(message: unknown): string {
  return JSON.stringify(message);
}

/** A message for the eye, in several lines unless it is large or deep. */
export function pretty(message: unknown): string {
  const text = compact(message);
  return text.length > MOST_INDENTED ||
      isDeeper(message, MOST_INDENTED_DEPTH)
    ? text
    : JSON.stringify(message, null, 2);
}

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return depth === 0 ||
    Object.values(value).some((item) => isDeeper(item, depth - 1));
}

const JSON_TOKEN = /("[^"\\]*(?:\\.[^"\\]*)*")(:?)|\b[a-z]+\b|-?\d[\d.eE+-]*/g;

/** Adds colours to JSON. */
export function color(json: string): string {
  return json.replace(JSON_TOKEN, (token, text?: string, colon?: string) => {
    if (text === undefined) return `\x1b[33m${token}\x1b[39m`;
    return `\x1b[${colon ? 34 : 32}m${text}\x1b[39m${colon}`;
  });
}
