import { assertEquals } from "@std/assert";
import { PendingConnections } from "./pending.ts";

Deno.test("PendingConnections has the oldest of the peer with the most make room", () => {
  const pending = new PendingConnections();
  assertEquals(pending.first(), undefined);
  const [a1, b1, a2, c1, b2, b3] = ["a", "b", "a", undefined, "b", "b"].map(
    (peer, since) => ({ peer, since }),
  );
  for (const one of [a1, b1, a2, c1, b2, b3]) pending.add(one);
  assertEquals([pending.size, pending.first()], [6, b1]);
  pending.delete(b1);
  pending.delete(b1);
  // Two each: the oldest of all.
  assertEquals([pending.size, pending.first()], [5, a1]);
  assertEquals([...pending].sort((x, y) => x.since - y.since), [
    a1,
    a2,
    c1,
    b2,
    b3,
  ]);
  for (const one of [...pending]) pending.delete(one);
  assertEquals([pending.size, pending.first()], [0, undefined]);
});
