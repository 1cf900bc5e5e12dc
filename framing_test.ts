import { Buffer } from "node:buffer";
import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertLessOrEqual,
  assertRejects,
  assertStrictEquals,
  assertThrows,
  fail,
} from "@std/assert";
import {
  encodeFrame,
  FrameDecoder,
  FrameDecoderStream,
  FrameEncoder,
  FrameEncoderStream,
  FrameTooLargeError,
  FrameTruncatedError,
  FRAMING_DEFAULTS,
  type FramingOptions,
  InvalidMessageError,
} from "./framing.ts";
import { recognizeBad } from "./core/framing/diagnosis.ts";
import { DEEP } from "./tests/costly_texts.ts";
import { defaultTags } from "./tests/default_tags.ts";
import { type Random, seeded } from "./tests/random.ts";
import { WIRE_VECTORS } from "./tests/wire_vectors.ts";
import { bytesOf } from "./tests/peers.ts";

type Bytes = Uint8Array<ArrayBuffer>;
type Feed = (decoder: FrameDecoder<unknown>, bytes: Bytes) => unknown[];

const MIB = 1_048_576;
const UTF8 = new TextEncoder();
const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const WIDTHS = [1, 2, 4, 8] as const;
const LAYOUTS: FramingOptions[] = WIDTHS.flatMap((prefixBytes) =>
  [false, true].map((littleEndian) => ({ prefixBytes, littleEndian }))
);
/**
 * A payload of each kind of text; the last three are longer in UTF-8 than in
 * UTF-16.
 */
const TEXTS = ["[1]", '"é"', '{"ключ":"日本"}', '"😀"'];

