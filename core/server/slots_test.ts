import { assert, assertEquals, assertRejects } from "@std/assert";
import { Slots } from "./slots.ts";

const NEVER = new AbortController().signal;

Deno.test("Slots gives a slot that is free at once, and one that comes back to the first that waits", async () => {
  const slots = new Slots(1);
  assertEquals(slots.take(NEVER), undefined);
  assert(slots.isFull);
  const order: number[] = [];
  const waiting = [1, 2].map(async (number) => {
    await slots.take(NEVER);
    order.push(number);
  });
  slots.release();
  await waiting[0];
  assertEquals(order, [1]);
  assert(slots.isFull);
  slots.release();
  await waiting[1];
  assertEquals(order, [1, 2]);
  slots.release();
  assert(!slots.isFull);
});

Deno.test("Slots loses no slot that comes in the moment when a wait is given up", async () => {
  const slots = new Slots(1);
  slots.take(NEVER);
  const givenUp = new AbortController();
  const waiting = slots.take(givenUp.signal)!;
  slots.release();
  givenUp.abort(new Error("given up"));
  // Whichever comes first.
  await waiting.then(() => slots.release(), () => {});
  assert(!slots.isFull);

  slots.take(NEVER);
  const late = slots.take(givenUp.signal)!;
  await assertRejects(() => late, Error, "given up");
  slots.release();
  assert(!slots.isFull);
});

Deno.test("Slots tells when one is free, or that it is not waited for any more", async () => {
  const slots = new Slots(1);
  await slots.untilFree(NEVER);
  slots.take(NEVER);
  const closing = new AbortController();
  const waiting = [slots.untilFree(NEVER), slots.untilFree(closing.signal)];
  closing.abort();
  await waiting[1];
  assert(slots.isFull);
  slots.release();
  await waiting[0];
});
