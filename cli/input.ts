/**
 * What the client sends: arguments, and lines of stdin.
 *
 * @module
 */
import type { JsonValue } from "../mod.ts";
import { parseLines } from "./lines.ts";
import { clause } from "./output.ts";
import { Failure, UsageError } from "./program.ts";

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
    this.#operands = operands.map((text, index) =>
      text === STDIN ? undefined : parseOperand(text, index)
    );
  }

  /** Whether lines of stdin have come. */
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

  /** The arguments, or without any the lines of stdin. */
  async *messages(): AsyncGenerator<JsonValue, void> {
    for (const operand of this.#operands) {
      if (operand === undefined) yield* this.#lines(readStdin());
      else yield operand;
    }
    if (this.#operands.length === 0) yield* this.#lines(readStdin());
  }

  /** The same for a client that listens: nobody types them. */
  pushed(): AsyncGenerator<JsonValue, void> {
    const isTyped = this.#operands.length === 0 && Deno.stdin.isTerminal();
    return isTyped ? none() : this.messages();
  }

  /** The same, or `message` where stdin is empty and no terminal. */
  async *messagesOr(message: JsonValue): AsyncGenerator<JsonValue, void> {
    if (this.#operands.length > 0) return yield* this.messages();
    const chunks = readStdin();
    const first = await chunks.next();
    if (!first.done) yield* this.#lines(prepend(first.value, chunks));
    else if (!Deno.stdin.isTerminal()) yield message;
  }

  /** The same as parameters of calls: none, where stdin is empty. */
  async *params(): AsyncGenerator<Params, void> {
    const isTyped = this.#operands.length === 0 && Deno.stdin.isTerminal();
    const messages = isTyped ? [null] : this.messagesOr(null);
    for await (const message of messages) {
      if (isParams(message)) yield message;
      else if (message === null && !this.#hasLines) yield undefined;
      else throw new Failure(NO_PARAMS);
    }
  }

  async *#lines(
    chunks: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<JsonValue, void> {
    this.#hasLines = true;
    yield* parseLines(chunks);
  }
}

async function* none(): AsyncGenerator<never, void> {}

function isParams(message: JsonValue): message is JsonValue & object {
  return typeof message === "object" && message !== null;
}

function parseOperand(text: string, index: number): JsonValue {
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

async function* prepend<Item>(
  first: Item,
  rest: AsyncGenerator<Item, void>,
): AsyncGenerator<Item, void> {
  yield first;
  yield* rest;
}
