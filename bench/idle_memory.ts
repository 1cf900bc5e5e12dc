/**
 * Resident memory that each idle connection costs a server, each having spoken
 * once; `null` where `/proc` does not tell.
 *
 *     deno run --allow-all bench/idle_memory.ts PORT PID CONNECTIONS
 */
import { requestFrame, textsOf } from "./load_batch.ts";
import { readFrame } from "./load_connection.ts";
import { Buffer } from "node:buffer";

/** What idle connections cost. */
export interface IdleMemory {
  readonly connections: number;
  readonly bytesPerConnection: number | null;
}

const WARM_UP = 200;
/** Milliseconds until a process has settled. */
const SETTLE = 1_000;

function residentBytes(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return 1_024 * Number(status.match(/^VmRSS:\s+(\d+) kB$/m)?.[1]);
}

/**
 * Opens so many connections, fewer if the system allows no more, and says hello
 * on each.
 */
async function openAll(port: number, count: number): Promise<Deno.Conn[]> {
  const [request] = textsOf("17")!.map(requestFrame);
  const space = Buffer.alloc(256);
  const conns: Deno.Conn[] = [];
  try {
    while (conns.length < count) {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port });
      const timer = setTimeout(() => conn.close(), 2_000);
      await conn.write(request.bytes);
      await readFrame(conn, space);
      clearTimeout(timer);
      conns.push(conn);
    }
  } catch (error) {
    if (conns.length === 0) throw error;
  }
  return conns;
}

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SETTLE));
}

async function measure(
  port: number,
  pid: number,
  count: number,
): Promise<IdleMemory> {
  for (const conn of await openAll(port, WARM_UP)) conn.close();
  await settle();
  try {
    const before = residentBytes(pid);
    const conns = await openAll(port, count);
    await settle();
    const bytes = residentBytes(pid) - before;
    for (const conn of conns) conn.close();
    const connections = conns.length;
    return { connections, bytesPerConnection: bytes / connections };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { connections: 0, bytesPerConnection: null };
  }
}

if (import.meta.main) {
  const [port, pid, count] = Deno.args.map(Number);
  console.log(JSON.stringify(await measure(port, pid, count)));
}
