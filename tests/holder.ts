/**
 * A process whose peer makes it hold as much as it can, in the way that the
 * first argument names; the second has its options. Prints where it listens, and
 * for each line of stdin what that asks for: how many messages were "taken", or
 * what is "held".
 *
 *     deno run --allow-all --v8-flags=--expose-gc tests/holder.ts handler '{"maxFrameBytes":65536}'
 */
import {
  connect,
  type Connection,
  type ConnectionOptions,
  listen,
  serve,
} from "../mod.ts";
import { connectRpc, serveRpc } from "../rpc.ts";
import { createMessageConnection } from "npm:vscode-jsonrpc@10.0.0/node";
import { ConnectionTransport } from "../adapters/mcp.ts";
import {
  ConnectionMessageReader,
  ConnectionMessageWriter,
} from "../adapters/vscode_jsonrpc.ts";
import { LOCAL, portOf } from "./peers.ts";

/** What the process holds, in bytes, garbage collected. */
export interface Held {
  /** Messages that it has taken, or other things that it has done. */
  readonly taken: number;
  readonly heap: number;
  readonly process: number;
}

type Options = ConnectionOptions & { port?: number };

const held: unknown[] = [];

function hold(...values: unknown[]): Promise<never> {
  held.push(values);
  return new Promise(() => {});
}

/** Keeps each connection for what `take` does with it; gives the port. */
function pull(
  options: Options,
  take: (connection: Connection) => void,
): number {
  const listener = listen({ ...LOCAL, ...options });
  (async () => {
    for await (const connection of listener) take(connection);
  })();
  return portOf(listener.addr);
}

async function iterate(connection: Connection): Promise<void> {
  for await (const message of connection) await hold(message);
}

/** Makes requests as long as they are answered. */
async function ask(connection: Connection): Promise<void> {
  try {
    for (;;) {
      await connection.request("next");
      held.push(connection);
    }
  } catch {
    held.push(connection);
  }
}

/** Gives requests up as long as more can be made. */
async function giveUp(connection: Connection): Promise<void> {
  const never = new AbortController();
  for (let i = 0; i < 30_000; i++) {
    const reply = connection.request(i, { signal: AbortSignal.abort() });
    await reply.catch(() => {});
    const late = connection.request(i, { signal: never.signal, timeout: 1 });
    late.catch(() => held.push(i));
    if (i % 1_000 === 0) await new Promise((resolve) => setTimeout(resolve));
  }
}

/** What servers do with each message, and clients with what comes to them. */
const HOLDERS: Record<string, (options: Options) => number | void> = {
  handler: (options) =>
    portOf(serve({ ...LOCAL, ...options }, (message) => hold(message)).addr),
  iteration: (options) => pull(options, iterate),
  method: (options) =>
    portOf(
      serveRpc({ ...LOCAL, ...options }, {
        hold,
        text(length) {
          held.push(length);
          return "x".repeat(Number(length));
        },
      }).addr,
    ),
  "vscode-jsonrpc": (options) =>
    pull(options, (connection) => {
      const rpc = createMessageConnection(
        new ConnectionMessageReader(connection),
        new ConnectionMessageWriter(connection),
      );
      rpc.onRequest("hold", hold);
      rpc.listen();
    }),
  mcp: (options) =>
    pull(options, (connection) => {
      const transport = new ConnectionTransport(connection);
      transport.onmessage = hold;
      transport.start();
    }),
  "requests of a client": ({ port, ...options }) => {
    connect({ ...options, hostname: "127.0.0.1", port }).then(ask);
  },
  "requests that are given up": ({ port, ...options }) => {
    connect({ ...options, hostname: "127.0.0.1", port }).then(giveUp);
  },
  "calls of a client": ({ port, ...options }) => {
    connectRpc({ ...options, hostname: "127.0.0.1", port }).then((client) => {
      // Their results are expected to be no streams.
      for (let i = 0; i < 100; i++) {
        held.push(client.call("value").catch(() => {}));
      }
    });
  },
};

if (import.meta.main) {
  const { gc } = globalThis as unknown as { gc(): void };
  const [name, options] = Deno.args;
  const port = HOLDERS[name](JSON.parse(options));
  console.log(`port ${port ?? 0}`);
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
  for await (const line of lines) {
    if (line === "taken\n") {
      console.log(held.length);
      continue;
    }
    gc();
    const { heapUsed, external, rss } = Deno.memoryUsage();
    console.log(
      JSON.stringify(
        {
          taken: held.length,
          heap: heapUsed + external,
          process: rss,
        } satisfies Held,
      ),
    );
  }
  Deno.exit();
}
