import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { RpcError } from "./jsonrpc.ts";
import type { RpcContext, StandardSchema } from "./contract.ts";
import { method } from "./contract.ts";
import { type MethodTable, tableOf } from "./methods.ts";

// No method here looks at its call.
const CALL = {} as RpcContext;

function schema<T>(
  validate: StandardSchema<T>["~standard"]["validate"],
): StandardSchema<T> {
  return { "~standard": { version: 1, vendor: "test", validate } };
}

const PAIR = schema<[number, number]>((value) =>
  Array.isArray(value) && value.length === 2
    ? { value: [Number(value[0]), Number(value[1])] }
    : {
      issues: [
        { message: "expected two", path: ["a", 1, { key: "b" }, Symbol("c")] },
        { message: "no path" },
      ],
    }
);

function invoke(table: MethodTable, name: string, params?: object): unknown {
  return table.get(name)!(CALL, params);
}

Deno.test("tableOf() calls a function with its parameters", () => {
  const seen: unknown[][] = [];
  const table = tableOf({
    all(this: RpcContext, ...params: unknown[]) {
      seen.push([this === CALL, ...params]);
    },
  }, false);
  invoke(table, "all");
  invoke(table, "all", []);
  invoke(table, "all", [1, [2], { c: 3 }]);
  invoke(table, "all", { a: 1, b: 2 });
  assertEquals(seen, [
    [true],
    [true],
    [true, 1, [2], { c: 3 }],
    [true, { a: 1, b: 2 }],
  ]);
});

Deno.test("method() gives a function the call as its first parameter, whatever the peer sends", () => {
  const seen: unknown[][] = [];
  const table = tableOf({
    arrow: method((context, a?: unknown, ...rest: unknown[]) =>
      void seen.push([context === CALL, a, rest])
    ),
    checked: method({
      params: PAIR,
      handler: method((context, [a, b]) =>
        void seen.push([context === CALL, a, b])
      ),
    }),
  }, false);
  invoke(table, "arrow");
  invoke(table, "arrow", []);
  invoke(table, "arrow", [1, 2, 3]);
  invoke(table, "arrow", { call: "forged" });
  invoke(table, "checked", ["1", 2]);
  assertEquals(seen, [
    [true, undefined, []],
    [true, undefined, []],
    [true, 1, [2, 3]],
    [true, { call: "forged" }, []],
    [true, 1, 2],
  ]);
});

Deno.test("method() rejects what cannot be called", () => {
  class Counter {}
  for (
    const [value, text] of [
      [Counter, "received a function, expected a function that is not a class"],
      [
        {},
        "received an object, expected a function or an object with a handler",
      ],
      [undefined, "received undefined, expected a function or an object"],
    ] as [never, string][]
  ) {
    assertThrows(() => method(value), TypeError, text);
  }
});

Deno.test("tableOf() takes no more parameters than a function can", () => {
  const table = tableOf({ count: (...params) => params.length }, false);
  assertEquals(invoke(table, "count", Array(10_000).fill(0)), 10_000);
  const error = assertThrows(
    () => invoke(table, "count", Array(500_000).fill(0)),
    RpcError,
    "Invalid params",
  );
  assertEquals(error.code, -32602);
});

Deno.test("tableOf() has the methods that are own properties, and nothing else", () => {
  class Methods {
    [name: string]: () => unknown;
    own = () => "own";
  }
  const methods = new Methods();
  const table = tableOf(methods, false);
  assertEquals([...table.keys()], ["own", "rpc.sync"]);
  for (
    const name of [
      "constructor",
      "__proto__",
      "toString",
      "valueOf",
      "hasOwnProperty",
      "then",
      "rpc.discover",
      "",
    ]
  ) {
    assertEquals(table.get(name), undefined, name);
  }
  methods.late = () => "late";
  assertEquals(table.get("late"), undefined);
});

Deno.test("tableOf() checks parameters where there is a schema", () => {
  const table = tableOf({
    add: method({ params: PAIR, handler: ([a, b]) => a + b }),
  }, false);
  assertEquals(invoke(table, "add", ["1", "2"]), 3);
  for (const params of [undefined, {}, [1], [1, 2, 3]]) {
    const error = assertThrows(
      () => invoke(table, "add", params),
      RpcError,
      "Invalid params",
    );
    assertEquals(error.code, -32602);
    assertEquals(error.data, [
      { message: "expected two", path: ["a", 1, "b", "Symbol(c)"] },
      { message: "no path", path: undefined },
    ]);
  }
});

