/** Which calls wait for a slot, and which are refused. */
import { assert, assertEquals } from "@std/assert";
import { failure, RawPeer, rpcPair } from "../../tests/rpc_pair.ts";
import { seeded } from "../../tests/random.ts";
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

const STEPS = "call call call give-up give-up end ask reply".split(" ");

Deno.test(
  "no call is refused of a caller that sends the next while it has less than 896 KiB open",
  seeded(async (random) => {
    const gates = new Map<unknown, () => void>();
    const raw = new RawPeer({
      // Does not heed its signal.
      work: (id: unknown) =>
        new Promise<void>((resolve) => gates.set(id, resolve)),
      asks(this: RpcContext) {
        return this.call("question");
      },
    }, { maxInFlight: random.pick([1, 50]), onError: () => {} });
    const open = new Map<unknown, number>();
    const questions: unknown[] = [];
    let givenUp = 0;
    async function answers(): Promise<void> {
      type Message = { id: unknown; method?: string; error?: { code: number } };
      for (const { id, method, error } of await raw.exchange() as Message[]) {
        if (method !== undefined) questions.push(id);
        else open.delete(id);
        assert(error?.code !== -32000, `call ${id} was refused`);
      }
    }
    for (let id = 0; id < 200; id++) {
      const step = random.pick(STEPS);
      const size = random.pick([10, 500_000, 500_000, 1_000_000]);
      const sum = [...open.values()].reduce((sum, bytes) => sum + bytes, 0);
      const call = step === "ask"
        ? request(id, "asks")
        : request(id, "work", id, "x".repeat(size));
      if (step === "give-up" && open.size > 0) {
        const [given] = random.pick([...open]);
        open.delete(given);
        givenUp++;
        await raw.send(cancel(given));
      } else if (step === "end" && gates.size > 0) {
        const [ended, end] = random.pick([...gates]);
        gates.delete(ended);
        end();
      } else if (step === "reply" && questions.length > 0) {
        const reply = { jsonrpc: "2.0", id: questions.pop(), result: null };
        await raw.send(reply);
      } else if (sum < 917_504) {
        open.set(id, JSON.stringify(call).length);
        await raw.send(call);
      }
      await answers();
    }
    assert(givenUp > 0);
    await raw.close();
  }),
);
