/** Nothing of ours stays on a signal of the user's once it is done. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Address,
  connect,
  createClient,
  listen,
  serve,
  sharedSecret,
} from "../mod.ts";
import { connectRpc, createRpcClient, rpc, serveRpc } from "../rpc.ts";
import { certificates } from "./certificates.ts";
import { memoryConnections } from "./connection_pairs.ts";
import { faultTest, until } from "./ledger.ts";
import { waitersOf } from "./listeners.ts";
import { echo, LOCAL } from "./peers.ts";
import { connectionPair } from "../testing.ts";

const SECRET = sharedSecret("a secret of the tests");

/** An address at which nobody listens. */
function nowhere(): Address {
  using listener = Deno.listen(LOCAL);
  return { ...LOCAL, transport: "tcp", port: listener.addr.port };
}

/**
 * What is done with a signal; it says whether the signal is held meanwhile, and
 * leaves nothing on it.
 */
type Use = (signal: AbortSignal, held: () => void) => Promise<void>;

const USES: Record<string, Use> = {
  async listen(signal, held) {
    const listener = listen({ ...LOCAL, signal });
    held();
    listener.close();
    await Array.fromAsync(listener);
    assertThrows(() => listen({ ...LOCAL, signal, port: -1 }));
  },
  async serve(signal, held) {
    const server = serve({ ...LOCAL, signal }, echo);
    held();
    await server.shutdown();
  },
  async serveRpc(signal, held) {
    const server = serveRpc({ ...LOCAL, signal }, {});
    held();
    await server.shutdown();
  },
  async connect(signal, held) {
    await using server = serve(LOCAL, echo);
    const client = await connect({ ...server.addr, signal });
    assertEquals(waitersOf(signal), 0);
    const reply = client.request(1, { signal });
    held();
    assertEquals(await reply, 1);
    await client.close();
  },
  async "connect, handshake"(signal) {
    const { ca, server: { cert, key } } = certificates();
    const tls = { cert, key };
    await using server = serve({ ...LOCAL, tls, authenticate: SECRET }, echo);
    const options = {
      ...server.addr,
      tls: { ca },
      authenticate: SECRET,
      signal,
    };
    const client = await connect(options);
    await client.close();
    await assertRejects(() => connect({ ...options, tls: true }));
    const authenticate = sharedSecret("another secret of the tests");
    await assertRejects(() => connect({ ...options, authenticate }));
  },
  async "connect, failed"(signal) {
    await assertRejects(() => connect({ ...nowhere(), signal }));
    await assertRejects(() => connect({ path: "/nowhere", signal }));
    await assertRejects(() => connect({ port: -1, signal }));
  },
  async createClient(signal) {
    await using server = serve(LOCAL, echo);
    const client = await createClient({
      ...server.addr,
      signal,
      maxRetryDelay: 1,
    });
    assertEquals(waitersOf(signal), 0);
    for (let i = 0; i < 3; i++) {
      assertEquals(await client.request(i, { signal }), i);
      const { closed } = await client.connected({ signal });
      for (const connection of server.connections) connection.abort();
      await closed;
    }
    await client.connected({ signal });
    await client.close();
    await assertRejects(() => client.request(1, { signal }));
  },
  async "createClient, failed"(signal) {
    await using server = serve({ ...LOCAL, authenticate: SECRET }, echo);
    const options = {
      ...server.addr,
      authenticate: sharedSecret("another secret of the tests"),
      signal,
    };
    for (let i = 0; i < 3; i++) {
      await assertRejects(() => createClient(options));
      await assertRejects(() => createRpcClient(options));
    }
  },
  async request(signal, held) {
    const { one, other } = memoryConnections();
    const reply = assertRejects(() => one.request(1, { signal }));
    held();
    await other.close();
    await reply;
    await one.close();
  },
  async fromStreams(signal, held) {
    const [one, other] = connectionPair();
    const reply = one.request(1, { signal });
    held();
    for await (const message of other) {
      await other.send(message);
      break;
    }
    await reply;
    await Promise.all([one.close(), other.close()]);
  },
  async "call, stream"(signal, held) {
    const methods = {
      wait: () => new Promise<void>(() => {}),
      answer: () => 1,
      async *count() {
        for (let i = 0;; i++) yield i;
      },
    };
    await using server = serveRpc(LOCAL, methods);
    const client = await connectRpc<typeof methods>(server.addr);
    assertEquals(await client.call("answer", [], { signal }), 1);
    for await (const i of client.call("count", [], { signal })) {
      held();
      if (i === 3) break;
    }
    await assertRejects(() => client.call("wait", [], { signal, timeout: 1 }));
    await assertRejects(() => client.call("none" as "wait", [], { signal }));
    const lost = assertRejects(() => client.call("wait", [], { signal }));
    await client.close();
    await lost;
    await assertRejects(() => client.call("wait", [], { signal }));
  },
  async connectRpc(signal) {
    await using server = serveRpc(LOCAL, { answer: () => 1 });
    const client = await connectRpc({ ...server.addr, signal });
    assertEquals(waitersOf(signal), 0);
    await client.close();
  },
  async createRpcClient(signal) {
    await using server = serveRpc(LOCAL, { answer: () => 1 });
    const client = await createRpcClient({
      ...server.addr,
      signal,
      maxRetryDelay: 1,
    });
    assertEquals(waitersOf(signal), 0);
    assertEquals(await client.call("answer", [], { signal }), 1);
    for (const { connection } of server.peers) connection.abort();
    assertEquals(
      await answered(() => client.call("answer", [], { signal })),
      1,
    );
    await client.close();
    await assertRejects(() => client.call("answer", [], { signal }));
  },
  async rpc(signal, held) {
    const [one, other] = connectionPair();
    const [near, far] = [rpc(one), rpc(other, { answer: () => 1 })];
    const reply = near.call("answer", [], { signal });
    held();
    assertEquals(await reply, 1);
    await near.close();
    await far.close();
  },
};

/** Calls again where the connection was lost meanwhile. */
async function answered(call: () => Promise<unknown>): Promise<unknown> {
  for (;;) {
    try {
      return await call();
    } catch {
      // The next one finds the next connection.
    }
  }
}

for (const [name, use] of Object.entries(USES)) {
  faultTest(`${name} leaves nothing on a signal`, async () => {
    const { signal } = new AbortController();
    await use(signal, () => assertEquals(waitersOf(signal) > 0, true));
    await until(
      () => waitersOf(signal) === 0,
      () => `${waitersOf(signal)} wait for the signal`,
    );
  });
}
