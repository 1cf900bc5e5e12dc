/** Accepting connections, and handing them to a function. */
import {
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import {
  type Address,
  connect,
  type Connection,
  ConnectionClosedError,
  type JsonValue,
  listen,
  serve,
  type ServerEvent,
} from "../mod.ts";
import { faultTest, settled, until } from "./ledger.ts";
import {
  connectResetter,
  frame,
  LOCAL,
  Peer,
  portOf,
  prefix,
} from "./peers.ts";
import { Reports } from "./reports.ts";

/** What each peer does that harms its own connection alone. */
const HARM: Record<string, Uint8Array> = {
  "is late with half a length": new Uint8Array(2),
  "stops inside a frame": Uint8Array.of(...prefix(100), 0x22),
  "announces too much": prefix(2 ** 30),
  "sends what is not JSON": frame("no!"),
  "sends what is not UTF-8": frame(Uint8Array.of(0x22, 0xff, 0x22)),
};

faultTest(
  "listen() closes a connection when its handler is done, and ends no more than the connection of a peer that breaks it",
  async () => {
    using reports = new Reports();
    const events: ServerEvent[] = [];
    await using server = listen({
      ...LOCAL,
      onEvent: (event) => void events.push(event),
    }, async (connection) => {
      for await (const message of connection) await connection.send(message);
    });
    await using honest = await connect(server.addr);
    for (const [name, bytes] of Object.entries(HARM)) {
      using peer = await Peer.connect(server.addr);
      await peer.write(Uint8Array.of(...frame('"first"'), ...bytes));
      assertEquals(await peer.take(1), ["first"], name);
      await peer.conn.closeWrite();
      await settled(peer.ended(), name);

      const resetter = await connectResetter(server.addr);
      await resetter.write(bytes);
      await resetter.reset();
      assertEquals(await honest.request(name), name);
    }
    await until(() => server.connections.size === 1, "connections are open");
    const ends = events.filter(({ type }) => type === "closed");
    assertEquals(ends.length, 2 * Object.keys(HARM).length);
    assertEquals(reports.errors, []);
  },
);

faultTest(
  "listen() reports what a handler throws that is no failure of its link, and closes the connection",
  async () => {
    using reports = new Reports();
    const failures: (() => unknown)[] = [
      () => {
        throw new Error("a mistake");
      },
      () => Promise.reject(new Error("a mistake")),
    ];
    for (const handler of failures) {
      await using server = listen(LOCAL, handler);
      using peer = await Peer.connect(server.addr);
      await settled(peer.ended(), "the connection is open");
    }
    assertEquals(reports.errors.map(String), [
      "Error: a mistake",
      "Error: a mistake",
    ]);
    reports.errors.length = 0;
    await using server = listen(LOCAL, (connection) => connection.send(1n));
    using peer = await Peer.connect(server.addr);
    await settled(peer.ended(), "the connection is open");
    assertStringIncludes(String(reports.errors[0]), "InvalidMessageError");
  },
);

faultTest(
  "listen() with a handler shuts down when the handlers are done",
  async () => {
    const server = listen(LOCAL, async (connection) => {
      const messages = await Array.fromAsync(connection);
      await connection.send(messages.length);
    });
    await using client = await connect(server.addr);
    await client.send(1);
    await client.send(2);
    const [connection] = await settled(
      (async () => {
        await until(
          () => [...server.connections][0]?.stats().messagesReceived === 2,
          "the messages did not come",
        );
        return server.connections;
      })(),
      "the messages did not come",
    );
    const rest = Array.fromAsync(client);
    await server.shutdown();
    assertEquals(await rest, [2]);
    assertEquals(await connection.closed, { clean: true });
  },
);

faultTest(
  "listen() with a handler that answers all at once loses no reply to a peer that half-closes",
  async () => {
    const gate = Promise.withResolvers<void>();
    await using server = listen(LOCAL, async (connection) => {
      const replies: Promise<void>[] = [];
      for await (const message of connection) {
        replies.push(gate.promise.then(() => connection.send(message)));
      }
      gate.resolve();
      await Promise.all(replies);
    });
    await using client = await connect(server.addr);
    for (const message of [1, 2, 3]) await client.send(message);
    await client.closeWrite();
    assertEquals(await Array.fromAsync(client), [1, 2, 3]);
  },
);

faultTest(
  "send() says that the handler of listen() is done, is not reported, and says so of no link that broke",
  async () => {
    using reports = new Reports();
    const kept: Connection[] = [];
    await using server = listen(LOCAL, (connection) => {
      kept.push(connection);
    });
    await using client = await connect(server.addr);
    assertEquals(await Array.fromAsync(client), []);
    const text = "Cannot send message: the connection's handler has returned";
    for (const _ of ["at once", "ended"]) {
      const { message, clean } = await assertRejects(
        () => kept[0].send("late"),
        ConnectionClosedError,
      );
      assertEquals([message, clean], [text, true]);
      kept[0].send("to all, not awaited");
      await kept[0].closed;
    }
    const gate = Promise.withResolvers<void>();
    await using slow = listen(LOCAL, async (connection) => {
      kept.push(connection);
      await gate.promise;
    });
    await using _other = await connect(slow.addr);
    await until(() => kept.length === 2, "the handler was not called");
    kept[1].abort(new Error("broken"));
    gate.resolve();
    await assertRejects(
      () => kept[1].send("late"),
      ConnectionClosedError,
      "was aborted: broken",
    );
    assertEquals(reports.errors, []);
  },
);

faultTest("accept() can be given up, and takes no client then", async () => {
  using listener = listen(LOCAL);
  const controller = new AbortController();
  const { signal } = controller;
  const reason = new Error("given up");
  const [given, kept] = [listener.accept({ signal }), listener.accept()];
  const ended = given.catch((error) => error);
  controller.abort(reason);
  assertStrictEquals(await ended, reason);
  await assertRejects(() => listener.accept({ signal }), Error, "given up");
  await using client = await connect(listener.addr);
  await using connection = await settled(kept, "no client was accepted");
  await client.send("hello");
  await client.closeWrite();
  assertEquals(await Array.fromAsync(connection), ["hello"]);

  // What came when nobody waited goes to the next wait.
  const timeout = new AbortController();
  const late = listener.accept({ signal: timeout.signal }).catch(() => {});
  timeout.abort();
  await late;
  await using other = await connect(listener.addr);
  await using next = await settled(listener.accept(), "a client was lost");
  await other.close();
  await next.close();
  await assertRejects(
    () => listener.accept({ timeout: 1 } as never),
    TypeError,
    'option "timeout"',
  );
});

faultTest(
  "connected and closed are balanced where the link breaks when the login succeeds",
  async () => {
    // The class of the platform's sockets that has write.
    using listening = Deno.listen(LOCAL);
    using socket = await Deno.connect({
      ...LOCAL,
      port: portOf(listening.addr as Address),
    });
    let sockets: { write: Deno.TcpConn["write"] } = socket;
    while (!Object.hasOwn(sockets, "write")) {
      sockets = Object.getPrototypeOf(sockets);
    }
    const { write } = sockets;
    // One of these moments is between the verdict and what lets the peer in.
    for (let hops = 0; hops < 40; hops++) {
      const told: string[] = [];
      const question = Promise.withResolvers<number>();
      await using server = serve({
        ...LOCAL,
        async authenticate(_message, { ask }) {
          sockets.write = () => question.promise;
          const answer = ask("who are you?");
          // It is written in a microtask.
          await new Promise((resolve) => setTimeout(resolve, 0));
          sockets.write = write;
          await answer;
          let moment = Promise.resolve();
          for (let i = 0; i < hops; i++) moment = moment.then(() => {});
          moment.then(() => question.reject(new Deno.errors.BrokenPipe()));
          return true;
        },
        onEvent: ({ type }) => void told.push(type),
      }, (message: JsonValue) => message);
      using peer = await Peer.connect(server.addr);
      const bytes = frame('{"$login":"token","token":"who I am"}');
      await peer.write(bytes);
      await peer.write(frame('"an answer"'));
      await settled(peer.ended(), "the connection is open");
      await until(() => server.stats().pending === 0, "it is pending");
      const count = (type: string) => told.filter((one) => one === type).length;
      assertEquals(count("connected"), count("closed"), `${hops} hops`);
      assertEquals(server.connections.size, 0);
      assertEquals(count("connected") + count("rejected"), 1, `${hops} hops`);
    }
  },
);

faultTest(
  "unref() lets the process end in the middle of handshakes",
  async () => {
    for (const before of [true, false]) {
      const mod = new URL("../mod.ts", import.meta.url);
      const config = new URL("../deno.json", import.meta.url).pathname;
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          "eval",
          `--config=${config}`,
          `
        import { serve } from "${mod}";
        const server = serve({
          ...{ hostname: "127.0.0.1", port: 0, handshakeTimeout: 2 ** 31 - 1 },
          authenticate: () => true,
        }, (message) => message);
        ${before ? "server.unref();" : ""}
        const silent = await Deno.connect(server.addr);
        silent.unref();
        while (server.stats().pending === 0) {
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
        ${before ? "" : "server.unref();"}
        `,
        ],
        stdin: "null",
        signal: AbortSignal.timeout(30_000),
      }).output();
      assertEquals(code, 0, new TextDecoder().decode(stderr));
    }
  },
);
