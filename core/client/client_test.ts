import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { Clock, delay, faultTest, until } from "../../tests/ledger.ts";
import { type MemoryEnd, memoryPair } from "../../tests/memory_pair.ts";
import { waitersOf } from "../../tests/listeners.ts";
import { FrameTooLargeError, InvalidMessageError } from "../../framing.ts";
import {
  BackpressureError,
  type Connection,
  ConnectionClosedError,
  fromDuplex,
  linkOf,
  Settings,
} from "../connection/connection.ts";
import { Events } from "../tools/events.ts";
import { Client } from "./client.ts";
import type { ClientEvent, ReconnectOptions } from "./options.ts";
import { echoAll } from "../../tests/peers.ts";

const NEVER = {
  idleTimeout: Infinity,
  frameTimeout: Infinity,
  writeTimeout: Infinity,
};

/** Servers in memory: what dialing comes to, one after the other. */
class Servers {
  /** What goes wrong with the next attempts; with others, nothing. */
  readonly failures: unknown[] = [];
  settings = new Settings({});
  /** The far ends of the connections so far. */
  readonly peers: Connection[] = [];
  readonly ends: MemoryEnd[] = [];
  readonly events: ClientEvent[] = [];
  onEvent: ((event: ClientEvent) => void) | undefined;
  attempts = 0;
  /** A message that belongs to the login. */
  greeting: string | undefined;
  /** Whether the links take nothing. */
  isFull = false;
  /** Where attempts wait, if they shall. */
  gate: Promise<void> | undefined;

  client(
    options: ReconnectOptions = {},
    isFinal: (error: unknown) => boolean = () => false,
  ): Client {
    return new Client(
      (signal) => this.#dial(signal),
      isFinal,
      new Events("test", (event) => {
        this.events.push(event);
        this.onEvent?.(event);
      }),
      { minDelay: 1, ...options },
      this.settings,
    );
  }

