/**
 * What the codec alone costs: by payload size, by frames in a chunk, ASCII and
 * not, and what a hostile peer may make it cost. With `--quick` behind `--`, a rough look.
 */
import { encodeFrame, FrameDecoder, FrameEncoder } from "../framing.ts";
import { DEEP, WIDE } from "../tests/costly_texts.ts";

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

/** What is decoded once, as a peer sends it that wants to keep others waiting. */
function registerCostly(group: string, [name, text]: readonly string[]): void {
  const bytes = new TextEncoder().encode(text);
  const chunk = new Uint8Array(4 + bytes.length);
  new DataView(chunk.buffer).setUint32(0, bytes.length);
  chunk.set(bytes, 4);
  Deno.bench({
    name: `${group}, ${name}`,
    group,
    ...quick ? { n: 5, warmup: 1 } : {},
    fn: () => decode(new FrameDecoder(), chunk),
  });
}

for (const text of WIDE) registerCostly("decode 1 MiB that is wide", text);
for (const text of DEEP) registerCostly("decode 1 MiB that is deep", text);
