/** What the codec alone costs: by payload size, by frames in a chunk, ASCII and not. */
import { encodeFrame, FrameDecoder, FrameEncoder } from "../framing.ts";

const TEXTS = { ascii: "x", "not ascii": "aé水🥋" };

function messageOf(characters: string, bytes: number): unknown {
  const { length } = new TextEncoder().encode(characters);
  return {
    message: characters.repeat(Math.max(1, Math.floor(bytes / length))),
    type: "text",
  };
}

for (const [kind, characters] of Object.entries(TEXTS)) {
  for (
    const [bytes, frames] of [[17, 1], [17, 64], [1_500, 16], [16_384, 4], [
      1_000_000,
      1,
    ]]
  ) {
    const message = messageOf(characters, bytes);
    const frame = encodeFrame(message);
    const chunk = new Uint8Array(frame.length * frames);
    for (let i = 0; i < frames; i++) chunk.set(frame, i * frame.length);
    const name = `${frames} x ${bytes} bytes, ${kind}`;

    const decoder = new FrameDecoder();
    Deno.bench(`decode ${name}`, { group: `decode ${name}` }, () => {
      let space = decoder.reserve();
      for (let offset = 0; offset < chunk.length;) {
        const part = chunk.subarray(offset, offset + space.length);
        space.set(part);
        decoder.commit(part.length);
        offset += part.length;
        decoder.take();
        space = decoder.reserve();
      }
    });

    const encoder = new FrameEncoder();
    let buffer = new Uint8Array(0);
    Deno.bench(`encode ${name}`, { group: `encode ${name}` }, () => {
      for (let i = 0; i < frames; i++) encoder.push(message);
      const taken = encoder.take(buffer);
      if (taken.buffer !== buffer.buffer) buffer = new Uint8Array(taken.buffer);
    });
  }
}
