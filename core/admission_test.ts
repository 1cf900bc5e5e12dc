import { assertEquals } from "@std/assert";
import { Admission, peerOf } from "./admission.ts";

function tcp(hostname: string) {
  return { transport: "tcp" as const, hostname, port: 1 };
}

Deno.test("peerOf() takes an IPv4 address as it is, and one that IPv6 carries for the same", () => {
  assertEquals(peerOf(tcp("127.0.0.1")), "127.0.0.1");
  assertEquals(peerOf(tcp("::ffff:127.0.0.1")), "127.0.0.1");
});

Deno.test("peerOf() takes the first 64 bits of an IPv6 address", () => {
  const cases: [string, string][] = [
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::6", "2001:db8:1:2::/64"],
    ["2001:db8::6", "2001:db8:0:0::/64"],
    ["2001:db8::1:2:3:4:5", "2001:db8:0:1::/64"],
    ["::1", "0:0:0:0::/64"],
    ["::", "0:0:0:0::/64"],
    ["fe80::", "fe80:0:0:0::/64"],
  ];
  for (const [hostname, peer] of cases) {
    assertEquals(peerOf(tcp(hostname)), peer, hostname);
  }
});

Deno.test("peerOf() knows nobody behind a Unix socket", () => {
  assertEquals(peerOf({ transport: "unix", path: "" }), undefined);
});

Deno.test("Admission keeps nothing of ten thousand peers that came and went", () => {
  const admission = new Admission(2);
  for (let i = 0; i < 10_000; i++) {
    assertEquals(admission.enter(`peer ${i}`), true);
    assertEquals(admission.enter(`peer ${i}`), true);
    assertEquals(admission.enter(`peer ${i}`), false);
  }
  assertEquals(admission.size, 10_000);
  for (let i = 0; i < 10_000; i++) {
    admission.leave(`peer ${i}`);
    admission.leave(`peer ${i}`);
  }
  assertEquals(admission.size, 0);
});

/** Judges an attempt at once; `undefined` if others are to be judged before. */
function judge(
  admission: Admission,
  peer: string,
  failed: boolean,
  now: number,
): "judged" | "barred" | undefined {
  let outcome: "judged" | "barred" | undefined;
  function attempt(isBarred: boolean): void {
    outcome = isBarred ? "barred" : "judged";
  }
  admission.attempt(peer, attempt, now);
  admission.settle(peer, attempt, failed && outcome === "judged", now);
  return outcome;
}

Deno.test("Admission bars a peer for the rest of a second after five failures", () => {
  const admission = new Admission(Infinity);
  for (let i = 0; i < 5; i++) {
    assertEquals(admission.isBarred("a", 100 + i), false);
    assertEquals(judge(admission, "a", true, 100 + i), "judged");
  }
  assertEquals(admission.isBarred("a", 1_099), true);
  assertEquals(judge(admission, "a", true, 1_099), "barred");
  assertEquals(admission.isBarred("b", 1_099), false);
  assertEquals(judge(admission, "b", false, 1_099), "judged");
  assertEquals(admission.isBarred("a", 1_100), false);
  assertEquals(admission.size, 0);
});

Deno.test("Admission has no more judged at once than may fail, and bars those who wait once they have", () => {
  const admission = new Admission(Infinity);
  const log: string[] = [];
  const attempts = Array.from(
    { length: 20 },
    (_, i) => (isBarred: boolean) =>
      void log.push(`${i} ${isBarred ? "barred" : "judged"}`),
  );
  for (const attempt of attempts) admission.attempt("a", attempt, 0);
  const judged = [0, 1, 2, 3, 4].map((i) => `${i} judged`);
  assertEquals(log.splice(0), judged);
  // Who succeeds makes room, and so does who gives up; who fails does not.
  admission.settle("a", attempts[0], false, 1);
  assertEquals(log.splice(0), ["5 judged"]);
  admission.settle("a", attempts[6], false, 1);
  admission.settle("a", attempts[1], true, 1);
  assertEquals(log.splice(0), []);
  admission.settle("a", attempts[2], false, 1);
  assertEquals(log.splice(0), ["7 judged"]);
  for (const i of [3, 4, 5]) admission.settle("a", attempts[i], true, 2);
  assertEquals(log.splice(0), []);
  admission.settle("a", attempts[7], true, 2);
  assertEquals(
    log.splice(0),
    attempts.map((_, i) => `${i} barred`).slice(8),
  );
  assertEquals(admission.isBarred("a", 1_000), true);
  assertEquals(admission.isBarred("a", 1_001), false);
  assertEquals(admission.size, 0);
});

Deno.test("Admission keeps nothing of failures that are over", () => {
  const admission = new Admission(Infinity);
  for (let i = 0; i < 10_000; i++) judge(admission, `peer ${i}`, true, i);
  assertEquals(admission.size, 1_000);
});
