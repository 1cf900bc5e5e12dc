/**
 * What shapes of JSON cost whoever takes them, in CPU time: prints a line of
 * JSON for each consumer.
 *
 *     deno run --allow-all tests/shapes.ts
 */
import process from "node:process";
import {
  connect,
  FrameDecoder,
  type JsonValue,
  listen,
  serve,
} from "../mod.ts";
import { connectRpc, serveRpc } from "../rpc.ts";
import { frame, LOCAL, Peer } from "./peers.ts";
import { Random, SEED } from "./random.ts";

/** Largest payload, which each shape fills. */
const MOST_BYTES = 262_144;
/** What an envelope around the shape takes. */
const ENVELOPE = 200;
const ROUNDS = 3;

/** What one consumer took for each shape, in milliseconds by MiB. */
export interface Costs {
  readonly consumer: string;
  readonly costs: Record<string, number>;
}

const ROOM = MOST_BYTES - ENVELOPE;

/** As many parts, each made by `make`, as there is room for. */
function fill(make: (i: number) => string): string {
  const parts: string[] = [];
  for (let size = 0, i = 0;; i++) {
    const part = make(i);
    size += part.length + 1;
    if (size > ROOM) return parts.join(",");
    parts.push(part);
  }
}

function shapesOf(random: Random): Record<string, string> {
  function word(length: number): string {
    return String.fromCharCode(
      ...random.list(length, () => random.integer(0x61, 0x7a)),
    );
  }
  function digits(count: number): string {
    return random.list(1_000, () => String(random.integer(1, 9))).join("")
      .repeat(Math.ceil(count / 1_000)).slice(0, count);
  }
  // Array indices that the engine keeps in one bucket: see core/tools/hashes.ts.
  const index = (i: number) => String(1e8 + 8_192 * i);
  const deep = "[".repeat(120) + "]".repeat(120);
  const arrays: Record<string, (i: number) => string> = {
    "short strings": () => `"${word(6)}"`,
    "equal strings": () => '"abcdef"',
    "strings of digits": (i) => `"${index(i)}"`,
    "numbers": () => String(random.integer(0, 1e9)),
    "long fractions": () => `0.${digits(1_000)}e-300`,
    "empty arrays": () => "[]",
    "nested arrays": () => deep,
    "equal objects": () => '{"a":1,"b":[2]}',
    "different objects": () => `{"${word(5)}":1}`,
    "wasteful objects": () => '{"34":0}',
    "escapes": () => '"\\u0041\\n\\\\\\""',
    "surrogates": () => '"\\ud83d\\ude42\\ud800"',
    "white space": () => `${" ".repeat(50)}1`,
  };
  const objects: Record<string, (i: number) => string> = {
    "many keys": (i) => `"${word(4)}${i}":0`,
    "equal keys": () => '"a":0',
    "keys of digits": (i) => `"${index(i)}":0`,
    "one long key": (i) => i === 0 ? `"${"k".repeat(ROOM - 9)}":0` : '"k":0',
  };
  const shapes: Record<string, string> = {
    "one string": `"${word(1_000).repeat(ROOM / 1_000)}"`,
    "other scripts": `"${"漢字äöü🙂".repeat(ROOM / 16)}"`,
    "one long number": digits(ROOM),
  };
  for (const [name, make] of Object.entries(arrays)) {
    shapes[name] = `[${fill(make)}]`;
  }
  for (const [name, make] of Object.entries(objects)) {
    shapes[name] = `{${fill(make)}}`;
  }
  return shapes;
}

/** Takes a payload, and resolves when it is done with it. */
type Take = (payload: string) => Promise<unknown>;

/** Sends a payload to a server, and waits for its short answer. */
async function asking(
  addr: Parameters<typeof Peer.connect>[0],
  wrap: (shape: string) => string,
): Promise<Take> {
  const peer = await Peer.connect(addr);
  return async (shape) => {
    await peer.write(frame(wrap(shape)));
    await peer.take(1);
  };
}

