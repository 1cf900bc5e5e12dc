/**
 * Ours, one message at a time: both ends iterate over their connection and
 * await each `send`.
 */
import { connect as connectTo, type Connection, listen } from "../mod.ts";
import type { Client, Message, Reply } from "./peer.ts";
import { answer } from "./peer_work.mjs";

const hostname = "127.0.0.1";

export function serve(): number {
  const listener = listen<Message>({ hostname, port: 0 });
  acceptAll(listener);
  return listener.addr.transport === "tcp" ? listener.addr.port : 0;
}

async function acceptAll(
  listener: AsyncIterable<Connection<Message>>,
): Promise<void> {
  for await (const connection of listener) answerAll(connection);
}

async function answerAll(connection: Connection<Message>): Promise<void> {
  for await (const message of connection) {
    await connection.send(answer(message));
  }
  await connection.close();
}

export async function connect(port: number): Promise<Client> {
  const connection = await connectTo<Reply>({ hostname, port });
  return {
    async exchange(work) {
      const open: Message[] = [];
      for (let message; (message = work.next()) !== undefined;) {
        await connection.send(message);
        if (open.push(message) === work.inFlight) break;
      }
      let oldest = 0;
      let outstanding = open.length;
      for await (const reply of connection) {
        work.check(open[oldest], reply);
        const message = work.next();
        if (message === undefined) {
          if (--outstanding === 0) break;
        } else {
          await connection.send(message);
          open[oldest] = message;
        }
        oldest = (oldest + 1) % open.length;
      }
    },
  };
}
