/**
 * The client at a terminal: a line in, a reply out.
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import {
  type Connection,
  ConnectionClosedError,
  type JsonValue,
} from "../mod.ts";
import { lateReply, untilClosed } from "./exchange.ts";
import { clause, OutputClosedError, print } from "./output.ts";

/** Options of a {@linkcode prompt}. */
export interface PromptOptions {
  /** Milliseconds to wait for each reply. */
  timeout: number;
  /** How many times each message is sent. */
  repeat: number;
  /** The text that is printed for a reply. */
  format(reply: JsonValue): string;
}

/**
 * Asks for messages until the user has had enough; resolves to the exit code of
 * the program.
 */
export async function prompt(
  connection: Connection,
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
  async function converse(): Promise<number> {
    terminal.prompt();
    for await (const line of terminal) {
      if (line.trim() !== "") await answer(connection, line, options);
      if (!ended) terminal.prompt();
    }
    return 0;
  }
  try {
    return await Promise.race([
      converse(),
      interrupted.promise,
      untilClosed(connection),
    ]);
  } finally {
    // Gives the terminal back as it was, and leaves the line of the prompt.
    terminal.close();
    await print("\n");
  }
}

async function answer(
  connection: Connection,
  line: string,
  { timeout, repeat, format }: PromptOptions,
): Promise<void> {
  let message: JsonValue;
  try {
    message = JSON.parse(line);
  } catch {
    await print('That is not JSON. Try {"message":"hi"}\n');
    return;
  }
  for (let i = 0; i < repeat; i++) {
    try {
      const reply = await request(connection, message, timeout);
      await print(`${format(reply)}\n`);
    } catch (error) {
      if (error instanceof ConnectionClosedError) throw error;
      if (error instanceof OutputClosedError) throw error;
      // The connection outlives it, and the user may want to go on.
      await print(`Sorry, ${clause(error)}\n`);
      return;
    }
  }
}

async function request(
  connection: Connection,
  message: JsonValue,
  timeout: number,
): Promise<JsonValue> {
  if (timeout === Infinity) return await connection.request(message);
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(lateReply(timeout)), timeout);
  try {
    return await connection.request(message, { signal: patience.signal });
  } finally {
    clearTimeout(timer);
  }
}
