import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import { Client } from "npm:@modelcontextprotocol/sdk@1.32.2/client";
// @ts-types="npm:@modelcontextprotocol/sdk@1.32.2/server/mcp"
import { McpServer } from "npm:@modelcontextprotocol/sdk@1.32.2/server/mcp.js";
import type { Transport } from "npm:@modelcontextprotocol/sdk@1.32.2/shared/transport";
// @ts-types="npm:@modelcontextprotocol/sdk@1.32.2/types"
import {
  CallToolResultSchema,
  ErrorCode,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  McpError,
} from "npm:@modelcontextprotocol/sdk@1.32.2/types.js";
import { z } from "npm:zod@4.6.7";
import {
  type Connection,
  ConnectionClosedError,
} from "../core/connection/connection.ts";
import {
  encodeFrame,
  FrameTooLargeError,
  InvalidMessageError,
} from "../framing.ts";
import {
  CONNECTIONS,
  memoryConnections,
  tcpConnections,
  turn,
} from "../tests/connection_pairs.ts";
import { Reports } from "../tests/reports.ts";
import { ConnectionTransport } from "./mcp.ts";

/** A server with a few tools, one of which hangs until it is cancelled. */
function makeServer(): {
  server: McpServer;
  hanging: Promise<AbortSignal>;
  errors: Error[];
  closed: Promise<void>;
} {
  const server = new McpServer(
    { name: "server", version: "1.0.0" },
    { capabilities: { logging: {} } },
  );
  const started = Promise.withResolvers<AbortSignal>();
  server.registerTool(
    "add",
    { inputSchema: { a: z.number(), b: z.number() } },
    ({ a, b }) => ({ content: [{ type: "text", text: `${a + b}` }] }),
  );
  server.registerTool("fail", {}, () => {
    throw new Error("oh é");
  });
  server.registerTool(
    "count",
    {},
    async ({ _meta, sendNotification }) => {
      for (let progress = 1; progress <= 3; progress++) {
        await sendNotification({
          method: "notifications/progress",
          params: { progressToken: _meta!.progressToken!, progress },
        });
      }
      return { content: [] };
    },
  );
  server.registerTool("hang", {}, ({ signal }) => {
    started.resolve(signal);
    return new Promise(() => {});
  });
  const errors: Error[] = [];
  server.server.onerror = (error) => errors.push(error);
  const closed = new Promise<void>((resolve) =>
    server.server.onclose = resolve
  );
  return { server, hanging: started.promise, errors, closed };
}

function makeClient(): {
  client: Client;
  errors: Error[];
  closed: Promise<void>;
} {
  const client = new Client(
    { name: "client", version: "1.0.0" },
    { capabilities: { roots: {} } },
  );
  client.setRequestHandler(ListRootsRequestSchema, () => ({
    roots: [{ uri: "file:///home", name: "home" }],
  }));
  const errors: Error[] = [];
  client.onerror = (error) => errors.push(error);
  const closed = new Promise<void>((resolve) => client.onclose = resolve);
  return { client, errors, closed };
}

async function introduce(
  [near, far]: [Connection, Connection],
): Promise<
  ReturnType<typeof makeServer> & { of: ReturnType<typeof makeClient> }
> {
  const of = makeClient();
  const served = makeServer();
  // That the type is the SDK's own is part of the test.
  const transport: Transport = new ConnectionTransport(far);
  await served.server.connect(transport);
  await of.client.connect(new ConnectionTransport(near));
  return { ...served, of };
}

