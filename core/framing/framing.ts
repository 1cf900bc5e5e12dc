/**
 * The codec: bytes to messages and back, without any I/O.
 *
 * @module
 */
import { EMPTY, toBytes } from "../tools/bytes.ts";
import { type Decoded, Decoder } from "./decoder.ts";
import { Encoder } from "./encoder.ts";
import { InvalidMessageError } from "./errors.ts";
import { Framing, type FramingOptions } from "./options.ts";

export { type Decoded, Decoder, type Run } from "./decoder.ts";
export { Encoder } from "./encoder.ts";
export {
  FrameTooLargeError,
  FrameTruncatedError,
  InvalidMessageError,
} from "./errors.ts";
export {
  Framing,
  FRAMING_DEFAULTS,
  FRAMING_OPTIONS,
  type FramingOptions,
} from "./options.ts";

/** Any value that JSON can carry. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | JsonValue[]
  | { [key: string]: JsonValue };

const NONE: readonly never[] = Object.freeze([]);

/**
 * Turns bytes into messages. It has one growing buffer, decodes all the whole
 * frames at hand together, and does no I/O.
 *
 * Feed it with {@linkcode FrameDecoder.push}, or without a copy: read into
 * {@linkcode FrameDecoder.reserve}, report with
 * {@linkcode FrameDecoder.commit}, and collect with
 * {@linkcode FrameDecoder.take}.
 *
 * ```ts
 * import { FrameDecoder } from "@blackbelt/networking/framing";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const decoder = new FrameDecoder();
 * assertEquals([...decoder.push(Uint8Array.of(0, 0, 0, 2, 0x34))], []); // a frame has begun
 * assertEquals([...decoder.push(Uint8Array.of(0x32))], [42]);
 * decoder.push(Uint8Array.of(0, 0));
 * assertThrows(() => decoder.end(), Error, "the stream ended after 2 of 4 prefix bytes");
 * ```
 *
 * @typeParam T What the messages are taken to be; nothing checks it.
 */
export class FrameDecoder<T = JsonValue> {
  readonly #decoder: Decoder<T>;
  /**
   * Messages that were decoded and not yet handed out by an iterator of `push`.
   */
  #ready: readonly Decoded<T>[] = NONE;
  #next = 0;

  /**
   * Checks the options; nothing is allocated yet.
   *
   * @param options Layout and limit of the frames.
   * @throws {RangeError} If the prefix cannot express the limit, or a number is
   * out of range.
   * @throws {TypeError} If an option does not exist or has the wrong type.
   */
  constructor(options: FramingOptions = {}) {
    this.#decoder = new Decoder(Framing.read(options));
  }

  /** Bytes that arrived and have not become messages yet. */
  get size(): number {
    return this.#decoder.size;
  }

  /**
   * Takes a copy of the bytes in and hands out the messages that are whole now,
   * decoding as the iteration proceeds.
   *
   * What is not iterated is not lost: the next call hands it out. An iteration
   * that ends with an `InvalidMessageError` has stepped over the bad frame;
   * call again, with no bytes, for what came after it.
   *
   * @throws {InvalidMessageError} While iterating, if a payload is not UTF-8,
   * not JSON or nested too deep.
   * @throws {FrameTooLargeError} While iterating, if a frame is larger than the
   * limit; every further call throws it again.
   * @throws {TypeError} At once, if `chunk` is neither a buffer nor a view of
   * one.
   */
  push(
    chunk: ArrayBuffer | ArrayBufferView = EMPTY,
  ): Generator<T, void, undefined> {
    this.#decoder.add(toBytes(chunk));
    return this.#messages();
  }

  *#messages(): Generator<T, void, undefined> {
    for (;;) {
      if (this.#next === this.#ready.length) {
        this.#ready = this.take();
        this.#next = 0;
        if (this.#ready.length === 0) return;
      }
      const message = this.#ready[this.#next++];
      if (message instanceof InvalidMessageError) throw message;
      yield message;
    }
  }

  /**
   * Tells the decoder that no more bytes will come.
   *
   * @throws {FrameTruncatedError} If the bytes end inside a frame.
   */
  end(): void {
    this.#decoder.end();
  }