function join(parts: Iterable<Uint8Array>): Bytes {
  const all = [...parts];
  const bytes = new Uint8Array(
    all.reduce((size, { length }) => size + length, 0),
  );
  let offset = 0;
  for (const part of all) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

function each(bytes: Bytes): Bytes[] {
  return Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
}

/** A frame that was not made by the code under test. */
function frame(payload: string | Bytes, options: FramingOptions = {}): Bytes {
  const { prefixBytes = 4, littleEndian = false } = options;
  const bytes = typeof payload === "string" ? UTF8.encode(payload) : payload;
  const prefix = bytesOf(
    bytes.length.toString(16).padStart(2 * prefixBytes, "0"),
  );
  return join([littleEndian ? prefix.reverse() : prefix, bytes]);
}

function frames(
  payloads: Iterable<string | Bytes>,
  options: FramingOptions = {},
): Bytes {
  return join(Array.from(payloads, (payload) => frame(payload, options)));
}

/**
 * Messages and errors that the bytes give; an error that ends the link comes
 * last.
 */
function feedByPush(
  decoder: FrameDecoder<unknown>,
  bytes?: Bytes,
): unknown[] {
  const outcomes: unknown[] = [];
  for (; outcomes.length < 1_000_000; bytes = undefined) {
    try {
      for (const message of decoder.push(bytes)) outcomes.push(message);
      return outcomes;
    } catch (error) {
      outcomes.push(error);
      if (!(error instanceof InvalidMessageError)) return outcomes;
    }
  }
  fail("The decoder does not end");
}

/** The same by the methods that do not copy. */
function feedByReserve(
  decoder: FrameDecoder<unknown>,
  bytes: Bytes,
): unknown[] {
  for (let offset = 0; offset < bytes.length;) {
    const space = decoder.reserve();
    const part = bytes.subarray(offset, offset + space.length);
    space.set(part);
    decoder.commit(part.length);
    offset += part.length;
  }
  const outcomes: unknown[] = [];
  try {
    for (;;) {
      const taken = decoder.take();
      if (taken.length === 0) return outcomes;
      for (const message of taken) outcomes.push(message);
    }
  } catch (error) {
    return [...outcomes, error];
  }
}

const FEEDS: Feed[] = [feedByPush, feedByReserve];

function endsLink(outcome: unknown): boolean {
  return outcome instanceof Error && !(outcome instanceof InvalidMessageError);
}

/** Messages and errors of a whole stream. */
function decode(
  chunks: Iterable<Bytes>,
  options: FramingOptions = {},
  feed: Feed = feedByPush,
): unknown[] {
  const decoder = new FrameDecoder<unknown>(options);
  const outcomes: unknown[] = [];
  for (const chunk of chunks) {
    for (const outcome of feed(decoder, chunk)) outcomes.push(outcome);
    if (endsLink(outcomes.at(-1))) return outcomes;
  }
  try {
    decoder.end();
  } catch (error) {
    outcomes.push(error);
  }
  return outcomes;
}

/**
 * Outcomes as text that can be compared: the name of an error, which is no
 * JSON, or the JSON of a message.
 */
function summaryOf(outcomes: readonly unknown[]): string[] {
  return outcomes.map((outcome) =>
    outcome instanceof Error ? outcome.name : JSON.stringify(outcome)
  );
}

/** What the whole stream should give, by the shortest decoder that is right. */
function expectedOf(
  bytes: Bytes,
  options: FramingOptions = {},
  isStart = true,
): string[] {
  const { prefixBytes = 4, littleEndian, maxFrameBytes = MIB } = options;
  if (bytes.length === 0) return [];
  const start = bytes.slice(0, prefixBytes);
  const length = Number(
    `0x${(littleEndian ? start.reverse() : start).toHex()}`,
  );
  if (start.length < prefixBytes) return ["FrameTruncatedError"];
  if (length > maxFrameBytes) return ["FrameTooLargeError"];
  const rest = bytes.subarray(prefixBytes);
  if (rest.length < length) return ["FrameTruncatedError"];
  const first = normalize(rest.subarray(0, length));
  // A stream that begins with what is no message may be another protocol's.
  const isForeign = isStart && first === "InvalidMessageError" &&
    recognizeBad(bytes.slice(0, Math.max(4, prefixBytes))) !== undefined;
  if (isForeign) return ["FrameTooLargeError"];
  return [first, ...expectedOf(rest.subarray(length), options, false)];
}

function normalize(payload: Bytes): string {
  try {
    return JSON.stringify(JSON.parse(STRICT_UTF8.decode(payload)));
  } catch {
    return "InvalidMessageError";
  }
}

/** All that waits in an encoder. */
function takeAll(encoder: FrameEncoder): Bytes {
  const parts: Bytes[] = [];
  for (;;) {
    const bytes = encoder.take();
    if (bytes.length === 0) return join(parts);
    parts.push(bytes);
  }
}

/**
 * What a stream gives, and the error that it ends with if it does. Before each
 * next message, all else has `turns` turns.
 */
async function collect(
  readable: ReadableStream<unknown>,
  turns = 0,
): Promise<unknown[]> {
  const outcomes: unknown[] = [];
  try {
    for await (const message of readable) {
      outcomes.push(message);
      for (let i = 0; i < turns; i++) await undefined;
    }
  } catch (error) {
    outcomes.push(error);
  }
  return outcomes;
}

function decodeStream(
  chunks: Iterable<Bytes>,
  options?: FramingOptions,
  turns?: number,
): Promise<unknown[]> {
  return collect(
    ReadableStream.from(chunks).pipeThrough(new FrameDecoderStream(options)),
    turns,
  );
}

// Wire vectors

Deno.test("encodeFrame() gives the bytes of every wire vector", () => {
  for (const { name, options, hex, message } of WIRE_VECTORS) {
    assertEquals(encodeFrame(message, options), bytesOf(hex), name);
  }
});

Deno.test("FrameDecoder gives the message of every wire vector when it comes whole, byte by byte or split anywhere", () => {
  for (const { name, options, hex, message } of WIRE_VECTORS) {
    const bytes = bytesOf(hex);
    for (const feed of FEEDS) {
      const ways = [[bytes], each(bytes)];
      for (let at = 0; at <= bytes.length; at++) {
        ways.push([bytes.subarray(0, at), bytes.subarray(at)]);
      }
      for (const chunks of ways) {
        assertEquals(decode(chunks, options, feed), [message], name);
      }
    }
  }
});

Deno.test("FrameDecoder gives three frames in a row when they are split at any two offsets", () => {
  for (const options of LAYOUTS) {
    const bytes = frames(['"é"', "12", "[]"], options);
    for (const feed of FEEDS) {
      for (let first = 0; first <= bytes.length; first++) {
        for (let second = first; second <= bytes.length; second++) {
          const chunks = [
            bytes.subarray(0, first),
            bytes.subarray(first, second),
            bytes.subarray(second),
          ];
          assertEquals(
            summaryOf(decode(chunks, options, feed)),
            ['"é"', "12", "[]"],
            `${JSON.stringify(options)}, split at ${first} and ${second}`,
          );
        }
      }
    }
  }
});

Deno.test("FrameDecoder gives every message in order when one chunk holds many frames", () => {
  for (const unit of ["7", '"é"']) {
    const count = 20_000;
    const bytes = frames(Array.from({ length: count }, () => unit));
    for (const feed of FEEDS) {
      const messages = decode([bytes], {}, feed);
      assertEquals(messages.length, count);
      assert(messages.every((message) => message === JSON.parse(unit)));
    }
  }
  const numbers = Array.from({ length: 20_000 }, (_, i) => i);
  assertEquals(decode([frames(numbers.map(String))]), numbers);
});

Deno.test("FrameDecoder gives every message in order when frames span many chunks", () => {
  const messages = [1, "a".repeat(100_000), "é", "日".repeat(100_000), 2];
  const bytes = frames(messages.map((message) => JSON.stringify(message)));
  for (const feed of FEEDS) {
    for (const size of [1_000, 4_096, 65_536, 70_001]) {
      const chunks = [];
      for (let offset = 0; offset < bytes.length; offset += size) {
        chunks.push(bytes.subarray(offset, offset + size));
      }
      assertEquals(decode(chunks, {}, feed), messages);
    }
  }
});

Deno.test("FrameDecoder takes JSON text however it is written", () => {
  const cases: [string, unknown][] = [
    [" \t\r\n1\n", 1],
    ['{ "a" : [ 1 , 2 ] }', { a: [1, 2] }],
    ['"\\u00e9\\uD83D\\uDE00\\/"', "é😀/"],
    ['{"a":1,"a":2}', { a: 2 }],
    ["1E2", 100],
    ["-0", -0],
    ["1e400", Infinity],
    ["9007199254740993", 9007199254740992],
    ['"\\ufeff"', "\ufeff"],
  ];
  for (const [text, message] of cases) {
    assertEquals(decode([frame(text)]), [message], text);
  }
  const [message] = decode([frame('{"__proto__":{"admin":true}}')]);
  assert(Object.hasOwn(message as object, "__proto__"));
  assertStrictEquals(Object.getPrototypeOf(message), Object.prototype);
});

Deno.test("take() ends a run after about 64 KiB when more whole frames are at hand", () => {
  const decoder = new FrameDecoder<number>();
  const numbers = Array.from({ length: 500 }, (_, i) => i);
  decoder.push(frames(numbers.map((number) => `${number}`.padEnd(1_000))));
  const runs = takeRuns(decoder);
  assertEquals(runs.flat(), numbers);
  // The last frame of a run is the one that passes 65 536 bytes.
  assertEquals(
    runs.map(({ length }) => length),
    [66, 66, 66, 66, 66, 66, 66, 38],
  );
  assertEquals(decoder.size, 0);
});

// Layouts and limits

Deno.test("encodeFrame() writes the length in every width and byte order", () => {
  for (const options of LAYOUTS) {
    const { prefixBytes = 4, littleEndian } = options;
    for (const length of [1, 2, 127, 128, 255, 256, 0x102, 65_535, 0x10203]) {
      if (length >= 2 ** (8 * prefixBytes)) continue;
      const message = length === 1 ? 7 : "a".repeat(length - 2);
      const bytes = encodeFrame(message, options);
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const read = {
        1: () => view.getUint8(0),
        2: () => view.getUint16(0, littleEndian),
        4: () => view.getUint32(0, littleEndian),
        8: () => Number(view.getBigUint64(0, littleEndian)),
      }[prefixBytes];
      assertEquals(read(), length);
      assertEquals(bytes.length, prefixBytes + length);
      for (const feed of FEEDS) {
        assertEquals(decode([bytes], options, feed), [message]);
      }
    }
  }
});

Deno.test("maxFrameBytes holds in both directions when a payload is one byte under, at and over it", () => {
  const messages = [
    42,
    "a".repeat(30),
    "é".repeat(30),
    "日".repeat(30),
    "😀".repeat(30),
    `${"a".repeat(60)}日`,
    `日${"a".repeat(60)}`,
    "a".repeat(300_000),
    "日".repeat(100_000),
    "😀a".repeat(100_000),
  ];
  for (const message of messages) {
    const text = JSON.stringify(message);
    const size = UTF8.encode(text).length;
    const limits = [
      size - 1,
      size,
      size + 1,
      text.length, // enough for the UTF-16 units, not always for the bytes
      3 * text.length - 1, // up to here is the text measured
      3 * text.length,
    ];
    for (const limit of limits) {
      const options = { maxFrameBytes: limit };
      const name = `${size} bytes under a limit of ${limit}`;
      const bytes = frame(text);
      if (size <= limit) {
        assertEquals(encodeFrame(message, options), bytes, name);
        assertEquals(decode([bytes], options), [message], name);
        continue;
      }
      const errors = [
        assertThrows(() => encodeFrame(message, options), FrameTooLargeError),
        decode([bytes.subarray(0, 4)], options)[0],
      ];
      for (const error of errors) {
        assertInstanceOf(error, FrameTooLargeError, name);
        assertEquals([error.size, error.limit], [size, limit], name);
      }
    }
  }
});

Deno.test("maxFrameBytes is 1 MiB or what the prefix can express when it is absent", () => {
  const limits = { 1: 255, 2: 65_535, 4: MIB, 8: MIB };
  for (const options of LAYOUTS) {
    const limit = limits[options.prefixBytes!];
    for (const given of [options, { ...options, maxFrameBytes: undefined }]) {
      const largest = "a".repeat(limit - 2);
      const bytes = encodeFrame(largest, given);
      assertEquals(bytes.length, options.prefixBytes! + limit);
      assertEquals([...new FrameDecoder(given).push(bytes)], [largest]);
      const error = assertThrows(
        () => encodeFrame(`${largest}a`, given),
        FrameTooLargeError,
      );
      assertEquals([error.size, error.limit], [limit + 1, limit]);
    }
  }
});

Deno.test("maxFrameBytes stands for what the prefix can express when it is Infinity", () => {
  for (const prefixBytes of WIDTHS) {
    const options = { prefixBytes, maxFrameBytes: Infinity };
    const most = Math.min(256 ** prefixBytes - 1, Number.MAX_SAFE_INTEGER);
    const prefix = most.toString(16).padStart(2 * prefixBytes, "0");
    const [error] = decode([bytesOf(prefix)], options);
    assertInstanceOf(error, FrameTruncatedError);
    assertEquals([error.received, error.expected], [0, most]);
  }
  const options = { prefixBytes: 1, maxFrameBytes: Infinity } as const;
  const error = assertThrows(
    () => encodeFrame("a".repeat(254), options),
    FrameTooLargeError,
  );
  assertEquals([error.size, error.limit], [256, 255]);
});

/** Everything that takes framing options. */
const MAKERS: ((options: FramingOptions) => unknown)[] = [
  (options) => new FrameDecoder(options),
  (options) => new FrameEncoder(options),
  (options) => new FrameDecoderStream(options),
  (options) => new FrameEncoderStream(options),
  (options) => encodeFrame({ toJSON: () => fail("encoded") }, options),
];

Deno.test("framing options throw a RangeError when the prefix cannot express the limit", () => {
  for (const prefixBytes of WIDTHS) {
    const most = Math.min(256 ** prefixBytes - 1, Number.MAX_SAFE_INTEGER);
    new FrameDecoder({ prefixBytes, maxFrameBytes: most });
    for (const make of MAKERS) {
      assertThrows(
        () => make({ prefixBytes, maxFrameBytes: most + 1 }),
        RangeError,
        `Cannot use option "maxFrameBytes": received ${
          most + 1
        }, expected Infinity or a whole number from 1 to ${most}`,
      );
    }
  }
});

Deno.test("framing options throw when one is unknown or wrong, before anything is done", () => {
  const cases: [Record<string, unknown>, typeof Error, string][] = [
    [{ maxFrameByte: 1 }, TypeError, '"maxFrameByte": it does not exist'],
    [{ MaxFrameBytes: 1 }, TypeError, '"MaxFrameBytes": it does not exist'],
    [{ unknown: undefined }, TypeError, '"unknown": it does not exist'],
    [{ toString: 1 }, TypeError, '"toString": it does not exist'],
    [
      { maxFrameBytes: "9" },
      TypeError,
      'received "9", expected Infinity or a whole number',
    ],
    [{ maxFrameBytes: 9n }, TypeError, "received 9n"],
    [{ maxFrameBytes: null }, TypeError, "received null"],
    [{ maxFrameBytes: true }, TypeError, "received true"],
    [{ maxFrameBytes: {} }, TypeError, "received an object"],
    [{ maxFrameBytes: NaN }, RangeError, '"maxFrameBytes": received NaN'],
    [{ maxFrameBytes: 0 }, RangeError, '"maxFrameBytes": received 0'],
    [{ maxFrameBytes: -1 }, RangeError, '"maxFrameBytes": received -1'],
    [{ maxFrameBytes: 1.5 }, RangeError, '"maxFrameBytes": received 1.5'],
    [{ maxFrameBytes: -Infinity }, RangeError, "received -Infinity"],
    [{ maxFrameBytes: 2 ** 53 }, RangeError, "received 9007199254740992"],
    [{ littleEndian: 1 }, TypeError, "received 1, expected a boolean"],
    [{ littleEndian: "true" }, TypeError, 'received "true"'],
    [{ littleEndian: null }, TypeError, "received null"],
    [{ prefixBytes: 0 }, RangeError, "received 0, expected 1, 2, 4 or 8"],
    [{ prefixBytes: 3 }, RangeError, "received 3"],
    [{ prefixBytes: 16 }, RangeError, "received 16"],
    [{ prefixBytes: -4 }, RangeError, "received -4"],
    [{ prefixBytes: 1.5 }, RangeError, "received 1.5"],
    [{ prefixBytes: NaN }, RangeError, "received NaN"],
    [{ prefixBytes: Infinity }, RangeError, "received Infinity"],
  ];
  for (const [options, type, text] of cases) {
    for (const make of MAKERS) {
      const error = assertThrows(() => make(options), type, text);
      assertStrictEquals(error.constructor, type);
    }
  }
});

Deno.test("framing options throw a TypeError when prefixBytes is not a number", () => {
  for (
    const [prefixBytes, received] of [
      ["4", '"4"'],
      [null, "null"],
      [true, "true"],
      [4n, "4n"],
      [{}, "an object"],
      [[4], "an array"],
      [Symbol("4"), "a symbol"],
    ]
  ) {
    for (const make of MAKERS) {
      assertThrows(
        () => make({ prefixBytes: prefixBytes as 4 }),
        TypeError,
        `"prefixBytes": received ${received as string}, expected 1, 2, 4 or 8`,
      );
    }
  }
});

Deno.test("FRAMING_DEFAULTS are those of the documentation, and cannot be changed", async () => {
  const tags = await defaultTags(
    new URL("./framing.ts", import.meta.url),
    "FramingOptions",
  );
  assertEquals(tags, { ...FRAMING_DEFAULTS });
  assert(Object.isFrozen(FRAMING_DEFAULTS));
});

// What is only announced

Deno.test("FrameDecoder rejects an announced 4 GiB when it has the prefix and nothing else", () => {
  const decoder = new FrameDecoder();
  assertEquals([...decoder.push(bytesOf("ffffff"))], []);
  const error = assertThrows(
    () => [...decoder.push(bytesOf("ff"))],
    FrameTooLargeError,
  );
  assertEquals([error.size, error.limit], [4_294_967_295, MIB]);
  assertLessOrEqual(decoder.reserve().buffer.byteLength, 512);
});

Deno.test("FrameDecoder reads the length without a sign when it is huge", () => {
  const cases: [FramingOptions, string, number][] = [
    [{}, "80000000", 2 ** 31],
    [{}, "47455420", 1_195_725_856],
    [{}, "00100001", MIB + 1],
    [{ littleEndian: true }, "00000080", 2 ** 31],
    [{ littleEndian: true }, "01001000", MIB + 1],
    [{ prefixBytes: 8 }, "ffffffffffffffff", 2 ** 64],
    [{ prefixBytes: 8 }, "8000000000000000", 2 ** 63],
    [{ prefixBytes: 8 }, "0000000100000000", 2 ** 32],
    [{ prefixBytes: 8 }, "0000000100000001", 2 ** 32 + 1],
    [{ prefixBytes: 8, littleEndian: true }, "0100000001000000", 2 ** 32 + 1],
    [{ prefixBytes: 8, littleEndian: true }, "0000000000000080", 2 ** 63],
    [
      { prefixBytes: 8, maxFrameBytes: Infinity },
      "0020000000000000",
      2 ** 53,
    ],
    [
      { prefixBytes: 8, maxFrameBytes: Infinity },
      "ffffffffffffffff",
      2 ** 64,
    ],
  ];
  for (const [options, hex, size] of cases) {
    for (const feed of FEEDS) {
      const outcomes = decode([bytesOf(hex)], options, feed);
      assertInstanceOf(outcomes[0], FrameTooLargeError, hex);
      assertEquals(outcomes[0].size, size, hex);
      assertEquals(outcomes.length, 1, hex);
    }
  }
});

Deno.test("FrameDecoder allocates nothing for a length that was only announced", () => {
  const announcements: [FramingOptions, string][] = [
    [{}, "00100000"],
    [{ maxFrameBytes: Infinity }, "ffffffff"],
    [{ prefixBytes: 8, maxFrameBytes: Infinity }, "001fffffffffffff"],
  ];
  for (const [options, hex] of announcements) {
    for (const feed of FEEDS) {
      const decoder = new FrameDecoder(options);
      const bytes = join([bytesOf(hex), bytesOf("22")]);
      assertEquals(feed(decoder, bytes), []);
      assertEquals(decoder.size, bytes.length);
      assertLessOrEqual(decoder.reserve().buffer.byteLength, 2_048, hex);
    }
  }
});

/**
 * Adds bytes one at a time, and checks the buffers that the decoder has for
 * them.
 */
function drip(
  decoder: FrameDecoder<unknown>,
  bytes: Bytes,
  add: (decoder: FrameDecoder<unknown>, byte: Bytes) => Bytes,
  slack: number,
): void {
  let buffers = 0;
  let last: ArrayBuffer | undefined;
  for (let i = 0; i < bytes.length; i++) {
    const { buffer } = add(decoder, bytes.subarray(i, i + 1));
    if (buffer !== last) {
      buffers++;
      last = buffer;
      // Two or three for each doubling; one for each byte would copy all that
      // came before each time.
      assertLessOrEqual(buffers, 64, `after ${i + 1} bytes`);
      assertLessOrEqual(buffer.byteLength, 4 * i + slack);
    }
  }
}

function addByPush(decoder: FrameDecoder<unknown>, byte: Bytes): Bytes {
  const { buffer } = decoder.reserve();
  assert(decoder.push(byte).next().done);
  return new Uint8Array(buffer);
}

function addByReserve(decoder: FrameDecoder<unknown>, byte: Bytes): Bytes {
  const space = decoder.reserve();
  space.set(byte);
  decoder.commit(1);
  return space;
}

const LARGE = "a".repeat(MIB - 2);
const LARGE_FRAME = frame(JSON.stringify(LARGE));

for (const add of [addByPush, addByReserve]) {
  Deno.test(`FrameDecoder grows by doubling when 1 MiB comes in single bytes (${add.name})`, () => {
    const decoder = new FrameDecoder();
    drip(decoder, LARGE_FRAME.subarray(0, -1), add, 4_096);
    assertEquals([...decoder.push(LARGE_FRAME.subarray(-1))], [LARGE]);
  });
}

Deno.test("FrameDecoder grows by doubling when single bytes come after it was busy", () => {
  const decoder = new FrameDecoder();
  for (let i = 0; i < 16; i++) {
    const space = decoder.reserve();
    const payload = `1${" ".repeat(space.length - 5)}`;
    space.set(frame(payload));
    decoder.commit(space.length);
    assertEquals(decoder.take(), [1]);
  }
  drip(decoder, LARGE_FRAME.subarray(0, -1), addByReserve, 2 * 65_536);
  assertEquals([...decoder.push(LARGE_FRAME.subarray(-1))], [LARGE]);
});

Deno.test(
  "reserve() offers at least one byte and at most 64 KiB when frames are small",
  seeded((random) => {
    for (const options of LAYOUTS) {
      const decoder = new FrameDecoder<unknown>(options);
      const texts = random.list(2_000, () => random.pick(TEXTS));
      const bytes = frames(texts, options);
      const outcomes: unknown[] = [];
      for (let offset = 0; offset < bytes.length;) {
        const space = decoder.reserve();
        assertGreaterOrEqual(space.length, 1);
        assertLessOrEqual(space.length, 65_536);
        const count = random.integer(0, Math.min(space.length, 300));
        const part = bytes.subarray(offset, offset + count);
        space.set(part);
        decoder.commit(part.length);
        offset += part.length;
        if (random.integer(0, 2) === 0) outcomes.push(...decoder.take());
      }
      outcomes.push(...feedByPush(decoder));
      assertEquals(outcomes, texts.map((text) => JSON.parse(text)));
    }
  }),
);

Deno.test("reserve() offers a small buffer when a large frame was taken", () => {
  for (const feed of FEEDS) {
    const decoder = new FrameDecoder<unknown>();
    assertEquals(feed(decoder, LARGE_FRAME), [LARGE]);
    assertLessOrEqual(decoder.reserve().buffer.byteLength, 65_536);
    assertEquals(feed(decoder, frame("1")), [1]);
  }
});

Deno.test("push() leaves a small buffer when a large frame was taken", () => {
  const decoder = new FrameDecoder();
  assertEquals([...decoder.push(LARGE_FRAME)], [LARGE]);
  assertEquals([...decoder.push(frame("12").subarray(0, 5))], []);
  assertLessOrEqual(decoder.reserve().buffer.byteLength, 65_536);
  assertEquals([...decoder.push(frame("12").subarray(5))], [12]);
});

// Content

Deno.test("FrameEncoder and FrameDecoder keep text that is not ASCII apart in every position of a run", () => {
  for (const options of LAYOUTS) {
    for (let mask = 0; mask < 16; mask++) {
      const texts = TEXTS.map((_, i) =>
        mask & 1 << i ? TEXTS[(i + mask) % 3 + 1] : `[${i}]`
      );
      const messages = texts.map((text) => JSON.parse(text));
      const bytes = frames(texts, options);
      const encoder = new FrameEncoder(options);
      for (const message of messages) encoder.push(message);
      assertEquals(encoder.take(), bytes);
      for (const feed of FEEDS) {
        assertEquals(decode([bytes], options, feed), messages);
      }
    }
  }
});

/** How often a method is called while something runs. */
function countCalls<K extends string>(
  target: Record<K, unknown>,
  name: K,
  run: () => void,
): number {
  const original = target[name] as (...args: unknown[]) => unknown;
  let calls = 0;
  target[name] = function (...args: unknown[]) {
    calls++;
    return original.apply(this, args);
  };
  try {
    run();
  } finally {
    target[name] = original;
  }
  return calls;
}

Deno.test("FrameEncoder.take() and FrameDecoder.take() convert a run of text at once in any language", () => {
  for (const options of LAYOUTS) {
    for (const letter of ["a", "é", "日", "😀"]) {
      const messages = ["", "1", letter, letter.repeat(40), "1", letter];
      const encoder = new FrameEncoder(options);
      for (const message of messages) encoder.push(message);
      let bytes: Bytes = new Uint8Array(2_000);
      const encoding = countCalls(TextEncoder.prototype, "encodeInto", () => {
        bytes = encoder.take(bytes);
      });
      const decoder = new FrameDecoder(options);
      decoder.push(bytes);
      let taken: readonly unknown[] = [];
      const decoding = countCalls(TextDecoder.prototype, "decode", () => {
        taken = decoder.take();
      });
      assertEquals(taken, messages);
      assertEquals(
        [encoding, decoding],
        [1, 1],
        `${letter} ${JSON.stringify(options)}`,
      );
    }
  }
});

Deno.test("FrameDecoder gives back lone surrogates as they were sent", () => {
  const messages = [
    "\ud800",
    "\udfff",
    "\ude00\ud83d",
    "é\ud800日",
    { "\udc00": ["\ud83d", "\ude00", "\ud83d\ude00"] },
  ];
  const encoder = new FrameEncoder();
  for (const message of messages) {
    assertEquals(decode([encodeFrame(message)]), [message]);
    encoder.push(message);
  }
  assertEquals(decode([encoder.take()]), messages);
});

/** Payloads in hexadecimal that hold no message, and what they are not. */
const BAD_PAYLOADS: [string, "UTF-8" | "JSON"][] = [
  ["22 ff 22", "UTF-8"], // never in UTF-8
  ["22 80 22", "UTF-8"], // a continuation of nothing
  ["22 c080 22", "UTF-8"], // longer than need be
  ["22 e08080 22", "UTF-8"],
  ["22 f0808080 22", "UTF-8"],
  ["22 eda080 22", "UTF-8"], // a surrogate
  ["22 f4908080 22", "UTF-8"], // beyond Unicode
  ["22 f09f98 22", "UTF-8"], // cut short
  ["22 c3", "UTF-8"],
  ["22 e697", "UTF-8"],
  ["22 f09f98", "UTF-8"],
  ["a9 22", "UTF-8"],
  ["", "JSON"],
  ["20", "JSON"],
  ["0a090d20", "JSON"],
  ["efbbbf", "JSON"], // a byte order mark
  ["efbbbf 31", "JSON"],
  ["31 efbbbf", "JSON"],
  ["31 32 2c", "JSON"],
  ["31 20 32", "JSON"],
  ["7b7d 7b7d", "JSON"],
  ["5b 31 2c 5d", "JSON"],
  ["5b 31", "JSON"],
  ["22 61", "JSON"],
  ["27 61 27", "JSON"],
  ["4e614e", "JSON"], // NaN
  ["496e66696e697479", "JSON"], // Infinity
  ["756e646566696e6564", "JSON"], // undefined
  ["30 31", "JSON"],
  ["2b 31", "JSON"],
  ["22 0a 22", "JSON"], // a raw control character
  ["22 1f 22", "JSON"],
  ["22 5c78 22", "JSON"],
  ["a0", "UTF-8"],
  ["c2a0 31", "JSON"], // white space, but not to JSON
  ["e38080", "JSON"],
];

/**
 * Payloads with raw zeros, of which none is JSON, though what stands before or
 * after a zero may be.
 */
const ZERO_PAYLOADS = [
  ...Array.from({ length: 18 }, (_, i) => `1${"\0".repeat(i + 1)}2`),
  ...Array.from({ length: 18 }, (_, i) => "\0".repeat(i + 1)),
  ...Array.from({ length: 9 }, (_, i) => `1${"\0".repeat(i + 1)}`),
  ...Array.from({ length: 9 }, (_, i) => `${"\0".repeat(i + 1)}1`),
  "1\0\0\0\0 2",
  "1\0\0\0\x012",
  "1\0abc2",
  "1\0a\0b2",
  "\0\0\0\x011",
  "1\0\0\0\x002\0\0\0\x003",
  '"a\0b"',
  '"é\0日"',
  '1\0"é"',
  '"é"\0\0\0\0"日"',
  '"é"\0"日"',
];

function assertBad(payload: Bytes, kind: "UTF-8" | "JSON"): void {
  const text =
    `Cannot decode message: payload of ${payload.length} bytes is not ${kind}`;
  const neighbours = ["", "12", '"é"'];
  for (const prefixBytes of WIDTHS) {
    for (const before of neighbours) {
      for (const after of neighbours) {
        const good = [before, after].map((side) => side === "" ? [] : [side]);
        const run = [...good[0], payload, ...good[1]];
        for (const feed of FEEDS) {
          const name = `${payload.toHex()} between "${before}" and "${after}"`;
          const outcomes = decode(
            [frames(run, { prefixBytes })],
            { prefixBytes },
            feed,
          );
          assertEquals(
            summaryOf(outcomes),
            [...good[0], "InvalidMessageError", ...good[1]],
            name,
          );
          assertEquals((outcomes[good[0].length] as Error).message, text, name);
        }
      }
    }
  }
}

Deno.test("FrameDecoder gives an InvalidMessageError instead when a payload is not UTF-8 or not JSON", () => {
  for (const [hex, kind] of BAD_PAYLOADS) assertBad(bytesOf(hex), kind);
});

Deno.test("FrameDecoder keeps the boundaries of messages when payloads hold raw zeros", () => {
  for (const text of ZERO_PAYLOADS) assertBad(UTF8.encode(text), "JSON");
});

Deno.test("FrameDecoder does not complete a character with the prefix behind it", () => {
  // The length of the second payload is the byte that would continue the first
  // one's last character.
  const second = `"${"a".repeat(0xa9 - 2)}"`;
  const bytes = join([bytesOf("02 22c3"), frame(second, { prefixBytes: 1 })]);
  for (const feed of FEEDS) {
    assertEquals(
      summaryOf(decode([bytes], { prefixBytes: 1 }, feed)),
      ["InvalidMessageError", second],
    );
  }
});

Deno.test("FrameDecoder hides no message when bad ones stand in its run", () => {
  const texts = ["1", "x", '"é"', "", "\0", "[2]", "1\0\0\0\x002", '"日"'];
  const bytes = frames(texts);
  const expected = expectedOf(bytes);
  assertEquals(expected.length, texts.length);

  const taken = new FrameDecoder<unknown>();
  taken.push(bytes);
  assertEquals(summaryOf(taken.take()), expected);
  assertEquals(taken.take(), []);

  const pushed = new FrameDecoder();
  assertEquals(pushed.push(bytes).next().value, 1);
  assertThrows(() => pushed.push().next(), InvalidMessageError);
  assertEquals(pushed.push().next().value, "é");
  assertEquals(summaryOf(feedByPush(pushed)), expected.slice(3));
  assertEquals([...pushed.push(frame("3"))], [3]);
});

// How it ends

Deno.test("FrameDecoder gives the good messages first when a frame is too large, then the error again and again", () => {
  const options = { maxFrameBytes: 8 };
  const bytes = frames(["1", '"é"', "x", '"123456789"', "2"]);
  const decoders = FEEDS.map((feed) => {
    const decoder = new FrameDecoder<unknown>(options);
    assertEquals(
      summaryOf(feed(decoder, bytes)),
      ["1", '"é"', "InvalidMessageError", "FrameTooLargeError"],
    );
    return decoder;
  });
  for (const decoder of decoders) {
    for (let i = 0; i < 3; i++) {
      assertThrows(() => decoder.push().next(), FrameTooLargeError);
      assertThrows(() => decoder.push(frame("3")).next(), FrameTooLargeError);
      const error = assertThrows(() => decoder.take(), FrameTooLargeError);
      assertEquals([error.size, error.limit], [11, 8]);
    }
    decoder.end();
  }
});

Deno.test("end() throws a FrameTruncatedError when the bytes stop inside a frame, whether or not those before were taken", () => {
  const texts = ["12", '"é"', "[3]"];
  for (const options of LAYOUTS) {
    const { prefixBytes = 4 } = options;
    const bytes = frames(texts, options);
    let start = 0;
    for (let i = 0; i < texts.length; i++) {
      const { length } = frame(texts[i], options);
      for (let count = 0; count < length; count++) {
        const cut = bytes.subarray(0, start + count);
        const inPrefix = count < prefixBytes;
        const expected = inPrefix
          ? [count, prefixBytes]
          : [count - prefixBytes, length - prefixBytes];
        for (const isTaken of [false, true]) {
          const decoder = new FrameDecoder<unknown>(options);
          const messages = isTaken ? feedByPush(decoder, cut) : [];
          if (!isTaken) decoder.push(cut);
          if (count === 0) {
            decoder.end();
          } else {
            const error = assertThrows(
              () => decoder.end(),
              FrameTruncatedError,
            );
            assertEquals([error.received, error.expected], expected);
            assert(
              error.message.endsWith(
                inPrefix ? "prefix bytes" : "payload bytes",
              ),
            );
          }
          // The partial message is never given, and the whole ones are.
          messages.push(...feedByPush(decoder));
          assertEquals(summaryOf(messages), texts.slice(0, i));
        }
      }
      start += length;
    }
    const decoder = new FrameDecoder(options);
    decoder.push(bytes);
    decoder.end();
  }
});

Deno.test("end() leaves it to take() to report a frame that is too large", () => {
  for (const feed of FEEDS) {
    const outcomes = decode([frame("[1,2]")], { maxFrameBytes: 4 }, feed);
    assertEquals(summaryOf(outcomes), ["FrameTooLargeError"]);
  }
  const bytes = frames(["1", "[1,2]"]);
  for (const cut of [bytes, bytes.subarray(0, -1), bytes.subarray(0, 9)]) {
    const decoder = new FrameDecoder({ maxFrameBytes: 4 });
    decoder.push(cut);
    decoder.end();
    assertEquals(decoder.take(), [1]);
    decoder.end();
    assertThrows(() => decoder.take(), FrameTooLargeError);
  }
});

Deno.test("push() loses nothing when what it returns is not iterated, or not to its end", () => {
  const decoder = new FrameDecoder<number>();
  const numbers = Array.from({ length: 30_000 }, (_, i) => i);
  decoder.push(frames(numbers.map(String)));
  decoder.push(frame("30000"));
  const received: number[] = [];
  for (const message of decoder.push()) {
    received.push(message);
    if (message === 1) break;
  }
  const abandoned = decoder.push(frame("30001"));
  received.push(abandoned.next().value!);
  abandoned.return();
  const [one, other] = [decoder.push(), decoder.push()];
  for (let i = 0; i < 1_000; i++) {
    received.push(one.next().value!, other.next().value!);
  }
  received.push(...decoder.push());
  assertEquals(received, [...numbers, 30_000, 30_001]);
  assertEquals(decoder.size, 0);
  assert(one.next().done);
});

Deno.test("push() may be called while its messages are iterated", () => {
  const decoder = new FrameDecoder<number>();
  const received: number[] = [];
  for (const message of decoder.push(frames(["1", "2", "3"]))) {
    received.push(message);
    if (message < 3) decoder.push(frame(`${message + 3}`));
    if (message === 4) received.push(...decoder.push(frame("6")));
  }
  assertEquals(received, [1, 2, 3, 4, 5, 6]);
});

Deno.test("push() copies the bytes, and size counts those that are not messages yet", () => {
  const decoder = new FrameDecoder<{ a: string }>();
  const chunk = frames(['{"a":"é"}', '"rest"']).subarray(0, -1);
  const messages = decoder.push(chunk);
  chunk.fill(0xff);
  assertEquals(decoder.size, 23);
  const [{ a }] = messages;
  assertEquals(a, "é");
  assertEquals(decoder.size, 9);
  const rest = Uint8Array.of(0, 0x22, 0).subarray(1, 2);
  assertEquals([...decoder.push(rest)] as unknown[], ["rest"]);
  assertEquals(decoder.size, 0);
});

/** What holds bytes, of the same ones. */
function inEveryShape(bytes: Bytes): (ArrayBuffer | ArrayBufferView)[] {
  const padded = join([bytesOf("ff ff ff"), bytes, bytesOf("ff")]);
  const shared = new SharedArrayBuffer(bytes.length);
  new Uint8Array(shared).set(bytes);
  return [
    bytes,
    bytes.slice().buffer,
    new DataView(padded.buffer, 3, bytes.length),
    new Int8Array(padded.buffer, 3, bytes.length),
    new Uint16Array(bytes.slice().buffer),
    new Uint8Array(shared),
    Buffer.from(bytes),
  ];
}

const NO_BYTES: [unknown, string][] = [
  ["AAAA", "a string"],
  [null, "null"],
  [7, "a number"],
  [[0, 0, 0, 1, 0x37], "an array"],
  [{ length: 5 }, "an object"],
  [new Blob(["7"]), "a Blob"],
  [new SharedArrayBuffer(8), "a SharedArrayBuffer"],
];

Deno.test("push() and FrameDecoderStream take every shape of bytes, and nothing else", async () => {
  const bytes = frame('"even"');
  for (const shape of inEveryShape(bytes)) {
    const decoder = new FrameDecoder<string>();
    assertEquals([...decoder.push(shape)], ["even"], shape.constructor.name);
    assertEquals(
      await Array.fromAsync(
        ReadableStream.from([shape]).pipeThrough(new FrameDecoderStream()),
      ),
      ["even"],
    );
  }
  for (const [value, name] of NO_BYTES) {
    const message =
      `Cannot use bytes: received ${name}, expected an ArrayBuffer or a view of one`;
    const decoder = new FrameDecoder();
    assertThrows(() => decoder.push(value as Bytes), TypeError, message);
    assertEquals(decoder.size, 0);
    await assertRejects(
      () =>
        Array.fromAsync(
          ReadableStream.from([value as Bytes])
            .pipeThrough(new FrameDecoderStream()),
        ),
      TypeError,
      message,
    );
  }
});

Deno.test("FrameEncoder.take() writes into every shape of space, and into nothing else", () => {
  const encoder = new FrameEncoder();
  const buffer = new ArrayBuffer(64);
  for (const space of [buffer, new DataView(buffer), new Int32Array(buffer)]) {
    encoder.push("here");
    assertStrictEquals(encoder.take(space).buffer, buffer);
  }
  for (const [value, name] of NO_BYTES) {
    if (value instanceof SharedArrayBuffer) continue;
    encoder.push("kept");
    assertThrows(
      () => encoder.take(value as Bytes),
      TypeError,
      `received ${name}`,
    );
    assertEquals(encoder.take(), frame('"kept"'));
  }
});

Deno.test("commit() throws a RangeError when its count is none of the space", () => {
  const decoder = new FrameDecoder();
  const room = decoder.reserve().length;
  for (const count of [-1, 0.5, NaN, Infinity, room + 1, "1", undefined]) {
    assertThrows(() => decoder.commit(count as number), RangeError);
  }
  decoder.commit(room);
  assertEquals(decoder.size, room);
});

// Errors

Deno.test("errors name what failed with its numbers, and none of the payload", () => {
  function last(chunks: Bytes[], options?: FramingOptions): unknown {
    return decode(chunks, options).at(-1);
  }
  function thrownBy(run: () => unknown): Error {
    return assertThrows(run, Error);
  }
  const cases: [
    unknown,
    (
      | typeof FrameTooLargeError
      | typeof FrameTruncatedError
      | typeof InvalidMessageError
    ),
    typeof Error,
    string,
    Record<string, number>,
  ][] = [
    [
      last([bytesOf("00002328")], { maxFrameBytes: 8_192 }),
      FrameTooLargeError,
      RangeError,
      "Cannot decode frame: payload is 9000 bytes, limit is 8192 bytes",
      { size: 9_000, limit: 8_192 },
    ],
    [
      thrownBy(() => encodeFrame("secret é", { maxFrameBytes: 10 })),
      FrameTooLargeError,
      RangeError,
      "Cannot encode frame: payload is 11 bytes, limit is 10 bytes",
      { size: 11, limit: 10 },
    ],
    [
      last([bytesOf("0000")]),
      FrameTruncatedError,
      Error,
      "Cannot decode frame: the stream ended after 2 of 4 prefix bytes",
      { received: 2, expected: 4 },
    ],
    [
      last([frame('"secret"').subarray(0, -1)]),
      FrameTruncatedError,
      Error,
      "Cannot decode frame: the stream ended after 7 of 8 payload bytes",
      { received: 7, expected: 8 },
    ],
    [
      last([frame("{secret}")]),
      InvalidMessageError,
      SyntaxError,
      "Cannot decode message: payload of 8 bytes is not JSON",
      {},
    ],
    [
      last([frame(join([UTF8.encode('"secret'), bytesOf("ff22")]))]),
      InvalidMessageError,
      SyntaxError,
      "Cannot decode message: payload of 9 bytes is not UTF-8",
      {},
    ],
    [
      thrownBy(() => encodeFrame({ secret: 1n })),
      InvalidMessageError,
      SyntaxError,
      "Cannot encode message: JSON cannot represent the value",
      {},
    ],
    [
      thrownBy(() => encodeFrame(() => "secret")),
      InvalidMessageError,
      SyntaxError,
      "Cannot encode message: JSON cannot represent a value of type function",
      {},
    ],
  ];
  for (const [error, type, parent, message, numbers] of cases) {
    assertInstanceOf(error, type);
    assertInstanceOf(error, Error);
    assertStrictEquals(Object.getPrototypeOf(type), parent);
    assertEquals(error.name, type.name);
    assertEquals(error.message, message);
    assertEquals({ ...error }, { name: type.name, ...numbers } as never);
    for (let it: unknown = error; it instanceof Error; it = it.cause) {
      assert(!it.message.includes("secret"), it.message);
    }
  }
});

// Encoding

Deno.test("FrameEncoder.push() throws an InvalidMessageError and adds nothing when JSON cannot represent the value", () => {
  const thrown = new Error("from the value");
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  function raise(cause: unknown): never {
    throw cause;
  }
  const cases: [string, unknown, (cause: unknown) => boolean][] = [
    ["undefined", undefined, (cause) => cause === undefined],
    ["a function", () => 1, (cause) => cause === undefined],
    ["a symbol", Symbol("s"), (cause) => cause === undefined],
    [
      "toJSON that returns undefined",
      { toJSON: () => undefined },
      (cause) => cause === undefined,
    ],
    ["a BigInt", 1n, (cause) => cause instanceof TypeError],
    ["a BigInt inside", { a: [1n] }, (cause) => cause instanceof TypeError],
    ["a cycle", cycle, (cause) => cause instanceof TypeError],
    [
      "toJSON that throws",
      { a: { toJSON: () => raise(thrown) } },
      (cause) => cause === thrown,
    ],
    [
      "toJSON that throws no error",
      { toJSON: () => raise("text") },
      (cause) => cause === "text",
    ],
    [
      "a getter that throws",
      {
        get a() {
          return raise(thrown);
        },
      },
      (cause) => cause === thrown,
    ],
    [
      "a proxy that throws",
      new Proxy({}, { ownKeys: () => raise(thrown) }),
      (cause) => cause === thrown,
    ],
  ];
  const encoder = new FrameEncoder();
  for (const [name, value, isCause] of cases) {
    encoder.push("é");
    const { size } = encoder;
    const errors = [
      assertThrows(() => encoder.push(value), InvalidMessageError),
      assertThrows(() => encodeFrame(value), InvalidMessageError),
    ];
    for (const { cause } of errors) assert(isCause(cause), name);
    assertEquals(encoder.size, size, name);
    encoder.push([2]);
    assertEquals(encoder.take(), frames(['"é"', "[2]"]), name);
    assertEquals(encoder.take().length, 0, name);
  }
});

Deno.test("FrameDecoder and FrameEncoder say that a text is longer than a string can be, and go on", () => {
  const length = 536_870_889;
  const decoder = new FrameDecoder({ maxFrameBytes: 1_073_741_824 });
  decoder.push(bytesOf("1f ff ff e9"));
  assertThrows(
    () => [...decoder.push(new ArrayBuffer(length))],
    InvalidMessageError,
    "Cannot decode message: payload of 536870889 bytes has more than 536870888 UTF-16 units",
  );
  assertEquals([...decoder.push(frame("1"))], [1]);

  const encoder = new FrameEncoder({ maxFrameBytes: 1_073_741_824 });
  assertThrows(
    () => encoder.push(Array(512).fill({ ["x".repeat(1_048_576)]: 1 })),
    InvalidMessageError,
    "Cannot encode message: its text has more than 536870888 UTF-16 units",
  );
  assertEquals(encoder.size, 0);
});

Deno.test("FrameEncoder.push() adds nothing when the payload is larger than the limit", () => {
  const encoder = new FrameEncoder({ maxFrameBytes: 40 });
  const good = ["1", '"é"', `"${"a".repeat(38)}"`, "2"];
  for (const text of good) {
    encoder.push(JSON.parse(text));
    const { size } = encoder;
    for (
      const message of ["a".repeat(39), "日".repeat(13), "a".repeat(9_999)]
    ) {
      assertThrows(() => encoder.push(message), FrameTooLargeError);
    }
    assertEquals(encoder.size, size);
  }
  assertEquals(takeAll(encoder), frames(good));
});

Deno.test("encodeFrame() follows JSON.stringify() where JSON has no such value", () => {
  const cases: [unknown, string][] = [
    [{ a: undefined, b: () => 1, c: 1 }, '{"c":1}'],
    [[undefined, NaN, -Infinity, -0], "[null,null,null,0]"],
    [new Date(0), '"1970-01-01T00:00:00.000Z"'],
    [new Map([[1, 2]]), "{}"],
    [new Error("e"), "{}"],
    [Object("boxed"), '"boxed"'],
    [{ toJSON: () => ["é"] }, '["é"]'],
  ];
  for (const [value, text] of cases) {
    assertEquals(encodeFrame(value), frame(text), text);
  }
});

Deno.test("FrameEncoder.take() keeps the order when small and large messages mix", () => {
  const options = { maxFrameBytes: 120 };
  const kinds = ["1", '"é"', `"${"a".repeat(60)}"`, `"${"日".repeat(38)}"`];
  for (let mix = 0; mix < 4 ** 5; mix++) {
    const texts = Array.from(
      { length: 5 },
      (_, i) => kinds[Math.floor(mix / 4 ** i) % 4],
    );
    const encoder = new FrameEncoder(options);
    for (const text of texts) encoder.push(JSON.parse(text));
    assertEquals(takeAll(encoder), frames(texts));
    assertEquals(encoder.size, 0);
  }
});

Deno.test("FrameEncoder.push() fixes the message when it is called", () => {
  for (const maxFrameBytes of [30, 1_000]) { // with the text measured, and without
    const encoder = new FrameEncoder({ maxFrameBytes });
    const message = { list: [1, 2, 3] };
    encoder.push(message);
    message.list.push(4);
    encoder.push(message);
    message.list.length = 0;
    assertEquals(
      takeAll(encoder),
      frames(['{"list":[1,2,3]}', '{"list":[1,2,3,4]}']),
    );
  }
});

Deno.test("FrameEncoder.take() gives every small message at once, and more of them in order", () => {
  const encoder = new FrameEncoder();
  const texts = Array.from(
    { length: 50_000 },
    (_, i) => i % 1_000 === 999 ? `"é${i}"` : `[${i}]`,
  );
  for (const text of texts.slice(0, 1_000)) encoder.push(JSON.parse(text));
  assertEquals(encoder.take(), frames(texts.slice(0, 1_000)));
  assertEquals(encoder.take().length, 0);
  for (const text of texts) encoder.push(JSON.parse(text));
  const bytes = takeAll(encoder);
  assert(bytes.toHex() === frames(texts).toHex());
});

Deno.test("FrameEncoder.size counts what waits, and is zero when all is taken", () => {
  const encoder = new FrameEncoder({ prefixBytes: 2, maxFrameBytes: 30 });
  assertEquals(encoder.size, 0);
  assertEquals(encoder.take(), new Uint8Array(0));
  encoder.push("abc");
  assertEquals(encoder.size, 7);
  encoder.push("é"); // not encoded yet: two prefix bytes and three UTF-16 units
  assertEquals(encoder.size, 12);
  encoder.push("日".repeat(9)); // measured, and so encoded: 29 bytes and the prefix
  assertEquals(encoder.size, 7 + 6 + 31);
  encoder.push(1);
  assertEquals(encoder.size, 7 + 6 + 31 + 3);
  assertEquals(encoder.take().length, 13);
  assertEquals(encoder.size, 34);
  assertEquals(encoder.take().length, 31);
  assertEquals(encoder.size, 3);
  assertEquals(encoder.take().length, 3);
  assertEquals(encoder.size, 0);
});

Deno.test("FrameEncoder.take() uses the buffer it is given when that is large enough", () => {
  const cases: [string[], number, boolean][] = [
    [["1", "[2]"], 12, true],
    [["1", "[2]"], 500, true],
    [["1", "[2]"], 11, false],
    [["1", "[2]"], 0, false],
    [['"é"', '"日本"', "1"], 100, true],
    [['"é"', '"日本"', "1"], 25, true],
    [['"é"', '"日本"', "1"], 24, false],
    [['"é"', '"日本"', "1"], 20, false], // enough for the UTF-16 units only
    [["1", '"日本日本日本日本"'], 20, false],
    [["1", '"😀"'], 15, true],
  ];
  for (const [texts, size, isUsed] of cases) {
    for (const stale of [0, 0x22, 0xff]) {
      const encoder = new FrameEncoder();
      for (const text of texts) encoder.push(JSON.parse(text));
      const buffer = new Uint8Array(size).fill(stale);
      const bytes = encoder.take(buffer);
      const name = `${texts} in ${size} bytes`;
      assertEquals(bytes, frames(texts), name);
      assertEquals(bytes.buffer === buffer.buffer, isUsed, name);
      if (isUsed) {
        assert(buffer.subarray(bytes.length).every((b) => b === stale));
      }
    }
  }
});

Deno.test("FrameEncoder.take() may be given the same buffer again and again", () => {
  const encoder = new FrameEncoder();
  const buffer = new Uint8Array(64);
  for (const text of ['"日本日本"', "1", '"é"', "[1,2,3]", '"😀"', "{}"]) {
    encoder.push(JSON.parse(text));
    encoder.push(0);
    const bytes = encoder.take(buffer);
    assertStrictEquals(bytes.buffer, buffer.buffer);
    assertEquals(bytes, frames([text, "0"]));
  }
});

// Fuzz

function randomOptions(random: Random): FramingOptions {
  return { ...random.pick(LAYOUTS), maxFrameBytes: random.pick([8, 40, 255]) };
}

function randomMessage(random: Random, depth = 2): unknown {
  const text = () =>
    random.list(
      random.integer(0, 8),
      () => random.pick(["a", '"', "\\", "\0", "é", "日", "😀", "\ud800"]),
    ).join("");
  const kinds = [
    () => null,
    () => random.integer(-1_000, 1_000),
    () => random.integer(0, 1) === 1,
    text,
    text,
    () =>
      random.list(random.integer(0, 3), () => randomMessage(random, depth - 1)),
    () => ({ [text()]: randomMessage(random, depth - 1) }),
  ];
  return random.pick(depth === 0 ? kinds.slice(0, 5) : kinds)();
}

/**
 * Checks a stream against the reference: whole and in random parts, by both
 * ways in.
 */
function assertAsExpected(
  random: Random,
  bytes: Bytes,
  options: FramingOptions,
): void {
  const expected = expectedOf(bytes, options).join("\n");
  for (const feed of FEEDS) {
    for (const chunks of [[bytes], random.split(bytes, 20)]) {
      const actual = summaryOf(decode(chunks, options, feed)).join("\n");
      if (actual === expected) continue;
      const sizes = chunks.map(({ length }) => length);
      assertEquals(
        actual,
        expected,
        `${bytes.toHex()} in ${sizes} with ${JSON.stringify(options)}`,
      );
    }
  }
}

Deno.test(
  "FrameDecoder gives messages or a documented error when the bytes are random",
  seeded((random) => {
    for (let i = 0; i < 2_000; i++) {
      const options = randomOptions(random);
      const bytes = random.bytes(random.integer(0, 60));
      // Small numbers make prefixes that are believed.
      if (i % 2 === 0) {
        for (let at = 0; at < bytes.length; at++) {
          if (random.integer(0, 3) > 0) bytes[at] = random.integer(0, 4);
        }
      }
      assertAsExpected(random, bytes, options);
    }
  }),
);

Deno.test(
  "FrameDecoder gives messages or a documented error when a good stream was damaged",
  seeded((random) => {
    for (let i = 0; i < 1_000; i++) {
      const options = randomOptions(random);
      const texts = random.list(
        random.integer(1, 5),
        () => JSON.stringify(randomMessage(random)),
      ).filter((text) => UTF8.encode(text).length <= options.maxFrameBytes!);
      let bytes = frames(texts, options);
      assertAsExpected(random, bytes, options);
      for (let damages = random.integer(1, 3); damages > 0; damages--) {
        const at = random.integer(0, bytes.length);
        const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
        const ways = [
          () => join([head, tail.subarray(1)]),
          () => join([head, random.bytes(1), tail]),
          () => join([head, random.bytes(1), tail.subarray(1)]),
          () => join([head, new Uint8Array(1), tail.subarray(1)]),
          () => join([head, head, tail]),
          () => head,
        ];
        bytes = random.pick(ways)();
      }
      assertAsExpected(random, bytes, options);
    }
  }),
);

Deno.test(
  "FrameDecoder keeps the boundaries of messages when zeros and text that is not ASCII mix",
  seeded((random) => {
    const pieces = [
      "\0",
      "\0\0",
      "\0\0\0\0",
      "\0\0\0\x01",
      "\0\0\0\0\0\0\0\0",
      "1",
      " ",
      '"é"',
      '"日"',
      '"😀',
      '"',
      "[",
      "]",
      ",",
      "null",
    ];
    const texts = ["1", '"é"', '"日本"', "[]", "12345", "", "\ufeff"];
    for (let i = 0; i < 1_500; i++) {
      const options = random.pick(LAYOUTS);
      const payloads = random.list(
        random.integer(1, 6),
        () =>
          random.integer(0, 2) === 0
            ? random.list(random.integer(0, 5), () => random.pick(pieces))
              .join("")
            : random.pick(texts),
      );
      assertAsExpected(random, frames(payloads, options), options);
    }
  }),
);

Deno.test(
  "FrameDecoder gives the same messages when a stream is split in ten thousand ways",
  seeded((random) => {
    const texts = random.list(10, () => JSON.stringify(randomMessage(random)));
    const bytes = frames(texts);
    for (let i = 0; i < 10_000; i++) {
      const chunks = random.split(bytes, random.pick([5, 30, 100]));
      const outcomes = decode(chunks, {}, FEEDS[i % 2]);
      if (summaryOf(outcomes).join("\n") !== texts.join("\n")) {
        fail(`split in ${chunks.map(({ length }) => length)}`);
      }
    }
  }),
);

Deno.test(
  "FrameEncoder gives the bytes of every message when they are pushed and taken at random",
  seeded((random) => {
    const buffer = new Uint8Array(256);
    for (let i = 0; i < 2_000; i++) {
      const options = { ...random.pick(LAYOUTS), maxFrameBytes: 100 };
      const encoder = new FrameEncoder(options);
      const taken: Bytes[] = [];
      const texts: string[] = [];
      for (let pushes = random.integer(1, 12); pushes > 0; pushes--) {
        const message = randomMessage(random, 3);
        const text = JSON.stringify(message);
        if (UTF8.encode(text).length > 100) {
          assertThrows(() => encoder.push(message), FrameTooLargeError);
          continue;
        }
        encoder.push(message);
        texts.push(text);
        if (random.integer(0, 3) === 0) {
          taken.push(encoder.take(buffer).slice());
        }
      }
      taken.push(takeAll(encoder));
      assertEquals(join(taken).toHex(), frames(texts, options).toHex());
    }
  }),
);

// Streams

Deno.test(
  "FrameDecoderStream gives the messages when the bytes come in any chunks",
  seeded(async (random) => {
    for (const options of LAYOUTS) {
      const texts = random.list(50, () => random.pick(TEXTS));
      const messages = texts.map((text) => JSON.parse(text));
      const bytes = frames(texts, options);
      for (
        const chunks of [[bytes], each(bytes), random.split(bytes, 40), [
          new Uint8Array(0),
          bytes,
          new Uint8Array(0),
        ]]
      ) {
        assertEquals(await decodeStream(chunks, options), messages);
      }
    }
    assertEquals(await decodeStream([]), []);
  }),
);

/** Ends of streams that are errors. */
const BROKEN_STREAMS: [string, string, Bytes][] = [
  ["a message is bad", "InvalidMessageError", frames(["x", "3"])],
  ["a frame is too large", "FrameTooLargeError", bytesOf("ffffffff")],
  ["a prefix is cut short", "FrameTruncatedError", bytesOf("0000")],
  ["a payload is cut short", "FrameTruncatedError", bytesOf("0000000231")],
];

for (const [condition, error, end] of BROKEN_STREAMS) {
  const texts = ["1", '"é"', "[]", "2"];
  const parts = [...texts.map((text) => frame(text)), end];

  Deno.test(`FrameDecoderStream ends with the error when ${condition}`, async () => {
    assertEquals(summaryOf(await decodeStream(parts)), [...texts, error]);
    assertEquals(summaryOf(await decodeStream([end])), [error]);
  });

  Deno.test(`FrameDecoderStream gives the messages of the same chunk to a slow reader when ${condition}`, async () => {
    const outcomes = await decodeStream([join(parts)], {}, 100);
    assertEquals(summaryOf(outcomes), [...texts, error]);
  });
}

Deno.test("FrameEncoderStream gives one chunk for each message", async () => {
  for (const options of LAYOUTS) {
    const messages = TEXTS.map((text) => JSON.parse(text));
    const chunks = await Array.fromAsync(
      ReadableStream.from(messages).pipeThrough(
        new FrameEncoderStream(options),
      ),
    );
    assertEquals(chunks, TEXTS.map((text) => frame(text, options)));
  }
});

Deno.test("FrameEncoderStream ends with the error when a message cannot be sent", async () => {
  const cases: [unknown, string][] = [
    [1n, "InvalidMessageError"],
    [() => 1, "InvalidMessageError"],
    ["a".repeat(100), "FrameTooLargeError"],
  ];
  for (const [bad, name] of cases) {
    const [first, second, error, ...rest] = await collect(
      ReadableStream.from([1, "é", bad, 2]).pipeThrough(
        new FrameEncoderStream({ maxFrameBytes: 99 }),
      ),
    );
    assertEquals([first, second], [frame("1"), frame('"é"')]);
    assertEquals((error as Error).name, name);
    assertEquals(rest, []);
  }
});

Deno.test("FrameDecoderStream and FrameEncoderStream ask for no more while they are not read", async () => {
  const cases: [unknown, TransformStream][] = [
    [frame("1"), new FrameDecoderStream()],
    [1, new FrameEncoderStream()],
  ];
  for (const [item, stream] of cases) {
    let pulls = 0;
    const source = new ReadableStream({
      pull(controller) {
        pulls++;
        controller.enqueue(item);
      },
    }, { highWaterMark: 0 });
    const reader = source.pipeThrough(stream).getReader();
    for (let reads = 1; reads <= 100; reads++) {
      assert(!(await reader.read()).done);
      assertLessOrEqual(pulls, reads + 4);
    }
    await reader.cancel();
  }
});

Deno.test("FrameDecoderStream takes no more bytes when a frame is too large", async () => {
  const { readable, writable } = new FrameDecoderStream({ maxFrameBytes: 1 });
  const writer = writable.getWriter();
  // Whether this write fails itself does not matter.
  writer.write(frame("12")).catch(() => {});
  await assertRejects(() => readable.getReader().read(), FrameTooLargeError);
  await assertRejects(() => writer.closed, FrameTooLargeError);
  await assertRejects(() => writer.write(frame("1")), FrameTooLargeError);
});

Deno.test("FrameEncoderStream and FrameDecoderStream work on the pipes of a child process", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "await Deno.stdin.readable.pipeTo(Deno.stdout.writable)"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const messages = [1, "é", { a: "日".repeat(100_000) }, [null], LARGE];
  const sent = ReadableStream.from(messages)
    .pipeThrough(new FrameEncoderStream())
    .pipeTo(child.stdin);
  const received = await collect(
    child.stdout.pipeThrough(new FrameDecoderStream()),
  );
  await sent;
  assertEquals((await child.status).code, 0);
  assertEquals(received, messages);
});

