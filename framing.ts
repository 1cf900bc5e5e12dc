/**
 * Bytes to messages and back, without any I/O.
 *
 * A frame is a length prefix followed by that many bytes of payload; a payload
 * is one JSON text in UTF-8 without a byte order mark ([RFC
 * 8259](https://www.rfc-editor.org/rfc/rfc8259), section 8.1); a message is the
 * value of that text.
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
  FrameDecoder,
  FrameEncoder,
  type FramingOptions,
  type JsonValue,
} from "./core/framing/framing.ts";

export {
  encodeFrame,
  FrameDecoder,
  FrameEncoder,
  FrameTooLargeError,
  FrameTruncatedError,
  FRAMING_DEFAULTS,
  type FramingOptions,
  InvalidMessageError,
  type JsonValue,
} from "./core/framing/framing.ts";

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
 * @typeParam T Type of the messages. It is not checked at run time.
 */
export class FrameDecoderStream<T = JsonValue>
  implements ReadableWritablePair<T, ArrayBuffer | ArrayBufferView> {
  /** The messages. */
  readonly readable: ReadableStream<T>;
  /** Takes the bytes. Anything else ends the stream with a `TypeError`. */
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
    // Driven by the reader: an error would take the messages before it along
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
