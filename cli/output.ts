/**
 * Writing to stdout and stderr. All that is printed goes through here, and
 * nothing that came from outside can end a line or be obeyed by a terminal.
 *
 * @module
 */
import { escape, escapeLines } from "../core/tools/escape.ts";
import { clause, OutputClosedError, OutputError } from "./failure.ts";

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
  await toStdout(paint(escapeLines(text)));
}

/** Writes one line to stdout, and resolves when it is taken. */
export async function printLine(line: string): Promise<void> {
  await toStdout(`${escape(line)}\n`);
}

/** Writes what moves the cursor of a terminal; nothing from outside is in it. */
export async function control(sequence: string): Promise<void> {
  if (sequence !== "") await toStdout(sequence);
}

async function toStdout(text: string): Promise<void> {
  try {
    await writeAll(Deno.stdout, text);
  } catch (cause) {
    const Kind = cause instanceof Deno.errors.BrokenPipe
      ? OutputClosedError
      : OutputError;
    throw new Kind(`cannot print: ${clause(cause)}`, { cause });
  }
}

/** Writes lines to a stream, and resolves when they are taken. */
export async function writeLines(
  stream: Output,
  lines: readonly string[],
): Promise<void> {
  await writeAll(stream, lines.map((line) => `${escape(line)}\n`).join(""));
}

async function writeAll(stream: Output, text: string): Promise<void> {
  let bytes = TEXT_ENCODER.encode(text);
  while (bytes.length > 0) bytes = bytes.subarray(await stream.write(bytes));
}

/** Writes a line to stderr at once. */
export function printError(line: string): void {
  toStderr(`${escape(line)}\n`);
}

/** Writes over the last line of a terminal. */
export function printProgress(line: string): void {
  toStderr(`\r\x1b[K${escape(line)}`);
}

function toStderr(text: string): void {
  let bytes = TEXT_ENCODER.encode(text);
  try {
    while (bytes.length > 0) {
      bytes = bytes.subarray(Deno.stderr.writeSync(bytes));
    }
  } catch {
    // There is no better place to tell it.
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
