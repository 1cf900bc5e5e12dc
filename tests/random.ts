/**
 * A sequence of numbers that looks random and is the same for the same seed.
 */
export class Random {
  #state: number;

  /** Starts the sequence of a seed, a whole number from 0 to 4 294 967 295. */
  constructor(seed: number) {
    // The state must not be zero, and seeds that are close together must not
    // begin alike.
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ 0x6a09e667) >>> 0 || 1;
    for (let i = 0; i < 8; i++) this.#next();
  }

  /** xorshift, 32 bits wide. */
  #next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return this.#state = x >>> 0;
  }

  /** A whole number from `least` to `most`, both included. */
  integer(least: number, most: number): number {
    return least + Math.floor(this.#next() / 2 ** 32 * (most - least + 1));
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.integer(0, items.length - 1)];
  }

  /** As many items as `count` says, each made by `make`. */
  list<T>(count: number, make: () => T): T[] {
    return Array.from({ length: count }, make);
  }

  /** Any bytes. */
  bytes(count: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length: count }, () => this.integer(0, 255));
  }

  /** The bytes in parts of 1 to `most` bytes. */
  split(
    bytes: Uint8Array<ArrayBuffer>,
    most: number,
  ): Uint8Array<ArrayBuffer>[] {
    const parts = [];
    let offset = 0;
    while (offset < bytes.length) {
      parts.push(bytes.subarray(offset, offset += this.integer(1, most)));
    }
    return parts;
  }
}

/**
 * The seed of this run: that of the environment variable `TEST_SEED` if there
 * is one, else another one each time.
 */
export const SEED = readSeed();

function readSeed(): number {
  const { state } = Deno.permissions.querySync({
    name: "env",
    variable: "TEST_SEED",
  });
  const text = state === "granted" ? Deno.env.get("TEST_SEED") : undefined;
  if (text === undefined) return crypto.getRandomValues(new Uint32Array(1))[0];
  const seed = Number(text);
  if (text === "" || seed !== seed >>> 0) {
    throw new TypeError(
      `Cannot use TEST_SEED: received "${text}", expected a whole number from 0 to 4294967295`,
    );
  }
  return seed;
}

/**
 * A test function whose failure names the seed. Each starts the sequence anew,
 * so that a test fails alone as it fails among others.
 */
export function seeded(
  run: (random: Random) => void | Promise<void>,
): () => Promise<void> {
  return async () => {
    try {
      await run(new Random(SEED));
    } catch (cause) {
      throw new Error(`Failed with TEST_SEED=${SEED}`, { cause });
    }
  };
}
