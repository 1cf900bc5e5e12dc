/** How many may connect: descriptors, connections, addresses, pending handshakes. */
import {
  assert,
  assertEquals,
  assertGreater,
  assertLessOrEqual,
  assertMatch,
  assertRejects,
} from "@std/assert";
import {
  connect,
  type Connection,
  ConnectionClosedError,
  listen,
  serve,
  type ServeOptions,
  type Server,
  type ServerStats,
  sharedSecret,
} from "../mod.ts";
import { delay, faultTest, until } from "./ledger.ts";
import { certificates } from "./certificates.ts";
import { askFrom, echo, frame, join, LOCAL, Peer, portOf } from "./peers.ts";
import { processorTime, startLimited, startScript } from "./scripts.ts";
import { ServerEventLog } from "./event_logs.ts";

const SECRET = sharedSecret("a secret of the tests");
const { ca, server: IDENTITY } = certificates();

/** That one who knows the secret is served. */
async function assertClientGetsIn(server: Server): Promise<void> {
  await using client = await connect({ ...server.addr, authenticate: SECRET });
  assertEquals(await client.request(1), 1);
}

faultTest(
  "serve() serves 80 clients where it may have 64 descriptors, and hardly works while it has none",
  async () => {
    // Deno sets up its signals half a second after the start, and panics if it
    // has no descriptor for them then; who listens for one has them at once.
    await using child = await startScript(
      `Deno.addSignalListener("SIGTERM", () => Deno.exit());
    const server = networking.serve(
      { hostname: "127.0.0.1", port: 0 },
      (message) => message === "stats" ? server.stats() : message,
    );
    console.log(server.addr.port);`,
      { descriptors: 64 },
    );
    const port = Number((await child.line(/^\d+$/))[0]);
    const clients = await Promise.all(
      Array.from({ length: 80 }, () => connect({ ...LOCAL, port })),
    );
    const served: Connection[] = [];
    const first = Promise.withResolvers<Connection>();
    const leave = Promise.withResolvers<void>();
    const visits = clients.map(async (client, i) => {
      assertEquals(await client.request(i), i);
      served.push(client);
      first.resolve(client);
      await leave.promise;
      await client.close();
    });
    const witness = await first.promise;
    const stats = async () =>
      await witness.request("stats") as unknown as ServerStats;
    await until(async () => (await stats()).failed > 0, "all got in");

    const start = performance.now();
    const { failed, accepted } = await stats();
    assertEquals(accepted, served.length);
    const processor = processorTime(child.pid);
    let more = 0;
    await until(async () => {
      await delay(50);
      more = (await stats()).failed - failed;
      return more >= 5;
    }, "it does not try again");
    const busy = processorTime(child.pid) - processor;
    const time = performance.now() - start;
    console.log(
      `${served.length} of 80 served; in ${time.toFixed()} ms without a descriptor ${more} attempts, ${busy} ms of work`,
    );
    assertLessOrEqual(more, time / 100 + 1); // each waits 100 ms
    assertLessOrEqual(busy, time / 4);
    assertEquals(
      await Promise.all(served.map((client, i) => client.request(i))),
      served.map((_, i) => i),
    );

    leave.resolve();
    await Promise.all(visits);
    assertEquals(served.length, 80);
  },
);

faultTest(
  "the server program serves 80 clients where it may have 64 descriptors, and says why some wait",
  async () => {
    await using server = startLimited(64, [
      ...["run", "--no-prompt", "--allow-net=127.0.0.1:0", "server.ts"],
      ...["--hostname=127.0.0.1", "--port=0", "--log=text"],
    ]);
    const port = Number((await server.line(/127\.0\.0\.1:(\d+)/))[1]);
    const clients = await Promise.all(
      Array.from({ length: 80 }, () => connect({ ...LOCAL, port })),
    );
    let served = 0;
    const over = Promise.withResolvers<void>();
    const late = over.promise.then(() => clients.length - served);
    const replies = clients.map(async (client, i) => {
      assertEquals(await client.request({ message: i }), {
        status: "success",
        echo: i,
      });
      if (++served === 30) setTimeout(over.resolve, 200);
      await over.promise;
      await client.close();
    });
    await Promise.all(replies);
    server.kill();
    assertEquals((await server.status).code, 0);
    const lines = (await server.stderr()).trim().split("\n");
    // One more behind each that was let in, and none for each attempt.
    assertLessOrEqual(lines.length, 1 + await late);
    for (const line of lines) {
      assertMatch(
        line,
        /^server: cannot accept a connection: .+; trying again$/,
      );
    }
  },
);

