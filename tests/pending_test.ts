/** Peers that are not let in yet, and what is set on sockets. */
import { assert, assertEquals } from "@std/assert";
import type { Socket } from "node:net";
import { once } from "node:events";
import {
  connect,
  type JsonValue,
  listen,
  serve,
  type ServerEvent,
} from "../mod.ts";
import { encodeFrame, FrameDecoder } from "../framing.ts";
import { faultTest, until } from "./ledger.ts";
import { connectFrom, frame, LOCAL, Peer, portOf } from "./peers.ts";

async function close(sockets: Socket[]): Promise<void> {
  await Promise.all(sockets.map((socket) => {
    if (socket.closed) return;
    const closed = once(socket, "close");
    socket.destroy();
    return closed;
  }));
}

faultTest(
  "serve() drops pending connections of the address that has the most of them",
  async () => {
    const rejected: ServerEvent[] = [];
    await using server = serve({
      ...LOCAL,
      maxPending: 20,
      authenticate: () => true,
      onEvent(event) {
        if (event.type === "rejected") rejected.push(event);
      },
    }, (message) => message);
    const port = portOf(server.addr);
    const flood = (count: number) =>
      Promise.all(
        Array.from({ length: count }, () => connectFrom("127.0.0.1", port)),
      );
    const sockets = await flood(30);
    const slow = await Promise.all(
      Array.from({ length: 8 }, () => connectFrom("127.0.0.2", port)),
    );
    sockets.push(...await flood(100));
    await until(() => server.stats().accepted === 138, "not all were accepted");
    assertEquals(server.stats().pending, 20);
    assertEquals(rejected.length, 118);
    for (const event of rejected) {
      assert(event.type === "rejected" && event.reason === "maxPending");
      assert(event.remoteAddr.transport === "tcp");
      assertEquals(event.remoteAddr.hostname, "127.0.0.1");
    }
    await close([...sockets, ...slow]);
  },
);

/**
 * Logs in from an address of this machine, with a round trip before the server's
 * verdict, and resolves to the first reply; to nothing where it was dropped.
 */
async function logInFrom(
  localAddress: string,
  port: number,
  beforeResponse: () => Promise<void>,
): Promise<JsonValue> {
  const socket = await connectFrom(localAddress, port);
  const decoder = new FrameDecoder();
  const messages = socket.iterator({ destroyOnReturn: false });
  async function take(): Promise<JsonValue> {
    for (;;) {
      const { value, done } = await messages.next();
      if (done) return null;
      for (const message of decoder.push(value as Uint8Array)) return message;
    }
  }
  socket.write(encodeFrame({ $login: "own", ask: true }));
  assertEquals(await take(), "who is there?");
  await beforeResponse();
  socket.write(encodeFrame("it is me"));
  assertEquals(await take(), { $login: "accepted" });
  socket.write(encodeFrame(localAddress));
  const reply = await take();
  await close([socket]);
  return reply;
}

faultTest(
  "serve() accepts logins of several round trips while another address floods it",
  async () => {
    await using server = serve({
      ...LOCAL,
      maxPending: 20,
      handshakeTimeout: Infinity,
      authenticate: async (_message, peer) =>
        await peer.ask("who is there?") === "it is me",
    }, (message) => message);
    const port = portOf(server.addr);
    const sockets: Socket[] = [];
    // More than all slots, in the middle of each login.
    async function flood(): Promise<void> {
      const accepted = server.stats().accepted;
      sockets.push(
        ...await Promise.all(
          Array.from({ length: 50 }, () => connectFrom("127.0.0.1", port)),
        ),
      );
      await until(
        () => server.stats().accepted >= accepted + 50,
        "the flood was not accepted",
      );
    }
    await flood();
    assertEquals(server.stats().pending, 20);
    const replies = await Promise.all(
      Array.from({ length: 8 }, () => logInFrom("127.0.0.2", port, flood)),
    );
    assertEquals(replies, Array(8).fill("127.0.0.2"));
    await close(sockets);
  },
);

/** Has Python connect from a socket that is bound to a path of its own. */
async function connectBound(path: string, bound: string): Promise<void> {
  const { code, stderr } = await new Deno.Command("python3", {
    args: [
      "-c",
      `import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.bind(bytes.fromhex(sys.argv[2]))
    s.connect(sys.argv[1])
    s.shutdown(socket.SHUT_WR)
    s.recv(1)`,
      path,
      bound,
    ],
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
}

faultTest(
  "listen() does not pause for a client with an odd path, and tells no path of a client",
  async () => {
    const directory = await Deno.makeTempDir();
    const path = `${directory}/socket`;
    const hex = (text: string) => new TextEncoder().encode(text).toHex();
    const failures: boolean[] = [];
    using listener = listen({
      path,
      onEvent(event) {
        if (event.type === "failed") failures.push(event.isOfPeer);
      },
    });
    const accepting = listener.accept();
    await connectBound(path, `${hex(`${directory}/`)}ff`);
    await until(() => failures.length === 1, "accepting has not failed");
    assertEquals(failures, [true]);
    const bound = connectBound(path, hex(`${directory}/chosen by the client`));
    const connection = await accepting;
    assertEquals(connection.remoteAddr, { transport: "unix", path: "" });
    await connection.close();
    await bound;
    listener.close();
    await Deno.remove(directory, { recursive: true });
  },
);

/** What `/proc/net/tcp` says is due on the sockets of a port: 2 is keepalive. */
function timersOf(port: number): string[] {
  const local = port.toString(16).toUpperCase().padStart(4, "0");
  const timers = new Map<string, string>();
  for (const line of Deno.readTextFileSync("/proc/net/tcp").split("\n")) {
    const [, near, far, state, , timer] = line.trim().split(/\s+/);
    const ends = `${near} ${far}`;
    // A line may come twice where sockets of others come and go meanwhile.
    if (state === "01" && ends.includes(`:${local}`)) {
      timers.set(ends, timer.split(":")[0]);
    }
  }
  return [...timers.values()];
}

Deno.test({
  name: "listen() and connect() set the platform's keepalive",
  ignore: Deno.build.os !== "linux",
  async fn() {
    using listener = listen(LOCAL);
    const client = await connect(listener.addr);
    const connection = await listener.accept();
    assertEquals(timersOf(portOf(listener.addr)), ["02", "02"]);
    await Promise.all([client.close(), connection.close()]);
  },
});

faultTest(
  "serve() parses chosen strings of digits of a pending peer like any others",
  async () => {
    const digits = Array.from(
      { length: 1_200 },
      (_, i) => `${1e8 + 8_192 * i}`,
    );
    const heard: JsonValue[] = [];
    await using server = serve({
      ...LOCAL,
      authenticate(message) {
        heard.push(message);
        return true;
      },
    }, (message) => message);
    const parse = JSON.parse;
    const texts: string[] = [];
    JSON.parse = (text: string) => {
      texts.push(text);
      return parse(text);
    };
    try {
      using peer = await Peer.connect(server.addr);
      await peer.write(frame(JSON.stringify({ $login: "own", digits })));
      await peer.take(1);
    } finally {
      JSON.parse = parse;
    }
    assertEquals(heard, [{ $login: "own", digits }]);
    // A string with an escape is not kept in the engine's table.
    const first = texts.find((text) => text.startsWith("{"))!;
    assert(!/"\d{1,10}"/.test(first), first.slice(0, 50));
  },
);
