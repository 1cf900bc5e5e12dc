/** What the peers of a server can make it hold, at most. */
import { assertGreater, assertLess, assertLessOrEqual } from "@std/assert";
import { connect, SERVE_DEFAULTS } from "../mod.ts";
import {
  type ChildServer,
  type Order,
  startChildServer,
  type State,
} from "./child_server.ts";
import { delay, faultTest as test, inPairs } from "./ledger.ts";
import { frame, join, Peer, prefix, repeat } from "./peers.ts";

const KIB = 1_024;
const MIB = 1_048_576;
/** Peers that attack at once. */
const PEERS = 5;
/**
 * Bytes that the engine holds for a byte of the JSON text that costs most: see
 * `costly`.
 */
const MOST_PER_BYTE = 52;

/** Most bytes that one connection can hold, as SECURITY.md has it. */
function boundOf(
  { maxFrameBytes }: { maxFrameBytes: number },
): number {
  return MOST_PER_BYTE * (2 * maxFrameBytes + 64 * KIB) +
    2 * (maxFrameBytes + 64 * KIB) + 128 * KIB;
}

/**
 * A text of about so many bytes: an object of 7 bytes each, for which the
 * engine makes room for 35 elements, nested as deep as it may be.
 */
function costly(length: number): string {
  const one = `${'{"34":'.repeat(126)}0${"}".repeat(126)}`;
  const count = Math.floor((length - 30) / (one.length + 1));
  const text = `{"hold":[${Array(count).fill(one).join()}]}`;
  return text + " ".repeat(length - text.length);
}

async function stateOf({ addr }: ChildServer): Promise<State> {
  await using client = await connect(addr);
  const state = await client.request({ state: true });
  return state as unknown as State;
}

/** How a server is when it has read all that it is going to read. */
async function restingState(server: ChildServer): Promise<State> {
  const size = order({ state: true }).length;
  for (let last = await stateOf(server), same = 0;;) {
    await delay(20);
    const state = await stateOf(server);
    same = state.bytesReceived - last.bytesReceived === size ? same + 1 : 0;
    if (same === 3) return state;
    last = state;
  }
}

/**
 * What `count` peers make a server hold while they do what `attack` says: of
 * heap and buffers, and of the process.
 */
async function heldBy(
  server: ChildServer,
  count: number,
  attack: (peer: Peer) => Promise<unknown>,
): Promise<{ held: number; process: number }> {
  // Code that is compiled on the way is no peer's doing.
  using first = await Peer.connect(server.addr);
  await attack(first);
  first[Symbol.dispose]();
  const before = await restingState(server);
  const peers = await Promise.all(
    Array.from({ length: count }, () => Peer.connect(server.addr)),
  );
  try {
    await Promise.all(peers.map((peer) => attack(peer)));
    const after = await restingState(server);
    return {
      held: after.heap + after.buffers - before.heap - before.buffers,
      process: after.process - before.process,
    };
  } finally {
    for (const peer of peers) peer[Symbol.dispose]();
  }
}

function order(order: Order): Uint8Array<ArrayBuffer> {
  return frame(JSON.stringify(order));
}

test("no peer makes a server hold more than the formula says, whatever it does", async () => {
  const maxFrameBytes = 64 * KIB;
  const limits = { ...SERVE_DEFAULTS, maxFrameBytes };
  const bound = boundOf(limits);
  const small = repeat(order({ hold: 1 }), 50);
  const attacks: Record<string, (peer: Peer) => Promise<unknown>> = {
    "messages in hand": (peer) =>
      peer.write(join(
        frame(costly(maxFrameBytes - 8)),
        repeat(frame(costly(maxFrameBytes)), 5),
      )),
    "messages in hand, and those decoded with the last of them": async (
      peer,
    ) => {
      await peer.write(frame(costly(maxFrameBytes - 8)));
      await delay(50); // so that one read brings all the rest
      await peer.write(join(small, frame(costly(60 * KIB))));
    },
    "a frame that does not end": (peer) =>
      peer.write(frame(costly(maxFrameBytes)).subarray(0, -1)),
    "replies that are not read": (peer) =>
      peer.write(repeat(order({ reply: maxFrameBytes - 2 }), 300)),
    "a length that is too large": (peer) =>
      peer.write(prefix(maxFrameBytes + 1)),
  };
  await inPairs(Object.entries(attacks), async ([name, attack]) => {
    await using server = await startChildServer({ maxFrameBytes });
    const { held, process } = await heldBy(server, PEERS, attack);
    console.log(
      `${name}: ${(held / PEERS / KIB).toFixed()} KiB, of the process ${
        (process / PEERS / KIB).toFixed()
      } KiB, at most ${(bound / KIB).toFixed()} KiB for a connection`,
    );
    assertLessOrEqual(held, PEERS * bound, name);
    assertLessOrEqual(process, 1.5 * PEERS * bound, name);
    // A bound that is far too large would hold nothing.
    if (name === "messages in hand") assertGreater(held, PEERS * bound / 3);
  });
});

