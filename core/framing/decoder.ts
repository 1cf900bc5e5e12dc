/**
 * The engine that turns bytes into messages.
 *
 * @module
 */
import { copy } from "@std/bytes/copy";
import { EMPTY, toBytes } from "../tools/bytes.ts";
import { escapeDigits } from "../tools/hashes.ts";
import { decodeUtf8, MOST_UNITS } from "../tools/utf8.ts";
import { hasManyOpeners, isTooDeep } from "./depth.ts";
import { diagnose, OPENING_BYTES, recognizeBad } from "./diagnosis.ts";
import {
  type Decoded,
  FrameTooLargeError,
  FrameTruncatedError,
  InvalidMessageError,
  type JsonValue,
} from "./errors.ts";
import { type Framing, framingOf, type FramingOptions } from "./options.ts";
import { readPrefix } from "./prefix.ts";

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
 * The same for frames: a bad one costs two errors, some fifty times as much as a
 * small good one.
 */
const RUN_FRAMES = 128;

const NONE: readonly never[] = Object.freeze([]);

/** Frames that were decoded together, in order; at least one. */
export interface Run<T> {
  /** What each holds. */
  readonly messages: readonly Decoded<T>[];
  /** Size of each payload, in bytes. */
  readonly sizes: readonly number[];
}

/**
 * Decodes like `take`, and gives the sizes, too; `undefined` means that more
 * bytes are needed.
 */
export let takeRun: <T>(decoder: FrameDecoder<T>) => Run<T> | undefined;
/**
 * Has a decoder go on under other limits; the layout stays. `guarded` costs
 * more, and keeps the bytes from filling the engine's table of strings.
 */
export let limitDecoder: (
  decoder: FrameDecoder<unknown>,
  framing: Framing,
  guarded: boolean,
) => void;

/**
 * Turns bytes into messages, without any I/O. It has one growing buffer, and
 * decodes all whole frames in it together.
 *
 * Give it bytes with {@linkcode FrameDecoder.push}. To avoid the copy, read
 * into the space of {@linkcode FrameDecoder.reserve}, call {@linkcode
 * FrameDecoder.commit}, and get the messages with {@linkcode
 * FrameDecoder.take}.
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
 * @typeParam T Type of the messages. It is not checked at run time.
 */
export class FrameDecoder<T = JsonValue> {
  static {
    takeRun = (decoder) => decoder.#takeRun();
    limitDecoder = (decoder, framing, guarded) => {
      decoder.#framing = framing;
      decoder.#isGuarded = guarded;
    };
  }