Deno.test("tableOf() waits for a schema that takes its time", async () => {
  const table = tableOf({
    upper: method({
      params: schema<string>((value) =>
        Promise.resolve(
          Array.isArray(value)
            ? { value: String(value[0]).toUpperCase() }
            : { issues: [{ message: "no array" }] },
        )
      ),
      handler: (text) => text,
    }),
  }, false);
  assertEquals(await invoke(table, "upper", ["a"]), "A");
  const error = await Promise.resolve(invoke(table, "upper", {}))
    .catch((error) => error);
  assertInstanceOf(error, RpcError);
  assertEquals(error.data, [{ message: "no array", path: undefined }]);
});

Deno.test("tableOf() lists the methods if it is to", () => {
  const methods = {
    plain: () => 1,
    add: method({ description: "Adds", params: PAIR, handler: () => 1 }),
    other: { handler: () => 1 },
  };
  assertEquals(
    JSON.stringify(invoke(tableOf(methods, true), "rpc.discover")),
    '{"methods":[{"name":"plain"},{"name":"add","description":"Adds"},{"name":"other"}]}',
  );
});

Deno.test("tableOf() calls no getter of a class, and serves the exports of a module", async () => {
  let calls = 0;
  class Watched {
    get sum() {
      return calls++;
    }
    get [Symbol.iterator]() {
      return calls++;
    }
    static get name() {
      return calls++;
    }
  }
  assertThrows(() => tableOf(new Watched() as never, false), TypeError, "sum");
  class Idle {
    static get name() {
      return calls++;
    }
  }
  assertThrows(() => tableOf(new Idle() as never, false), TypeError, "object");
  assertEquals(calls, 0);
  const module = await import("../tools/promises.ts");
  assertEquals(
    [...tableOf(module as never, false).keys()],
    [...Object.keys(module), "rpc.sync"],
  );
  assertEquals([...tableOf({}, false).keys()], ["rpc.sync"]);
});

class Service {
  #sum = 0;
  add(n: number) {
    return this.#sum += n;
  }
}

Deno.test("tableOf() rejects what is no method", () => {
  const cases: [methods: unknown, text: string][] = [
    [null, "Cannot serve methods: received null, expected an object"],
    [() => {}, "received a function, expected an object"],
    [{ a: 1 }, 'Cannot serve method "a": received 1, expected a function'],
    [{ a: null }, "received null"],
    [{ a: {} }, "its handler is undefined, expected a function"],
    [
      { a: { handler() {}, param: 1 } },
      'it has a part "param", which does not',
    ],
    [{ a: { handler() {}, description: 1 } }, "its description is 1"],
    [
      { a: { handler() {}, params: {} } },
      "its params are not a Standard Schema",
    ],
    [
      { a: { handler() {}, params: null } },
      "its params are not a Standard Schema",
    ],
    [{ "rpc.a"() {} }, 'names that begin with "rpc." or "$/" are taken'],
    [{ "$/a"() {} }, 'Cannot serve method "$/a"'],
    [{ a: { b() {} } }, 'methods do not nest; write "a.b" as the name'],
    [{ a: { handlers: {} } }, 'methods do not nest; write "a.handlers"'],
    [{ a: class Point {} }, "it is a class, expected a function like"],
    [
      new Service(),
      'Cannot serve method "add": it is a member of a class, expected a plain object like { add: (...params) => instance.add(...params) }',
    ],
    [new (class extends Service {})(), 'Cannot serve method "add": it is a'],
    [
      new (class {
        get sum() {
          return 1;
        }
      })(),
      'Cannot serve method "sum": it',
    ],
    [Object.create({ inherited() {} }), 'Cannot serve method "inherited": it'],
    [[() => {}], "received an array, expected an object"],
    [new Map([["a", () => {}]]), "it is a member of a class"],
    [
      new (class Idle {})(),
      "Cannot serve methods: received an Idle without methods of its own, expected a plain object like { name: (...params) => result }",
    ],
    [
      { [Symbol("\nadd")]() {} },
      "Cannot serve method Symbol(\\u000aadd): its key is a symbol, expected a string",
    ],
    [{ add() {}, [Symbol.iterator]: 1 }, "Symbol(Symbol.iterator)"],
  ];
  for (const [methods, text] of cases) {
    assertThrows(
      () => tableOf(methods as Record<string, () => void>, false),
      TypeError,
      text,
    );
  }
});
