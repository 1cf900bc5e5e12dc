import { assertEquals } from "@std/assert";
import { ADAPTER_EXAMPLES, EXAMPLES } from "../tests/examples.ts";

Deno.test("every example runs as it says", async () => {
  const names = [...Deno.readDirSync(new URL(".", import.meta.url))]
    .map(({ name }) => name).filter((name) => !name.endsWith("_test.ts"));
  const all = { ...EXAMPLES, ...ADAPTER_EXAMPLES };
  assertEquals(names.sort(), Object.keys(all).sort());
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
