/** No pattern that a page or an example shows ends for what a peer does. */
import { assert, assertEquals } from "@std/assert";
import {
  ADAPTER_EXAMPLES,
  blocks,
  EXAMPLES,
  makeFiles,
  outputOf,
} from "./examples.ts";
import { withFixedPorts } from "./fixed_ports.ts";
import { start } from "./process.ts";

const ROOT = new URL("../", import.meta.url);

/** A program, and what it prints when nobody does harm. */
interface Program {
  readonly name: string;
  readonly code: string;
  readonly output: string;
}

function* programs(): Generator<Program> {
  const examples = { ...EXAMPLES, ...ADAPTER_EXAMPLES };
  for (const [file, { output }] of Object.entries(examples)) {
    const url = new URL(`examples/${file}`, ROOT);
    const code = Deno.readTextFileSync(url).replaceAll(
      /"(\.\.\/.*)"/g,
      (_, path) => JSON.stringify(new URL(path, url).href),
    );
    yield { name: `examples/${file}`, code, output };
  }
  for (const code of [...blocks("ts"), ...blocks("ts ignore")]) {
    yield { name: code, code, output: outputOf(code) };
  }
}

Deno.test("every example and README block that listens prints the same where peers reset, stop inside a frame, send too much, send no JSON or vanish", () =>
  withFixedPorts(async () => {
    const directory = await Deno.makeTempDir();
    await makeFiles(directory);
    let count = 0;
    for (const { name, code, output } of programs()) {
      if (!/\b(listen|serve|serveRpc)\(/.test(code)) continue;
      await Deno.writeTextFile(`${directory}/main.ts`, code);
      await using program = start(Deno.execPath(), [
        ...["run", "--quiet", "--no-prompt", "--no-check"],
        ...["--allow-net", "--allow-env=XDG_RUNTIME_DIR", "--allow-read=."],
        `--config=${new URL("deno.json", ROOT).pathname}`,
        `--lock=${new URL("deno.lock", ROOT).pathname}`,
        `--preload=${new URL("hostile_peers.ts", import.meta.url).pathname}`,
        "main.ts",
      ], { cwd: directory, env: { NO_COLOR: "1" } });
      const { code: status } = await program.status;
      const printed = await program.stdout();
      assertEquals(await program.stderr(), "", name);
      assertEquals(status, 0, name);
      assert(printed.includes("peers came\n"), name);
      assertEquals(printed.replaceAll(/^\d+ peers came\n/gm, ""), output, name);
      count++;
    }
    assert(count >= 10, `${count} programs listen`);
    await Deno.remove(directory, { recursive: true });
  }));