Deno.test("FrameDecoder copies nothing of a frame that arrives whole", () => {
  const decoder = new FrameDecoder();
  const bytes = frames(["1", '"a"', '{"b":[2]}'], {});
  const messages: unknown[] = [];
  let copies = 0;
  for (const name of ["set", "slice", "copyWithin"] as const) {
    copies += countCalls(Uint8Array.prototype, name, () => {
      for (let round = 0; round < 10; round++) {
        const space = decoder.reserve();
        for (let i = 0; i < bytes.length; i++) space[i] = bytes[i];
        decoder.commit(bytes.length);
        messages.push(...decoder.take());
      }
    });
  }
  assertEquals(messages.length, 90);
  assertEquals(copies, 0);
});

function nested(open: string, depth: number, close: string): string {
  return open.repeat(depth) + "1" + close.repeat(depth);
}

Deno.test("maxDepth lets 128 levels through and stops 129, of arrays, objects and both", () => {
  const good = [nested("[", 128, "]"), nested('{"a":', 128, "}")];
  const bad = [nested("[", 129, "]"), nested('{"a":', 129, "}")];
  good.push(`[${nested('[{"é":', 63, "}]")},${nested("[", 127, "]")}]`);
  bad.push(nested('[{"é":', 65, "}]"), "[".repeat(257), "[0,".repeat(129));
  for (const text of good) {
    const [message] = decodeText(text);
    assertEquals(message, JSON.parse(text));
  }
  for (const text of bad) {
    const [message] = decodeText(text);
    assertInstanceOf(message, InvalidMessageError);
    const { length } = UTF8.encode(text);
    assertEquals(
      message.message,
      `Cannot decode message: payload of ${length} bytes is nested deeper than 128 levels`,
    );
  }
});

