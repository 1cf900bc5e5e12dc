/**
 * The demonstration program: requests, pushes and calls, and their bytes.
 *
 * @module
 */
import { connect, encodeFrame, type JsonValue, listen, serve } from "../mod.ts";
import { connectRpc, serveRpc } from "../rpc.ts";
import { HELLO } from "./client.ts";
import { echo, echoError } from "./echo.ts";
import { requirePermission } from "./endpoint.ts";
import { dumpFrame } from "./hex.ts";
import { METHODS } from "./methods.ts";
import { compact, print } from "./output.ts";
import { type Given, type Program, run } from "./program.ts";

/** Each server has a port of its own, which it is given. */
const ADDRESS = { transport: "tcp", hostname: "127.0.0.1", port: 0 } as const;
const GREETING: JsonValue = { message: "Grüße, 世界" };

const PROGRAM: Program = {
  name: "demo",
  usage: "demo",
  about: "Show requests, pushes and calls between two ends, and their bytes.",
  options: "",
};

/** Runs the demonstration program. */
export function main(args: string[]): Promise<void> {
  return run(PROGRAM, args, demonstrate);
}

async function demonstrate(given: Given): Promise<number> {
  // The clients need the ports that the servers are given.
  const needed = [{ name: "net", host: ADDRESS.hostname } as const];
  requirePermission("listen on", ADDRESS, needed, given);
  await using server = serve({ ...ADDRESS, onError: echoError }, echo);
  await title("A request and its reply: serve() and connect()");
  await using client = await connect(server.addr);
  await say(`client sends    ${compact(HELLO)}`);
  await say(`server replies  ${compact(await client.request(HELLO))}`);
  await push();
  await call();
  await bytes(server.addr as Deno.NetAddr);
  return 0;
}

async function push(): Promise<void> {
  await title("\nPushes, whenever the server likes: listen()");
  await using listener = listen(ADDRESS, async (connection) => {
    for (let tick = 1; tick <= 3; tick++) await connection.send({ tick });
  });
  await using client = await connect(listener.addr);
  for await (const message of client) {
    await say(`server sends    ${compact(message)}`);
  }
}

async function call(): Promise<void> {
  await title("\nA call, and one with a stream: serveRpc() and connectRpc()");
  await using server = serveRpc(ADDRESS, METHODS);
  await using client = await connectRpc(server.addr);
  const sum = await client.call("add", [1, 2]);
  await say(`add(1, 2)       ${compact(sum)}`);
  const items = client.call("count", { to: 3, everyMs: 100 });
  for await (const item of items as AsyncIterable<JsonValue>) {
    await say(`count({to: 3})  ${compact(item)}`);
  }
}

async function bytes(address: Deno.NetAddr): Promise<void> {
  const { sent, received } = await exchangeBytes(address, HELLO);
  await title("\nThe bytes of that request: a length, big-endian, then JSON");
  await show(sent);
  await title("and of its reply");
  await show(received);
  const text = compact(GREETING);
  await title(`\nA length counts bytes; ${text} has ${text.length} characters`);
  await show(encodeFrame(GREETING));
}

/** The bytes of a message and its reply, over a connection of the platform's. */
async function exchangeBytes(
  { hostname, port }: Deno.NetAddr,
  message: JsonValue,
): Promise<{ sent: Uint8Array; received: Uint8Array }> {
  const conn = await Deno.connect({ hostname, port });
  const sent = encodeFrame(message);
  await conn.write(sent);
  await conn.closeWrite();
  return { sent, received: await new Response(conn.readable).bytes() };
}

async function title(text: string): Promise<void> {
  const isBold = Deno.stdout.isTerminal() && !Deno.noColor;
  await print(`${text}\n`, isBold ? bold : undefined);
}

function bold(line: string): string {
  return `\x1b[1m${line}\x1b[22m`;
}

async function say(text: string): Promise<void> {
  await print(`  ${text}\n`);
}

async function show(frame: Uint8Array): Promise<void> {
  for (const row of dumpFrame(frame)) await say(row);
}

if (import.meta.main) main(Deno.args);
