import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import { encodeFrame } from "../../framing.ts";
import {
  type MemoryEnd,
  memoryPair,
  written,
} from "../../tests/memory_pair.ts";
import {
  type Connection,
  CONNECTION_DEFAULTS,
  ConnectionClosedError,
  type ConnectionEnd,
  type ConnectionOptions,
  fromDuplex,
  fromStreams,
  linkOf,
} from "./connection.ts";
import { rateBelow } from "./deadlines.ts";
import { keepAlive } from "./keepalive.ts";
import { Responder } from "../server/respond.ts";
import timers from "node:timers";
import { Tickers } from "../tools/ticker.ts";
import { NEVER, PERIOD, tick, TIMEOUT } from "../../tests/ticks.ts";
import { turn } from "../../tests/turns.ts";

function connection(
  options: ConnectionOptions,
): { near: MemoryEnd; far: MemoryEnd; one: Connection } {
  const [near, far] = memoryPair();
  return { near, far, one: fromDuplex(near, { ...NEVER, ...options }) };
}

function assertTimeout(end: ConnectionEnd, message: string): void {
  assert(!end.clean);
  assertInstanceOf(end.cause, DOMException);
  assertEquals(end.cause.name, "TimeoutError");
  assertEquals(end.cause.message, message);
}

Deno.test("idleTimeout ends a connection whose peer sends nothing, and rejects what waits", async () => {
  const { far, one } = connection({ idleTimeout: TIMEOUT });
  const message = one[Symbol.asyncIterator]().next();
  await turn();
  tick(20);
  assertEquals(far.closed, 0);
  tick(1);
  await far.closeWrite();
  const error = await assertRejects(() => message, ConnectionClosedError);
  assertInstanceOf(error.cause, DOMException);
  assertTimeout(
    await one.closed,
    "Cannot receive message: the peer sent nothing for 5000 ms (idleTimeout)",
  );
});

Deno.test("idleTimeout starts anew with each whole frame, and with nothing less", async () => {
  const { far, one } = connection({ idleTimeout: TIMEOUT });
  const messages: unknown[] = [];
  const iteration = (async () => {
    for await (const message of one) messages.push(message);
  })();
  await turn();
  tick(20);
  await far.write(encodeFrame("a"));
  await turn();
  tick(20);
  await far.write(encodeFrame("b").subarray(0, 3));
  await turn();
  tick(1);
  assertEquals(messages, ["a"]);
  await turn();
  tick(1);
  await far.closeWrite();
  await assertRejects(() => iteration, ConnectionClosedError);
});

Deno.test("idleTimeout does not count while no read is pending", async () => {
  const [near, far] = memoryPair();
  const server = fromDuplex(near, { ...NEVER, idleTimeout: TIMEOUT });
  const reply = Promise.withResolvers<string>();
  new Responder(server, () => reply.promise, undefined, 100);
  const client = fromDuplex(far, NEVER);
  const answered = client.request("slow");
  await written(client);
  await turn();
  tick(50);
  reply.resolve("done");
  assertEquals(await answered, "done");
  await turn();
  tick(20);
  await turn();
  assertEquals(await client.request("again"), "done");
  await client.close();
  assert((await server.closed).clean);
});

Deno.test("idleTimeout does not count while no message is asked for", async () => {
  const { one } = connection({ idleTimeout: TIMEOUT });
  tick(50);
  await one.close();
  assertEquals(await one.closed, { clean: true });
});

Deno.test("a connection whose peer has ended its side sends on, until nothing was sent for idleTimeout", async () => {
  const { near, far, one } = connection({ idleTimeout: TIMEOUT });
  await far.write(encodeFrame("request"));
  await far.closeWrite();
  for await (const _ of one);
  for (let i = 0; i < 5; i++) {
    tick(20);
    await one.send(`reply ${i}`);
    await turn();
  }
  tick(20);
  assertEquals(near.closed, 0);
  tick(2);
  assertEquals(await one.closed, { clean: true });
  assertEquals(near.closed, 1);
  assertEquals(near.writes.length, 5);
});

Deno.test("a connection without idleTimeout whose peer has ended its side is closed when nothing was sent for 60 s", async () => {
  const { near, far, one } = connection({
    ...{ idleTimeout: Infinity, frameTimeout: 5_000, writeTimeout: 5_000 },
  });
  await far.closeWrite();
  for await (const _ of one);
  tick(60_000 / PERIOD);
  assertEquals(near.closed, 0);
  tick(1);
  assertEquals(await one.closed, { clean: true });
});

Deno.test("keepAlive() does not take a peer for dead while nothing is read, or when it has ended its side", async () => {
  const { far, one } = connection({});
  keepAlive(linkOf(one), () => linkOf(one).beat("are you there?"), TIMEOUT);
  const messages = one[Symbol.asyncIterator]();
  for (let i = 0; i < 40; i++) await far.write(encodeFrame("x".repeat(65_534)));
  await messages.next(); // reads ahead, and no further
  for (let i = 0; i < 100; i++) await turn();
  tick(100);
  assert(!linkOf(one).isOver);
  for (let i = 1; i < 40; i++) await messages.next();
  await far.closeWrite();
  assert((await messages.next()).done);
  tick(100);
  assert(!one.signal.aborted);
  await one.close();
});

