/**
 * Writing to stdout and stderr. All that is printed goes through here, and
 * nothing that came from outside can end a line or be obeyed by a terminal.
 *
 * @module
 */
import { escape, escapeLines } from "../core/tools/escape.ts";

/** Thrown when stdout takes nothing. */
export class OutputError extends Error {}

/** Thrown when nobody reads stdout any more. */
export class OutputClosedError extends OutputError {}

/** How messages are printed. */
export interface Format {
  /** The text of a message. */
  text(message: unknown): string;
  /** Adds colours to texts, which are safe for a terminal already. */
  paint?(text: string): string;
}

type Output = Pick<typeof Deno.stdout, "write">;

const TEXT_ENCODER = new TextEncoder();
/** Larger and deeper messages are not indented, which makes them many times larger. */
const MOST_INDENTED = 16_384;
const MOST_INDENTED_DEPTH = 20;
/** Options of the library that have other names here. */
const OPTION_NAMES: Readonly<Record<string, string>> = {
  cert: "tls-cert",
  key: "tls-key",
  ca: "tls-ca",
  serverName: "tls-name",
  path: "unix",
  connectTimeout: "timeout",
};

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

/**
 * An error of the platform or of the library as a part of a sentence, with the
 * options that it names as they are given to a program.
 */
export function clause(error: unknown): string {
  if (error instanceof Deno.errors.ConnectionReset) return "reset by the peer";
  if (error instanceof Deno.errors.BrokenPipe) return "the peer is gone";
  const text = (error instanceof Error ? error.message : String(error))
    // With the call of the platform that failed.
    .replace(/ \(os error \d+\)(?:: \w+ '.*')?/s, "")
    .replace(/\boption "(\w+)"/g, (_, name) => `option "${flagOf(name)}"`)
    .replace(
      /\((timeout|\w+(?:Timeout|Bytes))\)$/,
      (_, name) => `(${flagOf(name)})`,
    );
  return /^[A-Z][a-z]/.test(text)
    ? text[0].toLowerCase() + text.slice(1)
    : text;
}

function flagOf(name: string): string {
  const words = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return `--${OPTION_NAMES[name] ?? words}`;
}

/** Whether an error is about an option, and so says all that there is to say. */
export function isOfOption(error: unknown): boolean {
  return (error instanceof TypeError || error instanceof RangeError) &&
    /^Cannot use option /.test(error.message);
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

/** Messages as they are. */
export const COMPACT: Format = { text: compact };

/** Messages for the eye. */
export const PRETTY: Format = { text: pretty, paint: color };

/** The same where colours are not wanted. */
export const PRETTY_PLAIN: Format = { text: pretty };

function pretty(message: unknown): string {
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

function color(json: string): string {
  return json.replace(JSON_TOKEN, (token, text?: string, colon?: string) => {
    if (text === undefined) return `\x1b[33m${token}\x1b[39m`;
    return `\x1b[${colon ? 34 : 32}m${text}\x1b[39m${colon}`;
  });
}
