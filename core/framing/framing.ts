/**
 * The codec: bytes to messages and back, without any I/O.
 *
 * @module
 */
export { FrameDecoder, limitDecoder, type Run, takeRun } from "./decoder.ts";
export {
  EncodedMessage,
  encodeFrame,
  encodeText,
  FrameEncoder,
  limitDepth,
  measure,
} from "./encoder.ts";
export {
  type Decoded,
  FrameTooLargeError,
  FrameTruncatedError,
  InvalidMessageError,
  type JsonValue,
} from "./errors.ts";
export {
  type Framing,
  FRAMING_DEFAULTS,
  FRAMING_OPTIONS,
  framingOf,
  type FramingOptions,
  resolveFraming,
} from "./options.ts";
