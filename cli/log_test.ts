import { assertEquals } from "@std/assert";
import { type Connection, fromStreams, type ServerEvent } from "../mod.ts";
import { rpc } from "../rpc.ts";
import { ServerLog } from "./log.ts";
import type { LogSink } from "./log_output.ts";

function connection(): Connection {
  return fromStreams(new TransformStream<Uint8Array>());
}

function sink(lines: string[]): LogSink {
  return { print: (_record, text) => lines.push(text) };
}

Deno.test("ServerLog bounds every kind of line that a peer can cause, and counts the others", async () => {
  const lines: string[] = [];
  let now = 0;
  const log = new ServerLog({
    now: () => now,
    output: sink(lines),
    errors: sink(lines),
  });
  const link = connection();
  const remoteAddr = { transport: "unix", path: "" } as const;
  const kinds: [most: number, print: () => void][] = [
    [20, () => event({ type: "connected", connection: link })],
    [20, () => log.badMessage(link, new Error("no"))],
    [20, () => log.message("in", link, 1)],
    [20, () => log.message("out", link, 1)],
    [20, () => log.call(link, "add")],
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

Deno.test("ServerLog prints a line a second about accepting that fails again and again", async () => {
  const lines: string[] = [];
  let now = 0;
  const log = new ServerLog({ now: () => now, errors: sink(lines) });
  const link = connection();
  // As where peers take all descriptors, come and go.
  for (let i = 0; i < 2_000; i++) {
    const error = new Error("no");
    log.event({ type: "failed", error, isOfPeer: false });
    log.event({ type: "connected", connection: link });
    now += 1;
  }
  const line = "server: cannot accept a connection: no; trying again";
  assertEquals(lines, [line, `${line}; 999 others since the last line`]);
  link.abort();
  await link.closed;
});

Deno.test("ServerLog.end() says how many lines no other one has counted", async () => {
  const lines: string[] = [];
  const log = new ServerLog({
    now: () => 0,
    output: sink(lines),
    errors: sink(lines),
  });
  const link = connection();
  for (let i = 0; i < 21; i++) log.call(link, "add");
  log.end();
  log.end();
  assertEquals(lines.slice(20), [
    '1 line of "call" left out since the last one',
  ]);
  link.abort();
  await link.closed;
});

Deno.test("ServerLog prints none of the words of an error that a peer has sent, and no long line", async () => {
  const lines: string[] = [];
  const log = new ServerLog({
    output: sink(lines),
    errors: sink(lines),
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
