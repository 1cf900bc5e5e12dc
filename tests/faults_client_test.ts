/**
 * Faults that a client meets: servers that restart, freeze or refuse, and what
 * the machine does not give.
 */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLessOrEqual,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import {
  type Address,
  AuthenticationError,
  type Client,
  type ClientEvent,
  connect,
  Connection,
  ConnectionClosedError,
  type JsonValue,
  type ReconnectOptions,
  serve,
  type ServeOptions,
  type Server,
  sharedSecret,
} from "../mod.ts";
import { Clock, delay, faultTest, until } from "./ledger.ts";
import { frame, LOCAL, Peer, portOf } from "./peers.ts";
import { type Running, start } from "./process.ts";
import { SEED, seeded } from "./random.ts";
import { startScript } from "./scripts.ts";

const SECRET = sharedSecret("a secret of the tests");
/** Comes back at once. */
const AT_ONCE: ReconnectOptions = { minDelay: 1, maxDelay: 1 };
type ErrorClass = new (message?: string) => Error;

const ROOT = new URL("../", import.meta.url);

function echo(message: JsonValue): JsonValue {
  return message;
}

/** Events of a client. */
class EventLog {
  readonly events: ClientEvent[] = [];
  readonly onEvent = (event: ClientEvent) => void this.events.push(event);

  count(type: ClientEvent["type"]): number {
    return this.events.filter((event) => event.type === type).length;
  }

