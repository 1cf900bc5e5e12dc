/**
 * One connection of the load generator: it sends a batch of messages, checks
 * every byte that comes back, and begins anew.
 */
import { Buffer } from "node:buffer";
import { writeAll } from "@std/io/write-all";
import { Batch, type NumberedFrame, splitFrames } from "./load_batch.ts";

const MOST_SPACE = 262_144;

/**
 * What was wrong with the replies: their content, their order, their number, or
 * the link.
 */
export type FailureKind = "wrong" | "order" | "missing" | "surplus" | "lost";

/** Thrown when the replies are not what they must be. */
export class LoadError extends Error {
  constructor(readonly kind: FailureKind, message: string) {
    super(message);
    this.name = "LoadError";
  }
}

/** The reason for which a connection cannot go on. */
export function failureOf(error: unknown): LoadError {
  if (error instanceof LoadError) return error;
  return new LoadError(
    "lost",
    error instanceof Error ? error.message : String(error),
  );
}

/** Reads the bytes of one frame, or as many as there are, through `space`. */
export async function readFrame(
  conn: Deno.Conn,
  space: Buffer<ArrayBuffer> = Buffer.alloc(MOST_SPACE),
): Promise<Buffer<ArrayBuffer>> {
  let bytes = Buffer.alloc(0);
  for (;;) {
    const [frame] = splitFrames(bytes);
    if (frame !== undefined) return frame;
    const count = await conn.read(space);
    if (count === null) return bytes;
    bytes = Buffer.concat([bytes, space.subarray(0, count)]);
  }
}

/** A connection with a number of messages open at a time. */
export class LoadConnection {
  readonly #conn: Deno.Conn;
  readonly #open: number;
  readonly #requests: Batch;
  readonly #replies: Batch;
  readonly #space: Buffer<ArrayBuffer>;
  #nextNumber = 0;
  #reads = 0;
  #readsBefore = 0;
  #stalled = false;

  constructor(
    conn: Deno.Conn,
    open: number,
    requests: NumberedFrame[],
    replies: NumberedFrame[],
  ) {
    this.#conn = conn;
    this.#open = open;
    this.#requests = new Batch(requests, open);
    this.#replies = new Batch(replies, open);
    // One byte more than is expected shows a reply too many.
    this.#space = Buffer.alloc(
      Math.min(this.#replies.bytes.length + 1, MOST_SPACE),
    );
  }

  /**
   * Sends as many messages as may be open, and resolves when all their replies
   * have come.
   */
  async exchange(): Promise<void> {
    this.#requests.number(this.#nextNumber);
    this.#replies.number(this.#nextNumber);
    this.#nextNumber += this.#open;
    const { bytes } = this.#requests;
    const count = await this.#conn.write(bytes);
    if (count === bytes.length) return await this.#readReplies();
    // A server may answer, and wait until somebody reads, before it has taken
    // the whole batch.
    await Promise.all([
      writeAll(this.#conn, bytes.subarray(count)),
      this.#readReplies(),
    ]);
  }

  async #readReplies(): Promise<void> {
    const { bytes } = this.#replies;
    let matched = 0;
    while (matched < bytes.length) {
      const count = await this.#read();
      if (count === null) throw await this.#diagnose(matched, 0);
      const end = matched + count;
      const right = end <= bytes.length &&
        bytes.compare(this.#space, 0, count, matched, end) === 0;
      if (!right) throw await this.#diagnose(matched, count);
      matched = end;
    }
  }

  /** The number of bytes that came into `#space`; `null` if none will come. */
  async #read(): Promise<number | null> {
    try {
      const count = await this.#conn.read(this.#space);
      this.#reads++;
      return count;
    } catch (error) {
      if (this.#stalled) return null;
      throw error;
    }
  }

  /**
   * What is wrong with the replies, of which `matched` bytes were right and the
   * `count` bytes in `#space` were not.
   */
  async #diagnose(matched: number, count: number): Promise<LoadError> {
    const expected = [...splitFrames(this.#replies.bytes)];
    const places = new Map(
      expected.map((frame, place) => [frame.toString("latin1"), place]),
    );
    let bytes = Buffer.concat([
      this.#replies.bytes.subarray(0, matched),
      this.#space.subarray(0, count),
    ]);
    let received = [...splitFrames(bytes)];
    while (received.length < expected.length) {
      const more = await this.#read().catch(() => null);
      if (more === null) break;
      bytes = Buffer.concat([bytes, this.#space.subarray(0, more)]);
      received = [...splitFrames(bytes)];
    }

    const found = received.map((frame) => places.get(frame.toString("latin1")));
    const of = `of ${expected.length}`;
    const wrong = found.indexOf(undefined);
    if (wrong >= 0) {
      return wrong < expected.length
        ? new LoadError("wrong", `reply ${wrong + 1} ${of} is wrong`)
        : new LoadError("surplus", "there are more replies than messages");
    }
    const twice = found.findIndex((place, i) => found.indexOf(place) < i);
    if (twice >= 0) {
      const place = found[twice] as number + 1;
      return new LoadError("surplus", `reply ${place} ${of} came twice`);
    }
    const missing = expected.findIndex((_, place) => !found.includes(place));
    if (missing >= 0) {
      return new LoadError("missing", `reply ${missing + 1} ${of} is missing`);
    }
    const early = found.findIndex((place, i) => place !== i);
    if (early < 0) {
      return new LoadError("surplus", "there are more bytes than replies");
    }
    return new LoadError("order", `reply ${early + 1} ${of} is out of order`);
  }

  /**
   * Tells the server that no more messages come, and checks that no more
   * replies do.
   */
  async end(): Promise<void> {
    await this.#conn.closeWrite();
    if (await this.#read() !== null) {
      throw new LoadError("surplus", "there are more replies than messages");
    }
  }

  /** Gives the connection up if nothing has come since the last call. */
  giveUpIfStalled(): void {
    this.#stalled = this.#reads === this.#readsBefore;
    this.#readsBefore = this.#reads;
    if (this.#stalled) this.close();
  }

  /** Closes the connection; it may be called more than once. */
  close(): void {
    try {
      this.#conn.close();
    } catch {
      // Closed already.
    }
  }
}
