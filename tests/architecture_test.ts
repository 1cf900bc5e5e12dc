/** What ARCHITECTURE.md and CONTRIBUTING.md name exists. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import deno from "../deno.json" with { type: "json" };
import { BESIDE, ROWS } from "./rows.ts";

const ROOT = new URL("../", import.meta.url);
/** Both pages, and how many paths and functions they name at least. */
const FEWEST: [page: string, paths: number, functions: number][] = [
  ["ARCHITECTURE.md", 30, 40],
  ["CONTRIBUTING.md", 12, 4],
];

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
    : String.raw`  ((static|async|get|override|protected|private) |\*)*`;
  const definition = new RegExp(`^${words}${name}\\b *[<(]`, "m");
  return definition.test(bodyOf(source, owner));
}

/** Each function that a page names, with the file that it names before. */
function* functions(page: string): Generator<[path: string, callee: string]> {
  let path = "";
  for (const [, code] of textOf(page).matchAll(/`([^`\n]+)`/g)) {
    if (/^[\w/]+\.ts$/.test(code)) path = code;
    else if (/^[\w.#]+\(\)$/.test(code)) yield [path, code.slice(0, -2)];
  }
}

Deno.test("ARCHITECTURE.md draws the rows that hold", () => {
  const rows: Record<string, number> = {};
  for (
    const [, row, names] of textOf("ARCHITECTURE.md").matchAll(
      /^ ?(\d+) {3}(.+?)(?: {3}|$)/gm,
    )
  ) {
    for (const name of names.split(/\s+/)) {
      if (name in BESIDE) assertEquals(ROWS[BESIDE[name]], Number(row), name);
      else rows[name] = Number(row);
    }
  }
  assertEquals(rows, ROWS);
});

for (const [page, fewestPaths, fewestFunctions] of FEWEST) {
  Deno.test(`each file and folder that ${page} names exists`, () => {
    const paths = [
      ...textOf(page).matchAll(/`([\w/]+(?:\.(?:ts|md|json)|\/))`/g),
    ].map(([, path]) => path);
    for (const path of new Set(paths)) {
      assert(Deno.statSync(new URL(path, ROOT)), path);
    }
    assertGreater(new Set(paths).size, fewestPaths);
  });

  Deno.test(`each function and method that ${page} names is in the file named before it`, () => {
    const named = [...functions(page)];
    const missing = named.filter(([path, callee]) =>
      !defines(textOf(path), callee)
    );
    assertEquals(missing, []);
    assertGreater(named.length, fewestFunctions);
  });
}

Deno.test("each task that CONTRIBUTING.md names exists", () => {
  const names = [...textOf("CONTRIBUTING.md").matchAll(/deno task ([\w-]+)/g)]
    .map(([, name]) => name);
  for (const name of names) assert(Object.hasOwn(deno.tasks, name), name);
  assertGreater(new Set(names).size, 5);
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
