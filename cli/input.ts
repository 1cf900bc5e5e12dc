/**
 * What the client sends: arguments, and lines of stdin.
 *
 * @module
 */
import type { JsonValue } from "../mod.ts";
import { clause, Failure, UsageError } from "./failure.ts";
import { parseLines } from "./lines.ts";

/** The argument that stands for the lines of stdin. */
const STDIN = "-";
const NO_PARAMS =
  "parameters are an array or an object, as in '[1,2]' or '{\"a\":1}'";

/** Parameters by position or by name, or none. */
export type Params = object | undefined;

/** The messages of a command line. */
export class Input {
  /** The arguments; `undefined` stands for the lines of stdin. */
  readonly #operands: readonly (JsonValue | undefined)[];
  #hasLines = false;

  /** Parses the arguments; stdin is not read yet. */
  constructor(operands: readonly string[]) {
    this.#operands = operands.map(parseOperand);
  }

  /** Whether anything has come from stdin. */
  get hasLines(): boolean {
    return this.#hasLines;
  }

  /** Refuses arguments that are no parameters of a method. */
  requireParams(): void {
    for (const operand of this.#operands) {
      if (operand !== undefined && !isParams(operand)) {
        throw new UsageError(NO_PARAMS);
      }
    }
  }

  /**
   * The arguments, or without any the lines of stdin, or `missing` where that
   * is empty and no terminal.
   */
  async *messages(missing?: JsonValue): AsyncGenerator<JsonValue, void> {
    const isEmpty = this.#operands.length === 0;
    for (const operand of isEmpty ? [undefined] : this.#operands) {
      if (operand === undefined) yield* parseLines(this.#readStdin());
      else yield operand;
    }
    const isMissing = isEmpty && !this.#hasLines && !Deno.stdin.isTerminal();
    if (isMissing && missing !== undefined) yield missing;
  }

  /** The same where nobody is to type them: none, where stdin is a terminal. */
  async *piped(missing?: JsonValue): AsyncGenerator<JsonValue, void> {
    const isTyped = this.#operands.length === 0 && Deno.stdin.isTerminal();
    if (!isTyped) yield* this.messages(missing);
    else if (missing !== undefined) yield missing;
  }

  /** The same as parameters of calls: none, where stdin is empty. */
  async *params(): AsyncGenerator<Params, void> {
    for await (const message of this.piped(null)) {
      if (isParams(message)) yield message;
      else if (message === null && !this.#hasLines) yield undefined;
      else throw new Failure(NO_PARAMS);
    }
  }

  async *#readStdin(): AsyncGenerator<Uint8Array, void> {
    try {
      for await (const chunk of Deno.stdin.readable) {
        this.#hasLines = true;
        yield chunk;
      }
    } catch (error) {
      throw new Failure(`cannot read stdin: ${clause(error)}`);
    }
  }
}

function isParams(message: JsonValue): message is JsonValue & object {
  return typeof message === "object" && message !== null;
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
