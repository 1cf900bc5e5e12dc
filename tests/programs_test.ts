/**
 * The programs, as child processes under exactly the permissions that they say
 * they need.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import project from "../deno.json" with { type: "json" };
import { FrameDecoder, type JsonValue } from "../mod.ts";
import { certificates } from "./certificates.ts";
import { withFixedPorts } from "./fixed_ports.ts";
import {
  type Running,
  start,
  type StartOptions,
  startServerProgram,
} from "./process.ts";
import { resetAndDestroy } from "./raw.ts";

const ROOT = new URL("../", import.meta.url);
/** What lines of the log begin with that go to a pipe. */
const TIME = /^\d{4}-\d\d-\d\dT[\d:.]{12}Z /gm;
const HELLO_REPLY = '{"status":"success","echo":"hello from client"}\n';
/** What the tasks of both programs have besides permissions. */
const [V8_FLAGS] = words(project.tasks.client).filter((word) =>
  word.startsWith("--v8-flags")
);
const NO_MESSAGE = {
  status: "error",
  error: 'expected an object with a "message"',
};

interface Finished {
  code: number;
  stdout: string;
  stderr: string;
}

function deno(args: string[], options: StartOptions = {}): Running {
  return start(Deno.execPath(), args, { cwd: ROOT, ...options });
}

function run(flags: string, args: string[], options?: StartOptions): Running {
  return deno(["run", "--no-prompt", ...words(flags), ...args], options);
}

function words(line: string): string[] {
  return line.split(" ").filter((word) => word !== "");
}

