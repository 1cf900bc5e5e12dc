/**
 * Runs all tests, each file in a process of its own, and checks their types in
 * one more. With arguments it is `deno test` with them, in one process.
 *
 *     deno task test [OPTION|FILE]...
 */

const ROOT = new URL("../", import.meta.url);
const TEST = ["test", "--lock=deno.lock", "--frozen", "--allow-all"];
const TESTS = "_test.ts";
/** Processes beside each other for each core: some of them wait for others. */
const EACH_CORE = 2;

/** A process and what it is for. */
interface Part {
  name: string;
  args: string[];
}

/** Files below a folder that hold tests, none of which begins with a dot. */
function* testFiles(folder = ""): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    if (name.startsWith(".") || name === "node_modules") continue;
    if (isDirectory) yield* testFiles(`${folder}${name}/`);
    else if (name.endsWith(TESTS)) yield folder + name;
  }
}

function parts(): Part[] {
  return [
    { name: "types", args: ["--doc", "--no-run"] },
    {
      name: "examples of docs",
      args: ["--no-check", "--doc", `--ignore=**/*${TESTS}`],
    },
    ...[...testFiles()].sort().map((file) => ({
      name: file,
      args: ["--no-check", file],
    })),
  ];
}

function deno(args: string[], output: "inherit" | "piped"): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: [...TEST, ...args],
    cwd: ROOT,
    stdin: "null",
    stdout: output,
    stderr: output,
  });
}

/** Runs one part, and prints its last line, or everything where it fails. */
async function run({ name, args }: Part): Promise<boolean> {
  const { success, stdout, stderr } = await deno(args, "piped").output();
  const decoder = new TextDecoder();
  const text = decoder.decode(stdout) + decoder.decode(stderr);
  if (success) {
    const [summary] = /ok.*\| .*passed.*/.exec(text) ?? ["ok"];
    console.log(`${name} ... ${summary}`);
  } else {
    console.log(`${name} ... FAILED\n${text}`);
  }
  return success;
}

async function main(args: string[]): Promise<number> {
  if (args.length > 0) {
    return (await deno(["--doc", ...args], "inherit").spawn().status).code;
  }
  const startedAt = performance.now();
  const all = parts();
  const rest = all.values();
  const failed: string[] = [];
  async function work(): Promise<void> {
    for (const part of rest) if (!await run(part)) failed.push(part.name);
  }
  const processes = EACH_CORE * navigator.hardwareConcurrency;
  await Promise.all(Array.from({ length: processes }, work));
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed();
  console.log(
    failed.length === 0
      ? `ok | all ${all.length} parts of the tests passed (${seconds}s)`
      : `FAILED | ${failed.join(", ")} (${seconds}s)`,
  );
  return failed.length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
