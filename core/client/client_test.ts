import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { Clock, delay, faultTest, until } from "../../tests/ledger.ts";
import {
  type MemoryEnd,
  memoryPair,
  socketOf,
} from "../../tests/memory_pair.ts";
import { waitersOf } from "../../tests/listeners.ts";
import { FrameTooLargeError, InvalidMessageError } from "../../framing.ts";
import {
  AuthenticationError,
  BackpressureError,
  type Connection,
  ConnectionClosedError,
  fromDuplex,
  linkOf,
} from "../connection/connection.ts";
import type { Socket } from "../platform/platform.ts";
import { TlsError } from "../tls/tls.ts";
import { ReconnectingClient } from "./client.ts";
import type { ClientEvent } from "./contract.ts";
import type { ClientOptions } from "./options.ts";
import { echoAll } from "../../tests/peers.ts";

const NEVER = {
  idleTimeout: Infinity,
  frameTimeout: Infinity,
  writeTimeout: Infinity,
};

/** Comes back at once. */
const AT_ONCE = { maxRetryDelay: 1 };

/** Servers in memory: what dialing comes to, one after the other. */
class Servers {
  /** What goes wrong with the next attempts; with others, nothing. */
  readonly failures: unknown[] = [];
  /** The far ends of the connections so far. */
  readonly peers: Connection[] = [];
  readonly ends: MemoryEnd[] = [];
  readonly events: ClientEvent[] = [];
  onEvent: ((event: ClientEvent) => void) | undefined;
  attempts = 0;
  /** What each sends to begin with. */
  greeting: string | undefined;
  /** Whether the links take nothing. */
  isFull = false;
  /** Where attempts wait, if they shall. */
  gate: Promise<void> | undefined;

  client(options: ClientOptions = {}): ReconnectingClient {
    return new ReconnectingClient({
      ...AT_ONCE,
      ...options,
      onEvent: (event) => {
        this.events.push(event);
        this.onEvent?.(event);
      },
    }, (_endpoint, { signal }) => this.#dial(signal));
  }

  async #dial(signal: AbortSignal | undefined): Promise<Socket> {
    signal?.throwIfAborted();
    this.attempts++;
    await this.gate;
    signal?.throwIfAborted();
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
    const [near, far] = memoryPair();
    if (this.isFull) near.hold();
    // Nobody closes it, so nothing may wait for it.
    const peer = fromDuplex(far, NEVER);
    this.ends.push(near);
    this.peers.push(peer);
    if (this.greeting !== undefined) peer.send(this.greeting);
    return socketOf(near);
  }

  /** The delays that the client has waited, or would have. */
  get delays(): number[] {
    return this.events.flatMap((event) =>
      event.type === "connecting" ? [event.delay] : []
    );
  }

  /** A client whose servers are away until the function is called. */
  async lostClient(
    options: ClientOptions = {},
  ): Promise<{ client: ReconnectingClient; comeBack: () => void }> {
    const client = await this.client(options).open();
    const gate = Promise.withResolvers<void>();
    this.gate = gate.promise;
    this.cut();
    await (await client.connected()).closed;
    return { client, comeBack: gate.resolve };
  }

  /** Breaks the connection that was made last. */
  cut(): void {
    this.ends.at(-1)?.cut();
  }
}

/** Runs with numbers that are not random. */
async function withRandom(
  number: number,
  run: () => Promise<void>,
): Promise<void> {
  const { random } = Math;
  Math.random = () => number;
  try {
    await run();
  } finally {
    Math.random = random;
  }
}

faultTest(
  "Client makes its first connection as every later one: what may pass is tried again, and told",
  () =>
    withRandom(0.01, async () => {
      const servers = new Servers();
      const failures = [
        new Deno.errors.ConnectionRefused("refused"),
        new Deno.errors.NotFound("no such socket"),
        new DOMException("no answer", "TimeoutError"),
        new AuthenticationError("later", { mayRetry: true }),
        new TlsError("the peer left", { mayRetry: true }),
        new Error("failed to lookup address information: Temporary failure"),
      ];
      servers.failures.push(...failures);
      const client = servers.client({ maxRetryDelay: 400 });
      assertStrictEquals(await client.open(), client);
      assertEquals(
        servers.events.flatMap((event) =>
          event.type === "failed" ? [event.error] : []
        ),
        failures,
      );
      assertEquals(servers.delays, [0, 1, 2, 4, 4, 4, 4]);
      assertEquals(client.stats().failed, failures.length);
      assertEquals(client.stats().connected, 1);
      await client.close();
    }),
);

