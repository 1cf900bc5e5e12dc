/** The client program at a terminal. */
import { assertEquals, assertMatch } from "@std/assert";
import type { Running } from "../tests/process.ts";
import {
  finish,
  onTerminal,
  startPeer,
  startServer,
  Wire,
} from "../tests/programs.ts";

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
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using terminal = onTerminal(listener.addr.port, ["--raw"]);
  for (const attempt of ["first", "second"]) {
    await terminal.write("1\n");
    using wire = new Wire(await listener.accept());
    await wire.receive();
    await wire.send(`"${attempt}"`);
    await wire.conn.closeWrite();
    if (attempt === "second") {
      await terminal.line(/^The connection was closed; connected again\.$/);
    }
    await terminal.line(new RegExp(`^"${attempt}"$`));
    // The client has seen the end: what is sent next takes another connection.
    assertEquals(await wire.receive(), undefined);
  }
  await terminal.write("\x04");
  assertEquals((await terminal.status).code, 0);
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