function decodeText(text: string, options?: FramingOptions): unknown[] {
  const decoder = new FrameDecoder<unknown>(options);
  const payload = UTF8.encode(text);
  const frame = new Uint8Array(4 + payload.length);
  new DataView(frame.buffer).setUint32(0, payload.length);
  frame.set(payload, 4);
  // Good ones around it, so that it is one of a run.
  const around = encodeFrame("é");
  decoder.push(join([frame, around, frame]));
  const [first, between, last] = decoder.take();
  assertEquals(between, "é");
  const isBad = first instanceof InvalidMessageError;
  assertEquals(last instanceof InvalidMessageError, isBad);
  return [first];
}

Deno.test("maxDepth counts no brackets in strings, whatever stands beside them", () => {
  const texts = [
    `["${"[".repeat(1_000)}"]`,
    `{"${"{".repeat(1_000)}":"${"}".repeat(1_000)}"}`,
    `["\\"${"[".repeat(1_000)}\\\\","\\\\\\"${"[".repeat(1_000)}"]`,
    `[${'"[{",'.repeat(1_000)}0]`,
  ];
  for (const text of texts) {
    const [message] = decodeText(text);
    assertEquals(message, JSON.parse(text));
  }
  // Nor does a string that holds the closing ones hide the depth.
  const hidden = `${'["]]]]",'.repeat(129)}0${"]".repeat(129)}`;
  assertInstanceOf(decodeText(hidden)[0], InvalidMessageError);
});

