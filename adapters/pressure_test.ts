/** Peers that ask for more than can be answered at once. */
import { assert, assertEquals } from "@std/assert";
import { Client } from "npm:@modelcontextprotocol/sdk@1.32.2/client";
// @ts-types="npm:@modelcontextprotocol/sdk@1.32.2/server/mcp"
import { McpServer } from "npm:@modelcontextprotocol/sdk@1.32.2/server/mcp.js";
import { RpcSession, RpcTarget } from "npm:capnweb@0.12.0";
import {
  createMessageConnection,
  type MessageConnection,
} from "npm:vscode-jsonrpc@10.0.0/node";
import type { Connection } from "../mod.ts";
import {
  memoryConnections,
  tcpConnections,
  turn,
} from "../tests/connection_pairs.ts";
import { until } from "../tests/ledger.ts";
import { ConnectionRpcTransport } from "./capnweb.ts";
import { ConnectionTransport } from "./mcp.ts";
import {
  ConnectionMessageReader,
  ConnectionMessageWriter,
} from "./vscode_jsonrpc.ts";

const CALLS = 200;
const TEXT = "x".repeat(65_536);

function openRpc(connection: Connection): MessageConnection {
  const rpc = createMessageConnection(
    new ConnectionMessageReader(connection),
    new ConnectionMessageWriter(connection),
  );
  rpc.onClose(() => rpc.dispose());
  return rpc;
}

Deno.test("vscode-jsonrpc answers 200 calls at once with replies of 64 KiB", async () => {
  const [near, far] = await tcpConnections();
  const [client, server] = [near, far].map(openRpc);
  server.onRequest("text", () => TEXT);
  client.listen();
  server.listen();
  const replies = await Promise.all(
    Array.from({ length: CALLS }, () => client.sendRequest("text")),
  );
  assert(replies.every((reply) => reply === TEXT));
  await Promise.all([near.close(), far.close()]);
});

Deno.test("the MCP SDK answers 200 calls at once with replies of 64 KiB", async () => {
  const [near, far] = await tcpConnections();
  const server = new McpServer({ name: "server", version: "1.0.0" });
  server.registerTool(
    "text",
    {},
    () => ({ content: [{ type: "text", text: TEXT }] }),
  );
  const client = new Client({ name: "client", version: "1.0.0" });
  await server.connect(new ConnectionTransport(far));
  await client.connect(new ConnectionTransport(near));
  const replies = await Promise.all(
    Array.from({ length: CALLS }, () => client.callTool({ name: "text" })),
  );
  for (const { content } of replies) {
    assert((content as { text: string }[])[0].text === TEXT);
  }
  await client.close();
  await far.closed;
});

class Texts extends RpcTarget {
  text(): string {
    return TEXT;
  }
}

Deno.test("capnweb answers 200 calls at once with replies of 64 KiB", async () => {
  const [near, far] = await tcpConnections();
  new RpcSession(new ConnectionRpcTransport(far), new Texts());
  const session = new RpcSession<Texts>(new ConnectionRpcTransport(near));
  const texts = session.getRemoteMain();
  const replies = await Promise.all(
    Array.from({ length: CALLS }, () => texts.text()),
  );
  assert(replies.every((reply) => reply === TEXT));
  texts[Symbol.dispose]();
  await Promise.all([near.closed, far.closed]);
});

/** Waits until nothing more is read from `connection`. */
async function untilRest(connection: Connection): Promise<void> {
  for (let seen = -1; seen !== connection.stats().bytesReceived;) {
    seen = connection.stats().bytesReceived;
    for (let i = 0; i < 20; i++) await turn();
  }
}

/** Sends requests for as long as anything is taken of them. */
async function flood(one: Connection, other: Connection): Promise<void> {
  for (let id = 0; id < 5_000; id++) {
    one.send({ jsonrpc: "2.0", id, method: "wait" });
    if (id % 100 === 0) await turn();
  }
  await untilRest(other);
}

Deno.test("vscode-jsonrpc works on 100 requests of a peer at most", async () => {
  const { one, other } = memoryConnections();
  const rpc = openRpc(other);
  const answers: (() => void)[] = [];
  rpc.onRequest("wait", () => new Promise<void>((r) => answers.push(r)));
  rpc.listen();
  await flood(one, other);
  assertEquals(answers.length, 100);
  answers.splice(0, 10).forEach((answer) => answer());
  await until(() => answers.length === 100, "no more was read");
  one.abort();
  await other.close();
});

Deno.test("vscode-jsonrpc works on 1 MiB of requests of a peer beyond the last", async () => {
  const { one, other } = memoryConnections();
  const rpc = openRpc(other);
  const answers: (() => void)[] = [];
  rpc.onRequest("wait", () => new Promise<void>((r) => answers.push(r)));
  rpc.listen();
  for (let id = 0; id < 20; id++) {
    one.send({
      jsonrpc: "2.0",
      id,
      method: "wait",
      params: [TEXT, TEXT, TEXT],
    });
  }
  await untilRest(other);
  assertEquals(answers.length, 6); // of 192 KiB each
  answers[0]();
  await until(() => answers.length === 7, "no more was read");
  one.abort();
  await other.close();
});

Deno.test("the MCP SDK works on 100 requests of a peer at most", async () => {
  const { one, other } = memoryConnections();
  const transport = new ConnectionTransport(other);
  let requests = 0;
  transport.onmessage = () => requests++;
  await transport.start();
  await flood(one, other);
  assertEquals(requests, 100);
  for (let id = 0; id < 10; id++) {
    await transport.send({ jsonrpc: "2.0", id, result: {} });
  }
  await until(() => requests === 110, "no more was read");
  one.abort();
  await other.close();
});

Deno.test("peers that call each other do not wait for each other", async () => {
  const [near, far] = await tcpConnections();
  const peers = [near, far].map(openRpc);
  for (const peer of peers) {
    peer.onRequest("outer", () => peer.sendRequest("inner"));
    peer.onRequest("inner", () => "done");
    peer.listen();
  }
  for (const [method, count] of [["inner", 1_000], ["outer", 120]] as const) {
    const replies = await Promise.all(
      Array.from({ length: count }, (_, i) => peers[i % 2].sendRequest(method)),
    );
    assertEquals(new Set(replies), new Set(["done"]));
  }
  await Promise.all([near.close(), far.close()]);
});
