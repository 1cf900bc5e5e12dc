import { Buffer } from "node:buffer";

const MAX_PAYLOAD = 1_048_576;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A message as a frame: the length of its payload in 4 bytes, big-endian, and the payload. */
export function frame(message) {
  const payload = Buffer.from(JSON.stringify(message));
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(payload.length);
  return Buffer.concat([prefix, payload]);
}

/** Calls `receive` with each payload that arrives: a chunk may hold many frames, or a part of one. */
export function onPayload(socket, receive) {
  let bytes = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 4) {
      const size = bytes.readUInt32BE();
      // The peer chooses this number, so it has to be checked before use.
      if (size > MAX_PAYLOAD) {
        socket.destroy(new Error(`a payload of ${size} bytes is too large`));
        return;
      }
      if (bytes.length < 4 + size) return;
      receive(bytes.subarray(4, 4 + size));
      bytes = bytes.subarray(4 + size);
    }
  });
}

/** The message that a payload holds. */
export function parse(payload) {
  return JSON.parse(decoder.decode(payload));
}
