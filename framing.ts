/**
 * Bytes to messages and back, without any I/O.
 *
 * A frame is a length prefix followed by that many bytes of payload; a payload
 * is one JSON text in UTF-8 without a byte order mark
 * ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259), section 8.1); a message
 * is the value that the text stands for.
 *
 * ```text
 * 00 00 00 07   7B 22 61 22 3A 31 7D
 * length (7)    {  "  a  "  :  1  }
 * ```
 *
 * Use {@linkcode encodeFrame} for one frame, {@linkcode FrameDecoder} and
 * {@linkcode FrameEncoder} to drive your own I/O, and
 * {@linkcode FrameDecoderStream} and {@linkcode FrameEncoderStream} with Web
 * Streams.
 *
 * ```ts
 * import { encodeFrame, FrameDecoder } from "@blackbelt/networking/framing";
 * import { assertEquals } from "@std/assert";
 *
 * const decoder = new FrameDecoder();
 * assertEquals([...decoder.push(encodeFrame({ a: 1 }))], [{ a: 1 }]);
 * decoder.end(); // throws if the bytes stopped inside a frame
 * ```
 *
 * @module
 */
import {
  type Decoded,
  Decoder,
  FrameEncoder,
  Framing,
  type FramingOptions,
  InvalidMessageError,
  type JsonValue,
} from "./core/framing/framing.ts";
import { EMPTY, toBytes } from "./core/tools/bytes.ts";

export {
  encodeFrame,
  FrameEncoder,
  FrameTooLargeError,
  FrameTruncatedError,
  FRAMING_DEFAULTS,
  type FramingOptions,
  InvalidMessageError,
  type JsonValue,
} from "./core/framing/framing.ts";

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
    this.#decoder = new Decoder(Framing.of(options));
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
  take(): readonly (T | InvalidMessageError)[] {
    return this.#decoder.take()?.messages ?? NONE;
  }
}

/**
 * A Web Stream that turns bytes, in chunks of any size, into messages. It ends
 * with the error of the first bad frame, or with a `FrameTruncatedError` if the
 * bytes end inside one; use {@linkcode FrameDecoder} to go on after a bad
 * message.
 *
 * ```ts
 * import { encodeFrame, FrameDecoderStream } from "@blackbelt/networking/framing";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = ReadableStream.from([encodeFrame("a"), encodeFrame("b")]);
 * assertEquals(await Array.fromAsync(bytes.pipeThrough(new FrameDecoderStream())), ["a", "b"]);
 * ```
 *
 * @typeParam T What the messages are taken to be; nothing checks it.
 */
export class FrameDecoderStream<T = JsonValue>
  implements ReadableWritablePair<T, ArrayBuffer | ArrayBufferView> {
  /** The messages. */
  readonly readable: ReadableStream<T>;
  /** Where the bytes go; anything else ends the stream with a `TypeError`. */
  readonly writable: WritableStream<ArrayBuffer | ArrayBufferView>;

  /**
   * Checks the options; nothing is allocated yet.
   *
   * @param options Layout and limit of the frames.
   * @throws {RangeError} If the prefix cannot express the limit, or a number is
   * out of range.
   * @throws {TypeError} If an option does not exist or has the wrong type.
   */
  constructor(options: FramingOptions = {}) {
    const decoder = new FrameDecoder<T>(options);
    const bytes = new TransformStream<
      ArrayBuffer | ArrayBufferView,
      ArrayBuffer | ArrayBufferView
    >();
    this.writable = bytes.writable;
    // Driven by who reads: an error would take the messages before it along
    // that are not read yet.
    this.readable = ReadableStream.from(decodeAll(bytes.readable, decoder));
  }
}

async function* decodeAll<T>(
  bytes: ReadableStream<ArrayBuffer | ArrayBufferView>,
  decoder: FrameDecoder<T>,
): AsyncGenerator<T, void> {
  const reader = bytes.getReader();
  let failure: unknown;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return decoder.end();
      yield* decoder.push(value);
    }
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    await reader.cancel(failure);
  }
}

/**
 * A Web Stream that turns messages into frames, one chunk a message. It ends
 * with the error of the first message that cannot be sent.
 *
 * ```ts
 * import { encodeFrame, FrameEncoderStream } from "@blackbelt/networking/framing";
 * import { assertEquals } from "@std/assert";
 *
 * const frames = ReadableStream.from([1, 2]).pipeThrough(new FrameEncoderStream());
 * assertEquals(await Array.fromAsync(frames), [encodeFrame(1), encodeFrame(2)]);
 * ```
 *
 * @typeParam T What is written to it: anything that `JSON.stringify` can turn
 * into text.
 */
export class FrameEncoderStream<T = unknown>
  extends TransformStream<T, Uint8Array<ArrayBuffer>> {
  /**
   * Checks the options; nothing is allocated yet.
   *
   * @param options Layout and limit of the frames.
   * @throws {RangeError} If the prefix cannot express the limit, or a number is
   * out of range.
   * @throws {TypeError} If an option does not exist or has the wrong type.
   */
  constructor(options: FramingOptions = {}) {
    const encoder = new FrameEncoder(options);
    super({
      transform(message, controller) {
        encoder.push(message);
        controller.enqueue(encoder.take());
      },
    });
  }
}