  /**
   * Free space to read bytes into, at least one byte. It is valid until the
   * next call of any method but {@linkcode FrameDecoder.commit}.
   */
  reserve(): Uint8Array<ArrayBuffer> {
    return this.#decoder.reserve();
  }

  /**
   * Says that `count` bytes were read into the space that
   * {@linkcode FrameDecoder.reserve} returned.
   *
   * @throws {RangeError} If the space has no room for so many.
   */
  commit(count: number): void {
    this.#decoder.commit(count);
  }

  /**
   * Decodes the whole frames at hand together and returns their messages in
   * order: the run ends with the last whole frame, before a frame that is too
   * large, after about 64 KiB, or after 128 frames. An empty array means that more bytes are
   * needed. A payload that is not UTF-8, not JSON or nested too deep stands in
   * the array as an `InvalidMessageError`, which no JSON value can be.
   *
   * @throws {FrameTooLargeError} If the next frame is larger than the limit, or
   * is the first, no JSON, and begins like another protocol.
   */
  take(): readonly Decoded<T>[] {
    return this.#decoder.take()?.messages ?? NONE;
  }
}

/**
 * Turns messages into bytes. It encodes all the messages at hand together, and
 * does no I/O.
 *
 * ```ts
 * import { FrameEncoder } from "@blackbelt/networking/framing";
 * import { assertEquals } from "@std/assert";
 *
 * const encoder = new FrameEncoder({ prefixBytes: 1 });
 * encoder.push(1);
 * encoder.push("a");
 * assertEquals(encoder.take(), Uint8Array.of(1, 0x31, 3, 0x22, 0x61, 0x22));
 * assertEquals(encoder.size, 0);
 * ```
 */
export class FrameEncoder {
  readonly #encoder: Encoder;

  /**
   * Checks the options; nothing is allocated yet.
   *
   * @param options Layout and limit of the frames.
   * @throws {RangeError} If the prefix cannot express the limit, or a number is
   * out of range.
   * @throws {TypeError} If an option does not exist or has the wrong type.
   */
  constructor(options: FramingOptions = {}) {
    this.#encoder = new Encoder(Framing.read(options));
  }

  /**
   * Bytes that wait to be taken; for text that is not encoded yet, the number
   * of its UTF-16 units.
   */
  get size(): number {
    return this.#encoder.size;
  }

  /**
   * Adds a message. Its JSON text is made at once: what happens to the value
   * afterwards does not matter.
   *
   * @throws {InvalidMessageError} If JSON cannot carry the value. Nothing is
   * added.
   * @throws {FrameTooLargeError} If the payload is larger than the limit.
   * Nothing is added.
   */
  push(message: unknown): void {
    this.#encoder.push(message);
  }

  /**
   * Removes and returns the next bytes to write: every small frame that waits,
   * or one large one. An empty array means that nothing waits.
   *
   * @param buffer Space to use if it is large enough; without it, or where it
   * is too small, new space is allocated.
   * @throws {TypeError} If `buffer` is neither a buffer nor a view of one.
   */
  take(
    buffer: ArrayBuffer | ArrayBufferView<ArrayBuffer> = EMPTY,
  ): Uint8Array<ArrayBuffer> {
    return this.#encoder.take(toBytes(buffer));
  }
}

/**
 * Encodes one message as one frame.
 *
 * ```ts
 * import { encodeFrame } from "@blackbelt/networking/framing";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(encodeFrame([1]), Uint8Array.of(0, 0, 0, 3, 0x5b, 0x31, 0x5d));
 * ```
 *
 * @param message Any value that `JSON.stringify` can turn into text.
 * @param options Layout and limit of the frame.
 * @returns The frame: prefix and payload.
 * @throws {InvalidMessageError} If JSON cannot carry the value.
 * @throws {FrameTooLargeError} If the payload is larger than the limit.
 */
export function encodeFrame(
  message: unknown,
  options: FramingOptions = {},
): Uint8Array<ArrayBuffer> {
  const encoder = new Encoder(Framing.read(options));
  encoder.push(message);
  return encoder.take();
}
