import { assertEquals, assertMatch } from "@std/assert";
import { start } from "../tests/process.ts";
import { LogOutput } from "./log_output.ts";

/** A stream that takes nothing until it is told to. */
class Stalled {
  readonly #going = Promise.withResolvers<void>();
  text = "";

  async write(bytes: Uint8Array): Promise<number> {
    await this.#going.promise;
    this.text += new TextDecoder().decode(bytes);
    return bytes.length;
  }

  go(): void {
    this.#going.resolve();
  }
}

Deno.test("LogOutput writes lines of text, of text behind the time, or of JSON", async () => {
  const time = /\d{4}-\d\d-\d\dT[\d:.]{12}Z/;
  const rows = [
    ["text", "1 message\n"],
    ["timed", "TIME 1 message\n"],
    ["json", '{"type":"message","time":"TIME","bytes":1}\n'],
  ] as const;
  for (const [format, line] of rows) {
    const stream = new Stalled();
    stream.go();
    const output = new LogOutput(stream, { format });
    output.print({ type: "message", bytes: 1 }, "1 message");
    await output.end();
    assertEquals(stream.text.replace(time, "TIME"), line);
  }
});

Deno.test("LogOutput says how many lines are lost where its reader has stalled", async () => {
  const stream = new Stalled();
  const output = new LogOutput(stream, { format: "text" });
  const text = "x".repeat(1_000);
  const printed = 3_000;
  for (let i = 0; i < printed; i++) output.print({ type: "message" }, text);
  stream.go();
  await output.end();
  output.print({ type: "message" }, "behind");
  await output.end();
  const lines = stream.text.trimEnd().split("\n");
  assertEquals(lines.pop(), "behind");
  assertMatch(
    lines.at(-1)!,
    /^\d+ lines lost: the output did not take them$/,
  );
  const lost = parseInt(lines.pop()!);
  assertEquals(lines.length + lost, printed);
  assertEquals(lines.length, 2_000);
});

/** Runs a command whose stdout is a socket, as the journal of systemd has it. */
const TO_SOCKET = `
import socket, subprocess, sys
here, there = socket.socketpair()
subprocess.run(sys.argv[1:], stdout=there)
there.close()
print(here.makefile().read(), end="")
`;
const TO_TERMINAL = `
import pty, sys
pty.spawn(sys.argv[1:])
`;

Deno.test("formatFor() gives the time to files and pipes, not to a terminal or the journal", async () => {
  const file = await Deno.makeTempFile();
  const rows = [
    ['"$@"', "timed"],
    [`"$@" > ${file}; cat ${file}`, "timed"],
    [`python3 -c '${TO_SOCKET}' "$@"`, "text"],
    [`python3 -c '${TO_TERMINAL}' "$@"`, "text"],
  ];
  const script = `import { formatFor } from "${new URL(
    "log_output.ts",
    import.meta.url,
  )}"; console.log(formatFor(1));`;
  for (const [command, format] of rows) {
    await using running = start("sh", [
      ...["-c", command, "sh", Deno.execPath(), "eval", "--no-config"],
      script,
    ], { env: { NO_COLOR: "1" } });
    assertEquals((await running.stdout()).trim(), format, command);
    await running.status;
  }
  await Deno.remove(file);
});
