/**
 * A large frame that arrives in pieces of one byte, in memory: time, and the
 * space that the bytes take.
 *
 *     deno run bench/pieces.ts
 */
import { type ByteDuplex, encodeFrame, fromDuplex } from "../mod.ts";
import { median } from "./table.ts";

/** What a frame in pieces costs. */
export interface Pieces {
  readonly frameBytes: number;
  readonly milliseconds: number;
  /** The same for a frame of half the size. */
  readonly millisecondsOfHalf: number;
  /**
   * Buffers held at the same time at most, the old and the new while they grow,
   * for each byte of the frame.
   */
  readonly buffersPerFrame: number;
}

const FRAME_BYTES = 2 ** 20;
const ROUNDS = 5;

/**
 * Gives one byte a read, and watches the buffers that it is given to read into.
 */
class Pieced implements ByteDuplex {
  mostBytes = 0;
  readonly #bytes: Uint8Array;
  #offset = 0;
  #buffer = new ArrayBuffer(0) as ArrayBufferLike;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  read(space: Uint8Array): Promise<number | null> {
    if (space.buffer !== this.#buffer) {
      const bytes = space.buffer.byteLength + this.#buffer.byteLength;
      this.mostBytes = Math.max(this.mostBytes, bytes);
      this.#buffer = space.buffer;
    }
    if (this.#offset === this.#bytes.length) return Promise.resolve(null);
    space[0] = this.#bytes[this.#offset++];
    return Promise.resolve(1);
  }

  write(bytes: Uint8Array): Promise<number> {
    return Promise.resolve(bytes.length);
  }

  close(): void {}
}

async function receive(
  payloadBytes: number,
): Promise<{ milliseconds: number; mostBytes: number }> {
  const pieced = new Pieced(encodeFrame("x".repeat(payloadBytes - 2)));
  const start = performance.now();
  for await (const message of fromDuplex(pieced)) {
    if (message?.toString().length !== payloadBytes - 2) {
      throw new Error("Cannot measure: the message is wrong");
    }
  }
  const milliseconds = performance.now() - start;
  return { milliseconds, mostBytes: pieced.mostBytes };
}

async function measure(): Promise<Pieces> {
  const whole: number[] = [];
  const half: number[] = [];
  let mostBytes = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const received = await receive(FRAME_BYTES);
    mostBytes = received.mostBytes;
    whole.push(received.milliseconds);
    half.push((await receive(FRAME_BYTES / 2)).milliseconds);
  }
  return {
    frameBytes: FRAME_BYTES,
    milliseconds: median(whole),
    millisecondsOfHalf: median(half),
    buffersPerFrame: mostBytes / FRAME_BYTES,
  };
}

if (import.meta.main) console.log(JSON.stringify(await measure()));