  async #dial(signal: AbortSignal): Promise<Connection> {
    this.attempts++;
    await this.gate;
    signal.throwIfAborted();
    const failure = this.failures.shift();
    if (failure !== undefined) throw failure;
    const [near, far] = memoryPair();
    if (this.isFull) near.hold();
    // Nobody closes it, so nothing may wait for it.
    const peer = fromDuplex(far, NEVER);
    this.ends.push(near);
    this.peers.push(peer);
    const connection = fromDuplex(near, this.settings);
    if (this.greeting !== undefined) {
      peer.send(this.greeting);
      await receive(connection);
    }
    return connection;
  }

  /** The delays that the client has waited, or would have. */
  get delays(): number[] {
    return this.events.flatMap((event) =>
      event.type === "waiting" ? [event.delay] : []
    );
  }

  /** A client whose servers are away until the function is called. */
  async lostClient(): Promise<{ client: Client; comeBack: () => void }> {
    const client = await this.client().open();
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

/** Receives one message, and lets others read. */
async function receive(connection: Connection): Promise<unknown> {
  for await (const message of connection) return message;
}

faultTest(
  "Client.open() connects once, and passes on why it cannot",
  async () => {
    const servers = new Servers();
    const client = servers.client();
    assertStrictEquals(await client.open(), client);
    assertEquals(servers.attempts, 1);
    await client.close();

    servers.failures.push(new Error("refused"));
    await assertRejects(() => servers.client().open(), Error, "refused");
    assertEquals(servers.attempts, 2);
    assertEquals(servers.events, []);
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
  "Client waits up to twice as long before each attempt, and no longer than maxDelay",
  () =>
    withRandom(0.5, async () => {
      const servers = new Servers();
      await using client = await servers.client({ minDelay: 2, maxDelay: 12 })
        .open();
      servers.failures.push(...Array(5).fill(new Error("refused")));
      servers.cut();
      await (await client.connected()).closed;
      await client.connected();
      assertEquals(servers.delays, [1, 2, 4, 6, 6, 6]);
      assertEquals(
        servers.events.map((event) =>
          event.type === "waiting" && event.attempt
        ),
        [1, 2, 3, 4, 5, 6],
      );
    }),
);

faultTest(
  "Client draws its delays from all between nothing and the most",
  async () => {
    for (const number of [0, 0.25, 0.999]) {
      await withRandom(number, async () => {
        const servers = new Servers();
        await using client = await servers.client({ minDelay: 4 }).open();
        servers.cut();
        await (await client.connected()).closed;
        await client.connected();
        assertEquals(servers.delays, [4 * number]);
      });
    }
  },
);

faultTest(
  "Client goes on with longer delays after a connection that was short, and anew after one that lasted longer than maxDelay",
  () =>
    withRandom(0.5, async () => {
      const { now } = performance;
      let time = 0;
      performance.now = () => time;
      try {
        const servers = new Servers();
        await using client = await servers.client({
          minDelay: 2,
          maxDelay: 60_000,
        }).open();
        for (const lifetime of [60_000, 60_000, 60_001, 1]) {
          const connection = await client.connected();
          time += lifetime;
          servers.cut();
          await connection.closed;
        }
        await client.connected();
        assertEquals(servers.delays, [1, 2, 1, 2]);
      } finally {
        performance.now = now;
      }
    }),
);

faultTest(
  "Client begins anew with its delays after a connection over which a request was answered",
  () =>
    withRandom(0.5, async () => {
      const servers = new Servers();
      servers.greeting = "you are in";
      await using client = await servers.client({ minDelay: 2 }).open();
      // A server that greets and leaves has not served.
      for (const answers of [false, false, true, true, false]) {
        const connection = await client.connected();
        const peer = servers.peers.at(-1)!;
        peer.send("hello");
        await receive(connection);
        if (answers) {
          const serving = echoAll(peer);
          assertEquals(await client.request("a request"), "a request");
          servers.cut();
          await serving.catch(() => {});
        } else peer.close();
        await connection.closed;
      }
      await client.connected();
      assertEquals(servers.delays, [1, 2, 1, 1, 2]);
    }),
);

faultTest(
  "Client gives up after maxAttempts with the last error, and begins anew when it is asked again",
  () =>
    withRandom(0.5, async () => {
      const servers = new Servers();
      await using client = await servers.client({ minDelay: 2, maxAttempts: 3 })
        .open();
      servers.failures.push(...[1, 2, 3].map((i) => new Error(`refusal ${i}`)));
      servers.cut();
      await (await client.connected()).closed;
      await assertRejects(() => client.request(1), Error, "refusal 3");
      await client.connected();
      assertEquals(servers.delays, [1, 2, 4, 1]);
    }),
);

faultTest(
  "Client counts no attempt that succeeded for maxAttempts",
  async () => {
    const servers = new Servers();
    await using client = await servers.client({ maxAttempts: 2 }).open();
    for (let i = 0; i < 3; i++) {
      const connection = await client.connected();
      servers.cut();
      await connection.closed;
    }
    servers.failures.push(new Error("refused"));
    await client.connected();
    servers.cut();
  },
);

faultTest("Client does not try again where that would not help", async () => {
  const servers = new Servers();
  await using client = await servers.client(
    {},
    (error) => error instanceof SyntaxError,
  ).open();
  servers.failures.push(new Error("again"), new SyntaxError("final"));
  servers.cut();
  await (await client.connected()).closed;
  await assertRejects(() => client.connected(), SyntaxError, "final");
  assertEquals(servers.attempts, 3);
});

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
      const client = await servers.client({
        minDelay: 60_000,
        maxDelay: 60_000,
      })
        .open();
      servers.cut();
      await (await client.connected()).closed;
      const waiting = assertRejects(
        () => client.request(1),
        ConnectionClosedError,
        "Cannot connect: the client is closed",
      );
      await until(() => servers.delays.length === 1, "it does not wait");
      assertEquals(servers.delays, [59_400]);
      await client.close();
      await waiting;
      assertEquals(servers.attempts, 1);
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
    const [near] = memoryPair();
    let attempts = 0;
    const client = new Client(
      () => {
        // As `close` may be called by whoever hears of the connection first.
        if (++attempts === 2) client.close();
        return Promise.resolve(fromDuplex(near));
      },
      () => false,
      new Events("test", undefined),
      { minDelay: 1 },
      new Settings({}),
    );
    await client.open();
    near.cut();
    await (await client.connected()).closed;
    await assertRejects(() => client.connected(), ConnectionClosedError);
    assert(near.closed > 0);
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

faultTest("Client throws to who iterates when it gives up", async () => {
  const servers = new Servers();
  await using client = await servers.client({ maxAttempts: 1 }).open();
  const iterating = (async () => {
    for await (const _connection of client) servers.cut();
  })();
  servers.failures.push(new Error("refused"));
  await assertRejects(() => iterating, Error, "refused");
});

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
    servers.settings = new Settings({
      maxQueuedBytes: 14_000,
      maxFrameBytes: 5_000,
    });
    const { client, comeBack } = await servers.lostClient();
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

faultTest(
  "Client bounds the number of small messages that wait, and whoever gives up makes room",
  async () => {
    const servers = new Servers();
    servers.settings = new Settings({ maxQueuedBytes: 64_000 });
    const { client, comeBack } = await servers.lostClient();
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
  async () => {
    const timeout = 1_000;
    using clock = new Clock(timeout);
    const servers = new Servers();
    const { client, comeBack } = await servers.lostClient();
    const { signal } = new AbortController();
    const late = assertRejects(
      () => client.request("late", { timeout, signal }),
      DOMException,
      "Cannot receive reply: timed out after 1000 ms (timeout)",
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
  },
);

faultTest("Client rejects wrong options", () => {
  const servers = new Servers();
  const cases: [unknown, typeof Error, string][] = [
    [{ minDelay: 0 }, RangeError, '"minDelay": received 0'],
    [{ maxDelay: NaN }, RangeError, '"maxDelay": received NaN'],
    [{ maxAttempts: 0.5 }, RangeError, '"maxAttempts": received 0.5'],
    [{ factor: 2 }, TypeError, '"factor": it does not exist'],
  ];
  for (const [options, type, text] of cases) {
    assertThrows(() => servers.client(options as ReconnectOptions), type, text);
  }
});

Deno.test("Client makes one connection where a hook sends as the client begins to wait", async () => {
  const servers = new Servers();
  const client = await servers.client().open();
  servers.onEvent = ({ type }) => {
    if (type === "waiting") client.send("from the hook");
  };
  servers.ends[0].cut();
  await until(() => client.ready === undefined, "the loss is not noticed");
  await client.send("from the caller");
  await client.connected();
  const waits = servers.events.filter(({ type }) => type === "waiting");
  assertEquals(waits.length, 1);
  await client.close();
});
