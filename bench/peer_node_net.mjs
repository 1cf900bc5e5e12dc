// @ts-check
/**
 * The same frames by hand on `node:net`, with what whoever does so carefully would do: the frames of one turn leave in one write, and
 * the replies find their requests by their order.
 *
 * @import { AddressInfo, Socket } from "node:net"
 * @import { Client, Message, Reply } from "./peer.ts"
 */
import { Buffer } from "node:buffer";
import { connect as connectTcp, createServer } from "node:net";
import process from "node:process";
import { answer, callingClient } from "./peer_work.mjs";

const PREFIX_BYTES = 4;
const MOST_PAYLOAD_BYTES = 1_048_576;

/** @param {unknown} message */
function frame(message) {
  const text = JSON.stringify(message);
  const length = Buffer.byteLength(text);
  const bytes = Buffer.allocUnsafe(PREFIX_BYTES + length);
  bytes.writeUInt32BE(length);
  bytes.write(text, PREFIX_BYTES);
  return bytes;
}

/**
 * Calls `receive` with every message, and gives what sends one.
 *
 * @template T
 * @param {Socket} connection
 * @param {(message: T) => void} receive
 * @returns {(message: unknown) => void}
 */
function exchangeMessages(connection, receive) {
  connection.setNoDelay(true);
  let rest = Buffer.alloc(0);
  connection.on("data", (/** @type {Buffer<ArrayBuffer>} */ chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let offset = 0;
    while (bytes.length - offset >= PREFIX_BYTES) {
      const length = bytes.readUInt32BE(offset);
      if (length > MOST_PAYLOAD_BYTES) {
        connection.destroy(new Error(`payload is ${length} bytes`));
        return;
      }
      const end = offset + PREFIX_BYTES + length;
      if (end > bytes.length) break;
      receive(JSON.parse(bytes.toString("utf8", offset + PREFIX_BYTES, end)));
      offset = end;
    }
    rest = bytes.subarray(offset);
  });

  let corked = false;
  return (message) => {
    if (!corked) {
      corked = true;
      connection.cork();
      process.nextTick(() => {
        corked = false;
        connection.uncork();
      });
    }
    connection.write(frame(message));
  };
}

/** @returns {Promise<number>} */
export function serve() {
  const server = createServer((connection) => {
    connection.on("error", () => {});
    const send = exchangeMessages(
      connection,
      (/** @type {Message} */ message) => send(answer(message)),
    );
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const { port } = /** @type {AddressInfo} */ (server.address());
      resolve(port);
    });
  });
}

/**
 * @param {number} port
 * @returns {Promise<Client>}
 */
export function connect(port) {
  return new Promise((resolve, reject) => {
    const connection = connectTcp(port, "127.0.0.1", () => {
      /** @type {((reply: Reply) => void)[]} */
      const waiting = [];
      const send = exchangeMessages(
        connection,
        (/** @type {Reply} */ reply) => waiting.shift()?.(reply),
      );
      resolve(callingClient((message) =>
        new Promise((resolve) => {
          waiting.push(resolve);
          send(message);
        })
      ));
    });
    connection.on("error", reject);
  });
}
