/** The server program. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { JsonValue } from "../mod.ts";
import {
  connectSoon,
  NO_MESSAGE,
  ROOT,
  run,
  shell,
  startServer,
  Wire,
} from "../tests/programs.ts";
import { resetAndDestroy } from "../tests/raw.ts";

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
