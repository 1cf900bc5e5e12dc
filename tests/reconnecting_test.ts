/** Clients that connect again. */
import {
  assertEquals,
  assertInstanceOf,
  assertLessOrEqual,
  assertRejects,
} from "@std/assert";
import {
  type Address,
  AuthenticationError,
  type Client,
  type ClientEvent,
  ConnectionClosedError,
  createClient,
  type JsonValue,
  serve,
  type ServeOptions,
  type Server,
  sharedSecret,
} from "../mod.ts";
import { Clock, delay, faultTest, until } from "./ledger.ts";
import { echo, frame, LOCAL, portOf } from "./peers.ts";
import { SEED, seeded } from "./random.ts";
import { ClientEventLog } from "./event_logs.ts";

const SECRET = sharedSecret("a secret of the tests");

/** Comes back at once. */
const AT_ONCE = { maxRetryDelay: 1 };

/** Serves on the port of a server that is no more. */
function serveAgain(addr: Address, options: ServeOptions = {}): Server {
  return serve({ ...LOCAL, port: portOf(addr), ...options }, echo);
}

/** Most numbers that lie within so much of each other. */
function mostTogether(numbers: number[], distance: number): number {
  return Math.max(
    ...numbers.map((from) =>
      numbers.filter((number) => number >= from && number < from + distance)
        .length
    ),
  );
}

faultTest(
  "createClient() brings 100 clients back after a restart, and not together",
  seeded(async (random) => {
    console.log(`TEST_SEED=${SEED}`);
    const { random: original } = Math;
    Math.random = () => random.integer(0, 999_999) / 1_000_000;
    try {
      await restartUnder100Clients();
    } finally {
      Math.random = original;
    }
  }),
);

async function restartUnder100Clients(): Promise<void> {
  /** Of the first attempt of each after its loss. */
  const delays: number[] = [];
  const arrivals: number[] = [];
  const first = serve(LOCAL, echo);
  const clients = await Promise.all(
    Array.from({ length: 100 }, () => {
      let attempts = 0;
      return createClient({
        ...first.addr,
        onEvent(event) {
          if (event.type !== "connecting") return;
          if (++attempts === 2) delays.push(event.delay);
        },
      });
    }),
  );
  const staying = clients.map(async (client) => {
    for await (const _connection of client);
  });
  await first.shutdown();
  await using second = serveAgain(first.addr, {
    onEvent(event) {
      if (event.type === "connected") arrivals.push(performance.now());
    },
  });
  await until(() => arrivals.length === 100, "not all came back");
  const planned = mostTogether(delays, 10);
  console.log(
    `100 clients came back within ${
      (arrivals[99] - arrivals[0]).toFixed(0)
    } ms; in 10 ms at most ${planned} were to come, and ${
      mostTogether(arrivals, 10)
    } came`,
  );
  assertEquals(delays.length, 100);
  assertLessOrEqual(planned, 30);
  assertEquals(
    await Promise.all(clients.map((client, i) => client.request(i))),
    clients.map((_, i) => i),
  );
  assertEquals(second.connections.size, 100);
  await Promise.all(clients.map((client) => client.close()));
  await Promise.all(staying);
}

/** Ways in which a connection is lost while a request is on its way. */
const KILLS = ["before", "inside", "after", "client", "none"] as const;

faultTest(
  "Client.request() sends nothing twice, however often the connection is lost",
  seeded(async (random) => {
    console.log(`TEST_SEED=${SEED}`);
    const seen = new Map<JsonValue, number>();
    let kills = 0;
    const large = "x".repeat(500_000);
    await using server = serve(LOCAL, async (message, connection) => {
      seen.set(message, (seen.get(message) ?? 0) + 1);
      const kill = random.pick(KILLS);
      if (kill === "before") {
        kills++;
        connection.abort();
      } else if (kill === "inside" && random.integer(0, 9) === 0) {
        kills++;
        setTimeout(() => connection.abort(), 0);
        return large;
      } else if (kill === "after") {
        kills++;
        setTimeout(() => connection.abort(), 0);
      } else if (kill === "none") await delay(0);
      return message;
    });
    const log = new ClientEventLog();
    const clients = await Promise.all(
      Array.from({ length: 4 }, () =>
        createClient({
          ...server.addr,
          ...AT_ONCE,
          onEvent: log.onEvent,
        })),
    );
    let sent = 0;
    let answered = 0;
    async function ask(client: Client): Promise<void> {
      while (kills < 1_000) {
        const id = sent++;
        try {
          const connection = await client.connected();
          const reply = connection.request(id);
          if (random.integer(0, 9) === 0) connection.abort();
          const message = await reply;
          if (message !== large) assertEquals(message, id);
          answered++;
        } catch (error) {
          assertInstanceOf(error, ConnectionClosedError);
        }
      }
    }
    await Promise.all(
      clients.flatMap((client) => Array.from({ length: 5 }, () => ask(client))),
    );
    await Promise.all(clients.map((client) => client.close()));
    await delay(0);
    console.log(
      `${sent} requests, ${answered} replies, ${kills} kills, ${
        log.count("connected")
      } connections`,
    );
    const twice = [...seen].filter(([, times]) => times > 1);
    assertEquals(twice, []);
    assertLessOrEqual(answered, seen.size);
    log.assertBalanced();
  }),
);

