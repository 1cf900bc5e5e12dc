/**
 * The client at a terminal: a line in, a reply out.
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import {
  AuthenticationError,
  type Client,
  type Connection,
  type JsonValue,
} from "../mod.ts";
import { lateReply } from "./exchange.ts";
import { OutputError, print } from "./output.ts";
import { Failure } from "./program.ts";

/** Options of a {@linkcode prompt}. */
export interface PromptOptions {
  /** Milliseconds to wait for each reply. */
  timeout: number;
  /** How many times each message is sent. */
  repeat: number;
  /** The text that is printed for a reply. */
  format(reply: JsonValue): string;
  /** Why there is no reply, in words. */
  explain(error: unknown): string;
}

/**
 * Asks for messages until the user has had enough; resolves to the exit code of
 * the program.
 */
export async function prompt(
  client: Client,
  options: PromptOptions,
): Promise<number> {
  const terminal = createInterface({
    input: process.stdin,
    output: process.stdout,
    prompt: "> ",
  });
  // Not the end of the input: that would wait for a reply that is due.
  const interrupted = Promise.withResolvers<number>();
  terminal.on("SIGINT", () => interrupted.resolve(130));
  let ended = false;
  terminal.on("close", () => ended = true);
  const conversation = new Conversation(client, options);
  async function converse(): Promise<number> {
    terminal.prompt();
    for await (const line of terminal) {
      if (line.trim() !== "") await conversation.answer(line);
      if (!ended) terminal.prompt();
    }
    return 0;
  }
  try {
    return await Promise.race([converse(), interrupted.promise]);
  } finally {
    // Gives the terminal back as it was, and leaves the line of the prompt.
    terminal.close();
    await print("\n");
  }
}

/** Lines and replies, over one connection after another. */
class Conversation {
  readonly #client: Client;
  readonly #options: PromptOptions;
  #connection: Connection | undefined;

  constructor(client: Client, options: PromptOptions) {
    this.#client = client;
    this.#options = options;
  }

  async answer(line: string): Promise<void> {
    const { repeat, format, explain } = this.#options;
    let message: JsonValue;
    try {
      message = JSON.parse(line);
    } catch {
      await print('That is not JSON. Try {"message":"hi"}\n');
      return;
    }
    for (let i = 0; i < repeat; i++) {
      try {
        await print(`${format(await this.#request(message))}\n`);
      } catch (error) {
        if (isFinal(error)) throw error;
        // The next line may go better, over another connection if need be.
        await print(`Sorry, ${explain(error)}\n`);
        return;
      }
    }
  }

  async #request(message: JsonValue): Promise<JsonValue> {
    const { timeout } = this.#options;
    const patience = new AbortController();
    let late = stillNotConnected;
    const timer = timeout === Infinity
      ? undefined
      : setTimeout(() => patience.abort(late(timeout)), timeout);
    const { signal } = patience;
    try {
      const connection = await this.#client.connected({ signal });
      late = lateReply;
      // Servers close what is idle, and a person may think for long.
      if (this.#connection !== undefined && this.#connection !== connection) {
        await print("The connection was closed; connected again.\n");
      }
      this.#connection = connection;
      return await connection.request(message, { signal });
    } finally {
      clearTimeout(timer);
    }
  }
}

function stillNotConnected(timeout: number): DOMException {
  return new DOMException(
    `still not connected after ${timeout} ms; nothing was sent`,
    "TimeoutError",
  );
}

/** Whether the next line would go no better. */
function isFinal(error: unknown): boolean {
  return error instanceof AuthenticationError || error instanceof Failure ||
    error instanceof OutputError;
}
