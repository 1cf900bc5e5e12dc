import { assertEquals } from "@std/assert";
import { type Connection, fromStreams, type ServerEvent } from "../mod.ts";
import { rpc } from "../rpc.ts";
import { ServerLog } from "./log.ts";

function connection(): Connection {
  return fromStreams(new TransformStream<Uint8Array>());
}

Deno.test("ServerLog bounds every kind of line that a peer can cause, and counts the others", async () => {
  const lines: string[] = [];
  let now = 0;
  const log = new ServerLog({
    format: "text",
    now: () => now,
    print: (line) => lines.push(line),
    printError: (line) => lines.push(line),
  });
  const link = connection();
  const remoteAddr = { transport: "unix", path: "" } as const;
  const kinds: [most: number, print: () => void][] = [
    [20, () => event({ type: "connected", connection: link })],
    [20, () => log.badMessage(link, new Error("no"))],
    [1, () => event({ type: "rejected", remoteAddr, reason: "maxPending" })],
    [20, () => event({ type: "closed", connection: link, end: CLEAN })],
  ];
  for (const [most, print] of kinds) {
    lines.length = 0;
    for (let i = 0; i < 1_000; i++) print();
    assertEquals(lines.length, most);
    now += 1_000;
    print();
    assertEquals(
      lines.at(-1)!.split("; ").at(-1),
      `${1_000 - most} others since the last line`,
    );
    print();
    assertEquals(lines.length, most === 1 ? 2 : most + 2);
  }
  for (let i = 0; i < 30; i++) log.badMessage(link, new Error("no"));
  lines.length = 0;
  for (let i = 0; i < 2; i++) event({ type: "draining", connections: 0 });
  assertEquals(lines, [
    '10 lines of "badMessage" left out since the last one',
    '1 line of "rejected" left out since the last one',
    "Shutting down with 0 connections open",
    "Shutting down with 0 connections open",
  ]);
  link.abort();
  await link.closed;

  function event(event: Partial<ServerEvent>): void {
    log.event(event as ServerEvent);
  }
});

const CLEAN = { clean: true } as const;

Deno.test("ServerLog begins lines of text with the time where it is told to", () => {
  for (const isTimed of [false, true]) {
    const lines: string[] = [];
    const log = new ServerLog({
      format: "text",
      isTimed,
      print: (line) => lines.push(line),
      printError: (line) => lines.push(line),
    });
    log.event({ type: "draining", connections: 1 });
    log.printFailed(new Error("full"));
    const [first, second] = lines.map((line) =>
      line.replace(/^\d{4}-\d\d-\d\dT[\d:.]{12}Z /, "TIME ")
    );
    const time = isTimed ? "TIME " : "";
    assertEquals(first, `${time}Shutting down with 1 connection open`);
    assertEquals(
      second,
      `${time}server: cannot print: full; going on without`,
    );
  }
});

Deno.test("ServerLog prints none of the words of an error that a peer has sent, and no long line", async () => {
  const lines: string[] = [];
  const log = new ServerLog({
    format: "text",
    print: (line) => lines.push(line),
    printError: (line) => lines.push(line),
  });
  const there = new TransformStream<Uint8Array, Uint8Array>();
  const back = new TransformStream<Uint8Array, Uint8Array>();
  const heard = Promise.withResolvers<unknown>();
  const peer = rpc(
    fromStreams({ readable: there.readable, writable: back.writable }),
    {},
    { onError: (error) => heard.resolve(error) },
  );
  const other = fromStreams({
    readable: back.readable,
    writable: there.writable,
  });
  const error = { code: 7, message: "root logged in" };
  await other.send({ jsonrpc: "2.0", id: null, error });
  log.badMessage(peer.connection, await heard.promise);
  log.badMessage(peer.connection, new Error("x".repeat(100_000)));
  assertEquals(lines.map((line) => line.slice(line.indexOf(": ") + 2)), [
    "the peer sent error 7",
    `${"x".repeat(300)}…`,
  ]);
  other.abort();
  await peer.close();
});
