/**
 * The codec: bytes to messages and back, without any I/O.
 *
 * @module
 */
export { type Decoded, Decoder, type Run } from "./decoder.ts";
export {
  EncodedMessage,
  encodeFrame,
  encodeText,
  FrameEncoder,
  limitDepth,
  measure,
} from "./encoder.ts";
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