  /** Every attempt has an outcome, and every connection an end. */
  assertBalanced(): void {
    assertEquals(
      this.count("connecting"),
      this.count("connected") + this.count("failed"),
    );
    assertEquals(this.count("connected"), this.count("disconnected"));
  }
}

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
  "connect({ reconnect }) brings 100 clients back after a restart, and not together",
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
  const delays: number[] = [];
  const arrivals: number[] = [];
  const first = serve(LOCAL, echo);
  const clients = await Promise.all(
    Array.from({ length: 100 }, () =>
      connect({
        ...first.addr,
        reconnect: { minDelay: 250 },
        onEvent(event) {
          if (event.type === "waiting" && event.attempt === 1) {
            delays.push(event.delay);
          }
        },
      })),
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
  assertLessOrEqual(planned, 20);
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
    const log = new EventLog();
    const clients = await Promise.all(
      Array.from({ length: 4 }, () =>
        connect({
          ...server.addr,
          reconnect: AT_ONCE,
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
    await using client = await connect({
      ...LOCAL,
      port: listener.addr.port,
      frameTimeout: 40,
      reconnect: AT_ONCE,
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
    const log = new EventLog();
    const connecting = connect({
      ...LOCAL,
      port,
      connectTimeout: Infinity,
      reconnect: AT_ONCE,
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
    const waiting = await connect({
      ...server.addr,
      reconnect: { minDelay: 600_000, maxDelay: 600_000 },
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
  "Client closed by whoever hears of the new connection keeps none",
  async () => {
    await using server = serve(LOCAL, echo);
    const log = new EventLog();
    const client: Client = await connect({
      ...server.addr,
      reconnect: AT_ONCE,
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
  "Client stops when its signal is aborted, with the reason",
  async () => {
    const asked = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    await using server = serve(LOCAL, () => {
      asked.resolve();
      return gate.promise;
    });
    const controller = new AbortController();
    const client = await connect({
      ...server.addr,
      reconnect: AT_ONCE,
      signal: controller.signal,
    });
    const connection = await client.connected();
    const reply = assertRejects(() => client.request(1), ConnectionClosedError);
    await asked.promise;
    const reason = new Error("enough");
    controller.abort(reason);
    assertStrictEquals((await reply).cause, reason);
    assertStrictEquals((await connection.closed).cause, reason);
    await assertRejects(() => client.request(2), ConnectionClosedError);
    gate.resolve();
  },
  {},
);

faultTest(
  "Client tries once, and never again, when it is not let in any more",
  async () => {
    const first = serve({ ...LOCAL, authenticate: SECRET }, echo);
    const log = new EventLog();
    await using client = await connect({
      ...first.addr,
      authenticate: SECRET,
      reconnect: AT_ONCE,
      onEvent: log.onEvent,
    });
    assertEquals(await client.request(1), 1);
    const { closed } = await client.connected();
    await first.shutdown();
    await closed;
    await using second = serveAgain(first.addr, {
      authenticate: sharedSecret("another secret of the tests"),
    });
    const refusal = await assertRejects(
      () => client.request(2),
      AuthenticationError,
    );
    const asked = [
      () => client.request(3),
      () => client.send(4),
      () => client.connected(),
      () => Array.fromAsync(client),
    ];
    for (const ask of asked) {
      assertStrictEquals(await assertRejects(ask), refusal);
    }
    assertEquals(second.stats().accepted, 1);
    assertEquals(second.stats().rejected, 1);
    // It waits for nothing more.
    assertEquals(log.events.at(-1)?.type, "failed");
    assertEquals(log.count("failed"), 1);
  },
);

faultTest(
  "Client comes back as soon as before each time that a server that serves has closed an idle connection",
  async () => {
    using clock = new Clock(1_000);
    await using server = serve({ ...LOCAL, idleTimeout: 1_000 }, echo);
    const log = new EventLog();
    await using client = await connect({
      ...server.addr,
      reconnect: { minDelay: 1 },
      onEvent: log.onEvent,
    });
    for (let i = 0; i < 8; i++) {
      assertEquals(await client.request(i), i);
      const { closed } = await client.connected();
      clock.advance(2_000);
      assertEquals(await closed, { clean: true });
    }
    assertEquals(
      log.events.flatMap((event) =>
        event.type === "waiting" ? [event.attempt] : []
      ),
      Array(7).fill(1),
    );
  },
);

faultTest(
  "connect() says why it does not connect, by the error of the platform",
  async () => {
    const gone = Deno.listen(LOCAL);
    const addr = { ...LOCAL, port: gone.addr.port };
    gone.close();
    const log = new EventLog();
    const cases: [object, ErrorClass, string][] = [
      [addr, Deno.errors.ConnectionRefused, "refused"],
      [{ path: "/nowhere/test.sock" }, Deno.errors.NotFound, ""],
      [{ hostname: "host.invalid", port: 1 }, Error, "lookup address"],
      [{ ...LOCAL, port: 65_536 }, RangeError, "received 65536"],
      [{ ...LOCAL, port: NaN }, RangeError, "received NaN"],
      [{ ...LOCAL, heartbeat: 1n }, TypeError, '"heartbeat"'],
      [{ ...LOCAL, reconnect: { minDelay: 0 } }, RangeError, '"minDelay"'],
    ];
    for (const [options, type, text] of cases) {
      await assertRejects(
        () => connect({ ...options, onEvent: log.onEvent }),
        type,
        text,
      );
    }
    // Wrong options are no attempt.
    assertEquals(log.count("connecting"), 3);
    log.assertBalanced();

    using listener = Deno.listen(LOCAL);
    const connecting = connect({
      ...LOCAL,
      port: listener.addr.port,
      authenticate: SECRET,
    });
    const conn = await listener.accept();
    await conn.read(new Uint8Array(100));
    conn.close();
    await assertRejects(() => connecting, ConnectionClosedError);
  },
);

faultTest(
  "connect() gives up when a server that accepts never answers the login",
  async () => {
    using listener = Deno.listen(LOCAL);
    const accepting = listener.accept();
    const error = await assertRejects(
      () =>
        connect({
          ...LOCAL,
          port: listener.addr.port,
          authenticate: SECRET,
          handshakeTimeout: 50,
        }),
      DOMException,
      ": the handshake is not done after 50 ms (handshakeTimeout)",
    );
    assertEquals(error.name, "TimeoutError");
    (await accepting).close();
  },
);

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
      heartbeat: "are you there?",
      heartbeatInterval: 1_000,
    });
    assertEquals(await client.request(1), 1);
    clock.advance(clock.period);
    child.kill("SIGSTOP");
    const closed = assertRejects(
      () => client.request(2),
      ConnectionClosedError,
    );
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
    await using client = await connect({
      ...child.addr,
      heartbeat: "are you there?",
      heartbeatInterval: 1_000,
      reconnect: AT_ONCE,
    });
    const connection = await client.connected();
    child.kill("SIGSTOP");
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
      heartbeat: null,
      heartbeatInterval: 600,
    });
    await using silent = await connect(server.addr);
    const ended = silent[Symbol.asyncIterator]().next();
    await until(() => server.connections.size === 2, "not connected");
    for (let i = 1; i <= 5; i++) {
      await beats.advanceUntil(() => alive.stats.messagesSent === i, "no beat");
      await until(() => alive.stats.messagesReceived === i, "no answer");
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
      heartbeat: { method: "ping" },
      heartbeatInterval: 1_000,
    });
    using peer = new Peer(await listener.accept() as Deno.TcpConn);
    await using client = await connecting;
    const beat = { method: "ping" };
    for (const received of [1, 2]) {
      await clock.advanceUntil(
        () => client.stats.messagesSent === received,
        "no beat",
      );
      assertEquals(await peer.take(1), [beat]);
      await peer.write(frame("0"));
      await until(
        () => client.stats.messagesReceived === received,
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

faultTest(
  "connect() publishes its events on a diagnostics channel, and outlives a hook that throws",
  async () => {
    const published: unknown[] = [];
    const subscriber = (event: unknown) => void published.push(event);
    subscribe("@blackbelt/networking:client", subscriber);
    const log = new EventLog();
    await using server = serve(LOCAL, echo);
    const client = await connect({
      ...server.addr,
      reconnect: AT_ONCE,
      onEvent(event) {
        log.onEvent(event);
        throw new Error("from the hook");
      },
    });
    for (let i = 0; i < 3; i++) {
      assertEquals(await client.request(i), i);
      const connection = await client.connected();
      connection.abort();
      await connection.closed;
    }
    await client.close();
    await delay(0);
    unsubscribe("@blackbelt/networking:client", subscriber);
    assertEquals(published, log.events);
    assertEquals(log.events.map(({ type }) => type), [
      ...["connecting", "connected", "disconnected", "waiting"],
      ...["connecting", "connected", "disconnected", "waiting"],
      ...["connecting", "connected", "disconnected"],
    ]);
  },
);

faultTest("serve() passes on why it cannot listen", async () => {
  await using server = serve(LOCAL, echo);
  const cases: [ServeOptions, ErrorClass, string][] = [
    [{ ...LOCAL, port: portOf(server.addr) }, Deno.errors.AddrInUse, ""],
    [{ hostname: "192.0.2.1", port: 0 }, Deno.errors.AddrNotAvailable, ""],
    [{ ...LOCAL, port: 65_536 }, RangeError, "received 65536"],
    [{ ...LOCAL, port: NaN }, RangeError, "received NaN"],
    [{ hostname: "host.invalid", port: 0 }, Error, "lookup address"],
    [{ path: `/tmp/${"x".repeat(200)}` }, Error, ""],
    [{ reusePort: true } as never, TypeError, '"reusePort": it does not exist'],
  ];
  for (const [options, type, text] of cases) {
    assertThrows(() => serve(options, echo), type, text);
  }
});

faultTest(
  "serve() and connect() need no more than --allow-net=127.0.0.1, and say what else would",
  async () => {
    await using child = await startScript(
      `const server = networking.serve(
      { hostname: "127.0.0.1", port: 0, authenticate: networking.sharedSecret("a secret of the tests") },
      (message) => message,
    );
    const client = await networking.connect(
      { ...server.addr, authenticate: networking.sharedSecret("a secret of the tests") },
    );
    console.log(JSON.stringify(await client.request("works")));
    await networking.connect({ port: server.addr.port }).catch(({ name, message }) => console.log(name, message));
    await client.close();
    await server.shutdown();`,
      { flags: ["--allow-net=127.0.0.1"] },
    );
    assertEquals((await child.status).code, 0, await child.stderr());
    const [works, refused] = (await child.stdout()).split("\n");
    assertEquals(works, '"works"');
    assertMatch(
      refused,
      /^NotCapable Cannot connect to localhost:(\d+): missing permission; run with --allow-net=localhost:\1.* 127\.0\.0\.1:\1 is granted, and is another name to Deno$/,
    );
  },
);

faultTest(
  "serve({ dropPermissions }) goes on serving, and the process can open nothing more",
  async () => {
    await using child = await startScript(
      `const server = networking.serve(
      { hostname: "127.0.0.1", port: 0, dropPermissions: true },
      async (message) => {
        switch (message) {
          case "listen": return Deno.listen({ hostname: "127.0.0.1", port: 0 });
          case "serve": return networking.serve({ hostname: "127.0.0.1", port: 0 }, () => {});
          case "connect": return await networking.connect(server.addr);
          case "read": return await Deno.readTextFile("mod.ts");
          case "env": return Deno.env.get("HOME");
          case "run": return await new Deno.Command("true").output();
        }
        return message;
      },
    );
    console.log(server.addr.port);
    addEventListener("unhandledrejection", (event) => event.preventDefault());`,
    );
    const port = Number((await child.line(/^\d+$/))[0]);
    for (
      const message of [
        "listen",
        "serve",
        "connect",
        "read",
        "env",
        "run",
        "echo",
      ]
    ) {
      await using client = await connect({ ...LOCAL, port });
      const reply = client.request(message);
      if (message === "echo") assertEquals(await reply, "echo");
      else await assertRejects(() => reply, ConnectionClosedError);
    }
  },
);

/** The server program, once it has printed a line that matches. */
async function startProgram(
  flags: string[],
  args: string[],
): Promise<Running & { port: number }> {
  const server = start(
    Deno.execPath(),
    ["run", "--no-prompt", ...flags, "server.ts", "--log=text", ...args],
    { cwd: ROOT },
  );
  const [, port] = await server.line(/^Listening on .*?:?(\d*)$/);
  return Object.assign(server, { port: Number(port) });
}

faultTest(
  "the server program warns where anyone may use it, and only there",
  async () => {
    const directory = await Deno.makeTempDir();
    const token = `${directory}/token`;
    await Deno.writeTextFile(token, "a secret of the tests\n");
    const cases: [string, string[], boolean][] = [
      ["0.0.0.0", [], true],
      ["127.0.0.1", [], false],
      ["0.0.0.0", [`--token-file=${token}`], false],
    ];
    for (const [hostname, args, warns] of cases) {
      await using server = await startProgram(
        [`--allow-net=${hostname}:0`, `--allow-read=${token}`],
        [`--hostname=${hostname}`, "--port=0", ...args],
      );
      server.kill();
      assertEquals((await server.status).code, 0);
      assertEquals(
        (await server.stdout()).includes("Anyone who can reach this machine"),
        warns,
      );
    }
    await Deno.remove(directory, { recursive: true });
  },
);

faultTest(
  "the server program takes over the socket of a server that was killed, and nothing else",
  async () => {
    const directory = await Deno.makeTempDir();
    const path = `${directory}/test.sock`;
    const files = [path, `${path}.d`, `${path}.lock`].join();
    const flags = [
      ...[`--allow-read=${files}`, `--allow-write=${files}`],
      `--allow-net=unix:${path}.d/s`,
    ];
    {
      await using killed = await startProgram(flags, [`--unix=${path}`]);
      killed.kill("SIGKILL");
      await killed.status;
    }
    assert((await Deno.lstat(path)).isSocket);
    {
      await using server = await startProgram(flags, [`--unix=${path}`]);
      assertEquals((await Deno.lstat(path)).mode! & 0o777, 0o600);
      await using client = await connect({ path });
      const hello = { message: "hi" };
      const reply = { status: "success", echo: "hi" };
      assertEquals(await client.request(hello), reply);
      {
        await using second = start(Deno.execPath(), [
          ...["run", "--no-prompt", ...flags, "server.ts", `--unix=${path}`],
        ], { cwd: ROOT });
        assertEquals((await second.status).code, 1);
        assertStringIncludes(await second.stderr(), "address already in use");
      }
      assertEquals(await client.request(hello), reply);
      server.kill();
      assertEquals((await server.status).code, 0);
    }
    await assertRejects(() => Deno.lstat(path), Deno.errors.NotFound);

    await Deno.writeTextFile(path, "precious");
    await using server = start(Deno.execPath(), [
      ...["run", "--no-prompt", ...flags, "server.ts", `--unix=${path}`],
    ], { cwd: ROOT });
    assertEquals((await server.status).code, 1);
    assertStringIncludes(await server.stderr(), "exists and is no socket");
    assertEquals(await Deno.readTextFile(path), "precious");
    await Deno.remove(directory, { recursive: true });
  },
);

faultTest(
  "Connection over a Deno.Conn is closed with a read and a write pending, which older versions did not do",
  async () => {
    using listener = Deno.listen(LOCAL);
    const [conn, peer] = await Promise.all([
      Deno.connect({ ...LOCAL, port: listener.addr.port }),
      listener.accept(),
    ]);
    const connection = new Connection(conn, {
      maxFrameBytes: 100_000_000,
      maxQueuedBytes: Infinity,
    });
    const message = assertRejects(
      () => connection[Symbol.asyncIterator]().next(),
      ConnectionClosedError,
    );
    const sent = assertRejects(
      () => connection.send("x".repeat(50_000_000)),
      ConnectionClosedError,
    );
    await until(() => connection.stats.bytesSent > 0, "nothing is written");
    connection.abort();
    await Promise.all([message, sent]);
    assertThrows(() => conn.close(), Deno.errors.BadResource);
    peer.close();
  },
);
