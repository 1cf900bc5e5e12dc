import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  failureOf,
  idOf,
  isResponse,
  kindOf,
  type MessageKind,
  RPC_ERRORS,
  RpcError,
} from "./jsonrpc.ts";

Deno.test("kindOf() tells what a message is", () => {
  const cases: [kind: MessageKind, text: string][] = [
    ["request", '{"jsonrpc":"2.0","id":1,"method":"a"}'],
    ["request", '{"jsonrpc":"2.0","id":"","method":"","params":[]}'],
    ["request", '{"jsonrpc":"2.0","id":-1,"method":"a","params":{}}'],
    ["request", '{"jsonrpc":"2.0","id":9007199254740991,"method":"a"}'],
    ["request", '{"jsonrpc":"2.0","method":"a"}'],
    ["request", '{"jsonrpc":"2.0","id":1,"method":"a","timeout":5,"x":1}'],
    ["request", '{"jsonrpc":"2.0","id":1,"method":"a","result":1}'],
    ["request", '{"jsonrpc":"2.0","id":1,"method":"a","params":null}'],
    ["response", '{"jsonrpc":"2.0","id":1,"result":null}'],
    ["response", '{"jsonrpc":"2.0","id":null,"error":{}}'],
    ["response", '{"id":1,"result":1,"error":1}'],
    ["batch", "[]"],
    ["batch", "[1]"],
    ["invalid", "null"],
    ["invalid", "1"],
    ["invalid", "true"],
    ["invalid", '"a"'],
    ["invalid", "{}"],
    ["invalid", '{"jsonrpc":"2.0","id":1}'],
    ["invalid", '{"id":1,"method":"a"}'],
    ["invalid", '{"jsonrpc":"1.0","id":1,"method":"a"}'],
    ["invalid", '{"jsonrpc":2,"id":1,"method":"a"}'],
    ["invalid", '{"jsonrpc":"2.0","id":1,"method":1}'],
    ["invalid", '{"jsonrpc":"2.0","id":1,"method":null}'],
    ["invalid", '{"jsonrpc":"2.0","id":1,"method":["a"]}'],
    ["invalid", '{"jsonrpc":"2.0","id":1,"method":"a","params":1}'],
    ["invalid", '{"jsonrpc":"2.0","id":1,"method":"a","params":"a"}'],
    ["invalid", '{"jsonrpc":"2.0","id":1,"method":"a","params":true}'],
    ["invalid", '{"jsonrpc":"2.0","id":null,"method":"a"}'],
    ["invalid", '{"jsonrpc":"2.0","id":1.5,"method":"a"}'],
    ["invalid", '{"jsonrpc":"2.0","id":9007199254740992,"method":"a"}'],
    ["invalid", '{"jsonrpc":"2.0","id":1e400,"method":"a"}'],
    ["invalid", '{"jsonrpc":"2.0","id":true,"method":"a"}'],
    ["invalid", '{"jsonrpc":"2.0","id":[1],"method":"a"}'],
    ["invalid", '{"jsonrpc":"2.0","id":{},"method":"a"}'],
    ["invalid", '{"__proto__":{"jsonrpc":"2.0","method":"a"}}'],
  ];
  for (const [kind, text] of cases) {
    assertEquals(kindOf(JSON.parse(text)), kind, text);
  }
  assertEquals(kindOf(undefined), "invalid");
});

Deno.test("idOf() gives an id that can be sent back", () => {
  const cases: [text: string, id: unknown][] = [
    ['{"id":0}', 0],
    ['{"id":"a"}', "a"],
    ['{"id":1.5}', null],
    ['{"id":null}', null],
    ['{"id":9007199254740993}', null],
    ["{}", null],
    ["1", null],
    ["null", null],
    ["[1]", null],
  ];
  for (const [text, id] of cases) assertEquals(idOf(JSON.parse(text)), id);
});

Deno.test("isResponse() takes either a result or a whole error, and null for the other", () => {
  const good = [
    '{"jsonrpc":"2.0","id":1,"result":null}',
    '{"jsonrpc":"2.0","id":1,"result":{}}',
    '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}',
    '{"jsonrpc":"2.0","id":1,"result":1,"error":null}',
    '{"jsonrpc":"2.0","id":1,"result":null,"error":null}',
    '{"jsonrpc":"2.0","id":1,"result":null,"error":{"code":1,"message":""}}',
    '{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"a","data":[]}}',
  ];
  const bad = [
    '{"id":1,"result":1}',
    '{"jsonrpc":"1.0","id":1,"result":1}',
    '{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":""}}',
    '{"jsonrpc":"2.0","id":1,"error":null}',
    '{"jsonrpc":"2.0","id":1,"error":"a"}',
    '{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":"a"}}',
    '{"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":"a"}}',
    '{"jsonrpc":"2.0","id":1,"error":{"code":1}}',
    '{"jsonrpc":"2.0","id":1,"error":{"message":"a"}}',
  ];
  for (const text of good) assert(isResponse(JSON.parse(text)), text);
  for (const text of bad) assert(!isResponse(JSON.parse(text)), text);
});

Deno.test("failureOf() makes the errors that the specification names", () => {
  const { parseError, invalidRequest, methodNotFound } = RPC_ERRORS;
  assertEquals(
    JSON.stringify([
      failureOf(null, parseError),
      failureOf(null, invalidRequest),
      failureOf("1", methodNotFound),
      failureOf(2, RPC_ERRORS.invalidParams, ["a"]),
      failureOf(3, RPC_ERRORS.internalError),
    ]),
    "[" + [
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}',
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid Request"}}',
      '{"jsonrpc":"2.0","id":"1","error":{"code":-32601,"message":"Method not found"}}',
      '{"jsonrpc":"2.0","id":2,"error":{"code":-32602,"message":"Invalid params","data":["a"]}}',
      '{"jsonrpc":"2.0","id":3,"error":{"code":-32603,"message":"Internal error"}}',
    ].join() + "]",
  );
});

Deno.test("RpcError has a code, a message and data", () => {
  const error = new RpcError(-1, "no", { a: 1 });
  assert(error instanceof Error);
  assertEquals(error.name, "RpcError");
  assertEquals([error.code, error.message, error.data], [-1, "no", { a: 1 }]);
  assertEquals(error.isReceived, false);
  for (const code of [1.5, NaN, Infinity, "1" as unknown as number]) {
    assertThrows(() => new RpcError(code, "no"), TypeError, "a whole number");
  }
});
