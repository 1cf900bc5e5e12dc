/**
 * Echo server: JSON messages over TCP, each behind its length in 4 bytes.
 *
 *     node server.mjs [HOST [PORT]]
 *
 * The answer to {"message": X} is {"status": "success", "echo": X}.
 */
import { createServer } from "node:net";
import process from "node:process";
import { frame, onPayload, parse } from "./frames.mjs";

const [host = "0.0.0.0", port = "8080"] = process.argv.slice(2);

// Half open, because a client that has sent its last message still waits for replies.
const server = createServer(
  { allowHalfOpen: true, noDelay: true },
  (socket) => {
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    console.log(`${peer} connected`);
    onPayload(socket, (payload) => {
      // No more is read from a client that does not take its replies.
      if (!socket.write(frame(answer(payload)))) socket.pause();
    });
    socket.on("drain", () => socket.resume());
    socket.on("end", () => socket.end());
    socket.on(
      "error",
      (error) => console.log(`${peer} failed: ${error.message}`),
    );
    socket.on("close", () => console.log(`${peer} left`));
  },
);

server.on("error", (error) => {
  console.error(`server.mjs: ${error.message}`);
  process.exitCode = 1;
});
server.listen(Number(port), host, () => {
  const { address, port } = server.address();
  console.log(`Listening on ${address}:${port}`);
});

function answer(payload) {
  let message;
  try {
    message = parse(payload);
  } catch {
    return { status: "error", error: "the payload is not JSON" };
  }
  if (message !== null && Object.hasOwn(message, "message")) {
    return { status: "success", echo: message.message };
  }
  return { status: "error", error: 'expected an object with a "message"' };
}