/** A server made of nothing but bytes that sends what it is told. */
async function answering(): Promise<
  { addr: Deno.NetAddr; accept: () => Promise<Peer> }
> {
  const listener = Deno.listen(LOCAL);
  return await Promise.resolve({
    addr: listener.addr as Deno.NetAddr,
    accept: async () => new Peer(await listener.accept() as Deno.TcpConn),
  });
}

function idOf([message]: JsonValue[]): number {
  return (message as { id: number }).id;
}

async function consumers(): Promise<Record<string, Take>> {
  const options = { ...LOCAL, maxFrameBytes: MOST_BYTES };
  const messages = serve(options, () => 1);
  const calls = serveRpc(options, { take: () => 1 });
  const pulled = listen(options);
  (async () => {
    for await (const connection of pulled) {
      for await (const _message of connection) await connection.send(1);
      await connection.close();
    }
  })();
  const remote = await answering();
  const connecting = connect({ ...remote.addr, transport: "tcp" });
  const replier = await remote.accept();
  const client = await connecting;
  const remoteCalls = await answering();
  const connectingRpc = connectRpc({
    ...remoteCalls.addr,
    transport: "tcp",
    heartbeat: false, // however long one shape takes
  });
  const answerer = await remoteCalls.accept();
  const caller = await connectingRpc;
  const call = (shape: string, id: string) =>
    `{"jsonrpc":"2.0"${id},"method":"take","params":[${shape}]}`;
  return {
    codec(shape) {
      for (const _ of new FrameDecoder().push(frame(shape)));
      return Promise.resolve();
    },
    handler: await asking(messages.addr, (shape) => shape),
    iteration: await asking(pulled.addr, (shape) => shape),
    async request(shape) {
      const reply = client.request(1);
      await replier.take(1);
      await replier.write(frame(shape));
      await reply;
    },
    call: await asking(calls.addr, (shape) => call(shape, ',"id":1')),
    batch: await asking(calls.addr, (shape) => `[${call(shape, ',"id":1')}]`),
    notification: await asking(
      calls.addr,
      (shape) => `[${call(shape, "")},${call("0", ',"id":2')}]`,
    ),
    async stream(shape) {
      const items = Array.fromAsync(caller.call("stream", []));
      const id = idOf(await answerer.take(1));
      await answerer.write(frame(
        `{"jsonrpc":"2.0","method":"$/stream","params":{"id":${id},"items":[${shape}]}}`,
      ));
      await answerer.write(frame(`{"jsonrpc":"2.0","id":${id},"result":null}`));
      await items;
      await answerer.take(1); // credit
    },
  };
}

/** Milliseconds of CPU time. */
async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

/** What each shape costs, in milliseconds by MiB. */
async function costsOf(
  take: Take,
  shapes: Record<string, string>,
): Promise<Record<string, number>> {
  const costs: Record<string, number> = {};
  async function measure(names: string[]): Promise<void> {
    for (const name of names) {
      const { length } = frame(shapes[name]);
      const cost = await timeOf(() => take(shapes[name])) * 1_048_576 / length;
      costs[name] = Math.min(costs[name] ?? Infinity, cost);
    }
  }
  const names = Object.keys(shapes);
  for (let round = 0; round < ROUNDS; round++) await measure(names);
  // What looks costly is measured again: the garbage of others may have been
  // collected meanwhile.
  names.sort((one, other) => costs[other] - costs[one]);
  for (let round = 0; round < ROUNDS; round++) {
    await measure(names.slice(0, 4));
  }
  return costs;
}

async function main(): Promise<void> {
  const shapes = shapesOf(new Random(SEED));
  const all = await consumers();
  // Code that is compiled on the way is no shape's cost.
  for (const shape of Object.values(shapes)) await all.codec(shape);
  for (const [consumer, take] of Object.entries(all)) {
    const costs = await costsOf(take, shapes);
    console.log(JSON.stringify({ consumer, costs } satisfies Costs));
  }
  Deno.exit();
}

if (import.meta.main) await main();
