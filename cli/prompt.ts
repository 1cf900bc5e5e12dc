/**
 * The client at a terminal: a message in, a reply out.
 *
 * @module
 */
import {
  AuthenticationError,
  type Client,
  type Connection,
  type JsonValue,
} from "../mod.ts";
import type { ExchangeOptions } from "./exchange.ts";
import { Failure, sentence } from "./failure.ts";
import { LineEditor, type LineEditorOptions } from "./line_editor.ts";
import { control, print, printError } from "./output.ts";
import { told } from "./waiting.ts";

const BRACKETED_PASTE = "\x1b[?2004";

/** Options of a {@linkcode prompt}. */
export interface PromptOptions extends ExchangeOptions {
  /** Where the server is, in words. */
  server: string;
  /** Why there is no reply, in words. */
  explain(error: unknown): string;
}

/**
 * Asks for messages until the user has had enough; resolves to the exit code of
 * the program.
 */
export function prompt(
  client: Client,
  options: PromptOptions,
): Promise<number> {
  const conversation = new Conversation(client, options);
  return askAtTerminal({ answer: (text) => conversation.answer(text) });
}

/** Has the terminal hand over its keys while they are edited. */
async function askAtTerminal(
  options: Omit<LineEditorOptions, "screen">,
): Promise<number> {
  Deno.stdin.setRaw(true);
  control(`${BRACKETED_PASTE}h`);
  try {
    const editor = new LineEditor({ ...options, screen: SCREEN });
    return await editor.run(Deno.stdin.readable);
  } finally {
    // Leaves the line of the prompt, too.
    control(`${BRACKETED_PASTE}l\n`);
    Deno.stdin.setRaw(false);
  }
}

const SCREEN = {
  get columns(): number {
    return Deno.consoleSize().columns || 80;
  },
  write: control,
};
/** Messages and replies, over one connection after another. */
class Conversation {
  readonly #client: Client;
  readonly #options: PromptOptions;
  #connection: Connection | undefined;

  constructor(client: Client, options: PromptOptions) {
    this.#client = client;
    this.#options = options;
  }

  async answer(text: string): Promise<void> {
    const { repeat, format, explain } = this.#options;
    let message: JsonValue;
    try {
      message = JSON.parse(text);
    } catch {
      return printError('That is not JSON. Try {"message":"hi"}');
    }
    for (let i = 0; i < repeat; i++) {
      try {
        const reply = await this.#request(message);
        await print(`${format.text(reply)}\n`, format.paint);
      } catch (error) {
        if (isFinal(error)) throw error;
        // The next one may go better, over another connection if need be.
        return printError(sentence(explain(error)));
      }
    }
  }

  async #request(message: JsonValue): Promise<JsonValue> {
    const { timeout, server } = this.#options;
    const connection = await told(this.#connected(timeout), server);
    // Servers close what is idle, and a person may think for long.
    if (this.#connection !== undefined && this.#connection !== connection) {
      printError("The connection was closed; connected again.");
    }
    this.#connection = connection;
    return await connection.request(message, { timeout });
  }

  async #connected(timeout: number): Promise<Connection> {
    const signal = timeout === Infinity
      ? undefined
      : AbortSignal.timeout(timeout);
    try {
      return await this.#client.connected({ signal });
    } catch (error) {
      if (!signal?.aborted) throw error;
      throw new DOMException(
        `not connected after ${timeout} ms: nothing was sent`,
        "TimeoutError",
      );
    }
  }
}

/** Whether the next message would go no better. */
function isFinal(error: unknown): boolean {
  return error instanceof AuthenticationError && !error.mayRetry ||
    error instanceof Failure;
}
