/**
 * The deadlines of a link, counted in ticks in which nothing has happened.
 *
 * @module
 */
import type { Ticker, Ticking } from "../tools/ticker.ts";
import { timeoutError } from "../tools/abort.ts";
import type { Closing } from "./closing.ts";

/**
 * Milliseconds for which a link without `idleTimeout` stays open when its peer
 * has ended its side and nothing is sent: a loop that forgets to close keeps no
 * descriptor for ever.
 */
const HALF_CLOSED_TIMEOUT = 60_000;
/** Writing it asks whether the link still is. */
const NOTHING = new Uint8Array(0);

/**
 * Most bytes that a platform takes at once when a peer reads slowly: it has room
 * again once a third of its buffer is free, on Linux of 4 MiB by default.
 */
const MOST_UNSEEN_BYTES = 4 * 2 ** 20 / 3;

/**
 * The rate below which a peer reads of which nothing was seen for so many
 * milliseconds, for a person.
 */
export function rateBelow(milliseconds: number): string {
  const rate = MOST_UNSEEN_BYTES / milliseconds * 1_000;
  return rate < 1_000
    ? `${Math.ceil(rate)} B/s`
    : `${Math.round(rate / 1_000)} KB/s`;
}

/** Ends a link that is idle, or whose peer stops within a frame, or reading. */
export class Deadlines<T> implements Ticking {
  readonly #link: Closing<T>;
  readonly #ticker: Ticker;
  /** Whether a probe would tell of a reset, and none is under way. */
  #canProbe: boolean;
  /** Where things stood at the last tick, and for how many ticks. */
  #messagesSeen = 0;
  #bytesSeen = 0;
  #idleTicks = 0;
  #frameTicks = 0;
  #writeTicks = 0;

  /** Counts the ticks of `ticker` until {@linkcode Deadlines.stop}. */
  constructor(link: Closing<T>, ticker: Ticker, canProbe: boolean) {
    this.#link = link;
    this.#ticker = ticker;
    this.#canProbe = canProbe;
    ticker.add(this);
  }

  /** Counts no more. */
  stop(): void {
    this.#ticker.delete(this);
  }

  /** Counts a tick in which something has happened, or nothing. */
  tick(): void {
    const { isListening, isSealed, hasPeerEnded, inbox, outbox } = this.#link;
    const { bytesQueued, bytesWritten } = outbox;
    this.#writeTicks = bytesQueued > 0 && bytesWritten === this.#bytesSeen
      ? this.#writeTicks + 1
      : 0;
    this.#bytesSeen = bytesWritten;
    const { writeTimeout } = this.#link.settings;
    if (this.#isLate(this.#writeTicks, writeTimeout)) {
      return this.#link.abort(timeoutError(
        `Cannot send message: ${this.#link.peerName} took none of ${bytesQueued} bytes for ${writeTimeout} ms, it reads less than ${
          rateBelow(writeTimeout)
        } (writeTimeout)`,
      ));
    }
    if (!isListening && bytesQueued === 0 && !isSealed) this.#probe();
    if (hasPeerEnded && inbox.consumer === undefined) this.#tickHalfClosed();
    else this.#tickReceiving();
  }

  #isLate(ticks: number, timeout: number): boolean {
    return ticks > this.#ticker.ticks(timeout);
  }

  #tickReceiving(): void {
    const { isListening, messagesReceived, inbox, outbox, settings } =
      this.#link;
    const bytesOfFrame = this.#link.decoder.size;
    if (!isListening || messagesReceived !== this.#messagesSeen) {
      this.#messagesSeen = messagesReceived;
      this.#idleTicks = this.#frameTicks = 0;
      return;
    }
    const isPeersTurn = outbox.bytesQueued === 0 && !inbox.consumer?.size &&
      (inbox.isAwaited || inbox.isWatched);
    this.#frameTicks = bytesOfFrame > 0 ? this.#frameTicks + 1 : 0;
    this.#idleTicks = isPeersTurn ? this.#idleTicks + 1 : 0;
    const { idleTimeout, frameTimeout } = settings;
    if (this.#isLate(this.#frameTicks, frameTimeout)) {
      this.#late(
        `sent ${bytesOfFrame} bytes of a frame in ${frameTimeout} ms, and not the rest (frameTimeout)`,
      );
    } else if (this.#isLate(this.#idleTicks, idleTimeout)) {
      this.#late(`sent nothing for ${idleTimeout} ms (idleTimeout)`);
    }
  }

  #late(did: string): void {
    const { peerName } = this.#link;
    const cause = timeoutError(`Cannot receive message: ${peerName} ${did}`);
    this.#link.closeFor({ clean: false, cause });
  }

  /** Counts the ticks in which nothing was sent after the peer's end. */
  #tickHalfClosed(): void {
    const { outbox: { messages, bytesQueued }, settings: { idleTimeout } } =
      this.#link;
    if (messages !== this.#messagesSeen || bytesQueued > 0) this.#idleTicks = 0;
    this.#messagesSeen = messages;
    const most = idleTimeout === Infinity ? HALF_CLOSED_TIMEOUT : idleTimeout;
    if (this.#isLate(++this.#idleTicks, most)) {
      this.#link.closeFor({ clean: true });
    }
  }

  /**
   * Finds out, for the handlers at work for the peer, whether it has reset the
   * link: no read is pending that would tell.
   */
  #probe(): void {
    const { duplex, inbox, hasPeerEnded } = this.#link;
    if (!this.#canProbe || !inbox.isRead && !hasPeerEnded) return;
    this.#canProbe = false;
    duplex.write(NOTHING).then(
      () => this.#canProbe = true,
      (cause) => this.#link.writeFailed(cause),
    );
  }
}
