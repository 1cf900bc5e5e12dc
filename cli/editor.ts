/**
 * A line at a terminal: what keys do to it. No I/O, so that it needs no
 * terminal to be tried.
 *
 * @module
 */
import { escape } from "../core/tools/escape.ts";

/** A text that a user has entered. */
export interface EnteredText {
  readonly type: "text";
  readonly text: string;
  /** Whether it stands on the terminal already. */
  readonly wasShown: boolean;
}

/** What a user has done at a terminal. */
export type EditorEvent =
  | EnteredText
  /** Ctrl-C. */
  | { readonly type: "interrupt" }
  /** Ctrl-D where nothing is written. */
  | { readonly type: "end" };

const PROMPT = "> ";
const CONTINUATION = "  ";
const PASTE_END = "\x1b[201~";
/** Longer texts are shown by their beginning, and what is around the cursor. */
const MOST_SHOWN = 1_000;
const MOST_LINES = 10;
const SHOWN_PART = 40;
const MOST_HISTORY = 100;

const ESCAPE = "\x1b";
/** One key: an escape sequence, a run of text, or one control character. */
const KEY = new RegExp(
  `${ESCAPE}(?:\\[[\\d;?]*[@-~]|O.|[^[O])|\\P{Cc}+|[^]`,
  "uy",
);
/** An escape sequence of which more is to come. */
const UNFINISHED = new RegExp(`^${ESCAPE}(?:\\[[\\d;?]*|O)?$`);
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;

type Action = (editor: Editor) => EditorEvent | void;

function actions(rows: [keys: string[], Action][]): Map<string, Action> {
  return new Map(
    rows.flatMap(([keys, action]) => keys.map((key) => [key, action])),
  );
}

/** A text of one or more lines, a cursor in it, and those entered before. */
export class Editor {
  #text = "";
  #cursor = 0;
  #input = "";
  #paste: string[] | undefined;
  readonly #history: string[] = [];
  #past = 0;
  #draft = "";
  #isShown = false;
  /** Where the cursor stands on the terminal, counted from the prompt. */
  #row = 0;
  readonly #nesting = new Nesting();

