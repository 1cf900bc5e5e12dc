/** Deno's own WebSocket on both ends, with ids by hand. */
import type { Client, Reply } from "./peer.ts";
import { answer, callingClient } from "./peer_work.mjs";

export function serve(): number {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => {
      const { socket: connection, response } = Deno.upgradeWebSocket(request);
      connection.onerror = () => {};
      connection.onmessage = ({ data }) => {
        const { id, message } = JSON.parse(data);
        connection.send(JSON.stringify({ id, reply: answer(message) }));
      };
      return response;
    },
  );
  return server.addr.port;
}

export function connect(port: number): Promise<Client> {
  const connection = new WebSocket(`ws://127.0.0.1:${port}`);
  const waiting = new Map<number, (reply: Reply) => void>();
  let nextId = 0;
  connection.onmessage = ({ data }) => {
    const { id, reply } = JSON.parse(data);
    waiting.get(id)?.(reply);
    waiting.delete(id);
  };
  const client = callingClient((message) =>
    new Promise((resolve) => {
      const id = nextId++;
      waiting.set(id, resolve);
      connection.send(JSON.stringify({ id, message }));
    })
  );
  return new Promise((resolve, reject) => {
    connection.onerror = () => reject(new Error("Cannot connect"));
    connection.onopen = () => resolve(client);
  });
}
