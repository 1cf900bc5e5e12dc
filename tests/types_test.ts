/**
 * What the compiler accepts and what it rejects, with what it says. The files in
 * `types/` are checked like all others; this compares the texts of the errors.
 */
import { assert, assertEquals } from "@std/assert";
import { start } from "./process.ts";

const RIGHT = new URL("types/right.ts", import.meta.url);
const WRONG = new URL("types/wrong.ts", import.meta.url);
const CONFIG = new URL("../deno.json", import.meta.url);
const EXPECTED = /^\s*\/\/ @ts-expect-error: (.+)$/;

/** What `deno check` says of that file, by its lines, and of any other. */
function errorsOf(
  output: string,
  file: string,
): { lines: Map<number, string>; others: string[] } {
  const lines = new Map<number, string>();
  const others: string[] = [];
  for (const text of output.split(/^(?=TS\d+ \[ERROR\]: \S)/m)) {
    if (!text.startsWith("TS")) continue;
    const at = text.match(/^ *at (file:\S+?):(\d+):\d+$/m);
    if (at === null || at[1] !== file) others.push(text);
    else lines.set(Number(at[2]), (lines.get(Number(at[2])) ?? "") + text);
  }
  return { lines, others };
}

Deno.test("the types of calls accept what is right, and say what is wrong", async () => {
  const source = (await Deno.readTextFile(WRONG)).split("\n");
  const folder = await Deno.makeTempDir();
  try {
    // Without what hides the errors.
    const path = `${await Deno.realPath(folder)}/wrong.ts`;
    const copy = source.map((line) =>
      line
        .replace("@ts-expect-error", "expects")
        .replace(/from "(\..+)"/, (_, to) => `from "${new URL(to, WRONG)}"`)
    );
    await Deno.writeTextFile(path, copy.join("\n"));
    await using check = start(Deno.execPath(), [
      "check",
      "--quiet",
      "--config",
      CONFIG.pathname,
      RIGHT.pathname,
      path,
    ], { env: { NO_COLOR: "1" } });
    const output = await check.stderr();
    const { lines, others } = errorsOf(output, `file://${path}`);
    assertEquals(others, []);
    const missing: string[] = [];
    let count = 0;
    source.forEach((line, i) => {
      const expected = line.match(EXPECTED)?.[1];
      if (expected === undefined) return;
      count++;
      const error = lines.get(i + 2); // the next line, and they count from 1
      if (error?.includes(expected)) return;
      missing.push(`${i + 1}: expected ${expected}, received ${error}`);
    });
    assert(count > 0);
    assertEquals(missing, []);
    assertEquals(lines.size, count, "each line is expected to have an error");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
