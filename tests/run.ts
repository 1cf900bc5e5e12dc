/**
 * Runs all tests, in two processes beside each other, each of which takes about
 * half of the time. With arguments it is `deno test` with them, in one process.
 *
 *     deno task test [OPTION|FILE]...
 */

const TEST = ["test", "--lock=deno.lock", "--frozen", "--doc", "--allow-all"];
/** What mostly waits for other processes, and takes as long as all the rest. */
const HALF = [
  "tests/programs_test.ts",
  "tests/readme_test.ts",
  "tests/server_test.ts",
  "tests/faults_client_test.ts",
  "tests/faults_frames_test.ts",
  "tests/faults_pressure_test.ts",
  "tests/faults_server_test.ts",
  "tests/faults_trust_test.ts",
  "interop",
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
  const rest = deno([`--ignore=${HALF.join()}`], "piped").output();
  const { code } = await deno(HALF, "inherit").spawn().status;
  const { code: other, stdout, stderr } = await rest;
  for (const output of [stderr, stdout]) {
    await new Blob([output]).stream().pipeTo(Deno.stdout.writable, {
      preventClose: true,
    });
  }
  // The summary that stands last is that of one process.
  console.log(
    code === 0 && other === 0
      ? "ok | both halves of the tests passed"
      : `FAILED | exit codes of the two halves: ${code} and ${other}`,
  );
  return code || other;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