  // One growing buffer:
  //
  //          start                                    end
  // ┌────────┬────────────────────────────────────────┬────────────────┐
  // │ taken  │ frame  frame  frame  beginning of one  │ reserve()      │
  // └────────┴────────────────────────────────────────┴────────────────┘
  //            └────── take() ────┘                     commit()
  #framing: Framing;
  #buffer: Uint8Array<ArrayBuffer> = EMPTY;
  #start = 0;
  #end = 0;
  #space = FIRST_SPACE;
  /** Whether a whole frame has been decoded. */
  #begun = false;
  #isGuarded = false;
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
    this.#framing = framingOf(options);
  }

  /** Bytes that arrived and have not become messages yet. */
  get size(): number {
    return this.#end - this.#start;
  }

  /**
   * Copies the bytes, and returns an iterator over the messages that are
   * complete. Each is decoded when the iterator comes to it.
   *
   * A message that you do not iterate over is not lost: the next call returns
   * it. After an `InvalidMessageError`, call again with no bytes for the
   * messages behind the bad one.
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
    this.#add(toBytes(chunk));
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

  #add(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#ensure(bytes.length);
    copy(bytes, this.#buffer, this.#end);
    this.#end += bytes.length;
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
   * Tells the decoder that `count` bytes were read into the space of {@linkcode
   * FrameDecoder.reserve}.
   *
   * @throws {RangeError} If the space is smaller than that.
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
   * Decodes the next whole frames together, up to about 64 KiB or 128 frames,
   * and returns their messages in order. An empty array means that more bytes
   * are needed. A payload that is not UTF-8, not JSON or nested too deep is
   * returned as an `InvalidMessageError`, which cannot be a message.
   *
   * @throws {FrameTooLargeError} If the next frame is larger than the limit, or
   * the stream begins like another protocol.
   */
  take(): readonly (T | InvalidMessageError)[] {
    return this.#takeRun()?.messages ?? NONE;
  }

  #takeRun(): Run<T> | undefined {
    let size = this.#wholeAt(this.#start);
    if (size < 0) return undefined;
    const { prefixBytes } = this.#framing;
    const sizes: number[] = [];
    let end = this.#start;
    do {
      sizes.push(size);
      end += prefixBytes + size;
    } while (
      sizes.length < RUN_FRAMES && end - this.#start < RUN_BYTES &&
      (size = this.#wholeAt(end)) >= 0
    );
    if (!this.#begun) return this.#takeFirst(sizes, end);
    return this.#taken(this.#decodeRun(sizes, end), sizes, end);
  }

  /** The first run of a stream, which may be that of another protocol. */
  #takeFirst(sizes: number[], end: number): Run<T> {
    const seeming = recognizeBad(this.#opening());
    if (seeming !== undefined) {
      sizes.length = 1;
      end = this.#start + this.#framing.prefixBytes + sizes[0];
    }
    const messages = this.#decodeRun(sizes, end);
    if (seeming !== undefined && messages[0] instanceof InvalidMessageError) {
      const { maxFrameBytes } = this.#framing;
      throw new FrameTooLargeError("decode", sizes[0], maxFrameBytes, seeming);
    }
    this.#begun = true;
    return this.#taken(messages, sizes, end);
  }

  #taken(messages: Decoded<T>[], sizes: number[], end: number): Run<T> {
    this.#start = end;
    // Nothing is kept of a buffer that a large frame has blown up.
    if (end === this.#end && this.#buffer.length > MOST_SPACE) {
      this.#buffer = EMPTY;
      this.#start = this.#end = 0;
    }
    return { messages, sizes };
  }

  /** Payload size of the frame at an offset; -1 where it is not whole. */
  #wholeAt(offset: number): number {
    const { prefixBytes, maxFrameBytes } = this.#framing;
    const payload = offset + prefixBytes;
    if (payload > this.#end) return -1;
    const size = readPrefix(this.#buffer, offset, this.#framing);
    if (size > maxFrameBytes) {
      if (offset > this.#start) return -1; // what is before it comes first
      throw new FrameTooLargeError(
        "decode",
        size,
        maxFrameBytes,
        this.#begun ? undefined : diagnose(this.#opening(), this.#framing),
      );
    }
    return payload + size > this.#end ? -1 : size;
  }

  /** What the stream begins with. */
  #opening(): Uint8Array {
    const bytes = Math.max(this.#framing.prefixBytes, OPENING_BYTES);
    return this.#buffer.subarray(
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
  #decodeRun(sizes: readonly number[], end: number): Decoded<T>[] {
    const { prefixBytes } = this.#framing;
    const first = this.#start + prefixBytes;
    if (sizes.length === 1) return [this.#decode(first, sizes[0])];
    let offset = this.#start;
    for (let i = 0; i < sizes.length; i++) {
      const payload = offset + prefixBytes;
      while (offset < payload) this.#buffer[offset++] = 0;
      offset += sizes[i];
    }
    let text;
    try {
      text = decodeUtf8(this.#buffer.subarray(first, end));
    } catch {
      return this.#decodeEach(sizes);
    }
    return text.length === end - first
      ? this.#parseAscii(text, sizes)
      : this.#parseOther(text, sizes) ?? this.#decodeEach(sizes);
  }

  /** Cuts text in which lengths are lengths in bytes. */
  #parseAscii(text: string, sizes: readonly number[]): Decoded<T>[] {
    const { prefixBytes } = this.#framing;
    const first = this.#start + prefixBytes;
    const messages: Decoded<T>[] = [];
    let position = 0;
    for (let i = 0; i < sizes.length; i++) {
      const end = position + sizes[i];
      messages.push(
        this.#parse(text.slice(position, end), first + position, sizes[i]),
      );
      position = end + prefixBytes;
    }
    return messages;
  }

  /**
   * Cuts text at the zeros; `undefined` where one stands inside a payload, and
   * was taken for a prefix: then, and only then, is a frame invalid here or text
   * left over.
   */
  #parseOther(
    text: string,
    sizes: readonly number[],
  ): Decoded<T>[] | undefined {
    const { prefixBytes } = this.#framing;
    const messages: Decoded<T>[] = [];
    let position = 0;
    let payload = this.#start + prefixBytes;
    for (let i = 0; i < sizes.length; i++) {
      const zero = text.indexOf("\0", position);
      const end = zero < 0 ? text.length : zero;
      const message = this.#parse(
        text.slice(position, end),
        payload,
        sizes[i],
      );
      if (message instanceof InvalidMessageError) return undefined;
      messages.push(message);
      payload += sizes[i] + prefixBytes;
      position = end + prefixBytes;
    }
    return position - prefixBytes === text.length ? messages : undefined;
  }

  /** The same as `#decodeRun`, frame by frame, for a run that is not clean. */
  #decodeEach(sizes: readonly number[]): Decoded<T>[] {
    let payload = this.#start;
    return sizes.map((size) => {
      payload += this.#framing.prefixBytes;
      const message = this.#decode(payload, size);
      payload += size;
      return message;
    });
  }

  #decode(payload: number, size: number): Decoded<T> {
    try {
      const bytes = this.#buffer.subarray(payload, payload + size);
      return this.#parse(decodeUtf8(bytes), payload, size);
    } catch (cause) {
      const why = cause instanceof RangeError
        ? `has more than ${MOST_UNITS} UTF-16 units, which is the longest string`
        : "is not UTF-8";
      return new InvalidMessageError(
        `Cannot decode message: payload of ${size} bytes ${why}`,
        { cause },
      );
    }
  }

  /** The message of a payload that is `size` bytes of the buffer. */
  #parse(text: string, payload: number, size: number): Decoded<T> {
    const { maxDepth } = this.#framing;
    if (
      // A level takes two bytes, or is not closed.
      size > 2 * maxDepth && hasManyOpeners(text, maxDepth) &&
      isTooDeep(this.#buffer.subarray(payload, payload + size), maxDepth)
    ) {
      return new InvalidMessageError(
        `Cannot decode message: payload of ${size} bytes is nested deeper than ${maxDepth} levels`,
      );
    }
    try {
      return JSON.parse(this.#isGuarded ? escapeDigits(text) : text);
    } catch {
      // The engine's own error quotes the text, so it is not kept as the cause.
      return new InvalidMessageError(
        `Cannot decode message: payload of ${size} bytes is not JSON`,
      );
    }
  }
}
