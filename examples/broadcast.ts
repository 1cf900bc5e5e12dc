/**
 * A server that sends each message on to everybody else:
 * `deno run --allow-net=127.0.0.1 examples/broadcast.ts`.
 */
import { connect, NO_REPLY, serve } from "../mod.ts";

await using server = serve(
  {
    hostname: "127.0.0.1",
    port: 0,
    // Most clients only listen, so silence does not mean that one is gone. What
    // is sent to a client that is gone cannot be written (`writeTimeout`).
    idleTimeout: Infinity,
  },
  (message, sender) => {
    if (message === "join") return "joined";
    for (const connection of server.connections) {
      if (connection !== sender) connection.send(message);
    }
    return NO_REPLY;
  },
);

const names = ["ada", "grace", "edsger"];
const clients = await Promise.all(names.map(() => connect(server.addr)));
await Promise.all(clients.map((client) => client.request("join")));
const received = clients.slice(1).map(async (client, i) => {
  for await (const message of client) return `${names[i + 1]} got ${message}`;
});
await clients[0].send("hello from ada");
console.log((await Promise.all(received)).join("\n"));
await Promise.all(clients.map((client) => client.close()));
