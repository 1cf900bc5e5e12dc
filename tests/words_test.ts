/** Words that this project does not use, and what a reader sees of it. */
import { assert, assertEquals } from "@std/assert";
import { textsOf, userMessages } from "./user_messages.ts";

const ROOT = new URL("../", import.meta.url);
const FOLDERS = [
  "",
  "adapters/",
  "bench/",
  "cli/",
  "core/",
  "examples/",
  "interop/",
  "tests/",
];
/** Words for peers that say nothing of them. */
const UNUSED = /\b(?:stranger|friend)s?\b/i;

/** Sources and pages of a folder, but for this test. */
function* files(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    const path = folder + name;
    if (isDirectory) {
      if (folder === "core/") yield* files(`${path}/`);
    } else if (/\.(?:ts|mjs|py|md)$/.test(name) && name !== "words_test.ts") {
      yield path;
    }
  }
}

Deno.test("no page, comment, message or title of a test speaks of strangers and friends", () => {
  const found: string[] = [];
  let count = 0;
  for (const folder of FOLDERS) {
    for (const path of files(folder || "./")) {
      count++;
      const lines = Deno.readTextFileSync(new URL(path, ROOT)).split("\n");
      for (const [index, line] of lines.entries()) {
        if (UNUSED.test(line)) found.push(`${path}:${index + 1}: ${line}`);
      }
    }
  }
  assertEquals(found, []);
  assert(count > 200, `${count} files`);
});

Deno.test("each link of a page to a file, or to a heading of one, leads there", () => {
  const broken: string[] = [];
  let count = 0;
  for (const folder of FOLDERS) {
    for (const path of files(folder || "./")) {
      if (!path.endsWith(".md")) continue;
      const url = new URL(path, ROOT);
      const links = Deno.readTextFileSync(url).matchAll(
        /\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g,
      );
      for (const [link, file, anchor] of links) {
        count++;
        if (!leads(new URL(file || url, url), anchor)) {
          broken.push(`${path}: ${link}`);
        }
      }
    }
  }
  assertEquals(broken, []);
  assert(count > 10, `${count} links`);
});

/** Whether a file exists, and has a heading that an anchor names. */
function leads(url: URL, anchor: string | undefined): boolean {
  try {
    if (anchor === undefined) return Deno.statSync(url) !== undefined;
    const headings = Deno.readTextFileSync(url).matchAll(/^#+ (.*)$/gm);
    return headings.some(([, heading]) =>
      heading.toLowerCase().replaceAll(/[^\w -]/g, "").replaceAll(" ", "-") ===
        anchor
    );
  } catch {
    return false;
  }
}

Deno.test("textsOf() finds texts and templates, with what they are made of", () => {
  const source =
    'f("a text", `one ${g(`in ${x} one`)} two`, `whole`, x - "y");';
  assertEquals([...textsOf(source)].map(({ text }) => text), [
    "a text",
    "in … one",
    "one … two",
    "whole",
    "y",
  ]);
});

Deno.test("userMessages() finds errors of the library and the help of the programs", () => {
  const texts = [...userMessages(ROOT)].map(({ text }) => text);
  assert(texts.some((text) => text.startsWith("Cannot decode frame: ")));
  assert(texts.some((text) => text.includes("--port N ")));
});
