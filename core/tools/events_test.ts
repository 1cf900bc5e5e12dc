import { assertEquals } from "@std/assert";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { Reports } from "../../tests/reports.ts";
import { Events } from "./events.ts";

Deno.test("emit() tells the function and the channel, whatever the function throws", () => {
  using reports = new Reports();
  const told: unknown[] = [];
  const events = new Events<{ type: string }>("test", (event) => {
    told.push(event);
    throw new Error("a log that fails");
  });
  const published: unknown[] = [];
  const listener = (message: unknown) => void published.push(message);
  subscribe("test", listener);
  events.emit({ type: "a" });
  unsubscribe("test", listener);
  events.emit({ type: "b" });
  assertEquals(told, [{ type: "a" }, { type: "b" }]);
  assertEquals(published, [{ type: "a" }]);
  assertEquals(reports.errors.map(String), [
    "Error: a log that fails",
    "Error: a log that fails",
  ]);
  new Events("test", undefined).emit({ type: "c" });
});

Deno.test("emit() tells what happens while somebody is told after it, to everybody", () => {
  const told: string[] = [];
  const events = new Events<{ type: string }>("order", ({ type }) => {
    told.push(`hook ${type}`);
    if (type === "connected") events.emit({ type: "closed" });
  });
  const listener = (message: unknown) =>
    void told.push(`channel ${(message as { type: string }).type}`);
  subscribe("order", listener);
  events.emit({ type: "connected" });
  unsubscribe("order", listener);
  assertEquals(told, [
    "hook connected",
    "channel connected",
    "hook closed",
    "channel closed",
  ]);
});
