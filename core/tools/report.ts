/**
 * Errors of what users wrote that nothing else takes: the only place where the
 * library prints.
 *
 * @module
 */
import { escape, escapeLines } from "./escape.ts";
import { Throttle } from "./throttle.ts";

/** Errors printed in one second; a peer may provoke many. */
const MOST_REPORTS = 5;
/** Most UTF-16 units that are printed of one error. */
const MOST_LENGTH = 4_096;
/** Causes that are printed of one error. */
const MOST_CAUSES = 4;

/** Prints errors, a few a second, and counts those that were left out. */
export class Reporter {
  readonly #print: (text: string) => void;
  readonly #throttle: Throttle;

  /** `now` gives milliseconds. */
  constructor(print: (text: string) => void, now: () => number) {
    this.#print = print;
    this.#throttle = new Throttle(MOST_REPORTS, now);
  }

  /** Prints an error, unless too many were printed in this second. */
  report(error: unknown): void {
    const omitted = this.#throttle.take();
    if (omitted !== undefined) {
      if (omitted > 0) this.#print(`${omitted} more errors were not printed`);
      this.#print(textOf(error));
    } else if (this.#throttle.omitted === 1) {
      // The next error may be long in coming, and this has to be known before.
      this.#print("More errors in this second are counted, and not printed");
    }
  }
}

/** An error with its causes, as `console.error` prints it, but escaped. */
function textOf(error: unknown): string {
  let text: string;
  try {
    text = describe(error, MOST_CAUSES);
  } catch {
    text = "an error that throws when it is looked at";
  }
  return text.length > MOST_LENGTH ? `${text.slice(0, MOST_LENGTH)}…` : text;
}

function describe(error: unknown, causes: number): string {
  if (!(error instanceof Error)) return `Uncaught ${escape(String(error))}`;
  const head = String(error);
  const { stack, cause } = error;
  // The stack repeats the message, whose line feeds must not look like lines
  // of ours.
  const frames = stack?.startsWith(head) ? stack.slice(head.length) : "";
  const text = escape(head) + escapeLines(frames);
  return cause === undefined || causes === 0
    ? text
    : `${text}\nCaused by: ${describe(cause, causes - 1)}`;
}

let reporter = new Reporter(
  (text) => console.error(text),
  () => performance.now(),
);

/**
 * Prints an error of a handler, a method or a hook that nothing else handles,
 * with `console.error`, escaped, and at most a few a second. It never throws.
 */
export function report(error: unknown): void {
  reporter.report(error);
}

/**
 * Has another reporter take what is reported, for a test. The function that is
 * returned ends that.
 */
export function useReporter(other: Reporter): () => void {
  const before = reporter;
  reporter = other;
  return () => void (reporter = before);
}

/**
 * Calls a hook that only listens. One that throws, or returns a promise that
 * rejects, is reported and ends nothing.
 */
export function callHook<Args extends unknown[]>(
  hook: ((...args: Args) => unknown) | undefined,
  ...args: Args
): void {
  if (hook !== undefined) guard(() => hook(...args), report);
}

/**
 * Runs what users wrote; what it throws, or its promise rejects with, is for
 * `failed`. Never throws where `failed` does not.
 */
export function guard(
  run: () => unknown,
  failed: (error: unknown) => void,
): void {
  try {
    const result = run();
    if (typeof result !== "object" || result === null) return;
    // A thenable that throws when it is looked at rejects, too.
    Promise.resolve(result).catch(failed);
  } catch (error) {
    failed(error);
  }
}
