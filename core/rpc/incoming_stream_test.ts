import { setImmediate } from "node:timers";
import {
  assertEquals,
  assertLessOrEqual,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import {
  IncomingStream,
  MOST_STREAM_BYTES,
  type StreamTotal,
  WINDOW_BYTES,
  WINDOW_ITEMS,
} from "./incoming_stream.ts";
import { numbers } from "../../tests/rpc_pair.ts";

function incoming(total: StreamTotal = { bytes: 0 }): {
  stream: IncomingStream<unknown, unknown>;
  calls: unknown[];
} {
  const calls: unknown[] = [];
  const stream = new IncomingStream<unknown, unknown>({
    credit: (items) => calls.push(items),
    cancel: () => calls.push("cancel"),
    begin() {},
  }, total);
  return { stream, calls };
}

Deno.test("IncomingStream hands out what has come, and what comes", async () => {
  const { stream, calls } = incoming();
  stream.push(["a", "b"], 10);
  assertEquals(await stream.next(), { done: false, value: "a" });
  const waiting = [stream.next(), stream.next(), stream.next(), stream.next()];
  stream.push([], 2);
  stream.push(["c"], 5);
  stream.finish("result");
  assertEquals(await Promise.all(waiting), [
    { done: false, value: "b" },
    { done: false, value: "c" },
    { done: true, value: "result" },
    { done: true, value: undefined },
  ]);
  assertEquals(await stream.next(), { done: true, value: undefined });
  assertStrictEquals(stream[Symbol.asyncIterator](), stream);
  assertEquals(calls, []);
});

Deno.test("IncomingStream yields to other work while items are there", async () => {
  const { stream } = incoming();
  stream.push(numbers(100), 100);
  stream.finish(undefined);
  const now = Date.now;
  let time = 0;
  Date.now = () => time;
  let turns = 0;
  let isOver = false;
  function count(): void {
    turns++;
    if (!isOver) setImmediate(count);
  }
  setImmediate(count);
  try {
    // Each of them is 5 ms of work, and two are a share.
    for await (const item of stream) {
      time += 5;
      assertLessOrEqual(Number(item), 2 * turns + 3);
    }
  } finally {
    Date.now = now;
    isOver = true;
  }
  await new Promise<void>((resolve) => setImmediate(resolve));
});

Deno.test("IncomingStream gives credit for half a window of items", async () => {
  const { stream, calls } = incoming();
  stream.push(numbers(300), 300);
  stream.push(numbers(300), 300);
  stream.push(numbers(424), 424);
  for (let i = 0; i < 599; i++) await stream.next();
  assertEquals(calls, []);
  await stream.next();
  assertEquals(calls, [600]);
  for (let i = 0; i < 424; i++) await stream.next();
  assertEquals(calls, [600]);
  stream.push(numbers(600), 600);
  for (let i = 0; i < 600; i++) await stream.next();
  assertEquals(calls, [600, 1_024]);
  await stream.return(undefined);
});

Deno.test("IncomingStream gives credit for half a window of bytes", async () => {
  const { stream, calls } = incoming();
  for (let i = 0; i < 4; i++) {
    stream.push(["large"], WINDOW_BYTES / 4);
    await stream.next();
  }
  assertEquals(calls, [2, 2]);
  stream.push(["large"], WINDOW_BYTES);
  stream.finish("result");
  await stream.next();
  assertEquals(calls, [2, 2]); // there is nobody to take credit
});

Deno.test("IncomingStream fails behind what has come, with the stack of the reader", async () => {
  const { stream } = incoming();
  stream.push([1], 1);
  stream.fail(() => new Error("broken"));
  async function iterateHere(): Promise<void> {
    for await (const item of stream) assertEquals(item, 1);
  }
  const late = await assertRejects(iterateHere, Error, "broken");
  assertStringIncludes(late.stack!, "iterateHere");
  assertEquals(await stream.next(), { done: true, value: undefined });

  const { stream: other } = incoming();
  async function waitHere(): Promise<void> {
    await other.next();
  }
  const waiting = assertRejects(waitHere, Error, "broken");
  other.fail(() => new Error("broken"));
  assertStringIncludes((await waiting).stack!, "waitHere");
});

Deno.test("IncomingStream drops what has come if it is told so", async () => {
  const { stream, calls } = incoming();
  stream.push([1], 1);
  stream.drop(() => new Error("aborted"));
  stream.push([2], 1);
  await assertRejects(() => stream.next(), Error, "aborted");
  assertEquals(await stream.next(), { done: true, value: undefined });
  assertEquals(calls, []);
});

Deno.test("IncomingStream cancels when it is left before its end", async () => {
  const { stream, calls } = incoming();
  const pending = stream.next();
  stream.push([1, 2], 2);
  assertEquals(await pending, { done: false, value: 1 });
  const waiting = [stream.next(), stream.next()];
  assertEquals(await stream.return("left"), { done: true, value: "left" });
  assertEquals(await Promise.all(waiting), [
    { done: false, value: 2 },
    { done: true, value: undefined },
  ]);
  stream.push([3], 1);
  assertEquals(await stream.next(), { done: true, value: undefined });
  assertEquals(calls, ["cancel"]);

  const thrown = incoming();
  const error = new Error("mine");
  await assertRejects(() => thrown.stream.throw(error), Error, "mine");
  assertEquals(thrown.calls, ["cancel"]);

  const disposed = incoming();
  {
    await using _ = disposed.stream;
  }
  assertEquals(disposed.calls, ["cancel"]);

  const ended = incoming();
  ended.stream.finish(1);
  await ended.stream.return(undefined);
  assertEquals(ended.calls, []);
});

Deno.test("IncomingStream holds no more than the window", async () => {
  const { stream, calls } = incoming();
  stream.push(numbers(WINDOW_ITEMS), 1);
  stream.push([], 1);
  assertEquals(calls, []);
  stream.push([1], 1);
  assertEquals(calls, ["cancel"]);
  await assertRejects(
    () => stream.next(),
    RangeError,
    "Cannot receive stream: 1025 items and 2 bytes wait, limit is 1024 items and 786432 bytes",
  );

  const large = incoming();
  for (let i = 0; i < 4; i++) large.stream.push([i], WINDOW_BYTES);
  assertEquals(large.calls, []);
  large.stream.push([4], WINDOW_BYTES);
  assertEquals(large.calls, ["cancel"]);
  await assertRejects(() => large.stream.next(), RangeError, "5 items");
});

Deno.test("IncomingStream holds no more than all streams may together", async () => {
  const total = { bytes: 0 };
  const streams = numbers(17).map(() => incoming(total));
  for (const { stream } of streams) stream.push(["a", "b"], WINDOW_BYTES);
  assertEquals(total.bytes, MOST_STREAM_BYTES + WINDOW_BYTES);
  const last = incoming(total);
  last.stream.push(["c"], 10);
  assertEquals(last.calls, ["cancel"]);
  await assertRejects(
    () => last.stream.next(),
    RangeError,
    "Cannot receive stream: 4456458 bytes of all streams wait, limit is 4194304",
  );
  // What is taken, left, dropped or at its end counts no more, and only once.
  const [read, left, dropped, ended, readLater] = streams;
  await read.stream.next();
  await read.stream.next();
  await left.stream.return(undefined);
  dropped.stream.drop(() => new Error("dropped"));
  ended.stream.finish("result");
  await readLater.stream.next();
  readLater.stream.finish("result");
  await readLater.stream.next();
  assertEquals(total.bytes, 12 * WINDOW_BYTES);
  await left.stream.return(undefined);
  await ended.stream.return(undefined);
  assertEquals(total.bytes, 12 * WINDOW_BYTES);
});
