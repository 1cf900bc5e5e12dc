/**
 * How frames are laid out, and how large they may be.
 *
 * @module
 */
import {
  choice,
  defaultsOf,
  flag,
  limit,
  type OptionTable,
  readOptions,
} from "../tools/options.ts";

/**
 * How frames are laid out on the wire, and how large they may be. Both ends
 * must agree on the first two.
 */
export interface FramingOptions {
  /**
   * Width of the length prefix in bytes.
   *
   * @default {4}
   */
  prefixBytes?: 1 | 2 | 4 | 8;
  /**
   * Whether the length prefix has its least significant byte first, as in
   * `DataView`.
   *
   * @default {false}
   */
  littleEndian?: boolean;
  /**
   * Largest payload in bytes, received or sent. `Infinity` means the largest
   * length that the prefix can express, and so does the default where the
   * prefix is too narrow for it.
   *
   * @default {1_048_576}
   */
  maxFrameBytes?: number;
  /**
   * Deepest nesting of arrays and objects that is accepted from the peer. Each
   * level costs far more memory and time than a byte.
   *
   * @default {128}
   */
  maxDepth?: number;
}

/** What each option may be. */
export const FRAMING_OPTIONS: OptionTable<FramingOptions> = {
  prefixBytes: choice([1, 2, 4, 8], 4),
  littleEndian: flag(false),
  maxFrameBytes: limit(1_048_576),
  maxDepth: limit(128),
};

/** The defaults of {@linkcode FramingOptions}. */
export const FRAMING_DEFAULTS: Readonly<Required<FramingOptions>> = defaultsOf(
  FRAMING_OPTIONS,
);

/** Framing options that are checked. */
export type Framing = Readonly<Required<FramingOptions>>;

const CHECKED = new WeakSet<FramingOptions>();

/** Reads and checks options of a user; those that are checked stay. */
export function framingOf(options: FramingOptions): Framing {
  return CHECKED.has(options)
    ? options as Framing
    : resolveFraming(readOptions(FRAMING_OPTIONS, options));
}

/**
 * Takes options that were read, among others, with the limit that both the user
 * and the prefix allow.
 *
 * @throws {RangeError} If the prefix cannot express the limit.
 */
export function resolveFraming(given: FramingOptions): Framing {
  const { prefixBytes, littleEndian, maxFrameBytes, maxDepth } = {
    ...FRAMING_DEFAULTS,
    ...given,
  };
  const most = Math.min(2 ** (8 * prefixBytes) - 1, Number.MAX_SAFE_INTEGER);
  // The default gives way where the prefix cannot express it.
  limit(undefined, { most })
    .check("maxFrameBytes", given.maxFrameBytes ?? Infinity);
  const framing = {
    prefixBytes,
    littleEndian,
    maxFrameBytes: Math.min(maxFrameBytes, most),
    maxDepth,
  };
  CHECKED.add(framing);
  return framing;
}
