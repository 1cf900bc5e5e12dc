/**
 * The `capnweb` package of npm over the WebSockets of `ws`: over Deno's own, the
 * two messages of a call wait for each other, 40 ms each time.
 */
import { newWebSocketRpcSession, RpcTarget } from "npm:capnweb@0.12.0";
import { WebSocket as Link, WebSocketServer } from "npm:ws@8.23.0";
import type { Client, Message, Reply } from "./peer.ts";
import { answer, callingClient } from "./peer_work.mjs";

class Echo extends RpcTarget {
  echo(message: Message): Reply {
    return answer(message);
  }
}

export function serve(): Promise<number> {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  server.on("connection", (link) => {
    newWebSocketRpcSession(link as unknown as WebSocket, new Echo());
  });
  return new Promise((resolve) => {
    server.on("listening", () => {
      resolve((server.address() as { port: number }).port);
    });
  });
}

export function connect(port: number): Client {
  const link = new Link(`ws://127.0.0.1:${port}`);
  const stub = newWebSocketRpcSession<Echo>(link as unknown as WebSocket);
  return callingClient(async (message) => await stub.echo(message));
}
