import {
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { createServer } from "node:net";
import { faultTest, settled, Sockets, until } from "../../tests/ledger.ts";
import { waitersOf } from "../../tests/listeners.ts";
import type { Address } from "../connection/options.ts";
import { dial } from "./dial.ts";

const LOCAL = { transport: "tcp", hostname: "127.0.0.1" } as const;
const NEVER = { timeout: Infinity, signal: undefined };

/** Runs with another way to open sockets than the platform's. */
async function withConnect(
  connect: () => Promise<unknown>,
  run: () => Promise<void>,
): Promise<void> {
  const original = Deno.connect;
  Deno.connect = connect as typeof Deno.connect;
  try {
    await run();
  } finally {
    Deno.connect = original;
  }
}

/** A socket whose two addresses are given, and whether it was closed. */
function socketBetween(local: object, remote: object) {
  const socket = {
    localAddr: { transport: "tcp", ...local },
    remoteAddr: { transport: "tcp", ...remote },
    isClosed: false,
    close() {
      socket.isClosed = true;
    },
  };
  return socket;
}

faultTest(
  "dial() refuses a connection to itself like a port on which nobody listens",
  async () => {
    const own = { hostname: "127.0.0.1", port: 40_000 };
    const socket = socketBetween(own, own);
    await withConnect(() => Promise.resolve(socket), async () => {
      await assertRejects(
        () => dial({ ...LOCAL, port: 40_000 }, NEVER),
        Deno.errors.ConnectionRefused,
        "Cannot connect: no server listens on port 40000",
      );
    });
    assertEquals(socket.isClosed, true);
    for (
      const other of [
        socketBetween({ ...own, port: 1 }, own),
        socketBetween({ ...own, hostname: "127.0.0.2" }, own),
      ]
    ) {
      await withConnect(() => Promise.resolve(other), async () => {
        const conn: unknown = await dial({ ...LOCAL, port: 40_000 }, NEVER);
        assertStrictEquals(conn, other);
      });
      assertEquals(other.isClosed, false);
    }
  },
);

faultTest(
  "dial() tries failures that pass again until they have passed",
  async () => {
    const own = { hostname: "127.0.0.1", port: 1 };
    const socket = socketBetween(own, { ...own, port: 2 });
    const codes = ["EAGAIN", "EMFILE", "ENFILE", "ENOBUFS"];
    const failures: Error[] = [
      new Deno.errors.WouldBlock("full"),
      ...codes.map((code) => Object.assign(new Error(code), { code })),
    ];
    await withConnect(() => {
      const failure = failures.shift();
      return failure ? Promise.reject(failure) : Promise.resolve(socket);
    }, async () => {
      const conn: unknown = await dial({ ...LOCAL, port: 2 }, NEVER);
      assertStrictEquals(conn, socket);
    });
    assertEquals(failures, []);
  },
);

faultTest("dial() tries other failures once", async () => {
  let attempts = 0;
  const failure = new Deno.errors.ConnectionRefused("refused");
  await withConnect(() => {
    attempts++;
    return Promise.reject(failure);
  }, async () => {
    const error = await assertRejects(
      () => dial({ ...LOCAL, port: 2 }, NEVER),
      Deno.errors.ConnectionRefused,
    );
    assertStrictEquals(error, failure);
  });
  assertEquals(attempts, 1);
});

faultTest(
  "dial() ends its attempts when the time is over or its signal is aborted, and says what they came to",
  async () => {
    let attempts = 0;
    const failure = new Deno.errors.WouldBlock("full");
    const controller = new AbortController();
    const { signal } = controller;
    await withConnect(() => {
      attempts++;
      return Promise.reject(failure);
    }, async () => {
      const timeout = await assertRejects(
        () => dial({ ...LOCAL, port: 2 }, { timeout: 20, signal }),
        DOMException,
        ": no answer after 20 ms (connectTimeout)",
      );
      assertEquals(timeout.name, "TimeoutError");
      assertStrictEquals(timeout.cause, failure);
      const reason = new Error("enough");
      const dialing = dial({ ...LOCAL, port: 2 }, { timeout: 60_000, signal });
      const before = attempts;
      await until(() => attempts > before, "it does not try again");
      controller.abort(reason);
      assertStrictEquals(await assertRejects(() => dialing, Error), reason);
    });
    const { length } = Array(attempts);
    await new Promise((resolve) => setTimeout(resolve, 0));
    assertEquals(attempts, length);
    assertEquals(waitersOf(signal), 0);
  },
);

faultTest(
  "dial() waits for a slot in the backlog of a Unix socket",
  async () => {
    const folder = Deno.makeTempDirSync();
    const path = `${folder}/full.sock`;
    // Only `node:net` takes a backlog for a Unix socket; it accepts once it is
    // listened to, so the kernel holds those that come in this same moment.
    const server = createServer();
    let accepted = 0;
    server.on("connection", (socket) => {
      accepted++;
      socket.on("error", () => {});
      socket.resume();
      socket.on("end", () => socket.destroy());
    });
    const listening = new Promise<void>((resolve) =>
      server.listen({ path, backlog: 1 }, resolve)
    );
    await listening;
    const endpoint: Address = { transport: "unix", path };
    const conns = await settled(
      Promise.all(Array.from({ length: 200 }, () => dial(endpoint, NEVER))),
      "it gives up",
    );
    await until(() => accepted === 200, "not all were accepted");
    for (const conn of conns) conn.close();
    await new Promise((resolve) => server.close(resolve));
    Deno.removeSync(folder, { recursive: true });
  },
);

/** Dials so many times at once, and gives up in the moment of success. */
async function giveUp(endpoint: Address, count: number): Promise<number> {
  let connected = 0;
  const dialing = Array.from({ length: count }, async (_, i) => {
    const controller = new AbortController();
    const dialed = dial(endpoint, {
      timeout: Infinity,
      signal: controller.signal,
    });
    for (let turns = i % 8; turns > 0; turns--) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    controller.abort(new Error("enough"));
    try {
      (await dialed).close();
      connected++;
    } catch (error) {
      assertInstanceOf(error, Error);
      assertEquals(error.message, "enough");
    }
    assertEquals(waitersOf(controller.signal), 0);
  });
  await Promise.all(dialing);
  return connected;
}

faultTest(
  "dial() that is given up in the moment of success leaves no descriptor",
  async () => {
    const sockets = new Sockets();
    const listener = Deno.listen({ ...LOCAL, port: 0 });
    let isOver = false;
    const accepting = (async () => {
      const conns: Deno.Conn[] = [];
      while (!isOver) {
        try {
          conns.push(await listener.accept());
          if (conns.length > 100) conns.shift()!.close();
        } catch {
          // It was reset, or the listener is closed.
        }
      }
      for (const conn of conns) conn.close();
    })();
    let connected = 0;
    for (let round = 0; round < 40; round++) {
      connected += await giveUp({ ...LOCAL, port: listener.addr.port }, 64);
    }
    isOver = true;
    listener.close();
    await accepting;
    console.log(`${connected} of 2560 were connected first`);
    await until(
      () => sockets.open === 0,
      () => `${sockets.open} descriptors are left`,
    );
  },
);

faultTest(
  "dial() that is given up in a black hole leaves no descriptor",
  async () => {
    // A backlog of none, and a connection that nobody accepts: others wait.
    using full = Deno.listen(
      { ...LOCAL, port: 0, tcpBacklog: 0 } as Deno.TcpListenOptions,
    );
    using _filler = await Deno.connect({ ...LOCAL, port: full.addr.port });
    const sockets = new Sockets();
    const endpoint: Address = { ...LOCAL, port: full.addr.port };
    const controller = new AbortController();
    const { signal } = controller;
    const dialing = Array.from(
      { length: 20 },
      () => assertRejects(() => dial(endpoint, { timeout: Infinity, signal })),
    );
    const late = assertRejects(
      () => dial(endpoint, { timeout: 10, signal }),
      DOMException,
    );
    await late;
    controller.abort();
    await Promise.all(dialing);
    await until(
      () => sockets.open === 0,
      () => `${sockets.open} descriptors are left`,
    );
  },
);
