/**
 * Writing to stdout and stderr.
 *
 * @module
 */

/** Thrown when stdout takes nothing. */
export class OutputError extends Error {}

/** Thrown when nobody reads stdout any more. */
export class OutputClosedError extends OutputError {}

const TEXT_ENCODER = new TextEncoder();

/** Writes text to stdout, and resolves when it is taken. */
export async function print(text: string): Promise<void> {
  try {
    await writeAll(Deno.stdout, text);
  } catch (cause) {
    const Kind = cause instanceof Deno.errors.BrokenPipe
      ? OutputClosedError
      : OutputError;
    throw new Kind(`cannot print: ${clause(cause)}`, { cause });
  }
}

/** Writes text to a stream, and resolves when it is taken. */
export async function writeAll(
  stream: Pick<typeof Deno.stdout, "write">,
  text: string,
): Promise<void> {
  let bytes = TEXT_ENCODER.encode(text);
  while (bytes.length > 0) bytes = bytes.subarray(await stream.write(bytes));
}

/** Writes a line to stderr at once. */
export function printError(line: string): void {
  printErrorText(`${line}\n`);
}

/** Writes text that is no line, or not yet, to stderr at once. */
export function printErrorText(text: string): void {
  let bytes = TEXT_ENCODER.encode(text);
  try {
    while (bytes.length > 0) {
      bytes = bytes.subarray(Deno.stderr.writeSync(bytes));
    }
  } catch {
    // There is no better place to tell it.
  }
}

/** An error of the platform or of the library as a part of a sentence. */
export function clause(error: unknown): string {
  if (error instanceof Deno.errors.ConnectionReset) return "reset by the peer";
  if (error instanceof Deno.errors.BrokenPipe) return "the peer is gone";
  const text = (error instanceof Error ? error.message : String(error))
    .replace(/ \(os error \d+\)$/, "");
  return /^[A-Z][a-z]/.test(text)
    ? text[0].toLowerCase() + text.slice(1)
    : text;
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
  return escapeControls(JSON.stringify(message));
}

/** A message for the eye. */
export function pretty(message: unknown, colored: boolean): string {
  const text = escapeControls(JSON.stringify(message, null, 2));
  return colored ? color(text) : text;
}

/**
 * JSON allows control characters behind the ASCII range, and a terminal may
 * obey them.
 */
function escapeControls(json: string): string {
  return json.replace(
    /[\x7f-\x9f]/g,
    (control) => `\\u00${control.charCodeAt(0).toString(16)}`,
  );
}

const JSON_TOKEN = /("[^"\\]*(?:\\.[^"\\]*)*")(:?)|\b[a-z]+\b|-?\d[\d.eE+-]*/g;

function color(json: string): string {
  return json.replace(JSON_TOKEN, (token, text?: string, colon?: string) => {
    if (text === undefined) return `\x1b[33m${token}\x1b[39m`;
    return `\x1b[${colon ? 34 : 32}m${text}\x1b[39m${colon}`;
  });
}
