/**
 * The sending half of a connection: messages in, bytes out.
 *
 * @module
 */
import type { Writer } from "@std/io/types";
import { FrameEncoder, limitDepth, measure } from "../framing/framing.ts";
import { quiet } from "../tools/promises.ts";
import type { Settings } from "./options.ts";
import { BACK_WITHIN, WORTH_A_WRITE } from "../tools/schedule.ts";

type Space = Uint8Array<ArrayBuffer>;

/**
 * Bytes that may wait to be written before `send` makes its caller wait, and
 * before no more is read from a peer that does not read its replies. More makes
 * nothing faster: a message of 1 KiB, each awaited, takes 2 µs with 16 KiB or
 * 64 KiB, and 3 µs with 256 KiB.
 */
const HIGH_WATER_MARK = 65_536;

/**
 * Space to write from, for all connections: writing is quick, so a few buffers
 * serve them all, and one that is idle holds none. Small ones and large ones,
 * as a buffer costs by its size even where little of it is used.
 */
const SPACES: readonly { bytes: number; most: number; spare: Space[] }[] = [
  { bytes: 4_096, most: 256, spare: [] },
  { bytes: 131_072, most: 16, spare: [] },
];

function takeSpace(bytes: number): Space | undefined {
  for (const size of SPACES) {
    if (bytes <= size.bytes) {
      return size.spare.pop() ?? new Uint8Array(size.bytes);
    }
  }
}

function returnSpace(space: Space | undefined): void {
  for (const { bytes, most, spare } of SPACES) {
    if (space?.length === bytes && spare.length < most) spare.push(space);
  }
}

/** Waits until no more than `most` bytes are queued. */
interface Waiting extends PromiseWithResolvers<void> {
  readonly most: number;
}

/**
 * Writes messages as whole frames, in order, one write at a time, as many
 * together as there are.
 */
export class Outbox {
  readonly #writer: Writer;
  readonly #encoder: FrameEncoder;
  readonly #highWaterMark: number;
  readonly #writeFailed: (cause: unknown) => void;
  #state: "idle" | "soon" | "writing" | "stopped" = "idle";
  #patient = false;
  #isHeld = false;
  #bytesInFlight = 0;
  #waiting: Waiting[] | undefined;
  #messages = 0;
  #messagesTaken = 0;
  #bytesWritten = 0;

  /**
   * Makes an empty outbox; nothing is written before something is pushed. It is
   * to be stopped when `writeFailed` is called.
   */
  constructor(
    writer: Writer,
    { framing, maxQueuedBytes }: Settings,
    writeFailed: (cause: unknown) => void,
  ) {
    this.#writer = writer;
    this.#encoder = new FrameEncoder(framing);
    // What waits for room is to find some.
    this.#highWaterMark = Math.min(HIGH_WATER_MARK, maxQueuedBytes);
    this.#writeFailed = writeFailed;
  }

  /** Messages pushed so far. */
  get messages(): number {
    return this.#messages;
  }

  /** Bytes written so far. */
  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /**
   * Bytes that wait to be written; for text that is not encoded yet, the number
   * of its UTF-16 units.
   */
  get bytesQueued(): number {
    return this.#bytesInFlight + this.#encoder.size;
  }

