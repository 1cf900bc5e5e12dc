/** What the page about the wire shows is what goes over it. */
import { assert, assertEquals } from "@std/assert";
import { RPC_ERRORS } from "../core/rpc/jsonrpc.ts";
import type { RpcContext } from "../rpc.ts";
import { RawPeer } from "./rpc_pair.ts";
import { turn } from "./turns.ts";

const PAGE = Deno.readTextFileSync(
  new URL("../interop/RPC.md", import.meta.url),
);

const methods = {
  add: (a: number, b: number) => a + b,
  sleep: () => new Promise(() => {}),
  async *count({ to }: { to: number }) {
    for (let i = 1; i <= to; i++) {
      yield i;
      if (i === to - 1) await turn();
    }
    return "done";
  },
  async *events(this: RpcContext) {
    await new Promise((resolve) =>
      this.signal.addEventListener("abort", resolve)
    );
    yield "never";
  },
};

/** So that a quiet stream is not quiet for long. */
const QUICK = { idleTimeout: 60 };

Deno.test("the messages on the page about the wire are what peers send", async () => {
  const blocks = [...PAGE.matchAll(/^```text\n([^]*?)^```$/gm)];
  assert(blocks.length > 0);
  const timer = setTimeout(() => {}, 10_000);
  for (const [, block] of blocks) {
    const raw = new RawPeer(methods, {}, QUICK);
    for (const line of block.trimEnd().split("\n")) {
      const message = line.slice(4);
      if (line.startsWith("--> ")) await raw.write(message);
      else {assertEquals(
          JSON.stringify(...await raw.receive(1) as [unknown]),
          message,
        );}
    }
    await raw.close();
  }
  clearTimeout(timer);
});

Deno.test("the codes on the page about the wire are those that peers answer with", () => {
  const rows = [...PAGE.matchAll(/^\| (-\d+) \| (.*?) +\|/gm)]
    .map(([, code, message]) => [Number(code), message]);
  assertEquals(rows, Object.values(RPC_ERRORS).map((error) => [...error]));
});