faultTest(
  "serve() has those beyond maxConnections wait, and serves them when one ends",
  async () => {
    let most = 0;
    await using server = serve({ ...LOCAL, maxConnections: 5 }, (message) => {
      most = Math.max(most, server.connections.size);
      return message;
    });
    const clients = await Promise.all(
      Array.from({ length: 16 }, () => connect(server.addr)),
    );
    const replies = clients.map((client, i) => client.request(i));
    await Promise.all(replies.slice(0, 5));
    for (let i = 5; i < clients.length; i++) {
      await clients[i - 5].close();
      assertEquals(await replies[i], i);
    }
    assertEquals(most, 5);
    await Promise.all(clients.map((client) => client.close()));
  },
);

faultTest(
  "serve() keeps maxConnectionsPerIp of one address, and accepts others",
  async () => {
    const log = new ServerEventLog();
    await using server = serve(
      { ...LOCAL, maxConnectionsPerIp: 20, onEvent: log.onEvent },
      echo,
    );
    const peers = await Promise.all(
      Array.from({ length: 200 }, () => Peer.connect(server.addr)),
    );
    await until(() => server.stats().rejected === 180, "none was rejected");
    assertEquals(server.connections.size, 20);
    assert(
      log.of("rejected").every(({ reason }) =>
        reason === "maxConnectionsPerIp"
      ),
    );
    for (let i = 0; i < 5; i++) {
      await askFrom("127.0.0.2", portOf(server.addr), frame("1"));
    }
    const rejected = new Set(
      log.of("rejected").map(({ remoteAddr }) => portOf(remoteAddr)),
    );
    for (const peer of peers) {
      // Those who were rejected know it.
      if (rejected.has(peer.conn.localAddr.port)) await peer.ended();
      peer[Symbol.dispose]();
    }
    await until(() => server.connections.size === 0, "connections are open");
    for (let i = 0; i < 20; i++) {
      const peer = await Peer.connect(server.addr);
      await peer.write(frame("1"));
      assertEquals(await peer.take(1), [1]);
      peers.push(peer);
    }
    for (const peer of peers) peer[Symbol.dispose]();
  },
);

faultTest(
  "serve() takes an IPv4 address within IPv6 for the same peer, and counts no peer behind a Unix socket",
  async () => {
    const log = new ServerEventLog();
    await using server = serve({
      hostname: "::",
      port: 0,
      maxConnectionsPerIp: 1,
      onEvent: log.onEvent,
    }, echo);
    const port = portOf(server.addr);
    await using first = await connect({ ...LOCAL, port });
    assertEquals(await first.request(1), 1);
    await using second = await connect({ ...LOCAL, port });
    await assertRejects(() => second.request(2), ConnectionClosedError);
    await using other = await connect({ hostname: "::1", port });
    assertEquals(await other.request(3), 3);
    assertEquals(log.of("rejected").map(({ reason }) => reason), [
      "maxConnectionsPerIp",
    ]);

    const directory = await Deno.makeTempDir();
    {
      const path = `${directory}/socket`;
      await using server = serve({ path }, echo);
      for (const i of [1, 2, 3]) {
        await using _client = await connect(server.addr);
        assertEquals(await _client.request(i), i);
      }
      const clients = await Promise.all(
        [1, 2, 3].map(() => connect(server.addr)),
      );
      const replies = clients.map((client, i) => client.request(i));
      assertEquals(await Promise.all(replies), [0, 1, 2]);
      await Promise.all(clients.map((client) => client.close()));
    }
    await Deno.remove(directory);
  },
);

