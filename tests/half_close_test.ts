/** One end may end its side: whatever it is still owed arrives. */
import { assert, assertEquals } from "@std/assert";
import {
  connect,
  type Connection,
  type ConnectOptions,
  createClient,
  type JsonValue,
  listen,
} from "../mod.ts";
import { connectRpc, createRpcClient, rpc } from "../rpc.ts";
import { certificates } from "./certificates.ts";
import { Clock, faultTest } from "./ledger.ts";
import { linkOf } from "../core/connection/connection.ts";
import { connectionPair } from "../testing.ts";

/** Twenty ticks of 250 ms, and three such times: the test makes the ticks. */
const INTERVAL = 5_000;
const TICKS = 61;
const CLOCK = new Clock(INTERVAL);
const COUNT = 10;

type Answer = (message: JsonValue) => Promise<JsonValue>;

/** One end that answers, and the connection at the other. */
interface Pair {
  near: Connection;
  far: Connection;
  close(): unknown;
}

/** Answers all at once, as they come, and waits for none. */
async function answerAll(
  connection: Connection,
  answer: Answer,
): Promise<void> {
  for await (const message of connection) {
    answer(message).then((reply) => connection.send(reply));
  }
}

/** Connects over TCP or a Unix socket; gives the connection of each end. */
async function open(
  options: ConnectOptions & { listening?: object },
  take: (
    options: ConnectOptions,
    connected: Promise<Connection>,
  ) => Promise<() => unknown>,
): Promise<Pair> {
  const { listening, ...rest } = options;
  const listener = listen({ hostname: "127.0.0.1", port: 0, ...listening });
  const connected = Promise.withResolvers<Connection>();
  const taking = take({
    ...listener.addr,
    ...rest,
    onEvent(event) {
      if (event.type === "connected") connected.resolve(event.connection);
    },
  }, connected.promise);
  const far = await listener.accept();
  const close = await taking;
  listener.close();
  return { near: await connected.promise, far, close };
}

/** The end that connects is `near`, and answers by an iteration. */
function plain(
  answer: Answer,
  options: ConnectOptions & { listening?: object } = {},
): Promise<Pair> {
  return open(options, async (options) => {
    const connection = await connect(options);
    answerAll(connection, answer);
    return () => connection.close();
  });
}

/** Ways to make a connection whose end answers, and whether by RPC. */
const WAYS: Record<
  string,
  { isRpc?: boolean; pair(answer: Answer): Promise<Pair> }
> = {
  "a plain connection": { pair: (answer) => plain(answer) },
  "a connection with a heartbeat": {
    pair: (answer) =>
      plain(answer, { heartbeat: { message: "beat", interval: INTERVAL } }),
  },
  "TLS": {
    pair(answer) {
      const { ca, server: { cert, key } } = certificates();
      return plain(answer, { tls: { ca }, listening: { tls: { cert, key } } });
    },
  },
  "a Unix socket": {
    async pair(answer) {
      const folder = await Deno.makeTempDir();
      const path = `${folder}/socket`;
      const listener = listen({ path });
      const near = await connect({ path });
      const far = await listener.accept();
      answerAll(near, answer);
      listener.close();
      await Deno.remove(folder, { recursive: true });
      return { near, far, close: () => near.close() };
    },
  },
  "Web Streams": {
    pair(answer) {
      const [near, far] = connectionPair();
      answerAll(near, answer);
      return Promise.resolve({ near, far, close: () => near.close() });
    },
  },
  "a client that connects again": {
    pair: (answer) =>
      open({}, async (options, connected) => {
        const client = await createClient(options);
        answerAll(await connected, answer);
        return () => client.close();
      }),
  },
  "a client that connects again, with a heartbeat": {
    pair: (answer) =>
      open({}, async (options, connected) => {
        const client = await createClient({
          ...options,
          heartbeat: { message: "beat", interval: INTERVAL },
        });
        answerAll(await connected, answer);
        return () => client.close();
      }),
  },
  "rpc()": {
    isRpc: true,
    pair: (answer) =>
      open({}, async (options) => {
        const peer = rpc(await connect(options), { answer });
        return () => peer.close();
      }),
  },
  "connectRpc() with a heartbeat": {
    isRpc: true,
    pair: (answer) =>
      open({}, async (options) => {
        const peer = await connectRpc({
          ...options,
          heartbeat: INTERVAL,
        }, { answer });
        return () => peer.close();
      }),
  },
  "connectRpc() that connects again, with a heartbeat": {
    isRpc: true,
    pair: (answer) =>
      open({}, async (options) => {
        const client = await createRpcClient({
          ...options,
          heartbeat: INTERVAL,
        }, { answer });
        return () => client.close();
      }),
  },
};

for (const [name, { isRpc, pair }] of Object.entries(WAYS)) {
  faultTest(
    `a peer that has ended its side gets every reply, over ${name}`,
    async () => {
      const gate = Promise.withResolvers<void>();
      const { near, far, close } = await pair(async (message) => {
        await gate.promise;
        return message;
      });
      const numbers = [...Array(COUNT).keys()];
      for (const n of numbers) {
        far.send(
          isRpc ? { jsonrpc: "2.0", id: n, method: "answer", params: [n] } : n,
        );
      }
      await far.closeWrite();
      await linkOf(near).over;
      CLOCK.advance(TICKS * CLOCK.period);
      assert(!near.signal.aborted);
      gate.resolve();
      const replies: unknown[] = [];
      for await (const message of far) {
        const { id, result, method } = message as Record<string, unknown>;
        if (method !== undefined) continue; // a sign of life
        replies.push(isRpc ? result : message);
        if (isRpc) assertEquals(id, result);
        if (replies.length === COUNT) break;
      }
      assertEquals(replies.sort(), numbers);
      await Promise.all([close(), far.close()]);
      await near.close();
    },
  );
}

faultTest(
  "a client with a heartbeat that has ended its side gets every reply",
  async () => {
    const gate = Promise.withResolvers<void>();
    const asking = [...Array(COUNT).keys()];
    using listener = listen({ hostname: "127.0.0.1", port: 0 });
    const client = await connect({
      ...listener.addr,
      heartbeat: { message: "beat", interval: INTERVAL },
    });
    const server = await listener.accept();
    answerAll(server, (message) => gate.promise.then(() => message));
    const replies = asking.map((n) => client.request(n));
    await client.closeWrite();
    await linkOf(server).over;
    CLOCK.advance(TICKS * CLOCK.period);
    gate.resolve();
    assertEquals(await Promise.all(replies), asking);
    await Promise.all([client.close(), server.close()]);
  },
);

faultTest(
  "a client that is closed closes the connections before the last, too",
  async () => {
    const ends: Promise<unknown>[] = [];
    const listener = listen(
      { hostname: "127.0.0.1", port: 0 },
      (connection) =>
        connection.send("hello").then(() => connection.closeWrite()),
    );
    const client = await createClient({
      ...listener.addr,
      maxRetryDelay: 1,
      onEvent(event) {
        if (event.type === "connected") ends.push(event.connection.closed);
      },
    });
    // The loop forgets to close what it was given.
    for (let i = 0; i < 3; i++) {
      const connection = await client.connected();
      for await (const _ of connection);
    }
    assertEquals(ends.length, 3);
    await client.close();
    await Promise.all(ends);
    await listener.shutdown();
  },
);
