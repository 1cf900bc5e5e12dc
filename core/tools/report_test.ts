import { assert, assertEquals, assertMatch } from "@std/assert";
import { callHook, Reporter, useReporter } from "./report.ts";

/** Runs `body`, and gives what was reported meanwhile. */
async function reportsOf(body: () => void | Promise<void>): Promise<string[]> {
  const lines: string[] = [];
  const restore = useReporter(
    new Reporter((line) => lines.push(line), () => 0),
  );
  try {
    await body();
  } finally {
    restore();
  }
  return lines;
}

Deno.test("Reporter prints a few errors a second, and how many it left out", () => {
  const lines: string[] = [];
  let now = 0;
  const reporter = new Reporter((line) => lines.push(line), () => now);
  for (let i = 0; i < 100; i++) reporter.report(i);
  assertEquals(lines.slice(4), [
    "Uncaught 4",
    "More errors in this second are counted, and not printed",
  ]);
  now = 1_000;
  reporter.report("late");
  assertEquals(lines.slice(6), [
    "95 more errors were not printed",
    "Uncaught late",
  ]);
});

Deno.test("Reporter prints the stack and the causes, and nothing that forges a line", () => {
  const lines: string[] = [];
  const reporter = new Reporter((line) => lines.push(line), () => 0);
  const cause = new RangeError("inner\x1b[2J");
  reporter.report(new TypeError("a\nroot logged in", { cause }));
  const [text] = lines;
  const [head, frame] = text.split("\n");
  assertEquals(head, "TypeError: a\\u000aroot logged in");
  assertMatch(frame, /^ {4}at /);
  assertMatch(text, /\nCaused by: RangeError: inner\\u001b\[2J\n {4}at /);
});

Deno.test("Reporter takes whatever may be thrown", () => {
  const lines: string[] = [];
  const reporter = new Reporter((line) => lines.push(line), () => 0);
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  reporter.report(proxy);
  reporter.report(undefined);
  reporter.report(Object.create(null));
  reporter.report(new Error("x".repeat(100_000)));
  const loop = new Error("loop");
  loop.cause = loop;
  reporter.report(loop);
  assertEquals(lines.length, 5);
  assertEquals(lines[1], "Uncaught undefined");
  for (const line of lines) assert(line.length < 5_000);
});

Deno.test("callHook() reports a hook that throws or rejects, and ends nothing", async () => {
  const lines = await reportsOf(async () => {
    callHook(undefined);
    callHook(() => {
      throw new Error("thrown");
    });
    callHook((text) => Promise.reject(new Error(text)), "rejected");
    callHook(() => ({
      get then(): unknown {
        throw new Error("looked at");
      },
    }));
    await new Promise((resolve) => setTimeout(resolve));
  });
  assertEquals(
    lines.map((line) => line.split("\n")[0]),
    ["Error: thrown", "Error: rejected", "Error: looked at"],
  );
});
