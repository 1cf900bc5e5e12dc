/**
 * Lines of a log, for a reader that may be slow, stalled or gone.
 *
 * @module
 */
import { fstatSync } from "node:fs";
import { compact, count, type Output, writeLine } from "./output.ts";

/** Lines that may wait for the reader. */
const MOST_WAITING = 2_000;
/** Milliseconds that the end waits for a reader that has stalled. */
const PATIENCE = 500;

/** Lines of text, of text behind the time, or of JSON. */
export type LogFormat = "text" | "timed" | "json";

/** A line as data. */
export interface LogRecord {
  readonly type: string;
  readonly [name: string]: unknown;
}

/** What takes the lines of a log. */
export interface LogSink {
  /** Prints a line, given as data and as text. */
  print(record: LogRecord, text: string): void;
}

/** Options of a {@linkcode LogOutput}. */
export interface LogOutputOptions {
  /** How lines are written. */
  format: LogFormat;
  /** Called when writing fails, and then not before it has succeeded again. */
  onError?(error: unknown): void;
}

/**
 * The format for stdout (1) or stderr (2): the time is left out on a terminal,
 * and for the journal of systemd, which adds it and is a socket.
 */
export function formatFor(fd: 1 | 2): LogFormat {
  const stream = fd === 1 ? Deno.stdout : Deno.stderr;
  const isTold = stream.isTerminal() || fstatSync(fd).isSocket();
  return isTold ? "text" : "timed";
}

/**
 * Writes lines in the background, one after the other: code that prints them
 * never waits. Where too many wait for the reader, lines are lost, and counted.
 */
export class LogOutput implements LogSink {
  readonly #stream: Output;
  readonly #options: LogOutputOptions;
  #writing = Promise.resolve();
  #waiting = 0;
  #lost = 0;
  #isFailing = false;
  #isGone = false;

  /** Makes an output to stdout or stderr, to which nothing else writes. */
  constructor(stream: Output, options: LogOutputOptions) {
    this.#stream = stream;
    this.#options = options;
  }

  /** Has a line written. */
  print(record: LogRecord, text: string): void {
    // A log that is not read any more is no reason to stop.
    if (this.#isGone) return;
    if (this.#lost > 0 || this.#waiting === MOST_WAITING) this.#lost++;
    else this.#queue(this.#line(record, text));
    if (this.#waiting === 0) this.#tellLost();
  }

  /** Resolves when everything is written, or the reader lets it wait. */
  async end(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, PATIENCE);
    await Promise.race([this.#writeAll(), promise]);
    clearTimeout(timer);
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting > 0) await this.#writing;
  }

  #line({ type, ...rest }: LogRecord, text: string): string {
    const time = new Date().toISOString();
    const { format } = this.#options;
    if (format === "json") return compact({ type, time, ...rest });
    return format === "timed" ? `${time} ${text}` : text;
  }

  #queue(line: string, lines = 1): void {
    this.#waiting++;
    this.#writing = this.#writing.then(() => this.#write(line, lines));
  }

  #tellLost(): void {
    const lines = this.#lost;
    this.#lost = 0;
    const text = `${count(lines, "line")} lost: the output did not take them`;
    this.#queue(this.#line({ type: "lost", lines }, text), lines);
  }

  /** Writes a line, which stands for so many. */
  async #write(line: string, lines: number): Promise<void> {
    try {
      await writeLine(this.#stream, line);
      this.#isFailing = false;
    } catch (error) {
      this.#lost += lines;
      this.#isGone = error instanceof Deno.errors.BrokenPipe;
      if (!this.#isGone && !this.#isFailing) this.#options.onError?.(error);
      this.#isFailing = true;
    }
    this.#waiting--;
    const mayTell = this.#waiting === 0 && !this.#isFailing;
    if (mayTell && this.#lost > 0) this.#tellLost();
  }
}
