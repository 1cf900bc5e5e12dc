/** Heartbeats of calls. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { listening, until } from "../../tests/ledger.ts";
import { LOCAL } from "../../tests/peers.ts";
import { NEVER, PERIOD, tick } from "../../tests/ticks.ts";
import {
  type Address,
  type Connection,
  ConnectionClosedError,
  listen,
  serve,
} from "../../mod.ts";
import { connectRpc, createRpcClient, serveRpc } from "../../rpc.ts";

type TcpAddr = Extract<Address, { transport: "tcp" }>;

const INTERVAL = 20_000 / PERIOD;

/** Lets time pass until so many heartbeats were answered; gives how much. */
async function beats(connection: Connection, count: number): Promise<number> {
  let ticks = 0;
  for (let i = 0; i < count; i++) {
    const { messagesSent, messagesReceived } = connection.stats();
    while (connection.stats().messagesSent === messagesSent) {
      ticks++;
      tick(1);
    }
    await until(
      () => connection.stats().messagesReceived > messagesReceived,
      "no answer to a heartbeat",
    );
  }
  return ticks * PERIOD;
}

const CLIENTS: Record<
  string,
  (
    addr: TcpAddr,
    heartbeat?: number | false,
  ) => Promise<[connection: Connection, call: () => Promise<unknown>]>
> = {
  "connectRpc()": async (addr, heartbeat) => {
    const peer = await connectRpc({ ...addr, heartbeat });
    return [peer.connection, () => peer.call("a")];
  },
  "createRpcClient()": async (addr, heartbeat) => {
    const client = await createRpcClient({ ...addr, heartbeat });
    const connection = await client.connected();
    connection.closed.then(() => client.close());
    return [connection, () => client.call("a")];
  },
};

for (const [name, make] of Object.entries(CLIENTS)) {
  Deno.test(`${name} keeps a quiet connection to a server that ends idle ones`, async () => {
    await using server = serveRpc(LOCAL, { a: () => "yes" });
    const [connection, call] = await make(server.addr as TcpAddr);
    const time = await beats(connection, 10);
    assert(time > 3 * 60_000 && time <= 10 * (20_000 + PERIOD), `${time} ms`);
    assertEquals(await call(), "yes");
    await connection.close();
  });

  Deno.test(`${name} is content with any answer to a heartbeat`, async () => {
    await using server = serve({ ...LOCAL, ...NEVER }, () => "yes");
    const [connection] = await make(server.addr as TcpAddr);
    await beats(connection, 3);
    await connection.close();
  });

  Deno.test(`${name} ends a connection to a server that does not answer, and says so`, async () => {
    using listener = listen({ ...LOCAL, ...NEVER });
    const [connection, call] = await make(listener.addr as TcpAddr);
    const server = await listener.accept();
    const reply = call();
    await listening(connection);
    tick(INTERVAL);
    assert(connection.stats().messagesSent >= 1);
    tick(INTERVAL + 1);
    const error = await assertRejects(() => reply, ConnectionClosedError);
    const { cause } = await connection.closed;
    assert(error.message.includes("did not answer a heartbeat"), error.message);
    assert(cause instanceof DOMException);
    assertEquals(
      cause.message,
      `Cannot receive message: 127.0.0.1:${
        (listener.addr as TcpAddr).port
      } did not answer a heartbeat within 20000 ms (heartbeat)`,
    );
    server.abort();
  });

  Deno.test(`${name} without a heartbeat sends nothing, and is ended as idle`, async () => {
    await using server = serveRpc(LOCAL, {});
    const [connection] = await make(server.addr as TcpAddr, false);
    await until(() => server.connections.size === 1, "not accepted");
    for (const accepted of server.connections) await listening(accepted);
    tick(3 * INTERVAL + 1);
    await connection.closed;
    assertEquals(connection.stats().messagesSent, 0);
  });
}
