/**
 * The codec: bytes to messages and back, without any I/O.
 *
 * @module
 */
export { type Decoded, FrameDecoder, type JsonValue } from "./decoder.ts";
export { encodeFrame, FrameEncoder } from "./encoder.ts";
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