/** What no other attempt would change. */
const FINAL = [
  new Deno.errors.NotCapable("not allowed"),
  new Deno.errors.PermissionDenied("not allowed"),
  new AuthenticationError("the server refused"),
  new TlsError("the certificate is not trusted"),
  new TypeError("a mistake"),
  new RangeError("a number out of range"),
  new URIError("no host"),
  new Error("failed to lookup address information: Name or service not known"),
  new Error("No such host is known. (os error 11001)"),
];

faultTest(
  "Client rejects where the first connection fails for good",
  async () => {
    for (const error of FINAL) {
      const servers = new Servers();
      servers.failures.push(new Error("refused"), error);
      const client = servers.client();
      assertStrictEquals(
        await assertRejects(() => client.open(), Error),
        error,
      );
      assertEquals(servers.attempts, 2);
      assertEquals((await client.closed).cause, error);
      await assertRejects(() => client.request(1), ConnectionClosedError);
    }
  },
);

faultTest(
  "Client tries again after its longest delay where a later connection fails for good",
  () =>
    withRandom(0, async () => {
      for (const error of FINAL) {
        const servers = new Servers();
        await using client = await servers.client({ maxRetryDelay: 3 }).open();
        servers.failures.push(error, new Error("refused"), error);
        servers.cut();
        await (await client.connected()).closed;
        const reply = client.request(1);
        await client.connected();
        assertEquals(await take(servers.peers[1], 1), [1]);
        servers.peers[1].send("served");
        assertEquals(await reply, "served");
        assertEquals(servers.delays, [0, 0, 3, 0, 3]);
      }
    }),
);

faultTest(
  "Client gives up its first connection with its signal, and hears no more of it then",
  async () => {
    const servers = new Servers();
    const gate = Promise.withResolvers<void>();
    servers.gate = gate.promise;
    const controller = new AbortController();
    const reason = new Error("enough");
    const client = servers.client();
    const opening = assertRejects(() => client.open(controller.signal), Error);
    await until(() => servers.attempts === 1, "it does not connect");
    controller.abort(reason);
    gate.resolve();
    assertStrictEquals(await opening, reason);
    assertEquals(waitersOf(controller.signal), 0);
    assert(client.signal.aborted);

    const later = new AbortController();
    await using other = await servers.client().open(later.signal);
    assertEquals(waitersOf(later.signal), 0);
    later.abort(reason);
    assertEquals(linkOf(await other.connected()).isOver, false);
  },
);

faultTest(
  "Client.connected() gives the open connection, and makes one for all who wait",
  async () => {
    const servers = new Servers();
    await using client = await servers.client().open();
    const first = await client.connected();
    assertStrictEquals(await client.connected(), first);
    servers.cut();
    await first.closed;
    const [one, other] = await Promise.all([
      client.connected(),
      client.connected(),
    ]);
    assert(one !== first);
    assertStrictEquals(one, other);
    assertEquals(servers.attempts, 2);
  },
);

faultTest(
  "Client waits up to twice as long before each attempt, and no longer than maxRetryDelay",
  () =>
    withRandom(0.02, async () => {
      const servers = new Servers();
      await using client = await servers.client({ maxRetryDelay: 600 }).open();
      servers.failures.push(...Array(5).fill(new Error("refused")));
      servers.cut();
      await (await client.connected()).closed;
      await client.connected();
      assertEquals(servers.delays, [0, 2, 4, 8, 12, 12, 12]);
    }),
);

faultTest(
  "Client draws its delays from all between nothing and the most",
  async () => {
    for (const number of [0, 0.25, 0.999]) {
      await withRandom(number, async () => {
        const servers = new Servers();
        await using client = await servers.client({ maxRetryDelay: 20 }).open();
        servers.cut();
        await (await client.connected()).closed;
        await client.connected();
        assertEquals(servers.delays, [0, Math.round(20 * number)]);
      });
    }
  },
);

