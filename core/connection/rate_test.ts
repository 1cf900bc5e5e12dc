import { assert, assertEquals } from "@std/assert";
import { CONNECTION_DEFAULTS } from "./options.ts";
import { rateBelow } from "./deadlines.ts";

Deno.test("rateBelow() gives a rate in a unit that fits", () => {
  assertEquals(rateBelow(1_000), "1398 KB/s");
  assertEquals(rateBelow(5_000), "280 KB/s");
  assertEquals(rateBelow(10_000_000), "140 B/s");
  assertEquals(rateBelow(2 ** 31 - 1), "1 B/s");
});

Deno.test("the lowest rate of the default writeTimeout is that of the pages", async () => {
  const [, kilobytes] = /^(\d+) KB/.exec(
    rateBelow(CONNECTION_DEFAULTS.writeTimeout),
  )!;
  for (const page of ["./options.ts", "../../README.md"]) {
    const text = await Deno.readTextFile(new URL(page, import.meta.url));
    const words = text.replaceAll(/\s+(\* )?/g, " ");
    assert(words.includes(`${kilobytes} KB a second`), page);
  }
});
