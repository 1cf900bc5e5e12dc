/** No shape of JSON costs much more than its bytes, whoever takes it. */
import { assert, assertEquals, assertLess } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import { start } from "./process.ts";
import { SEED } from "./random.ts";
import type { Costs } from "./shapes.ts";

/** Times the median shape that others may cost. */
const MOST = 10;
/** The engine makes a hidden class for each object of a shape of its own. */
const MOST_OF: Record<string, number> = { "different objects": 25 };

Deno.test("no shape of JSON costs a consumer more than ten times the median shape", async () => {
  // As the programs run: without the flag, strings of digits cost a hundred
  // times as much.
  const [flags] = /--v8-flags=\S+/.exec(config.tasks.server)!;
  for (const task of ["client", "demo"] as const) {
    assert(config.tasks[task].includes(flags), task);
  }
  await using child = start(Deno.execPath(), [
    ...["run", "--allow-all", flags],
    new URL("shapes.ts", import.meta.url).pathname,
  ], { env: { TEST_SEED: String(SEED) } });
  assertEquals((await child.status).code, 0, await child.stderr());
  const lines = (await child.stdout()).trimEnd().split("\n");
  assertEquals(lines.length, 8);
  for (const line of lines) {
    const { consumer, costs }: Costs = JSON.parse(line);
    const sorted = Object.values(costs).sort((a, b) => a - b);
    const median = sorted[sorted.length >> 1];
    const [[name, most]] = Object.entries(costs).sort(([, a], [, b]) => b - a);
    console.log(
      `${consumer}: ${median.toFixed(1)} ms of CPU time by MiB, at most ${
        most.toFixed(1)
      } (${name})`,
    );
    for (const [name, cost] of Object.entries(costs)) {
      const message = `${consumer}, ${name}, TEST_SEED=${SEED}`;
      assertLess(cost, (MOST_OF[name] ?? MOST) * median, message);
    }
  }
});
