/**
 * What a message is, and what goes wrong with frames and messages.
 *
 * @module
 */

/** Any value that JSON can represent. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | JsonValue[]
  | { [key: string]: JsonValue };

/**
 * Thrown when a payload is larger than the limit, and when a stream begins with
 * another protocol, such as HTTP. A receiver cannot continue after it; a sender
 * can.
 *
 * ```ts
 * import { FrameDecoder, FrameTooLargeError } from "@blackbelt/networking/framing";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const decoder = new FrameDecoder({ maxFrameBytes: 1_024 });
 * const prefix = Uint8Array.of(0, 0, 8, 0); // announces 2 KiB
 * const { size, limit } = assertThrows(() => [...decoder.push(prefix)], FrameTooLargeError);
 * assertEquals([size, limit], [2_048, 1_024]);
 * ```
 */
export class FrameTooLargeError extends RangeError {
  /**
   * Size of the payload in bytes: announced by the peer, or about to be sent.
   */
  readonly size: number;
  /** Largest payload allowed, in bytes. */
  readonly limit: number;

  /**
   * Makes the error for a payload of `size` bytes. A `diagnosis` names the
   * protocol that the bytes seem to belong to.
   */
  constructor(
    action: "decode" | "encode",
    size: number,
    limit: number,
    diagnosis?: string,
  ) {
    super(
      `Cannot ${action} frame: ${
        diagnosis ?? `payload is ${size} bytes, limit is ${limit} bytes`
      }`,
    );
    this.name = "FrameTooLargeError";
    this.size = size;
    this.limit = limit;
  }
}

/**
 * Thrown when the bytes end inside a frame.
 *
 * ```ts
 * import { encodeFrame, FrameDecoder, FrameTruncatedError } from "@blackbelt/networking/framing";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const decoder = new FrameDecoder();
 * const cut = encodeFrame("hello").subarray(0, 6); // the prefix and 2 bytes
 * assertEquals([...decoder.push(cut)], []);
 * const { received, expected } = assertThrows(() => decoder.end(), FrameTruncatedError);
 * assertEquals([received, expected], [2, 7]);
 * ```
 */
export class FrameTruncatedError extends Error {
  /**
   * Bytes received of the part, prefix or payload, in which the stream ended.
   */
  readonly received: number;
  /** Bytes that this part should have had. */
  readonly expected: number;

  /**
   * Makes the error for a stream that ended after `received` of `expected`
   * bytes of a `part`.
   */
  constructor(part: "prefix" | "payload", received: number, expected: number) {
    super(
      `Cannot decode frame: the stream ended after ${received} of ${expected} ${part} bytes`,
    );
    this.name = "FrameTruncatedError";
    this.received = received;
    this.expected = expected;
  }
}

/**
 * Thrown for a payload that is not UTF-8, not JSON or nested too deep, and for
 * a value that JSON cannot represent. The connection stays open. The error does
 * not contain the payload.
 *
 * ```ts
 * import { encodeFrame, InvalidMessageError } from "@blackbelt/networking/framing";
 * import { assertThrows } from "@std/assert";
 *
 * assertThrows(() => encodeFrame(1n), InvalidMessageError);
 * ```
 */
export class InvalidMessageError extends SyntaxError {
  /** Makes the error. `message` must not contain payload text. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "InvalidMessageError";
  }
}

/**
 * What `FrameDecoder.take` gives for each frame: its message, or the
 * error of a payload that holds none.
 */
export type Decoded<T> = T | InvalidMessageError;
