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
import { copy } from "@std/bytes/copy";
import { Framing, type FramingOptions } from "./core/framing/options.ts";
import {
  diagnose,
  OPENING_BYTES,
  recognize,
} from "./core/framing/diagnosis.ts";
import { escapeDigits } from "./core/tools/digits.ts";
import { EMPTY, toBytes } from "./core/tools/bytes.ts";
import { decodeUtf8, MOST_UNITS } from "./core/tools/utf8.ts";

export {
  FRAMING_DEFAULTS,
  type FramingOptions,
} from "./core/framing/options.ts";

/** Any value that JSON can carry. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | JsonValue[]
  | { [key: string]: JsonValue };

/**
 * Thrown when a payload is larger than the limit, and when the bytes of a stream
 * are those of another protocol, so that its lengths are none. The receiving
 * side cannot go on after it, the sending side can.
 */
export class FrameTooLargeError extends RangeError {
  /**
   * Size of the payload in bytes: announced by the peer, or about to be sent.
   */
  readonly size: number;
  /** Largest payload allowed, in bytes. */
  readonly limit: number;

  /**
   * Makes the error for a payload of `size` bytes that was to be decoded or
   * encoded under `limit`; a `diagnosis` says what these bytes seem to be in
   * place of a length.
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

/** Thrown when the bytes end inside a frame. */
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
 * Thrown for a payload that is not UTF-8, not JSON or nested too deep, and for a
 * value that JSON cannot carry. The frame itself was good (or was never written), so the link
 * survives it. The payload's text is not part of the error.
 */
export class InvalidMessageError extends SyntaxError {
  /** Makes the error; `message` names no payload text. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "InvalidMessageError";
  }
}

function readPrefix(
  bytes: Uint8Array,
  offset: number,
  framing: Framing,
): number {
  const { prefixBytes, littleEndian } = framing;
  let length = 0;
  for (let i = 0; i < prefixBytes; i++) {
    length = length * 256 +
      bytes[littleEndian ? offset + prefixBytes - 1 - i : offset + i];
  }
  return length;
}

function writePrefix(
  bytes: Uint8Array,
  offset: number,
  length: number,
  framing: Framing,
): void {
  const { prefixBytes, littleEndian } = framing;
  for (let i = 0; i < prefixBytes; i++) {
    bytes[littleEndian ? offset + i : offset + prefixBytes - 1 - i] = length;
    length = Math.floor(length / 256);
  }
}

/**
 * Whether there are more than `most` brackets that open: fewer cannot nest
 * deeper, and the engine finds them faster than a loop does.
 */
function hasManyOpeners(text: string, most: number): boolean {
  let openers = 0;
  for (const opener of OPENERS) {
    let at = text.indexOf(opener);
    while (at >= 0) {
      if (++openers > most) return true;
      at = text.indexOf(opener, at + 1);
    }
  }
  return false;
}

/** Whether brackets nest deeper than `most`. */
function isTooDeep(payload: Uint8Array, most: number): boolean {
  let depth = 0;
  for (let i = 0; i < payload.length; i++) {
    const byte = payload[i];
    if (byte === QUOTE) {
      while (++i < payload.length && payload[i] !== QUOTE) {
        if (payload[i] === BACKSLASH) i++;
      }
    } else if ((byte | 0x20) === BRACE) { // a bracket is a brace but for this bit
      if (++depth > most) return true;
    } else if ((byte | 0x20) === CLOSING_BRACE) depth--;
  }
  return false;
}

const OPENERS = ["[", "{"];
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;

const NONE: readonly never[] = Object.freeze([]);
/**
 * Payload lengths of the run that is being decoded, in order: decoding is never
 * interrupted, so one array serves all decoders.
 */
const runLengths: number[] = [];
/** How many of them hold no message, as far as it is decoded. */
let badInRun = 0;
const TEXT_ENCODER = new TextEncoder();

/**
 * Least and most free space for the next read: a quiet connection stays small,
 * a busy one reads much at once.
 */
const FIRST_SPACE = 128;
const MOST_SPACE = 65_536;
/**
 * Whole frames beyond this many bytes wait for the next run, so that one peer's
 * backlog does not hold up the others.
 */
const RUN_BYTES = 65_536;

/**
 * A run ends behind so many bad messages: each costs two errors, a thousand
 * times as much as a good one.
 */
const BAD_RUN = 16;

/**
 * What {@linkcode FrameDecoder.take} gives for each frame: its message, or the
 * error of a payload that holds none.
 */
export type Decoded<T> = T | InvalidMessageError;

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
  #framing: Framing;
  #buffer: Uint8Array<ArrayBuffer> = EMPTY;
  #start = 0;
  #end = 0;
  #space = FIRST_SPACE;
  /**
   * Messages that were decoded and not yet handed out by an iterator of `push`.
   */
  #ready: readonly Decoded<T>[] = NONE;
  #next = 0;
  /** Whether a whole frame has been decoded. */
  #begun = false;
  /** Most frames of the next run: few, where the last one was bad. */
  #mostFrames = Infinity;
  #isGuarded = false;