faultTest(
  "serve() never has more than maxPending handshakes, drops the oldest, and accepts a client",
  async () => {
    const log = new ServerEventLog();
    let most = 0;
    await using server = serve({
      ...LOCAL,
      maxPending: 20,
      handshakeTimeout: Infinity,
      authenticate: SECRET,
      onEvent(event) {
        log.onEvent(event);
        if (event.type === "rejected") {
          most = Math.max(most, server.stats().pending);
        }
      },
    }, echo);
    const peers: Peer[] = [];
    for (let i = 0; i < 10; i++) {
      peers.push(
        ...await Promise.all(
          Array.from({ length: 20 }, () => Peer.connect(server.addr)),
        ),
      );
    }
    await until(() => server.stats().accepted === 200, "not all were accepted");
    await until(() => server.stats().rejected === 180, "none made room");
    assertEquals(server.stats().pending, 20);
    assertLessOrEqual(most, 20);
    const rejected = log.of("rejected");
    assert(rejected.every(({ reason }) => reason === "maxPending"));
    assertEquals(rejected.length, 180);
    const last = new Set(
      peers.slice(-20).map(({ conn }) => conn.localAddr.port),
    );
    assert(rejected.every(({ remoteAddr }) => !last.has(portOf(remoteAddr))));
    await assertClientGetsIn(server);
    for (const peer of peers) peer[Symbol.dispose]();
  },
);

faultTest(
  "serve() accepts a client while 200 peers come and send nothing",
  async () => {
    await using server = serve({
      ...LOCAL,
      maxPending: 20,
      handshakeTimeout: Infinity,
      authenticate: SECRET,
    }, echo);
    const peers: Peer[] = [];
    const flood = (async () => {
      while (peers.length < 200) {
        peers.push(await Peer.connect(server.addr));
        await delay(1);
      }
    })();
    let clients = 0;
    while (peers.length < 200) {
      await assertClientGetsIn(server);
      clients++;
    }
    await flood;
    assertGreater(clients, 0);
    for (const peer of peers) peer[Symbol.dispose]();
  },
);

faultTest(
  "serve() accepts clients while more peers send nothing, or were rejected and stay, than connections may be open",
  async () => {
    const log = new ServerEventLog();
    await using server = serve({
      ...LOCAL,
      maxConnections: 2,
      maxPending: 5,
      handshakeTimeout: Infinity,
      authenticate: SECRET,
      onEvent: log.onEvent,
    }, echo);
    const peers: Peer[] = [];
    for (let i = 0; i < 5; i++) peers.push(await Peer.connect(server.addr));
    await until(() => server.stats().pending === 5, "they are not pending");
    for (const peer of peers.slice(0, 4)) {
      await peer.write(frame('"let me in"'));
      assertEquals(await peer.take(1), [{ $login: "refused" }]);
    }
    assertEquals(server.stats().pending, 5);
    const clients = [];
    for (let i = 0; i < 2; i++) {
      const client = await connect({ ...server.addr, authenticate: SECRET });
      assertEquals(await client.request(i), i);
      clients.push(client);
    }
    const { connections, pending } = server.stats();
    assertEquals([connections, pending], [2, 4]);
    // The first client had one make room, and the second one has its slot.
    const reasons = log.of("rejected").map(({ reason }) => reason);
    assertEquals(reasons, Array(4).fill("authentication"));
    await peers[0].ended();
    for (const peer of peers) peer[Symbol.dispose]();
    await Promise.all(clients.map((client) => client.close()));
  },
);

