import { assertEquals, assertThrows } from "@std/assert";
import {
  encodeFrame,
  FrameEncoder,
  FrameTooLargeError,
  InvalidMessageError,
  limitDepth,
  measure,
} from "./framing.ts";

Deno.test("measure() gives the size of the frame, and throws where push() would", () => {
  const encoder = new FrameEncoder({ maxFrameBytes: 12, maxDepth: 2 });
  for (const message of [1, "é", "日本", [[1]], "x".repeat(10)]) {
    assertEquals(measure(encoder, message), encodeFrame(message).length);
  }
  limitDepth(encoder);
  const cases = [
    [1n, InvalidMessageError],
    [[[[1]]], InvalidMessageError],
    ["x".repeat(11), FrameTooLargeError],
    ["日".repeat(4), FrameTooLargeError],
  ] as const;
  for (const [message, type] of cases) {
    assertThrows(() => measure(encoder, message), type);
    assertThrows(() => encoder.push(message), type);
  }
  assertEquals(encoder.size, 0);
});

Deno.test("limitDepth() refuses what is nested deeper than maxDepth from then on", () => {
  const encoder = new FrameEncoder({ maxDepth: 2 });
  encoder.push([[[1]]]);
  limitDepth(encoder);
  assertThrows(
    () => encoder.push([[[2]]]),
    InvalidMessageError,
    "Cannot encode message: the value is nested deeper than 2 levels",
  );
  encoder.push([["[[[["]]);
  assertEquals(
    new TextDecoder().decode(encoder.take()),
    '\0\0\0\x07[[[1]]]\0\0\0\x0a[["[[[["]]',
  );
});