Deno.test("maxDepth may be any other, or none", () => {
  assertInstanceOf(
    decodeText("[[1]]", { maxDepth: 1 })[0],
    InvalidMessageError,
  );
  assertEquals(decodeText("[1]", { maxDepth: 1 }), [[1]]);
  const text = nested("[", 5_000, "]");
  assert(Array.isArray(decodeText(text, { maxDepth: Infinity })[0]));
});

Deno.test("maxDepth stops a hostile frame of 1 MiB", () => {
  for (const [name, text] of DEEP) {
    const frame = encodeFrame("x".repeat(MIB - 2));
    frame.set(UTF8.encode(text), 4);
    const decoder = new FrameDecoder();
    decoder.push(frame);
    assertInstanceOf(decoder.take()[0], InvalidMessageError, name);
  }
});

Deno.test("FrameDecoder says what a stream seems to be that begins with no length", () => {
  const cases: [string | Uint8Array, string][] = [
    ["GET / HTTP/1.1\r\n", 'speak HTTP (first bytes "GET ")'],
    ["HTTP/1.1 400 Bad Request\r\n", 'speak HTTP (first bytes "HTTP")'],
    ["POST /rpc", 'speak HTTP (first bytes "POST")'],
    [bytesOf("16 03 01 02 00 01"), "speak TLS (first bytes 16 03)"],
    [bytesOf("15 03 03 00 02"), "speak TLS (first bytes 15 03)"],
    ["SSH-2.0-OpenSSH_9.7\r\n", 'speak SSH (first bytes "SSH-")'],
    ["PROXY TCP4 10.0.0.1", 'speak the PROXY protocol (first bytes "PROX")'],
    [
      "\r\n\r\n\0\r\nQUIT\n",
      "speak the PROXY protocol (first bytes 0D 0A 0D 0A)",
    ],
    ["Content-Length: 7", 'send a Content-Length header (first bytes "Cont")'],
    ['{"secret":1}', 'send JSON without a length (first bytes "{"")'],
    ["[7777,8]", 'send JSON without a length (first bytes "[")'],
    ['{ "secret": 1 }', 'send JSON without a length (first bytes "{ "")'],
    [
      '{\n  "secret": 1\n}',
      "send JSON without a length (first bytes 7B 0A 20 20)",
    ],
    ['  {"secret":1}', 'send JSON without a length (first bytes "  {"")'],
    ["\n[7777]", "send JSON without a length (first bytes 0A 5B)"],
    ["\t\t{ }", "send JSON without a length (first bytes 09 09 7B 20)"],
    ["true\n", 'send JSON without a length (first bytes "true")'],
    ["false\n", 'send JSON without a length (first bytes "fals")'],
    ["null\n", 'send JSON without a length (first bytes "null")'],
    [
      bytesOf("0B 00 00 00 7B"),
      "send little-endian lengths (first bytes 0B 00 00 00)",
    ],
    [
      bytesOf("5B 00 00 00 7B"),
      "send little-endian lengths (first bytes 5B 00 00 00)",
    ],
  ];
  for (const [bytes, diagnosis] of cases) {
    const decoder = new FrameDecoder();
    decoder.push(typeof bytes === "string" ? UTF8.encode(bytes) : bytes);
    const error = assertThrows(() => decoder.take(), FrameTooLargeError);
    assertEquals(
      error.message,
      `Cannot decode frame: the peer seems to ${diagnosis}`,
    );
    assertEquals(error.limit, MIB);
    assert(!error.message.includes("secret"));
  }
});

