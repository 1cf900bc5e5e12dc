import { assertEquals } from "@std/assert";
import { Admission, firstToGo, peerOf } from "./peers.ts";

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

Deno.test("peerOf() knows no address behind a Unix socket", () => {
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

Deno.test("Admission bars a peer for the rest of a second after five failures", () => {
  const admission = new Admission(Infinity);
  for (let i = 0; i < 5; i++) {
    assertEquals(admission.isBarred("a", 100 + i), false);
    admission.fail("a", 100 + i);
  }
  assertEquals(admission.isBarred("a", 104), true);
  assertEquals(admission.isBarred("a", 1_099), true);
  assertEquals(admission.isBarred("b", 1_099), false);
  assertEquals(admission.isBarred("a", 1_100), false);
  assertEquals(admission.size, 0);
});

Deno.test("Admission keeps nothing of failures that are over", () => {
  const admission = new Admission(Infinity);
  for (let i = 0; i < 10_000; i++) admission.fail(`peer ${i}`, i);
  assertEquals(admission.size, 1_000);
});

Deno.test("Admission keeps the failures of 10 000 peers, and forgets the oldest beyond", () => {
  const admission = new Admission(Infinity);
  for (let i = 0; i < 12_000; i++) {
    for (let j = 0; j < 5; j++) admission.fail(`peer ${i}`, 0);
  }
  assertEquals(admission.size, 10_000);
  assertEquals(admission.isBarred("peer 0", 1), false);
  assertEquals(admission.isBarred("peer 11999", 1), true);
});

Deno.test("firstToGo() has the oldest of the peer with the most make room", () => {
  const peers = ["a", "b", "a", undefined, "b", "b"];
  const pending = new Set(peers.map((peer, at) => ({ peer, at })));
  const gone: number[] = [];
  for (let next; (next = firstToGo(pending)) !== undefined;) {
    gone.push(next.at);
    pending.delete(next);
  }
  // The one that "b" has more, then the oldest of two each, and so on.
  assertEquals(gone, [1, 0, 4, 2, 3, 5]);
});