faultTest(
  "Client goes on with longer delays after a connection that was short, and anew after one that lasted longer than maxRetryDelay",
  () =>
    withRandom(0.01, async () => {
      const { now } = performance;
      let time = 0;
      performance.now = () => time;
      try {
        const servers = new Servers();
        const options = { maxRetryDelay: 60_000 };
        await using client = await servers.client(options).open();
        for (const lifetime of [60_000, 60_000, 60_001, 1]) {
          const connection = await client.connected();
          time += lifetime;
          servers.cut();
          await connection.closed;
        }
        await client.connected();
        assertEquals(servers.delays, [0, 1, 2, 1, 2]);
      } finally {
        performance.now = now;
      }
    }),
);

faultTest(
  "Client begins anew with its delays after a connection over which a request was answered",
  () =>
    withRandom(0.01, async () => {
      const servers = new Servers();
      servers.greeting = "you are in";
      const options = { maxRetryDelay: 60_000 };
      await using client = await servers.client(options).open();
      // A server that greets and leaves has not served.
      for (const answers of [false, false, true, true, false]) {
        const connection = await client.connected();
        await until(
          () => connection.stats().messagesReceived > 0,
          "it is not greeted",
        );
        const peer = servers.peers.at(-1)!;
        if (answers) {
          const serving = echoAll(peer);
          assertEquals(await client.request("a request"), "a request");
          servers.cut();
          await serving.catch(() => {});
        } else servers.cut();
        await connection.closed;
      }
      await client.connected();
      assertEquals(servers.delays, [0, 1, 2, 1, 1, 2]);
    }),
);

faultTest(
  "Client.connected() gives up with its signal, and others wait on",
  async () => {
    const servers = new Servers();
    await using client = await servers.client().open();
    servers.cut();
    await (await client.connected()).closed;
    const gate = Promise.withResolvers<void>();
    servers.gate = gate.promise;
    const controller = new AbortController();
    const { signal } = controller;
    const reason = new Error("enough");
    const one = assertRejects(() => client.request(1, { signal }), Error);
    const other = client.connected();
    controller.abort(reason);
    assertStrictEquals(await one, reason);
    gate.resolve();
    await other;
    assertStrictEquals(
      await assertRejects(() => client.connected({ signal }), Error),
      reason,
    );
    assertEquals(servers.attempts, 2);
  },
);

faultTest(
  "Client.close() ends the wait for the next attempt at once",
  () =>
    withRandom(0.99, async () => {
      const servers = new Servers();
      const client = await servers.client({ maxRetryDelay: 60_000 }).open();
      servers.failures.push(new Deno.errors.NotCapable("not allowed"));
      servers.cut();
      await (await client.connected()).closed;
      const waiting = assertRejects(
        () => client.request(1),
        ConnectionClosedError,
        "Cannot connect: the client is closed",
      );
      await until(() => servers.delays.length === 3, "it does not wait");
      assertEquals(servers.delays, [0, 99, 60_000]);
      await client.close();
      await waiting;
      assertEquals(servers.attempts, 2);
    }),
);

faultTest(
  "Client.close() ends an attempt, also where that succeeds too late",
  async () => {
    const servers = new Servers();
    const client = await servers.client().open();
    servers.cut();
    await (await client.connected()).closed;
    const gate = Promise.withResolvers<void>();
    servers.gate = gate.promise;
    const waiting = assertRejects(
      () => client.connected(),
      ConnectionClosedError,
    );
    while (servers.attempts < 2) await delay(1);
    await client.close();
    gate.resolve();
    await waiting;
    await assertRejects(() => client.connected(), ConnectionClosedError);
    await assertRejects(() => client.send(1), ConnectionClosedError);
    await client.close();
    assert(client.signal.aborted);
    assertEquals(servers.attempts, 2);
  },
);

faultTest(
  "Client keeps no connection that comes while it is closed",
  async () => {
    const servers = new Servers();
    const client = await servers.client().open();
    // As `close` may be called by whoever hears of the connection first.
    servers.onEvent = ({ type }) => {
      if (type === "connected") client.close();
    };
    servers.cut();
    await (await client.connected()).closed;
    await assertRejects(() => client.connected(), ConnectionClosedError);
    assert(servers.ends[1].closed > 0);
  },
);