Deno.test("FrameDecoder goes no further where a stream begins like another protocol, whatever the width of its prefix", () => {
  const request = "POST / HTTP/1.1\r\nHost: localhost\r\n\r\n".padEnd(21_000);
  const openings: [string, string][] = [
    [request, "speak HTTP"],
    [request.replace("POST", "GET "), "speak HTTP"],
    ["SSH-2.0-OpenSSH_9.7\r\n".padEnd(25_000), "speak SSH"],
    ["\x16\x03\x01".padEnd(6_000), "speak TLS"],
  ];
  for (const prefixBytes of [1, 2] as const) {
    for (const littleEndian of [false, true]) {
      for (const [text, seeming] of openings) {
        const layout = { prefixBytes, littleEndian };
        const [one, two] = UTF8.encode(text);
        const length = prefixBytes === 1
          ? one
          : littleEndian
          ? two * 256 + one
          : one * 256 + two;
        const decoder = new FrameDecoder(layout);
        // The frame that the beginning announces ends where another begins.
        decoder.push(UTF8.encode(text).subarray(0, prefixBytes + length));
        decoder.push(encodeFrame("smuggled", layout));
        for (let i = 0; i < 3; i++) {
          const error = assertThrows(() => decoder.take(), FrameTooLargeError);
          assert(error.message.includes(seeming), error.message);
        }
      }
    }
  }
});

