/** What both programs do with their command line and their output. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import project from "../deno.json" with { type: "json" };
import { withFixedPorts } from "../tests/fixed_ports.ts";
import {
  assertEnds,
  clientArgs,
  finish,
  HELLO_REPLY,
  ROOT,
  run,
  serverArgs,
  shell,
  startServer,
  TIME,
  V8_FLAGS,
  Wire,
  words,
} from "../tests/programs.ts";

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
