import { Writable } from "node:stream";
import { assert, assertEquals } from "@std/assert";
import { LineEditor, type LineEditorOptions } from "./line_editor.ts";

const UP = "\x1b[A";
const DOWN = "\x1b[B";
const LEFT = "\x1b[D";
const PASTE = "\x1b[200~";
const PASTED = "\x1b[201~";

/** A terminal that hands on what is written. */
function screen(show: (text: string) => void): Writable {
  return new Writable({
    write(text, _encoding, done) {
      show(String(text));
      done();
    },
  });
}

/** What is shown and entered when keys come in these pieces, and the end. */
async function edit(
  pieces: Iterable<string>,
  options: Partial<LineEditorOptions> = {},
): Promise<{ texts: string[]; shown: string; code: number }> {
  const texts: string[] = [];
  let shown = "";
  const editor = new LineEditor({
    screen: screen((text) => shown += text),
    answer: async (text) => {
      await Promise.resolve();
      texts.push(text);
    },
    ...options,
  });
  const keys = ReadableStream.from(pieces).pipeThrough(new TextEncoderStream());
  return { code: await editor.run(keys), texts, shown };
}

async function entered(...pieces: string[]): Promise<string[]> {
  const { texts } = await edit(pieces);
  return texts;
}

Deno.test("LineEditor edits by its keys", async () => {
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
    ["one two\x1bbx\r", "one xtwo"],
    ["ab\x01\x04\r", "b"],
    ["\x1b[5~\x1b[1;2Pa\x1azb\x00\r", "azb"],
  ];
  for (const [input, ...texts] of rows) {
    assertEquals(await entered(input), texts, JSON.stringify(input));
    // However it comes in pieces.
    assertEquals(await entered(...input), texts, JSON.stringify(input));
  }
});

Deno.test("LineEditor ends at Ctrl-C, Ctrl-D and the end of its keys", async () => {
  const rows: [input: string, code: number, ...texts: string[]][] = [
    ["a\rb\x03", 130, "a"],
    ["a\r\x04b\r", 0, "a"],
    ["a\rb", 0, "a"],
  ];
  for (const [input, code, ...texts] of rows) {
    const end = await edit([input]);
    assertEquals([end.code, end.texts], [code, texts], JSON.stringify(input));
  }
});

Deno.test("LineEditor remembers what was entered, and what was not yet", async () => {
  const rows: [input: string, last: string][] = [
    [`one\rtwo\r${UP}${UP}!\r`, "one!"],
    [`one\rtwo\r${UP}${UP}${DOWN}\r`, "two"],
    [`a\r\r \r${UP}${UP}\r`, "a"],
    [`[1,\r2,\r3]\rone\r${UP}${UP}\r`, "[1, 2, 3]"],
  ];
  for (const [input, last] of rows) {
    assertEquals((await entered(input)).at(-1), last, JSON.stringify(input));
  }
});

Deno.test("LineEditor takes JSON over several lines, and other text at once", async () => {
  const rows: [input: string, ...texts: string[]][] = [
    ['{"a":\r[1,\r2]\r}\r', '{"a":\n[1,\n2]\n}'],
    ['["]",\r"\\"["]\r', '["]",\n"\\"["]'],
    ['{"a\r', '{"a'],
    ["hello\r", "hello"],
    ["[1]]\r", "[1]]"],
    ["[1\r\r", "[1\n"],
  ];
  for (const [input, ...texts] of rows) {
    assertEquals(await entered(input), texts, JSON.stringify(input));
  }
});

Deno.test("LineEditor takes a paste as one text, however it comes in pieces", async () => {
  const row = `{"k": "${"x".repeat(50)}"},`;
  const many = `[\r\n\t${`${row}\r\n`.repeat(1_000)}1]`;
  const one = JSON.stringify({ text: "y".repeat(65_536) });
  for (const text of [many, one]) {
    const input = `${PASTE}${text}${PASTED}\r`;
    for (const pieces of [[input], input.match(/[^]{1,1000}/g)!]) {
      const [entry, ...others] = await entered(...pieces);
      assertEquals(others, []);
      assertEquals(JSON.parse(entry), JSON.parse(text));
    }
  }
  // A terminal without bracketed paste types it.
  const [typed] = await entered(`${many.replaceAll("\r\n", "\r")}\r`);
  assertEquals(JSON.parse(typed), JSON.parse(many));
  assertEquals(await entered(`a${PASTE}${PASTED}\r`), ["a"]);
});

Deno.test("LineEditor obeys no key of a paste, and shows nothing that a terminal would obey", async () => {
  const { texts, shown } = await edit([
    `${PASTE}"a\x1bOA\x03\x04\u202e"${PASTED}\u202e\r`,
  ]);
  assertEquals(texts, ['"a\\u001bOA\\u0003\\u0004\\u202e"\\u202e']);
  assert(!shown.includes("\u202e"));
});

Deno.test("LineEditor keeps what is typed while a text is answered, but for Ctrl-C", async () => {
  const busy = Promise.withResolvers<void>();
  const answering = Promise.withResolvers<string>();
  const keys = new TransformStream<Uint8Array, Uint8Array>();
  const writer = keys.writable.getWriter();
  const texts: string[] = [];
  let shown = "";
  const editor = new LineEditor({
    screen: screen((text) => shown += text),
    answer(text) {
      texts.push(text);
      answering.resolve(text);
      return busy.promise;
    },
  });
  const code = editor.run(keys.readable);
  const type = (text: string) => writer.write(new TextEncoder().encode(text));
  await type("1\r");
  await answering.promise;
  const before = shown;
  await type("2\r");
  assertEquals(shown, before);
  assertEquals(texts, ["1"]);
  await type("\x03");
  assertEquals(await code, 130);
  busy.resolve();
  await writer.close();
});

Deno.test("LineEditor completes the word before the cursor", async () => {
  const words = ["add", "echo"];
  const { texts } = await edit(["a\t1\r"], {
    complete: (line) => [words.filter((word) => word.startsWith(line)), line],
  });
  assertEquals(texts, ["add1"].slice(0, texts.length));
});

Deno.test("LineEditor ends with the error of an answer", async () => {
  const failed = new Error("no");
  const end = edit(["1\r"], { answer: () => Promise.reject(failed) });
  assertEquals(await end.catch((error) => error), failed);
});
