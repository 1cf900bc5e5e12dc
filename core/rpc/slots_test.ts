import { assertEquals, assertLessOrEqual } from "@std/assert";
import { seeded } from "../../tests/random.ts";
import { Slots } from "./slots.ts";

Deno.test(
  "Slots bound the bytes of all methods at work, given up or not",
  seeded((random) => {
    const limits = {
      most: 10,
      mostBytes: 1_000,
      mostAbandoned: 10,
      overhead: 5,
    };
    const slots = new Slots(limits);
    const taken: number[] = [];
    const abandoned: number[] = [];
    for (let i = 0; i < 100_000; i++) {
      const bytes = random.integer(1, random.pick([10, 300, 1_000, 5_000]));
      const step = random.pick([
        "start",
        "start",
        "leave",
        "abandon",
        "rest",
      ]);
      if (step === "start" && !slots.isFull(bytes)) {
        slots.take(bytes);
        taken.push(bytes);
      } else if (step === "leave" && taken.length > 0) {
        slots.leave(taken[0]);
        slots.rest(taken.shift()!);
      } else if (step === "abandon" && taken.length > 0) {
        slots.leave(taken[0]);
        abandoned.push(taken.shift()!);
      } else if (step === "rest" && abandoned.length > 0) {
        slots.rest(abandoned.shift()!);
      }
      const held = [...taken, ...abandoned];
      const sum = held.reduce((sum, bytes) => sum + bytes + limits.overhead, 0);
      assertEquals(
        [slots.taken, slots.working, slots.bytes],
        [taken.length, held.length, sum],
      );
      if (held.length > 1) assertLessOrEqual(slots.bytes, limits.mostBytes);
      assertLessOrEqual(held.length, limits.most + limits.mostAbandoned);
    }
  }),
);
