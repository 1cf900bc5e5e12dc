import { assert, assertEquals } from "@std/assert";
import { echo } from "../cli/echo.ts";
import { type Handler, type JsonValue, NO_REPLY, serve } from "../mod.ts";
import { textsOf } from "./load_batch.ts";
import { load, type LoadOptions, type LoadResult } from "./load_run.ts";

/** Loads a server whose handler is given, for a moment. */
async function loadOf(
  handler: Handler,
  options: Partial<LoadOptions> = {},
): Promise<LoadResult> {
  await using server = serve({ hostname: "127.0.0.1", port: 0 }, handler);
  assert(server.addr.transport === "tcp");
  return await load({
    port: server.addr.port,
    connections: 1,
    open: 8,
    seconds: 0.05,
    payload: "17",
    ...options,
  });
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** The number that the text of a message begins with. */
function numberOf(message: JsonValue): number {
  return Number(JSON.stringify(message).match(/\d{8}/)?.[0]);
}

function echoNumber(number: number): JsonValue {
  const text = `${String(number).padStart(8, "0")}${"x".repeat(9)}`;
  return { status: "success", echo: text };
}

Deno.test("load() exchanges messages of all kinds with a right server", async () => {
  for (const payload of ["8", "17", "u4", "mix", "100000"]) {
    const { errors, messages, leastShare } = await loadOf(echo, {
      connections: 3,
      payload,
    });
    assertEquals(errors, [], payload);
    assert(0 <= leastShare && leastShare <= 1, payload);
    assert(messages >= 24, payload);
  }
});

Deno.test("load() takes any way to write the same JSON", async () => {
  const { errors } = await loadOf((message) => {
    const { status, echo: text } = echo(message) as Record<string, string>;
    return { echo: text, status };
  });
  assertEquals(errors, []);
});

Deno.test("load() finds what is wrong with a single reply", async () => {
  const handlers: [string, Handler][] = [
    [
      "wrong: reply 6 of 8 is wrong",
      (message) => numberOf(message) === 5 ? "x" : echo(message),
    ],
    [
      "wrong: reply 6 of 8 is wrong",
      (message) => numberOf(message) === 5 ? echoNumber(55) : echo(message),
    ],
    [
      "order: reply 4 of 8 is out of order",
      (message) => {
        const swapped = new Map([[3, 6], [6, 3]]).get(numberOf(message));
        return swapped === undefined ? echo(message) : echoNumber(swapped);
      },
    ],
    [
      "missing: reply 6 of 8 is missing",
      (message) => numberOf(message) === 5 ? NO_REPLY : echo(message),
    ],
    [
      "missing: reply 8 of 8 is missing",
      (message) => numberOf(message) === 7 ? NO_REPLY : echo(message),
    ],
    [
      "surplus: reply 3 of 8 came twice",
      (message, connection) => {
        if (numberOf(message) === 2) connection.send(echo(message));
        return echo(message);
      },
    ],
    ["wrong: the first reply is wrong", (message) => message],
    ["missing: the first reply is missing", () => NO_REPLY],
  ];
  const results = await Promise.all(
    handlers.map(([expected, handler]) =>
      loadOf(handler, {
        timeout: expected.startsWith("missing") ? 300 : 10_000,
      })
    ),
  );
  assertEquals(
    results.map(({ errors: [{ kind, message }] }) => `${kind}: ${message}`),
    handlers.map(([expected]) => expected),
  );
});

Deno.test("load() finds a reply too many behind the last, at once or later", async () => {
  for (const delay of [0, 20]) {
    const { errors } = await loadOf(async (message, connection) => {
      if (numberOf(message) !== 7) return echo(message);
      await sleep(50); // until the time is over, so that nothing is sent behind
      connection.send(echo(message));
      if (delay > 0) await sleep(delay);
      connection.send("more");
      return NO_REPLY;
    }, { seconds: 0.001 });
    assertEquals(errors.map(({ kind }) => kind), ["surplus"]);
  }
});

Deno.test("load() says that no server listens", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  const { errors, messages } = await load({
    port,
    connections: 1,
    open: 1,
    seconds: 0.01,
    payload: "17",
  });
  assertEquals([messages, errors.map(({ kind }) => kind)], [0, ["lost"]]);
});

Deno.test("textsOf() makes texts of the right size", () => {
  const sizes = ["17", "u4", "mix"].map((payload) =>
    textsOf(payload)?.map((text) => new TextEncoder().encode(text).length)
  );
  assertEquals(sizes, [[17], [8 + 40], [17, 200, 1_500, 9_000, 70_000]]);
  for (const payload of ["", "7", "-1", "1.5", "u", "x17"]) {
    assertEquals(textsOf(payload), undefined, payload);
  }
});
