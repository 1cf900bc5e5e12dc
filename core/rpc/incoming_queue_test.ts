/** Which calls wait for a slot, and which are refused. */
import { assertEquals } from "@std/assert";
import { failure, RawPeer, rpcPair } from "../../tests/rpc_pair.ts";
import { turn } from "../../tests/turns.ts";
import type { RpcContext } from "./contract.ts";

const LARGE = "x".repeat(1_000_000);

Deno.test("a method with large parameters calls back, and that calls again", async () => {
  const { client } = rpcPair(
    {
      large(this: RpcContext) {
        return this.call("back");
      },
      leaf: () => "leaf",
    },
    {},
    {
      back(this: RpcContext) {
        return this.call("leaf");
      },
    },
  );
  assertEquals(await client.call("large", [LARGE]), "leaf");
  await client.close();
});

Deno.test("no large notification is lost where they wait for a slot", async () => {
  const release = Promise.withResolvers<void>();
  const errors: unknown[] = [];
  let received = 0;
  const { client, server } = rpcPair({
    hold: () => release.promise,
    note: () => void received++,
  }, { maxInFlight: 1, onError: (error) => errors.push(error) });
  const held = client.call("hold");
  const notes = [1, 2, 3].map(() => client.notify("note", [LARGE]));
  // One, and the call that tells whether it has begun.
  while (server.stats().callsRunning < 3 && errors.length === 0) await turn();
  release.resolve();
  await Promise.all([held, ...notes]);
  while (received < 3 && errors.length === 0) await turn();
  assertEquals(errors, []);
  await client.close();
});

function request(id: unknown, method: string, ...params: unknown[]): object {
  return { jsonrpc: "2.0", id, method, params };
}

function cancel(id: unknown): object {
  return { jsonrpc: "2.0", method: "$/cancelRequest", params: { id } };
}

Deno.test("a call is not refused for calls that were given up, where methods wait for the peer", async () => {
  const gate = Promise.withResolvers<void>();
  let running = 0;
  const raw = new RawPeer({
    asks(this: RpcContext) {
      return this.call("question");
    },
    async deaf() {
      running++;
      await gate.promise;
    },
    now: () => "now",
  }, { onError: () => {} });
  await raw.send(request("asks", "asks"));
  const [{ id }] = await raw.receive(1) as { id: number }[];
  const large = "x".repeat(700_000);
  for (let id = 0; id < 5; id++) {
    await raw.send(request(id, "deaf", large), cancel(id));
  }
  await raw.send(request("now", "now"));
  assertEquals(await raw.receive(6), [
    ...[0, 1, 2, 3, 4].map((id) => failure(id, -32800, "Request cancelled")),
    { jsonrpc: "2.0", id: "now", result: "now" },
  ]);
  // What was given up holds no more than calls may.
  assertEquals(running, 1);
  gate.resolve();
  await raw.send({ jsonrpc: "2.0", id, result: null });
  await raw.receive(1);
  await raw.close();
});

Deno.test("a call of any size may wait behind one that made it more than 896 KiB, once those before were given up", async () => {
  const gate = Promise.withResolvers<void>();
  const raw = new RawPeer(
    { hold: () => gate.promise, size: (text: string) => text.length },
    { maxInFlight: 1 },
  );
  await raw.send(
    request(1, "hold"),
    request(2, "size", "x".repeat(780_000)),
    request(3, "size", "x".repeat(200_000)),
    cancel(2),
    request(4, "size", LARGE),
  );
  assertEquals(await raw.receive(1), [
    failure(2, -32800, "Request cancelled"),
  ]);
  while (raw.peer.connection.stats().messagesReceived < 5) await turn();
  gate.resolve();
  assertEquals(await raw.receive(3), [
    { jsonrpc: "2.0", id: 1, result: null },
    { jsonrpc: "2.0", id: 3, result: 200_000 },
    { jsonrpc: "2.0", id: 4, result: LARGE.length },
  ]);
  await raw.close();
});
