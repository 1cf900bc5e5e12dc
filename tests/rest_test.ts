/** Two ends that do not speak the same come to rest, whoever they are. */
import { assertLessOrEqual } from "@std/assert";
import { Client } from "npm:@modelcontextprotocol/sdk@1.32.2/client";
import type { Transport } from "npm:@modelcontextprotocol/sdk@1.32.2/shared/transport";
import { RpcSession, RpcTarget } from "npm:capnweb@0.12.0";
import { createMessageConnection } from "npm:vscode-jsonrpc@10.0.0/node";
import { ConnectionRpcTransport } from "../adapters/capnweb.ts";
import { ConnectionTransport } from "../adapters/mcp.ts";
import {
  ConnectionMessageReader,
  ConnectionMessageWriter,
} from "../adapters/vscode_jsonrpc.ts";
import { type Connection, fromDuplex } from "../core/connection/connection.ts";
import { InvalidMessageError } from "../framing.ts";
import { rpc } from "../rpc.ts";
import { memoryPair } from "./memory_pair.ts";
import { turn } from "./turns.ts";

/** Most messages of an exchange that comes to rest: set-up and answers. */
const MOST_MESSAGES = 20;
/** So many turns without a message are the end of it. */
const QUIET_TURNS = 30;

/** Takes a connection over; what it gives says something on its own. */
type Kind = (connection: Connection) => () => unknown;

/** Answers each message, as a handler of `serve` does. */
function answering(reply: (message: unknown) => unknown): Kind {
  return (connection) => {
    const messages = connection[Symbol.asyncIterator]();
    async function answer(): Promise<void> {
      for (;;) {
        const step = await messages.next().catch((error) => {
          if (error instanceof InvalidMessageError) return { value: "bad" };
          return { done: true, value: undefined };
        });
        if (step.done) return;
        connection.send(reply(step.value)).catch(() => {});
      }
    }
    answer();
    return () => connection.send("hello").catch(() => {});
  };
}

const ANSWERING: Record<string, Kind> = {
  echo: answering((message) => message),
  wrapping: answering((message) => ({ status: "success", echo: message })),
  "in an array": answering((message) => [message]),
  "as text": answering((message) => JSON.stringify(message)),
  "always the same": answering(() => ({ id: 1, ok: true })),
  extending: answering((message) =>
    typeof message === "object" ? { ...message, ok: true } : { ok: true }
  ),
  "in words of JSON-RPC 1": answering((message) => ({
    id: (message as { id?: unknown } | null)?.id ?? null,
    result: null,
    error: null,
  })),
};

class Api extends RpcTarget {
  echo(value: unknown): unknown {
    return value;
  }
}

const SPEAKING: Record<string, Kind> = {
  "an RPC peer": (connection) => {
    const peer = rpc(connection, { echo: (value) => value }, { onError() {} });
    return () => peer.call("echo", [1]).catch(() => {});
  },
  "vscode-jsonrpc": (connection) => {
    const rpc = createMessageConnection(
      new ConnectionMessageReader(connection),
      new ConnectionMessageWriter(connection),
      { error() {}, warn() {}, info() {}, log() {} },
    );
    rpc.onRequest("echo", (value: unknown) => value);
    rpc.onError(() => {});
    rpc.onClose(() => rpc.dispose());
    rpc.listen();
    return async () => await rpc.sendRequest("echo", 1).catch(() => {});
  },
  MCP: (connection) => {
    const client = new Client({ name: "a", version: "1" }, {});
    client.onerror = () => {};
    const transport: Transport = new ConnectionTransport(connection);
    const connected = client.connect(transport).catch(() => {});
    return () => connected;
  },
  capnweb: (connection) => {
    const session = new RpcSession<Api>(
      new ConnectionRpcTransport(connection),
      new Api(),
    );
    const main = session.getRemoteMain();
    return () => Promise.resolve(main.echo(1)).catch(() => {});
  },
};

async function exchange(one: Kind, other: Kind, name: string): Promise<void> {
  const connections = memoryPair().map((end) => fromDuplex(end));
  function count(): number {
    return connections[0].stats().messagesSent +
      connections[1].stats().messagesSent;
  }
  const [speak, answer] = [one, other].map((kind, i) => kind(connections[i]));
  for (const start of [speak, answer]) {
    Promise.resolve(start()).catch(() => {});
    for (let quiet = 0, seen = -1; quiet < QUIET_TURNS; quiet++) {
      await turn();
      if (count() !== seen) quiet = 0;
      seen = count();
      assertLessOrEqual(seen, MOST_MESSAGES, name);
    }
    // Two that answer everything would never rest once one of them begins.
    if (Object.values(ANSWERING).includes(other)) break;
  }
  await Promise.all(connections.map((connection) => connection.close()));
  await turn();
}

Deno.test("two ends come to rest, whatever each of them speaks", async () => {
  const kinds = { ...SPEAKING, ...ANSWERING };
  for (const [one, speaking] of Object.entries(SPEAKING)) {
    for (const [other, kind] of Object.entries(kinds)) {
      await exchange(speaking, kind, `${one} and ${other}`);
    }
  }
});

Deno.test("an RPC peer comes to rest where the other end answers everything and begins", async () => {
  for (const [name, kind] of Object.entries(ANSWERING)) {
    await exchange(kind, SPEAKING["an RPC peer"], name);
  }
});