faultTest(
  "serve() accepts no peer while maxConnections are open, and the next when one ends",
  async () => {
    const log = new ServerEventLog();
    const gate = Promise.withResolvers<void>();
    await using server = serve({
      ...LOCAL,
      maxConnections: 2,
      handshakeTimeout: Infinity,
      authenticate: () => gate.promise.then(() => true),
      onEvent: log.onEvent,
    }, echo);
    const options = { ...server.addr, authenticate: () => ({ $login: "own" }) };
    const connected: Connection[] = [];
    const connecting = Array.from({ length: 4 }, async () => {
      connected.push(await connect(options));
    });
    await until(() => server.stats().pending === 4, "they are not pending");
    gate.resolve();
    await until(() => connected.length === 2, "none was let in");
    const others = await Promise.all(
      Array.from({ length: 3 }, () => Peer.connect(server.addr)),
    );
    for (let left = 4; left > 0; left--) {
      const open = Math.min(left, 2);
      await until(
        () => connected.length === open && server.stats().connections === open,
        "they are not let in one by one",
      );
      // Nobody but the one whose accepting had begun already.
      if (left > 1) assertLessOrEqual(server.stats().accepted, 5);
      const first = connected.shift()!;
      assertEquals(await first.request(left), left);
      await first.close();
    }
    await Promise.all(connecting);
    for (const peer of others) peer[Symbol.dispose]();
    await until(() => server.stats().rejected === 3, "they are pending");
    assert(
      log.of("rejected").every(({ reason }) => reason === "authentication"),
    );
  },
);

/**
 * Two clients come where one connection may be open; the first keeps it until
 * the other is rejected. Gives what each has heard, and the reason. On a busy
 * machine either may be late with its handshake: then they try again.
 */
async function connectTwice(
  options: ServeOptions,
  come: (server: Server) => Promise<string>,
): Promise<string[]> {
  for (;;) {
    const log = new ServerEventLog();
    await using server = serve({
      ...LOCAL,
      ...options,
      maxConnections: 1,
      handshakeTimeout: 200,
      onEvent: log.onEvent,
    }, echo);
    const heard = await Promise.all([come(server), come(server)]);
    await until(() => server.stats().connections === 0, "one is open");
    const reasons = log.of("rejected").map(({ reason }) => reason);
    if (reasons.includes("handshakeTimeout")) continue;
    // The slot is free again.
    const last = await come(server);
    return [...heard.sort(), ...reasons, last];
  }
}

faultTest(
  "serve() tells a peer to try again later that no connection makes room for within handshakeTimeout",
  async () => {
    async function come(server: Server): Promise<string> {
      using peer = await Peer.connect(server.addr);
      await peer.write(join(frame('{"$login":"own"}'), frame('"hello"')))
        .catch(() => {});
      const messages = await peer.take(2).catch(() => []);
      if (messages.length === 2) {
        await until(() => server.stats().rejected > 0, "nobody was rejected");
      }
      return JSON.stringify(messages);
    }
    assertEquals(await connectTwice({ authenticate: () => true }, come), [
      '[{"$login":"accepted"},"hello"]',
      '[{"$login":"later"}]',
      "maxConnections",
      '[{"$login":"accepted"},"hello"]',
    ]);
  },
);

faultTest(
  "serve({ tls }) closes a peer that no connection makes room for within handshakeTimeout",
  async () => {
    async function come(server: Server): Promise<string> {
      try {
        await using client = await connect({ ...server.addr, tls: { ca } });
        const reply = await client.request("hello");
        await until(() => server.stats().rejected > 0, "nobody was rejected");
        return String(reply);
      } catch (error) {
        return (error as Error).name;
      }
    }
    assertEquals(await connectTwice({ tls: IDENTITY }, come), [
      "ConnectionClosedError",
      "hello",
      "maxConnections",
      "hello",
    ]);
  },
);

faultTest(
  "serve() does not count peers as rejected that left without sending anything",
  async () => {
    await using server = serve({ ...LOCAL, authenticate: SECRET }, echo);
    for (let i = 0; i < 20; i++) (await Peer.connect(server.addr)).conn.close();
    await until(() => server.stats().rejected === 20, "not all were rejected");
    await using client = await connect({
      ...server.addr,
      authenticate: SECRET,
    });
    assertEquals(await client.request(1), 1);
  },
);

faultTest(
  "accept() may be called many times before a peer comes",
  async () => {
    using listener = listen(LOCAL);
    const accepted = Promise.all(
      Array.from({ length: 5 }, () => listener.accept()),
    );
    const clients = await Promise.all(
      Array.from({ length: 5 }, () => connect(listener.addr)),
    );
    const connections = await accepted;
    assertEquals(new Set(connections).size, 5);
    await Promise.all([...clients, ...connections].map((one) => one.close()));
  },
);
