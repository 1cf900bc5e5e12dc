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

async function bundle(args: string[], cwd: string): Promise<void> {
  const config = `--config=${new URL("deno.json", ROOT).pathname}`;
  await run(Deno.execPath(), [...args, config], cwd);
}

function runInNode(cwd: string): Promise<string> {
  const data = `data:text/javascript,${encodeURIComponent(WITH_RESOLVERS)}`;
  return run("node", ["--import", data, "main.mjs"], cwd);
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
  await bundle(args, directory);
  assertEquals(await runInNode(directory), outputOf(code));
  await Deno.remove(directory, { recursive: true });
});

Deno.test("the codec alone runs in Node, bundled, on the streams of a socket", async () => {
  await using echo = serve(LOCAL, (message) => message);
  const directory = await Deno.makeTempDir();
  await Deno.writeTextFile(
    `${directory}/main.mjs`,
    `import { connect } from "node:net";
    import { Duplex } from "node:stream";
    import { encodeFrame, FrameDecoderStream } from "./framing.mjs";
    const { readable, writable } = Duplex.toWeb(connect(${
      portOf(echo.addr)
    }, "127.0.0.1"));
    const writer = writable.getWriter();
    await writer.write(encodeFrame({ message: "hi" }));
    for await (const message of readable.pipeThrough(new FrameDecoderStream())) {
      console.log(JSON.stringify(message));
      break;
    }`,
  );
  const module = new URL("framing.ts", ROOT).href;
  await bundle(["bundle", "--output", "framing.mjs", module], directory);
  assertEquals(await runInNode(directory), '{"message":"hi"}\n');
  await Deno.remove(directory, { recursive: true });
});
