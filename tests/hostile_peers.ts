/**
 * Loaded before a program: whenever that listens, peers come that do harm, and
 * the program connects to nothing before all of them are gone. Prints how many
 * came.
 */
import { subscribe } from "node:diagnostics_channel";
import { connect as connectNode } from "node:net";
import { encodeFrame } from "../framing.ts";
import type { Address, ServerEvent } from "../mod.ts";

const TEXT = new TextEncoder();
const BAD = "no!";
const NOT_JSON = Uint8Array.of(0, 0, 0, BAD.length, ...TEXT.encode(BAD));
const TOO_MUCH = Uint8Array.of(0x7f, 0xff, 0xff, 0xff);
const CUT = encodeFrame("a frame that stops").subarray(0, 10);
const GOOD = encodeFrame({ jsonrpc: "2.0", id: 1, method: "none" });

const HARM: ((addr: Deno.ConnectOptions) => Promise<void>)[] = [
  ...[CUT, NOT_JSON, TOO_MUCH, NOT_JSON.subarray(0, 2)].map(
    (bytes) => (addr: Deno.ConnectOptions) => endsBehind(addr, bytes),
  ),
  ...[CUT, NOT_JSON, GOOD].map(
    (bytes) => (addr: Deno.ConnectOptions) => resetsBehind(addr, bytes),
  ),
  vanishes,
];

// The platform's own: the program gets another.
const { connect } = Deno;
let gone: Promise<unknown> = Promise.resolve();

function harm(addr: Address): void {
  if (addr.transport !== "tcp") return;
  const peers = HARM.map((one) =>
    one({ hostname: "127.0.0.1", port: addr.port })
  );
  gone = Promise.all([gone, ...peers]).then(() =>
    console.log(`${peers.length} peers came`)
  );
}

/** Sends bytes, ends its side, and waits for the server's end. */
async function endsBehind(
  addr: Deno.ConnectOptions,
  bytes: Uint8Array,
): Promise<void> {
  const conn = await connect(addr);
  try {
    await conn.write(bytes);
    await conn.closeWrite();
    const space = new Uint8Array(1_024);
    while (await conn.read(space) !== null);
  } catch {
    // The server had enough.
  }
  conn.close();
}

/** Sends bytes and resets the link. */
function resetsBehind(
  { hostname, port }: Deno.ConnectOptions,
  bytes: Uint8Array,
): Promise<void> {
  return new Promise((resolve) => {
    const socket = connectNode({ host: hostname ?? "", port });
    socket.on("error", () => {});
    socket.on("close", () => resolve());
    socket.on(
      "connect",
      () => socket.write(bytes, () => socket.resetAndDestroy()),
    );
  });
}

/** Stops in the middle of a frame, and is never heard of again. */
async function vanishes(addr: Deno.ConnectOptions): Promise<void> {
  const conn = await connect(addr);
  conn.unref();
  await conn.write(CUT);
}

subscribe("@blackbelt/networking:server", (message) => {
  const event = message as ServerEvent;
  if (event.type === "listening") harm(event.addr);
});
Deno.connect = async function (options: Deno.ConnectOptions) {
  await gone;
  return await connect(options);
} as typeof Deno.connect;