  /** Gives the size of a message in bytes; throws where it cannot be sent. */
  measure(message: unknown): number {
    return measure(this.#encoder, message);
  }

  /** Refuses from now on what is nested deeper than `maxDepth`. */
  limitDepth(): void {
    limitDepth(this.#encoder);
  }

  /**
   * Adds a message, to be written in this round of the event loop. A `patient`
   * one waits for those that are likely to follow it in the same round. Gives by
   * how much `bytesQueued` grows. Throws, and adds nothing, if the message cannot
   * be sent.
   */
  push(message: unknown, patient: boolean): number {
    const before = this.#encoder.size;
    this.#encoder.push(message);
    this.#messages++;
    this.#patient = patient;
    if (this.#state === "idle") this.#begin(patient);
    return this.#encoder.size - before;
  }

  #begin(patient: boolean): void {
    this.#state = "soon";
    // Writing only when every connection has read wakes the peers together.
    if (patient) this.#writeSoon(this.#messages, BACK_WITHIN);
    else queueMicrotask(() => this.#write());
  }

  #writeSoon(seen: number, left: number): void {
    queueMicrotask(() => {
      if (this.#state !== "soon") return;
      const more = this.#messages > seen;
      if (left === 0 && !more || this.#isWorthAWrite) this.#write();
      else this.#writeSoon(this.#messages, more ? BACK_WITHIN : left - 1);
    });
  }

  get #isWorthAWrite(): boolean {
    return this.#messages - this.#messagesTaken >= WORTH_A_WRITE ||
      this.bytesQueued > this.#highWaterMark;
  }

  /** Keeps what is pushed until {@linkcode Outbox.release}. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Writes what was kept. */
  release(): void {
    this.#isHeld = false;
    if (this.#state === "soon") this.#write();
  }

  /** Writes now what is worth a write of its own and would be written soon. */
  hasten(): void {
    if (this.#state === "soon" && this.#isWorthAWrite) this.#write();
  }

  /**
   * The only place that writes. No async function, which would cost as much as
   * all the rest where messages come one by one.
   */
  #write(): void {
    if (this.#state === "stopped" || this.#state === "writing") return;
    const { size } = this.#encoder;
    if (size === 0) {
      this.#state = "idle";
      return;
    }
    if (this.#isHeld) return;
    this.#state = "writing";
    this.#messagesTaken = this.#messages;
    const space = takeSpace(size);
    const bytes = this.#encoder.take(space);
    this.#bytesInFlight = bytes.length;
    this.#writeRest(bytes, space);
  }

  #writeRest(rest: Uint8Array, space: Space | undefined): void {
    try {
      this.#writer.write(rest).then(
        (count) => this.#written(rest, count, space),
        (cause) => this.#writeFailed(cause),
      );
    } catch (cause) {
      this.#writeFailed(cause);
    }
  }

  #written(rest: Uint8Array, count: number, space: Space | undefined): void {
    // A stream that was not made by the platform may give anything.
    if (!(count >= 0 && count <= rest.length)) {
      return this.#writeFailed(
        new TypeError(
          `Cannot write bytes: the stream took ${count} of ${rest.length}`,
        ),
      );
    }
    // Each part counts: a slow peer is not a dead one.
    this.#bytesWritten += count;
    this.#bytesInFlight -= count;
    if (this.#state === "stopped") return;
    if (count < rest.length) {
      return this.#writeRest(rest.subarray(count), space);
    }
    returnSpace(space);
    if (this.#state === "writing") this.#state = "soon";
    this.#tell();
    if (this.#patient && this.#encoder.size > 0) {
      this.#writeSoon(this.#messages, BACK_WITHIN);
    } else this.#write();
  }

  /**
   * Resolves when no more than `most` bytes wait to be written; `undefined` if
   * that is so already.
   */
  room(most: number = this.#highWaterMark): Promise<void> | undefined {
    if (this.bytesQueued <= most || this.#state === "stopped") return undefined;
    // One for all that wait for the same: a caller may send hundreds of thousands
    // of small messages and await none.
    const same = this.#waiting?.find((waiter) => waiter.most === most);
    if (same !== undefined) return same.promise;
    const waiting = { ...Promise.withResolvers<void>(), most };
    (this.#waiting ??= []).push(waiting);
    // Sending without awaiting is allowed, and a peer that leaves is no reason
    // to end the process.
    return quiet(waiting.promise);
  }

  #tell(): void {
    if (this.#waiting === undefined) return;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    for (const waiter of waiting) {
      if (this.bytesQueued <= waiter.most) waiter.resolve();
      else (this.#waiting ??= []).push(waiter);
    }
  }

  /** Writes no more, and rejects all that wait. */
  stop(reason: unknown): void {
    this.#state = "stopped";
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const { reject } of waiting) reject(reason);
  }
}
