/** The formula of memory in SECURITY.md holds whatever takes the messages. */
import { assertGreater, assertLessOrEqual } from "@std/assert";
import type { JsonValue } from "../mod.ts";
import type { Held } from "./holder.ts";
import { delay, faultTest } from "./ledger.ts";
import { frame, LOCAL, Peer } from "./peers.ts";
import { type Running, start } from "./process.ts";

const KIB = 1_024;
const MIB = 1_048_576;
/** Small: what is found for a byte needs no large frames. */
const MAX_FRAME_BYTES = 128 * KIB;
/** Frames that a peer sends, if they are taken: more than may be held. */
const FRAMES = 12;

const PAGE = Deno.readTextFileSync(new URL("../SECURITY.md", import.meta.url));

/** Most bytes of one connection, as SECURITY.md prints it. */
function bound(): number {
  const [formula] = /^\d+ × \(2 F[^]*?(?=^```)/m.exec(PAGE)!;
  let sum = 0;
  for (const line of formula.trim().split("\n")) {
    const [, term] = /^(?:\+ )?(.*?) {2,}/.exec(line)!;
    const product = term
      .replace(/(\d+) F/g, "$1*F")
      .replace(/(\d+) × /, "$1*")
      .replaceAll("KiB", "*1024")
      .replaceAll("F", String(MAX_FRAME_BYTES));
    if (!/^[\d*+() ]+$/.test(product)) throw new Error(`no formula: ${line}`);
    sum += Number((0, eval)(product));
  }
  return sum;
}

/** What a byte of JSON may become, as SECURITY.md has it. */
function factor(): number {
  return Number(/^(\d+) × \(2 F/m.exec(PAGE)![1]);
}

/** The same where calls are taken, or messages wait that nobody asked for. */
function boundOfMore(): number {
  return bound() + factor() * MIB;
}

/** The same for a client with streams that are not read. */
function boundOfStreams(): number {
  const [, mebibytes] = /streams to this\s+end hold up to (\d+) MiB/.exec(
    PAGE,
  )!;
  return bound() + factor() * Number(mebibytes) * MIB;
}

/** JSON of so many bytes that takes the most memory: see tests/memory_test.ts. */
function wasteful(length: number): string {
  const one = `${'{"34":'.repeat(100)}0${"}".repeat(100)}`;
  const count = Math.floor((length - 2) / (one.length + 1));
  return `[${Array(count).fill(one).join()}]`;
}

const SHAPE = wasteful(MAX_FRAME_BYTES - 200);

function call(method: string, shape: string, id?: number): string {
  const member = id === undefined ? "" : `"id":${id},`;
  return `{"jsonrpc":"2.0",${member}"method":"${method}","params":[${shape}]}`;
}

/** What a peer sends: the frame of that number. */
type Make = (i: number) => string;

/** Bytes that peers have sent so far. */
let sent = 0;

async function flood(peer: Peer, make: Make): Promise<void> {
  try {
    for (let i = 0; i < FRAMES; i++) {
      const bytes = frame(make(i));
      await peer.write(bytes);
      sent += bytes.length;
    }
  } catch {
    // The other end has had enough.
  }
}

/** Reads what comes and throws it away. */
async function drain(peer: Peer): Promise<void> {
  const space = new Uint8Array(65_536);
  try {
    while (await peer.conn.read(space) !== null);
  } catch {
    // The other end has had enough.
  }
}

/** How many messages the process has taken. */
async function takenBy(child: Running): Promise<number> {
  await child.write("taken\n");
  return Number((await child.line(/^\d+$/))[0]);
}

async function heldBy(child: Running): Promise<Held> {
  await child.write("held\n");
  return JSON.parse((await child.line(/^{.*}$/))[0]);
}

/**
 * What the process holds when it has taken something, its peer sends no more,
 * and it takes no more, however often it was asked meanwhile.
 */
async function heldAtRest(child: Running): Promise<Held> {
  let before = "";
  for (let rests = 0; rests < 10;) {
    await delay(10);
    const taken = await takenBy(child);
    const now = `${sent} ${taken}`;
    rests = taken > 0 && now === before ? rests + 1 : 0;
    before = now;
  }
  return await heldBy(child);
}

function holder(name: string, options: object): Running {
  return start(Deno.execPath(), [
    ...["run", "--allow-all", "--v8-flags=--expose-gc"],
    new URL("holder.ts", import.meta.url).pathname,
    ...[name, JSON.stringify({ ...options, maxFrameBytes: MAX_FRAME_BYTES })],
  ], { stdin: "piped" });
}

/** Has a peer send to a server. */
async function attackServer(name: string, make: Make): Promise<number> {
  await using child = holder(name, {});
  const [, port] = await child.line(/^port (\d+)$/);
  const addr = { ...LOCAL, transport: "tcp", port: Number(port) } as const;
  const before = await heldBy(child);
  using peer = await Peer.connect(addr);
  const work = [flood(peer, make), drain(peer)];
  const after = await heldAtRest(child);
  peer[Symbol.dispose]();
  await Promise.all(work);
  return after.heap - before.heap;
}

/** Has a server do with its one client what it likes. */
async function attackClient(
  name: string,
  attack: (peer: Peer) => Promise<void>,
): Promise<number> {
  using listener = Deno.listen(LOCAL);
  await using child = holder(name, { port: listener.addr.port });
  await child.line(/^port/);
  const before = await heldBy(child);
  using peer = new Peer(await listener.accept());
  const work = attack(peer);
  const after = await heldAtRest(child);
  peer[Symbol.dispose]();
  await work;
  return after.heap - before.heap;
}

const SERVERS: Record<string, [name: string, most: number, make: Make]> = {
  "a handler": ["handler", bound(), () => SHAPE],
  "an iteration": ["iteration", bound(), () => SHAPE],
  "calls": ["method", boundOfMore(), (i) => call("hold", SHAPE, i)],
  "notifications": ["method", boundOfMore(), () => call("hold", SHAPE)],
  "batches of large calls": [
    "method",
    boundOfMore(),
    (i) => `[${call("hold", SHAPE, i)}]`,
  ],
  "batches with large results": [
    "method",
    bound(),
    (i) =>
      `[${
        Array.from(
          { length: 50 },
          (_, j) => call("text", `${MAX_FRAME_BYTES - 100}`, 50 * i + j),
        )
      }]`,
  ],
  "vscode-jsonrpc": [
    "vscode-jsonrpc",
    boundOfMore(),
    (i) => call("hold", SHAPE, i),
  ],
  "the MCP SDK": ["mcp", boundOfMore(), (i) => call("hold", SHAPE, i)],
};

for (const [consumer, [name, most, make]] of Object.entries(SERVERS)) {
  faultTest(
    `no peer makes a server hold more than the formula says: ${consumer}`,
    async () => {
      const held = await attackServer(name, make);
      console.log(
        `${(held / KIB).toFixed()} of ${(most / KIB).toFixed()} KiB`,
      );
      assertLessOrEqual(held, most);
      if (consumer === "a handler") assertGreater(held, most / 4);
    },
  );
}

const CLIENTS: Record<
  string,
  [name: string, most: number, attack: (peer: Peer) => Promise<void>]
> = {
  "more messages than requests": [
    "requests of a client",
    boundOfMore(),
    async (peer) => {
      try {
        for (;;) {
          if ((await peer.take(1)).length === 0) return;
          await flood(peer, () => SHAPE);
        }
      } catch {
        // The client has had enough.
      }
    },
  ],
  "requests that are given up": ["requests that are given up", bound(), drain],
  "streams that nobody reads": [
    "calls of a client",
    boundOfStreams(),
    async (peer) => {
      const calls = await peer.take(100) as JsonValue[];
      const ids = calls.map((call) => (call as { id: number }).id);
      const item = (i: number) =>
        `{"jsonrpc":"2.0","method":"$/stream","params":{"id":${
          ids[i % 100]
        },"items":[${SHAPE}]}}`;
      await Promise.all([drain(peer), flood(peer, item)]);
    },
  ],
};

for (const [consumer, [name, most, attack]] of Object.entries(CLIENTS)) {
  faultTest(
    `no server makes a client hold more than the formula says: ${consumer}`,
    async () => {
      const held = await attackClient(name, attack);
      console.log(
        `${(held / KIB).toFixed()} of ${(most / KIB).toFixed()} KiB`,
      );
      assertLessOrEqual(held, most);
    },
  );
}
