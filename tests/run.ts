/**
 * Runs all tests, in processes beside each other that take about as long, and
 * checks their types in one more. With arguments it is `deno test` with them, in
 * one process.
 *
 *     deno task test [OPTION|FILE]...
 */

const TEST = ["test", "--lock=deno.lock", "--frozen", "--doc", "--allow-all"];
/** Those of `tests/` that mostly wait for programs. */
const PROGRAMS = [
  "tests/commands_test.ts",
  "tests/holders_test.ts",
  "tests/hostile_peers_test.ts",
  "tests/programs_test.ts",
  "tests/readme_test.ts",
  "tests/shapes_test.ts",
];
/** What each process is started with: every test is in one of them. */
const PARTS: string[][] = [
  ["--no-check", ...PROGRAMS, "interop"],
  ["--no-check", "tests", `--ignore=${PROGRAMS.join()}`],
  ["--no-check", "--ignore=tests,interop"],
  ["--no-run"],
];

function deno(args: string[], stdout: "inherit" | "piped"): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: [...TEST, ...args],
    cwd: new URL("../", import.meta.url),
    stdin: "null",
    stdout,
    stderr: stdout,
  });
}

async function main(args: string[]): Promise<number> {
  if (args.length > 0) return (await deno(args, "inherit").spawn().status).code;
  const [first, ...others] = PARTS;
  const rest = others.map((part) => deno(part, "piped").output());
  const codes = [(await deno(first, "inherit").spawn().status).code];
  for (const { code, stdout, stderr } of await Promise.all(rest)) {
    codes.push(code);
    for (const output of [stderr, stdout]) {
      await new Blob([output]).stream().pipeTo(Deno.stdout.writable, {
        preventClose: true,
      });
    }
  }
  const failed = codes.filter((code) => code !== 0).length;
  // The summary that stands last is that of one process.
  console.log(
    failed === 0
      ? "ok | all parts of the tests passed"
      : `FAILED | ${failed} of ${codes.length} parts of the tests`,
  );
  return failed === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
