import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { encodeFrame, FrameTruncatedError } from "../../framing.ts";
import {
  type Connection,
  ConnectionClosedError,
  fromDuplex,
  fromStreams,
} from "./connection.ts";
import { connectionPair } from "../../testing.ts";

/** A connection that reads these chunks, and what it writes. */
function fromChunks(chunks: Uint8Array[]): {
  connection: Connection;
  written: Uint8Array[];
} {
  const written: Uint8Array[] = [];
  const connection = fromStreams({
    readable: ReadableStream.from(chunks),
    writable: new WritableStream({
      write(chunk) {
        written.push(chunk);
      },
    }),
  });
  return { connection, written };
}

Deno.test("fromStreams() carries messages both ways, half-closes and closes", async () => {
  const [one, other] = connectionPair();
  const replies = [1, "é", ["x".repeat(100_000)]].map((message) =>
    one.request(message)
  );
  one.closeWrite();
  for await (const message of other) await other.send({ message });
  await other.close();
  assertEquals(await Promise.all(replies), [
    { message: 1 },
    { message: "é" },
    { message: ["x".repeat(100_000)] },
  ]);
  await one.close();
  assertEquals(await one.closed, { clean: true });
  assertEquals(await other.closed, { clean: true });
});

Deno.test("fromStreams() reads frames from chunks of any size", async () => {
  const messages = [{ a: "é" }, [], "x".repeat(1_000)];
  const bytes = messages.flatMap((message) => [...encodeFrame(message)]);
  for (const size of [1, 2, 3, 7, 512, 10_000]) {
    const chunks: Uint8Array[] = [new Uint8Array(0)];
    for (let offset = 0; offset < bytes.length; offset += size) {
      chunks.push(Uint8Array.from(bytes.slice(offset, offset + size)));
    }
    const { connection } = fromChunks(chunks);
    assertEquals(await Array.fromAsync(connection), messages);
    await connection.close();
  }
});

Deno.test("fromStreams() never changes bytes that it has written", async () => {
  const { connection, written } = fromChunks([]);
  for (let i = 0; i < 3; i++) {
    await connection.send(i);
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  await connection.close();
  assertEquals(written, [0, 1, 2].map((i) => encodeFrame(i)));
});

Deno.test("fromStreams() rejects when the bytes end inside a frame or a stream fails", async () => {
  const { connection } = fromChunks([encodeFrame("cut").subarray(0, 6)]);
  await assertRejects(
    () => connection[Symbol.asyncIterator]().next(),
    FrameTruncatedError,
    "after 2 of 5 payload bytes",
  );

  const failure = new Error("the stream failed");
  const failing = fromStreams({
    readable: new ReadableStream({
      pull(controller) {
        controller.error(failure);
      },
    }),
    writable: new WritableStream({
      write: () => Promise.reject(failure),
    }),
  });
  const { cause } = await assertRejects(
    () => failing.request(1),
    ConnectionClosedError,
  );
  assertEquals(cause, failure);
  assert(!(await failing.closed).clean);
});

Deno.test("fromStreams() drops on abort() what the stream has not taken", async () => {
  const there = new TransformStream<Uint8Array, Uint8Array>(); // takes nothing
  const back = new TransformStream<Uint8Array, Uint8Array>();
  const one = fromStreams({
    readable: back.readable,
    writable: there.writable,
  });
  const other = fromStreams({
    readable: there.readable,
    writable: back.writable,
  });
  for (let i = 0; i < 10; i++) one.send("x".repeat(20_000));
  await new Promise((resolve) => setTimeout(resolve, 0));
  one.abort();
  await assertRejects(
    () => other[Symbol.asyncIterator]().next(),
    ConnectionClosedError,
  );
  assertEquals(other.stats().messagesReceived, 0);
});

Deno.test("fromStreams() writes nothing after abort() to a sink that is busy", async () => {
  const gate = Promise.withResolvers<void>();
  const written: number[] = [];
  let aborted = false;
  const connection = fromStreams({
    readable: new ReadableStream(),
    writable: new WritableStream({
      write(chunk) {
        written.push(chunk.length);
        return gate.promise;
      },
      close: () => Promise.reject(new Error("it was closed, not aborted")),
      abort() {
        aborted = true;
      },
    }, { highWaterMark: 8 }),
  });
  for (let i = 0; i < 10; i++) connection.send("x".repeat(100_000));
  await new Promise((resolve) => setTimeout(resolve, 0));
  connection.abort();
  gate.resolve();
  await connection.closed;
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(written, [65_536]);
  assert(aborted);
});

Deno.test("fromStreams() ends with a TypeError where a stream gives something other than bytes", async () => {
  const { connection } = fromChunks([[0, 0, 0, 1, 0x37] as never]);
  const { cause } = await assertRejects(
    () => connection[Symbol.asyncIterator]().next(),
    ConnectionClosedError,
  );
  assert(cause instanceof TypeError);
  assertEquals(
    cause.message,
    "Cannot use bytes: received an array, expected an ArrayBuffer or a view of one",
  );
});

Deno.test("fromStreams() throws when a stream is locked", () => {
  const { readable, writable } = new TransformStream();
  readable.getReader();
  assertThrows(() => fromStreams({ readable, writable }), TypeError);
});

Deno.test("fromStreams() and fromDuplex() know the addresses that they are given, and errors name the peer's", async () => {
  const localAddr = { transport: "unix", path: "" } as const;
  const remoteAddr = {
    transport: "tcp",
    hostname: "192.0.2.1",
    port: 8080,
  } as const;
  const readable = new ReadableStream({ start: (it) => it.close() });
  const connection = fromStreams(
    { readable, writable: new WritableStream() },
    { localAddr, remoteAddr },
  );
  assertEquals(connection.localAddr, localAddr);
  assertEquals(connection.remoteAddr, remoteAddr);
  await assertRejects(
    () => connection.request(1),
    ConnectionClosedError,
    "the connection to 192.0.2.1:8080 is closed",
  );
  const duplex = { read() {}, write() {}, close() {} } as never;
  const other = fromDuplex(duplex, { localAddr });
  assertEquals(other.localAddr, localAddr);
  other.abort();
  for (const wrong of ["localhost:8080", {}, { transport: "tcp" }]) {
    assertThrows(
      () => fromDuplex(duplex, { remoteAddr: wrong as never }),
      TypeError,
      'Cannot use option "remoteAddr": received ',
    );
  }
});