Deno.test("FrameDecoder goes on behind a bad first frame that is like no other protocol, and takes a good one that is", () => {
  const bad = new FrameDecoder({ prefixBytes: 2 });
  bad.push(join([bytesOf("00 03 6e 6f 21"), bytesOf("00 01 31")]));
  const [first, second] = bad.take();
  assertInstanceOf(first, InvalidMessageError);
  assertEquals(second, 1);
  // Of 0x504f bytes, which "PO" announces.
  const good = new FrameDecoder({ prefixBytes: 2 });
  const text = "x".repeat(0x504f - 2);
  good.push(encodeFrame(text, { prefixBytes: 2 }));
  assertEquals(good.take(), [text]);
});

Deno.test("FrameDecoder makes no guess behind a good frame, or where none fits", () => {
  const decoder = new FrameDecoder();
  const bytes = join([encodeFrame(1), UTF8.encode("GET / HTTP/1.1")]);
  assertEquals(decoder.push(bytes).next().value, 1);
  const error = assertThrows(() => decoder.take(), FrameTooLargeError);
  assertEquals(
    error.message,
    "Cannot decode frame: payload is 1195725856 bytes, limit is 1048576 bytes",
  );
  const other = new FrameDecoder();
  other.push(bytesOf("FF FF FF FF"));
  assertThrows(
    () => other.take(),
    FrameTooLargeError,
    "payload is 4294967295 bytes",
  );
});

