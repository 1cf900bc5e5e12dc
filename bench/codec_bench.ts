/**
 * What the codec alone costs: by payload size, by frames in a chunk, ASCII and
 * not. With `--quick` behind `--`, a rough look.
 */
import { encodeFrame, FrameDecoder, FrameEncoder } from "../framing.ts";

/** Text of one byte a character, and of one to four. */
const TEXTS = { "ASCII": "x", "not ASCII": "aé水🥋" };

/** Bytes of text in each frame, and frames in a chunk. */
const SHAPES: readonly (readonly [bytes: number, frames: number])[] = [
  [17, 1],
  [17, 64],
  [1_500, 16],
  [16_384, 4],
  [1_000_000, 1],
];

/** Bytes to work through in a quick look. */
const QUICK_BYTES = 4_000_000;

const quick = Deno.args.includes("--quick");

function messageOf(characters: string, bytes: number): unknown {
  const { length } = new TextEncoder().encode(characters);
  return {
    message: characters.repeat(Math.max(1, Math.floor(bytes / length))),
    type: "text",
  };
}

/**
 * Decodes a chunk the way that a connection does: read into the space that is
 * left, and take what is whole.
 */
function decode(decoder: FrameDecoder, chunk: Uint8Array): void {
  for (let offset = 0; offset < chunk.length;) {
    const space = decoder.reserve();
    const part = chunk.subarray(offset, offset + space.length);
    space.set(part);
    decoder.commit(part.length);
    offset += part.length;
    while (decoder.take().length > 0);
  }
}

function register(kind: string, message: unknown, frames: number): void {
  const frame = encodeFrame(message);
  const chunk = new Uint8Array(frame.length * frames);
  for (let i = 0; i < frames; i++) chunk.set(frame, i * frame.length);
  const effort = quick
    ? { n: Math.ceil(QUICK_BYTES / chunk.length), warmup: 100 }
    : {};

  const decoder = new FrameDecoder();
  Deno.bench({
    name: `decode ${kind}`,
    group: `decode ${kind}`,
    ...effort,
    fn: () => decode(decoder, chunk),
  });

  const encoder = new FrameEncoder();
  let space = new Uint8Array(0);
  Deno.bench({
    name: `encode ${kind}`,
    group: `encode ${kind}`,
    ...effort,
    fn() {
      for (let i = 0; i < frames; i++) encoder.push(message);
      const bytes = encoder.take(space);
      if (bytes.buffer !== space.buffer) space = new Uint8Array(bytes.buffer);
    },
  });
}

for (const [text, characters] of Object.entries(TEXTS)) {
  for (const [bytes, frames] of SHAPES) {
    const kind = `${frames} x ${bytes} bytes, ${text}`;
    register(kind, messageOf(characters, bytes), frames);
  }
}
