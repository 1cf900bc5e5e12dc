import { assert, assertEquals } from "@std/assert";
import { clause } from "./failure.ts";
import { color, pretty } from "./output.ts";

const FOLDER = new URL(".", import.meta.url);

Deno.test("the programs print by output.ts alone, which escapes what comes from outside", () => {
  const printing =
    /console\.|Deno\.std(?:out|err)\.write|process\.std(?:out|err)|\bcontrol\(/;
  for (const { name } of Deno.readDirSync(FOLDER)) {
    if (!name.endsWith(".ts") || name.endsWith("_test.ts")) continue;
    // The prompt moves the cursor; what it shows of a text, LineEditor escapes.
    if (name === "output.ts" || name === "prompt.ts") continue;
    const source = Deno.readTextFileSync(new URL(name, FOLDER));
    assert(!printing.test(source), `${name} prints`);
  }
  // All of them go through these two, with what was escaped, or is ours.
  const source = Deno.readTextFileSync(new URL("output.ts", FOLDER));
  const calls = source.matchAll(
    /(?<!function )\b(?:write|writeSync)\(([^]*?)\)(?:;|\))/g,
  );
  const texts = [...calls].map(([, text]) => text)
    .filter((text) => text !== "bytes");
  assertEquals(texts.length, 5);
  for (const text of texts) {
    assert(/\bescape(?:Lines)?\(/.test(text) || /\bsequence$/.test(text), text);
  }
});

Deno.test("pretty() indents what is small and flat, and nothing else, and color() colours it", () => {
  const small = { a: [1, "two"] };
  const text = JSON.stringify(small, null, 2);
  assertEquals(pretty(small), text);
  assertEquals(
    color(text),
    text.replace('"a"', "\x1b[34m$&\x1b[39m").replace("1", "\x1b[33m$&\x1b[39m")
      .replace('"two"', "\x1b[32m$&\x1b[39m"),
  );
  let deep: unknown = Array(400_000).fill(1);
  for (let i = 0; i < 120; i++) deep = [deep];
  let narrow: unknown = 1;
  for (let i = 0; i < 21; i++) narrow = { narrow };
  for (const message of [deep, narrow, ["x".repeat(16_384)]]) {
    assertEquals(pretty(message), JSON.stringify(message));
  }
});

Deno.test("clause() names options as programs have them, and leaves out what the platform adds", () => {
  const rows: [error: unknown, text: string][] = [
    [
      new TypeError('Cannot use option "cert": expected PEM'),
      "cannot use option '--tls-cert': expected PEM",
    ],
    [
      new RangeError('Cannot use option "maxFrameBytes": received 0'),
      "cannot use option '--max-frame-bytes': received 0",
    ],
    [
      new Error("Cannot receive message: nothing came (idleTimeout)"),
      "cannot receive message: nothing came (--idle-timeout)",
    ],
    [
      new Error("No such file or directory (os error 2): readfile 'a\nb'"),
      "no such file or directory",
    ],
    [new Error("EOF (os error 5)"), "EOF"],
    ["thrown", "thrown"],
  ];
  for (const [error, text] of rows) assertEquals(clause(error), text);
});