faultTest(
  "Client connects again for the request after a fault of the server, which still holds the connection",
  async () => {
    const answers = [
      Uint8Array.of(255, 255, 255, 255), // too large
      Uint8Array.of(0, 0, 0, 9, 0x22), // never completed
      frame("}"), // no JSON, which is no reason to connect again
      frame('"whole"'),
    ];
    using listener = Deno.listen(LOCAL);
    let connections = 0;
    const conns: Deno.Conn[] = [];
    async function answer(conn: Deno.Conn): Promise<void> {
      connections++;
      conns.push(conn);
      const space = new Uint8Array(100);
      while (await conn.read(space).catch(() => null) !== null) {
        await conn.write(answers.shift()!);
      }
    }
    (async () => {
      for await (const conn of listener) answer(conn);
    })();
    await using client = await createClient({
      ...LOCAL,
      port: listener.addr.port,
      frameTimeout: 40,
      ...AT_ONCE,
    });
    await assertRejects(() => client.request(1), ConnectionClosedError);
    await assertRejects(() => client.request(2), ConnectionClosedError);
    await assertRejects(() => client.request(3), SyntaxError);
    assertEquals(await client.request(4), "whole");
    assertEquals(connections, 3);
    await client.close();
    for (const conn of conns) conn.close();
  },
);

faultTest(
  "Client.close() ends its wait and its attempts at once",
  async () => {
    // A backlog of none, and a connection that nobody accepts: the next attempt
    // hangs.
    const full = Deno.listen(
      { ...LOCAL, tcpBacklog: 0 } as Deno.TcpListenOptions,
    );
    const { port } = full.addr;
    const log = new ClientEventLog();
    const connecting = createClient({
      ...LOCAL,
      port,
      connectTimeout: Infinity,
      ...AT_ONCE,
      onEvent: log.onEvent,
    });
    const conn = await full.accept();
    const client = await connecting;
    conn.close();
    const filler = await Deno.connect({ ...LOCAL, port });
    const reply = assertRejects(() => client.request(1), ConnectionClosedError);
    await until(() => log.count("connecting") === 2, "it does not try");
    await delay(0);
    await client.close();
    await reply;
    log.assertBalanced();
    filler.close();
    full.close();

    const server = serve(LOCAL, echo);
    const waiting = await createClient({
      ...server.addr,
    });
    const { closed } = await waiting.connected();
    await server.shutdown();
    await closed;
    const request = assertRejects(
      () => waiting.request(1),
      ConnectionClosedError,
      "Cannot connect: the client is closed",
    );
    await delay(0);
    await waiting.close();
    await request;
  },
);

faultTest(
  "Client that is closed in the event of a new connection keeps none",
  async () => {
    await using server = serve(LOCAL, echo);
    const log = new ClientEventLog();
    const client: Client = await createClient({
      ...server.addr,
      ...AT_ONCE,
      onEvent(event) {
        log.onEvent(event);
        if (log.count("connected") === 2) client.close();
      },
    });
    await until(() => server.connections.size === 1, "it is not connected");
    for (const connection of server.connections) connection.abort();
    await (await client.connected()).closed;
    await assertRejects(() => client.request(1), ConnectionClosedError);
    await until(() => server.connections.size === 0, "it is connected");
    log.assertBalanced();
  },
);

faultTest(
  "Client that is not let in any more tells so, tries again after its longest delay, and is let in when that has changed",
  async () => {
    const first = serve({ ...LOCAL, authenticate: SECRET }, echo);
    const log = new ClientEventLog();
    let failures = 0;
    const refused = Promise.withResolvers<unknown>();
    await using client = await createClient({
      ...first.addr,
      authenticate: SECRET,
      maxRetryDelay: 50,
      onEvent(event) {
        log.onEvent(event);
        if (event.type === "failed" && ++failures === 2) {
          refused.resolve(event.error);
        }
      },
    });
    assertEquals(await client.request(1), 1);
    const { closed } = await client.connected();
    await first.shutdown();
    await closed;
    const second = serveAgain(first.addr, {
      authenticate: sharedSecret("another secret of the tests"),
    });
    const late = assertRejects(
      () => client.request(2, { timeout: 20 }),
      DOMException,
      "Cannot send request: no connection after 20 ms (timeout)",
    );
    const reply = client.request(3);
    await late;
    assertInstanceOf(await refused.promise, AuthenticationError);
    await second.shutdown();
    await using _third = serveAgain(first.addr, { authenticate: SECRET });
    assertEquals(await reply, 3);
    const delays = log.events.flatMap((event, i) =>
      event.type === "connecting" && i > 0 &&
        isRefusal(log.events[i - 1])
        ? [event.delay]
        : []
    );
    assertEquals(new Set(delays), new Set([50]));
  },
);

function isRefusal(event: ClientEvent): boolean {
  return event.type === "failed" && event.error instanceof AuthenticationError;
}

faultTest(
  "Client comes back as soon as before each time that a server that serves has closed an idle connection",
  async () => {
    using clock = new Clock(1_000);
    await using server = serve({ ...LOCAL, idleTimeout: 1_000 }, echo);
    const log = new ClientEventLog();
    await using client = await createClient({
      ...server.addr,
      onEvent: log.onEvent,
    });
    for (let i = 0; i < 8; i++) {
      assertEquals(await client.request(i), i);
      const connection = await client.connected();
      await clock.advanceUntil(
        () => connection.signal.aborted,
        "it is still open",
      );
      assertEquals(await connection.closed, { clean: true });
    }
    const delays = log.events.flatMap((event) =>
      event.type === "connecting" ? [event.delay] : []
    );
    assertEquals(delays.length, 8);
    assertLessOrEqual(Math.max(...delays), 100);
  },
);