/** Lets `count` peers come and go, 20 at a time. */
async function comeAndGo(
  server: ChildServer,
  count: number,
  attack: (peer: Peer) => Promise<unknown>,
): Promise<void> {
  for (let i = 0; i < count; i += 20) {
    await Promise.all(Array.from({ length: 20 }, async () => {
      using peer = await Peer.connect(server.addr);
      await attack(peer);
    }));
  }
  // Until none is left but the one that asks.
  while ((await stateOf(server)).connections > 1) await delay(10);
}

test("peers that come and go leave nothing in memory", async () => {
  const deep = frame("[".repeat(MIB));
  const attacks: Record<string, [number, (peer: Peer) => Promise<unknown>]> = {
    "announce 4 GiB": [200, async (peer) => {
      await peer.write(prefix(4_294_967_295));
      await peer.ended();
    }],
    "announce 1 MiB": [200, async (peer) => {
      await peer.write(join(prefix(MIB), prefix(0)));
      await peer.conn.closeWrite();
      await peer.ended();
    }],
    "nest 1 MiB deep": [20, async (peer) => {
      await peer.write(deep);
      await peer.take(1);
    }],
    "ask and leave": [200, async (peer) => {
      await peer.write(repeat(order({ reply: 10_000 }), 10));
      await peer.take(1);
    }],
    "ask and read": [200, async (peer) => {
      await peer.write(repeat(order({ later: 10_000 }), 10));
      await peer.take(10);
    }],
  };
  await using server = await startChildServer();
  for (const [name, [count, attack]] of Object.entries(attacks)) {
    await comeAndGo(server, count, attack);
    const before = await stateOf(server);
    await comeAndGo(server, count, attack);
    const after = await stateOf(server);
    // Buffers are given back some time after they are garbage.
    const heap = after.heap - before.heap;
    const process = after.process - before.process;
    console.log(`${name}: ${heap >> 10} KiB, of the process ${process >> 10}`);
    assertLess(heap, MIB / 2, name);
    assertLess(process, 128 * MIB, name);
  }
});

test("idle, announcing and blocked peers cost a server what they should", async () => {
  const announced = frame("x".repeat(MIB)).slice(0, 300);
  const cases: [string, number, number, (peer: Peer) => Promise<unknown>][] = [
    ["spoke once", 500, 24, async (peer) => {
      await peer.write(frame('"hello"'));
      await peer.take(1);
    }],
    [
      "announces 1 MiB",
      500,
      32,
      (peer) => peer.write(announced),
    ],
    // 64 KiB may wait, one reply more, and what is left of the request.
    [
      "reads none of its replies of 1 MiB",
      20,
      2_560,
      (peer) => peer.write(repeat(order({ reply: MIB - 2 }), 32)),
    ],
    ["sends and sends to a handler that never ends", 10, 512, (peer) => {
      const flood = repeat(order({ hold: 1 }), 4_000);
      const writing = (async () => {
        for (let i = 0; i < 200; i++) await peer.write(flood);
      })();
      return Promise.race([writing.catch(() => {}), delay(100)]);
    }],
  ];
  await inPairs(cases, async ([name, count, most, attack]) => {
    await using server = await startChildServer();
    const { held, process } = await heldBy(server, count, attack);
    console.log(
      `a peer that ${name}: ${
        (held / count / KIB).toFixed(1)
      } KiB, of the process ${(process / count / KIB).toFixed(1)} KiB`,
    );
    assertLess(held / count, most * KIB, name);
    assertLess(process / count, 1.5 * most * KIB, name);
  });
});
