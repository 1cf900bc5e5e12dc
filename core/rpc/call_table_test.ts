import { assert, assertEquals } from "@std/assert";
import { seeded } from "../../tests/random.ts";
import { saltedKey } from "../tools/hashes.ts";
import { CallTable } from "./call_table.ts";

Deno.test("CallTable gives a call back once", () => {
  const table = new CallTable<number | string, { deadline: number }>();
  const call = { deadline: Infinity };
  table.add(1, call);
  table.add("1", { deadline: Infinity });
  assertEquals([table.size, table.earliest], [2, Infinity]);
  assert(table.get(1) === call);
  assert(table.take(1) === call);
  assertEquals([table.take(1), table.get(1)], [undefined, undefined]);
  assertEquals([...table.values()].length, 1);
  assertEquals(table.takeAll().length, 1);
  assertEquals([table.size, table.takeAll()], [0, []]);
});

Deno.test("CallTable tells which calls are late, and when to look", () => {
  const table = new CallTable<number, { deadline: number }>();
  for (const deadline of [50, 20, 30, Infinity, 20]) {
    table.add(table.size, { deadline });
  }
  assertEquals(table.earliest, 20);
  assertEquals(table.takeLate(19), []);
  assertEquals(table.takeLate(20), [{ deadline: 20 }, { deadline: 20 }]);
  assertEquals([table.size, table.earliest], [3, 30]);
  table.take(2);
  assertEquals(table.earliest, 30); // early is harmless
  assertEquals(table.takeLate(30), []);
  assertEquals(table.earliest, 50);
  assertEquals(table.takeLate(1e9), [{ deadline: 50 }]);
  assertEquals([table.size, table.earliest], [1, Infinity]);
});

Deno.test("CallTable takes a deadline that was put off for what it is", () => {
  const table = new CallTable<number, { deadline: number }>();
  const call = { deadline: 10 };
  table.add(1, call);
  call.deadline = Infinity;
  assertEquals(table.takeLate(10), []);
  assertEquals([table.size, table.earliest], [1, Infinity]);
});

/** What the engine makes of a small number, without a seed. */
function engineHash(key: number): number {
  let hash = (~key + (key << 15)) >>> 0;
  hash ^= hash >>> 12;
  hash = (hash + (hash << 2)) >>> 0;
  hash ^= hash >>> 4;
  hash = Math.imul(hash, 2_057) >>> 0;
  return (hash ^ (hash >>> 16)) & 0x3fff_ffff;
}

/** How many of these numbers the engine has in the fullest of 4096 buckets. */
function mostInABucket(keys: number[]): number {
  const buckets = new Uint32Array(4_096);
  for (const key of keys) buckets[engineHash(key) % buckets.length]++;
  return Math.max(...buckets);
}

Deno.test("saltedKey() lets no peer choose in which bucket of a table an id lies", () => {
  const ids: number[] = [];
  for (let id = 1; ids.length < 4_096; id++) {
    if (engineHash(id) % 4_096 === 0) ids.push(id);
  }
  assertEquals(mostInABucket(ids), 4_096);
  assert(mostInABucket(ids.map(saltedKey) as number[]) < 32);

  // What begins a text makes the engine's hash of it another one.
  const texts = ids.map((id) => saltedKey(`${id}`) as string);
  const beginnings = texts.map((text) => parseInt(text));
  assert(mostInABucket(beginnings) < 32);
});

Deno.test("saltedKey() gives each id a key of its own, and the same one again", () => {
  const ids = [
    0,
    -1,
    1,
    "1",
    '"1',
    "#1",
    "",
    2 ** 31,
    `${2 ** 31}`,
    -(2 ** 31),
  ];
  ids.push(2 ** 32, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, "\0");
  for (let id = 100; id < 100_000; id++) ids.push(id);
  const keys = ids.map(saltedKey);
  assertEquals(new Set(keys).size, ids.length);
  assertEquals(ids.map(saltedKey), keys);
  assertEquals(saltedKey(-0), saltedKey(0));
  const object = {};
  assert(saltedKey(object) === object);
});

Deno.test(
  "CallTable does what a list would do, whatever order things happen in",
  seeded((random) => {
    interface Call {
      id: number | string;
      deadline: number;
    }
    const ids = [...Array.from({ length: 40 }, (_, i) => i), "0", "1", ""];
    const table = new CallTable<number | string, Call>(saltedKey);
    let calls: Call[] = [];
    let now = 0;
    for (let step = 0; step < 5_000; step++) {
      const id = random.pick(ids);
      const call = calls.find((call) => call.id === id);
      assert(table.get(id) === call);
      if (random.integer(0, 2) === 0) {
        now += random.integer(0, 4);
        const late = calls.filter(({ deadline }) => deadline <= now);
        calls = calls.filter((call) => !late.includes(call));
        assertEquals(
          new Set(table.takeLate(now)),
          new Set(late),
        );
      } else if (call === undefined) {
        const deadline = random.integer(0, 7) === 0
          ? Infinity
          : now + random.integer(0, 99);
        const call = { id, deadline };
        table.add(id, call);
        calls.push(call);
      } else if (random.integer(0, 3) === 0) {
        call.deadline += random.integer(0, 49);
      } else {
        assert(table.take(id) === call);
        calls.splice(calls.indexOf(call), 1);
      }
      assertEquals(table.size, calls.length);
      const earliest = Math.min(...calls.map(({ deadline }) => deadline));
      assert(table.earliest <= earliest);
    }
    assertEquals(new Set(table.values()), new Set(calls));
    assertEquals(new Set(table.takeAll()), new Set(calls));
  }),
);
