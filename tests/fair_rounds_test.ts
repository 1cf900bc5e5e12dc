/** Connections that are busy at the same time, each read in its round. */
import { assertEquals } from "@std/assert";
import { type Connection, fromDuplex } from "../mod.ts";
import { nextRound } from "../core/tools/schedule.ts";
import { encodeFrame } from "../framing.ts";
import { NEVER } from "./ticks.ts";
import { turn } from "./turns.ts";

/** Reads that the platform finishes in a round. */
const FULL_ROUND = 128;
const FRAME = encodeFrame("hello");

/** A stream of bytes that gives a frame when it is told to. */
class Scripted {
  #give: PromiseWithResolvers<number | null> | undefined;
  #space: Uint8Array = new Uint8Array();

  /** Whether a read is pending. */
  get isRead(): boolean {
    return this.#give !== undefined;
  }

  read(space: Uint8Array): Promise<number | null> {
    this.#space = space;
    this.#give = Promise.withResolvers();
    return this.#give.promise;
  }

  give(): void {
    this.#space.set(FRAME);
    this.#give!.resolve(FRAME.length);
    this.#give = undefined;
  }

  write(bytes: Uint8Array): Promise<number> {
    return Promise.resolve(bytes.length);
  }

  close(): void {
    this.#give?.resolve(null);
  }
}

/** Gives each a frame in one round. */
async function give(streams: Scripted[]): Promise<void> {
  for (const stream of streams) stream.give();
  // The end of the round is told in the first, that of one without reads in the
  // second.
  for (let i = 0; i < 3; i++) await nextRound();
}

function reading(streams: Scripted[]): number {
  return streams.filter(({ isRead }) => isRead).length;
}

async function takeAll(connection: Connection): Promise<number> {
  let count = 0;
  for await (const _ of connection) count++;
  return count;
}

Deno.test("connections that were served do not read before all others were", async () => {
  const busy = Array.from({ length: FULL_ROUND }, () => new Scripted());
  const last = new Scripted();
  const all = [...busy, last];
  const taken = all.map((stream) => takeAll(fromDuplex(stream, NEVER)));
  await nextRound();
  // The rounds are counted from the first that may be full, which is the next.
  for (let i = 0; i < 2; i++) {
    await give(busy);
    assertEquals(reading(busy), FULL_ROUND);
  }
  await give(busy);
  assertEquals([reading(busy), reading([last])], [0, 1]);
  await give([last]);
  assertEquals(reading(all), FULL_ROUND + 1);
  for (const stream of all) stream.close();
  assertEquals(await Promise.all(taken), [...busy.map(() => 3), 1]);
  await turn();
});
