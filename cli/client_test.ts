/** The client program: messages and replies. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { certificates } from "../tests/certificates.ts";
import { type Running, start } from "../tests/process.ts";
import {
  assertEnds,
  clientArgs,
  finish,
  HELLO_REPLY,
  NO_MESSAGE,
  ON_TERMINAL,
  ROOT,
  run,
  startClient,
  startClientWith,
  startPeer,
  startServer,
  startServerWith,
  type Wire,
} from "../tests/programs.ts";

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
