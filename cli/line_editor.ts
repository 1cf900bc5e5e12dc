/**
 * Texts that are typed at a terminal, one after the other.
 *
 * `node:readline` edits the line. It is handed a paste as one insertion, as key by key
 * it would take seconds, and it is handed nothing while a text is being answered.
 *
 * @module
 */
import { createInterface, type Interface } from "node:readline";
import { Readable, type Writable } from "node:stream";
import { escape } from "../core/tools/escape.ts";

const PROMPT = "> ";
const CONTINUATION = "  ";
const MOST_HISTORY = 100;
const CTRL_C = "\x03";
const ESCAPE = "\x1b";
const PASTE = `${ESCAPE}\\[200~`;
const PASTE_END = `${ESCAPE}\\[201~`;
/** A paste, a run of text, an escape sequence, or one control character. */
const KEY = new RegExp(
  `${PASTE}([^]*?)${PASTE_END}|(\\P{Cc}+)|${ESCAPE}(?:\\[[\\d;?]*[@-~]|O.|[^[O])|[^]`,
  "uy",
);
/** An escape sequence or a paste of which more is to come. */
const UNFINISHED = new RegExp(
  `^${ESCAPE}(?:\\[[\\d;?]*|O|${PASTE.slice(1)}(?![^]*${PASTE_END})[^]*)?$`,
);

/** Options of a {@linkcode LineEditor}. */
export interface LineEditorOptions {
  /** The terminal, with its number of columns. */
  readonly screen: Writable & { readonly columns?: number };
  /** Takes a text; the next is asked for when it is done. */
  answer(text: string): Promise<void>;
  /** Gives up the answer at Ctrl-C, and says whether that was all to be done. */
  interrupt?(): boolean;
  /** Words that a line may go on with: those that are left, and the last word. */
  complete?(line: string): [words: string[], last: string];
}

/** Asks for texts until the user ends it. */
export class LineEditor {
  readonly #options: LineEditorOptions;
  readonly #keyboard = new Readable({ read() {} });
  readonly #readline: Interface;
  readonly #end = Promise.withResolvers<number>();
  #input = "";
  #hasEnded = false;
  #isBusy = false;
  /** The lines of a text whose brackets are open. */
  #lines: string[] = [];
  #depth = 0;

  /** Shows the prompt. */
  constructor(options: LineEditorOptions) {
    const { screen, complete } = this.#options = options;
    this.#readline = createInterface({
      input: this.#keyboard,
      output: screen,
      terminal: true,
      historySize: MOST_HISTORY,
      removeHistoryDuplicates: true,
      completer: complete,
    });
    this.#readline
      .on("line", (line: string) => this.#take(line))
      .on("history", (history: string[]) => this.#join(history))
      .on("SIGINT", () => this.#end.resolve(130))
      .on("close", () => this.#end.resolve(0))
      // Otherwise it would ask for the permission to stop the process.
      .on("SIGTSTP", () => {});
    this.#ask(PROMPT);
  }

  /**
   * Takes what is typed. Resolves to the exit code of the program: at Ctrl-C at
   * once, at Ctrl-D or the end of `keys` when all before is answered. Rejects
   * where an answer does.
   */
  run(keys: AsyncIterable<Uint8Array>): Promise<number> {
    this.#read(keys).catch(() => {}).then(() => {
      this.#hasEnded = true;
      this.#pump();
    });
    return this.#end.promise;
  }

  async #read(keys: AsyncIterable<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of keys) {
      let text = decoder.decode(chunk, { stream: true });
      if (this.#isBusy && text.includes(CTRL_C)) {
        if (!this.#options.interrupt?.()) this.#end.resolve(130);
        text = text.replaceAll(CTRL_C, "");
      }
      this.#input += text;
      this.#pump();
    }
  }

  /** Hands on what was typed, up to the end of a text. */
  #pump(): void {
    while (!this.#isBusy && !UNFINISHED.test(this.#input)) {
      KEY.lastIndex = 0;
      const match = KEY.exec(this.#input);
      if (match === null) break;
      const [key, paste, run] = match;
      this.#input = this.#input.slice(key.length);
      const text = paste?.replaceAll(/[\t\r\n]+/g, " ") ?? run;
      if (text === undefined) this.#keyboard.emit("data", key);
      // To JSON, an escaped character is the same.
      else if (text !== "") this.#readline.write(escape(text));
    }
    if (this.#hasEnded && !this.#isBusy) this.#end.resolve(0);
  }

  #take(line: string): void {
    this.#lines.push(line);
    this.#depth += line.trim() === "" ? -Infinity : depthOf(line);
    if (this.#depth > 0) return this.#ask(CONTINUATION);
    const text = this.#lines.join("\n");
    this.#lines = [];
    this.#depth = 0;
    if (text.trim() === "") return this.#ask(PROMPT);
    this.#isBusy = true;
    this.#options.answer(text).then(() => {
      this.#isBusy = false;
      this.#ask(PROMPT);
      this.#pump();
    }).catch(this.#end.reject);
  }

  #ask(prompt: string): void {
    this.#readline.setPrompt(prompt);
    this.#readline.prompt();
  }

  /** A text of several lines is one in the history. */
  #join(history: string[]): void {
    if (this.#lines.length > 0 && history.length > 1) {
      history.splice(0, 2, `${history[1]} ${history[0]}`);
    }
  }
}

/** How many more brackets of JSON a line opens than it closes. */
function depthOf(line: string): number {
  const bare = line.replaceAll(/"(?:\\.|[^"\\])*"/g, "");
  // A string does not go on in the next line, so that is no JSON.
  if (bare.includes('"')) return -Infinity;
  return bare.split(/[[{]/).length - bare.split(/[\]}]/).length;
}
