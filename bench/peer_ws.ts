/** The `ws` package of npm, with ids by hand. */
import type { AddressInfo } from "node:net";
// @ts-types="npm:@types/ws@8.18.2"
import { WebSocket, WebSocketServer } from "npm:ws@8.23.0";
import type { Client, Reply } from "./peer.ts";
import { answer, callingClient } from "./peer_work.mjs";

export function serve(): Promise<number> {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  server.on("connection", (connection) => {
    connection.on("error", () => {});
    connection.on("message", (data) => {
      const { id, message } = JSON.parse(data.toString());
      connection.send(JSON.stringify({ id, reply: answer(message) }));
    });
  });
  return new Promise((resolve) => {
    server.on("listening", () => {
      resolve((server.address() as AddressInfo).port);
    });
  });
}

export function connect(port: number): Promise<Client> {
  const connection = new WebSocket(`ws://127.0.0.1:${port}`);
  const waiting = new Map<number, (reply: Reply) => void>();
  let nextId = 0;
  connection.on("message", (data) => {
    const { id, reply } = JSON.parse(data.toString());
    waiting.get(id)?.(reply);
    waiting.delete(id);
  });
  const client = callingClient((message) =>
    new Promise((resolve) => {
      const id = nextId++;
      waiting.set(id, resolve);
      connection.send(JSON.stringify({ id, message }));
    })
  );
  return new Promise((resolve, reject) => {
    connection.on("error", reject);
    connection.on("open", () => resolve(client));
  });
}
