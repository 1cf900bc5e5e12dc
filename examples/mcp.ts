/**
 * A server of the Model Context Protocol with one tool, and a client that calls
 * it: `deno run --allow-net=127.0.0.1 examples/mcp.ts`.
 */
import { Client } from "npm:@modelcontextprotocol/sdk@1.32.2/client";
// @ts-types="npm:@modelcontextprotocol/sdk@1.32.2/server/mcp"
import { McpServer } from "npm:@modelcontextprotocol/sdk@1.32.2/server/mcp.js";
import { z } from "npm:zod@4.6.7";
import { ConnectionTransport } from "../adapters/mcp.ts";
import { connect, listen } from "../mod.ts";

await using listener = listen(
  // A client may be silent between its calls.
  { hostname: "127.0.0.1", port: 0, idleTimeout: Infinity },
  async (connection) => {
    const server = new McpServer({ name: "calculator", version: "1.0.0" });
    server.registerTool(
      "add",
      { inputSchema: { a: z.number(), b: z.number() } },
      ({ a, b }) => ({ content: [{ type: "text", text: `${a + b}` }] }),
    );
    await server.connect(new ConnectionTransport(connection));
    await connection.closed;
  },
);
const connection = await connect(listener.addr);
const client = new Client({ name: "pupil", version: "1.0.0" });
await client.connect(new ConnectionTransport(connection));
const { tools } = await client.listTools();
console.log(tools.map(({ name }) => name));
const { content } = await client.callTool({
  name: "add",
  arguments: { a: 1, b: 2 },
});
console.log(content);
await client.close();