  /** What keys do; others insert themselves, or do nothing. */
  static readonly #ACTIONS = actions([
    [["\r", "\n"], (it) => it.#enter()],
    [["\x03"], () => ({ type: "interrupt" })],
    [["\x04"], (it) => {
      if (it.#text === "") return { type: "end" };
      it.#remove(it.#cursor, it.#next());
    }],
    [["\x1b[200~"], (it) => void (it.#paste = [])],
    [["\x7f", "\b"], (it) => it.#remove(it.#previous(), it.#cursor)],
    [["\x1b[3~"], (it) => it.#remove(it.#cursor, it.#next())],
    [["\x15"], (it) => it.#remove(0, it.#cursor)],
    [["\x0b"], (it) => it.#remove(it.#cursor, it.#text.length)],
    [["\x17"], (it) => it.#remove(it.#wordStart(), it.#cursor)],
    [["\x10", "\x1b[A", "\x1bOA"], (it) => it.#recall(it.#past - 1)],
    [["\x0e", "\x1b[B", "\x1bOB"], (it) => it.#recall(it.#past + 1)],
    [["\x02", "\x1b[D", "\x1bOD"], (it) => it.#move(it.#previous())],
    [["\x06", "\x1b[C", "\x1bOC"], (it) => it.#move(it.#next())],
    [["\x1bb", "\x1b[1;5D"], (it) => it.#move(it.#wordStart())],
    [["\x1bf", "\x1b[1;5C"], (it) => it.#move(it.#wordEnd())],
    [["\x01", "\x1b[H", "\x1bOH", "\x1b[1~"], (it) => it.#move(0)],
    [
      ["\x05", "\x1b[F", "\x1bOF", "\x1b[4~"],
      (it) => it.#move(it.#text.length),
    ],
  ]);

  /** Takes what was typed, and gives what it comes to. */
  *feed(input: string): Generator<EditorEvent, void> {
    this.#input += input;
    for (;;) {
      if (this.#paste !== undefined && !this.#takePaste()) return;
      if (UNFINISHED.test(this.#input)) return;
      KEY.lastIndex = 0;
      const [key] = KEY.exec(this.#input) ?? [];
      if (key === undefined) return;
      this.#input = this.#input.slice(key.length);
      const event = this.#press(key);
      if (event) yield event;
    }
  }

  /** What puts the prompt and the text on the terminal, or there anew. */
  show(columns: number): string {
    this.#isShown = true;
    const back = this.#row === 0 ? "\r" : `\x1b[${this.#row}A\r`;
    const [before, after] = this.#view();
    const start = positionAfter(PROMPT + before, columns);
    const end = positionAfter(PROMPT + before + after, columns);
    this.#row = start.row;
    const up = end.row - start.row;
    return `${back}\x1b[J${PROMPT}${before}${after}` +
      // A terminal waits with a new row until something comes to stand there.
      (end.column === 0 ? "\n" : "") +
      (up === 0 ? "" : `\x1b[${up}A`) + "\r" +
      (start.column === 0 ? "" : `\x1b[${start.column}C`);
  }

  /** The same, where it is on the terminal now. */
  refresh(columns: number): string {
    return this.#isShown ? this.show(columns) : "";
  }

  /** A text that was entered, as it would stand behind the prompt. */
  static transcript(text: string): string {
    return PROMPT + shown(text) + "\n";
  }

  /** Both sides of the cursor, as they are shown. */
  #view(): [before: string, after: string] {
    const before = this.#text.slice(0, this.#cursor);
    const after = this.#text.slice(this.#cursor);
    const isLong = this.#text.length > MOST_SHOWN ||
      this.#text.split("\n", MOST_LINES + 1).length > MOST_LINES;
    if (!isLong) return [shown(before), shown(after)];
    const left = Math.max(0, this.#cursor - SHOWN_PART);
    const note = `… (${this.#text.length} characters) …`;
    return [
      oneLine(this.#text.slice(0, Math.min(left, SHOWN_PART))) + note +
      oneLine(this.#text.slice(left, this.#cursor)),
      oneLine(after.slice(0, SHOWN_PART)),
    ];
  }

  /** Takes what is pasted; gives whether that has ended. */
  #takePaste(): boolean {
    const end = this.#input.indexOf(PASTE_END);
    // The end may come in pieces.
    const safe = end < 0
      ? Math.max(0, this.#input.length - PASTE_END.length)
      : end;
    this.#paste!.push(this.#input.slice(0, safe));
    this.#input = this.#input.slice(safe);
    if (end < 0) return false;
    this.#input = this.#input.slice(PASTE_END.length);
    this.#insert(this.#paste!.join("").replaceAll(/\r\n?/g, "\n"));
    this.#paste = undefined;
    return true;
  }

  #press(key: string): EditorEvent | void {
    const act = Editor.#ACTIONS.get(key);
    if (act !== undefined) return act(this);
    if (key >= " ") this.#insert(key);
  }

  /** Ends the text, or its line where brackets are open. */
  #enter(): EditorEvent | void {
    const text = this.#text;
    const isAtEnd = this.#cursor === text.length;
    const isGivenUp = /\n\s*$/.test(text.slice(-64));
    if (isAtEnd && !isGivenUp && this.#nesting.isOpen(text)) {
      return this.#insert("\n");
    }
    const wasShown = this.#isShown;
    this.#set("");
    this.#isShown = false;
    this.#row = 0;
    if (text.trim() !== "" && this.#history.at(-1) !== text) {
      this.#history.push(text);
      if (this.#history.length > MOST_HISTORY) this.#history.shift();
    }
    this.#past = this.#history.length;
    return { type: "text", text, wasShown };
  }

  #move(cursor: number): void {
    this.#cursor = cursor;
  }

  #recall(index: number): void {
    if (index < 0 || index > this.#history.length) return;
    if (this.#past === this.#history.length) this.#draft = this.#text;
    this.#past = index;
    this.#set(this.#history[index] ?? this.#draft);
  }

  #set(text: string): void {
    this.#nesting.forget();
    this.#text = text;
    this.#cursor = text.length;
  }

  #insert(text: string): void {
    const cursor = this.#cursor;
    if (cursor < this.#text.length) this.#nesting.forget();
    this.#text = this.#text.slice(0, cursor) + text + this.#text.slice(cursor);
    this.#cursor = cursor + text.length;
  }

  #remove(start: number, end: number): void {
    this.#nesting.forget();
    this.#text = this.#text.slice(0, start) + this.#text.slice(end);
    this.#cursor = start;
  }

  /** Where the character before the cursor begins. */
  #previous(): number {
    const isPair = /[\ud800-\udbff][\udc00-\udfff]$/.test(
      this.#text.slice(Math.max(0, this.#cursor - 2), this.#cursor),
    );
    return Math.max(0, this.#cursor - (isPair ? 2 : 1));
  }

  /** Where the character at the cursor ends. */
  #next(): number {
    const code = this.#text.codePointAt(this.#cursor) ?? 0;
    const end = this.#cursor + (code > 0xffff ? 2 : 1);
    return Math.min(this.#text.length, end);
  }

  #wordStart(): number {
    return this.#text.slice(0, this.#cursor).replace(/\w*\W*$/, "").length;
  }

  #wordEnd(): number {
    const rest = this.#text.slice(this.#cursor);
    return this.#text.length - rest.replace(/^\W*\w*/, "").length;
  }
}

/** Whether brackets of JSON are open, without looking at anything twice. */
class Nesting {
  #seen = 0;
  #depth = 0;
  #isInString = false;

  /** The text has changed elsewhere than at its end. */
  forget(): void {
    this.#seen = this.#depth = 0;
    this.#isInString = false;
  }

  isOpen(text: string): boolean {
    for (let i = this.#seen; i < text.length; i++) {
      const character = text[i];
      if (character === '"') this.#isInString = !this.#isInString;
      else if (this.#isInString) i += character === "\\" ? 1 : 0;
      else if (character === "{" || character === "[") this.#depth++;
      else if (character === "}" || character === "]") this.#depth--;
    }
    this.#seen = text.length;
    // A string goes over no line, so that will not become JSON any more.
    return this.#depth > 0 && !this.#isInString;
  }
}

function shown(text: string): string {
  return text.split("\n").map(escape).join(`\n${CONTINUATION}`);
}

function oneLine(text: string): string {
  return escape(text.replaceAll("\n", " "));
}

/** Where a terminal's cursor stands behind a text. */
function positionAfter(
  text: string,
  columns: number,
): { row: number; column: number } {
  let row = 0;
  let column = 0;
  for (const character of text) {
    if (character === "\n") {
      row++;
      column = 0;
      continue;
    }
    const width = /\p{M}/u.test(character) ? 0 : WIDE.test(character) ? 2 : 1;
    if (column + width > columns) {
      row++;
      column = 0;
    }
    column += width;
  }
  return column === columns ? { row: row + 1, column: 0 } : { row, column };
}
