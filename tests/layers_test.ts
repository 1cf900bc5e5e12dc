import { assert, assertEquals } from "@std/assert";
import { defaultTags } from "./default_tags.ts";
import * as networking from "../mod.ts";
import * as calls from "../rpc.ts";
import { BESIDE, ROWS } from "./rows.ts";

const ROOT = new URL("../", import.meta.url);

const PUBLISHED = [
  "mod.ts",
  "framing.ts",
  "server.ts",
  "client.ts",
  "rpc.ts",
  "testing.ts",
];
const PLATFORM = "core/platform/";
/** Tools that the programs share with the library, which exports none. */
const CLI_TOOLS = [
  "core/platform/platform.ts",
  "core/tools/abort.ts",
  "core/tools/address.ts",
  "core/tools/escape.ts",
  "core/tools/nearest.ts",
  "core/tools/queue.ts",
  "core/tools/throttle.ts",
];

/** Files that know nothing of time and I/O. */
const SANS_IO = /^(framing\.ts|core\/framing\/|core\/rpc\/jsonrpc\.ts)/;

/** Adapters that still import what is not published: to become fewer. */
const STILL_INSIDE: string[] = [];

/** One file imports another one, or exports something of it. */
interface Import {
  readonly from: string;
  readonly to: string;
  /** Within a function: loaded only when it is needed. */
  readonly isDynamic: boolean;
}

function* sources(folder = ""): Generator<string> {
  for (
    const { name, isDirectory } of Deno.readDirSync(
      new URL(folder || ".", ROOT),
    )
  ) {
    if (name.startsWith(".") || name === "node_modules") continue;
    if (isDirectory) yield* sources(`${folder}${name}/`);
    else if (name.endsWith(".ts")) yield folder + name;
  }
}

/** The source without comments. */
function codeOf(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT))
    .replaceAll(/\/\*[^]*?\*\//g, "")
    .replaceAll(/^\s*\/\/.*$/gm, "");
}

