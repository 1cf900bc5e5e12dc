/**
 * The client at a terminal: a message or a call in, a reply out.
 *
 * @module
 */
import { Writable } from "node:stream";
import { AuthenticationError, type Client, type JsonValue } from "../mod.ts";
import type { ExchangeOptions } from "./exchange.ts";
import { Failure, sentence } from "./failure.ts";
import { LineEditor, type LineEditorOptions } from "./line_editor.ts";
import { control, print, printError } from "./output.ts";

const BRACKETED_PASTE = "\x1b[?2004";

/** The terminal, as readline writes to it. */
class Screen extends Writable {
  get columns(): number {
    return Deno.consoleSize().columns || 80;
  }

  override _write(text: Uint8Array, _encoding: string, done: () => void): void {
    control(text);
    done();
  }
}

/** What a prompt does with what is entered. */
export interface Answering extends Omit<LineEditorOptions, "screen"> {
  /** What one may type, to begin with. */
  readonly hint: string;
  /** Ends the connection. */
  close(): Promise<void>;
}

/**
 * Asks for texts until the user has had enough; resolves to the exit code of the
 * program. Where a text has no answer, `explain` says why, in words.
 */
export async function prompt(
  { answer, close, ...others }: Answering,
  explain: (error: unknown) => string,
): Promise<number> {
  async function answerOrExplain(text: string): Promise<void> {
    try {
      await answer(text);
    } catch (error) {
      if (isFinal(error)) throw error;
      // The next one may go better, over another connection if need be.
      printError(sentence(explain(error)));
    }
  }
  Deno.stdin.setRaw(true);
  control(`${BRACKETED_PASTE}h`);
  try {
    const options = {
      ...others,
      answer: answerOrExplain,
      screen: new Screen(),
    };
    const editor = new LineEditor(options);
    const exitCode = await editor.run(Deno.stdin.readable);
    // A user who interrupts does not wait for what is still on its way.
    if (exitCode === 0) await close();
    return exitCode;
  } finally {
    // Leaves the line of the prompt, too.
    control(`${BRACKETED_PASTE}l\n`);
    Deno.stdin.setRaw(false);
  }
}

/** Whether the next text would fare no better. */
function isFinal(error: unknown): boolean {
  return error instanceof AuthenticationError && !error.mayRetry ||
    error instanceof Failure;
}

/** Sends each text as a message, and prints the reply. */
export function answerMessages(
  client: Client,
  { repeat, timeout, format }: ExchangeOptions,
): Answering {
  return {
    hint: 'messages are JSON, such as {"message":"hi"}',
    close: () => client.close(),
    async answer(text) {
      let message: JsonValue;
      try {
        message = JSON.parse(text);
      } catch {
        return printError('That is not JSON. Try {"message":"hi"}');
      }
      for (let i = 0; i < repeat; i++) {
        const reply = await client.request(message, { timeout });
        await print(`${format.text(reply)}\n`, format.paint);
      }
    },
  };
}
