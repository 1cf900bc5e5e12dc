/**
 * The demonstration program: a server, a client, and the bytes between them.
 *
 * @module
 */
import { connect, encodeFrame, type JsonValue, serve } from "../mod.ts";
import { HELLO } from "./client.ts";
import { echo, echoError } from "./echo.ts";
import { requirePermission } from "./endpoint.ts";
import { dumpFrame } from "./hex.ts";
import { ServerLog } from "./log.ts";
import { LogOutput } from "./log_output.ts";
import { compact, print } from "./output.ts";
import { type Given, type Program, run } from "./program.ts";

const HOSTNAME = "127.0.0.1";
const GREETING: JsonValue = { message: "Grüße, 世界" };

const PROGRAM: Program = {
  name: "demo",
  usage: "demo",
  about: "Runs a server and a client, and shows the bytes between them.",
  options: "",
};

/** Runs the demonstration program. */
export function main(args: string[]): Promise<void> {
  return run(PROGRAM, args, demonstrate);
}

async function demonstrate(given: Given): Promise<number> {
  const address = { transport: "tcp", hostname: HOSTNAME, port: 0 } as const;
  // The client needs the port that the server is given.
  const needed = [{ name: "net", host: HOSTNAME } as const];
  requirePermission("listen on", address, needed, given);
  await title("A client says hello to a server:");
  let showing = true;
  const output = new LogOutput(Deno.stdout, { format: "text" });
  const log = new ServerLog({
    output: {
      print(record, text) {
        if (showing) output.print(record, `  server  ${text}`);
      },
    },
    errors: new LogOutput(Deno.stderr, { format: "text" }),
  });
  const connected = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  await using server = serve({
    hostname: HOSTNAME,
    port: 0,
    onError: echoError,
    onEvent(event) {
      log.event(event);
      if (event.type === "connected") connected.resolve();
      if (event.type === "closed") closed.resolve();
    },
  }, echo);

  const { port } = server.addr as Deno.NetAddr;

  const client = await connect(server.addr);
  await connected.promise;
  await output.end();
  await print(`  client  sends ${compact(HELLO)}\n`);
  const reply = await client.request(HELLO);
  await print(`  client  gets ${compact(reply)}\n`);
  await client.close();
  await closed.promise;
  await output.end();

  showing = false;
  const { sent, received } = await exchangeBytes(port, HELLO);
  await title("\nThe bytes of such an exchange, to the server:");
  await show(sent);
  await title("\nand back:");
  await show(received);

  const text = compact(GREETING);
  const greeting = await exchangeBytes(port, GREETING);
  await title(
    `\nA length counts bytes; ${text} has ${text.length} characters:`,
  );
  await show(greeting.sent);

  await title("\nThe end:");
  showing = true;
  await server.shutdown();
  await output.end();
  return 0;
}

/** The bytes of a message and its reply, over a connection of the platform's. */
async function exchangeBytes(
  port: number,
  message: JsonValue,
): Promise<{ sent: Uint8Array; received: Uint8Array }> {
  const conn = await Deno.connect({ hostname: HOSTNAME, port });
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

async function show(frame: Uint8Array): Promise<void> {
  await print(dumpFrame(frame).map((row) => `  ${row}\n`).join(""));
}

if (import.meta.main) main(Deno.args);
