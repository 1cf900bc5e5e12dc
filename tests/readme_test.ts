/** What the README shows is what happens. */
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import deno from "../deno.json" with { type: "json" };
import { encodeFrame } from "../mod.ts";
import { caption } from "../bench/results.ts";
import results from "../bench/results.json" with { type: "json" };
import { blocks, makeFiles, outputOf, README } from "./examples.ts";
import { withFixedPorts } from "./fixed_ports.ts";
import { start } from "./process.ts";

const ROOT = new URL("../", import.meta.url);
function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Runs a line of shell where `deno` is this Deno, and gives what it prints. */
async function shell(line: string): Promise<string> {
  const deno = Deno.execPath();
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", `deno() { "${deno}" "$@"; }\n${line}`],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  assertEquals(code, 0, `${line}\n${decode(stderr)}`);
  return decode(stdout);
}

/** Times, ports and durations differ from run to run; the page shows a terminal. */
function normalize(text: string): string {
  return text.replace(/^\d{4}-[\dT:.-]+Z /gm, "")
    .replace(/(127\.0\.0\.1):\d+/g, "$1:PORT")
    .replace(/\d+ ms/g, "N ms");
}

Deno.test("the README's programs print what it shows", () =>
  withFixedPorts(async () => {
    const consoles = blocks("console");
    while (consoles.length > 0) {
      await runConsoles(consoles.shift()!, consoles.shift()!);
    }
  }));

/** Runs a server, and what is done beside it. */
async function runConsoles(
  serverBlock: string,
  clientBlock: string,
): Promise<void> {
  const [command, ...serverLines] = serverBlock.trimEnd().split("\n");
  assert(command.startsWith("$ deno task server"), command);
  const args = command.split(" ").slice(4);
  await using server = start(Deno.execPath(), ["task", "server", ...args], {
    cwd: ROOT.pathname,
    env: { NO_COLOR: "1" },
  });
  await server.line(/ Listening on 0\.0\.0\.0:8080$/);
  const commands = clientBlock.split(/^\$ /m).slice(1);
  assert(commands.length > 0);
  for (const text of commands) {
    const [line, ...output] = text.split("\n");
    assertEquals(
      (await shell(line)).trimEnd(),
      output.join("\n").trimEnd(),
      line,
    );
  }
  if (args.length === 0) await runPython();
  server.kill("SIGINT");
  assertEquals((await server.status).code, 0);
  const printed = normalize(await server.stdout()).split("\n");
  assertEquals(
    printed.slice(0, serverLines.length),
    normalize(serverLines.join("\n")).split("\n"),
  );
}

async function runPython(): Promise<void> {
  const [python] = blocks("python");
  const { stdout } = await new Deno.Command("python3", {
    args: ["-c", python],
  }).output();
  assertEquals(decode(stdout), "{'status': 'success', 'echo': 'hi'}\n");
}

Deno.test("the README's code prints what its comments say", () =>
  withFixedPorts(async () => {
    for (const block of blocks("ts")) {
      const expected = outputOf(block);
      assert(expected !== "", block);
      const script = start(Deno.execPath(), ["run", "--allow-net", "-"], {
        cwd: ROOT.pathname,
        env: { NO_COLOR: "1" },
        stdin: "piped",
      });
      await script.write(block);
      await script.closeInput();
      const { code } = await script.status;
      assertEquals(code, 0, await script.stderr());
      assertEquals(await script.stdout(), expected, block);
    }
  }));

Deno.test("the README's code that reads its files prints what its comments say", () =>
  withFixedPorts(async () => {
    const directory = await Deno.makeTempDir();
    await makeFiles(directory);
    for (const block of blocks("ts ignore")) {
      await Deno.writeTextFile(`${directory}/main.ts`, block);
      const script = start(Deno.execPath(), [
        ...["run", "--allow-net", "--allow-read=.", "--config"],
        ...[new URL("deno.json", ROOT).pathname, "main.ts"],
      ], { cwd: directory, env: { NO_COLOR: "1" } });
      const { code } = await script.status;
      assertEquals(code, 0, await script.stderr());
      assertEquals(await script.stdout(), outputOf(block), block);
    }
    await Deno.remove(directory, { recursive: true });
  }));

Deno.test("the README's picture of a frame is one", () => {
  const [picture] = blocks("text");
  const hex = picture.split("\n")[0].trim().split(/\s+/);
  const frame = encodeFrame({ message: "hi" });
  assertEquals(
    hex,
    [...frame].map((byte) => byte.toString(16).toUpperCase().padStart(2, "0")),
  );
});

Deno.test("the README names the machine and the versions of the figures that it shows", () => {
  assert(README.replaceAll(/\s+/g, " ").includes(caption(results)));
});

/** Lines that each page may have: more is not read. */
const MOST_LINES: Record<string, number> = {
  "README.md": 300,
  "SECURITY.md": 150,
  "CONTRIBUTING.md": 100,
  "ARCHITECTURE.md": 165,
};

Deno.test("no page is longer than is read", async () => {
  for (const [page, most] of Object.entries(MOST_LINES)) {
    const text = await Deno.readTextFile(new URL(page, ROOT));
    assertLessOrEqual(text.trimEnd().split("\n").length, most, page);
  }
});

Deno.test("the README's adapters are those that are exported, and those of the tests", async () => {
  const rows = [
    ...README.matchAll(
      /^\| `(.+?)` +\| (\S+) +\| `@blackbelt\/networking\/(.+?)` +\|$/gm,
    ),
  ];
  const named = rows.map(([, , , entry]) => `./${entry}`);
  const entries = Object.keys(deno.exports);
  assertEquals(
    named.sort(),
    entries.filter((entry) => entry.startsWith("./adapters/")).sort(),
  );
  for (const [, library, version, entry] of rows) {
    const path = Reflect.get(deno.exports, `./${entry}`);
    const test = await Deno.readTextFile(
      new URL(path.replace(".ts", "_test.ts"), ROOT),
    );
    assert(test.includes(`"npm:${library}@${version}`), library);
  }
});
