import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { kindOf, show } from "../core/tools/show.ts";
import { bind } from "../core/platform/platform.ts";
import { makeListener } from "../core/server/server.ts";
import { faultTest } from "./ledger.ts";
import { resetAndDestroy } from "./raw.ts";
import {
  type Address,
  connect,
  ConnectionClosedError,
  encodeFrame,
  fromDuplex,
  listen,
  type Listener,
  type ListenOptions,
  serve,
  type ServeOptions,
  type ServerEvent,
} from "../mod.ts";
import { echo, portOf } from "./peers.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };

/** Resolves with the next event of a type. */
function eventLog(): {
  events: ServerEvent[];
  onEvent(event: ServerEvent): void;
  next(type: ServerEvent["type"]): Promise<ServerEvent>;
} {
  const events: ServerEvent[] = [];
  const waiting: [string, (event: ServerEvent) => void][] = [];
  return {
    events,
    onEvent(event) {
      events.push(event);
      for (const [type, resolve] of waiting) {
        if (type === event.type) resolve(event);
      }
    },
    next(type) {
      return new Promise((resolve) => waiting.push([type, resolve]));
    },
  };
}

faultTest("serve() answers over TCP and over a Unix socket", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/socket`;
  for (
    const options of [LOCAL, { path }, { transport: "unix", path }] as const
  ) {
    await using server = serve(options, echo);
    await using client = await connect(server.addr);
    assertEquals(await client.request({ a: "é" }), { a: "é" });
    const { transport } = server.addr;
    assertEquals(client.remoteAddr, server.addr);
    const [connection] = server.connections;
    assertEquals(connection.localAddr, server.addr);
    assertEquals(
      connection.remoteAddr,
      transport === "tcp" ? client.localAddr : { transport, path: "" },
    );
  }
  assertEquals([...Deno.readDirSync(directory)], []);
  await Deno.remove(directory);
});

faultTest("serve() serves 200 clients at once", async () => {
  const started = Promise.withResolvers<void>();
  let waiting = 0;
  await using server = serve(LOCAL, async (message) => {
    if (++waiting === 200) started.resolve();
    await started.promise; // nobody is answered before all have asked
    return message;
  });
  const clients = await Promise.all(
    Array.from({ length: 200 }, () => connect(server.addr)),
  );
  const replies = clients.map((client, i) => client.request({ i }));
  assertEquals(
    await Promise.all(replies),
    clients.map((_, i) => ({ i })),
  );
  assertEquals(server.connections.size, 200);
  await Promise.all(clients.map((client) => client.close()));
});

faultTest("serve() outlives clients that vanish at any moment", async () => {
  const log = eventLog();
  await using server = serve({ ...LOCAL, onEvent: log.onEvent }, echo);
  await using witness = await connect(server.addr);
  const frame = encodeFrame({ message: "hello" });
  for (let sent = 0; sent <= frame.length; sent++) {
    for (const reset of [false, true]) {
      // A peer that is reset before it is accepted never was a connection.
      const ended = Promise.race([
        log.next("closed"),
        log.next("failed"),
      ]);
      const bytes = frame.subarray(0, sent);
      if (reset) await resetAndDestroy(portOf(server.addr), bytes);
      else {
        using conn = await Deno.connect({ port: portOf(server.addr) });
        if (sent > 0) await conn.write(bytes);
      }
      const event = await ended;
      if (!reset) {
        assert(event.type === "closed");
        assertEquals(event.end.clean, sent % frame.length === 0);
      }
      assertEquals(await witness.request(sent), sent);
    }
  }
  assertEquals(server.connections.size, 1);
});

faultTest("serve() reports balanced events, with counts", async () => {
  const log = eventLog();
  const server = serve({ ...LOCAL, onEvent: log.onEvent }, echo);
  for (let i = 0; i < 3; i++) {
    await using client = await connect(server.addr);
    await client.request("x");
  }
  await server.shutdown();
  const types = log.events.map(({ type }) => type).sort();
  assertEquals(types, [
    "closed",
    "closed",
    "closed",
    "connected",
    "connected",
    "connected",
    "draining",
    "listening",
  ]);
  for (const event of log.events) {
    if (event.type !== "closed") continue;
    assertEquals(event.end, { clean: true });
    assertEquals(event.connection.stats(), {
      messagesReceived: 1,
      messagesSent: 1,
      bytesReceived: 7,
      bytesSent: 7,
      bytesQueued: 0,
    });
  }
});

faultTest("serve() contains a hook that throws", async () => {
  await using server = serve({
    ...LOCAL,
    onEvent() {
      throw new Error("a broken log");
    },
  }, echo);
  await using client = await connect(server.addr);
  assertEquals(await client.request(1), 1);
});

faultTest(
  "serve() calls onListen with its address, and passes errors of listening on",
  async () => {
    let addr: Address | undefined;
    await using server = serve(
      { ...LOCAL, onListen: (listening) => addr = listening },
      echo,
    );
    assertEquals(addr, server.addr);
    const port = portOf(server.addr);
    assertThrows(
      () => serve({ hostname: "127.0.0.1", port }, echo),
      Deno.errors.AddrInUse,
    );
    assertThrows(
      () => serve({ hostname: "192.0.2.1", port: 0 }, echo),
      Deno.errors.AddrNotAvailable,
    );
  },
);

faultTest("serve() rejects wrong options before it opens anything", () => {
  const cases: [unknown, typeof Error, string][] = [
    [{ port: 65_536 }, RangeError, 'option "port": received 65536'],
    [{ port: 1.5 }, RangeError, 'option "port": received 1.5'],
    [{ path: "" }, TypeError, 'option "path"'],
    [{ path: "x", port: 1 }, TypeError, 'option "path" together'],
    [{ path: "x", transport: "tcp" }, TypeError, 'option "path" together'],
    [{ transport: "udp" }, TypeError, 'option "transport"'],
    [{ transport: "unix" }, TypeError, 'option "path"'],
    [{ maxConnections: 0 }, RangeError, "received 0"],
    [{ maxInFlight: 0 }, RangeError, "received 0"],
    [{ shutdownTimeout: NaN }, RangeError, "received NaN"],
    [{ maxFrameBytes: 2 ** 32 }, RangeError, "received 4294967296"],
    [{ reusePort: true }, TypeError, '"reusePort": it does not exist'],
  ];
  for (const [options, type, text] of cases) {
    const given = { ...LOCAL, ...options as ServeOptions };
    if ("path" in given || "transport" in given) {
      delete (given as ListenOptions).hostname;
      if ((options as ListenOptions).port === undefined) {
        delete (given as ListenOptions).port;
      }
    }
    assertThrows(() => serve(given, echo), type, text);
  }
  assertThrows(
    () => serve(LOCAL, undefined as never),
    TypeError,
    'argument "handler": received undefined',
  );
});

faultTest(
  "serve() and listen() reject options of a wrong type before they open anything",
  () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    listener.close();
    const wrong: [string, unknown[], string][] = [
      ["hostname", [null, 1, false], "a string"],
      ["tls", [null, false, true, 0, ""], "an object"],
      ["authenticate", [null, false, 0, ""], "a function or what"],
      ["signal", [null, {}, new AbortController()], "an AbortSignal"],
      ["onEvent", [null, {}, true], "a function"],
    ];
    const ofServe: typeof wrong = [
      ["onListen", [null, {}, "log"], "a function"],
      ["onError", [null, {}, "reply"], "a function"],
      ["shutdownTimeout", [null, "1"], "Infinity or a whole number"],
      ["port", [null], "a whole number"],
    ];
    for (const [name, values, expected] of [...wrong, ...ofServe]) {
      for (const value of values) {
        const options = { hostname: "127.0.0.1", port, [name]: value };
        // Whatever was passed for these two may be a secret.
        const received = /^(tls|authenticate)$/.test(name)
          ? kindOf(value)
          : show(value);
        const pattern = new RegExp(
          `^Cannot use option "${name}": received ${received}, expected ${expected}.*$`,
        );
        const errors = [assertThrows(() => serve(options, echo), Error)];
        if (!ofServe.some(([only]) => only === name)) {
          errors.push(assertThrows(() => listen(options), Error));
        }
        for (const error of errors) {
          assertMatch(error.message, pattern);
          assertInstanceOf(error, TypeError);
        }
      }
    }
    Deno.listen({ hostname: "127.0.0.1", port }).close();
  },
);

faultTest(
  "shutdown() lets handlers finish, sends their replies, and frees the port",
  async () => {
    const asked = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    const server = serve(LOCAL, async (message) => {
      asked.resolve();
      await gate.promise;
      return message;
    });
    const idle = await connect(server.addr);
    const client = await connect(server.addr);
    const reply = client.request("in flight");
    await asked.promise;
    const shutdown = server.shutdown();
    assertEquals(server.shutdown(), shutdown);
    assertEquals((await idle[Symbol.asyncIterator]().next()).done, true);
    await assertRejects(
      () => connect(server.addr),
      Deno.errors.ConnectionRefused,
    );
    gate.resolve();
    assertEquals(await reply, "in flight");
    await shutdown;
    await server.finished;
    for (let i = 0; i < 100; i++) {
      const again = serve(
        { hostname: "127.0.0.1", port: portOf(server.addr) },
        echo,
      );
      await again.shutdown();
    }
    await Promise.all([idle.close(), client.close()]);
  },
);

faultTest("shutdown() aborts what is left after shutdownTimeout", async () => {
  const asked = Promise.withResolvers<void>();
  const server = serve({ ...LOCAL, shutdownTimeout: 1 }, () => {
    asked.resolve();
    return new Promise(() => {});
  });
  await using client = await connect(server.addr);
  const reply = assertRejects(() => client.request(1), ConnectionClosedError);
  await asked.promise;
  const [connection] = server.connections;
  await server.shutdown();
  const { clean, cause } = await connection.closed;
  assert(!clean);
  assertInstanceOf(cause, DOMException);
  assertEquals(cause.name, "TimeoutError");
  await reply;
});

faultTest(
  "shutdown() is what aborting the signal does, also before the start",
  async () => {
    const controller = new AbortController();
    const server = serve({ ...LOCAL, signal: controller.signal }, echo);
    await using client = await connect(server.addr);
    assertEquals(await client.request(1), 1);
    controller.abort();
    await server.finished;
    await serve({ ...LOCAL, signal: controller.signal }, echo).finished;
  },
);

faultTest(
  "serve() accepts no more than maxConnections, and the next when one leaves",
  async () => {
    const log = eventLog();
    await using server = serve(
      { ...LOCAL, maxConnections: 2, onEvent: log.onEvent },
      echo,
    );
    const [first, second, third] = await Promise.all(
      [1, 2, 3].map(() => connect(server.addr)),
    );
    assertEquals(await Promise.all([first.request(1), second.request(2)]), [
      1,
      2,
    ]);
    const waiting = third.request(3);
    assertEquals(server.connections.size, 2);
    await first.close();
    assertEquals(await waiting, 3);
    assertEquals(server.connections.size, 2);
    await Promise.all([second.close(), third.close()]);
  },
);

/** A listener whose first calls of `accept` fail, and how it recovers. */
function failingListener(
  failures: Error[],
  options: ListenOptions,
  recover: (signal: AbortSignal) => Promise<void> = () => Promise.resolve(),
): Listener {
  return makeListener({ ...LOCAL, ...options }, (address, stale) => {
    const binding = bind(address, stale);
    const accept = () => {
      const failure = failures.shift();
      return failure === undefined ? binding.accept() : Promise.reject(failure);
    };
    return { ...binding, accept, recover };
  });
}

/** Never resolves before the listener is closed. */
function untilClosed(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve())
  );
}

faultTest(
  "listen() outlives errors of accepting, with a pause after each",
  async () => {
    const kinds = [
      new Deno.errors.PermissionDenied("EPERM"),
      Object.assign(new Error("Too many open files"), { code: "EMFILE" }),
      new Error("generic"),
    ];
    const failures = Array.from({ length: 10 }, (_, i) => kinds[i % 3]);
    const log = eventLog();
    let pauses = 0;
    using listener = failingListener(
      [...failures],
      { onEvent: log.onEvent },
      () => Promise.resolve(void pauses++),
    );
    await using client = await connect(listener.addr);
    await using connection = await listener.accept();
    await connection.send("served");
    assertEquals((await client[Symbol.asyncIterator]().next()).value, "served");
    assertEquals(
      log.events.flatMap((event) =>
        event.type === "failed" ? [event.error] : []
      ),
      failures,
    );
    assertEquals(pauses, failures.length);
  },
);

faultTest(
  "listen() accepts the next at once when a peer left before it was accepted",
  async () => {
    const log = eventLog();
    using listener = failingListener(
      [new Deno.errors.NotConnected("gone"), new Deno.errors.ConnectionReset()],
      { onEvent: log.onEvent },
      untilClosed,
    );
    await using client = await connect(listener.addr);
    await using connection = await listener.accept();
    assertEquals(connection.remoteAddr, client.localAddr);
    assertEquals(log.events.map(({ type }) => type), [
      "listening",
      "failed",
      "failed",
      "connected",
    ]);
  },
);

faultTest("close() ends every wait for a free slot", async () => {
  const listener = listen({ ...LOCAL, maxConnections: 1 });
  await using client = await connect(listener.addr);
  await using _connection = await listener.accept();
  const waiting = [1, 2].map(() =>
    assertRejects(() => listener.accept(), Deno.errors.BadResource)
  );
  listener.close();
  await Promise.all(waiting);
  assertEquals(client.stats().messagesReceived, 0);
});

faultTest("close() ends the pause after an error of accepting", async () => {
  const log = eventLog();
  const listener = failingListener(
    [new Error("generic")],
    { onEvent: log.onEvent },
    untilClosed,
  );
  const failed = log.next("failed");
  const accepting = assertRejects(
    () => listener.accept(),
    Deno.errors.BadResource,
  );
  await failed;
  listener.close();
  await accepting;
});

faultTest(
  "listen() gives connections one by one, and ends quietly when closed",
  async () => {
    const listener = listen(LOCAL);
    const serving = (async () => {
      const seen: unknown[] = [];
      for await (const connection of listener) {
        for await (const message of connection) {
          seen.push(message);
          await connection.send(message);
        }
        await connection.close();
      }
      return seen;
    })();
    for (const text of ["a", "b"]) {
      await using client = await connect(listener.addr);
      assertEquals(await client.request(text), text);
    }
    listener.close();
    listener.close();
    assertEquals(await serving, ["a", "b"]);
    await assertRejects(() => listener.accept(), Deno.errors.BadResource);
  },
);

faultTest(
  "listen() closes when its iteration is left or its signal aborts",
  async () => {
    const first = listen(LOCAL);
    const client = await connect(first.addr);
    for await (const connection of first) {
      await connection.close();
      break;
    }
    await client.close();
    await assertRejects(
      () => connect(first.addr),
      Deno.errors.ConnectionRefused,
    );

    const controller = new AbortController();
    const second = listen({ ...LOCAL, signal: controller.signal });
    const iterating = Array.fromAsync(second);
    controller.abort();
    assertEquals(await iterating, []);
  },
);

faultTest(
  "unref() lets the process end, whether it is called before or after a peer connects, and ref() keeps it",
  async () => {
    for (
      const [before, after, code] of [
        ["server.unref()", "client.unref()", 0],
        ["", "server.unref(); client.unref()", 0],
        ["server.unref(); server.ref()", "client.unref()", 7],
      ] as const
    ) {
      const { code: status } = await new Deno.Command(Deno.execPath(), {
        args: [
          "eval",
          `--config=${new URL("../deno.json", import.meta.url).pathname}`,
          `
          import { connect, serve } from "${new URL(
            "../mod.ts",
            import.meta.url,
          )}";
          const server = serve({ hostname: "127.0.0.1", port: 0 }, (m) => m);
          ${before};
          const client = await connect(server.addr);
          await client.request(1);
          ${after};
          // Ends a process that does not end by itself.
          Deno.unrefTimer(setTimeout(() => Deno.exit(7), 300));
        `,
        ],
        stdin: "null",
      }).output();
      assertEquals(status, code, `${before} ${after}`);
    }
  },
);

faultTest("Connection takes a Deno.Conn as it is", async () => {
  await using server = serve(LOCAL, echo);
  await using client = fromDuplex(
    await Deno.connect({ port: portOf(server.addr) }),
  );
  assertEquals(await client.request("by hand"), "by hand");
});
