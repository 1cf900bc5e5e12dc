import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { framingOf } from "./framing.ts";

Deno.test("Framing reads each option of a user once, and keeps what it has read", () => {
  const reads: string[] = [];
  const options = {
    get prefixBytes() {
      reads.push("prefixBytes");
      return 2 as const;
    },
    get maxFrameBytes() {
      reads.push("maxFrameBytes");
      return reads.length;
    },
  };
  const framing = framingOf(options);
  assertEquals(reads, ["prefixBytes", "maxFrameBytes"]);
  assertEquals({ ...framing }, {
    prefixBytes: 2,
    littleEndian: false,
    maxFrameBytes: 2,
    maxDepth: 128,
  });
  assertStrictEquals(framingOf(framing), framing);
  // It is one of its own: a server makes a smaller one of it.
  assertEquals(
    { ...framingOf({ ...framing, maxFrameBytes: 1 }) },
    { ...framing, maxFrameBytes: 1 },
  );
});

Deno.test("Framing refuses a limit that the prefix cannot express", () => {
  assertThrows(
    () => framingOf({ prefixBytes: 1, maxFrameBytes: 256 }),
    RangeError,
    'Cannot use option "maxFrameBytes": received 256, expected Infinity or a whole number from 1 to 255',
  );
});
