import { assertEquals } from "@std/assert";
import { seeded } from "../../tests/random.ts";
import { LeavableQueue } from "./queue.ts";

Deno.test(
  "LeavableQueue gives what a list would give, whoever leaves it",
  seeded((random) => {
    const queue = new LeavableQueue<{ isWaiting: boolean }>();
    const list: { isWaiting: boolean }[] = [];
    for (let i = 0; i < 20_000; i++) {
      const step = random.pick([
        "push",
        "push",
        "push",
        "shift",
        "leave",
        "leave",
      ]);
      if (step === "push") {
        const item = { isWaiting: true };
        queue.push(item);
        list.push(item);
      } else if (step === "shift") {
        assertEquals(queue.peek() === list[0], true);
        assertEquals(queue.shift() === list.shift(), true);
      } else if (list.length > 0) {
        const [item] = list.splice(random.integer(0, list.length - 1), 1);
        item.isWaiting = false;
        queue.leave();
      }
      assertEquals(queue.size, list.length);
    }
    while (list.length > 0) {
      assertEquals(queue.shift() === list.shift(), true);
    }
    assertEquals(queue.shift(), undefined);
  }),
);