faultTest(
  "Client.request() sends a message once, and rejects when the connection is lost",
  async () => {
    const servers = new Servers();
    await using client = await servers.client().open();
    const lost = assertRejects(
      () => client.request("once"),
      ConnectionClosedError,
    );
    const [first] = servers.peers;
    const next = await first[Symbol.asyncIterator]().next();
    assertEquals(next.value, "once");
    servers.cut();
    await lost;
    const reply = client.request("again");
    while (servers.peers.length < 2) await delay(1);
    const [, second] = servers.peers;
    const serving = echoAll(second);
    assertEquals(await reply, "again");
    assertEquals(second.stats().messagesReceived, 1);
    await client.send("and again");
    await client.close();
    await serving;
  },
);

faultTest(
  "Client gives each connection to who iterates, until it is closed",
  async () => {
    const servers = new Servers();
    const client = await servers.client().open();
    const seen: Connection[] = [];
    for await (const connection of client) {
      seen.push(connection);
      if (seen.length === 3) client.close();
      else servers.cut();
    }
    assertEquals(new Set(seen).size, 3);
    for await (const _connection of client) assert(false);
  },
);

faultTest(
  "Client notices that its connection is lost while nobody waits for a message",
  async () => {
    const servers = new Servers();
    await using client = await servers.client().open();
    const first = await client.connected();
    await servers.peers[0].close();
    assertEquals(await first.closed, { clean: true });
    assert(await client.connected() !== first);
  },
);

/** The next so many messages. */
async function take(peer: Connection, count: number): Promise<unknown[]> {
  const messages: unknown[] = [];
  for await (const message of peer) {
    if (messages.push(message) === count) break;
  }
  return messages;
}

faultTest(
  "Client sends what waits as it was at the call, in the order of the calls, before anything new",
  async () => {
    const servers = new Servers();
    const { client, comeBack } = await servers.lostClient();
    const message = { number: 0 };
    const replies: Promise<unknown>[] = [];
    for (let i = 1; i <= 6; i++) {
      message.number = i;
      if (i % 3 === 0) client.send(message);
      else replies.push(client.request(message));
    }
    // A number that a double has no room for.
    const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };
    client.send([rawJSON("12345678901234567890"), -0, 1e21, "\ud800"]);
    const connected = client.connected();
    connected.then((connection) => connection.send("new"));
    connected.then(() => client.send("newer"));
    comeBack();
    await connected;
    const [, peer] = servers.peers;
    assertEquals(await take(peer, 9), [
      ...[1, 2, 3, 4, 5, 6].map((number) => ({ number })),
      [12345678901234567890, 0, 1e21, "\ud800"],
      "new",
      "newer",
    ]);
    const written = servers.ends[1].writes.map((bytes) =>
      new TextDecoder().decode(bytes)
    ).join("");
    assert(written.includes('[12345678901234567890,0,1e+21,"\\ud800"]'));
    for (const number of [1, 2, 4, 5]) peer.send(number);
    assertEquals(await Promise.all(replies), [1, 2, 4, 5]);
    await client.close();
  },
);

faultTest(
  "Client refuses at the call what cannot be sent, and what is too much",
  async () => {
    const servers = new Servers();
    const { client, comeBack } = await servers.lostClient({
      maxQueuedBytes: 14_000,
      maxFrameBytes: 5_000,
    });
    for (const name of ["send", "request"] as const) {
      for (const wrong of [1n, undefined, () => {}]) {
        await assertRejects(
          () => client[name](wrong),
          InvalidMessageError,
        );
      }
      const large = "x".repeat(5_000);
      await assertRejects(() => client[name](large), FrameTooLargeError);
    }
    assertEquals(servers.attempts, 1);
    // Like a connection, it takes what comes while no more waits than the limit;
    // each message counts 2 KiB more.
    const texts = ["a", "b", "c"].map((text) => text.repeat(4_000));
    const sent = texts.map((text) => client.send(text));
    const refused = await assertRejects(
      () => client.request(1),
      BackpressureError,
    );
    assertEquals([refused.queued, refused.limit], [18_162, 14_000]);
    comeBack();
    await Promise.all(sent);
    await client.send("next");
    assertEquals(await take(servers.peers[1], 4), [...texts, "next"]);
    await client.close();
  },
);

