/**
 * Client: sends JSON messages over TCP, each behind its length in 4 bytes.
 *
 *     node client.mjs [HOST [PORT [MESSAGE...]]]
 *
 * Each MESSAGE is a JSON text. The replies are printed, one line each.
 */
import { connect } from "node:net";
import process from "node:process";
import { frame, onPayload, parse } from "./frames.mjs";

const [host = "localhost", port = "8080", ...texts] = process.argv.slice(2);
const messages = texts.length > 0
  ? texts.map((text) => JSON.parse(text))
  : [{ message: "hello from client", type: "text" }];

const socket = connect(Number(port), host);
for (const message of messages) socket.write(frame(message));

let missing = messages.length;
onPayload(socket, (payload) => {
  console.log(JSON.stringify(parse(payload)));
  if (--missing === 0) socket.end();
});
socket.on("end", () => {
  if (missing > 0) fail("the server closed the connection");
});
socket.on("error", (error) => fail(error.message || error.code));

function fail(reason) {
  console.error(`client.mjs: ${reason}`);
  process.exitCode = 1;
}