Deno.test("frameTimeout runs from the first byte of a frame to its last, whatever comes between", async () => {
  const { far, one } = connection({ frameTimeout: TIMEOUT });
  const message = one[Symbol.asyncIterator]().next();
  const frame = encodeFrame("x".repeat(100));
  for (let i = 0; i < 21; i++) {
    await far.write(frame.subarray(i, i + 1));
    await turn();
    assertEquals(far.reads.length, 0);
    tick(1);
  }
  await far.closeWrite();
  await assertRejects(() => message, ConnectionClosedError);
  assertTimeout(
    await one.closed,
    "Cannot receive message: the peer sent 21 bytes of a frame in 5000 ms, and not the rest (frameTimeout)",
  );
});

Deno.test("frameTimeout starts anew with each frame", async () => {
  const { far, one } = connection({ frameTimeout: TIMEOUT });
  const messages: unknown[] = [];
  const iteration = (async () => {
    for await (const message of one) messages.push(message);
  })();
  const frame = encodeFrame("slow");
  await far.write(frame.subarray(0, 5));
  for (let i = 0; i < 10; i++) {
    await turn();
    tick(15);
    // The end of one frame and the beginning of the next.
    await far.write(frame.subarray(5));
    await far.write(frame.subarray(0, 5));
  }
  await far.write(frame.subarray(5));
  await far.closeWrite();
  await iteration;
  await one.close();
  assertEquals(messages.length, 11);
  assert((await one.closed).clean);
});

Deno.test("writeTimeout ends a connection whose peer takes nothing", async () => {
  const { near, one } = connection({ writeTimeout: TIMEOUT });
  near.hold();
  const sent = one.send("x".repeat(100_000));
  await turn();
  tick(21);
  await assertRejects(() => sent, ConnectionClosedError);
  assertTimeout(
    await one.closed,
    "Cannot send message: the peer took none of 100006 bytes for 5000 ms, it reads less than 280 KB/s (writeTimeout)",
  );
  assertEquals(near.closed, 1);
});

Deno.test("writeTimeout starts anew with every byte that the peer takes", async () => {
  const taken: number[] = [];
  let take = () => {};
  const one = fromDuplex({
    read: () => new Promise(() => {}),
    write: () =>
      new Promise((resolve) => {
        take = () => {
          taken.push(1_000);
          resolve(1_000);
        };
      }),
    close() {},
  }, { ...NEVER, writeTimeout: TIMEOUT });
  const sent = one.send("x".repeat(20_000 - 6));
  for (let i = 0; i < 20; i++) {
    await turn();
    tick(15);
    take();
  }
  await sent;
  await one.close();
  assert((await one.closed).clean);
  assertEquals(taken.length, 20);
});

Deno.test("writeTimeout counts each part that a pipe takes of a large message", async () => {
  let parts = 0;
  let take = () => {};
  const one = fromStreams({
    readable: new ReadableStream(),
    writable: new WritableStream({
      write: () =>
        new Promise((resolve) => {
          take = () => {
            parts++;
            resolve();
          };
        }),
    }),
  }, { ...NEVER, writeTimeout: TIMEOUT });
  const sent = one.send("x".repeat(500_000));
  const reading = one[Symbol.asyncIterator]().next();
  for (let i = 0; i < 5; i++) {
    await turn();
    tick(15);
    take();
  }
  await turn();
  assertEquals(parts, 5);
  tick(22); // it takes no more
  await assertRejects(() => sent, ConnectionClosedError, "(writeTimeout)");
  await assertRejects(() => reading, ConnectionClosedError, "(writeTimeout)");
  take();
});

Deno.test("writeTimeout bounds close() where the peer takes nothing", async () => {
  const { near, one } = connection({ writeTimeout: TIMEOUT });
  near.hold();
  one.send("never taken");
  const closing = one.close();
  await turn();
  tick(21);
  await closing;
  assertTimeout(
    await one.closed,
    "Cannot send message: the peer took none of 17 bytes for 5000 ms, it reads less than 280 KB/s (writeTimeout)",
  );
});

Deno.test("no deadline holds where all are Infinity", async () => {
  const { near, one } = connection({});
  near.hold();
  one.send("waits");
  one.request("waits, too").catch(() => {});
  await turn();
  tick(1_000);
  near.release();
  one.abort();
  assertEquals(new Tickers().for(Infinity, Infinity), undefined);
});

Deno.test("keepAlive() sends the message when nothing came for the interval, and goes on when it is answered", async () => {
  const { far, one } = connection({});
  keepAlive(linkOf(one), () => one.request("are you there?"), TIMEOUT);
  const peer = fromDuplex(far, NEVER);
  const seen: unknown[] = [];
  const serving = (async () => {
    for await (const message of peer) {
      seen.push(message);
      await peer.send("yes");
    }
  })();
  for (let i = 0; i < 3; i++) {
    await turn();
    tick(19);
    assertEquals(seen.length, i);
    tick(1);
    await turn();
    tick(1); // notices the answer
  }
  assertEquals(seen, Array(3).fill("are you there?"));
  await one.close();
  await serving;
});

