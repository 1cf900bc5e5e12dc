/** How servers end. */
import {
  assert,
  assertEquals,
  assertGreater,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import {
  connect,
  type Connection,
  ConnectionClosedError,
  type JsonValue,
  listen,
  serve,
  sharedSecret,
} from "../mod.ts";
import { certificates } from "./certificates.ts";
import { delay, faultTest, until } from "./ledger.ts";
import { echo, frame, LOCAL, Peer } from "./peers.ts";
import { SEED, seeded } from "./random.ts";
import { startScript } from "./scripts.ts";
import { ServerEventLog } from "./event_logs.ts";

const { ca, server: IDENTITY } = certificates();
const SECRET = sharedSecret("a secret of the tests");

faultTest(
  "shutdown() loses no reply of a handler that has begun",
  seeded(async (random) => {
    console.log(`TEST_SEED=${SEED}`);
    let begun = 0;
    const server = serve(LOCAL, async (message) => {
      begun++;
      await delay(random.integer(1, 60));
      return message;
    });
    const clients = await Promise.all(
      Array.from({ length: 20 }, () => connect(server.addr)),
    );
    const replies = clients.flatMap((client) =>
      Array.from({ length: 10 }, (_, i) => client.request(i))
    );
    const settled = Promise.allSettled(replies);
    await until(() => begun > 100, "too few handlers were called");
    await server.shutdown();
    const outcomes = await settled;
    const answered = outcomes.filter(({ status }) => status === "fulfilled");
    assertEquals(answered.length, begun);
    await Promise.all(clients.map((client) => client.close()));
  }),
);

faultTest(
  "shutdown() closes idle connections at once, whatever the others do",
  async () => {
    const gate = Promise.withResolvers<void>();
    let begun = false;
    const server = serve({ ...LOCAL, shutdownTimeout: Infinity }, async () => {
      begun = true;
      await gate.promise;
      return "at last";
    });
    const idle = await Promise.all([1, 2, 3].map(() => connect(server.addr)));
    const busy = await connect(server.addr);
    const reply = busy.request(1);
    await until(() => begun, "the handler was not called");
    await until(() => server.connections.size === 4, "not all are connected");
    const shutdown = server.shutdown();
    const ends = await Promise.all(
      idle.map((client) => client[Symbol.asyncIterator]().next()),
    );
    assert(ends.every(({ done }) => done));
    gate.resolve();
    assertEquals(await reply, "at last");
    await shutdown;
    await Promise.all([...idle, busy].map((client) => client.close()));
  },
);

faultTest(
  "shutdown() waits no longer than shutdownTimeout for a peer that reads nothing",
  async () => {
    const text = "x".repeat(1_000_000);
    const server = serve({ ...LOCAL, shutdownTimeout: 100 }, () => text);
    using peer = await Peer.connect(server.addr);
    for (let i = 0; i < 30; i++) await peer.write(frame("1"));
    await until(() => server.stats().bytesQueued > 0, "nothing is queued");
    const start = performance.now();
    await server.shutdown();
    assertGreater(performance.now() - start, 95);
  },
);

faultTest(
  "shutdown() ends peers that wait in the backlog, and no handler sees what they sent",
  async () => {
    const seen: JsonValue[] = [];
    const server = serve({ ...LOCAL, maxConnections: 1 }, (message) => {
      seen.push(message);
      return message;
    });
    await using first = await connect(server.addr);
    assertEquals(await first.request("first"), "first");
    await using second = await connect(server.addr);
    const reply = assertRejects(
      () => second.request("second"),
      ConnectionClosedError,
    );
    await server.shutdown();
    await reply;
    assertEquals(seen, ["first"]);
  },
);

faultTest(
  "shutdown() drops pending peers, and leaves nothing of those that were rejected",
  async () => {
    const server = serve({
      ...LOCAL,
      handshakeTimeout: Infinity,
      shutdownTimeout: Infinity,
      authenticate: SECRET,
    }, echo);
    using silent = await Peer.connect(server.addr);
    using refused = await Peer.connect(server.addr);
    await refused.write(frame('"let me in"'));
    assertEquals(await refused.take(1), [{ $login: "refused" }]);
    assertEquals(server.stats().pending, 2);
    await server.shutdown();
    await Promise.all([silent.ended(), refused.ended()]);
  },
);

faultTest(
  "shutdown() may be called in a handler: without waiting for it the reply leaves, and waiting ends with the time",
  async () => {
    {
      const server = serve(LOCAL, () => {
        server.shutdown();
        return "goodbye";
      });
      await using client = await connect(server.addr);
      assertEquals(await client.request(1), "goodbye");
      await server.finished;
    }
    const server = serve({ ...LOCAL, shutdownTimeout: 50 }, async () => {
      await server.shutdown();
      return "never";
    });
    await using client = await connect(server.addr);
    await assertRejects(() => client.request(1), ConnectionClosedError);
    await server.finished;
  },
);

faultTest(
  "shutdown() may come at any time: twice, in onListen, in an event, after the end",
  async () => {
    const controller = new AbortController();
    const early = serve({
      ...LOCAL,
      signal: controller.signal,
      onListen: () => controller.abort(),
    }, echo);
    await early.finished;
    const late = serve({
      ...LOCAL,
      shutdownTimeout: Infinity,
      onEvent(event) {
        if (event.type === "connected") late.shutdown();
      },
    }, echo);
    await using client = await connect(late.addr);
    assertEquals((await client[Symbol.asyncIterator]().next()).done, true);
    assertStrictEquals(late.shutdown(), late.shutdown());
    await late.finished;
    await late.shutdown();
    await late[Symbol.asyncDispose]();
  },
);

for (
  const [kind, options, clientOptions] of [
    ["a plain server", {}, {}],
    ["one that authenticates", { authenticate: SECRET }, {
      authenticate: SECRET,
    }],
    ["one that encrypts", { tls: IDENTITY }, { tls: { ca } }],
  ] as const
) {
  faultTest(
    `shutdown() accepts no peer that comes in the same tick: ${kind}`,
    async () => {
      const log = new ServerEventLog();
      const { listen: original } = Deno;
      Deno.listen = ((options: Deno.TcpListenOptions) => {
        const listener = original(options);
        const { accept } = listener;
        listener.accept = async () => {
          const conn = await Reflect.apply(accept, listener, []);
          server.shutdown(); // who accepts hears of the peer after this
          return conn;
        };
        return listener;
      }) as typeof Deno.listen;
      const server = serve(
        {
          ...LOCAL,
          ...options,
          shutdownTimeout: Infinity,
          onEvent: log.onEvent,
        },
        echo,
      );
      Deno.listen = original;
      const request = assertRejects(async () => {
        await using client = await connect({
          ...server.addr,
          ...clientOptions,
        });
        await client.request("hello");
      });
      await server.finished;
      await request;
      assertEquals(log.of("connected"), []);
      assertEquals(server.stats().pending, 0);
    },
  );
}

faultTest(
  "close() in an event leaves no connection behind",
  async () => {
    const log = new ServerEventLog();
    const listener = listen({
      ...LOCAL,
      authenticate: SECRET,
      onEvent(event) {
        log.onEvent(event);
        if (log.of("connected").length === 2) listener.close();
      },
    });
    const accepted = listener.accept();
    const clients = await Promise.all(
      [1, 2].map(() => connect({ ...listener.addr, authenticate: SECRET })),
    );
    await (await accepted).close();
    for (const client of clients) {
      assertEquals((await client[Symbol.asyncIterator]().next()).done, true);
      await client.close();
    }
    await until(() => listener.connections.size === 0, "one is still open");
    log.assertBalanced();
  },
);

faultTest(
  "serve() leaves signals alone, and the process ends by itself once it is shut down",
  async () => {
    {
      await using child = await startScript(
        `const server = networking.serve({ hostname: "127.0.0.1", port: 0 }, (m) => m);
      console.log(server.addr.port);`,
        { flags: ["--allow-net=127.0.0.1"] },
      );
      await child.line(/^\d+$/);
      child.kill("SIGTERM");
      assertEquals((await child.status).signal, "SIGTERM");
    }
    await using child = await startScript(
      `const asked = Promise.withResolvers();
    const server = networking.serve({ hostname: "127.0.0.1", port: 0 }, async (message) => {
      console.log("asked");
      await asked.promise;
      return message;
    });
    Deno.addSignalListener("SIGTERM", async () => {
      setTimeout(asked.resolve, 50);
      await server.shutdown();
      console.log("over");
    });
    console.log(server.addr.port);`,
      { flags: ["--allow-net=127.0.0.1"] },
    );
    const port = Number((await child.line(/^\d+$/))[0]);
    await using client = await connect({ ...LOCAL, port });
    const reply = client.request("in flight");
    await child.line(/asked/);
    child.kill("SIGTERM");
    assertEquals(await reply, "in flight");
    await child.line(/over/);
    // A signal listener does not keep the process alive, nor does the server.
    assertEquals((await child.status).code, 0);
  },
);

faultTest("serve() is shut down at the end of await using", async () => {
  let server;
  let reply: Promise<JsonValue>;
  let client: Connection;
  {
    let asked = false;
    await using scoped = serve(LOCAL, async (message) => {
      asked = true;
      await delay(20);
      return message;
    });
    server = scoped;
    client = await connect(server.addr);
    reply = client.request("in flight");
    await until(() => asked, "the handler was not called");
  }
  assertEquals(await reply, "in flight");
  await assertRejects(
    () => connect(server.addr),
    Deno.errors.ConnectionRefused,
  );
  await client.close();
});

faultTest(
  "a hook that hears of shutdown() may call it again, and it happens once",
  async () => {
    const types: string[] = [];
    const server = serve({
      ...LOCAL,
      onEvent({ type }) {
        types.push(type);
        if (type === "draining" || type === "closed") server.shutdown();
      },
    }, echo);
    await using client = await connect(server.addr);
    await client.request("one");
    await server.shutdown();
    assertEquals(types, ["listening", "connected", "draining", "closed"]);
  },
);

faultTest(
  "serve() closes its connections and removes its file where its socket fails, then finished rejects",
  async () => {
    const directory = await Deno.makeTempDir();
    const path = `${directory}/socket`;
    const { listen: original } = Deno;
    let listener: Deno.UnixListener;
    Deno.listen = ((options: Deno.UnixListenOptions) => {
      return listener = original({ ...options, transport: "unix" });
    }) as unknown as typeof Deno.listen;
    const replies = Promise.withResolvers<string>();
    const log = new ServerEventLog();
    const options = { path, onEvent: log.onEvent };
    const server = serve(options, () => replies.promise);
    Deno.listen = original;
    const failed = assertRejects(
      () => server.finished,
      Deno.errors.BadResource,
    );
    await using client = await connect(server.addr);
    const reply = client.request(1);
    await until(
      () =>
        [...server.connections].some((one) =>
          one.stats().messagesReceived === 1
        ),
      "the request has not come",
    );
    listener!.close();
    await until(() => log.of("draining").length === 1, "it goes on");
    replies.resolve("hello");
    assertEquals(await reply, "hello");
    await failed;
    assertEquals(server.stats().connections, 0);
    assertEquals((await client.closed).clean, true);
    await server.shutdown();
    await Deno.remove(directory); // nothing is left in it
  },
);
