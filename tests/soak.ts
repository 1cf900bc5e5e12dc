/**
 * What takes too long for a test: many connections, many in a row, many that
 * are killed, and much data. Ends with 1 if anything is wrong.
 *
 *     deno run --allow-all tests/soak.ts [part ...]
 */
import { connect, type Connection, type JsonValue, serve } from "../mod.ts";
import { startChildServer, type State } from "./child_server.ts";
import { resetAndDestroy } from "./raw.ts";
import { Random, SEED } from "./random.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const MIB = 1_048_576;

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`Cannot go on: ${what}`);
}

async function state(client: Connection): Promise<State> {
  return await client.request({ state: true }) as unknown as State;
}

function openSockets(pid: number): number {
  const folder = `/proc/${pid}/fd`;
  let count = 0;
  for (const { name } of Deno.readDirSync(folder)) {
    try {
      if (Deno.readLinkSync(`${folder}/${name}`).startsWith("socket:")) count++;
    } catch {
      // Closed meanwhile.
    }
  }
  return count;
}

/** Longer than anything of a server goes on when its clients are gone. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 2_500));
}

/** As many connections as 10 000, each of which is answered. */
async function connections(): Promise<string> {
  const count = 10_000;
  await using server = await startChildServer({
    maxConnections: count + 1,
    idleTimeout: 300_000,
  });
  const clients: Connection[] = [];
  const start = performance.now();
  while (clients.length < count) {
    const wave = await Promise.all(
      Array.from({ length: 100 }, () => connect(server.addr)),
    );
    clients.push(...wave);
  }
  const accepted = performance.now() - start;
  const replies = await Promise.all(
    clients.map((client, i) => client.request([i])),
  );
  check(
    replies.every((reply, i) => JSON.stringify(reply) === `[${i}]`),
    "a reply is wrong",
  );
  const { process, connections } = await state(clients[0]);
  check(connections === count, `${connections} connections are open`);
  check(accepted < 30_000, `accepting took ${accepted} ms`);
  check(process < 300 * MIB, `the server holds ${process} bytes`);
  await Promise.all(clients.map((client) => client.close()));
  return `${count} connections accepted in ${
    Math.round(accepted)
  } ms and answered; the server holds ${Math.round(process / MIB)} MiB`;
}

/** Connections that come and go in all ways, after which nothing is left. */
async function cycles(): Promise<string> {
  const count = 5_000;
  await using server = await startChildServer({ frameTimeout: 1_000 });
  await using control = await connect({
    ...server.addr,
    idleTimeout: Infinity,
  });
  const random = new Random(SEED);
  await settle(); // the platform opens sockets of its own at first
  const sockets = openSockets(server.pid);
  let warm = await state(control);
  for (let i = 1; i <= count; i++) {
    const way = random.integer(1, 4);
    if (way === 1) {
      await resetAndDestroy(server.addr.port, Uint8Array.of(0, 0, 0, 9, 0x22));
    } else {
      const client = await connect(server.addr);
      await client.request([i]);
      if (way === 2) client.abort();
      else if (way === 3) {
        await client.closeWrite();
        for await (const _rest of client);
      }
      await client.close();
    }
    if (i === count / 5) warm = await state(control);
  }
  await settle();
  const { heap, buffers, process, connections } = await state(control);
  const growth = heap + buffers - warm.heap - warm.buffers;
  check(connections === 1, `${connections} connections are open`);
  const left = openSockets(server.pid) - sockets;
  check(left === 0, `${left} sockets are left open`);
  check(growth < MIB, `the server has grown by ${growth} bytes`);
  // What the platform frees, its allocator keeps in part: that comes in steps.
  const kept = process - warm.process;
  check(kept < 64 * MIB, `its process has grown by ${kept} bytes`);
  return `${count} connections came and went; in the last ${
    0.8 * count
  } the server grew by ${Math.round(growth / 1_024)} KiB, its process by ${
    Math.round(kept / 1_024)
  } KiB`;
}

