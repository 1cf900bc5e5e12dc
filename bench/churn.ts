/**
 * Connections that are opened, exchange one message and are closed, a second.
 *
 *     deno run --allow-all bench/churn.ts PORT SECONDS
 */
import { Buffer } from "node:buffer";
import { replyFrame, requestFrame, textsOf } from "./load_batch.ts";
import { readFrame } from "./load_connection.ts";

/** How many connections come and go. */
export interface Churn {
  readonly connectionsPerSecond: number;
}

/** Connections at a time. */
const AT_A_TIME = 16;

async function measure(port: number, seconds: number): Promise<Churn> {
  const [text] = textsOf("17")!;
  const request = requestFrame(text);
  let count = 0;
  let over = false;

  async function comeAndGo(): Promise<void> {
    const space = Buffer.alloc(256);
    while (!over) {
      using conn = await Deno.connect({ hostname: "127.0.0.1", port });
      conn.setNoDelay(true);
      await conn.write(request.bytes);
      const reply = await readFrame(conn, space);
      if (replyFrame(text, reply) === undefined) {
        throw new Error("Cannot measure: a reply is wrong");
      }
      count++;
    }
  }

  async function time(): Promise<number> {
    await sleep(200 * seconds);
    const from = { count, time: performance.now() };
    await sleep(800 * seconds);
    over = true;
    return (count - from.count) * 1_000 / (performance.now() - from.time);
  }

  const [connectionsPerSecond] = await Promise.all([
    time(),
    ...Array.from({ length: AT_A_TIME }, comeAndGo),
  ]);
  return { connectionsPerSecond };
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

if (import.meta.main) {
  const [port, seconds] = Deno.args.map(Number);
  console.log(JSON.stringify(await measure(port, seconds)));
}
