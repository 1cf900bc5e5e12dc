/**
 * The programs, as child processes under exactly the permissions that they say
 * they need, and peers for them.
 */
import { assertEquals } from "@std/assert";
import project from "../deno.json" with { type: "json" };
import { FrameDecoder, type JsonValue } from "../mod.ts";
import { frame } from "./peers.ts";
import {
  type Running,
  start,
  type StartOptions,
  startServerProgram,
} from "./process.ts";

export const ROOT = new URL("../", import.meta.url);

/** What lines of the log begin with that go to a pipe. */
export const TIME = /^\d{4}-\d\d-\d\dT[\d:.]{12}Z /gm;

export const HELLO_REPLY = '{"status":"success","echo":"hello from client"}\n';

/** What the tasks of both programs have besides permissions. */
export const [V8_FLAGS] = words(project.tasks.client).filter((word) =>
  word.startsWith("--v8-flags")
);

export const NO_MESSAGE = {
  status: "error",
  error: 'expected an object with a "message"',
};

export interface Finished {
  code: number;
  stdout: string;
  stderr: string;
}

export function deno(args: string[], options: StartOptions = {}): Running {
  return start(Deno.execPath(), args, { cwd: ROOT, ...options });
}

export function run(
  flags: string,
  args: string[],
  options?: StartOptions,
): Running {
  return deno(["run", "--no-prompt", ...words(flags), ...args], options);
}

export function words(line: string): string[] {
  return line.split(" ").filter((word) => word !== "");
}

export async function finish(running: Running): Promise<Finished> {
  await using process = running;
  const [{ code }, stdout, stderr] = await Promise.all([
    process.status,
    process.stdout(),
    process.stderr(),
  ]);
  return { code, stdout, stderr };
}

/**
 * Runs a program to its end, which is a good one if nothing else is expected.
 */
export async function assertEnds(
  running: Running,
  { code = 0, stdout = "", stderr = "" }: Partial<Finished>,
): Promise<void> {
  assertEquals(await finish(running), { code, stdout, stderr });
}

export function serverArgs(args: string[]): string[] {
  return [
    ...["server.ts", "--hostname=127.0.0.1", "--port=0", "--log=text"],
    ...args,
  ];
}

/** A server program on a free port, once it listens. */
export function startServer(
  ...args: string[]
): Promise<Running & { port: number }> {
  return startServerWith("", args);
}

/** The same with more permissions. */
export function startServerWith(
  flags: string,
  args: string[],
): Promise<Running & { port: number }> {
  return startServerProgram(
    ["--allow-net=127.0.0.1:0", ...words(flags)],
    ["--hostname=127.0.0.1", "--port=0", ...args],
  );
}

export function clientArgs(port: number, args: string[]): string[] {
  return ["client.ts", "--hostname=127.0.0.1", `--port=${port}`, ...args];
}

export function startClient(
  port: number,
  args: string[] = [],
  options?: StartOptions,
): Running {
  const flags = `--allow-net=127.0.0.1:${port}`;
  return run(flags, clientArgs(port, args), options);
}

/** A client program whose input is a file. */
export function startClientWith(input: string, port: number): Running {
  return shell(`exec "$@" < ${input}`, [
    ...[Deno.execPath(), "run", "--no-prompt"],
    `--allow-net=127.0.0.1:${port}`,
    ...clientArgs(port, []),
  ]);
}

export function shell(script: string, args: string[]): Running {
  return start("sh", ["-c", script, "sh", ...args], { cwd: ROOT });
}

/** The two ends of a frame's way, without the library's connection. */
export class Wire implements Disposable {
  readonly conn: Deno.Conn;
  readonly #decoder = new FrameDecoder();

  constructor(conn: Deno.Conn) {
    this.conn = conn;
  }

  static async connect(port: number): Promise<Wire> {
    return new Wire(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  async send(payload: string | Uint8Array): Promise<void> {
    await this.write(frame(payload));
  }

  async write(bytes: Uint8Array): Promise<void> {
    while (bytes.length > 0) {
      bytes = bytes.subarray(await this.conn.write(bytes));
    }
  }

  /** The next message; `undefined` at the end. */
  async receive(): Promise<JsonValue | undefined> {
    const space = new Uint8Array(4_096);
    for (;;) {
      const next = this.#decoder.push().next();
      if (!next.done) return next.value;
      const count = await this.conn.read(space);
      if (count === null) return undefined;
      this.#decoder.push(space.subarray(0, count));
    }
  }

  [Symbol.dispose](): void {
    this.conn.close();
  }
}

/** Accepts one connection and does with it what a server should not. */
export function startPeer(
  behave: (wire: Wire) => void | Promise<void>,
): AsyncDisposable & { port: number; stop(): void } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const behaving = (async () => {
    const wire = new Wire(await listener.accept());
    await behave(wire);
    return wire;
  })();
  return {
    port: listener.addr.port,
    /** Accepts no more. */
    stop() {
      listener[Symbol.dispose]();
    },
    async [Symbol.asyncDispose]() {
      this.stop();
      try {
        (await behaving)[Symbol.dispose]();
      } catch {
        // Nobody connected, or `behave` has closed it.
      }
    },
  };
}

/** Connects to a server that does not tell when it listens. */
export async function connectSoon(path: string): Promise<Wire> {
  for (;;) {
    try {
      return new Wire(await Deno.connect({ transport: "unix", path }));
    } catch (error) {
      const early = error instanceof Deno.errors.NotFound ||
        error instanceof Deno.errors.ConnectionRefused;
      if (!early) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/**
 * Runs a command on a pseudo-terminal. What goes back to the start of a line
 * ends it, too, so that it can be waited for.
 */
export const ON_TERMINAL = `
import os, pty, sys
def output(descriptor):
    return os.read(descriptor, 1024).replace(b"\\r", b"\\n")
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:], output)))
`;

/** A client program at a terminal, where Deno would prompt for permissions. */
export function onTerminal(
  port: number,
  args: string[],
  env: Record<string, string> = {},
): Running {
  return start("python3", [
    ...["-c", ON_TERMINAL, Deno.execPath(), "run"],
    `--allow-net=127.0.0.1:${port}`,
    ...clientArgs(port, args),
  ], { cwd: ROOT, env, stdin: "piped" });
}