/** Clients that are killed at random, and what others notice of it. */
async function stampede(): Promise<string> {
  const random = new Random(SEED);
  await using server = await startChildServer();
  await settle(); // the platform opens sockets of its own at first
  const sockets = openSockets(server.pid);
  let kills = 0;
  let replies = 0;
  let wrong = 0;
  const end = performance.now() + 5_000;
  async function client(): Promise<void> {
    while (performance.now() < end) {
      const connection = await connect(server.addr);
      const life = performance.now() + random.integer(1, 400);
      try {
        for (let i = 0; performance.now() < life; i++) {
          const message = [i, "é"];
          const reply = await connection.request(message);
          if (JSON.stringify(reply) !== JSON.stringify(message)) wrong++;
          replies++;
        }
      } catch (error) {
        if (!(error instanceof Error)) throw error;
      }
      kills++;
      if (random.integer(0, 1)) connection.abort();
      else await connection.close();
    }
  }
  async function reset(): Promise<void> {
    while (performance.now() < end) {
      await resetAndDestroy(server.addr.port, Uint8Array.of(0, 0, 1));
      await new Promise((resolve) => setTimeout(resolve, 20));
      kills++;
    }
  }
  await Promise.all([reset(), ...Array.from({ length: 100 }, client)]);
  await settle();
  await using fresh = await connect(server.addr);
  const { connections } = await state(fresh);
  check(connections === 1, `${connections} connections are open`);
  check(wrong === 0, `${wrong} replies are wrong`);
  const left = openSockets(server.pid) - sockets - 1; // the fresh one
  check(left === 0, `${left} sockets are left open`);
  return `${kills} connections killed at random, ${replies} replies, none wrong; a fresh client is served`;
}

/**
 * 256 MiB of frames of all sizes, there and back, byte by byte the same: up to
 * 1 Mi characters, of which JSON makes up to six bytes each.
 */
async function integrity(): Promise<string> {
  const random = new Random(SEED);
  await using server = serve(
    { ...LOCAL, maxFrameBytes: 8 * MIB },
    (message: JsonValue) => message,
  );
  await using client = await connect({
    ...server.addr,
    maxFrameBytes: 8 * MIB,
    maxQueuedBytes: Infinity,
  });
  const alphabet = ["x", "é", "日", "😀", '"', "\\", "\u0000"];
  const start = performance.now();
  let bytes = 0;
  let frames = 0;
  while (bytes < 256 * MIB) {
    const texts = random.list(8, () => {
      const size = 2 ** random.integer(0, 20);
      return `${random.integer(0, 2 ** 31)}`
        .padEnd(size, random.list(7, () => random.pick(alphabet)).join(""));
    });
    const replies = await Promise.all(
      texts.map((text) => client.request(text)),
    );
    check(
      replies.every((reply, i) => reply === texts[i]),
      `a message has changed (seed ${SEED})`,
    );
    frames += texts.length;
    bytes = client.stats().bytesSent;
  }
  check(client.stats().bytesReceived === bytes, "bytes are missing");
  const seconds = (performance.now() - start) / 1_000;
  return `${
    Math.round(bytes / MIB)
  } MiB in ${frames} frames came back as they were, ${
    Math.round(bytes / MIB / seconds)
  } MiB a second each way`;
}

const PARTS = { connections, cycles, stampede, integrity };

if (import.meta.main) {
  const chosen = Deno.args.length > 0 ? Deno.args : Object.keys(PARTS);
  for (const name of chosen) {
    const part = PARTS[name as keyof typeof PARTS];
    if (part === undefined) {
      console.error(`soak: there is no part ${name}`);
      Deno.exit(2);
    }
    try {
      console.log(`${name}: ${await part()}`);
    } catch (error) {
      console.error(`${name}: ${error} (seed ${SEED})`);
      Deno.exit(1);
    }
  }
  Deno.exit(0);
}