Deno.test("keepAlive() sends the message when nothing was sent for the interval, or nothing came, and only then", async () => {
  for (const [sends, receives] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
    const { near, far, one } = connection({});
    let beats = 0;
    keepAlive(linkOf(one), () => {
      beats++;
      return one.send("are you there?");
    }, TIMEOUT);
    const messages = one[Symbol.asyncIterator]();
    const reading = (async () => {
      while (!(await messages.next()).done);
    })();
    await turn();
    for (let i = 0; i < 66; i++) {
      if (sends === 1) one.send(i);
      if (receives === 1) far.write(encodeFrame(i));
      // A peer that is silent answers its heartbeats.
      else if (i % 21 === 20) far.write(encodeFrame("yes"));
      await turn();
      tick(1);
    }
    assertEquals(beats, sends + receives === 2 ? 0 : 3, `${sends} ${receives}`);
    assertEquals(near.closed, 0);
    one.abort();
    await reading.catch(() => {});
  }
});

Deno.test("keepAlive() ends a connection whose peer does not answer", async () => {
  const { one } = connection({});
  keepAlive(linkOf(one), () => one.request("are you there?"), TIMEOUT);
  const reply = one.request("anybody?");
  await turn();
  tick(40);
  tick(1);
  await assertRejects(() => reply, ConnectionClosedError);
  assertTimeout(
    await one.closed,
    "Cannot receive message: the peer did not answer a heartbeat within 5000 ms (heartbeat)",
  );
});

Deno.test("keepAlive() goes on with a peer that takes or sends a message slowly, and not once it stops", async () => {
  for (const takes of [true, false]) {
    const { near, far, one } = connection({});
    const link = linkOf(one);
    const frame = encodeFrame("x".repeat(1_000));
    keepAlive(link, () => link.beat("are you there?"), TIMEOUT);
    const reply = one.request("x".repeat(1_000));
    await written(one);
    let taken = Promise.withResolvers<void>();
    if (takes) {
      near.write = async () => {
        await taken.promise;
        return 1;
      };
      one.send("x".repeat(1_000));
    }
    for (let i = 0; i < 60; i++) {
      if (takes) {
        taken.resolve();
        taken = Promise.withResolvers();
      } else await far.write(frame.subarray(i, i + 1));
      await turn();
      tick(1);
    }
    assert(!link.isOver, takes ? "taken" : "sent");
    tick(41);
    taken.resolve();
    await assertRejects(() => reply, ConnectionClosedError);
    assert(one.signal.aborted);
  }
});

Deno.test("Tickers tick more often where a timeout is shorter, and at least four times a second", () => {
  const tickers = new Tickers();
  assertEquals(tickers.for(60_000, 10_000)?.period, 250);
  assertEquals(tickers.for(60_000, 1_000)?.period, 50);
  assertEquals(tickers.for(1)?.period, 1);
  assert(tickers.for(60_000) === tickers.for(10_000, Infinity));
});

Deno.test("connections share one timer, from the first deadline to the last", () => {
  const { setInterval, clearInterval } = timers;
  let started = 0;
  let stopped = 0;
  timers.setInterval = ((...args: Parameters<typeof setInterval>) => {
    started++;
    return setInterval(...args);
  }) as typeof setInterval;
  timers.clearInterval = (timer) => {
    stopped++;
    clearInterval(timer);
  };
  try {
    for (let round = 1; round <= 2; round++) {
      const [near, far] = memoryPair();
      const one = fromDuplex(near);
      const other = fromDuplex(far, { idleTimeout: 2 * TIMEOUT });
      assertEquals([started, stopped], [round, round - 1]);
      one.abort();
      assertEquals([started, stopped], [round, round - 1]);
      other.abort();
      assertEquals([started, stopped], [round, round]);
    }
  } finally {
    Object.assign(timers, { setInterval, clearInterval });
  }
});

Deno.test("rateBelow() gives a rate in a unit that fits", () => {
  assertEquals(rateBelow(1_000), "1398 KB/s");
  assertEquals(rateBelow(5_000), "280 KB/s");
  assertEquals(rateBelow(10_000_000), "140 B/s");
  assertEquals(rateBelow(2 ** 31 - 1), "1 B/s");
});

Deno.test("the lowest rate of the default writeTimeout is that of the pages", async () => {
  const [, kilobytes] = /^(\d+) KB/.exec(
    rateBelow(CONNECTION_DEFAULTS.writeTimeout),
  )!;
  for (const page of ["./options.ts", "../../README.md"]) {
    const text = await Deno.readTextFile(new URL(page, import.meta.url));
    const words = text.replaceAll(/\s+(\* )?/g, " ");
    assert(words.includes(`${kilobytes} KB a second`), page);
  }
});
