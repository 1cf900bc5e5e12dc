import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { abortable, onAbort } from "./abort.ts";

Deno.test("onAbort() calls every listener once, and none that is stopped, with one listener on the signal", () => {
  const controller = new AbortController();
  const { signal } = controller;
  let added = 0;
  const { addEventListener } = signal;
  signal.addEventListener = (...args: unknown[]) => {
    added++;
    Reflect.apply(addEventListener, signal, args);
  };
  const heard: unknown[] = [];
  const listener = (reason: unknown) => heard.push(reason);
  onAbort(signal, listener);
  onAbort(signal, listener);
  const stop = onAbort(signal, () => heard.push("stopped"));
  stop();
  controller.abort("over");
  controller.abort("again");
  stop();
  assertEquals([added, heard], [1, ["over", "over"]]);
});

Deno.test("onAbort() calls at once where the signal is aborted, and never where there is none or the other is aborted", () => {
  const heard: unknown[] = [];
  onAbort(undefined, () => heard.push("none"))();
  onAbort(AbortSignal.abort("before"), (reason) => heard.push(reason))();
  const controller = new AbortController();
  const over = new AbortController();
  onAbort(controller.signal, () => heard.push("over"), over.signal);
  over.abort();
  controller.abort();
  assertEquals(heard, ["before"]);
});

Deno.test("abortable() rejects with the reason, and ignores the promise after that", async () => {
  const controller = new AbortController();
  const { promise, reject } = Promise.withResolvers<number>();
  const waiting = abortable(promise, controller.signal);
  const reason = new Error("given up");
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => waiting), reason);
  reject(new Error("too late"));
  assertEquals(await abortable(Promise.resolve(1), undefined), 1);
});
