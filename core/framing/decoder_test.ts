import {
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  Decoder,
  encodeFrame,
  FrameTooLargeError,
  Framing,
  InvalidMessageError,
} from "./framing.ts";

/** A decoder that has these messages at hand. */
function decoderOf(...messages: unknown[]): Decoder<unknown> {
  const decoder = new Decoder<unknown>(new Framing({}));
  for (const message of messages) decoder.add(encodeFrame(message));
  return decoder;
}

Deno.test("take() gives a run with the sizes of its payloads, which another decoder leaves alone", () => {
  const one = decoderOf(1, "é", "日本", [2]);
  const other = decoderOf("other");
  const run = one.take();
  assertEquals(other.take(), { messages: ["other"], sizes: [7] });
  assertEquals(run, { messages: [1, "é", "日本", [2]], sizes: [1, 4, 8, 3] });
  assertStrictEquals(one.take(), undefined);
});

Deno.test("take() gives the size of a payload that holds no message", () => {
  const decoder = decoderOf(1);
  decoder.add(Uint8Array.of(0, 0, 0, 2, 0x22, 0xff));
  decoder.add(Uint8Array.of(0, 0, 0, 0));
  const { messages = [], sizes } = decoder.take() ?? {};
  assertEquals(sizes, [1, 2, 0]);
  assertInstanceOf(messages[1], InvalidMessageError);
  assertInstanceOf(messages[2], InvalidMessageError);
});

Deno.test("take() gives the first frame alone where the stream begins like another protocol", () => {
  // A length of 13, and white space: what the PROXY protocol begins with.
  const opening = "\r\n\r\n";
  for (const payload of ["1234567890", "GET / HTTP"]) {
    const decoder = new Decoder<unknown>(new Framing({ prefixBytes: 1 }));
    decoder.add(new TextEncoder().encode(`${opening}${payload}`));
    decoder.add(Uint8Array.of(1, 0x31, 1, 0x32));
    if (payload !== "1234567890") {
      for (let i = 0; i < 2; i++) {
        assertThrows(
          () => decoder.take(),
          FrameTooLargeError,
          "the peer seems to speak the PROXY protocol",
        );
      }
      continue;
    }
    assertEquals(decoder.take(), { messages: [1_234_567_890], sizes: [13] });
    assertEquals(decoder.take(), { messages: [1, 2], sizes: [1, 1] });
  }
});

Deno.test("limit() holds for what is taken from then on", () => {
  const decoder = decoderOf(1, "123456");
  decoder.limit(new Framing({ maxFrameBytes: 4 }), true);
  assertEquals(decoder.take()?.messages, [1]);
  for (let i = 0; i < 2; i++) {
    const error = assertThrows(() => decoder.take(), FrameTooLargeError);
    assertEquals([error.size, error.limit], [8, 4]);
  }
  decoder.limit(new Framing({ maxFrameBytes: 8 }), false);
  assertEquals(decoder.take()?.messages, ["123456"]);
});
