/** Every command line that a page shows works as it is printed there. */
import { assert, assertEquals } from "@std/assert";
import { withFixedPorts } from "./fixed_ports.ts";
import { type Running, start } from "./process.ts";

const ROOT = new URL("../", import.meta.url);
const PAGES = [
  "README.md",
  "SECURITY.md",
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "bench/README.md",
  "interop/README.md",
  "interop/RPC.md",
  "client.ts",
  "server.ts",
];
const COMMAND = /^(?:deno (?!doc|lint|fmt|check)\w+|npx|python3|node) /;

/** Those that are not run here, and why, or where they are. */
const ELSEWHERE: Record<string, string> = {
  "deno add jsr:@blackbelt/networking": "needs the registry of JSR",
  "deno bench bench/codec_bench.ts": "takes minutes",
  "deno bundle --output networking.mjs networking.ts": "interop/bundle_test.ts",
  "deno install -g -n bb-server --allow-net=0.0.0.0 jsr:@blackbelt/networking/server":
    "install_test.ts",
  'deno run --allow-net=localhost jsr:@blackbelt/networking/client \'{"message":"hi"}\'':
    "install_test.ts",
  "deno run --allow-net=127.0.0.1 bench/load.ts --port 8080 8 64 4 17":
    "bench/load_test.ts",
  "deno task bench": "takes minutes",
  "deno task bench --quick": "takes a minute",
  "deno task bench load": "takes minutes",
  "deno task demo": "cli/demo_test.ts",
  "deno task ok": "runs these tests",
  "deno task pack DIR": "install_test.ts",
  "deno task publish": "deno task ok",
  "deno task publish --dry-run": "deno task ok",
  "deno task soak": "takes an hour",
  "deno task test": "runs these tests",
  'deno task test tests/frames_test.ts --filter "serve() refuses"':
    "runs such tests",
  "deno test --allow-all interop/": "deno task test",
  "npx -y deno task demo": "needs the registry of npm",
  "npx -y deno task test": "needs the registry of npm",
};

/**
 * The command lines in the code of a page, but for those of its consoles, which
 * readme_test.ts runs.
 */
function commandsOf(page: string): string[] {
  const text = Deno.readTextFileSync(new URL(page, ROOT));
  const blocks = [...text.matchAll(/^```sh\n([^]*?)^```$/gm)]
    .flatMap(([, block]) => block.split("\n"));
  const spans = [
    ...text.replaceAll(/^```[^]*?^```$/gm, "").matchAll(
      /`([^`]+)`/g,
    ),
  ].map(([, span]) => span.replaceAll(/\s+(?:\* )?/g, " "));
  return [...blocks, ...spans]
    .map((line) => line.replace(/ +# .*$/, "").trim())
    .filter((line) => COMMAND.test(line));
}

/** Whether it goes on until it is stopped. */
function isServer(command: string): boolean {
  return /\bserver\b/.test(command);
}

/** A command line where `deno` is this Deno, until it is stopped. */
function startLine(line: string): Running {
  const script = line.replace(/^deno /, `"${Deno.execPath()}" `);
  return start("sh", ["-c", `exec ${script}`], {
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  });
}

Deno.test("every command line that a page shows works as it is printed", () =>
  withFixedPorts(async () => {
    const commands = new Set(PAGES.flatMap(commandsOf));
    for (const command of Object.keys(ELSEWHERE)) {
      assert(commands.delete(command), `no page shows: ${command}`);
    }
    assert(commands.has("deno task client --port 9000"));
    for (const command of commands) {
      if (isServer(command)) await runServer(command);
      else await runClient(command);
    }
  }));

async function runServer(command: string): Promise<void> {
  await using server = startLine(command);
  await server.line(/\bListening on 0\.0\.0\.0:8080$/).catch((cause) => {
    throw new Error(`${command} does not listen`, { cause });
  });
  await stop(server);
}

/** Ends a server, and what a task has started. */
async function stop(server: Running): Promise<void> {
  server.kill("SIGINT");
  await server.status;
}

async function runClient(command: string): Promise<void> {
  const port = /--port (\d+)/.exec(command)?.[1] ?? "8080";
  const mode = / --call\b/.test(command) ? ["--rpc"] : [];
  await using server = start(Deno.execPath(), [
    ...["task", "--quiet", "server", "--port", port, ...mode],
  ], { cwd: ROOT });
  await server.line(/\bListening/);
  await using client = startLine(command);
  const [{ code }, stderr] = await Promise.all([
    client.status,
    client.stderr(),
  ]);
  await stop(server);
  assertEquals(code, 0, `${command}\n${stderr}`);
}
