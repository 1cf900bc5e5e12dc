import { assertEquals } from "@std/assert";
import type { RpcContext } from "../rpc.ts";
import { METHODS } from "./methods.ts";

Deno.test("count leaves no listener behind, whatever it waits for", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners--;
    remove(...args);
  };
  const params = { to: 20, everyMs: 1 };
  const items = METHODS.count.handler.call(
    { signal } as RpcContext,
    params,
  ) as AsyncIterable<number>;
  for await (const item of items) assertEquals(listeners, 0, `${item}`);
});
