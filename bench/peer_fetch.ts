/**
 * `fetch` and `Deno.serve`, with JSON in the bodies. HTTP/1.1 carries one
 * exchange at a time, so each that is open has a connection.
 */
import type { Client } from "./peer.ts";
import { answer, callingClient } from "./peer_work.mjs";

export function serve(): number {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => Response.json(answer(await request.json())),
  );
  return server.addr.port;
}

export function connect(port: number): Client {
  const url = `http://127.0.0.1:${port}/`;
  return callingClient(async (message) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(message),
    });
    return await response.json();
  });
}
