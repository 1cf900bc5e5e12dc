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
import { Editor, type EnteredText } from "./editor.ts";
import type { ExchangeOptions } from "./exchange.ts";
import { Failure } from "./failure.ts";
import { control, print, printLine } from "./output.ts";
import { told } from "./waiting.ts";

const BRACKETED_PASTE = "\x1b[?2004";

/** Options of a {@linkcode prompt}. */
export interface PromptOptions extends ExchangeOptions {
  /** Where the server is, in words. */
  server: string;
  /** How many times each message is sent. */
  repeat: number;
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
  const conversation = new Conversation(client, options);
  const interrupted = Promise.withResolvers<number>();
  async function converse(): Promise<number> {
    const texts = textsOf(() => interrupted.resolve(130));
    for await (const { text, wasShown } of texts) {
      await control(wasShown ? "\n" : Editor.transcript(text));
      if (text.trim() !== "") await conversation.answer(text);
    }
    return 0;
  }
  Deno.stdin.setRaw(true);
  await control(`${BRACKETED_PASTE}h`);
  try {
    // The end of the input waits for a reply that is due, Ctrl-C does not.
    return await Promise.race([converse(), interrupted.promise]);
  } finally {
    // Gives the terminal back as it was, and leaves the line of the prompt.
    Deno.stdin.setRaw(false);
    await control(`${BRACKETED_PASTE}l\n`);
  }
}

/**
 * The texts that are entered at the terminal, which is read all the time. The
 * prompt is shown whenever the next one is wanted.
 */
function textsOf(interrupt: () => void): ReadableStream<EnteredText> {
  const editor = new Editor();
  let isOpen = true;
  return new ReadableStream<EnteredText>({
    start(controller) {
      function end(): void {
        if (isOpen) controller.close();
        isOpen = false;
      }
      async function read(): Promise<void> {
        const decoder = new TextDecoder();
        for await (const chunk of Deno.stdin.readable) {
          const input = decoder.decode(chunk, { stream: true });
          for (const event of editor.feed(input)) {
            if (event.type === "interrupt") interrupt();
            else if (event.type === "end") end();
            else if (isOpen) controller.enqueue(event);
          }
          await control(editor.refresh(columns()));
        }
      }
      read().then(end, end);
    },
    pull: () => control(editor.show(columns())),
  }, { highWaterMark: 0 });
}

function columns(): number {
  try {
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80;
  }
}

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
      await printLine('That is not JSON. Try {"message":"hi"}');
      return;
    }
    for (let i = 0; i < repeat; i++) {
      try {
        const reply = await this.#request(message);
        await print(`${format.text(reply)}\n`, format.paint);
      } catch (error) {
        if (isFinal(error)) throw error;
        // The next one may go better, over another connection if need be.
        await printLine(`Sorry, ${explain(error)}`);
        return;
      }
    }
  }

  async #request(message: JsonValue): Promise<JsonValue> {
    const { timeout, server } = this.#options;
    const connection = await told(this.#connected(timeout), server);
    // Servers close what is idle, and a person may think for long.
    if (this.#connection !== undefined && this.#connection !== connection) {
      await printLine("The connection was closed; connected again.");
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
        `still not connected after ${timeout} ms; nothing was sent`,
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
