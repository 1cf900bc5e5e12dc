/** Which calls wait for a slot, and which are refused. */
import { assertEquals } from "@std/assert";
import { rpcPair } from "../../tests/rpc_pair.ts";
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
