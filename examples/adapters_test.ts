import { assertEquals } from "@std/assert";

const EXAMPLES: Record<string, { permissions: string[]; output: string }> = {
  "vscode_jsonrpc.ts": {
    permissions: ["--allow-net=127.0.0.1", "--allow-env=XDG_RUNTIME_DIR"],
    output: 'server: busy\n{ contents: "documentation of file:///mod.ts" }\n',
  },
  "mcp.ts": {
    permissions: ["--allow-net=127.0.0.1"],
    output: '[ "add" ]\n[ { type: "text", text: "3" } ]\n',
  },
  "capnweb.ts": {
    permissions: ["--allow-net=127.0.0.1"],
    output: "hello ada\ngreeted\n",
  },
};

for (const [name, { permissions, output }] of Object.entries(EXAMPLES)) {
  Deno.test(`examples/${name} runs as it says`, async () => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      // Quiet about what is downloaded.
      args: [
        ...["run", "--quiet", "--no-prompt", "--lock=../deno.lock"],
        ...permissions,
        name,
      ],
      cwd: new URL(".", import.meta.url),
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    const text = new TextDecoder();
    assertEquals(
      { code, stdout: text.decode(stdout), stderr: text.decode(stderr) },
      { code: 0, stdout: output, stderr: "" },
    );
  });
}
