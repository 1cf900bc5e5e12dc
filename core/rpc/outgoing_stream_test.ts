import {
  assert,
  assertEquals,
  assertLessOrEqual,
  assertRejects,
} from "@std/assert";
import { FrameTooLargeError, InvalidMessageError } from "../../framing.ts";
import { BackpressureError } from "../connection/connection.ts";
import { WINDOW_BYTES, WINDOW_ITEMS } from "./incoming_stream.ts";
import { OutgoingStream } from "./outgoing_stream.ts";
import { turn } from "../../tests/turns.ts";
import { numbers } from "../../tests/rpc_pair.ts";

/** What is sent of a stream. */
interface Message {
  readonly params: { readonly items: readonly unknown[] };
}

/** A link that remembers, where each item takes `bytes`. */
class FakeLink {
  readonly frames: unknown[][] = [];
  readonly bytes: number;
  /** What keeps it from taking frames. */
  error: unknown;
  #room: PromiseWithResolvers<void> | undefined;

  constructor(bytes = 10) {
    this.bytes = bytes;
  }

  get items(): unknown[] {
    return this.frames.flat();
  }

  enqueue({ params: { items } }: Message): number {
    if (this.error !== undefined) throw this.error;
    if (items.includes("bad")) throw new InvalidMessageError("bad");
    const size = items.length * this.bytes;
    if (size > 100_000) throw new FrameTooLargeError("encode", size, 100_000);
    this.frames.push([...items]);
    return size;
  }

  room(): Promise<void> | undefined {
    return this.#room?.promise;
  }

  block(): void {
    this.#room = Promise.withResolvers();
  }

  unblock(): void {
    this.#room!.resolve();
    this.#room = undefined;
  }
}

async function* count(to: number, ended?: () => void): AsyncGenerator<number> {
  try {
    for (let i = 0; i < to; i++) yield i;
    return to;
  } finally {
    ended?.();
  }
}

Deno.test("OutgoingStream sends the items of one turn together", async () => {
  const link = new FakeLink();
  const stream = new OutgoingStream(count(500), link, 1);
  assertEquals(await stream.run(), 500);
  assertEquals(link.items, numbers(500));
  assertEquals(
    link.frames.map(({ length }) => length),
    [1, 2, 4, 8, 16, 32, 64, 128, 128, 117],
  );
});

Deno.test("OutgoingStream says that it is a stream before anything comes", async () => {
  const link = new FakeLink();
  const gate = Promise.withResolvers<void>();
  async function* slow(): AsyncGenerator<string> {
    await gate.promise;
    yield "a";
    await turn();
    yield "b";
  }
  const stream = new OutgoingStream(slow(), link, 1);
  const run = stream.run();
  await turn();
  assertEquals(link.frames, [[]]);
  gate.resolve();
  assertEquals(await run, undefined);
  assertEquals(link.frames, [[], ["a"], ["b"]]);

  const empty = new FakeLink();
  assertEquals(await new OutgoingStream(count(0), empty, 1).run(), 0);
  assertEquals(empty.frames, [[]]);
});

Deno.test("OutgoingStream goes on with credit, and not without", async () => {
  const link = new FakeLink();
  let ended = 0;
  const stream = new OutgoingStream(count(5_000, () => ended++), link, 1);
  const run = stream.run();
  for (let taken = 0; taken <= 3_600; taken += 600) {
    await turn();
    assertEquals(link.items.length, WINDOW_ITEMS + taken);
    assertEquals(ended, 0);
    stream.credit(600);
  }
  assertEquals(await run, 5_000);
  assertEquals(link.items, numbers(5_000));
  assertEquals(ended, 1);
});

Deno.test("OutgoingStream sends no more bytes than the window and a frame", async () => {
  const link = new FakeLink(10_000);
  const stream = new OutgoingStream(count(100), link, 1);
  const run = stream.run();
  await turn();
  const first = link.items.length;
  assertEquals(first, Math.ceil(WINDOW_BYTES / 10_000));
  assertLessOrEqual(Math.max(...link.frames.map((frame) => frame.length)), 3);
  stream.credit(first);
  await turn();
  assertEquals(link.items.length, 2 * first);
  stream.flow();
  await run;
  assertEquals(link.items, numbers(100));
});

Deno.test("OutgoingStream takes credit for more than it has sent", async () => {
  const link = new FakeLink(100_000);
  const stream = new OutgoingStream(count(3_000), link, 1);
  stream.credit(1_000_000);
  await stream.run();
  assertEquals(link.items, numbers(3_000));
});

Deno.test("OutgoingStream waits until the link has taken what was sent", async () => {
  const link = new FakeLink();
  link.block();
  const stream = new OutgoingStream(count(10), link, 1);
  const run = stream.run();
  await turn();
  assertEquals(link.items, []);
  link.unblock();
  await run;
  assertEquals(link.items, numbers(10));
});

Deno.test("OutgoingStream tries again when the link takes no more", async () => {
  const link = new FakeLink();
  const stream = new OutgoingStream(count(10), link, 1);
  link.error = new BackpressureError(2, 1);
  const run = stream.run();
  queueMicrotask(() => link.block());
  await turn();
  assertEquals(link.frames, []);
  link.error = undefined;
  link.unblock();
  assertEquals(await run, 10);
  assertEquals(link.items, numbers(10));
});

