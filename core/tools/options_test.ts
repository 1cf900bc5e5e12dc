import { assertEquals, assertThrows } from "@std/assert";
import { nearest } from "./nearest.ts";
import {
  anything,
  bag,
  choice,
  defaultsOf,
  flag,
  hook,
  limit,
  type Option,
  type OptionTable,
  readOptions,
  secretBag,
  signal,
  text,
  timeout,
} from "./options.ts";

interface Sample {
  hostname?: string;
  port?: number;
  verbose?: boolean;
  onEvent?: () => void;
}

const TABLE: OptionTable<Sample> = {
  hostname: text("localhost"),
  port: limit(8080, { least: 0, most: 65_535, allowInfinity: false }),
  verbose: flag(false),
  onEvent: hook(),
};
const DEFAULTS = defaultsOf<Required<Omit<Sample, "onEvent">>>(TABLE);

Deno.test("defaultsOf() gives the options that have a default, and cannot be changed", () => {
  assertEquals(DEFAULTS, { hostname: "localhost", port: 8080, verbose: false });
  assertEquals(Object.isFrozen(DEFAULTS), true);
});

Deno.test("readOptions() reads what TypeScript accepts, each option once", () => {
  const reads: string[] = [];
  class Base {
    get hostname() {
      reads.push("hostname");
      return "127.0.0.1";
    }
  }
  class Config extends Base {
    verbose = true;
    get port() {
      reads.push("port");
      return 0;
    }
    onEvent() {}
  }
  const config = new Config();
  const { onEvent, ...given } = readOptions(TABLE, config);
  assertEquals(given, { hostname: "127.0.0.1", port: 0, verbose: true });
  assertEquals(typeof onEvent, "function");
  assertEquals(reads, ["hostname", "port"]);
  for (
    const options of [
      Object.create({ port: 1 }),
      Object.assign(Object.create(null), { port: 1 }),
      Object.defineProperty({}, "port", { value: 1 }),
      Object.create(null, { port: { get: () => 1 } }),
    ]
  ) assertEquals({ ...readOptions(TABLE, options as Sample) }, { port: 1 });
});

Deno.test("readOptions() gives functions that are called with the options as this", () => {
  class Config {
    readonly #heard: string[] = [];
    get heard() {
      return this.#heard;
    }
    onEvent() {
      this.#heard.push("onEvent");
    }
  }
  const config = new Config();
  const given = readOptions(TABLE, config);
  // What was read may be read again, as a part of other options.
  const { onEvent } = readOptions(TABLE, { ...given });
  given.onEvent?.();
  onEvent?.();
  assertEquals(config.heard, ["onEvent", "onEvent"]);
});

Deno.test("readOptions() takes undefined for left out", () => {
  const options: Sample = { port: undefined, verbose: true };
  assertEquals({ ...readOptions(TABLE, options) }, { verbose: true });
  assertEquals({ ...DEFAULTS, ...readOptions(TABLE, options) }, {
    hostname: "localhost",
    port: 8080,
    verbose: true,
  });
});

Deno.test("readOptions() takes a part of what was read, and checks it no more", () => {
  let checks = 0;
  const port = anything(() => checks++);
  const given = readOptions({ port, verbose: flag() }, {
    port: 1,
    verbose: true,
  });
  const part = readOptions({ port, onEvent: hook() }, given);
  assertEquals({ ...part }, { port: 1 });
  assertEquals(checks, 1);
});

Deno.test("readOptions() refuses what is no object of options", () => {
  for (
    const [options, received] of [
      [9282, "9282"],
      ["localhost", '"localhost"'],
      [null, "null"],
      [undefined, "undefined"],
      [true, "true"],
      [[], "an array"],
      [() => {}, "a function"],
      [Promise.resolve({ port: 1 }), "a promise"],
      [new Map([["port", 1]]), "a Map"],
      [new Date(), "a Date"],
    ]
  ) {
    assertThrows(
      () => readOptions(TABLE, options as object),
      TypeError,
      `Cannot use options: received ${received}, expected an object`,
    );
  }
});

Deno.test("readOptions() refuses own properties that do not exist, and names the nearest", () => {
  for (
    const [options, message] of [
      [
        { host: "a" },
        'option "host": it does not exist; did you mean "hostname"?',
      ],
      [{ prot: 1 }, 'option "prot": it does not exist; did you mean "port"?'],
      [
        { Verbose: 1 },
        'option "Verbose": it does not exist; did you mean "verbose"?',
      ],
      [{ colour: 1 }, 'option "colour": it does not exist'],
      [{ toString: 1 }, 'option "toString": it does not exist'],
      [{ "a\nb": 1 }, 'option "a\\nb": it does not exist'],
      [{ colour: undefined }, 'option "colour": it does not exist'],
      [
        new (class {
          port = 1;
          colour = 1;
        })(),
        'option "colour": it does not exist',
      ],
    ] as [object, string][]
  ) {
    assertThrows(
      () => readOptions(TABLE, options),
      TypeError,
      `Cannot use ${message}`,
    );
  }
});

