import { assert, assertEquals } from "@std/assert";
import { escapeDigits } from "./hashes.ts";

Deno.test("escapeDigits() leaves the JSON the same", () => {
  const values = [
    "1",
    "0123456789",
    "01234567890",
    "",
    ["4294967294", 'a"1"', '\\"1"', "\\", '"1"', "1\u0031", "١", "1a", "a1"],
    { "1": "2", "12": { "3": ["4", 5] } },
    "7 \ud83d\ude42",
  ];
  for (const value of values) {
    for (
      const json of [JSON.stringify(value), JSON.stringify(value, null, 1)]
    ) {
      assertEquals(JSON.parse(escapeDigits(json)), value);
    }
  }
  assertEquals(escapeDigits('["12","a",3]'), '["\\u00312","a",3]');
});

Deno.test("escapeDigits() makes no JSON of other text", () => {
  for (const text of ['"a"1"', '"1', '1"', '"1""2"', "'1'"]) {
    let value: unknown;
    try {
      value = JSON.parse(escapeDigits(text));
    } catch {
      continue;
    }
    assert(false, `${text} became ${JSON.stringify(value)}`);
  }
});
