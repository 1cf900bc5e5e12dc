/** Ours: JSON-RPC, a method on one end, calls on the other. */
import { connectRpc, serveRpc } from "../rpc.ts";
import type { Client } from "./peer.ts";
import { answer, callingClient } from "./peer_work.mjs";

const hostname = "127.0.0.1";
const methods = { echo: answer };

export function serve(): number {
  const server = serveRpc({ hostname, port: 0 }, methods);
  return server.addr.transport === "tcp" ? server.addr.port : 0;
}

export async function connect(port: number): Promise<Client> {
  const { api } = await connectRpc<typeof methods>({ hostname, port });
  return callingClient((message) => api.echo(message));
}
