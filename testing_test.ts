import {
  assert,
  assertEquals,
  assertGreater,
  assertInstanceOf,
  assertLessOrEqual,
  assertRejects,
} from "@std/assert";
import { ConnectionClosedError, FrameTooLargeError } from "./mod.ts";
import { rpc } from "./rpc.ts";
import { connectionPair } from "./testing.ts";
import { turn } from "./tests/turns.ts";

const KIB = 1_024;

Deno.test("connectionPair() carries messages both ways, and ends cleanly at both ends", async () => {
  const [near, far] = connectionPair<string, number>();
  const echoing = (async () => {
    for await (const message of far) await far.send(`${message + 1}`);
    await far.close();
  })();
  assertEquals(await near.request(1), "2");
  await near.close();
  await echoing;
  assertEquals(await near.closed, { clean: true });
  assertEquals(await far.closed, { clean: true });
});

Deno.test("connectionPair() can be closed one way", async () => {
  const [near, far] = connectionPair();
  near.send("question");
  await near.closeWrite(); // nothing is read yet
  assertEquals(await Array.fromAsync(far), ["question"]);
  await far.send("answer");
  far.close();
  assertEquals(await Array.fromAsync(near), ["answer"]);
  assertEquals(await near.closed, { clean: true });
  assertEquals(await far.closed, { clean: true });
});

Deno.test("connectionPair() makes one end wait where the other does not read", async () => {
  const [near, far] = connectionPair();
  const message = "x".repeat(16 * KIB);
  let sent = 0;
  const sending = (async () => {
    for (; sent < 100; sent++) await near.send(message);
    await near.close();
  })();
  for (let i = 0; i < 50; i++) await turn();
  assertLessOrEqual(near.stats().bytesSent, 2 * 64 * KIB);
  assertGreater(near.stats().bytesQueued, 0);
  assertLessOrEqual(sent, 16);
  assertEquals((await Array.fromAsync(far)).length, 100);
  await far.close();
  await sending;
});

Deno.test("connectionPair() takes options for each end", async () => {
  const [near, far] = connectionPair({}, { maxFrameBytes: 10 });
  await assertRejects(() => far.send("x".repeat(20)), FrameTooLargeError);
  const next = far[Symbol.asyncIterator]().next();
  near.send("x".repeat(20));
  await assertRejects(() => next, FrameTooLargeError);
  await Promise.all([near.close(), far.closed]);
});

Deno.test("connectionPair() breaks at both ends where one is aborted", async () => {
  const [near, far] = connectionPair();
  const reply = near.request("never answered");
  const next = far[Symbol.asyncIterator]();
  await next.next();
  far.abort(new Error("enough"));
  await assertRejects(() => reply, ConnectionClosedError);
  await near.close();
  const { clean, cause } = await far.closed;
  assert(!clean);
  assertInstanceOf(cause, Error);
});

Deno.test("connectionPair() carries calls, and needs no permission", {
  permissions: "none",
}, async () => {
  const [near, far] = connectionPair();
  await using server = rpc(far, { add: (a: number, b: number) => a + b });
  await using client = rpc<{ add(a: number, b: number): number }>(near);
  assertEquals(await client.api.add(1, 2), 3);
  assertEquals(server.connection, far);
});
