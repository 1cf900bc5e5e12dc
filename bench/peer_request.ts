/** Ours: a handler on one end, `request` on the other. */
import { connect as connectTo, serve as serveMessages } from "../mod.ts";
import type { Client, Message, Reply } from "./peer.ts";
import { answer, callingClient } from "./peer_work.mjs";

const hostname = "127.0.0.1";

export function serve(): number {
  const server = serveMessages<Message>({ hostname, port: 0 }, answer);
  return server.addr.transport === "tcp" ? server.addr.port : 0;
}

export async function connect(port: number): Promise<Client> {
  const connection = await connectTo<Reply>({ hostname, port });
  return callingClient((message) => connection.request(message));
}
