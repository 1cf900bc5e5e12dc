import { assertEquals } from "@std/assert";
import { ADAPTER_EXAMPLES } from "../tests/examples.ts";

for (
  const [name, { permissions, output }] of Object.entries(ADAPTER_EXAMPLES)
) {
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
