/**
 * A child process of a test. Disposing of it kills it if it is still running,
 * and waits for its end.
 */
export interface Running extends AsyncDisposable {
  readonly pid: number;
  /** Resolves when the process has ended. */
  readonly status: Promise<Deno.CommandStatus>;
  /** All that it prints, once it has ended its output. */
  stdout(): Promise<string>;
  /** All that it prints as errors, once it has ended them. */
  stderr(): Promise<string>;
  /**
   * The match of the next line of stdout that matches; lines before it are
   * skipped. Rejects with all the output if stdout ends first, or none came in
   * {@linkcode GUARD}.
   */
  line(pattern: RegExp): Promise<RegExpMatchArray>;
  /** Writes to its stdin, which must be "piped". */
  write(text: string): Promise<void>;
  /** Ends its stdin, which must be "piped". */
  closeInput(): Promise<void>;
  /** Sends a signal, "SIGTERM" if none is given. */
  kill(signal?: Deno.Signal): void;
}

/**
 * Milliseconds after which a line is given up that does not come. No program
 * takes that long; it only ends a test that would hang.
 */
const GUARD = 60_000;

/** Options of {@linkcode start}. */
export interface StartOptions {
  cwd?: string | URL;
  env?: Record<string, string>;
  clearEnv?: boolean;
  /** @default {"null"} */
  stdin?: "null" | "piped";
}

/**
 * Starts a process and collects what it prints.
 *
 * @throws {Deno.errors.NotFound} If there is no such command.
 */
export function start(
  command: string,
  args: string[],
  { stdin = "null", ...options }: StartOptions = {},
): Running {
  const child = new Deno.Command(command, {
    ...options,
    args,
    stdin,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stdout = new Output(child.stdout);
  const stderr = new Output(child.stderr);
  const input = stdin === "piped" ? child.stdin.getWriter() : undefined;
  const status = child.status;

  return {
    pid: child.pid,
    status,
    stdout: () => stdout.ended,
    stderr: () => stderr.ended,
    async line(pattern) {
      const late = Promise.withResolvers<boolean>();
      const timer = setTimeout(late.resolve, GUARD, false);
      try {
        for (;;) {
          const line = await stdout.line(late.promise);
          if (line === undefined) break;
          const match = line.match(pattern);
          if (match !== null) return match;
        }
        await Promise.race([stderr.ended, late.promise]);
      } finally {
        clearTimeout(timer);
      }
      throw new Error(
        `${command} printed no line that matches ${pattern}\n` +
          `stdout: ${stdout.text}\nstderr: ${stderr.text}`,
      );
    },
    async write(text) {
      await opened(input).write(new TextEncoder().encode(text));
    },
    async closeInput() {
      await opened(input).close();
    },
    kill(signal) {
      child.kill(signal);
    },
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended already.
      }
      await status;
      // Its own children may hold the pipes open.
      await Promise.all([stdout.cancel(), stderr.cancel()]);
      await input?.close().catch(() => {}); // closed already, or the process left before it was read
    },
  };
}

function opened(
  input: WritableStreamDefaultWriter<Uint8Array> | undefined,
): WritableStreamDefaultWriter<Uint8Array> {
  if (input === undefined) {
    throw new TypeError('Cannot write: stdin is not "piped"');
  }
  return input;
}

/**
 * Reads a stream of text as it comes, so that the process never waits for its
 * reader.
 */
class Output {
  /** The whole text, when the stream has ended. */
  readonly ended: Promise<string>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  /** All that has come so far. */
  text = "";
  #position = 0;
  #more = Promise.withResolvers<boolean>();

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = stream.pipeThrough(new TextDecoderStream()).getReader();
    this.ended = this.#read();
  }

  async #read(): Promise<string> {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) break;
      this.text += value;
      this.#more.resolve(true);
      this.#more = Promise.withResolvers();
    }
    this.#more.resolve(false);
    return this.text;
  }

  /**
   * The next line, without its end; `undefined` after the last, or when `late`
   * resolves to `false`.
   */
  async line(late: Promise<boolean>): Promise<string | undefined> {
    for (;;) {
      const from = this.#position;
      const end = this.text.indexOf("\n", from);
      if (end >= 0) {
        this.#position = end + 1;
        return this.text.slice(from, end).replace(/\r$/, "");
      }
      if (await Promise.race([this.#more.promise, late])) continue;
      this.#position = this.text.length;
      return from < this.text.length ? this.text.slice(from) : undefined;
    }
  }

  async cancel(): Promise<void> {
    await this.#reader.cancel();
    await this.ended;
  }
}

/**
 * The server program with permissions of its own, once it listens.
 */
export async function startServerProgram(
  flags: string[],
  args: string[],
): Promise<Running & { port: number }> {
  const server = start(
    Deno.execPath(),
    ["run", "--no-prompt", ...flags, "server.ts", "--log=text", ...args],
    { cwd: new URL("../", import.meta.url) },
  );
  const [, text, json] = await server.line(
    /^Listening on .*?:?(\d*)$|"port":(\d+)/,
  );
  return Object.assign(server, { port: Number(text ?? json) });
}
