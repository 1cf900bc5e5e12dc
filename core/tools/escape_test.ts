import { assertEquals } from "@std/assert";
import { escape, escapeLines } from "./escape.ts";

Deno.test("escape() leaves nothing that ends a line, moves a cursor or reorders text", () => {
  const cases: [string, string][] = [
    ["plain, äöü, 漢字, 🙂", "plain, äöü, 漢字, 🙂"],
    ["a\nb\r\n\tc", "a\\u000ab\\u000d\\u000a\\u0009c"],
    ["\x1b[2J\x7f\x9b", "\\u001b[2J\\u007f\\u009b"],
    ["a\u2028b\u2029c", "a\\u2028b\\u2029c"],
    ["\u202e\u2066\u200b\ufeff\u00ad", "\\u202e\\u2066\\u200b\\ufeff\\u00ad"],
    ["\ud800x\udc00", "\\ud800x\\udc00"],
    ["\u{e0001}", "\\udb40\\udc01"],
  ];
  for (const [text, escaped] of cases) assertEquals(escape(text), escaped);
});

Deno.test("escape() leaves JSON the same JSON", () => {
  const value = { "k\u2028": ["\u202e", "\x7f", "\ud800", "🙂"] };
  const escaped = escape(JSON.stringify(value));
  assertEquals(JSON.parse(escaped), value);
  assertEquals(escape(escaped), escaped);
});

Deno.test("escapeLines() keeps line feeds alone", () => {
  assertEquals(escapeLines("a\n\tb\r"), "a\n\\u0009b\\u000d");
});
