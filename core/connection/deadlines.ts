/**
 * The deadlines of a link, counted in ticks in which nothing has happened.
 *
 * @module
 */
import type { Ticker, Ticking } from "../tools/ticker.ts";
import { timeoutError } from "../tools/abort.ts";
import type { ByteDuplex } from "./duplex.ts";
import type { ConnectionEnd, Settings } from "./options.ts";
import type { Outbox } from "./outbox.ts";
import { rateBelow } from "./rate.ts";

/**
 * Milliseconds for which a link without `idleTimeout` stays open when its peer
 * has ended its side and nothing is sent: a loop that forgets to close keeps no
 * descriptor for ever.
 */
const HALF_CLOSED_TIMEOUT = 60_000;
/** Writing it asks whether the link still is. */
const NOTHING = new Uint8Array(0);

/** The link whose deadlines are counted. */
export interface DeadlinesOwner {
  /** What errors call the peer. */
  readonly peerName: string;
  /** Whole frames received. */
  readonly messagesReceived: number;
  /** Bytes that have come of a frame that is not whole. */
  readonly bytesOfFrame: number;
  /** Whether a read is pending. */
  readonly isListening: boolean;
  /** Whether the peer has ended its side between two frames. */
  readonly hasPeerEnded: boolean;
  /** Whether nothing more may be sent. */
  readonly isSealed: boolean;
  /** Closes once everything sent before has left. */
  closeFor(end: ConnectionEnd): void;
  /** Closes at once. */
  abort(reason: unknown): void;
  /** Ends the link for a write that failed. */
  writeFailed(cause: unknown): void;
}

/** Who reads the messages of the link. */
interface Reading {
  readonly consumer: { readonly size: number } | undefined;
  readonly isAwaited: boolean;
  readonly isRead: boolean;
  readonly isWatched: boolean;
}

/** What a link is made of. */
interface Parts {
  readonly duplex: ByteDuplex;
  readonly inbox: Reading;
  readonly outbox: Outbox;
  readonly settings: Settings;
}

/** Ends a link that is idle, or whose peer stops within a frame, or reading. */
export class Deadlines implements Ticking {
  readonly #owner: DeadlinesOwner;
  readonly #parts: Parts;
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
  constructor(
    owner: DeadlinesOwner,
    parts: Parts,
    ticker: Ticker,
    canProbe: boolean,
  ) {
    this.#owner = owner;
    this.#parts = parts;
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
    const { isListening, isSealed, hasPeerEnded } = this.#owner;
    const { inbox, outbox, settings } = this.#parts;
    const { bytesQueued, bytesWritten } = outbox;
    this.#writeTicks = bytesQueued > 0 && bytesWritten === this.#bytesSeen
      ? this.#writeTicks + 1
      : 0;
    this.#bytesSeen = bytesWritten;
    const { writeTimeout } = settings;
    if (this.#isLate(this.#writeTicks, writeTimeout)) {
      return this.#owner.abort(timeoutError(
        `Cannot send message: ${this.#owner.peerName} took none of ${bytesQueued} bytes for ${writeTimeout} ms, it reads less than ${
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
    const { isListening, messagesReceived, bytesOfFrame } = this.#owner;
    const { inbox, outbox, settings } = this.#parts;
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
    const { peerName } = this.#owner;
    const cause = timeoutError(`Cannot receive message: ${peerName} ${did}`);
    this.#owner.closeFor({ clean: false, cause });
  }

  /** Counts the ticks in which nothing was sent after the peer's end. */
  #tickHalfClosed(): void {
    const { outbox: { messages, bytesQueued }, settings: { idleTimeout } } =
      this.#parts;
    if (messages !== this.#messagesSeen || bytesQueued > 0) this.#idleTicks = 0;
    this.#messagesSeen = messages;
    const most = idleTimeout === Infinity ? HALF_CLOSED_TIMEOUT : idleTimeout;
    if (this.#isLate(++this.#idleTicks, most)) {
      this.#owner.closeFor({ clean: true });
    }
  }

  /**
   * Finds out, for whoever is at work for the peer, whether it has reset the
   * link: no read is pending that would tell.
   */
  #probe(): void {
    const { duplex, inbox } = this.#parts;
    if (!this.#canProbe || !inbox.isRead && !this.#owner.hasPeerEnded) return;
    this.#canProbe = false;
    duplex.write(NOTHING).then(
      () => this.#canProbe = true,
      (cause) => this.#owner.writeFailed(cause),
    );
  }
}
