/** Processes of tests: their own scripts, and what the system knows of them. */
import { type Running, start, type StartOptions } from "./process.ts";

const ROOT = new URL("../", import.meta.url);

/** Options of {@linkcode startScript}. */
export interface ScriptOptions {
  /** Permissions. @default {["--allow-all"]} */
  flags?: string[];
  /** Most descriptors that the process may have open. @default {1_024} */
  descriptors?: number;
}

/** Starts Deno where it may have no more than so many descriptors open. */
export function startLimited(
  descriptors: number,
  args: string[],
  options: StartOptions = {},
): Running {
  const script = `ulimit -n ${descriptors} && exec "$@"`;
  // Deno reads them when it may have no descriptor left, and prints a warning.
  const { NODE_EXTRA_CA_CERTS: _, ...env } = Deno.env.toObject();
  return start("sh", ["-c", script, "sh", Deno.execPath(), ...args], {
    cwd: ROOT,
    clearEnv: true,
    env,
    ...options,
  });
}

/** Runs a module, to which `networking` is what this package exports. */
export async function startScript(
  body: string,
  { flags = ["--allow-all"], descriptors = 1_024 }: ScriptOptions = {},
): Promise<Running> {
  const running = startLimited(descriptors, [
    ...["run", "--no-prompt", "--no-check", ...flags, "-"],
  ], { stdin: "piped" });
  const mod = new URL("mod.ts", ROOT).href;
  await running.write(`import * as networking from "${mod}";\n${body}`);
  await running.closeInput();
  return running;
}

/** Milliseconds that the processor has spent on a process so far. */
export function processorTime(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1]
    .split(" ");
  const [user, system] = [fields[11], fields[12]].map(Number);
  return (user + system) * 10; // the kernel tells it in hundredths of a second
}
