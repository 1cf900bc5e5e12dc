import { assert, assertEquals } from "@std/assert";
import { Editor, type EditorEvent } from "./editor.ts";

const UP = "\x1b[A";
const DOWN = "\x1b[B";
const LEFT = "\x1b[D";
const PASTE = "\x1b[200~";
const PASTED = "\x1b[201~";

/** The texts that are entered, and other events by their type. */
function entered(...inputs: string[]): string[] {
  const editor = new Editor();
  const events: EditorEvent[] = [];
  for (const input of inputs) events.push(...editor.feed(input));
  return events.map((event) => event.type === "text" ? event.text : event.type);
}

Deno.test("Editor edits by its keys", () => {
  const rows: [input: string, ...texts: string[]][] = [
    ["abc\r", "abc"],
    ["a\nb\r", "a", "b"],
    ["toString\r", "toString"],
    ["abc\x7f\b\r", "a"],
    [`ac${LEFT}b\r`, "abc"],
    [`a🙂${LEFT}${LEFT}\x1b[3~\r`, "🙂"],
    ["a🙂\x7f\r", "a"],
    ["ab\x01c\x05d\r", "cabd"],
    ["ab\x02\x0b\r", "a"],
    ["ab\x02\x15\r", "b"],
    ["one two\x17\r", "one "],
    ["one two\x1bb\x1bbx\x1bfy\r", "xoney two"],
    ["ab\x01\x04\r", "b"],
    ["\x04", "end"],
    ["ab\x03", "interrupt"],
    ["\x1b[5~\x1b[1;2Pa\x1bz\tb\x00\r", "ab"],
  ];
  for (const [input, ...texts] of rows) {
    assertEquals(entered(input), texts, JSON.stringify(input));
    // However it comes in pieces.
    assertEquals(entered(...input), texts, JSON.stringify(input));
  }
});

Deno.test("Editor remembers what was entered, and what was not yet", () => {
  assertEquals(entered(`one\rtwo\r${UP}${UP}${UP}!\r`).at(-1), "one!");
  assertEquals(entered(`one\rtwo\r${UP}${UP}${DOWN}\r`).at(-1), "two");
  assertEquals(entered(`one\rtw${UP}${DOWN}o\r`).at(-1), "two");
  assertEquals(entered(`a\r a\r \r${UP}${UP}${UP}\r`).at(-1), "a");
});

Deno.test("Editor takes JSON over several lines, and what is none at once", () => {
  const rows: [input: string, ...texts: string[]][] = [
    ['{"a":\r[1,\r2]\r}\r', '{"a":\n[1,\n2]\n}'],
    ['["]",\r"\\"["]\r', '["]",\n"\\"["]'],
    ['{"a\r', '{"a'],
    ["hello\r", "hello"],
    ["[1]]\r", "[1]]"],
    ["[1\r\r", "[1\n"],
    ["[1\r\x7f]\r", "[1]"],
    [`[]${LEFT}${LEFT}[\r\x05]\r`, "[[]", "]"],
  ];
  for (const [input, ...texts] of rows) {
    assertEquals(entered(input), texts, JSON.stringify(input));
  }
});

Deno.test("Editor takes a paste as it is, in one line or many, however it comes in pieces", () => {
  const row = `{"k": "${"x".repeat(50)}"},`;
  const many = `[\r\n${`${row}\r\n`.repeat(1_000)}1]`;
  const one = JSON.stringify({ text: "y".repeat(65_536) });
  for (const text of [many, one, "", "a\x1bOA\x03\x04b"]) {
    const expected = [text.replaceAll("\r\n", "\n")];
    const input = `${PASTE}${text}${PASTED}\r`;
    assertEquals(entered(input), expected);
    const pieces = input.match(/[^]{1,1000}/g)!;
    assertEquals(entered(...pieces), expected);
  }
  // A terminal without bracketed paste types it.
  assertEquals(entered(`${many.replaceAll("\r\n", "\r")}\r`), [
    many.replaceAll("\r\n", "\n"),
  ]);
});

Deno.test("Editor shows what is typed, and nothing that a terminal would obey", () => {
  const editor = new Editor();
  assertEquals(editor.show(80), "\r\x1b[J> \r\x1b[2C");
  [...editor.feed("ab\u202e世")];
  assertEquals(editor.refresh(80), "\r\x1b[J> ab\\u202e世\r\x1b[12C");
  [...editor.feed(LEFT)];
  assertEquals(editor.refresh(80), "\r\x1b[J> ab\\u202e世\r\x1b[10C");
});

Deno.test("Editor finds its rows again where a text wraps, or has several", () => {
  const editor = new Editor();
  [...editor.feed("[12345")];
  assertEquals(editor.show(8), "\r\x1b[J> [12345\n\r");
  assertEquals(editor.refresh(8), "\x1b[1A\r\x1b[J> [12345\n\r");
  [...editor.feed("6\r7")];
  assertEquals(editor.show(8), "\x1b[1A\r\x1b[J> [123456\n  7\r\x1b[3C");
  [...editor.feed("\x01")];
  assertEquals(
    editor.show(8),
    "\x1b[2A\r\x1b[J> [123456\n  7\x1b[2A\r\x1b[2C",
  );
});

Deno.test("Editor shows a long text by its parts", () => {
  const editor = new Editor();
  [...editor.feed(`${PASTE}${"x".repeat(65_536)}${PASTED}`)];
  const shown = editor.show(80);
  assert(shown.length < 300, shown);
  assert(shown.includes("… (65536 characters) …"), shown);
});

Deno.test("Editor hides what is typed while a text is worked on", () => {
  const editor = new Editor();
  editor.show(80);
  const [first, second] = [...editor.feed("1\r2\r3")];
  assertEquals(first, { type: "text", text: "1", wasShown: true });
  assertEquals(second, { type: "text", text: "2", wasShown: false });
  assertEquals(editor.refresh(80), "");
  assertEquals(Editor.transcript("2"), "> 2\n");
  assertEquals(editor.show(80), "\r\x1b[J> 3\r\x1b[3C");
});
