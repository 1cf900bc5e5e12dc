/** The bytes that the load generator sends, and those that it expects. */
import { Buffer } from "node:buffer";
import { encodeFrame } from "../framing.ts";

const PREFIX_BYTES = 4;
/** Every text begins with the number of its message, in so many digits. */
const DIGITS = 8;
const NUMBERS = 10 ** DIGITS;
/** A number that none of the bytes around it look like. */
const ANY_NUMBER = "86420975";

const MIXED_SIZES = [17, 200, 1_500, 9_000, 70_000];
/** Characters of one to four bytes. */
const WIDE_CHARACTERS = "aé水🥋";

/**
 * The texts that a payload stands for, which are sent in turn: a number of
 * bytes, `uN` for N times four characters of one to four bytes, or `mix`.
 * `undefined` if it stands for none.
 */
export function textsOf(payload: string): string[] | undefined {
  if (payload === "mix") return MIXED_SIZES.map(asciiText);
  const match = payload.match(/^(u?)(\d{1,9})$/);
  if (match === null) return undefined;
  const size = Number(match[2]);
  if (match[1] === "u") return [ANY_NUMBER + WIDE_CHARACTERS.repeat(size)];
  return size < DIGITS ? undefined : [asciiText(size)];
}

function asciiText(bytes: number): string {
  return ANY_NUMBER.padEnd(bytes, "x");
}

/** A frame, and where in it the number of its message stands. */
export interface NumberedFrame {
  readonly bytes: Uint8Array;
  readonly numberAt: number;
}

/** The message that carries a text, as a frame. */
export function requestFrame(text: string): NumberedFrame {
  const message = { message: text, type: "text" };
  return numbered(encodeFrame(message, { maxFrameBytes: Infinity }));
}

/**
 * What a server has answered to a text, as the frame to expect from now on:
 * servers differ in how they write the same JSON. `undefined` if it is no right
 * answer.
 */
export function replyFrame(
  text: string,
  bytes: Uint8Array,
): NumberedFrame | undefined {
  try {
    const payload = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(bytes.subarray(PREFIX_BYTES));
    const { status, echo, ...rest } = JSON.parse(payload);
    const right = status === "success" && echo === text &&
      Object.keys(rest).length === 0;
    return right ? numbered(bytes) : undefined;
  } catch {
    return undefined;
  }
}

function numbered(bytes: Uint8Array): NumberedFrame {
  return { bytes, numberAt: Buffer.from(bytes).indexOf(ANY_NUMBER) };
}

/** Frames that are sent, or expected, together. */
export class Batch {
  /** All of the frames. */
  readonly bytes: Buffer<ArrayBuffer>;
  readonly #numbersAt: number[] = [];

  /** Joins so many frames, taking those that are given in turn. */
  constructor(frames: NumberedFrame[], count: number) {
    const parts = [];
    let offset = 0;
    for (let i = 0; i < count; i++) {
      const { bytes, numberAt } = frames[i % frames.length];
      parts.push(bytes);
      this.#numbersAt.push(offset + numberAt);
      offset += bytes.length;
    }
    this.bytes = Buffer.concat(parts);
  }

  /** Numbers the messages, from `first` on. */
  number(first: number): void {
    for (let i = 0; i < this.#numbersAt.length; i++) {
      let rest = (first + i) % NUMBERS;
      const start = this.#numbersAt[i];
      for (let at = start + DIGITS - 1; at >= start; at--) {
        const next = Math.floor(rest / 10);
        this.bytes[at] = 0x30 + rest - 10 * next;
        rest = next;
      }
    }
  }
}

/** The whole frames that bytes begin with, prefixes included. */
export function* splitFrames(
  bytes: Buffer<ArrayBuffer>,
): Generator<Buffer<ArrayBuffer>> {
  while (bytes.length >= PREFIX_BYTES) {
    const end = PREFIX_BYTES + bytes.readUInt32BE();
    if (end > bytes.length) return;
    yield bytes.subarray(0, end);
    bytes = bytes.subarray(end);
  }
}
