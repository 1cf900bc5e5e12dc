/**
 * An editor and its language server, with `vscode-jsonrpc` over a connection
 * (the library looks up one variable of the environment when it is loaded):
 * `deno run --allow-net=127.0.0.1 --allow-env=XDG_RUNTIME_DIR examples/vscode_jsonrpc.ts`.
 */
import { createMessageConnection } from "npm:vscode-jsonrpc@10.0.0/node";
import {
  ConnectionMessageReader,
  ConnectionMessageWriter,
} from "../adapters/vscode_jsonrpc.ts";
import { connect, type Connection, listen } from "../mod.ts";

function speak(connection: Connection) {
  const rpc = createMessageConnection(
    new ConnectionMessageReader(connection),
    new ConnectionMessageWriter(connection),
  );
  rpc.onClose(() => rpc.dispose()); // rejects the requests that are open
  return rpc;
}

await using listener = listen(
  // A client may be silent between its calls.
  { hostname: "127.0.0.1", port: 0, idleTimeout: Infinity },
  async (connection) => {
    const server = speak(connection);
    server.onRequest("textDocument/hover", async ({ textDocument }) => {
      await server.sendNotification("window/logMessage", { message: "busy" });
      return { contents: `documentation of ${textDocument.uri}` };
    });
    server.listen();
    await connection.closed;
  },
);
await using connection = await connect(listener.addr);
const editor = speak(connection);
editor.onNotification("window/logMessage", ({ message }) => {
  console.log(`server: ${message}`);
});
editor.listen();
const textDocument = { uri: "file:///mod.ts" };
console.log(await editor.sendRequest("textDocument/hover", { textDocument }));