/** What a file imports, types included. */
function importsOf(from: string): Import[] {
  const pattern = /(?<!")\b(?:from|import)\s*(\()?\s*"([^"]+)"/g;
  return [...codeOf(from).matchAll(pattern)].map(([, paren, specifier]) => ({
    from,
    to: specifier.startsWith(".")
      ? new URL(specifier, new URL(from, ROOT)).pathname
        .slice(ROOT.pathname.length)
      : specifier,
    isDynamic: paren !== undefined,
  }));
}

/** The folder to which a file belongs, or the file itself at the top. */
function homeOf(path: string): string {
  return BESIDE[path] ?? (path.replace(/[^/]+$/, "") || path);
}

/** The only file of a folder that other folders import. */
function doorOf(folder: string): string {
  return folder.replace(/(\w+)\/$/, "$1/$1.ts");
}

/** A program loads its command line; an importer of the file does not. */
function isProgram({ from, to, isDynamic }: Import): boolean {
  return isDynamic && /^(server|client)\.ts$/.test(from) &&
    to === `cli/${from}`;
}

/** What is wrong with an import within the library, if anything is. */
function faultOf(one: Import): string | undefined {
  const { from, to } = one;
  const [here, there] = [homeOf(from), homeOf(to)];
  if (here === there || isProgram(one)) return undefined;
  if (!(ROWS[there] < ROWS[here])) return `${from} imports upwards: ${to}`;
  if (
    there === "core/tools/" ||
    PUBLISHED.includes(to) && !here.startsWith("core/")
  ) return undefined;
  if (to !== doorOf(there)) return `${from} imports past the door: ${to}`;
}

/** Imports that lead back to the file where they begin, each once. */
function circles(imports: Map<string, Import[]>): string[] {
  const found = new Set<string>();
  const done = new Set<string>();
  function visit(path: string, way: string[]): void {
    const start = way.indexOf(path);
    if (start >= 0) found.add([...way.slice(start)].sort().join(" ↔ "));
    if (start >= 0 || done.has(path)) return;
    for (const one of imports.get(path) ?? []) {
      if (!isProgram(one)) visit(one.to, [...way, path]);
    }
    done.add(path);
  }
  for (const path of imports.keys()) visit(path, []);
  return [...found].sort().map((files) => `in a circle: ${files}`);
}

const LIBRARY = [...sources()].filter((path) =>
  (PUBLISHED.includes(path) || /^(core|adapters)\//.test(path)) &&
  !path.endsWith("_test.ts")
);

Deno.test("every folder of the library has its row", () => {
  for (const path of LIBRARY) assert(homeOf(path) in ROWS, path);
  assert(LIBRARY.includes("core/connection/connection.ts"));
});

Deno.test("every file imports its own folder, without circles, or the door of one in a row below", () => {
  const imports = new Map(LIBRARY.map((path) => [path, importsOf(path)]));
  const all = [...imports.values()].flat();
  const faults = all.filter(({ to }) => to.endsWith(".ts"))
    .map(faultOf).filter((fault) => fault !== undefined);
  assertEquals([...faults, ...circles(imports)], []);
});

Deno.test("nothing exports all of another file, so that a door shows what goes through it", () => {
  for (const path of LIBRARY) {
    assert(!/^export \*/m.test(codeOf(path)), `${path} exports *`);
  }
});

Deno.test("the library needs Node's modules and two packages, and the codec one", () => {
  for (const { from, to } of LIBRARY.flatMap(importsOf)) {
    if (to.endsWith(".ts")) continue;
    const allowed = SANS_IO.test(from) ? /^@std\/bytes/ : /^@std\/|^node:/;
    assert(allowed.test(to), `${from} imports ${to}`);
  }
});

Deno.test("programs, adapters, examples and benchmarks import what is published", () => {
  const faults: string[] = [];
  for (const path of sources()) {
    if (!/^(adapters|cli|examples|bench|interop)\//.test(path)) continue;
    if (/^adapters\/.*_test\.ts$/.test(path)) continue;
    for (const { to } of importsOf(path)) {
      if (!to.endsWith(".ts")) continue;
      const isAllowed = PUBLISHED.includes(to) ||
        path.startsWith("cli/") && CLI_TOOLS.includes(to) ||
        homeOf(path) === homeOf(to) || /^(adapters|tests|cli)\//.test(to);
      if (!isAllowed) faults.push(`${path} imports ${to}`);
    }
  }
  assertEquals(faults.sort(), STILL_INSIDE);
});

Deno.test("only the folder of the platform names Deno, and only report prints", () => {
  const naming = LIBRARY.filter((path) =>
    !path.startsWith(PLATFORM) && /\bDeno\./.test(codeOf(path))
  );
  assertEquals(naming, []);
  const printing = LIBRARY.filter((path) => /\bconsole\./.test(codeOf(path)));
  assertEquals(printing, ["core/tools/report.ts"]);
});

Deno.test("each object of defaults is made from a table, and is what the documentation says", async () => {
  const found: string[] = [];
  for (const path of LIBRARY) {
    const code = codeOf(path);
    const tables = new Map(
      [...code.matchAll(/\bconst (\w+_OPTIONS): OptionTable<\s*(\w+)/g)]
        .map(([, table, options]) => [table, options]),
    );
    for (
      const [, name, rest] of code.matchAll(/ const (\w+_DEFAULTS)\b([^;]*)/g)
    ) {
      const [, table = ""] = /=\s*defaultsOf\(\s*(\w+)/.exec(rest) ?? [];
      const options = tables.get(table);
      assert(options !== undefined, `${path}: ${name} is made from no table`);
      const url = new URL(path, ROOT);
      const { [name]: defaults } = await import(url.href);
      assertEquals({ ...defaults }, await defaultTags(url, options), name);
      found.push(name);
    }
  }
  const exported = Object.keys({ ...networking, ...calls })
    .filter((name) => name.endsWith("_DEFAULTS"));
  const missing = new Set(exported).difference(new Set(found));
  assertEquals([...missing], []);
});