faultTest("Client counts the memory of a text that waits", async () => {
  const servers = new Servers();
  const { client, comeBack } = await servers.lostClient({
    maxQueuedBytes: 12_000,
  });
  const texts = ["é".repeat(1_000), `${"x".repeat(4_000)}€`];
  const sent = texts.map((text) => client.send(text));
  const { queued } = await assertRejects(
    () => client.send(1),
    BackpressureError,
  );
  // A prefix, quotes and 2 KiB beside each.
  assertEquals(queued, (4 + 1_002 + 2_048) + (4 + 2 * 4_003 + 2_048));
  comeBack();
  await Promise.all(sent);
  assertEquals(await take(servers.peers[1], 2), texts);
  await client.close();
});

faultTest(
  "Client bounds the number of small messages that wait, and whoever gives up makes room",
  async () => {
    const servers = new Servers();
    const options = { maxQueuedBytes: 64_000 };
    const { client, comeBack } = await servers.lostClient(options);
    const controller = new AbortController();
    const { signal } = controller;
    const replies = Array.from(
      { length: 32 },
      (_, i) => client.request(i, { signal }),
    );
    await assertRejects(() => client.send(1), BackpressureError);
    const reason = new Error("enough");
    controller.abort(reason);
    for (const reply of replies) {
      assertStrictEquals(await assertRejects(() => reply, Error), reason);
    }
    assertEquals(waitersOf(signal), 0);
    client.send("last");
    comeBack();
    await client.connected();
    assertEquals(await take(servers.peers[1], 1), ["last"]);
    await client.close();
  },
);

faultTest(
  "Client sends what a lost link has not taken over the next one, and nothing twice",
  async () => {
    const servers = new Servers();
    servers.isFull = true;
    const { client, comeBack } = await servers.lostClient();
    const texts = Array.from({ length: 10 }, (_, i) => `${i}`.repeat(16_400));
    const sent = texts.map((text) => client.send(text));
    comeBack();
    const second = await client.connected();
    assertEquals(second.stats().messagesSent, 4);
    // What is new waits behind the others.
    const last = client.send("last");
    servers.isFull = false;
    servers.cut();
    await second.closed;
    await client.connected();
    const [, , third] = servers.peers;
    assertEquals(await take(third, 7), [...texts.slice(4), "last"]);
    const outcomes = await Promise.allSettled([...sent, last]);
    assertEquals(outcomes.map(({ status }) => status), [
      ...Array(3).fill("fulfilled"), // no more than the high-water mark waited
      "rejected",
      ...Array(7).fill("fulfilled"),
    ]);
    await client.close();
  },
);

faultTest(
  "Client.close() lets what an open link has not taken yet leave, and rejects what has none",
  async () => {
    const servers = new Servers();
    servers.isFull = true;
    const { client, comeBack } = await servers.lostClient();
    const texts = Array.from({ length: 10 }, (_, i) => `${i}`.repeat(16_400));
    for (const text of texts) client.send(text);
    const lost = assertRejects(
      () => client.request("last"),
      ConnectionClosedError,
      "Cannot receive reply",
    );
    comeBack();
    await client.connected();
    const closing = client.close();
    await lost;
    servers.ends[1].release();
    assertEquals(await take(servers.peers[1], 11), [...texts, "last"]);
    servers.peers[1].close();
    await closing;

    const other = await new Servers().lostClient();
    const reply = assertRejects(
      () => other.client.request(1),
      ConnectionClosedError,
      "Cannot connect: the client is closed",
    );
    await other.client.close();
    await reply;
    other.comeBack();
  },
);

