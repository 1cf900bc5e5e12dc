/** The demonstration program. */
import { assert, assertEquals } from "@std/assert";
import project from "../deno.json" with { type: "json" };
import { FrameDecoder } from "../mod.ts";
import { deno, finish, HELLO_REPLY, words } from "../tests/programs.ts";

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