Deno.test("FrameDecoder says where the peer's lengths are big-endian and ours are not", () => {
  const decoder = new FrameDecoder({ littleEndian: true });
  decoder.push(encodeFrame("hello"));
  assertThrows(
    () => decoder.take(),
    FrameTooLargeError,
    "the peer seems to send big-endian lengths (first bytes 00 00 00 07)",
  );
});

Deno.test(
  "take() gives at most 128 messages, and every one in its order, good or bad",
  seeded((random) => {
    for (const options of LAYOUTS) {
      const expected: unknown[] = [];
      const parts: Bytes[] = [];
      for (let i = 0; i < 500; i++) {
        const isBad = random.integer(1, 10) <= (i < 250 ? 9 : 1);
        const bytes = encodeFrame(isBad ? "é" : i % 100, options);
        // A payload that is no JSON, or not even text.
        if (isBad) bytes[bytes.length - random.integer(1, 2)] = 0xc3;
        parts.push(bytes);
        expected.push(isBad ? "InvalidMessageError" : `${i % 100}`);
      }
      const decoder = new FrameDecoder<unknown>(options);
      decoder.push(join(parts));
      const runs = takeRuns(decoder);
      assertEquals(summaryOf(runs.flat()), expected);
      assertEquals(runs.map(({ length }) => length), [128, 128, 128, 116]);
      decoder.end();
    }
  }),
);

Deno.test("take() stops after 128 empty frames, so that others are served", () => {
  const decoder = new FrameDecoder();
  decoder.push(new Uint8Array(4 * 1_000));
  const runs = takeRuns(decoder);
  assertEquals(runs.map(({ length }) => length), [
    ...Array(7).fill(128),
    104,
  ]);
});

/** What each `take` gives, until nothing is left. */
function takeRuns(decoder: FrameDecoder<unknown>): (readonly unknown[])[] {
  const runs = [];
  for (let run; (run = decoder.take()).length > 0;) runs.push(run);
  return runs;
}
