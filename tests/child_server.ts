/**
 * A server in a process of its own, which tells its memory, and how much it
 * takes in one turn:
 *
 *     deno run --allow-all --v8-flags=--expose-gc tests/child_server.ts '{"frameTimeout":100}'
 *
 * It answers an object as it says, a `7` with nothing, anything else with
 * itself.
 */
import {
  type Connection,
  type Handler,
  type JsonValue,
  NO_REPLY,
  serve,
} from "../mod.ts";
import { LOCAL, portOf } from "./peers.ts";
import { type Running, start } from "./process.ts";

/** What the server may be asked. */
export type Order =
  /** To answer with a text of so many characters. */
  | { reply: number }
  /** To answer with a text of so many characters, but later. */
  | { later: number }
  /** To keep the message as long as the connection is open. */
  | { hold: JsonValue }
  /** To answer with how it is. */
  | { state: true };

/** How a server is. */
export interface State {
  /** Bytes of the heap, the buffers and the process, garbage collected. */
  readonly heap: number;
  readonly buffers: number;
  readonly process: number;
  /** Bytes that it has read so far. */
  readonly bytesReceived: number;
  /** Bytes that it has read between two turns of a timer, the most so far. */
  readonly mostPerTurn: number;
  readonly connections: number;
}

/** A server in a process of its own. */
export type ChildServer = Running & {
  readonly addr: { transport: "tcp"; hostname: string; port: number };
};

/** Starts one, with options of `serve` that JSON can carry. */
export async function startChildServer(
  options: Record<string, JsonValue> = {},
): Promise<ChildServer> {
  const child = start(Deno.execPath(), [
    ...["run", "--allow-all", "--v8-flags=--expose-gc"],
    ...[new URL(import.meta.url).pathname, JSON.stringify(options)],
  ]);
  const [, port] = await child.line(/^listening on (\d+)$/);
  return Object.assign(child, {
    addr: { ...LOCAL, transport: "tcp", port: Number(port) } as const,
  });
}

/** Gives the most by which `count` grows between two turns of a timer. */
function measureTurns(count: () => number): () => number {
  let most = 0;
  let last = count();
  setInterval(() => {
    const now = count();
    most = Math.max(most, now - last);
    last = now;
  }, 1);
  return () => most;
}

function main(options: Record<string, JsonValue>): void {
  const { gc } = globalThis as unknown as { gc(): void };
  const held = new Set<JsonValue>();

  function state(): State {
    gc();
    const { heapUsed, external, rss } = Deno.memoryUsage();
    return {
      heap: heapUsed,
      buffers: external,
      process: rss,
      bytesReceived: server.stats().bytesReceived,
      mostPerTurn: mostPerTurn(),
      connections: server.connections.size,
    };
  }
  function handle(
    message: JsonValue,
    connection: Connection,
  ): ReturnType<Handler> {
    if (message === 7) return NO_REPLY;
    if (typeof message !== "object" || message === null) return message;
    if ("reply" in message) return "x".repeat(message.reply as number);
    if ("later" in message) {
      return Promise.resolve("x".repeat(message.later as number));
    }
    if ("hold" in message) {
      held.add(message);
      connection.closed.then(() => held.delete(message));
      return connection.closed.then(() => NO_REPLY);
    }
    return "state" in message ? { ...state() } : message;
  }

  const server = serve(
    { ...LOCAL, onError: () => "bad", ...options },
    handle,
  );
  const mostPerTurn = measureTurns(() => server.stats().bytesReceived);
  console.log(`listening on ${portOf(server.addr)}`);
}

if (import.meta.main) main(JSON.parse(Deno.args[0]));
