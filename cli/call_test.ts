/** The client program as a caller of methods. */
import { assertEquals, assertMatch } from "@std/assert";
import type { JsonValue } from "../mod.ts";
import {
  assertEnds,
  clientArgs,
  finish,
  type Finished,
  onTerminal,
  run,
  shell,
  startClient,
  startPeer,
  startServer,
  type Wire,
  words,
} from "../tests/programs.ts";

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

Deno.test("client says that a server does not list its methods, and --rpc needs a terminal", async () => {
  async function refuse(wire: Wire): Promise<void> {
    for (;;) {
      const call = await wire.receive() as { id: number } | undefined;
      if (call === undefined) return;
      const error = { code: -32601, message: "no" };
      const { id } = call;
      await wire.send(JSON.stringify({ jsonrpc: "2.0", id, error }));
    }
  }
  await using peer = startPeer(refuse);
  await using terminal = onTerminal(peer.port, ["--rpc", "--raw"]);
  await terminal.write("help\n");
  await terminal.line(/^The server does not list its methods\.$/);
  await terminal.write("\x03");
  assertEquals((await terminal.status).code, 130);
  await using other = startPeer(refuse);
  await assertEnds(startClient(other.port, ["--list"]), {
    code: 1,
    stderr: "client: the server does not list its methods (rpc.discover)\n",
  });
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
