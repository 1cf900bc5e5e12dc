/** Heartbeats. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import {
  type Address,
  connect,
  ConnectionClosedError,
  createClient,
  serve,
} from "../mod.ts";
import { Clock, delay, faultTest, listening, until } from "./ledger.ts";
import { echo, frame, LOCAL, Peer } from "./peers.ts";
import type { Running } from "./process.ts";
import { startScript } from "./scripts.ts";

/** Comes back at once. */
const AT_ONCE = { maxRetryDelay: 1 };

/** A server in a process of its own, that can be frozen. */
async function startEcho(): Promise<Running & { addr: Address }> {
  const child = await startScript(
    `const server = networking.serve(
      { hostname: "127.0.0.1", port: 0 },
      (message) => message,
    );
    console.log(server.addr.port);`,
    { flags: ["--allow-net=127.0.0.1"] },
  );
  const port = Number((await child.line(/^\d+$/))[0]);
  const addr = { transport: "tcp", hostname: "127.0.0.1", port } as const;
  return Object.assign(child, { addr });
}

faultTest(
  "heartbeat finds a server that is frozen within twice its interval, and a request waits no longer",
  async () => {
    using clock = new Clock(1_000);
    await using child = await startEcho();
    await using client = await connect({
      ...child.addr,
      heartbeat: { message: "are you there?", interval: 1_000 },
    });
    assertEquals(await client.request(1), 1);
    clock.advance(clock.period);
    child.kill("SIGSTOP");
    const closed = assertRejects(
      () => client.request(2),
      ConnectionClosedError,
    );
    await listening(client);
    clock.advance(2_000);
    await delay(0);
    assert(!client.signal.aborted);
    clock.advance(clock.period);
    const error = await closed;
    assertInstanceOf(error.cause, DOMException);
    assertEquals(error.cause.name, "TimeoutError");
    child.kill("SIGCONT");
  },
);

faultTest(
  "Client with a heartbeat goes on with another connection when the server was frozen",
  async () => {
    using clock = new Clock(1_000);
    await using child = await startEcho();
    await using client = await createClient({
      ...child.addr,
      heartbeat: { message: "are you there?", interval: 1_000 },
      ...AT_ONCE,
    });
    const connection = await client.connected();
    child.kill("SIGSTOP");
    await listening(connection);
    clock.advance(3_000);
    assert(!(await connection.closed).clean);
    child.kill("SIGCONT");
    assertEquals(await client.request(1), 1);
  },
);

faultTest(
  "heartbeat keeps a connection that a server would close as idle",
  async () => {
    using idle = new Clock(1_000);
    using beats = new Clock(600);
    await using server = serve({ ...LOCAL, idleTimeout: 1_000 }, echo);
    await using alive = await connect({
      ...server.addr,
      heartbeat: { message: null, interval: 600 },
    });
    await using silent = await connect(server.addr);
    const ended = silent[Symbol.asyncIterator]().next();
    await until(() => server.connections.size === 2, "not connected");
    for (let i = 1; i <= 5; i++) {
      await beats.advanceUntil(
        () => alive.stats().messagesSent === i,
        "no beat",
      );
      await until(() => alive.stats().messagesReceived === i, "no answer");
      idle.advance(600);
    }
    assertEquals((await ended).done, true);
    assertEquals(await alive.request(1), 1);
    await silent.close();
    await until(() => server.connections.size === 1, "it was not closed");
  },
);

faultTest(
  "heartbeat is a message like any other, sent while nothing is sent or comes, and only then",
  async () => {
    using clock = new Clock(1_000);
    using listener = Deno.listen(LOCAL);
    const connecting = connect({
      ...LOCAL,
      port: listener.addr.port,
      heartbeat: { message: { method: "ping" }, interval: 1_000 },
    });
    using peer = new Peer(await listener.accept() as Deno.TcpConn);
    await using client = await connecting;
    const beat = { method: "ping" };
    for (const received of [1, 2]) {
      await clock.advanceUntil(
        () => client.stats().messagesSent === received,
        "no beat",
      );
      assertEquals(await peer.take(1), [beat]);
      await peer.write(frame("0"));
      await until(
        () => client.stats().messagesReceived === received,
        "the answer was not read",
      );
    }
    for (let i = 0; i < 12; i++) {
      const reply = client.request(i);
      assertEquals(await peer.take(1), [i]);
      await peer.write(frame(`${i}`));
      assertEquals(await reply, i);
      clock.advance(900);
    }
  },
);
