import {
  assertEquals,
  assertInstanceOf,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  encodeFrame,
  FrameDecoder,
  FrameTooLargeError,
  framingOf,
  InvalidMessageError,
  limitDecoder,
  takeRun,
} from "./framing.ts";

/** A decoder that has these messages at hand. */
function decoderOf(...messages: unknown[]): FrameDecoder<unknown> {
  const decoder = new FrameDecoder<unknown>();
  for (const message of messages) decoder.push(encodeFrame(message));
  return decoder;
}

Deno.test("takeRun() gives a run with the sizes of its payloads, which another decoder leaves alone", () => {
  const one = decoderOf(1, "é", "日本", [2]);
  const other = decoderOf("other");
  const run = takeRun(one);
  assertEquals(takeRun(other), { messages: ["other"], sizes: [7] });
  assertEquals(run, { messages: [1, "é", "日本", [2]], sizes: [1, 4, 8, 3] });
  assertStrictEquals(takeRun(one), undefined);
});

Deno.test("takeRun() gives the size of a payload that holds no message", () => {
  const decoder = decoderOf(1);
  decoder.push(Uint8Array.of(0, 0, 0, 2, 0x22, 0xff));
  decoder.push(Uint8Array.of(0, 0, 0, 0));
  const { messages = [], sizes } = takeRun(decoder) ?? {};
  assertEquals(sizes, [1, 2, 0]);
  assertInstanceOf(messages[1], InvalidMessageError);
  assertInstanceOf(messages[2], InvalidMessageError);
});

Deno.test("takeRun() gives the first frame alone where the stream begins like another protocol", () => {
  // A length of 13, and white space: what the PROXY protocol begins with.
  const opening = "\r\n\r\n";
  for (const payload of ["1234567890", "GET / HTTP"]) {
    const decoder = new FrameDecoder<unknown>({ prefixBytes: 1 });
    decoder.push(new TextEncoder().encode(`${opening}${payload}`));
    decoder.push(Uint8Array.of(1, 0x31, 1, 0x32));
    if (payload !== "1234567890") {
      for (let i = 0; i < 2; i++) {
        assertThrows(
          () => takeRun(decoder),
          FrameTooLargeError,
          "the peer seems to speak the PROXY protocol",
        );
      }
      continue;
    }
    assertEquals(takeRun(decoder), { messages: [1_234_567_890], sizes: [13] });
    assertEquals(takeRun(decoder), { messages: [1, 2], sizes: [1, 1] });
  }
});

Deno.test("limitDecoder() holds for what is taken from then on", () => {
  const decoder = decoderOf(1, "123456");
  limitDecoder(decoder, framingOf({ maxFrameBytes: 4 }), true);
  assertEquals(takeRun(decoder)?.messages, [1]);
  for (let i = 0; i < 2; i++) {
    const error = assertThrows(() => takeRun(decoder), FrameTooLargeError);
    assertEquals([error.size, error.limit], [8, 4]);
  }
  limitDecoder(decoder, framingOf({ maxFrameBytes: 8 }), false);
  assertEquals(takeRun(decoder)?.messages, ["123456"]);
});
