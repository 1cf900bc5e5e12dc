/** What `connect`, `serve` and the server program say and need at the start. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import {
  connect,
  ConnectionClosedError,
  createClient,
  fromDuplex,
  serve,
  type ServeOptions,
  sharedSecret,
} from "../mod.ts";
import { delay, faultTest, until } from "./ledger.ts";
import { echo, LOCAL, portOf } from "./peers.ts";
import { start, startServerProgram } from "./process.ts";
import { startScript } from "./scripts.ts";
import { ClientEventLog } from "./event_logs.ts";

const SECRET = sharedSecret("a secret of the tests");

/** Comes back at once. */
const AT_ONCE = { maxRetryDelay: 1 };

type ErrorClass = new (message?: string) => Error;

const ROOT = new URL("../", import.meta.url);

faultTest(
  "connect() says why it does not connect, by the error of the platform",
  async () => {
    const gone = Deno.listen(LOCAL);
    const addr = { ...LOCAL, port: gone.addr.port };
    gone.close();
    const log = new ClientEventLog();
    const cases: [object, ErrorClass, string][] = [
      [addr, Deno.errors.ConnectionRefused, "refused"],
      [{ path: "/nowhere/test.sock" }, Deno.errors.NotFound, ""],
      [{ hostname: "host.invalid", port: 1 }, Error, "lookup address"],
      [{ ...LOCAL, port: 65_536 }, RangeError, "received 65536"],
      [{ ...LOCAL, port: NaN }, RangeError, "received NaN"],
      [{ ...LOCAL, heartbeat: { message: 1n } }, TypeError, '"message"'],
      [{ ...LOCAL, heartbeat: {} }, TypeError, '"message": a heartbeat needs'],
      [
        { ...LOCAL, maxFrameBytes: 1, heartbeat: { message: 10 } },
        TypeError,
        '"message"',
      ],
      [{ ...LOCAL, heartbeat: 5 }, TypeError, 'like { message: "ping" }'],
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
      ": the handshake took longer than 50 ms (handshakeTimeout)",
    );
    assertEquals(error.name, "TimeoutError");
    (await accepting).close();
  },
);

faultTest(
  "connect() publishes its events on a diagnostics channel, and outlives a hook that throws",
  async () => {
    const published: unknown[] = [];
    const subscriber = (event: unknown) => void published.push(event);
    subscribe("@blackbelt/networking:client", subscriber);
    const log = new ClientEventLog();
    await using server = serve(LOCAL, echo);
    const client = await createClient({
      ...server.addr,
      ...AT_ONCE,
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
      ...["connecting", "connected", "closed"],
      ...["connecting", "connected", "closed"],
      ...["connecting", "connected", "closed"],
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
      /^NotCapable Cannot connect to localhost:(\d+): missing permission; run with --allow-net=localhost:\1.* 127\.0\.0\.1:\1 is granted, but is another name to Deno$/,
    );
  },
);

faultTest(
  "dropPermissions() has a server go on serving, and the process can open nothing more",
  async () => {
    await using child = await startScript(
      `const server = networking.serve(
      { hostname: "127.0.0.1", port: 0 },
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
    networking.dropPermissions();
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

faultTest(
  "dropPermissions() keeps what removes the file of a Unix socket, and nothing else",
  async () => {
    const directory = await Deno.realPath(await Deno.makeTempDir());
    const path = `${directory}/socket`;
    const files = [path, `${path}.d`, `${path}.lock`].join();
    await using child = await startScript(
      `const path = ${JSON.stringify(path)};
    const server = networking.serve({ path }, (message) => message);
    networking.dropPermissions();
    for (const name of ["read", "write", "net", "env", "run"]) {
      console.log(name, Deno.permissions.querySync({ name, path }).state);
    }
    await server.shutdown();
    // What closing needed is of no use any more.
    networking.dropPermissions();
    console.log("write", Deno.permissions.querySync({ name: "write", path }).state);`,
      {
        flags: [
          "--allow-env",
          "--allow-run",
          `--allow-read=${files}`,
          `--allow-write=${files}`,
          `--allow-net=unix:${path}.d/s`,
        ],
      },
    );
    assertEquals((await child.status).code, 0, await child.stderr());
    assertEquals(
      await child.stdout(),
      "read granted\nwrite granted\nnet prompt\nenv prompt\nrun prompt\nwrite prompt\n",
    );
    await Deno.remove(directory); // nothing is left in it
  },
);

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
      await using server = await startServerProgram(
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
      await using killed = await startServerProgram(flags, [`--unix=${path}`]);
      killed.kill("SIGKILL");
      await killed.status;
    }
    assert((await Deno.lstat(path)).isSocket);
    {
      await using server = await startServerProgram(flags, [`--unix=${path}`]);
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
    assertStringIncludes(await server.stderr(), "exists and is not a socket");
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
    const connection = fromDuplex(conn, {
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
    await until(() => connection.stats().bytesSent > 0, "nothing is written");
    connection.abort();
    await Promise.all([message, sent]);
    assertThrows(() => conn.close(), Deno.errors.BadResource);
    peer.close();
  },
);
