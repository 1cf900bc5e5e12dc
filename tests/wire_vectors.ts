import type { JsonValue } from "../framing.ts";

/**
 * A message and the frame that carries it: encoding gives these bytes, decoding
 * gives this message.
 */
export interface WireVector {
  /** What is special about it. */
  readonly name: string;
  /** Layout and limit of the frame; what is absent has its default. */
  readonly options: {
    readonly prefixBytes?: 1 | 2 | 4 | 8;
    readonly littleEndian?: boolean;
    readonly maxFrameBytes?: number;
  };
  /** The frame in hexadecimal, with spaces between its parts. */
  readonly hex: string;
  /** The message. */
  readonly message: JsonValue;
}

/**
 * A string whose payload has 258 bytes, 0102 in hexadecimal: its length differs
 * in each byte order.
 */
const LONG = "a".repeat(256);
const LONG_HEX = `22 ${"61".repeat(256)} 22`;

/**
 * Frames of every layout and kind of message, as plain data: `JSON.stringify`
 * loses nothing of it.
 */
export const WIRE_VECTORS: readonly WireVector[] = [
  { name: "null", options: {}, hex: "00000004 6e756c6c", message: null },
  { name: "true", options: {}, hex: "00000004 74727565", message: true },
  { name: "false", options: {}, hex: "00000005 66616c7365", message: false },
  { name: "zero", options: {}, hex: "00000001 30", message: 0 },
  {
    name: "a negative fraction",
    options: {},
    hex: "00000004 2d312e35",
    message: -1.5,
  },
  {
    name: "the largest safe integer",
    options: {},
    hex: "00000010 39303037313939323534373430393931",
    message: 9007199254740991,
  },
  { name: "the empty string", options: {}, hex: "00000002 2222", message: "" },
  { name: "the empty array", options: {}, hex: "00000002 5b5d", message: [] },
  { name: "the empty object", options: {}, hex: "00000002 7b7d", message: {} },
  {
    name: "an object",
    options: {},
    hex: "00000007 7b 2261 22 3a 31 7d",
    message: { a: 1 },
  },
  {
    name: "nesting",
    options: {},
    hex: "00000012 7b 2261223a 5b31 2c 7b2262223a 5b5d 7d 5d 7d",
    message: { a: [1, { b: [] }] },
  },
  {
    name: "a greeting",
    options: {},
    hex:
      "0000002d 7b 226d657373616765223a 2268656c6c6f2066726f6d20636c69656e7422 2c 2274797065223a 227465787422 7d",
    message: { message: "hello from client", type: "text" },
  },
  {
    name: "characters that need a backslash",
    options: {},
    hex: "00000010 22 5c22 5c5c 5c62 5c66 5c6e 5c72 5c74 22",
    message: '"\\\b\f\n\r\t',
  },
  {
    name: "control characters, escaped",
    options: {},
    hex: "0000000e 22 5c7530303030 5c7530303166 22",
    message: "\u0000\u001f",
  },
  {
    name: "a control character that stands for itself",
    options: {},
    hex: "00000003 22 7f 22",
    message: "\u007f",
  },
  {
    name: "two bytes a character, first and last",
    options: {},
    hex: "00000006 22 c280 dfbf 22",
    message: "\u0080\u07ff",
  },
  {
    name: "three bytes a character, first and last",
    options: {},
    hex: "00000008 22 e0a080 efbfbf 22",
    message: "\u0800\uffff",
  },
  {
    name: "four bytes a character, first and last",
    options: {},
    hex: "0000000a 22 f0908080 f48fbfbf 22",
    message: "\u{10000}\u{10ffff}",
  },
  {
    name: "widths mixed",
    options: {},
    hex: "0000000c 22 61 c3a9 e697a5 f09f9880 22",
    message: "aé日😀",
  },
  {
    name: "a key that is not ASCII",
    options: {},
    hex: "0000000a 7b 22 e697a5 22 3a 22 22 7d",
    message: { "日": "" },
  },
  {
    name: "line separators, unescaped",
    options: {},
    hex: "00000008 22 e280a8 e280a9 22",
    message: "\u2028\u2029",
  },
  {
    name: "a byte order mark inside a string",
    options: {},
    hex: "00000005 22 efbbbf 22",
    message: "\ufeff",
  },
  {
    name: "a replacement character that was sent as one",
    options: {},
    hex: "00000005 22 efbfbd 22",
    message: "\ufffd",
  },
  {
    name: "lone surrogates, escaped",
    options: {},
    hex: "0000000f 22 5c7564383030 78 5c7564666666 22",
    message: "\ud800x\udfff",
  },
  {
    name: "1-byte prefix",
    options: { prefixBytes: 1 },
    hex: "05 5b312c325d",
    message: [1, 2],
  },
  {
    name: "1-byte prefix, little-endian",
    options: { prefixBytes: 1, littleEndian: true },
    hex: "05 5b312c325d",
    message: [1, 2],
  },
  {
    name: "1-byte prefix at its most",
    options: { prefixBytes: 1 },
    hex: `ff 22 ${"61".repeat(253)} 22`,
    message: "a".repeat(253),
  },
  {
    name: "2-byte prefix",
    options: { prefixBytes: 2 },
    hex: `0102 ${LONG_HEX}`,
    message: LONG,
  },
  {
    name: "2-byte prefix, little-endian",
    options: { prefixBytes: 2, littleEndian: true },
    hex: `0201 ${LONG_HEX}`,
    message: LONG,
  },
  {
    name: "4-byte prefix",
    options: { prefixBytes: 4, littleEndian: false },
    hex: `00000102 ${LONG_HEX}`,
    message: LONG,
  },
  {
    name: "4-byte prefix, little-endian",
    options: { littleEndian: true },
    hex: `02010000 ${LONG_HEX}`,
    message: LONG,
  },
  {
    name: "8-byte prefix",
    options: { prefixBytes: 8 },
    hex: `0000000000000102 ${LONG_HEX}`,
    message: LONG,
  },
  {
    name: "8-byte prefix, little-endian",
    options: { prefixBytes: 8, littleEndian: true },
    hex: `0201000000000000 ${LONG_HEX}`,
    message: LONG,
  },
  {
    name: "at the limit",
    options: { maxFrameBytes: 5 },
    hex: "00000005 22 e697a5 22",
    message: "日",
  },
  {
    name: "at the limit, with ASCII",
    options: { prefixBytes: 2, littleEndian: true, maxFrameBytes: 5 },
    hex: "0500 22 616263 22",
    message: "abc",
  },
];