  /**
   * Checks the options; nothing is allocated yet.
   *
   * @param options Layout and limit of the frames.
   * @throws {RangeError} If the prefix cannot express the limit, or a number is
   * out of range.
   * @throws {TypeError} If an option does not exist or has the wrong type.
   */
  constructor(options: FramingOptions = {}) {
    this.#framing = Framing.from(options);
  }

  /** Bytes that arrived and have not become messages yet. */
  get size(): number {
    return this.#end - this.#start;
  }

  /**
   * Sizes in bytes of the payloads whose messages {@linkcode FrameDecoder.take}
   * gave last; valid until any decoder takes again.
   * @internal
   */
  get lengths(): readonly number[] {
    return runLengths;
  }

  /**
   * Goes on under other limits; the layout stays. `guarded` costs more, and
   * keeps the bytes from filling the engine's table of strings.
   * @internal
   */
  limit(framing: Framing, guarded: boolean): void {
    this.#framing = framing;
    this.#isGuarded = guarded;
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
    const bytes = toBytes(chunk);
    if (bytes.length > 0) {
      this.#ensure(bytes.length);
      copy(bytes, this.#buffer, this.#end);
      this.#end += bytes.length;
    }
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
    const { prefixBytes, maxFrameBytes } = this.#framing;
    let offset = this.#start;
    while (this.#end - offset >= prefixBytes) {
      const length = readPrefix(this.#buffer, offset, this.#framing);
      if (length > maxFrameBytes) return; // take() reports it
      const received = this.#end - offset - prefixBytes;
      if (received < length) {
        throw new FrameTruncatedError("payload", received, length);
      }
      offset += prefixBytes + length;
    }
    if (this.#end > offset) {
      throw new FrameTruncatedError("prefix", this.#end - offset, prefixBytes);
    }
  }

  /**
   * Free space to read bytes into, at least one byte. It is valid until the
   * next call of any method but {@linkcode FrameDecoder.commit}.
   */
  reserve(): Uint8Array<ArrayBuffer> {
    if (this.#start === this.#end) {
      this.#start = this.#end = 0;
      const { length } = this.#buffer;
      if (length < this.#space || length > 4 * this.#space) {
        this.#buffer = new Uint8Array(this.#space);
      }
    } else if (this.#end === this.#buffer.length) this.#ensure(this.#space);
    return this.#end === 0 ? this.#buffer : this.#buffer.subarray(this.#end);
  }

  /**
   * Says that `count` bytes were read into the space that
   * {@linkcode FrameDecoder.reserve} returned.
   *
   * @throws {RangeError} If the space has no room for so many.
   */
  commit(count: number): void {
    const room = this.#buffer.length - this.#end;
    if (!Number.isInteger(count) || count < 0 || count > room) {
      throw new RangeError(
        `Cannot commit bytes: received ${count}, expected a whole number from 0 to ${room}`,
      );
    }
    this.#end += count;
    if (this.#end === this.#buffer.length) {
      this.#space = Math.min(4 * this.#space, MOST_SPACE);
    } else if (64 * count < this.#space) {
      this.#space = Math.max(this.#space / 4, FIRST_SPACE);
    }
  }

  /**
   * Makes room for `count` more bytes: by moving what is left to the front if
   * that is enough, else by growing.
   */
  #ensure(count: number): void {
    if (this.#buffer.length - this.#end >= count) return;
    const size = this.size;
    const needed = size + count;
    if (needed > this.#buffer.length) {
      // By what was received, never by what was announced.
      const grown = new Uint8Array(Math.max(needed, this.#growth(4 * size)));
      copy(this.#buffer.subarray(this.#start, this.#end), grown);
      this.#buffer = grown;
    } else {
      this.#buffer.copyWithin(0, this.#start, this.#end);
    }
    this.#start = 0;
    this.#end = size;
  }

  /** At most so many bytes, but no more than the frame that has begun takes. */
  #growth(most: number): number {
    const { prefixBytes } = this.#framing;
    if (this.size < prefixBytes) return 0;
    const length = readPrefix(this.#buffer, this.#start, this.#framing);
    return Math.min(most, prefixBytes + length);
  }

  /**
   * Decodes the whole frames at hand together and returns their messages in
   * order: the run ends with the last whole frame, before a frame that is too
   * large, after about 64 KiB, or after 16 bad ones. An empty array means that more bytes are
   * needed. A payload that is not UTF-8, not JSON or nested too deep stands in
   * the array as an `InvalidMessageError`, which no JSON value can be.
   *
   * @throws {FrameTooLargeError} If the next frame is larger than the limit, or
   * is the first, no JSON, and begins like another protocol.
   */
  take(): readonly Decoded<T>[] {
    const { prefixBytes, maxFrameBytes } = this.#framing;
    const lengths: number[] = runLengths;
    lengths.length = 0;
    let offset = this.#start;
    while (
      this.#end - offset >= prefixBytes && offset - this.#start < RUN_BYTES &&
      lengths.length < this.#mostFrames
    ) {
      const length = readPrefix(this.#buffer, offset, this.#framing);
      if (length > maxFrameBytes) {
        if (lengths.length > 0) break;
        throw new FrameTooLargeError(
          "decode",
          length,
          maxFrameBytes,
          this.#begun ? undefined : diagnose(this.#opening(), this.#framing),
        );
      }
      const next = offset + prefixBytes + length;
      if (next > this.#end) break;
      lengths.push(length);
      offset = next;
    }
    if (lengths.length === 0) return NONE;
    const opening = this.#begun ? EMPTY : this.#opening();
    const messages = this.#decodeRun(this.#start, offset);
    if (!this.#begun && messages[0] instanceof InvalidMessageError) {
      const seeming = recognize(opening);
      if (seeming !== undefined) {
        const [size] = lengths;
        this.#undo(NONE, offset);
        throw new FrameTooLargeError("decode", size, maxFrameBytes, seeming);
      }
    }
    this.#begun = true;
    if (messages.length < lengths.length) offset = this.#undo(messages, offset);
    else this.#mostFrames *= 2;
    this.#start = offset;
    // Nothing is kept of a buffer that a large frame has blown up.
    if (offset === this.#end && this.#buffer.length > MOST_SPACE) {
      this.#buffer = EMPTY;
      this.#start = this.#end = 0;
    }
    return messages;
  }

  /** A copy of what the stream begins with. */
  #opening(): Uint8Array {
    const bytes = Math.max(this.#framing.prefixBytes, OPENING_BYTES);
    return this.#buffer.slice(
      this.#start,
      Math.min(this.#start + bytes, this.#end),
    );
  }

  /**
   * One call of the text decoder for the whole run: calling it costs more than
   * decoding a small message. The prefixes become zeros, so that they are text,
   * too; JSON has no zeros ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259),
   * section 7), so nothing else is one.
   */
  #decodeRun(from: number, to: number): Decoded<T>[] {
    const { prefixBytes } = this.#framing;
    const lengths = runLengths;
    badInRun = 0;
    const first = from + prefixBytes;
    if (lengths.length === 1) return [this.#decode(first, lengths[0])];
    let offset = from;
    for (let i = 0; i < lengths.length; i++) {
      const payload = offset + prefixBytes;
      while (offset < payload) this.#buffer[offset++] = 0;
      offset += lengths[i];
    }
    let text;
    try {
      text = decodeUtf8(this.#buffer.subarray(first, to));
    } catch {
      return this.#decodeEach(from);
    }
    const messages: Decoded<T>[] = [];
    if (text.length === to - first) { // ASCII: lengths in the text are lengths in bytes
      let position = 0;
      for (let i = 0; i < lengths.length && badInRun < BAD_RUN; i++) {
        const end = position + lengths[i];
        messages.push(
          this.#parse(text.slice(position, end), first + position, lengths[i]),
        );
        position = end + prefixBytes;
      }
      return messages;
    }
    let position = 0;
    let payload = first;
    for (let i = 0; i < lengths.length; i++) {
      const zero = text.indexOf("\0", position);
      const end = zero < 0 ? text.length : zero;
      const message = this.#parse(
        text.slice(position, end),
        payload,
        lengths[i],
      );
      payload += lengths[i] + prefixBytes;
      // A zero inside a payload would be taken for a prefix: then, and only
      // then, is a frame invalid here or text left over.
      if (message instanceof InvalidMessageError) return this.#decodeEach(from);
      messages.push(message);
      position = end + prefixBytes;
    }
    return position - prefixBytes === text.length
      ? messages
      : this.#decodeEach(from);
  }

  /** The same, frame by frame, for a run that is not clean. */
  #decodeEach(from: number): Decoded<T>[] {
    const messages: Decoded<T>[] = [];
    let offset = from;
    badInRun = 0;
    for (let i = 0; i < runLengths.length && badInRun < BAD_RUN; i++) {
      const payload = offset + this.#framing.prefixBytes;
      offset = payload + runLengths[i];
      messages.push(this.#decode(payload, runLengths[i]));
    }
    return messages;
  }

  #decode(payload: number, length: number): Decoded<T> {
    try {
      const bytes = this.#buffer.subarray(payload, payload + length);
      return this.#parse(decodeUtf8(bytes), payload, length);
    } catch (cause) {
      badInRun++;
      const why = cause instanceof RangeError
        ? `has more than ${MOST_UNITS} UTF-16 units, which is the longest string`
        : "is not UTF-8";
      return new InvalidMessageError(
        `Cannot decode message: payload of ${length} bytes ${why}`,
        { cause },
      );
    }
  }

  /**
   * Gives the frames back for which there are no messages: their prefixes have
   * become zeros. Returns where they begin.
   */
  #undo(messages: readonly Decoded<T>[], end: number): number {
    const { prefixBytes } = this.#framing;
    let offset = end;
    for (let i = runLengths.length - 1; i >= messages.length; i--) {
      offset -= prefixBytes + runLengths[i];
      writePrefix(this.#buffer, offset, runLengths[i], this.#framing);
    }
    runLengths.length = messages.length;
    this.#mostFrames = BAD_RUN;
    return offset;
  }

  /** The message of a payload that is `length` bytes of the buffer. */
  #parse(text: string, payload: number, length: number): Decoded<T> {
    const { maxDepth } = this.#framing;
    if (
      // A level takes two bytes, or is not closed.
      length > 2 * maxDepth && hasManyOpeners(text, maxDepth) &&
      isTooDeep(this.#buffer.subarray(payload, payload + length), maxDepth)
    ) {
      badInRun++;
      return new InvalidMessageError(
        `Cannot decode message: payload of ${length} bytes is nested deeper than ${maxDepth} levels`,
      );
    }
    try {
      return JSON.parse(this.#isGuarded ? escapeDigits(text) : text);
    } catch {
      badInRun++;
      // The engine's own error quotes the text, so it is not kept as the cause.
      return new InvalidMessageError(
        `Cannot decode message: payload of ${length} bytes is not JSON`,
      );
    }
  }
}

/**
 * Text that waits to be encoded is encoded when it has this many characters.
 */
const TEXT_RUN = 262_144;
/** Room for a prefix in a text, by its width. */
const PREFIX_ROOMS = Array.from({ length: 9 }, (_, i) => "\0".repeat(i));

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
  readonly #framing: Framing;
  #maxDepth = Infinity;
  /**
   * JSON texts that wait, each behind room for its prefix, and their lengths in
   * UTF-16 units.
   */
  #text = "";
  #lengths: number[] | undefined;
  /** Frames that are encoded already, before those in `#text`. */
  #encoded: Uint8Array<ArrayBuffer>[] | undefined;
  #encodedBytes = 0;

  /**
   * Checks the options; nothing is allocated yet.
   *
   * @param options Layout and limit of the frames.
   * @throws {RangeError} If the prefix cannot express the limit, or a number is
   * out of range.
   * @throws {TypeError} If an option does not exist or has the wrong type.
   */
  constructor(options: FramingOptions = {}) {
    this.#framing = Framing.from(options);
  }

  /**
   * Bytes that wait to be taken; for text that is not encoded yet, the number
   * of its UTF-16 units.
   */
  get size(): number {
    return this.#encodedBytes + this.#text.length;
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
    const text = this.#textOf(message);
    // A UTF-16 unit becomes one to three bytes: only where that decides is the
    // text encoded to be measured.
    if (text.length * 3 > this.#framing.maxFrameBytes) {
      const frame = this.#encodeLarge(text);
      this.#encodeText();
      this.#add(frame);
      return;
    }
    this.#text += PREFIX_ROOMS[this.#framing.prefixBytes] + text;
    (this.#lengths ??= []).push(text.length);
    if (this.#text.length > TEXT_RUN) this.#encodeText();
  }

  /**
   * Gives the size in bytes of the frame that a message would be, and throws
   * where {@linkcode FrameEncoder.push} would.
   * @internal
   */
  measure(message: unknown): number {
    const { prefixBytes, maxFrameBytes } = this.#framing;
    const size = TEXT_ENCODER.encode(this.#textOf(message)).length;
    if (size > maxFrameBytes) {
      throw new FrameTooLargeError("encode", size, maxFrameBytes);
    }
    return prefixBytes + size;
  }

  /**
   * Refuses from now on what is nested deeper than `maxDepth`, as the other end
   * would: where it could not tell what it has refused.
   * @internal
   */
  limitDepth(): void {
    this.#maxDepth = this.#framing.maxDepth;
  }

  #textOf(message: unknown): string {
    const text = stringify(message);
    const most = this.#maxDepth;
    if (
      text.length > 2 * most && hasManyOpeners(text, most) &&
      isTooDeep(TEXT_ENCODER.encode(text), most)
    ) {
      throw new InvalidMessageError(
        `Cannot encode message: the value is nested deeper than ${most} levels`,
      );
    }
    return text;
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
    const space = toBytes(buffer);
    const bytes = this.#encoded?.shift();
    if (bytes === undefined) {
      return this.#text === "" ? EMPTY : this.#encodeRun(space);
    }
    this.#encodedBytes -= bytes.length;
    return bytes;
  }

  #add(bytes: Uint8Array<ArrayBuffer>): void {
    (this.#encoded ??= []).push(bytes);
    this.#encodedBytes += bytes.length;
  }

  #encodeText(): void {
    if (this.#text !== "") this.#add(this.#encodeRun(EMPTY));
  }

  /**
   * One call of the text encoder for all the texts: calling it costs more than
   * encoding a small message.
   */
  #encodeRun(buffer: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const { prefixBytes } = this.#framing;
    const text = this.#text;
    const lengths = this.#lengths ?? NONE;
    this.#text = "";
    this.#lengths = undefined;
    let bytes = buffer.length >= text.length
      ? buffer
      : new Uint8Array(text.length);
    let { read, written } = TEXT_ENCODER.encodeInto(text, bytes);
    if (read < text.length) {
      const grown = new Uint8Array(written + 3 * (text.length - read));
      copy(bytes.subarray(0, written), grown);
      bytes = grown;
      written += TEXT_ENCODER.encodeInto(
        text.slice(read),
        bytes.subarray(written),
      ).written;
    }
    let offset = 0;
    for (let i = 0; i < lengths.length; i++) {
      let length = lengths[i];
      if (written > text.length) { // not ASCII: the next zero byte is the next prefix, for JSON text has none
        const from = offset + prefixBytes;
        const zero = bytes.indexOf(0, from + length);
        length = (zero < 0 || zero > written ? written : zero) - from;
      }
      writePrefix(bytes, offset, length, this.#framing);
      offset += prefixBytes + length;
    }
    return written === bytes.length ? bytes : bytes.subarray(0, written);
  }

  #encodeLarge(text: string): Uint8Array<ArrayBuffer> {
    const { prefixBytes, maxFrameBytes } = this.#framing;
    if (text.length <= maxFrameBytes) {
      const bytes = new Uint8Array(
        prefixBytes + Math.min(3 * text.length, maxFrameBytes),
      );
      const { read, written } = TEXT_ENCODER.encodeInto(
        text,
        bytes.subarray(prefixBytes),
      );
      if (read === text.length) {
        writePrefix(bytes, 0, written, this.#framing);
        const end = prefixBytes + written;
        // What waits is to hold no more than what is counted.
        return end < bytes.length / 2
          ? bytes.slice(0, end)
          : bytes.subarray(0, end);
      }
    }
    throw new FrameTooLargeError(
      "encode",
      TEXT_ENCODER.encode(text).length,
      maxFrameBytes,
    );
  }
}

function stringify(message: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(message);
  } catch (cause) {
    // A value may throw anything of its own.
    const isTooLong = cause instanceof RangeError &&
      cause.message === "Invalid string length";
    throw new InvalidMessageError(
      `Cannot encode message: ${
        isTooLong
          ? `its text has more than ${MOST_UNITS} UTF-16 units, which is the longest string`
          : "JSON cannot carry the value"
      }`,
      { cause },
    );
  }
  if (text === undefined) {
    throw new InvalidMessageError(
      `Cannot encode message: JSON cannot carry a value of type ${typeof message}`,
    );
  }
  return text;
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
  const encoder = new FrameEncoder(options);
  encoder.push(message);
  return encoder.take();
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
