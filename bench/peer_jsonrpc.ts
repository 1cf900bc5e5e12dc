/** The `vscode-jsonrpc` package of npm over TCP. */
import {
  type AddressInfo,
  connect as connectTcp,
  createServer,
} from "node:net";
import type { Duplex } from "node:stream";
import {
  createMessageConnection,
  type MessageConnection,
  StreamMessageReader,
  StreamMessageWriter,
} from "npm:vscode-jsonrpc@10.0.0/node";
import type { Client } from "./peer.ts";
import { answer, callingClient } from "./peer_work.mjs";

function open(stream: Duplex): MessageConnection {
  const connection = createMessageConnection(
    new StreamMessageReader(stream),
    new StreamMessageWriter(stream),
  );
  connection.onError(() => {});
  return connection;
}

export function serve(): Promise<number> {
  const server = createServer((stream) => {
    stream.setNoDelay(true);
    const connection = open(stream);
    connection.onRequest("echo", answer);
    connection.listen();
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      resolve((server.address() as AddressInfo).port);
    });
  });
}

export function connect(port: number): Promise<Client> {
  return new Promise((resolve, reject) => {
    const stream = connectTcp(port, "127.0.0.1", () => {
      stream.setNoDelay(true);
      const connection = open(stream);
      connection.listen();
      resolve(
        callingClient((message) => connection.sendRequest("echo", message)),
      );
    });
    stream.on("error", reject);
  });
}