Deno.test("OutgoingStream sends what the link did not take, also while nothing more comes", async () => {
  const link = new FakeLink();
  const gate = Promise.withResolvers<void>();
  async function* slow(): AsyncGenerator<string> {
    yield "a";
    await gate.promise;
  }
  const stream = new OutgoingStream(slow(), link, 1);
  const run = stream.run();
  link.error = new BackpressureError(2, 1);
  queueMicrotask(() => link.block());
  await turn();
  assertEquals(link.frames, []);
  link.error = undefined;
  link.unblock();
  await turn();
  assertEquals(link.items, ["a"]);
  gate.resolve();
  await run;
});

Deno.test("OutgoingStream ends the generator where it is stopped", async () => {
  for (const when of ["before", "without credit", "with credit"]) {
    const link = new FakeLink();
    let ended = 0;
    const stream = new OutgoingStream(count(1e9, () => ended++), link, 1);
    if (when === "before") stream.stop();
    const run = stream.run();
    await turn();
    if (when === "with credit") stream.credit(100);
    stream.stop();
    stream.stop();
    const sent = link.items.length;
    assertEquals(await run, undefined);
    assertEquals(ended, when === "before" ? 0 : 1, when);
    stream.credit(1e6);
    await turn();
    assertEquals(link.items.length, sent, when);
  }
});

Deno.test("OutgoingStream waits for a generator that comes to rest slowly", async () => {
  const gate = Promise.withResolvers<void>();
  let ended = false;
  async function* slow(): AsyncGenerator<number> {
    try {
      await gate.promise;
      yield 1;
    } finally {
      await turn();
      ended = true;
    }
  }
  const link = new FakeLink();
  const stream = new OutgoingStream(slow(), link, 1);
  const run = stream.run();
  await turn();
  stream.stop();
  await turn();
  assert(!ended);
  gate.resolve();
  assertEquals(await run, undefined);
  assert(ended);
  assertEquals(link.items, []);
});

Deno.test("OutgoingStream fails behind what came before the generator failed", async () => {
  const link = new FakeLink();
  async function* failing(): AsyncGenerator<number> {
    yield* count(100);
    throw new Error("broken");
  }
  const stream = new OutgoingStream(failing(), link, 1);
  await assertRejects(() => stream.run(), Error, "broken");
  assertEquals(link.items, numbers(100));
});

Deno.test("OutgoingStream fails for an item that cannot be sent, and ends the generator", async () => {
  const link = new FakeLink();
  let ended = false;
  async function* mixed(): AsyncGenerator<unknown> {
    try {
      yield* numbers(50);
      yield "bad";
      for (;;) yield "more";
    } finally {
      ended = true;
    }
  }
  const stream = new OutgoingStream(mixed(), link, 1);
  await assertRejects(() => stream.run(), InvalidMessageError, "bad");
  assert(ended);
  assertEquals(link.items, numbers(50));
});

Deno.test("OutgoingStream sends in several frames what is too large for one", async () => {
  class Growing extends FakeLink {
    override enqueue(message: Message): number {
      const { items } = message.params;
      const size = items.includes(40) ? items.length * 60_000 : items.length;
      if (size > 100_000) throw new FrameTooLargeError("encode", size, 100_000);
      this.frames.push([...items]);
      return size;
    }
  }
  const link = new Growing();
  await new OutgoingStream(count(60), link, 1).run();
  assertEquals(link.items, numbers(60));
});

Deno.test("OutgoingStream takes any async iterable, also one that cannot be left", async () => {
  const link = new FakeLink();
  assertEquals(
    await new OutgoingStream(ReadableStream.from(["a", "b"]), link, 1).run(),
    undefined,
  );
  assertEquals(link.items, ["a", "b"]);

  let next = 0;
  const endless = {
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.resolve({ done: false as const, value: next++ }),
    }),
  };
  const stream = new OutgoingStream(endless, new FakeLink(), 1);
  const run = stream.run();
  await turn();
  assertEquals(next, WINDOW_ITEMS);
  stream.stop();
  assertEquals(await run, undefined);
});

Deno.test("OutgoingStream rejects with what ending the generator failed with", async () => {
  async function* rude(): AsyncGenerator<number> {
    try {
      for (;;) yield 1;
    } finally {
      // deno-lint-ignore no-unsafe-finally
      throw new Error("rude");
    }
  }
  const stream = new OutgoingStream(rude(), new FakeLink(), 1);
  const run = stream.run();
  await turn();
  stream.stop();
  await assertRejects(() => run, Error, "rude");
});

Deno.test("OutgoingStream keeps to itself what ending failed with while nothing comes", async () => {
  const gate = Promise.withResolvers<IteratorResult<number>>();
  const rude = {
    [Symbol.asyncIterator]: () => ({
      next: () => gate.promise,
      return: () => Promise.reject(new Error("rude")),
    }),
  };
  const stream = new OutgoingStream(rude, new FakeLink(), 1);
  const run = stream.run();
  await turn();
  stream.stop();
  await turn(); // nobody hears of it yet, and that is no fault
  gate.resolve({ done: false, value: 1 });
  await assertRejects(() => run, Error, "rude");
});
