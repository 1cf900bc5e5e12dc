import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Running, start } from "../../tests/process.ts";
import type { Address } from "../connection/connection.ts";
import {
  flagsFor,
  missingPermissions,
  type PermissionNeed,
  permissionsFor,
  requirePermissions,
} from "./permissions.ts";

const SOURCE = new URL("./permissions.ts", import.meta.url);

function tcp(hostname: string, port: number): Address {
  return { transport: "tcp", hostname, port };
}

/** What is refused under the permissions of the test that calls it. */
function refusal(
  action: string,
  address: Address,
  needed: PermissionNeed[] = permissionsFor(address),
): string {
  const error = assertThrows(
    () => requirePermissions(action, address, needed),
    Deno.errors.NotCapable,
  );
  return error.message;
}

/**
 * Runs a command on a terminal, and answers the questions of Deno. It throws
 * away what was typed before it reads, so an answer is given until it is taken.
 */
const AT_TERMINAL = `
import os, pty, select, sys
answers, *command = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
answer = question = b""
while True:
    if not select.select([terminal], [], [], 0.1)[0]:
        if answer:
            os.write(terminal, answer)
        continue
    try:
        part = os.read(terminal, 4096)
    except OSError:
        break
    sys.stdout.buffer.write(part)
    question += part
    if b"Denied" in question or b"Granted" in question:
        answer = question = b""
    elif b"Allow?" in question and not answer:
        answer, answers = (answers[:1].encode() or b"\\x03") + b"\\n", answers[1:]
os.waitpid(child, 0)
`;

/** A program of a few lines that may import `permissions.ts`, as a file. */
class Program implements AsyncDisposable {
  readonly directory: string;
  readonly file: string;

  private constructor(directory: string) {
    this.directory = directory;
    this.file = `${directory}/program.ts`;
  }

  static async write(code: string): Promise<Program> {
    const directory = await Deno.realPath(await Deno.makeTempDir());
    const program = new Program(directory);
    await Deno.writeTextFile(
      program.file,
      `import * as permissions from ${JSON.stringify(SOURCE)};\n${code}`,
    );
    return program;
  }

  start(command: string, ...args: string[]): Running {
    const env = { NO_COLOR: "1", DENO: Deno.execPath() };
    return start(command, args, { cwd: this.directory, env });
  }

  run(flags: string[], ...args: string[]): Promise<string> {
    return outputOf(
      this.start(Deno.execPath(), "run", ...flags, this.file, ...args),
    );
  }

