/**
 * Prints how many lines of code the package has, with the folders, the spine
 * and what is larger than it should be. A line counts when something other than
 * space and comments stands on it; a function counts from its parameters to the
 * end of its body, with the functions inside.
 *
 *     deno task size [FOLDER]
 */
import { codeLines, functionsOf, tokensOf } from "./source.ts";

/** The way of a message, in the order in which one reads it. */
export const SPINE = [
  "framing.ts",
  "core/framing/decoder.ts",
  "core/framing/encoder.ts",
  "core/connection/connection.ts",
  "core/connection/link.ts",
  "core/connection/closing.ts",
  "core/connection/outbox.ts",
  "core/server/listener.ts",
  "core/server/respond.ts",
  "server.ts",
  "core/client/client.ts",
  "client.ts",
];
export const FILE_LINES = 300;
export const FUNCTION_LINES = 60;

/** A published file, or one of its functions. */
export interface Size {
  readonly name: string;
  readonly lines: number;
}

/** The published files of a checkout, and their functions. */
export interface Sizes {
  readonly files: Size[];
  /** Named as "mod.ts connect". */
  readonly functions: Size[];
}

/** Measures the published files of the checkout in a folder. */
export function measure(root: URL): Sizes {
  const files: Size[] = [];
  const functions: Size[] = [];
  for (const path of publishedFiles(root)) {
    const tokens = tokensOf(Deno.readTextFileSync(new URL(path, root)));
    files.push({ name: path, lines: codeLines(tokens) });
    for (const { name, line, lines } of functionsOf(tokens)) {
      functions.push({ name: `${path} ${name || `=> (line ${line})`}`, lines });
    }
  }
  return { files, functions };
}

/** Files of the package, tests left out. */
export function* publishedFiles(root: URL, folder = ""): Generator<string> {
  const folders = folder === "" ? ["core", "adapters", "cli"] : [];
  for (
    const { name, isDirectory } of Deno.readDirSync(
      new URL(`./${folder}`, root),
    )
  ) {
    const path = folder + name;
    if (isDirectory && (folder !== "" || folders.includes(name))) {
      yield* publishedFiles(root, `${path}/`);
    } else if (/(?<!_test)\.ts$/.test(name)) {
      yield path;
    }
  }
}

function sum(sizes: Iterable<Size>): number {
  let lines = 0;
  for (const size of sizes) lines += size.lines;
  return lines;
}

function row({ name, lines }: Size): string {
  return `${String(lines).padStart(7)}  ${name}`;
}

function folderOf({ name }: Size): string {
  return name.includes("/") ? name.replace(/[^/]*$/, "") : name;
}

function over(sizes: Iterable<Size>, limit: number): Size[] {
  return [...sizes].filter(({ lines }) => lines > limit)
    .sort((a, b) => b.lines - a.lines);
}

/** What the task prints. */
export function report({ files, functions }: Sizes): string {
  const library = files.filter(({ name }) => !name.startsWith("cli/"));
  const spine = SPINE.map((name) =>
    files.find((file) => file.name === name) ??
      { name: `${name} (not there)`, lines: 0 }
  );
  const lengths = functions.map(({ lines }) => lines).sort((a, b) => a - b);
  const sections: [string, Size[]][] = [
    [
      "folders, and files at the top",
      [...Map.groupBy(files, folderOf)].sort()
        .map(([name, inside]) => ({ name, lines: sum(inside) })),
    ],
    ["spine", [...spine, { name: "in all", lines: sum(spine) }]],
    [`files over ${FILE_LINES}`, over(files, FILE_LINES)],
    [`functions over ${FUNCTION_LINES}`, over(functions, FUNCTION_LINES)],
    ["in all", [
      { name: "library", lines: sum(library) },
      { name: "cli", lines: sum(files) - sum(library) },
      {
        name: `median of ${lengths.length} functions`,
        lines: lengths[lengths.length >> 1],
      },
    ]],
  ];
  return sections.map(([title, rows]) =>
    `${title}\n${rows.map(row).join("\n") || "      –"}\n`
  ).join("\n");
}

if (import.meta.main) {
  const [folder = "."] = Deno.args;
  console.log(report(measure(new URL(`file://${Deno.realPathSync(folder)}/`))));
}