async function finish(running: Running): Promise<Finished> {
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
async function assertEnds(
  running: Running,
  { code = 0, stdout = "", stderr = "" }: Partial<Finished>,
): Promise<void> {
  assertEquals(await finish(running), { code, stdout, stderr });
}

function serverArgs(args: string[]): string[] {
  return [
    ...["server.ts", "--hostname=127.0.0.1", "--port=0", "--log=text"],
    ...args,
  ];
}

/** A server program on a free port, once it listens. */
function startServer(
  ...args: string[]
): Promise<Running & { port: number }> {
  return startServerWith("", args);
}

/** The same with more permissions. */
function startServerWith(
  flags: string,
  args: string[],
): Promise<Running & { port: number }> {
  return startServerProgram(
    ["--allow-net=127.0.0.1:0", ...words(flags)],
    ["--hostname=127.0.0.1", "--port=0", ...args],
  );
}

function clientArgs(port: number, args: string[]): string[] {
  return ["client.ts", "--hostname=127.0.0.1", `--port=${port}`, ...args];
}

function startClient(
  port: number,
  args: string[] = [],
  options?: StartOptions,
): Running {
  const flags = `--allow-net=127.0.0.1:${port}`;
  return run(flags, clientArgs(port, args), options);
}

/** A client program whose input is a file. */
function startClientWith(input: string, port: number): Running {
  return shell(`exec "$@" < ${input}`, [
    ...[Deno.execPath(), "run", "--no-prompt"],
    `--allow-net=127.0.0.1:${port}`,
    ...clientArgs(port, []),
  ]);
}

function shell(script: string, args: string[]): Running {
  return start("sh", ["-c", script, "sh", ...args], { cwd: ROOT });
}

/** The two ends of a frame's way, without the library's connection. */
class Wire implements Disposable {
  readonly conn: Deno.Conn;
  readonly #decoder = new FrameDecoder();

  constructor(conn: Deno.Conn) {
    this.conn = conn;
  }

  static async connect(port: number): Promise<Wire> {
    return new Wire(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  async send(payload: string | Uint8Array): Promise<void> {
    const bytes = typeof payload === "string"
      ? new TextEncoder().encode(payload)
      : payload;
    const frame = new Uint8Array(4 + bytes.length);
    new DataView(frame.buffer).setUint32(0, bytes.length);
    frame.set(bytes, 4);
    await this.write(frame);
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
function startPeer(
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

Deno.test("both programs run under the permissions of their tasks", () =>
  withFixedPorts(async () => {
    const flags = (task: string) =>
      task.replace(/^deno run (.*) \w+\.ts$/, "$1");
    assertMatch(flags(project.tasks.server), / --allow-net=0\.0\.0\.0$/);
    assertMatch(flags(project.tasks.client), / --allow-net=localhost$/);
    await using server = run(flags(project.tasks.server), ["server.ts"]);
    const listening = server.line(/ Listening on 0\.0\.0\.0:8080$/);
    await listening.catch((cause) => {
      const message =
        "port 8080 must be free: stop what listens there, and run the tests again";
      throw new Error(message, { cause });
    });
    const client = run(flags(project.tasks.client), ["client.ts"]);
    await assertEnds(client, { stdout: HELLO_REPLY });
    await server.line(/ closed after /);
    server.kill("SIGINT");
    assertEquals((await server.status).code, 0);
    assertEquals(await server.stderr(), "");
    assertMatch(
      (await server.stdout()).replaceAll(TIME, ""),
      /^Listening on 0\.0\.0\.0:8080\nAnyone who can reach this machine can connect: no --tls-cert, no --token-file\n127\.0\.0\.1:\d+ connected\n127\.0\.0\.1:\d+ closed after \d+ ms: 1 message in \(49 bytes\), 1 out \(51 bytes\)\nShutting down with 0 connections open\n$/,
    );
  }));

Deno.test("server answers by its rule, on links that go on", async () => {
  await using server = await startServer();
  using wire = await Wire.connect(server.port);
  const notJson = (bytes: number, what: string) => ({
    status: "error",
    error: `Cannot decode message: payload of ${bytes} bytes is not ${what}`,
  });
  const rules: [payload: string | Uint8Array, reply: JsonValue][] = [
    [
      '{"message": "hello from client", "type": "text"}',
      { status: "success", echo: "hello from client" },
    ],
    ['{"message":null}', { status: "success", echo: null }],
    ['{"message":{"é":[1]}}', { status: "success", echo: { "é": [1] } }],
    ['{"type":"text"}', NO_MESSAGE],
    ['{"__proto__":{"message":1}}', NO_MESSAGE],
    ['["message"]', NO_MESSAGE],
    ['"message"', NO_MESSAGE],
    ["null", NO_MESSAGE],
    ["{nonsense}", notJson(10, "JSON")],
    ["", notJson(0, "JSON")],
    [Uint8Array.of(0x22, 0xff, 0x22), notJson(3, "UTF-8")],
    ['{"message":"still here"}', { status: "success", echo: "still here" }],
  ];
  for (const [payload, reply] of rules) {
    await wire.send(payload);
    assertEquals(await wire.receive(), reply);
  }
  for (const [payload] of rules) await wire.send(payload);
  for (const [, reply] of rules) assertEquals(await wire.receive(), reply);
});

Deno.test("server keeps to its limits", async () => {
  await using server = await startServer(
    ...["--max-frame-bytes", "100", "--max-connections", "2"],
  );
  using one = await Wire.connect(server.port);
  using two = await Wire.connect(server.port);
  using waiting = await Wire.connect(server.port);
  await waiting.send('{"message":3}');
  for (const [message, wire] of [one, two].entries()) {
    await wire.send(JSON.stringify({ message }));
  }
  assertEquals(await two.receive(), { status: "success", echo: 1 });
  assertEquals(await one.receive(), { status: "success", echo: 0 });
  await one.send(JSON.stringify({ message: "x".repeat(86) }));
  assertEquals(await one.receive(), {
    status: "error",
    error: "Cannot encode frame: payload is 116 bytes, limit is 100 bytes",
  });
  await one.send(" ".repeat(101));
  assertEquals(await one.receive(), undefined);
  await server.line(
    /^127\.0\.0\.1:\d+ closed after \d+ ms: 2 messages in \(\d+ bytes\), 2 out \(127 bytes\); cannot decode frame: payload is 101 bytes, limit is 100 bytes$/,
  );
  assertEquals(await waiting.receive(), { status: "success", echo: 3 });
});

Deno.test("server logs a line of text for what happens, and no payload", async () => {
  await using server = await startServer("--verbose");
  const wire = await Wire.connect(server.port);
  const peer = `127.0.0.1:${(wire.conn.localAddr as Deno.NetAddr).port}`;
  await wire.send('{"message":"secret"}');
  await wire.receive();
  await wire.send("secret");
  await wire.receive();
  await wire.write(Uint8Array.of(0, 0));
  wire[Symbol.dispose]();
  await server.line(/closed/);
  server.kill();
  assertEquals((await server.status).code, 0);
  const printed = await server.stdout();
  assertEquals(
    printed.replaceAll(peer, "PEER").replace(/\d+ ms/, "N ms").split("\n"),
    [
      `Listening on 127.0.0.1:${server.port}`,
      "PEER connected",
      "PEER message in, 20 bytes",
      "PEER message out, 36 bytes",
      "PEER: cannot decode message: payload of 6 bytes is not JSON",
      "PEER message out, 82 bytes",
      "PEER closed after N ms: 2 messages in (36 bytes), 2 out (126 bytes); " +
      "cannot decode frame: the stream ended after 2 of 4 prefix bytes",
      "Shutting down with 0 connections open",
      "",
    ],
  );
});

Deno.test("server --log json prints nothing but JSON", async () => {
  await using server = await startServer("--log", "json", "--verbose");
  const wire = await Wire.connect(server.port);
  const peer = `127.0.0.1:${(wire.conn.localAddr as Deno.NetAddr).port}`;
  await wire.send("1");
  await wire.receive();
  wire[Symbol.dispose]();
  await server.line(/"closed"/);
  server.kill("SIGINT");
  assertEquals((await server.status).code, 0);
  const records = (await server.stdout()).trimEnd().split("\n").map((line) => {
    const { time, milliseconds, ...record } = JSON.parse(line);
    assert(Math.abs(Date.now() - Date.parse(time)) < 60_000, line);
    assertEquals(typeof milliseconds === "number", record.type === "closed");
    return record;
  });
  const { port } = server;
  assertEquals(records, [
    { type: "listening", transport: "tcp", hostname: "127.0.0.1", port },
    { type: "connected", peer },
    { type: "message", peer, direction: "in", bytes: 1 },
    { type: "message", peer, direction: "out", bytes: 66 },
    {
      ...{ type: "closed", peer, messagesIn: 1, messagesOut: 1 },
      ...{ bytesIn: 5, bytesOut: 70 },
    },
    { type: "draining", connections: 0 },
  ]);
});

Deno.test("server serves, and ends at SIGTERM, while its log is not read", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/server.sock`;
  // The pipe is full before the server prints its first line.
  const child = new Deno.Command("sh", {
    args: [
      ...["-c", 'head -c 65536 /dev/zero; exec "$@"', "sh", Deno.execPath()],
      ...["run", "-A", "server.ts", "--verbose", `--unix=${path}`],
    ],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  for (let message = 0; message < 100; message++) {
    using wire = await connectSoon(path);
    await wire.send(`{"message":${message}}`);
    assertEquals(await wire.receive(), { status: "success", echo: message });
  }
  child.kill("SIGTERM");
  assertEquals((await child.status).code, 0);
  clearTimeout(timer);
  await child.stdout.cancel();
  await Deno.remove(directory, { recursive: true });
});

Deno.test("server ends with 0 at a signal, and at once at the next", async () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    await using server = await startServer();
    using wire = await Wire.connect(server.port);
    await server.line(/connected$/);
    server.kill(signal);
    await server.line(/^Shutting down with 1 connection open$/);
    assertEquals(await wire.receive(), undefined);
    assertEquals((await server.status).code, 0);
    assertMatch(await server.stdout(), /closed after .*0 out \(0 bytes\)\n$/);
  }
  for (
    const [first, second, code] of [
      ["SIGINT", "SIGTERM", 143],
      ["SIGTERM", "SIGINT", 130],
    ] as const
  ) {
    await using server = await startServer(
      ...["--max-frame-bytes", "Infinity", "--verbose"],
    );
    using wire = await Wire.connect(server.port);
    // The reply is larger than what the platform takes for a peer that does not
    // read.
    await wire.send(`{"message":"${"x".repeat(2 ** 24)}"}`);
    await server.line(/message out/);
    server.kill(first);
    // So soon, it is taken for the same Ctrl-C, which `deno task` passes on.
    server.kill(first);
    await server.line(/^Shutting down/);
    server.kill(second);
    assertEquals((await server.status).code, code);
  }
});

Deno.test("both programs speak over a Unix socket, and ask for all that it needs", async () => {
  const directory = await Deno.realPath(await Deno.makeTempDir());
  const path = `${directory}/server.sock`;
  const beside = [path, `${path}.d`, `${path}.lock`].join();
  const serverFiles = `--allow-read=${beside} --allow-write=${beside}`;
  const clientFiles = `--allow-read=${path} --allow-write=${path}`;
  const forServer = `${serverFiles} --allow-net=unix:${path}.d/s`;
  const forClient = `${clientFiles} --allow-net=unix:${path}`;
  {
    await using server = run(forServer, [
      ...["server.ts", "--log=text", "--unix", path],
    ]);
    assertEquals((await server.line(/.*/))[0], `Listening on ${path}`);
    const client = run(forClient, [
      ...["client.ts", "--unix", path, '{"message":1}'],
    ]);
    await assertEnds(client, { stdout: '{"status":"success","echo":1}\n' });
    await server.line(/^client 1 closed after/);
    await assertEnds(run(forServer, ["server.ts", "--unix", path]), {
      code: 1,
      stderr: `server: cannot listen on ${path}: address already in use\n`,
    });
    server.kill();
    assertEquals((await server.status).code, 0);
    assertEquals([...Deno.readDirSync(directory)], []);
  }
  const cases = [
    ["server", "listen on", "", forServer],
    ["server", "listen on", serverFiles, forServer],
    ["client", "connect to", "", forClient],
    ["client", "connect to", clientFiles, forClient],
  ];
  for (const [program, verb, granted, all] of cases) {
    const what = granted === "" ? "permissions" : "permission";
    await assertEnds(run(granted, [`${program}.ts`, "--unix", path]), {
      code: 1,
      stderr:
        `${program}: cannot ${verb} ${path}: missing ${what}; run: deno run ${all} ${V8_FLAGS} ${program}.ts --unix ${path}\n`,
    });
  }
  await Deno.remove(directory, { recursive: true });
});

/** Connects to a server that does not tell when it listens. */
async function connectSoon(path: string): Promise<Wire> {
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

Deno.test("server --quiet prints nothing", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/server.sock`;
  await using server = run("--allow-all", [
    ...["server.ts", "--quiet", "--unix", path],
  ]);
  {
    using wire = await connectSoon(path);
    await wire.send("{");
    assert(await wire.receive() !== undefined);
  }
  server.kill();
  assertEquals((await server.status).code, 0);
  assertEquals(await server.stdout() + await server.stderr(), "");
  await Deno.remove(directory, { recursive: true });
});

Deno.test("server takes no notice of peers that are gone before they are accepted", async () => {
  await using server = await startServer("--max-connections=1");
  {
    using wire = await Wire.connect(server.port);
    await wire.send("1");
    await wire.receive();
    for (let i = 0; i < 5; i++) {
      await resetAndDestroy(server.port, new Uint8Array(1));
    }
  }
  using wire = await Wire.connect(server.port);
  await wire.send("1");
  assertEquals(await wire.receive(), NO_MESSAGE);
  server.kill();
  assertEquals((await server.status).code, 0);
  assertEquals(await server.stderr(), "");
});

Deno.test("both programs explain a wrong command line in one line", async () => {
  const table = `
server --prot              | unknown option '--prot'; did you mean '--port'? See --help
server --max-connection    | unknown option '--max-connection'; did you mean '--max-connections'? See --help
server -p 1                | unknown option '-p'
server stray               | unexpected argument 'stray'
server --port              | option '--port <value>' argument missing
server --port --quiet      | option '--port' argument is ambiguous
server --hostname=         | option '--hostname' needs a value
server --hostname a_!      | option '--hostname' names no host: invalid host 'a_!': invalid char found in FQDN
server --quiet=1           | option '--quiet' does not take an argument
server --port 65536        | option '--port' expects a whole number from 0 to 65535, received '65536'
server --max-connections 0 | option '--max-connections' expects a whole number of at least 1 or Infinity, received '0'
server --max-frame-bytes k | option '--max-frame-bytes' expects a whole number from 1 to 4294967295 or Infinity, received 'k'
server --log xml           | option '--log' expects text or timed or json, received 'xml'
server --quiet --verbose   | options '--quiet' and '--verbose' exclude each other
server --tls-cert a        | options '--tls-cert' and '--tls-key' need each other
server --token-file=       | option '--token-file' needs a value
client --call a --notify b | options '--call' and '--notify' exclude each other
client --listen --repeat 2 | options '--listen' and '--repeat' exclude each other
client --call add 1        | parameters are an array or an object, as in '[1,2]' or '{"a":1}'
client --unix a --port 1   | options '--unix' and '--port' exclude each other
client --port 0            | option '--port' expects a whole number from 1 to 65535, received '0'
client --timeout=-1        | option '--timeout' expects a whole number from 1 to 2147483647 or Infinity, received '-1'
client 1 {message:1}       | message 2 is not JSON; quote it for your shell, as in '{"message":"hi"}'
`.trim();
  const rows = table.split("\n").map((row) => row.split(/ +\| /));
  const expected = rows.map(([command, line]) => {
    const [program] = words(command);
    const hint = line.endsWith("See --help") ? "" : "; see --help";
    return `${program}: ${line}${hint}\n`;
  });
  // One of each program as it is; all in one process, which does not end so.
  for (const i of [0, rows.length - 1]) {
    const [program, ...args] = words(rows[i][0]);
    await assertEnds(run("", [`${program}.ts`, ...args]), {
      code: 2,
      stderr: expected[i],
    });
  }
  await using all = run("", ["-"], { stdin: "piped" });
  await all.write(`
    import { main as server } from "${new URL("cli/server.ts", ROOT)}";
    import { main as client } from "${new URL("cli/client.ts", ROOT)}";
    class Ended extends Error {}
    Deno.exit = (code) => {
      console.error("exit", code);
      throw new Ended();
    };
    const lines = ${JSON.stringify(rows.map(([command]) => words(command)))};
    for (const [program, ...args] of lines) {
      await (program === "server" ? server : client)(args).catch((error) => {
        if (!(error instanceof Ended)) throw error;
      });
    }
  `);
  await all.closeInput();
  assertEquals(
    await all.stderr(),
    expected.map((line) => `${line}exit 2\n`).join(""),
  );
});

Deno.test("both programs explain themselves", async () => {
  for (const program of ["server", "client"]) {
    const help = await finish(
      run("", [`${program}.ts`, "--nonsense", "--help"]),
    );
    assertEquals([help.code, help.stderr], [0, ""]);
    await assertEnds(run("", [`${program}.ts`, "-h"]), help);
    assertMatch(help.stdout, new RegExp(`^Usage: ${program} \\[OPTION\\]`));
    for (const line of help.stdout.split("\n")) {
      assert(line.length <= 80, line);
    }
    for (const option of ["hostname NAME", "port N", "unix PATH"]) {
      assertMatch(help.stdout, new RegExp(`^  --${option}  `, "m"));
    }
    await assertEnds(run("", [`${program}.ts`, "--version"]), {
      stdout: `${program} (@blackbelt/networking) ${project.version}\n`,
    });
  }
});

Deno.test("both programs explain in one line why they cannot start", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;
  const readme = decodeURI(new URL("README.md", ROOT).pathname);
  const listen = `server.ts --hostname 127.0.0.1 --port ${port}`;
  const rows: [flags: string, command: string, line: string][] = [
    [
      `-N=127.0.0.1:${port}`,
      listen,
      `cannot listen on 127.0.0.1:${port}: address already in use`,
    ],
    [
      "-A",
      "server.ts --unix ./README.md",
      `cannot listen on ${readme}: ${readme} exists and is not a socket`,
    ],
    [
      "",
      "server.ts --port 9000",
      `cannot listen on 0.0.0.0:9000: missing permission; run: deno run --allow-net=0.0.0.0:9000 ${V8_FLAGS} server.ts --port 9000`,
    ],
    [
      "-N=localhost:9000",
      "client.ts --hostname 127.0.0.1 --port 9000",
      `cannot connect to 127.0.0.1:9000: missing permission; run: deno run --allow-net=127.0.0.1:9000 ${V8_FLAGS} client.ts --hostname 127.0.0.1 --port 9000; localhost:9000 is granted, but is another name to Deno`,
    ],
    [
      "-N=localhost",
      "client.ts --hostname ::1 [1]",
      `cannot connect to [::1]:8080: missing permission; run: deno run --allow-net='[::1]:8080' ${V8_FLAGS} client.ts --hostname ::1 '[1]'; localhost:8080 is granted, but is another name to Deno`,
    ],
    [
      "-N=localhost",
      "cli/demo.ts",
      `cannot listen on 127.0.0.1:0: missing permission; run: deno run --allow-net=127.0.0.1 ${V8_FLAGS} cli/demo.ts`,
    ],
    [
      "-N=localhost",
      "client.ts --token-file k --tls-cert c --tls-key k --tls-ca a",
      `cannot connect to localhost:8080: missing permissions; run: deno run --allow-net=localhost:8080 --allow-read=c,k,a ${V8_FLAGS} client.ts --token-file k --tls-cert c --tls-key k --tls-ca a`,
    ],
  ];
  for (const [flags, command, line] of rows) {
    const [, name] = /(\w+)\.ts/.exec(command)!;
    const stderr = `${name}: ${line}\n`;
    await assertEnds(run(flags, words(command)), { code: 1, stderr });
  }
});

Deno.test("both programs tell in one line that a secret cannot be read, and nothing of it", async () => {
  // Neither would get any further.
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const path = await Deno.makeTempFile();
  await Deno.writeFile(path, Uint8Array.of(...Array(20).fill(0x61), 0xff));
  const rows: [args: string[], code: number, line: string][] = [
    [
      ["--token-file", path],
      1,
      `option '--token-file': cannot read ${path}: not UTF-8`,
    ],
    [
      ["--token-env=A=B"],
      1,
      "option '--token-env': cannot read A=B: no such name",
    ],
    [
      ["--token-env=NOT_UTF_8"],
      1,
      "option '--token-env': cannot read NOT_UTF_8: not UTF-8",
    ],
    [
      ["--token-env=MISSING"],
      1,
      "option '--token-env': cannot read MISSING: it is not set",
    ],
    [
      ["--token-file", "no\x1b[2J\nsuch"],
      1,
      "option '--token-file': cannot read no\\u001b[2J\\u000asuch: no such file or directory",
    ],
    [
      ["--tls-cert=LICENSE", "--tls-key=none"],
      1,
      "option '--tls-key': cannot read none: no such file or directory",
    ],
    [
      ["--tls-cert=LICENSE", "--tls-key=LICENSE"],
      1,
      "cannot use option '--tls-cert': expected certificates as PEM text",
    ],
  ];
  for (const program of ["server", "client"]) {
    for (const [args, code, line] of rows) {
      const running = shell(`NOT_UTF_8=$(printf 'a\\377') exec "$@"`, [
        ...[Deno.execPath(), "run", "-A", `${program}.ts`],
        ...["--hostname=127.0.0.1", `--port=${taken.addr.port}`, ...args],
      ]);
      await assertEnds(running, { code, stderr: `${program}: ${line}\n` });
    }
  }
  await Deno.remove(path);
});

Deno.test("every program tells in one line that its output takes nothing", async () => {
  await using server = await startServer();
  const address = `--hostname=127.0.0.1 --port=${server.port}`;
  for (
    const command of [
      "client.ts --help",
      "server.ts --version",
      `client.ts ${address} 1`,
      `client.ts ${address}`,
      "cli/demo.ts",
    ]
  ) {
    const [, name] = /(\w+)\.ts/.exec(command)!;
    const args = [Deno.execPath(), "run", "-A", ...words(command)];
    await assertEnds(shell(`exec "$@" > /dev/full`, args), {
      code: 1,
      stderr: `${name}: cannot print: no space left on device\n`,
    });
  }
});

Deno.test("server goes on where its log takes nothing, and says so once", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/server.sock`;
  await using server = shell(`exec "$@" 2>&1 > /dev/full`, [
    ...[Deno.execPath(), "run", "-A", "server.ts", "--log=text"],
    ...["--unix", path],
  ]);
  const line =
    "server: cannot print: no space left on device; going on without";
  for (let i = 0; i < 3; i++) {
    using wire = await connectSoon(path);
    await wire.send("1");
    assertEquals(await wire.receive(), NO_MESSAGE);
  }
  server.kill();
  assertEquals((await server.status).code, 0);
  assertEquals(await server.stdout(), `${line}\n`);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("client says that a server wants a login, or wants none", async () => {
  const path = await Deno.makeTempFile();
  await Deno.writeTextFile(path, "a secret of the tests");
  const call = ["--call", "add", "[1,2]"];
  for (const mode of [[], ["--rpc"]]) {
    await using closed = await startServerWith(`--allow-read=${path}`, [
      `--token-file=${path}`,
      ...mode,
    ]);
    const unknown = mode.length > 0 ? [call] : [[], ["1", "2", "3"]];
    for (const args of unknown) {
      await assertEnds(startClient(closed.port, args), {
        code: 1,
        stderr:
          `client: 127.0.0.1:${closed.port} requires a login; give the secret with --token-file or --token-env\n`,
      });
    }
    await using open = await startServer(...mode);
    const args = [`--token-file=${path}`, ...mode.length > 0 ? call : []];
    const flags = `--allow-net=127.0.0.1:${open.port} --allow-read=${path}`;
    await assertEnds(run(flags, clientArgs(open.port, args)), {
      code: 1,
      stderr:
        `client: cannot authenticate to 127.0.0.1:${open.port}: the server expects another kind of login, or none\n`,
    });
  }
  await Deno.remove(path);
});

Deno.test("client takes the words of a login for a reply where they come later", async () => {
  await using peer = startPeer(async (wire) => {
    for (const reply of ["1", '{"$login":"refused"}']) {
      await wire.receive();
      await wire.send(reply);
    }
  });
  await assertEnds(startClient(peer.port, ["1", "2"]), {
    stdout: '1\n{"$login":"refused"}\n',
  });
});

Deno.test("client checks the name of a server behind a Unix socket", async () => {
  const directory = await Deno.realPath(await Deno.makeTempDir());
  const path = `${directory}/server.sock`;
  const { folder } = certificates();
  await using server = run("-A", [
    ...["server.ts", "--log=text", "--unix", path],
    ...[`--tls-cert=${folder}/server.pem`, `--tls-key=${folder}/server.key`],
  ]);
  await server.line(/^Listening/);
  function connect(...args: string[]): Running {
    return run("-A", [
      ...["client.ts", "--unix", path, `--tls-ca=${folder}/ca.pem`],
      ...[...args, '{"message":1}'],
    ]);
  }
  await assertEnds(connect("--tls-name=localhost"), {
    stdout: '{"status":"success","echo":1}\n',
  });
  await assertEnds(connect(), {
    code: 2,
    stderr:
      "client: a Unix socket has no name to check: TLS needs '--tls-name'; see --help\n",
  });
  const { code, stderr } = await finish(connect("--tls-name=example.com"));
  assertEquals(code, 1);
  assertMatch(
    stderr,
    /^client: cannot secure the connection to .*example\.com.*\n$/,
  );
  server.kill();
  assertEquals((await server.status).code, 0);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("client sends its arguments, and says hello without any input", async () => {
  await using server = await startServer();
  const messages = ['{"message":1}', '{ "message" : 2 }'];
  const reply = (echo: number) => `{"status":"success","echo":${echo}}\n`;
  const rows: [args: string[], stdout: string][] = [
    [[], HELLO_REPLY],
    [messages, reply(1) + reply(2)],
    [
      ["--repeat=2", ...messages],
      reply(1) + reply(1) + reply(2) + reply(2),
    ],
    [["--", "-1"], `${JSON.stringify(NO_MESSAGE)}\n`],
  ];
  for (const [args, stdout] of rows) {
    await assertEnds(startClient(server.port, args), { stdout });
  }
});

Deno.test("client sends the lines of its input, and prints the replies in order", async () => {
  await using server = await startServer();
  const one = '{"message":1}\n';
  const rows: [input: string, replies: unknown[], error: string][] = [
    ["\n \r\n", ["hello from client"], ""],
    ['\uFEFF{"message":"é"}\r\n\n{"message":"\x9b"}', ["é", "\x9b"], ""],
    [`${one}\nnonsense\n${one}`, [1], "line 3 of the input is not JSON"],
    [`${one}"INVALID"\n`, [1], "line 2 of the input is not UTF-8"],
    [
      `${one}{"message":"${"x".repeat(2 ** 20)}"}\n`,
      [1],
      "cannot encode frame: payload is 1048590 bytes, limit is 1048576 bytes",
    ],
    [
      one + "[".repeat(2 ** 21),
      [1],
      "line 2 of the input is longer than 1048576 bytes",
    ],
  ];
  const path = await Deno.makeTempFile();
  for (const [input, replies, error] of rows) {
    const bytes = new TextEncoder().encode(input);
    if (input.includes("INVALID")) bytes.fill(0xff, input.indexOf("INVALID"));
    await Deno.writeFile(path, bytes);
    const { code, stdout, stderr } = await finish(
      startClientWith(path, server.port),
    );
    assertEquals(
      stdout.split("\n").slice(0, -1).map((line) => JSON.parse(line)),
      replies.map((echo) => ({ status: "success", echo })),
    );
    assert(!stdout.includes("\x9b"), "a terminal would obey it");
    assertEquals(stderr, error && `client: ${error}\n`);
    assertEquals(code, error ? 1 : 0);
  }
  await Deno.remove(path);
});

Deno.test("client takes 20 000 lines", async () => {
  await using server = await startServer();
  const numbers = Array.from({ length: 20_000 }, (_, number) => number);
  await using client = startClient(server.port, [], { stdin: "piped" });
  for (let from = 0; from < numbers.length; from += 1_000) {
    const some = numbers.slice(from, from + 1_000);
    await client.write(some.map((n) => `{"message":${n}}\n`).join(""));
  }
  await client.closeInput();
  assertEquals((await client.status).code, 0);
  const replies = numbers.map((n) => `{"status":"success","echo":${n}}\n`);
  const printed = await client.stdout();
  assert(printed === replies.join(""), "not all, or not in order");
});

Deno.test("client answers while its input is open, and notices that the server is gone", async () => {
  await using server = await startServer();
  await using running = startClient(server.port, [], { stdin: "piped" });
  for (const echo of [1, 2]) {
    await running.write(`{"message":${echo}}\n`);
    await running.line(new RegExp(`^{"status":"success","echo":${echo}}$`));
  }
  server.kill();
  assertEquals((await running.status).code, 1);
  assertEquals(
    await running.stderr(),
    `client: 127.0.0.1:${server.port} closed the connection\n`,
  );
});

Deno.test("client explains in one line why there is no reply", async () => {
  const rows: [
    line: string,
    stdout: string,
    behave: (wire: Wire) => void | Promise<void>,
  ][] = [
    ["no reply after 100 ms", "", () => {}],
    ["PEER closed the connection", "", ({ conn }) => conn.closeWrite()],
    ["PEER closed the connection", '"one"\n', async (wire) => {
      await wire.receive();
      await wire.send('"one"');
      await wire.conn.closeWrite();
    }],
    [
      "cannot receive reply: the connection to PEER was lost: the stream ended after 1 of 9 payload bytes",
      "",
      async (wire) => {
        await wire.receive();
        await wire.write(Uint8Array.of(0, 0, 0, 9, 0x22));
        wire.conn.close();
      },
    ],
    [
      "cannot receive reply: the connection to PEER was lost: payload is 4294967295 bytes, limit is 1048576 bytes",
      "",
      (wire) => wire.write(Uint8Array.of(0xff, 0xff, 0xff, 0xff)),
    ],
    [
      'cannot receive reply: the connection to PEER was lost: the peer seems to speak HTTP (first bytes "HTTP")',
      "",
      (wire) => wire.write(new TextEncoder().encode("HTTP/1.1 400\r\n")),
    ],
    [
      "cannot receive reply: the connection to PEER was lost: the peer seems to speak TLS (first bytes 15 03); try --tls",
      "",
      (wire) => wire.write(Uint8Array.of(0x15, 3, 3, 0, 2, 2, 10)),
    ],
    [
      "cannot receive reply: the connection to PEER was lost: the peer seems to send little-endian lengths (first bytes 02 00 00 00)",
      "",
      (wire) => wire.write(Uint8Array.of(2, 0, 0, 0, 0x7b, 0x7d)),
    ],
    [
      "cannot decode message: payload of 4 bytes is not JSON",
      "",
      async (wire) => {
        await wire.receive();
        await wire.send("oops");
      },
    ],
  ];
  for (const [line, stdout, behave] of rows) {
    await using peer = startPeer(behave);
    const args = line.startsWith("no reply") ? ["--timeout=100"] : [];
    const stderr = `client: ${line}\n`
      .replace("PEER", `127.0.0.1:${peer.port}`);
    const client = startClient(peer.port, [...args, "1", "2"]);
    await assertEnds(client, { code: 1, stdout, stderr });
  }
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  const line =
    `cannot connect to 127.0.0.1:${port}: connection refused; is the server running?`;
  await assertEnds(startClient(port), { code: 1, stderr: `client: ${line}\n` });
});

Deno.test("both programs outlive the reader of their output", async () => {
  const program = `{ "$@"; echo "exit $?" >&2; }`;
  await using server = shell(
    `sh -c 'echo $$; exec "$@"' sh "$@" | head -2`,
    [
      ...[Deno.execPath(), "run", "--no-prompt", "--allow-net=127.0.0.1:0"],
      ...serverArgs([]),
    ],
  );
  const [pid] = await server.line(/^\d+$/);
  const port = Number((await server.line(/:(\d+)$/))[1]);
  for (const message of [1, 2]) {
    using wire = await Wire.connect(port);
    await wire.send(JSON.stringify({ message }));
    assertEquals(await wire.receive(), { status: "success", echo: message });
  }
  const many = shell(`yes '{"message":1}' | ${program} | head -1`, [
    ...[Deno.execPath(), "run", "--no-prompt"],
    `--allow-net=127.0.0.1:${port}`,
    ...clientArgs(port, []),
  ]);
  await assertEnds(many, {
    stdout: '{"status":"success","echo":1}\n',
    stderr: "exit 0\n",
  });
  Deno.kill(Number(pid), "SIGINT");
  assertEquals((await server.status).code, 0);
  assertEquals(await server.stderr(), "");
});

/**
 * Runs a command on a pseudo-terminal. What goes back to the start of a line
 * ends it, too, so that it can be waited for.
 */
const ON_TERMINAL = `
import os, pty, sys
def output(descriptor):
    return os.read(descriptor, 1024).replace(b"\\r", b"\\n")
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:], output)))
`;

/** A client program at a terminal, where Deno would prompt for permissions. */
function onTerminal(
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

Deno.test("client prompts at a terminal", async () => {
  await using server = await startServer();
  await using terminal = onTerminal(server.port, []);
  await terminal.line(
    /^Connected to 127\.0\.0\.1:\d+: messages are JSON, such as {"message":"hi"}; Ctrl-D ends$/,
  );
  await terminal.write('{"message":7}\n');
  await terminal.line(/"echo".*: .*7/);
  await terminal.write("hello\n");
  await terminal.line(/That is not JSON\. Try {"message":"hi"}$/);
  await terminal.write('\n"no message"\n');
  await terminal.line(/"error".*: .*"expected an object/);
  const up = "\x1b[A";
  const backspace = "\x7f";
  await terminal.write(`${up.repeat(3)}${backspace.repeat(2)}8}\n`);
  await terminal.line(/"echo".*: .*8/);
  await terminal.write("\x04");
  assertEquals((await terminal.status).code, 0);
  assertMatch(await terminal.stdout(), /> /);
  server.kill();
  assertMatch(await server.stdout(), /: 3 messages in /);
});

Deno.test("client leaves the prompt at Ctrl-C", async () => {
  await using server = await startServer();
  await using terminal = onTerminal(server.port, ["--raw"]);
  await terminal.write("1\n");
  await terminal.line(/^{"status":"error",.*}$/);
  await terminal.write("\x03");
  assertEquals((await terminal.status).code, 130);
  server.kill();
});

Deno.test("client connects again where the server has dropped it at its prompt, and says so", async () => {
  await using server = await startServer("--idle-timeout", "200");
  await using terminal = onTerminal(server.port, ["--raw"]);
  for (const message of [1, 2]) {
    await terminal.write(`{"message":${message}}\n`);
    if (message > 1) {
      await terminal.line(/^The connection was closed; connected again\.$/);
    }
    await terminal.line(new RegExp(`^{"status":"success","echo":${message}}$`));
    await server.line(
      /: 1 message in .*sent nothing for 200 ms \(--idle-timeout\)$/,
    );
  }
  await terminal.write("\x04");
  assertEquals((await terminal.status).code, 0);
  server.kill();
});

/**
 * A client at its prompt that has had a reply, and has seen its server go: what
 * is sent next is not sent over the old connection.
 */
async function withoutServer(
  args: string[],
  test: (terminal: Running) => Promise<void>,
): Promise<void> {
  const left = Promise.withResolvers<void>();
  await using server = startPeer(async (wire) => {
    await wire.receive();
    await wire.send('"bye"');
    await wire.conn.closeWrite();
    assertEquals(await wire.receive(), undefined);
    left.resolve();
  });
  await using terminal = onTerminal(server.port, ["--raw", ...args]);
  await terminal.write("1\n");
  await terminal.line(/^"bye"$/);
  await left.promise;
  server.stop();
  await terminal.write("2\n");
  await test(terminal);
}

Deno.test("client stays at its prompt when the server is gone, and says why there is no reply", () =>
  withoutServer(["--timeout=300"], async (terminal) => {
    await terminal.line(
      /^Cannot send request: no connection after 300 ms \(--timeout\)$/,
    );
    await terminal.write("\x04");
    assertEquals((await terminal.status).code, 0);
  }));

Deno.test("client says after a second at its prompt that it is not connected yet", () =>
  withoutServer([], async (terminal) => {
    await terminal.line(
      /^Not connected to 127\.0\.0\.1:\d+ yet; still trying \(Ctrl-C to stop\)$/,
    );
    await terminal.write("\x03");
    assertEquals((await terminal.status).code, 130);
  }));

Deno.test("client prints no push in place of a reply that came before the request", async () => {
  await using peer = startPeer(async (wire) => {
    await wire.receive();
    // Both are there when the first is printed.
    await wire.write(Uint8Array.of(0, 0, 0, 1, 0x31, 0, 0, 0, 2, 0x5b, 0x5d));
    await wire.receive();
    await wire.send('"two"');
  });
  await using client = startClient(peer.port, [], { stdin: "piped" });
  await client.write("1\n");
  await client.line(/^1$/);
  await client.write("2\n");
  await client.closeInput();
  await assertEnds(client, { stdout: '1\n"two"\n' });
});

Deno.test("client colours on a terminal only, and not where NO_COLOR is set", async () => {
  await using server = await startServer();
  const message = '{"message":[1,"two",null]}';
  const plain =
    '{\n  "status": "success",\n  "echo": [\n    1,\n    "two",\n    null\n  ]\n}\n';
  const colored = plain
    .replaceAll(/"(status|echo)"/g, "\x1b[34m$&\x1b[39m")
    .replaceAll(/"(success|two)"/g, "\x1b[32m$&\x1b[39m")
    .replaceAll(/1\b(?=,)|null/g, "\x1b[33m$&\x1b[39m");
  for (
    const [args, env, expected] of [
      [[], { NO_COLOR: "" }, colored],
      [[], { NO_COLOR: "1" }, plain],
      [["--raw"], {}, '{"status":"success","echo":[1,"two",null]}\n'],
    ] as const
  ) {
    const running = onTerminal(server.port, [...args, message], env);
    const { code, stdout } = await finish(running);
    assertEquals([code, stdout.replaceAll("\n\n", "\n")], [0, expected]);
  }
});

Deno.test("client has Deno ask for what it needs at a terminal", async () => {
  await using terminal = onTerminal(9, ["--port=10", "1"], { NO_COLOR: "1" });
  await terminal.line(/Deno requests net access to "127\.0\.0\.1:10"/);
  // Deno throws away what was typed before it reads.
  const timer = setInterval(() => terminal.write("n\n"), 200);
  await terminal.line(
    /^client: cannot connect to 127\.0\.0\.1:10: missing permission; run: deno run --allow-net=127\.0\.0\.1:10 .*; 127\.0\.0\.1:10 is denied by --deny-net or at a prompt$/,
  );
  clearInterval(timer);
  assertEquals((await terminal.status).code, 1);
});

Deno.test("client takes 64 KiB that are pasted at its prompt as one message", async () => {
  await using server = await startServer();
  await using terminal = onTerminal(server.port, ["--raw"]);
  // What is typed before is not for the prompt.
  await terminal.write("1\n");
  await terminal.line(/^{"status":"error",.*}$/);
  const rows = Array.from(
    { length: 2_000 },
    (_, i) => `"${i} ${"x".repeat(25)}"`,
  );
  const texts = [
    `{"message":{"size":1,"text":"${"x".repeat(65_536)}"}}`,
    `{"message":{"size":2,\n"text":[${rows.join(",\n")}]}}`,
  ];
  for (const [index, text] of texts.entries()) {
    await terminal.write(`\x1b[200~${text}\x1b[201~\r`);
    const size = index + 1;
    await terminal.line(
      new RegExp(`^{"status":"success","echo":{"size":${size},"text":.*}}$`),
    );
  }
  // A terminal that does not mark what is pasted.
  await terminal.write('{\r"message":\r"lines"}\r');
  await terminal.line(/^{"status":"success","echo":"lines"}$/);
  await terminal.write("\x04");
  assertEquals((await terminal.status).code, 0);
  server.kill();
  assertMatch(await server.stdout(), /: 4 messages in /);
});

Deno.test("client --rpc prompts for calls, lists the methods, and completes their names", async () => {
  await using server = await startServer("--rpc");
  await using terminal = onTerminal(server.port, ["--rpc", "--raw"]);
  const rows: [typed: string, ...lines: RegExp[]][] = [
    ["help\n", /^echo {3}Returns/, /^add {4}Adds two/, /^A call is a name/],
    ["add 1 2\n", /^3$/],
    ["add [3,4]\n", /^7$/],
    ['add {"a":1,\n"b":2.5}\n', /^3\.5$/],
    ['echo "a  [b"\n', /^"a {2}\[b"$/],
    ["echo [[1, 2]] \n", /^\[1,2\]$/],
    ['sl\t{"ms":1}\n', /^{"slept":1}$/],
    ["echo hi\n", /^Arguments are JSON: add 1 2, or echo "text"$/],
    ["none\n", /^The server answered -32601, "Method not found"$/],
    ['count {"to":1000000,"everyMs":1}\n', /^2$/],
    ["\x03add 5 6\n", /^11$/],
  ];
  for (const [typed, ...lines] of rows) {
    await terminal.write(typed);
    for (const line of lines) await terminal.line(line);
  }
  await terminal.write("\x04");
  assertEquals((await terminal.status).code, 0);
});

Deno.test("client --rpc says what a server does not list, and needs a terminal", async () => {
  await using peer = startPeer(async (wire) => {
    for (;;) {
      const call = await wire.receive() as { id: number } | undefined;
      if (call === undefined) return;
      const error = { code: -32601, message: "no" };
      const { id } = call;
      await wire.send(JSON.stringify({ jsonrpc: "2.0", id, error }));
    }
  });
  await using terminal = onTerminal(peer.port, ["--rpc", "--raw"]);
  await terminal.write("help\n");
  await terminal.line(/^The server does not list its methods\.$/);
  await terminal.write("\x03");
  assertEquals((await terminal.status).code, 130);
  await assertEnds(startClient(peer.port, ["--rpc"]), {
    code: 2,
    stderr:
      "client: option '--rpc' needs a terminal, '--call', '--notify' or '--list'; see --help\n",
  });
});

Deno.test("client --list prints names and descriptions for scripts", async () => {
  await using server = await startServer("--rpc");
  const { code, stdout } = await finish(
    startClient(server.port, ["--rpc", "--list"]),
  );
  assertEquals(code, 0);
  const rows = stdout.trimEnd().split("\n").map((line) => line.split("\t"));
  assertEquals(
    rows.map(([name]) => name),
    ["echo", "add", "sleep", "count", "fail"],
  );
  for (const [, description, ...others] of rows) {
    assertMatch(description, /^\w+,? /);
    assertEquals(others, []);
  }
  await using peer = startPeer(async (wire) => {
    const { id } = await wire.receive() as { id: number };
    const methods = [
      { name: "a\tb\n", summary: " one\n two \x1b[2J" },
      null,
      { name: 1 },
    ];
    const result = { methods };
    await wire.send(JSON.stringify({ jsonrpc: "2.0", id, result }));
  });
  await assertEnds(startClient(peer.port, ["--list"]), {
    stdout: "a b\tone two \\u001b[2J\n\t\n1\t\n",
  });
});

Deno.test("client tells how far it is when it takes long", async () => {
  const asked = Promise.withResolvers<void>();
  await using peer = startPeer(async (wire) => {
    await wire.receive();
    await wire.send("1");
    await asked.promise;
    await wire.send("2");
  });
  await using terminal = start("python3", [
    ...["-c", ON_TERMINAL, "sh", "-c"],
    `printf '1\\n2\\n' | { "$@" > /dev/null; echo "exit $?"; }`,
    ...["sh", Deno.execPath(), "run", `--allow-net=127.0.0.1:${peer.port}`],
    ...clientArgs(peer.port, []),
  ], { cwd: ROOT });
  await terminal.line(/1 reply$/);
  asked.resolve();
  await terminal.line(/exit 0$/);
});

Deno.test("the demo shows a request, pushes, calls and their bytes", async () => {
  const demo = deno([
    "run",
    "--no-prompt",
    ...words(project.tasks.demo).slice(2),
  ]);
  const { code, stdout, stderr } = await finish(demo);
  assertEquals([code, stderr], [0, ""]);
  const lines = stdout.split("\n");
  assert(lines.length < 40 && !stdout.includes("\x1b"));
  const shown = lines.filter((line) => /^ {2}[a-z]/.test(line));
  assertEquals(shown.map((line) => line.slice(18)), [
    '{"message":"hello from client","type":"text"}',
    HELLO_REPLY.trim(),
    ...['{"tick":1}', '{"tick":2}', '{"tick":3}'],
    ...["3", "1", "2", "3"],
  ]);
  const rows = lines.filter((line) => /^ {2}[0-9A-F]{2} /.test(line));
  const bytes = rows.flatMap((row) =>
    words(row.slice(0, 50)).map((word) => parseInt(word, 16))
  );
  const messages = [...new FrameDecoder().push(Uint8Array.from(bytes))];
  const hello = { message: "hello from client", type: "text" };
  const reply = { status: "success", echo: "hello from client" };
  assertEquals(messages, [hello, reply, { message: "Grüße, 世界" }]);
  const notes = rows.map((row) => row.slice(51));
  assertEquals(notes.slice(0, 4), [
    "length: 45 bytes",
    '{"message":"hell',
    'o from client","',
    'type":"text"}',
  ]);
});

Deno.test("client calls the methods of a server, and prints results and streams", async () => {
  await using server = await startServer("--rpc");
  const rows: [args: string[], stdout: string][] = [
    [["--call", "echo", '["hi"]'], '"hi"\n'],
    [["--call", "echo", '{"a":[1]}'], '{"a":[1]}\n'],
    [["--call", "add", "[1,2]"], "3\n"],
    [["--call", "add", '{"a":1,"b":2.5}'], "3.5\n"],
    [["--call", "sleep", '{"ms":1}'], '{"slept":1}\n'],
    [["--call", "count", '{"to":3,"everyMs":1}'], "1\n2\n3\n"],
    [["--notify", "echo", '["nobody waits"]'], ""],
    [["--call", "add", "[1,2]", '{"a":3,"b":4}'], "3\n7\n"],
    [["--call", "count", "--repeat=2", '{"to":2}'], "1\n2\n1\n2\n"],
  ];
  for (const [args, stdout] of rows) {
    await assertEnds(startClient(server.port, args), { stdout });
  }
  const listed = await finish(
    startClient(server.port, ["--call", "rpc.discover"]),
  );
  const { methods } = JSON.parse(listed.stdout);
  assertEquals(
    methods.map(({ name }: { name: string }) => name),
    ["echo", "add", "sleep", "count", "fail"],
  );
  for (const { description } of methods) assertMatch(description, /^\w+,? /);
});

Deno.test("client calls a method with each line of its input, over one connection", async () => {
  await using server = await startServer("--rpc", "--verbose");
  const flags = `--no-prompt --allow-net=127.0.0.1:${server.port}`;
  const rows: [input: string, args: string[], expected: Partial<Finished>][] = [
    ["[1,2]\n[3,4]\n", ["--call", "add"], { stdout: "3\n7\n" }],
    ["[1,2]", ["--call=add", "[0,0]", "-"], { stdout: "0\n3\n" }],
    ["[1]\n[3,4]\n", ["--call", "add"], {
      code: 1,
      stdout: "7\n",
      stderr:
        'client: the server answered -32602, "Invalid params": [{"message":"expected [a, b] or {a, b}, two numbers"}]\n',
    }],
    ["[1,2]\n3\n", ["--call", "add"], {
      code: 1,
      stdout: "3\n",
      stderr:
        "client: parameters are an array or an object, as in '[1,2]' or '{\"a\":1}'\n",
    }],
    ["[1]\n[2]\n", ["--notify", "echo"], {}],
    ["\n\n", ["--call", "echo"], { stdout: "null\n" }],
    ['{"message":1}\n', ["-"], {
      stdout:
        '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid Request"}}\n',
    }],
  ];
  for (const [input, args, expected] of rows) {
    await using client = run(flags, clientArgs(server.port, args), {
      stdin: "piped",
    });
    await client.write(input);
    await client.closeInput();
    await assertEnds(client, expected);
  }
  server.kill();
  const log = await server.stdout();
  assertEquals(log.match(/ connected$/gm)?.length, rows.length);
  assertEquals(log.match(/ calls add$/gm)?.length, 2 + 2 + 1 + 1);
  assertEquals(log.match(/ calls echo$/gm)?.length, 3);
});

Deno.test("client reads its input only for - where there are arguments, and its help says so", async () => {
  await using server = await startServer("--rpc");
  const { stdout: help } = await finish(run("", ["client.ts", "--help"]));
  assertMatch(
    help,
    /With arguments, stdin is read for the argument - alone/,
  );
  const client = [
    ...[Deno.execPath(), "run", "--no-prompt"],
    ...[`--allow-net=127.0.0.1:${server.port}`, ...clientArgs(server.port, [])],
  ];
  // The loop would lose its lines to a client that reads them.
  const loop = `while read -r line; do "$@" "$line"; done`;
  const lines = String.raw`printf "[1,2]\n[3,4]\n"`;
  const rows: [script: string, args: string[], stdout: string][] = [
    [`${lines} | ${loop}`, ["--call", "add"], "3\n7\n"],
    [`${lines} | "$@"`, ["--call", "add", "[5,6]"], "11\n"],
    [`${lines} | "$@"`, ["--call", "add", "[5,6]", "-"], "11\n3\n7\n"],
    [`"$@" <&-`, ["--call", "add", "[5,6]"], "11\n"],
  ];
  for (const [script, args, stdout] of rows) {
    await assertEnds(shell(script, [...client, ...args]), { stdout });
  }
});

Deno.test("client --call ends with its connection, and at Ctrl-C, while its input is open", async () => {
  await using server = await startServer("--rpc");
  for (const isGone of [false, true]) {
    await using client = startClient(server.port, ["--call", "add"], {
      stdin: "piped",
    });
    await client.write("[1,2]\n");
    await client.line(/^3$/);
    if (isGone) server.kill();
    else client.kill("SIGINT");
    assertEquals((await client.status).code, isGone ? 1 : 130);
    assertEquals(
      await client.stderr(),
      isGone ? `client: 127.0.0.1:${server.port} closed the connection\n` : "",
    );
  }
});

Deno.test("client --listen sends its messages, and prints what comes until Ctrl-C or the end", async () => {
  for (const isInterrupted of [false, true]) {
    await using peer = startPeer(async (wire) => {
      assertEquals(await wire.receive(), { subscribe: 1 });
      for (const payload of ['{"n": 1}', "oops", '"\u2028"', "[]"]) {
        await wire.send(payload);
      }
      if (!isInterrupted) wire.conn.close();
    });
    await using client = startClient(
      peer.port,
      isInterrupted ? ["--listen"] : ["--listen", '{"subscribe":1}'],
      { stdin: "piped" },
    );
    if (isInterrupted) await client.write('{"subscribe":1}\n');
    await client.line(/^\[\]$/);
    if (isInterrupted) client.kill("SIGINT");
    assertEquals((await client.status).code, 0);
    assertEquals(await client.stdout(), '{"n":1}\n"\\u2028"\n[]\n');
    assertEquals(
      await client.stderr(),
      "client: cannot decode message: payload of 4 bytes is not JSON\n",
    );
  }
});

Deno.test("client says in one line what a server answers in place of a result", async () => {
  await using server = await startServer("--rpc");
  const invalid =
    '-32602, "Invalid params": [{"message":"expected [a, b] or {a, b}, two numbers"}]';
  const rows: [args: string[], answer: string][] = [
    [["add", "[1]"], invalid],
    [["add", '["1",2]'], invalid],
    [["add", '{"a":1,"b":2,"c":3}'], invalid],
    [["add"], invalid],
    [
      ["sleep", '{"ms":-1}'],
      '-32602, "Invalid params: expected \\"ms\\", a whole number of at least 0"',
    ],
    [["toString"], '-32601, "Method not found"'],
    [["fail"], '-32603, "Internal error"'],
  ];
  for (const [args, answer] of rows) {
    await assertEnds(startClient(server.port, ["--call", ...args]), {
      code: 1,
      stderr: `client: the server answered ${answer}\n`,
    });
  }
  await server.line(/^127\.0\.0\.1:\d+: this stays on the server$/);
});

Deno.test("client waits as long as it is told for an answer, and for a stream to begin", async () => {
  await using server = await startServer("--rpc");
  const args = (call: string) => ["--timeout=500", "--call", ...words(call)];
  await assertEnds(startClient(server.port, args('sleep {"ms":60000}')), {
    code: 1,
    stderr: "client: no reply after 500 ms\n",
  });
  const items = Array.from({ length: 10 }, (_, i) => `${i + 1}\n`).join("");
  const stream = args('count {"to":10,"everyMs":100}');
  await assertEnds(startClient(server.port, stream), { stdout: items });
});

Deno.test("client cancels its call at Ctrl-C, and the server hears of it", async () => {
  for (const isStream of [false, true]) {
    const called = Promise.withResolvers<void>();
    const cancelled = Promise.withResolvers<JsonValue[]>();
    await using peer = startPeer(async (wire) => {
      const { id } = await wire.receive() as { id: number };
      if (isStream) {
        const params = { id, items: ["one"] };
        const jsonrpc = "2.0";
        await wire.send(
          JSON.stringify({ jsonrpc, method: "$/stream", params }),
        );
      }
      called.resolve();
      const behind: JsonValue[] = [id];
      for (let next; (next = await wire.receive()) !== undefined;) {
        behind.push(next);
      }
      cancelled.resolve(behind);
    });
    await using client = startClient(peer.port, ["--call", "never"]);
    await called.promise;
    if (isStream) await client.line(/^"one"$/);
    client.kill("SIGINT");
    assertEquals((await client.status).code, 130);
    const [id, ...behind] = await cancelled.promise;
    assertEquals(behind.at(-1), {
      jsonrpc: "2.0",
      method: "$/cancelRequest",
      params: { id },
    });
    assertEquals(await client.stderr(), "");
  }
});