faultTest(
  "Client counts the wait for a connection for the timeout of a request, and leaves the connection the whole of it",
  // The message is sent before any timer can fire: no delay, nothing but promises.
  () =>
    withRandom(0, async () => {
      const timeout = 40;
      using clock = new Clock(timeout);
      const servers = new Servers();
      const { client, comeBack } = await servers.lostClient();
      const { signal } = new AbortController();
      const late = assertRejects(
        () => client.request("late", { timeout, signal }),
        DOMException,
        "Cannot receive reply: timed out after 40 ms (timeout)",
      );
      comeBack();
      const connection = await client.connected();
      const [, peer] = servers.peers;
      assertEquals(await take(peer, 1), ["late"]);
      // No clock of the connection's moves.
      assertEquals((await late).name, "TimeoutError");
      assertEquals(waitersOf(signal), 0);
      clock.advance(timeout - clock.period);
      assertEquals(linkOf(connection).isOver, false);
      peer.send("too late");
      const reply = client.request("next");
      assertEquals(await take(peer, 1), ["next"]);
      peer.send("in time");
      assertEquals(await reply, "in time");
      await client.close();
    }),
);

faultTest("Client rejects wrong options", () => {
  const servers = new Servers();
  const cases: [unknown, typeof Error, string][] = [
    [{ maxRetryDelay: 0 }, RangeError, '"maxRetryDelay": received 0'],
    [{ maxRetryDelay: NaN }, RangeError, '"maxRetryDelay": received NaN'],
    [{ maxRetryDelay: Infinity }, RangeError, "received Infinity"],
    [{ reconnect: true }, TypeError, '"reconnect": it does not exist'],
  ];
  for (const [options, type, text] of cases) {
    assertThrows(() => servers.client(options as ClientOptions), type, text);
  }
});

Deno.test("Client makes one connection where a hook sends as the client begins to connect", async () => {
  const servers = new Servers();
  const client = await servers.client().open();
  const first = await client.connected();
  servers.onEvent = ({ type }) => {
    if (type === "connecting") client.send("from the hook");
  };
  servers.ends[0].cut();
  await until(() => linkOf(first).isOver, "the loss is not noticed");
  await client.send("from the caller");
  await client.connected();
  assertEquals(servers.delays.length, 2);
  await client.close();
});

faultTest(
  "Client.closed resolves when all is closed, and Client.stats() adds up its connections",
  async () => {
    const servers = new Servers();
    const client = await servers.client().open();
    const { closed } = client;
    let end: unknown;
    closed.then((value) => end = value);
    for (let i = 1; i <= 2; i++) {
      const connection = await client.connected();
      const serving = echoAll(servers.peers.at(-1)!);
      assertEquals(await client.request(i), i);
      if (i === 2) break;
      servers.cut();
      await connection.closed;
      await serving.catch(() => {});
    }
    assertEquals(client.stats(), {
      connected: 2,
      failed: 0,
      messagesReceived: 2,
      messagesSent: 2,
      bytesReceived: 10,
      bytesSent: 10,
      bytesQueued: 0,
    });
    assertEquals(end, undefined);
    await client.close();
    assertEquals(await closed, { clean: true });
    assertEquals(client.stats().messagesSent, 2);
    assertEquals(
      servers.events.map(({ type }) => type),
      [
        "connecting",
        "connected",
        "closed",
        "connecting",
        "connected",
        "closed",
      ],
    );
  },
);

faultTest(
  "Client.request() rejects with a stack that leads to its caller, where it waits for a connection, too",
  () =>
    withRandom(0, async () => {
      const servers = new Servers();
      const { client, comeBack } = await servers.lostClient();
      async function theCaller(timeout: number): Promise<void> {
        await client.request("late", { timeout });
      }
      const waiting = await assertRejects(() => theCaller(1), DOMException);
      assert(waiting.stack?.includes("theCaller"), waiting.stack);
      const sent = assertRejects(() => theCaller(20), DOMException);
      comeBack();
      assertEquals(await take(await nextPeer(servers), 1), ["late"]);
      const { stack, message } = await sent;
      assertEquals(
        message,
        "Cannot receive reply: timed out after 20 ms (timeout)",
      );
      assert(stack?.includes("theCaller"), stack);
      await client.close();
    }),
);

/** The far end of the second connection. */
async function nextPeer(servers: Servers): Promise<Connection> {
  await until(() => servers.peers.length === 2, "it does not connect");
  return servers.peers[1];
}
