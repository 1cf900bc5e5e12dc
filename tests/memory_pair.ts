/** Two ends of a stream of bytes in memory, that fail on demand. */
import { copy } from "@std/bytes/copy";
import type { Socket } from "../core/platform/platform.ts";
import type { ByteDuplex, Connection } from "../mod.ts";

/** One direction: what one end writes and the other reads. */
class Pipe {
  readonly #chunks: Uint8Array[] = [];
  #ended = false;
  #failure: { error: unknown } | undefined;
  #changed = Promise.withResolvers<void>();

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  add(bytes: Uint8Array): void {
    this.#chunks.push(bytes.slice());
    this.#change();
  }

  end(): void {
    this.#ended = true;
    this.#change();
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#change();
  }

  get broken(): { error: unknown } | undefined {
    return this.#failure;
  }

  async read(space: Uint8Array, most: number): Promise<number | null> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      const first = this.#chunks[0];
      if (first !== undefined) {
        const count = copy(first.subarray(0, most), space);
        if (count === first.length) this.#chunks.shift();
        else this.#chunks[0] = first.subarray(count);
        return count;
      }
      if (this.#ended) return null;
      await this.#changed.promise;
    }
  }
}

/**
 * One end; what it is told to do holds for this end alone, except that the
 * other end notices.
 */
export class MemoryEnd implements ByteDuplex {
  /** Copies of what each call of `write` brought. */
  readonly writes: Uint8Array[] = [];
  /** Sizes of the space that each call of `read` brought. */
  readonly reads: number[] = [];
  /** Most bytes that a read gives. */
  readAtMost = Infinity;
  /** Most bytes that a write takes. */
  writeAtMost = Infinity;
  closed = 0;
  readonly #incoming: Pipe;
  readonly #outgoing: Pipe;
  #held: PromiseWithResolvers<void> | undefined;

  constructor(incoming: Pipe, outgoing: Pipe) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  read(space: Uint8Array): Promise<number | null> {
    this.reads.push(space.length);
    return this.#incoming.read(space, this.readAtMost);
  }

  async write(bytes: Uint8Array): Promise<number> {
    const taken = bytes.subarray(0, this.writeAtMost);
    this.writes.push(taken.slice());
    while (this.#held !== undefined) await this.#held.promise;
    if (this.#outgoing.broken !== undefined) throw this.#outgoing.broken.error;
    this.#outgoing.add(taken);
    return taken.length;
  }

  closeWrite(): Promise<void> {
    this.#outgoing.end();
    return Promise.resolve();
  }

  close(): void {
    this.closed++;
    this.#outgoing.end();
    this.#incoming.fail(new Deno.errors.Interrupted("operation canceled"));
    this.release();
  }

  /** Lets no write complete until `release`, like a peer that never reads. */
  hold(): void {
    this.#held ??= Promise.withResolvers();
  }

  release(): void {
    this.#held?.resolve();
    this.#held = undefined;
  }

  /** Breaks the link for both ends, like a reset. */
  cut(error: unknown = new Deno.errors.ConnectionReset("reset")): void {
    this.#incoming.fail(error);
    this.#outgoing.fail(error);
    this.release();
  }
}

/** Two ends of one stream. */
export function memoryPair(): [MemoryEnd, MemoryEnd] {
  const there = new Pipe();
  const back = new Pipe();
  return [new MemoryEnd(back, there), new MemoryEnd(there, back)];
}

/**
 * Resolves when all has left that was sent: what comes before is no reply to the
 * first request.
 */
export async function written(connection: Connection): Promise<void> {
  while (connection.stats().bytesQueued > 0) {
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

const ADDRESS = { transport: "tcp", hostname: "memory", port: 1 };

/** An end as what dialing gives. */
export function socketOf(end: MemoryEnd): Socket {
  return Object.assign(end, {
    localAddr: ADDRESS,
    remoteAddr: ADDRESS,
    ref() {},
    unref() {},
  });
}
