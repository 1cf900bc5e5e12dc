/** The first line that people log: who, why, and the option that decides. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { keepAlive } from "../core/connection/keepalive.ts";
import {
  connect,
  type Connection,
  type ConnectionOptions,
  listen,
  serve,
  sharedToken,
  TlsError,
} from "../mod.ts";
import { rpc } from "../rpc.ts";
import { certificates } from "./certificates.ts";
import { type MemoryEnd, memoryPair, written } from "./memory_pair.ts";
import { LOCAL, portOf, prefix } from "./peers.ts";
import { tick, TIMEOUT } from "./ticks.ts";
import { turn } from "./turns.ts";
import {
  linkOf,
  makeConnection,
  settingsOf,
} from "../core/connection/connection.ts";

function sent(peer: MemoryEnd, bytes: Uint8Array): void {
  peer.write(bytes);
}

/** What ends a connection, and what the errors behind it say of it. */
const ENDS: {
  name: string;
  options?: ConnectionOptions;
  act(
    near: MemoryEnd,
    far: MemoryEnd,
    connection: Connection,
  ): void | Promise<void>;
  reason: string;
}[] = [
  {
    name: "a peer that is silent",
    options: { idleTimeout: TIMEOUT },
    act: () => tick(21),
    reason: "localhost:8080 sent nothing for 5000 ms (idleTimeout)",
  },
  {
    name: "a peer that stops inside a frame",
    options: { frameTimeout: TIMEOUT },
    async act(_near, far) {
      sent(far, prefix(10));
      await turn();
      tick(21);
    },
    reason:
      "localhost:8080 sent 4 bytes of a frame in 5000 ms, and not the rest (frameTimeout)",
  },
  {
    name: "a peer that reads nothing",
    options: { writeTimeout: TIMEOUT, idleTimeout: Infinity },
    async act(near, _far, connection) {
      await turn();
      near.hold();
      connection.send("x").catch(() => {});
      await turn();
      tick(22);
    },
    reason:
      "localhost:8080 took none of 7 bytes for 5000 ms, it reads less than 280 KB/s (writeTimeout)",
  },
  {
    name: "a peer that answers no heartbeat",
    options: { idleTimeout: Infinity },
    act(_near, _far, connection) {
      keepAlive(linkOf(connection), () => Promise.resolve(), TIMEOUT);
      tick(42);
    },
    reason:
      "localhost:8080 did not answer a heartbeat within 5000 ms (heartbeat)",
  },
  {
    name: "a reset",
    act: (near) => near.cut(new Deno.errors.ConnectionReset("os error")),
    reason: "localhost:8080 reset the connection",
  },
  {
    name: "a reset that Node tells of",
    act: (near) =>
      near.cut(Object.assign(new Error("read"), { code: "ECONNRESET" })),
    reason: "localhost:8080 reset the connection",
  },
  {
    name: "a broken pipe",
    act: (near) => near.cut(new Deno.errors.BrokenPipe("os error")),
    reason: "localhost:8080 has closed the connection",
  },
  {
    name: "a link that the platform gives up",
    act: (near) => near.cut(new Deno.errors.TimedOut("os error")),
    reason: "localhost:8080 no longer answers",
  },
  {
    name: "any other error of the platform",
    act: (near) =>
      near.cut(new Error("Transport is not\nconnected (os error 107)")),
    reason:
      "the connection to localhost:8080 was lost: transport is not\\u000aconnected",
  },
  {
    name: "trouble with TLS",
    act: (near) => near.cut(new TlsError("Cannot receive: it was cut")),
    reason: "the connection to localhost:8080 was lost: it was cut",
  },
  {
    name: "a frame over the limit",
    options: { maxFrameBytes: 8_192 },
    act: (_near, far) => sent(far, prefix(9_000)),
    reason:
      "the connection to localhost:8080 was lost: payload is 9000 bytes, limit is 8192 bytes",
  },
  {
    name: "an end inside a frame",
    act(_near, far) {
      sent(far, prefix(10));
      far.closeWrite();
    },
    reason:
      "the connection to localhost:8080 was lost: the stream ended after 0 of 10 payload bytes",
  },
  {
    name: "abort() without a reason",
    act: (_near, _far, connection) => connection.abort(),
    reason: "the connection to localhost:8080 was aborted",
  },
  {
    name: "abort() with a reason",
    act: (_near, _far, connection) => connection.abort(new Error("enough")),
    reason: "the connection to localhost:8080 was aborted: enough",
  },
  {
    name: "abort() with anything",
    act(_near, _far, connection) {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      connection.abort(proxy);
    },
    reason: "the connection to localhost:8080 was aborted",
  },
  {
    name: "close()",
    act: (_near, _far, connection) => void connection.close(),
    reason: "the connection to localhost:8080 is closed",
  },
];

