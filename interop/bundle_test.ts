/** This package, bundled, in Node. */
import { assert, assertEquals } from "@std/assert";
import { serve } from "../mod.ts";
import { serveRpc } from "../rpc.ts";
import { blocks, outputOf } from "../tests/examples.ts";
import { LOCAL, portOf } from "../tests/peers.ts";

const PAGE = Deno.readTextFileSync(new URL("README.md", import.meta.url));
const ROOT = new URL("../", import.meta.url);

/** What Node 22 has and Node 20 has not. */
const WITH_RESOLVERS = `
Promise.withResolvers ??= function () {
  const made = {};
  made.promise = new Promise((resolve, reject) => {
    Object.assign(made, { resolve, reject });
  });
  return made;
};`;

async function run(
  command: string,
  args: string[],
  cwd: string,
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  assert(success, text.decode(stderr));
  return text.decode(stdout);
}

Deno.test("connections and calls run in Node, bundled as the page says", async () => {
  const [module] = blocks("ts", PAGE);
  const [code] = blocks("js ignore", PAGE);
  const command = blocks("sh", PAGE).find((block) =>
    block.startsWith("deno bundle ")
  )!;
  await using echo = serve(LOCAL, (message) => ({
    status: "success",
    echo: (message as { message: string }).message,
  }));
  await using calculator = serveRpc(LOCAL, {
    add: (a: number, b: number) => a + b,
  });
  const directory = await Deno.makeTempDir();
  await Deno.writeTextFile(
    `${directory}/networking.ts`,
    module.replace("jsr:@blackbelt/networking/rpc", `${ROOT}rpc.ts`)
      .replace("jsr:@blackbelt/networking", `${ROOT}mod.ts`),
  );
  await Deno.writeTextFile(
    `${directory}/main.mjs`,
    code.replace("8080", `${portOf(echo.addr)}`)
      .replace("8087", `${portOf(calculator.addr)}`),
  );
  const [, ...args] = command.trim().split(" ");
  args.push(`--config=${new URL("deno.json", ROOT).pathname}`);
  await run(Deno.execPath(), args, directory);
  const data = `data:text/javascript,${encodeURIComponent(WITH_RESOLVERS)}`;
  assertEquals(
    await run("node", ["--import", data, "main.mjs"], directory),
    outputOf(code),
  );
  await Deno.remove(directory, { recursive: true });
});