for (const [name, connections] of CONNECTIONS) {
  Deno.test(`a client calls the tools of a server over ${name}`, async () => {
    const { server, errors, closed, of } = await introduce(
      await connections(),
    );
    const { client } = of;
    const { tools } = await client.listTools();
    assertEquals(tools.map((tool) => tool.name), [
      "add",
      "fail",
      "count",
      "hang",
    ]);
    const sums = await Promise.all(
      Array.from(
        { length: 20 },
        (_, i) => client.callTool({ name: "add", arguments: { a: i, b: 1 } }),
      ),
    );
    assertEquals(
      sums.map(({ content }) => content),
      Array.from(
        { length: 20 },
        (_, i) => [{ type: "text", text: `${i + 1}` }],
      ),
    );
    assertEquals(await client.callTool({ name: "fail" }), {
      content: [{ type: "text", text: "oh é" }],
      isError: true,
    });
    const steps: number[] = [];
    await client.callTool({ name: "count" }, undefined, {
      onprogress: ({ progress }) => steps.push(progress),
    });
    assertEquals(steps, [1, 2, 3]);
    const error = await assertRejects(
      () => client.request({ method: "none/such" }, CallToolResultSchema),
      McpError,
    );
    assertEquals(error.code, ErrorCode.MethodNotFound);

    // And the other way.
    assertEquals((await server.server.listRoots()).roots, [
      { uri: "file:///home", name: "home" },
    ]);
    const logged = new Promise((resolve) =>
      client.setNotificationHandler(
        LoggingMessageNotificationSchema,
        ({ params }) => resolve(params.data),
      )
    );
    await server.sendLoggingMessage({ level: "info", data: "hello" });
    assertEquals(await logged, "hello");

    await client.close();
    await Promise.all([closed, of.closed]);
    assertEquals([...errors, ...of.errors], []);
  });

  Deno.test(`a call that is cancelled aborts the tool over ${name}`, async () => {
    const { server, hanging, closed, of } = await introduce(
      await connections(),
    );
    const controller = new AbortController();
    const call = of.client.callTool({ name: "hang" }, undefined, {
      signal: controller.signal,
    });
    call.catch(() => {});
    const signal = await hanging;
    const aborted = new Promise((resolve) =>
      signal.addEventListener("abort", resolve)
    );
    controller.abort("enough");
    await assertRejects(() => call, McpError, "enough");
    await aborted;
    assertEquals(signal.reason, "enough");
    await server.close();
    await Promise.all([closed, of.closed]);
  });

  Deno.test(`a call that is pending rejects, and both ends hear of it, when the peer vanishes over ${name}`, async () => {
    const [near, far] = await connections();
    const { hanging, errors, closed, of } = await introduce([near, far]);
    const call = of.client.callTool({ name: "hang" });
    call.catch(() => {});
    const signal = await hanging;
    far.abort(new Error("pulled the plug"));
    const error = await assertRejects(() => call, McpError);
    assertEquals(error.code, ErrorCode.ConnectionClosed);
    await Promise.all([closed, of.closed]);
    assert(signal.aborted);
    assertInstanceOf(errors[0], ConnectionClosedError);
    await assertRejects(() => of.client.ping(), Error, "Not connected");
  });
}

Deno.test("onerror tells that the link was cut, before onclose", async () => {
  const { near, one, other } = memoryConnections();
  const { of } = await introduce([one, other]);
  near.cut();
  await of.closed;
  assertEquals(of.errors.length, 1);
  assertInstanceOf(of.errors[0], ConnectionClosedError);
  assertInstanceOf(of.errors[0].cause, Deno.errors.ConnectionReset);
});

Deno.test("onerror tells of a bad message in a good frame, and the link goes on", async () => {
  const { near, one, other } = memoryConnections();
  const { errors, closed, of } = await introduce([one, other]);
  await near.write(Uint8Array.of(0, 0, 0, 3, 0x6e, 0x6f, 0x21)); // no!
  for (const message of [null, 1, [], { jsonrpc: "2.0", id: {} }]) {
    await near.write(encodeFrame(message));
  }
  await of.client.ping();
  assertEquals(errors.length, 5);
  assertInstanceOf(errors[0], InvalidMessageError);
  await of.client.close();
  await closed;
});

Deno.test("a message that is too large rejects, and the link goes on", async () => {
  const { errors, closed, of } = await introduce(
    await tcpConnections({ maxFrameBytes: 1_000 }),
  );
  await assertRejects(
    () => of.client.callTool({ name: "x".repeat(1_000) }),
    FrameTooLargeError,
    "limit is 1000 bytes",
  );
  await of.client.ping();
  await of.client.close();
  await closed;
  assertEquals(errors, []);
});

