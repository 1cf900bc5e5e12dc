/** Each promise of SECURITY.md has tests: PROMISES.md says which. */
import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url);
const PROMISES = Deno.readTextFileSync(new URL("tests/PROMISES.md", ROOT));

/** Without the line breaks that a formatter may move. */
function inOneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}

function textOf(path: string): string {
  return inOneLine(Deno.readTextFileSync(new URL(path, ROOT)));
}

/** The items of a list, one of which may have several lines. */
function itemsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^- (.*(?:\n {2}.*)*)/gm)]
    .map(([, item]) => inOneLine(item));
}

/** The promises of SECURITY.md, as PROMISES.md quotes them, with what follows. */
function quotes(): [promise: string, details: string][] {
  const [promises] = PROMISES.split("\n## Limits in detail");
  return [...promises.matchAll(/^((?:> .*\n)+)([^>]*)/gm)].map((
    [, quote, details],
  ) => [inOneLine(quote.replaceAll(/^> /gm, "")), details]);
}

/** The titles that an item names behind a file: what it quotes before is prose. */
function* titlesIn(text: string): Generator<[path: string, title: string]> {
  let path = "";
  for (
    const [, file, title] of text.matchAll(/`([\w/]+\.ts)`|"([^"]+)"/g)
  ) {
    if (file !== undefined) path = file;
    else if (path !== "") yield [path, inOneLine(title)];
  }
}

Deno.test("PROMISES.md has each promise of SECURITY.md, in its order", () => {
  const page = Deno.readTextFileSync(new URL("SECURITY.md", ROOT));
  const [, section] = page.split(/^## What is promised$/m);
  const promises = itemsOf(section.split(/^## /m)[0]);
  assertEquals(quotes().map(([promise]) => promise), promises);
  assert(promises.length > 25);
});

Deno.test("each promise of SECURITY.md has a test", () => {
  for (const [promise, details] of quotes()) {
    const items = itemsOf(details);
    assert(items.length > 0, promise);
    for (const item of items) {
      assert(/`[\w/]+_test\.ts`/.test(item), `no test: ${item}`);
    }
  }
});

Deno.test("each test and benchmark that PROMISES.md names exists", () => {
  let count = 0;
  for (const [, details] of quotes()) {
    for (const item of itemsOf(details)) {
      for (const [path, title] of titlesIn(item)) {
        count++;
        assert(textOf(path).includes(title), `${path} has no test "${title}"`);
      }
      for (const [, file] of item.matchAll(/`([\w/]+\.ts)`/g)) {
        assert(/(test|bench)\(/i.test(textOf(file)), file);
      }
    }
  }
  assert(count > 150);
});