Deno.test("nearest() finds what was meant, and nothing where nothing is near", () => {
  const names = ["hostname", "port", "idleTimeout", "maxFrameBytes", "tls"];
  for (
    const [name, meant] of [
      ["host", "hostname"],
      ["hostName", "hostname"],
      ["ports", "port"],
      ["prot", "port"],
      ["timeout", "idleTimeout"],
      ["idleTimeOut", "idleTimeout"],
      ["maxFrameSize", "maxFrameBytes"],
      ["TLS", "tls"],
      ["a", undefined],
      ["colour", undefined],
      ["x".repeat(1_000_000), undefined],
    ] as const
  ) assertEquals(nearest(name, names), meant, name.slice(0, 20));
});

Deno.test("each kind of option takes its values, and shows what it refuses", () => {
  const controller = new AbortController();
  const rows: [
    option: Option,
    right: unknown[],
    expected: string,
    types: unknown[],
    ranges?: unknown[],
  ][] = [
    [
      limit(1, { least: 2, most: 9 }),
      [2, 9, Infinity],
      "Infinity or a whole number from 2 to 9",
      ["2", null, 2n, true, {}, []],
      [1, 10, 2.5, NaN, -Infinity, -0],
    ],
    [
      limit(1, { least: 0, most: 9, allowInfinity: false }),
      [0, -0, 9],
      "a whole number from 0 to 9",
      ["0"],
      [Infinity, -1],
    ],
    [
      timeout(),
      [1, 2 ** 31 - 1, Infinity],
      "Infinity or a whole number from 1 to 2147483647",
      ["1", new Date()],
      [0, 2 ** 31],
    ],
    [flag(), [true, false], "a boolean", [0, "true", null]],
    [text(), ["", "a"], "a string", [1, null, new String("a")]],
    [choice([1, 2, 4]), [1, 4], "1, 2 or 4", ["1", null], [3, NaN]],
    [choice(["a", "b"]), ["a"], '"a" or "b"', ["c", 1, null]],
    [hook(), [() => {}, class {}], "a function", [{}, null, "log"]],
    [bag(), [{}, new Map()], "an object", [[], null, () => {}, "a"]],
    [
      signal(),
      [controller.signal],
      "an AbortSignal",
      [controller, null, true],
    ],
    [anything(), [1, null, "a"], "", []],
  ];
  const shown = new Map<unknown, string>([["0", '"0"'], ["1", '"1"']]);
  for (const [option, right, expected, types, ranges = []] of rows) {
    for (const value of right) option.check("x", value);
    for (const value of [...types, ...ranges]) {
      const error = assertThrows(
        () => option.check("x", value),
        ranges.includes(value) ? RangeError : TypeError,
      );
      const received = shown.get(value) ??
        /received (.*), expected/.exec(error.message)?.[1];
      assertEquals(
        error.message,
        `Cannot use option "x": received ${received}, expected ${expected}`,
      );
    }
  }
});

Deno.test("an option shows as source would write it what was received, and nothing of a secret", () => {
  const hostile = new Proxy({}, {
    getPrototypeOf() {
      throw new Error("looked at");
    },
  });
  for (
    const [value, shown] of [
      ["9280", '"9280"'],
      ["\u2028\x1b[2J", '"\\u2028\\u001b[2J"'],
      ["x".repeat(100), `"${"x".repeat(64)}"…`],
      [null, "null"],
      [9280n, "9280n"],
      [Symbol("port"), "a symbol"],
      [{ secret: 1 }, "an object"],
      [Promise.resolve(), "a promise"],
      [new Date(), "a Date"],
      [new (class Int16 {})(), "an Int16"],
      [new (class {})(), "an object"],
      [Object.create(null), "an object"],
      [hostile, "an object"],
    ]
  ) {
    assertThrows(
      () => readOptions(TABLE, { port: value as unknown as number }),
      TypeError,
      `Cannot use option "port": received ${shown as string}, expected a whole number`,
    );
  }
  assertThrows(
    () => readOptions(TABLE, { port: -0.5 }),
    RangeError,
    "received -0.5",
  );
  assertThrows(
    () => secretBag().check("tls", "-----BEGIN PRIVATE KEY-----"),
    TypeError,
    'Cannot use option "tls": received a string, expected an object',
  );
  assertThrows(
    () => secretBag().check("tls", true),
    TypeError,
    'Cannot use option "tls": received true, expected an object',
  );
});
