import { assertEquals } from "@std/assert";

const EXAMPLES: Record<string, { permissions: string[]; output: string }> = {
  "broadcast.ts": {
    permissions: ["--allow-net=127.0.0.1"],
    output: "grace got hello from ada\nedsger got hello from ada\n",
  },
  "pipes.ts": {
    permissions: ["--allow-run", "--allow-read"],
    output: '{ shouted: "HELLO" }\n',
  },
};

Deno.test("every example runs as it says", async () => {
  const names = [...Deno.readDirSync(new URL(".", import.meta.url))]
    .map(({ name }) => name).filter((name) => !name.endsWith("_test.ts"));
  const others = ["capnweb.ts", "mcp.ts", "vscode_jsonrpc.ts"];
  assertEquals(names.sort(), [...Object.keys(EXAMPLES), ...others].sort());
  for (const [name, { permissions, output }] of Object.entries(EXAMPLES)) {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", ...permissions, name],
      cwd: new URL(".", import.meta.url),
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    const text = new TextDecoder();
    assertEquals(
      { code, stdout: text.decode(stdout), stderr: text.decode(stderr) },
      { code: 0, stdout: output, stderr: "" },
      name,
    );
  }
});
