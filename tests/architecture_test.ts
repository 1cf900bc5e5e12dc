/** What ARCHITECTURE.md names is there, so that nobody looks for it in vain. */
import { assert, assertEquals } from "@std/assert";
import { BESIDE, ROWS } from "./rows.ts";

const ROOT = new URL("../", import.meta.url);
const PAGE = textOf("ARCHITECTURE.md");

function textOf(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

/** What a class is made of, or all of the file without one. */
function bodyOf(source: string, name: string | undefined): string {
  if (name === undefined) return source;
  const start = source.search(new RegExp(`^.*\\bclass ${name}\\b`, "m"));
  return start < 0 ? "" : source.slice(start).split(/^}/m)[0];
}

/** Whether a source defines `name`, or `Class.name`, a function or a method. */
function defines(source: string, callee: string): boolean {
  const [name, owner] = callee.split(".").reverse();
  const words = owner === undefined
    ? String.raw`(export |async )*function\*? `
    : String.raw`  ((static|async|get|override|protected) |\*)*`;
  const definition = new RegExp(`^${words}${name}\\b *[<(]`, "m");
  return definition.test(bodyOf(source, owner));
}

/** Each function that the page names, with the file that it names before. */
function* functions(): Generator<[path: string, callee: string]> {
  let path = "";
  for (const [, code] of PAGE.matchAll(/`([^`\n]+)`/g)) {
    if (/^[\w/]+\.ts$/.test(code)) path = code;
    else if (/^[\w.#]+\(\)$/.test(code)) yield [path, code.slice(0, -2)];
  }
}

Deno.test("ARCHITECTURE.md draws the rows that hold", () => {
  const rows: Record<string, number> = {};
  for (const [, row, names] of PAGE.matchAll(/^ ?(\d+) {3}(.+?)(?: {3}|$)/gm)) {
    for (const name of names.split(/\s+/)) {
      if (name in BESIDE) assertEquals(ROWS[BESIDE[name]], Number(row), name);
      else rows[name] = Number(row);
    }
  }
  assertEquals(rows, ROWS);
});

Deno.test("each file and folder that ARCHITECTURE.md names exists", () => {
  const paths = [...PAGE.matchAll(/`([\w/]+(?:\.(?:ts|md|json)|\/))`/g)]
    .map(([, path]) => path);
  for (const path of new Set(paths)) {
    assert(Deno.statSync(new URL(path, ROOT)), path);
  }
  assert(new Set(paths).size > 30);
});

Deno.test("each function and method that ARCHITECTURE.md names is in the file named before it", () => {
  const missing = [...functions()].filter(([path, callee]) =>
    !defines(textOf(path), callee)
  );
  assertEquals(missing, []);
  assert([...functions()].length > 40);
});

Deno.test("defines() finds functions and methods, and no calls", () => {
  const source = `export async function one() {
  two();
}
class Some<T> extends Other {
  get four(): number {
    return this.five();
  }
  async #six<T>(): Promise<void> {
  }
}
`;
  const named = [
    "one",
    "two",
    "Some.four",
    "Some.five",
    "Some.#six",
    "No.four",
  ];
  assertEquals(
    named.filter((callee) => defines(source, callee)),
    ["one", "Some.four", "Some.#six"],
  );
});
