import { assert, assertEquals } from "@std/assert";
import { seeded } from "../../tests/random.ts";
import { Deadlines } from "./deadlines.ts";

/** Counts how often a deadline is looked at. */
class Counted {
  static looks = 0;
  isDone = false;
  readonly #dueAt: number;

  constructor(dueAt: number) {
    this.#dueAt = dueAt;
  }

  get dueAt(): number {
    Counted.looks++;
    return this.#dueAt;
  }
}

Deno.test(
  "Deadlines costs O(log n) for each, whatever order they come in",
  seeded((random) => {
    const count = 15_500;
    const deadlines = new Deadlines<Counted>();
    Counted.looks = 0;
    const all = random.list(
      count,
      () => new Counted(random.integer(0, 29_999)),
    );
    for (const timed of all) {
      deadlines.add(timed);
    }
    const inTime = all.filter(() => random.integer(0, 1) === 0);
    for (const timed of inTime) deadlines.finish(timed);
    let taken = 0;
    let last = 0;
    for (let now = 0; now <= 30_000; now++) {
      for (let late; (late = deadlines.takeLate(now)) !== undefined; taken++) {
        assert(!late.isDone && late.dueAt >= last);
        last = late.dueAt;
      }
    }
    assertEquals(taken, count - inTime.length);
    assertEquals(deadlines.earliest, Infinity);
    const most = 6 * Math.log2(count) * count;
    assert(Counted.looks < most, `${Counted.looks} looks, at most ${most}`);
  }),
);

Deno.test("Deadlines keeps little of what is done in time", () => {
  const deadlines = new Deadlines<{ dueAt: number; isDone: boolean }>();
  const slow = Array.from({ length: 100 }, (_, i) => ({
    dueAt: 1e9 + i,
    isDone: false,
  }));
  for (const timed of slow) deadlines.add(timed);
  for (let i = 0; i < 100_000; i++) {
    const timed = { dueAt: 1e6 + i, isDone: false };
    deadlines.add(timed);
    deadlines.finish(timed);
    assert(deadlines.size <= 300, `${deadlines.size} are kept`);
  }
  for (const timed of slow) deadlines.finish(timed);
  assert(deadlines.size <= 100, `${deadlines.size} are kept`);
  assertEquals(deadlines.takeLate(Infinity), undefined);
});
