/** How a link over a duplex of the user's own ends. */
import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { turn } from "../../tests/turns.ts";
import { memoryPair } from "../../tests/memory_pair.ts";
import { encodeFrame } from "../framing/framing.ts";
import {
  type ByteDuplex,
  type Connection,
  ConnectionClosedError,
  fromDuplex,
  linkOf,
} from "./connection.ts";

const FAILS: Record<string, () => never | Promise<never>> = {
  throws() {
    throw new Error("no");
  },
  rejects: () => Promise.reject(new Error("no")),
};

/** Its own end is broken in some way. */
function duplexWith(broken: Partial<ByteDuplex>): ByteDuplex {
  const [near] = memoryPair();
  return {
    read: (space) => near.read(space),
    write: (bytes) => near.write(bytes),
    closeWrite: () => near.closeWrite(),
    close: () => near.close(),
    ...broken,
  };
}

for (const [how, fail] of Object.entries(FAILS)) {
  Deno.test(`close() resolves where closeWrite() of the duplex ${how}`, async () => {
    const connection = fromDuplex(duplexWith({ closeWrite: fail }));
    connection.send("no reply comes");
    await connection.close();
    assertEquals(await connection.closed, { clean: true });
  });

  Deno.test(`a connection ends at once where closeWrite() of the duplex ${how}`, async () => {
    const connection = fromDuplex(duplexWith({ closeWrite: fail }));
    const next = connection[Symbol.asyncIterator]().next();
    for (const waiting of [connection.closeWrite(), next]) {
      const error = await assertRejects(() => waiting, ConnectionClosedError);
      assertInstanceOf(error.cause, Error);
      assertEquals(error.cause.message, "no");
    }
    assertEquals((await connection.closed).clean, false);
    await connection.close();
  });

  Deno.test(`close() and abort() resolve where close() of the duplex ${how}`, async () => {
    // An unhandled rejection fails the test.
    await fromDuplex(duplexWith({ close: fail })).close();
    const aborted = fromDuplex(duplexWith({ close: fail }));
    aborted.abort();
    await aborted.closed;
    await turn();
  });

  Deno.test(`a connection ends where write() of the duplex ${how}`, async () => {
    const connection = fromDuplex(duplexWith({ write: fail }));
    const failed = assertRejects(
      () => connection.request(1),
      ConnectionClosedError,
    );
    assertEquals((await connection.closed).clean, false);
    await failed;
  });

  Deno.test(`a connection ends where read() of the duplex ${how}`, async () => {
    const connection = fromDuplex(duplexWith({ read: fail }));
    await assertRejects(
      () => Array.fromAsync(connection),
      ConnectionClosedError,
    );
    assertEquals((await connection.closed).clean, false);
  });
}

const HALF_CLOSED: Record<
  string,
  (connection: Connection) => Promise<unknown>
> = {
  "while closeWrite() waits": (connection) =>
    Promise.all([connection.closeWrite(), connection.close()]),
  "while closeWrite() is at work": async (connection) => {
    const ending = connection.closeWrite();
    await Promise.resolve();
    await Promise.all([ending, connection.close()]);
  },
  "after closeWrite()": async (connection) => {
    await connection.closeWrite();
    await connection.close();
  },
  "by drain() after closeWrite()": async (connection) => {
    await connection.closeWrite();
    linkOf(connection).drain();
    await connection.closed;
  },
};

for (const [when, close] of Object.entries(HALF_CLOSED)) {
  for (const isSent of [true, false]) {
    Deno.test(`close() ${when} throws away first what is unread, ${isSent ? "behind a message" : "with nothing sent"}`, async () => {
      const [near, far] = memoryPair();
      await far.write(encodeFrame("nobody reads it"));
      await far.closeWrite();
      const seen: string[] = [];
      const connection = fromDuplex({
        async read(space) {
          const count = await near.read(space);
          seen.push(count === null ? "end" : "bytes");
          return count;
        },
        write: (bytes) => near.write(bytes),
        closeWrite() {
          seen.push("closeWrite");
          return near.closeWrite();
        },
        close() {
          seen.push("close");
          near.close();
        },
      });
      if (isSent) connection.send("it is read");
      await close(connection);
      assertEquals(seen, ["closeWrite", "bytes", "end", "close"]);
      assertEquals(await connection.closed, { clean: true });
    });
  }
}

Deno.test("closeWrite() rejects with a ConnectionClosedError where abort() comes in its midst", async () => {
  const [near] = memoryPair();
  const ending = Promise.withResolvers<void>();
  const connection = fromDuplex({
    read: (space) => near.read(space),
    write: (bytes) => near.write(bytes),
    closeWrite: () => ending.promise,
    close: () => ending.reject(new Deno.errors.BadResource("closed")),
  });
  const closingWrite = connection.closeWrite();
  await turn();
  connection.abort();
  await assertRejects(() => closingWrite, ConnectionClosedError);
});

for (const how of ["close", "closeWrite"] as const) {
  Deno.test(`${how}() by a consumer that is told of the end waits until all has left`, async () => {
    const [near] = memoryPair();
    const connection = fromDuplex(near);
    const seen: string[] = [];
    connection.closed.then(() => seen.push("closed"));
    const told = Promise.withResolvers<void>();
    linkOf(connection).consume({
      name: "the test",
      size: 0,
      receive: () => undefined,
      end() {
        told.resolve(connection[how]().then(() => void seen.push(how)));
      },
    });
    near.hold();
    connection.send("a message");
    const closing = connection.close();
    await turn();
    assertEquals(seen, []);
    near.release();
    await Promise.all([told.promise, closing]);
    assertEquals(seen, ["closed", how]);
  });
}