Deno.test("a message from the peer that is too large ends the link", async () => {
  const { near, one, other } = memoryConnections({ maxFrameBytes: 1_000 });
  const { errors, closed, of } = await introduce([one, other]);
  await near.write(Uint8Array.of(0, 0, 3, 0xe9));
  await Promise.all([closed, of.closed]);
  assertInstanceOf(errors[0], FrameTooLargeError);
});

Deno.test("start() gets what came before it, in order", async () => {
  const [near, far] = await tcpConnections();
  const sender = new ConnectionTransport(near);
  await near.send("hello");
  for (let i = 0; i < 1_000; i++) sender.send({ jsonrpc: "2.0", i });
  await sender.close();
  // The receiving side was used before, and has read ahead.
  for await (const message of far) {
    assertEquals<unknown>(message, "hello");
    break;
  }
  const received: unknown[] = [];
  const transport = new ConnectionTransport(far);
  transport.onmessage = (message) => received.push(message);
  const closed = new Promise<void>((resolve) => transport.onclose = resolve);
  await turn();
  await transport.start();
  await closed;
  assertEquals(
    received,
    Array.from({ length: 1_000 }, (_, i) => ({ jsonrpc: "2.0", i })),
  );
});

Deno.test("start() rejects when the transport was started or closed", async () => {
  const { one, other } = memoryConnections();
  const transport = new ConnectionTransport(one);
  await transport.start();
  const message = "Cannot start: the transport was started or closed";
  await assertRejects(() => transport.start(), TypeError, message);
  const unstarted = new ConnectionTransport(other);
  await Promise.all([transport.close(), unstarted.close()]);
  await assertRejects(() => unstarted.start(), TypeError, message);
});

Deno.test("close() calls onclose once, whether started or not, and how often it is called", async () => {
  const { one, other } = memoryConnections();
  const calls: string[] = [];
  const transports = [one, other].map((connection, i) => {
    const transport = new ConnectionTransport(connection);
    transport.onclose = () => calls.push(`${i}`);
    transport.onerror = () => calls.push("error");
    return transport;
  });
  await transports[0].start();
  await Promise.all([transports[0].close(), transports[0].close()]);
  assertEquals(calls, ["0"]);
  await transports[1].close();
  assertEquals(calls, ["0", "1"]);
  await assertRejects(
    () => transports[0].send({ jsonrpc: "2.0" }),
    ConnectionClosedError,
  );
});

Deno.test("close() lets everything leave that was sent before", async () => {
  const { near, one, other } = memoryConnections();
  const transport = new ConnectionTransport(one);
  near.hold();
  transport.send({ last: "words" });
  const closed = transport.close();
  await turn();
  near.release();
  await closed;
  assertEquals<unknown>(await Array.fromAsync(other), [{ last: "words" }]);
  await other.close();
});

Deno.test("onerror tells what the callbacks throw", async () => {
  using reports = new Reports();
  const { one, other } = memoryConnections();
  const transport = new ConnectionTransport(one);
  const errors: string[] = [];
  transport.onmessage = (message) => {
    throw new Error(`message ${message}`);
  };
  transport.onclose = () => {
    throw new Error("close");
  };
  transport.onerror = (error) => {
    errors.push(error.message);
    throw error;
  };
  await transport.start();
  await other.send(1);
  await other.send(2);
  await other.close();
  await transport.close();
  assertEquals(errors, ["message 1", "message 2", "close"]);
  assertEquals(reports.errors.length, errors.length);
});

Deno.test("send() waits above the high-water mark until the bytes are taken", async () => {
  const { near, one, other } = memoryConnections({ maxQueuedBytes: 10 });
  const transport = new ConnectionTransport(one);
  near.hold();
  let waiting = true;
  const sent = transport.send({ jsonrpc: "2.0" }).then(() => waiting = false);
  await turn();
  assert(waiting);
  near.release();
  await sent;
  await Promise.all([transport.close(), other.close()]);
});
