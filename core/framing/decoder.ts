/**
 * Bytes to messages.
 *
 * @module
 */
import { copy } from "@std/bytes/copy";
import { EMPTY, toBytes } from "../tools/bytes.ts";
import { escapeDigits } from "../tools/digits.ts";
import { decodeUtf8, MOST_UNITS } from "../tools/utf8.ts";
import { hasManyOpeners, isTooDeep } from "./depth.ts";
import { diagnose, OPENING_BYTES, recognize } from "./diagnosis.ts";
import {
  FrameTooLargeError,
  FrameTruncatedError,
  InvalidMessageError,
} from "./errors.ts";
import { Framing, type FramingOptions } from "./options.ts";
import { readPrefix, writePrefix } from "./prefix.ts";

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
 * Payload lengths of the run that is being decoded, in order: decoding is never
 * interrupted, so one array serves all decoders.
 */
const runLengths: number[] = [];
/** How many of them hold no message, as far as it is decoded. */
let badInRun = 0;

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
