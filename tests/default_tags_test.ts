import { assertEquals, assertRejects } from "@std/assert";
import { defaultTags } from "./default_tags.ts";

const FRAMING = new URL("../framing.ts", import.meta.url);

/** An address from which this source can be read. */
function sourceUrl(source: string): string {
  return `data:application/typescript,${encodeURIComponent(source)}`;
}

Deno.test("defaultTags() reads the literals of an interface", async () => {
  const url = sourceUrl(`
const pattern = /"/;
export interface OtherOptions {
  /** @default {1} */
  other?: number;
}
export interface SomeOptions {
  /**
   * Digits in groups.
   *
   * @default {1_000_000}
   */
  many?: number;
  /** @default {-0.5} */
  readonly few?: number;
  /** Text; with "quotes", a { and a // in it. @default {"a } // b"} */
  text?: string;
  /** @default {Infinity} */
  endless?: number;
  /** @default {false} */
  "quoted"?: boolean;
  /** @default {["a", "b"]} */
  list?: string[];
  /** @default {undefined} */
  nothing?: undefined;
  /** Has none. */
  hook?: (options: { a: number; b: Map<string, number> }) => void;
  /** @default {null} */
  method?(): { a: 1; b: 2 };
  bare?: number;
}
`);
  assertEquals(await defaultTags(url, "SomeOptions"), {
    many: 1_000_000,
    few: -0.5,
    text: "a } // b",
    endless: Infinity,
    quoted: false,
    list: ["a", "b"],
    nothing: undefined,
    method: null,
  });
});

Deno.test("defaultTags() follows the interfaces that an interface extends", async () => {
  const url = sourceUrl(`
import { FRAMING_DEFAULTS, type FramingOptions as Framing } from "${FRAMING}";
interface Base<T> {
  /** @default {1} */
  a?: T;
  /** @default {2} */
  b?: T;
  /** @default {3} */
  c?: T;
}
interface Middle<T extends { x: () => void } = { x: () => void }>
  extends Base<T>, Omit<Framing, "prefixBytes" | "littleEndian">, Deno.ListenOptions {
  /** @default {20} */
  b?: T;
  /** Required here. */
  c: T;
}
export interface Last extends Partial<Omit<Pick<Middle, "a" | "b" | "maxFrameBytes">, "a">> {}
`);
  assertEquals(await defaultTags(url, "Middle"), {
    a: 1,
    b: 20,
    maxFrameBytes: 1_048_576,
    maxDepth: 128,
  });
  assertEquals(await defaultTags(url, "Last"), {
    b: 20,
    maxFrameBytes: 1_048_576,
  });
});

Deno.test("defaultTags() rejects what it cannot read", async () => {
  const cases = [
    ["interface Other {}", "no interface Options"],
    ["interface Options extends Missing {}", "no interface Missing"],
    ["interface Options {", "the interface has no end"],
    ["interface Options {\n  /** @default 4 */\n  a: 1;\n}", "no literal"],
    ["interface Options {\n  /** @default {} */\n  a: 1;\n}", "no literal"],
    ["interface Options {\n  /** @default {ONE} */\n  a: 1;\n}", "no literal"],
    [
      "interface Options {\n  /** @default {1}\n * @default {2} */\n  a: 1;\n}",
      "more than one",
    ],
  ];
  for (const [source, text] of cases) {
    await assertRejects(
      () => defaultTags(sourceUrl(source), "Options"),
      Error,
      text,
    );
  }
});
