/**
 * Streams and lost links of JSON-RPC, both ends in Deno, over TCP: how many
 * small items come a second, and how long it takes until every open call has
 * been rejected when the link is cut.
 *
 *     deno run --allow-all bench/calls.ts SECONDS
 */
import { connectRpc, serveRpc } from "../rpc.ts";
import { median } from "./table.ts";

/** What calls can do beside being answered. */
export interface Calls {
  readonly itemsPerSecond: number;
  readonly openCalls: number;
  /** Milliseconds until all open calls were rejected: the middle of the cuts. */
  readonly milliseconds: number;
}

const OPEN_CALLS = 10_000;
const WARM_UP_ITEMS = 200_000;
const CUTS = 5;

const methods = {
  async *count(): AsyncGenerator<number> {
    for (let i = 0;; i++) yield i;
  },
  ping: () => null,
  wait: (): Promise<void> => new Promise(() => {}),
};

async function measureItems(port: number, seconds: number): Promise<number> {
  const client = await connectRpc<typeof methods>({ ...LOCAL, port });
  let from = 0;
  let expected = 0;
  for await (const item of client.api.count()) {
    if (item !== expected++) {
      throw new Error("Cannot measure: an item is wrong");
    }
    if (expected === WARM_UP_ITEMS) from = performance.now();
    if (expected > WARM_UP_ITEMS && expected % 1_024 === 0) {
      const elapsed = performance.now() - from;
      if (elapsed < 1_000 * seconds) continue;
      await client.connection.close();
      return (expected - WARM_UP_ITEMS) * 1_000 / elapsed;
    }
  }
  throw new Error("Cannot measure: the stream has ended");
}

async function measureCut(port: number): Promise<number> {
  const client = await connectRpc<typeof methods>({ ...LOCAL, port });
  let rejections = 0;
  const calls = Array.from(
    { length: OPEN_CALLS },
    () => client.api.wait().catch(() => void rejections++),
  );
  await client.api.ping(); // the other end has them all
  const start = performance.now();
  client.connection.abort();
  await Promise.all(calls);
  if (rejections !== OPEN_CALLS) {
    throw new Error("Cannot measure: not every call was rejected once");
  }
  return performance.now() - start;
}

const LOCAL = { hostname: "127.0.0.1" };

if (import.meta.main) {
  if (Deno.args[0] === "serve") {
    const server = serveRpc(
      { ...LOCAL, port: 0, maxInFlight: OPEN_CALLS + 1 },
      methods,
    );
    if (server.addr.transport === "tcp") console.log(server.addr.port);
  } else {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-all", import.meta.filename ?? "", "serve"],
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    const port = Number(new TextDecoder().decode(value));
    const itemsPerSecond = await measureItems(port, Number(Deno.args[0]));
    const cuts: number[] = [];
    while (cuts.length < CUTS) cuts.push(await measureCut(port));
    const calls: Calls = {
      itemsPerSecond,
      openCalls: OPEN_CALLS,
      milliseconds: median(cuts),
    };
    console.log(JSON.stringify(calls));
    child.kill("SIGKILL");
    Deno.exit(0);
  }
}