for (const { name, options, act, reason } of ENDS) {
  Deno.test(`after ${name}, every error says why`, async () => {
    const [near, far] = memoryPair();
    const connection = makeConnection(near, settingsOf(options ?? {}), {
      remoteAddr: { transport: "tcp", hostname: "127.0.0.1", port: 1 },
      peerName: "localhost:8080",
    });
    const reply = connection.request("open");
    const failure = assertRejects(() => reply, Error, "Cannot receive reply: ");
    await written(connection);
    await turn();
    await act(near, far, connection);
    assertEquals((await failure).message, `Cannot receive reply: ${reason}`);
    far.close();
    await connection.closed;
    const late = await assertRejects(() => connection.send("late"), Error);
    assertEquals(late.message, `Cannot send message: ${reason}`);
    assertEquals(connection.signal.reason.message, `Cannot go on: ${reason}`);
    const peer = rpc(connection);
    const call = await assertRejects(() => peer.call("add"), Error);
    assertEquals(call.message, `Cannot call "add": ${reason}`);
  });
}

Deno.test("errors call the peer by its address where they have no name of it, or just the peer", async () => {
  const cases = [
    [{ transport: "tcp", hostname: "::1", port: 7 }, "[::1]:7 reset"],
    [{ transport: "unix", path: "" }, "the peer reset"],
    [undefined, "the peer reset"],
  ] as const;
  for (const [remoteAddr, text] of cases) {
    const [near] = memoryPair();
    const connection = makeConnection(near, settingsOf({}), { remoteAddr });
    near.cut();
    await assertRejects(() => connection.request(1), Error, text);
  }
});

Deno.test("an error of listen() names the endpoint, and keeps its class", async () => {
  using listener = listen(LOCAL);
  const port = portOf(listener.addr);
  const taken = assertThrows(
    () => listen({ ...LOCAL, port }),
    Deno.errors.AddrInUse,
  );
  assertEquals(
    taken.message,
    `Cannot listen on 127.0.0.1:${port}: address already in use`,
  );
  const directory = await Deno.makeTempDir();
  const path = `${directory}/none/a.sock`;
  assertThrows(
    () => serve({ path }, () => 1),
    Deno.errors.NotFound,
    `Cannot listen on ${path}: `,
  );
  await Deno.remove(directory, { recursive: true });
});

Deno.test("an error of connect() names the endpoint, and keeps its class", async () => {
  const { server: { cert, key } } = certificates();
  const silent = Deno.listen(LOCAL);
  const gone = Deno.listen(LOCAL);
  gone.close();
  await using guarded = serve({
    ...LOCAL,
    authenticate: () => false,
  }, (message) => message);
  await using secure = serve({ ...LOCAL, tls: { cert, key } }, () => 1);
  const directory = await Deno.makeTempDir();
  const path = `${directory}/none.sock`;
  const authenticate = sharedToken("x".repeat(32), { allowPlaintext: true });
  const at = (port: number) => ({ hostname: "127.0.0.1", port });
  const cases: [Parameters<typeof connect>[0], string, string][] = [
    [
      { hostname: "localhost", port: gone.addr.port },
      "ConnectionRefused",
      `Cannot connect to localhost:${gone.addr.port}: connection refused`,
    ],
    [
      { path },
      "NotFound",
      `Cannot connect to ${path}: no such file or directory`,
    ],
    [
      { ...at(silent.addr.port), authenticate, handshakeTimeout: 20 },
      "TimeoutError",
      `Cannot connect to 127.0.0.1:${silent.addr.port}: the handshake took longer than 20 ms (handshakeTimeout)`,
    ],
    [
      { ...at(portOf(guarded.addr)), authenticate },
      "AuthenticationError",
      `Cannot authenticate to 127.0.0.1:${portOf(guarded.addr)}: `,
    ],
    [
      { ...at(portOf(secure.addr)), tls: true },
      "TlsError",
      `Cannot secure the connection to 127.0.0.1:${portOf(secure.addr)}: `,
    ],
  ];
  for (const [options, name, message] of cases) {
    const error = await assertRejects(() => connect(options), Error);
    assertEquals(error.name, name);
    assert(error.message.startsWith(message), error.message);
    assert(error.stack?.includes(message), error.stack);
  }
  const reason = new Error("the user's own");
  const error = await assertRejects(() =>
    connect({ ...at(silent.addr.port), signal: AbortSignal.abort(reason) })
  );
  assertEquals([error, reason.message], [reason, "the user's own"]);
  silent.close();
  await Deno.remove(directory, { recursive: true });
});
