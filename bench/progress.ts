import { printError, printProgress } from "../cli/output.ts";

/**
 * Tells on stderr what is being measured: in one line on a terminal, in a line
 * for each step elsewhere.
 */
export class Progress {
  readonly #start = performance.now();
  readonly #isTerminal = Deno.stderr.isTerminal();

  /** Tells what comes now. */
  step(label: string): void {
    const seconds = Math.round((performance.now() - this.#start) / 1_000);
    const line = `${String(seconds).padStart(4)} s  ${label}`;
    if (this.#isTerminal) printProgress(line);
    else printError(line);
  }

  /** Removes the line from a terminal. */
  end(): void {
    if (this.#isTerminal) printProgress("");
  }
}
