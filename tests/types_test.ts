/**
 * What the compiler accepts and what it rejects. The files in `types/` are checked
 * like all others, where `@ts-expect-error` only asks for an error; here its text
 * is compared with what stands behind.
 */
import { assert, assertEquals } from "@std/assert";
import { start } from "./process.ts";

const TYPES = new URL("types/", import.meta.url);
const CONFIG = new URL("../deno.json", import.meta.url);
const EXPECTED = /^\s*\/\/ @ts-expect-error: (.+)$/;

/** What `deno check` says of each line, by `FILE:LINE`. */
function errorsOf(output: string): Map<string, string> {
  const errors = new Map<string, string>();
  for (const text of output.split(/^(?=TS\d+ \[ERROR\]: \S)/m)) {
    if (!text.startsWith("TS")) continue;
    const at = text.match(/^ *at file:\S*\/(\S+?:\d+):\d+$/m)?.[1] ?? "";
    errors.set(at, (errors.get(at) ?? "") + text);
  }
  return errors;
}

Deno.test("types accept what is right, and say what is wrong", async () => {
  const names = Array.from(Deno.readDirSync(TYPES), ({ name }) => name);
  const isWrong = (name: string) => name.endsWith("_wrong.ts");
  const expected = new Map<string, string>();
  const folder = await Deno.makeTempDir();
  try {
    for (const name of names.filter(isWrong)) {
      const url = new URL(name, TYPES);
      const lines = (await Deno.readTextFile(url)).split("\n");
      lines.forEach((line, i) => {
        const text = line.match(EXPECTED)?.[1];
        // It is for the next line, and they count from 1.
        if (text !== undefined) expected.set(`${name}:${i + 2}`, text);
      });
      // Without what hides the errors.
      const copy = lines.map((line) =>
        line
          .replace("@ts-expect-error", "expects")
          .replace(/from "(\..+)"/, (_, to) => `from "${new URL(to, url)}"`)
      );
      await Deno.writeTextFile(`${folder}/${name}`, copy.join("\n"));
    }
    await using check = start(Deno.execPath(), [
      "check",
      "--quiet",
      "--config",
      CONFIG.pathname,
      ...names.map((name) =>
        isWrong(name) ? `${folder}/${name}` : new URL(name, TYPES).pathname
      ),
    ], { env: { NO_COLOR: "1" } });
    const errors = errorsOf(await check.stderr());
    for (const [line, text] of expected) {
      const error = errors.get(line) ?? "nothing";
      assert(error.includes(text), `${line}: expected ${text}, got ${error}`);
    }
    assertEquals([...errors.keys()].sort(), [...expected.keys()].sort());
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
