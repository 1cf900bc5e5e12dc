/**
 * Processes of a benchmark: a server on one core, and what puts load on it on
 * another, where `taskset` can say so.
 */
import { type Running, start } from "../tests/process.ts";

const HOSTNAME = "127.0.0.1";
const ROOT = new URL("../", import.meta.url);

/** Which end of a benchmark a process is. */
export type Role = "server" | "client";

const CORES: Record<Role, string> = { server: "1", client: "0" };

/** Whether each end has a core of its own. */
export const PINNED = succeeds("taskset", ["-c", "0,1", "true"]) &&
  navigator.hardwareConcurrency > 1;

function succeeds(command: string, args: string[]): boolean {
  return outputOf(command, args) !== undefined;
}

/**
 * What a command prints; `undefined` if there is no such command, or it fails.
 */
export function outputOf(command: string, args: string[]): string | undefined {
  try {
    const options = { args, stderr: "null" } as const;
    const { success, stdout } = new Deno.Command(command, options).outputSync();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  } catch {
    return undefined;
  }
}

/** Starts a process on the core of its role. */
export function startAs(role: Role, command: string, args: string[]): Running {
  return PINNED
    ? start("taskset", ["-c", CORES[role], command, ...args], { cwd: ROOT })
    : start(command, args, { cwd: ROOT });
}

/**
 * Runs a process to its end on the core of its role, and gives what it prints.
 */
export async function outputAs(
  role: Role,
  command: string,
  args: string[],
): Promise<string> {
  await using running = startAs(role, command, args);
  const [{ success }, stdout, stderr] = await Promise.all([
    running.status,
    running.stdout(),
    running.stderr(),
  ]);
  if (!success) {
    throw new Error(
      `Cannot measure: ${args.join(" ")} failed\n${stdout}${stderr}`,
    );
  }
  return stdout;
}

/**
 * Runs a script of this folder to its end, and gives the JSON that it prints.
 */
export async function figuresOf<T>(
  script: string,
  ...args: string[]
): Promise<T> {
  const path = new URL(script, import.meta.url).pathname;
  return JSON.parse(
    await outputAs("client", Deno.execPath(), [
      "run",
      "--allow-all",
      path,
      ...args,
    ]),
  );
}

/** A server that runs. */
export interface RunningServer extends AsyncDisposable {
  readonly port: number;
  readonly pid: number;
}

/** Starts the server program of this package, as it is delivered. */
export async function startServer(): Promise<RunningServer> {
  const port = freePort();
  const server = startAs("server", Deno.execPath(), [
    "run",
    `--allow-net=${HOSTNAME}:${port}`,
    "server.ts",
    `--hostname=${HOSTNAME}`,
    `--port=${port}`,
    "--max-connections=Infinity",
    "--quiet",
  ]);
  const ended = server.status.then(async () => {
    throw new Error(`Cannot start the server\n${await server.stderr()}`);
  });
  await Promise.race([ended, reachable(port)]);
  ended.catch(() => {});
  return running(server, port);
}

/** Holds the packages that are measured, and those of the tests. */
const LOCK = new URL("../deno.lock", import.meta.url).pathname;

/** The command and the first arguments that run one end of a peer. */
export function peerCommand(
  runtime: "deno" | "node",
  module: string,
): [command: string, ...args: string[]] {
  const script = new URL("./peer_process.mjs", import.meta.url).pathname;
  return runtime === "node"
    ? ["node", script, module]
    : [Deno.execPath(), "run", `--lock=${LOCK}`, "--allow-all", script, module];
}

/** Starts the server of a peer. */
export async function startPeer(
  runtime: "deno" | "node",
  module: string,
): Promise<RunningServer> {
  const [command, ...args] = peerCommand(runtime, module);
  const server = startAs("server", command, [...args, "serve"]);
  try {
    return running(server, Number((await server.line(/^\d+$/))[0]));
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

function running(server: Running, port: number): RunningServer {
  return {
    port,
    pid: server.pid,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Whether there is a Node to measure. */
export const HAS_NODE = succeeds("node", ["--version"]);

function freePort(): number {
  using listener = Deno.listen({ hostname: HOSTNAME, port: 0 });
  return listener.addr.port;
}

async function reachable(port: number): Promise<void> {
  for (;;) {
    try {
      using _conn = await Deno.connect({ hostname: HOSTNAME, port });
      return;
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
