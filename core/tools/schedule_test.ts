import { assertEquals, assertGreaterOrEqual } from "@std/assert";
import { Rounds, Share } from "./schedule.ts";

/** Reads that the platform finishes in a round. */
const FULL_ROUND = 128;

/** An event loop whose rounds are made by hand. */
class Loop {
  readonly #ends: (() => void)[] = [];
  #looks: (() => void)[] = [];
  /** Connections with a pending read; the platform prefers the last. */
  #reading: Busy[] = [];
  readonly #all: Busy[];
  /** How often the end of a round was awaited. */
  ends = 0;

  constructor(busy: number) {
    const rounds = new Rounds({
      atEnd: (end) => this.ends++ < Infinity && this.#ends.push(end),
      afterLook: (look) => this.#looks.push(look),
    });
    this.#all = Array.from({ length: busy }, () => new Busy(new Share(rounds)));
    this.#reading = [...this.#all];
  }

  /** Makes a round that completes at most `most` reads; returns their number. */
  async round(most = FULL_ROUND): Promise<number> {
    const served = this.#reading.splice(-Math.min(most, this.#reading.length));
    for (const connection of served) this.#serve(connection);
    await settled();
    this.#ends.splice(0).forEach((end) => end());
    await settled();
    return served.length;
  }

  /** Lets the platform look for I/O, and find nothing. */
  async look(): Promise<void> {
    const looks = this.#looks;
    this.#looks = [];
    looks.forEach((look) => look());
    await settled();
  }

  async #serve(connection: Busy): Promise<void> {
    connection.served++;
    connection.share.read(45);
    await connection.share.rest();
    this.#reading.push(connection);
  }

  /** How often each was served, from the least to the most. */
  get served(): number[] {
    return this.#all.map(({ served }) => served).sort((a, b) => a - b);
  }

  /** How many may be served in the next round. */
  get reading(): number {
    return this.#reading.length;
  }
}

/** A connection that always has something to say. */
class Busy {
  served = 0;
  readonly share: Share;

  constructor(share: Share) {
    this.share = share;
  }
}

/** Resolves when what has been resolved is done. */
async function settled(): Promise<void> {
  for (let i = 0; i < 8; i++) await Promise.resolve();
}

Deno.test("Rounds read every connection as often as any other when they do not fit in one", async (t) => {
  for (const busy of [129, 300, 1_000, 1_025]) {
    await t.step(`${busy} connections`, async () => {
      const loop = new Loop(busy);
      for (let i = 0; i < 1_000; i++) await loop.round();
      const { served } = loop;
      // Some are ahead by the rounds before the first that was full.
      assertGreaterOrEqual(served[0] + 4, served.at(-1)!);
    });
  }
});

Deno.test("Rounds let nobody rest when all fit in one", async () => {
  const loop = new Loop(FULL_ROUND - 1);
  for (let i = 0; i < 100; i++) {
    await loop.round();
    assertEquals(loop.reading, FULL_ROUND - 1);
  }
});

Deno.test("Rounds are not counted while few connections are busy", async () => {
  const loop = new Loop(FULL_ROUND - 1);
  for (let i = 0; i < 100; i++) await loop.round();
  assertEquals(loop.ends, 0);
});

Deno.test("Rounds end a rest when the platform finds nothing to read", async () => {
  const loop = new Loop(FULL_ROUND);
  while (loop.reading > 0) await loop.round();
  for (let looks = 0; looks < 3; looks++) {
    await loop.look();
    assertEquals(loop.reading, 0);
  }
  await loop.look();
  assertEquals(loop.reading, FULL_ROUND);
});

Deno.test("Rounds end a cycle with as many reads as came before it was quiet", async () => {
  const loop = new Loop(2 * FULL_ROUND);
  while (loop.reading > 0) await loop.round();
  for (let looks = 0; looks < 4; looks++) await loop.look();
  const before = loop.served;
  for (let i = 0; i < 100; i++) assertEquals(await loop.round(), FULL_ROUND);
  assertEquals(loop.served, before.map((served) => served + 50));
});

Deno.test("Rounds let nobody rest any more when few are busy", async () => {
  const loop = new Loop(300);
  for (let i = 0; i < 10; i++) await loop.round();
  for (let i = 0; i < 10; i++) await loop.round(10);
  assertEquals(loop.reading, 300);
});

Deno.test("Rounds go on with a cycle when one round of it was cut short", async () => {
  const loop = new Loop(4 * FULL_ROUND);
  for (let i = 0; i < 3; i++) await loop.round();
  assertEquals(loop.reading, 3 * FULL_ROUND);
  await loop.round(100);
  assertEquals(loop.reading, 3 * FULL_ROUND - 100);
  await loop.round();
  assertEquals(loop.reading, 2 * FULL_ROUND - 100);
});

Deno.test("Rounds let nobody rest for reads of few connections, however many", () => {
  const ends: (() => void)[] = [];
  const rounds = new Rounds({
    atEnd: (end) => void ends.push(end),
    afterLook: () => {
      throw new Error("Nobody rests");
    },
  });
  const shares = [new Share(rounds), new Share(rounds)];
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 2 * FULL_ROUND; i++) {
      for (const share of shares) {
        share.read(45);
        assertEquals(share.rest(), undefined);
      }
    }
    ends.splice(0).forEach((end) => end());
  }
});