  /**
   * Runs it where Deno could ask a person, who gives an answer of one letter to
   * each question and none to what comes after.
   */
  async runAtTerminal(
    flags: string[],
    argument = "",
    answers = "",
  ): Promise<string> {
    const output = await outputOf(this.start(
      ...["python3", "-c", AT_TERMINAL, answers, Deno.execPath()] as const,
      ...["run", ...flags, this.file, argument],
    ));
    return output.replaceAll("\r\n", "\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.directory, { recursive: true });
  }
}

async function outputOf(running: Running): Promise<string> {
  await using process = running;
  const [stdout, stderr] = await Promise.all([
    process.stdout(),
    process.stderr(),
  ]);
  return stdout + stderr;
}

/** Requires what it takes to listen on its argument, and listens. */
const LISTENING = `
  const address = JSON.parse(Deno.args[0]);
  const needed = permissions.permissionsFor(address);
  try {
    permissions.requirePermissions("listen on", address, needed);
    Deno.listen(address).close();
    console.log("listening");
  } catch (error) {
    console.log(error.name + ": " + error.message);
  }
`;

/** What is refused when all permissions are given up. */
const REFUSED = `
  const attempts = {
    listen: () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
    connect: () => Deno.connect({ hostname: "127.0.0.1", port: 9 }),
    readFile: () => Deno.readFile(new URL(import.meta.url)),
    writeFile: () => Deno.writeTextFile(new URL("x", import.meta.url), ""),
    env: () => Deno.env.get("HOME"),
    run: () => new Deno.Command("ls").spawn(),
    hostname: () => Deno.hostname(),
  };
  async function report() {
    for (const [name, attempt] of Object.entries(attempts)) {
      try {
        await attempt();
        console.log(name, "allowed");
      } catch (error) {
        console.log(name, error.name);
      }
    }
  }
`;
const ALL_REFUSED = [
  "listen",
  "connect",
  "readFile",
  "writeFile",
  "env",
  "run",
  "hostname",
]
  .map((name) => `${name} NotCapable\n`).join("");

Deno.test("permissionsFor() names what Deno asks for", () => {
  const rows: [Address, string[]][] = [
    [tcp("localhost", 8080), ["localhost:8080"]],
    [tcp("127.0.0.1", 0), ["127.0.0.1:0"]],
    [tcp("::1", 80), ["[::1]:80"]],
    [tcp("[::1]", 80), ["[::1]:80"]],
    [tcp("fe80::1%eth0", 80), ["[fe80::1]:80"]],
  ];
  for (const [address, hosts] of rows) {
    assertEquals(
      permissionsFor(address),
      hosts.map((host) => ({ name: "net", host })),
    );
  }
  const path = "/run/a.sock";
  assertEquals(permissionsFor({ transport: "unix", path }), [
    { name: "read", path },
    { name: "write", path },
    { name: "net", host: `unix:${path}` },
  ]);
});

Deno.test("flagsFor() gives one flag for each kind, quoted where a shell needs it", () => {
  const rows: [PermissionNeed[], string][] = [
    [[], ""],
    [permissionsFor(tcp("0.0.0.0", 8080)), "--allow-net=0.0.0.0:8080"],
    [permissionsFor(tcp("::1", 80)), "--allow-net='[::1]:80'"],
    [
      permissionsFor({ transport: "unix", path: "/run/a.sock" }),
      "--allow-read=/run/a.sock --allow-write=/run/a.sock --allow-net=unix:/run/a.sock",
    ],
    [
      [
        { name: "read", path: "cert.pem" },
        { name: "net", host: "localhost:1" },
        { name: "read", path: "key.pem" },
        { name: "env", variable: "TOKEN" },
        { name: "read", path: "cert.pem" },
      ],
      "--allow-read=cert.pem,key.pem --allow-net=localhost:1 --allow-env=TOKEN",
    ],
    [
      [{ name: "read", path: "/it's $HOME" }],
      `--allow-read='/it'\\''s $HOME'`,
    ],
    [[{ name: "read", path: "/a,b" }], "--allow-read"],
  ];
  for (const [missing, flags] of rows) assertEquals(flagsFor(missing), flags);
});

Deno.test({
  name: "requirePermissions() throws one error with all that is missing",
  permissions: { read: false, write: false, net: ["127.0.0.1:8080"] },
  fn() {
    requirePermissions(
      "listen on",
      tcp("127.0.0.1", 8080),
      permissionsFor(tcp("127.0.0.1", 8080)),
    );
    assertEquals(
      refusal("listen on", tcp("0.0.0.0", 8080)),
      "Cannot listen on 0.0.0.0:8080: missing permission; run with --allow-net=0.0.0.0:8080, " +
        'or grant it in deno.json: {"permissions":{"default":{"net":["0.0.0.0:8080"]}}} and run with -P',
    );
    assertEquals(
      refusal("connect to", { transport: "unix", path: "/run/a b" }),
      "Cannot connect to /run/a b: missing permissions; run with " +
        "--allow-read='/run/a b' --allow-write='/run/a b' --allow-net='unix:/run/a b', " +
        'or grant them in deno.json: {"permissions":{"default":{"read":["/run/a b"],' +
        '"write":["/run/a b"],"net":["unix:/run/a b"]}}} and run with -P',
    );
    const needed: PermissionNeed[] = [
      ...permissionsFor(tcp("127.0.0.1", 8080)),
      { name: "read", path: "cert.pem" },
    ];
    assertEquals(
      refusal("listen on", tcp("127.0.0.1", 8080), needed),
      "Cannot listen on 127.0.0.1:8080: missing permission; run with --allow-read=cert.pem, " +
        `or grant it in deno.json: {"permissions":{"default":{"read":["${Deno.cwd()}/cert.pem"]}}} and run with -P`,
    );
    assertEquals(missingPermissions(needed), needed.slice(1));
  },
});

Deno.test({
  name: "requirePermissions() says where only the spelling differs",
  permissions: { net: ["127.0.0.1:80", "localhost:81", "[::1]:81"] },
  fn() {
    const rows: [Address, string[]][] = [
      [tcp("localhost", 80), ["127.0.0.1:80"]],
      [tcp("::1", 80), ["127.0.0.1:80"]],
      [tcp("127.0.0.1", 81), ["localhost:81", "[::1]:81"]],
      [tcp("127.0.0.1", 82), []],
      [tcp("0.0.0.0", 80), []],
      [tcp("example.com", 81), []],
    ];
    for (const [address, others] of rows) {
      const [, notes] = refusal("connect to", address).split(
        " and run with -P",
      );
      assertEquals(
        notes,
        others.map((other) =>
          `; ${other} is granted, but is another name to Deno`
        )
          .join(""),
      );
    }
  },
});

Deno.test("requirePermissions() throws for what is no host", async () => {
  await using program = await Program.write(LISTENING);
  assertEquals(
    await program.run([], JSON.stringify(tcp("a b", 1))),
    "URIError: invalid host 'a b': invalid char found in FQDN\n",
  );
});

Deno.test("requirePermissions() says what no flag grants", async () => {
  await using program = await Program.write(LISTENING);
  const flags = ["--allow-net", "--deny-net=127.0.0.1:1"];
  const output = await program.run(flags, JSON.stringify(tcp("127.0.0.1", 1)));
  const denied = "; 127.0.0.1:1 is denied by --deny-net or at a prompt; ";
  assert(output.includes(denied), output);
});

Deno.test("requirePermissions() advises flags and a deno.json that grant all that is needed", async () => {
  await using program = await Program.write(LISTENING);
  const path = `${program.directory}/it's $a, socket`;
  const addresses: Address[] = [
    tcp("127.0.0.1", 0),
    tcp("localhost", 0),
    { transport: "unix", path: `${program.directory}/a.sock` },
    { transport: "unix", path },
  ];
  for (const address of addresses) {
    const argument = JSON.stringify(address);
    const refused = await program.run(["--no-prompt"], argument);
    const advice =
      /^NotCapable: .*: missing permissions?; run with (.+), or grant (?:it|them) in deno\.json: (.+) and run with -P\n$/;
    const [, flags, config] = refused.match(advice) ?? [];
    assert(flags !== undefined, refused);
    const shell = program.start(
      ...["sh", "-c", `"$DENO" run ${flags} "$@"`, "sh"] as const,
      ...[program.file, argument],
    );
    assertEquals(await outputOf(shell), "listening\n", flags);
    const file = `${program.directory}/deno.json`;
    await Deno.writeTextFile(file, config);
    const granted = await program.run(["-P", "--quiet"], argument);
    assert(granted.endsWith("listening\n"), `${config}\n${granted}`);
    await Deno.remove(file);
  }
});

Deno.test("requirePermissions() has Deno ask at a terminal, up to the first refusal", async () => {
  await using program = await Program.write(LISTENING);
  const path = `${program.directory}/a.sock`;
  const address = JSON.stringify({ transport: "unix", path });
  const refused = await program.runAtTerminal([], address, "n");
  assertEquals(refused.split("Allow?").length - 1, 1, refused);
  assert(
    refused.includes(
      `NotCapable: Cannot listen on ${path}: missing permissions; run with --allow-read=${path} `,
    ),
    refused,
  );
  assert(
    refused.includes(`; ${path} is denied by --deny-read or at a prompt`),
    refused,
  );
  const granted = await program.runAtTerminal([], address, "yyy");
  assertEquals(granted.split("Allow?").length - 1, 3, granted);
  assert(granted.endsWith("listening\n"), granted);
});

Deno.test("requirePermissions() asks no question under --no-prompt, and none about what is denied", async () => {
  await using program = await Program.write(LISTENING);
  const address = JSON.stringify({ transport: "unix", path: "/run/a.sock" });
  for (const flag of ["--no-prompt", "--deny-write"]) {
    const output = await program.runAtTerminal([flag], address);
    assert(
      output.startsWith("NotCapable: Cannot listen on /run/a.sock: "),
      output,
    );
  }
});

Deno.test({
  name: "requirePermissions() gives the whole command of a program",
  permissions: { net: ["0.0.0.0"], read: false },
  fn() {
    const address = tcp("127.0.0.1", 9000);
    const needed: PermissionNeed[] = [
      ...permissionsFor(address),
      { name: "read", path: "my key" },
    ];
    const error = assertThrows(
      () =>
        requirePermissions("listen on", address, needed, [
          ...["server.ts", "--hostname=127.0.0.1"],
          ...["--token-file", "my key"],
        ]),
      Deno.errors.NotCapable,
    );
    assertEquals(
      error.message,
      "Cannot listen on 127.0.0.1:9000: missing permissions; run: " +
        "deno run --allow-net=127.0.0.1:9000 --allow-read='my key' " +
        "server.ts --hostname=127.0.0.1 --token-file 'my key'",
    );
  },
});

Deno.test("dropPermissions() leaves what is open, and opens nothing more", async () => {
  await using program = await Program.write(`${REFUSED}
    const [path] = Deno.args;
    const tcp = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const unix = Deno.listen({ transport: "unix", path });
    console.log(tcp.addr.port);
    const before = await tcp.accept();
    permissions.dropPermissions();
    console.log("dropped");
    const after = [await tcp.accept(), await unix.accept()];
    for (const conn of [before, ...after]) {
      await conn.write(Uint8Array.of(await conn.read(new Uint8Array(9))));
      conn.close();
    }
    tcp.close();
    unix.close();
    await report();
  `);
  const path = `${program.directory}/a.sock`;
  await using running = program.start(
    ...[Deno.execPath(), "run", "--no-prompt", "--allow-net=127.0.0.1:0"],
    ...[`--allow-net=unix:${path}`, `--allow-read=${path}`],
    ...[`--allow-write=${path}`, program.file, path],
  );
  const port = Number((await running.line(/^\d+$/))[0]);
  const hostname = "127.0.0.1";
  using before = await Deno.connect({ hostname, port });
  await running.line(/^dropped$/);
  using after = await Deno.connect({ hostname, port });
  using unix = await Deno.connect({ transport: "unix", path });
  for (const conn of [before, after, unix]) {
    await conn.write(Uint8Array.of(1, 2, 3));
    const answer = new Uint8Array(9);
    assertEquals([await conn.read(answer), answer[0]], [1, 3]);
  }
  assertEquals((await running.status).code, 0);
  const stdout = await running.stdout();
  assertEquals(stdout, `${port}\ndropped\n${ALL_REFUSED}`);
  assertThrows(() => Deno.statSync(path), Deno.errors.NotFound);
});

Deno.test("dropPermissions() gives up every kind, and Deno does not ask at a terminal under --no-prompt", async () => {
  await using program = await Program.write(`${REFUSED}
    permissions.dropPermissions();
    permissions.dropPermissions();
    for (const name of ["ffi", "import", "sys"]) {
      console.log(name, Deno.permissions.querySync({ name }).state);
    }
    await report();
  `);
  const states = "ffi prompt\nimport prompt\nsys prompt\n";
  const flags = ["--no-prompt", "--allow-all"];
  assertEquals(await program.run(flags), states + ALL_REFUSED);
  assertEquals(await program.runAtTerminal(flags), states + ALL_REFUSED);
  // Where there is no terminal, nobody can be asked anyway.
  assertEquals(await program.run(["--allow-all"]), states + ALL_REFUSED);
});
