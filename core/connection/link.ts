/**
 * The engine behind a connection: reading, writing, ending.
 *
 * @module
 */
import {
  type Decoded,
  FrameTooLargeError,
  FrameTruncatedError,
  type Framing,
  InvalidMessageError,
  type JsonValue,
  limitDecoder,
  type Run,
  takeRun,
} from "../framing/framing.ts";
import { readOptions } from "../tools/options.ts";
import {
  BACK_WITHIN,
  giveWay,
  LOOKING_ROUNDS,
  nextRound,
  QUIET_ROUNDS,
  REPLY_RUN,
  Share,
} from "../tools/schedule.ts";
import { Closing, type ClosingInfo } from "./closing.ts";
import { Deadlines } from "./deadlines.ts";
import type { ByteDuplex } from "./duplex.ts";
import type { Consumer } from "./inbox.ts";
import {
  type Address,
  BackpressureError,
  type ConnectionStats,
  REQUEST_DEFAULTS,
  REQUEST_OPTIONS,
  type RequestOptions,
  type Settings,
  type TlsInfo,
} from "./options.ts";
import type { RequestLimits } from "./requests.ts";
import { unsent } from "./failures.ts";

/** What only the maker of a link knows. */
export interface LinkInfo<T = JsonValue> extends ClosingInfo {
  /** Where this end is. */
  localAddr?: Address;
  /** What TLS negotiated; `undefined` over a link that is not encrypted. */
  tls?: TlsInfo;
  /** Looks at the first message; the error that it returns ends the receiving. */
  screen?: Screen<T>;
}

/** See {@linkcode LinkInfo.screen}. */
type Screen<T> = (message: T, link: Link<T>) => Error | undefined;

const RESOLVED = Promise.resolve();
/** A heartbeat has its own limit. */
const UNLIMITED = { timeout: Infinity };

function isFramingError(cause: unknown): boolean {
  try {
    return cause instanceof FrameTooLargeError ||
      cause instanceof FrameTruncatedError;
  } catch {
    return false; // a handler may throw anything, a revoked Proxy, too
  }
}

/** One live link that sends and receives messages; see `Connection`. */
export class Link<T = JsonValue> extends Closing<T> {
  /** Address of this end, if it is known. */
  readonly localAddr: Address | undefined;
  /** Who the peer is, if that was asked for. */
  identity: unknown;
  /** What TLS found out. */
  readonly tls: TlsInfo | undefined;

  readonly #share = new Share();
  /** Until the first message has come. */
  #screen: Screen<T> | undefined;
  #isPumping = false;
  /** Whether a request finds all read that had arrived before. */
  #hasReadArrivals = false;
  /** Whether a read that is not waited for lets the process end. */
  #isResting = false;
  #keepsAlive = true;

  /** Takes the bytes over. Nothing is read before a message is asked for. */
  constructor(duplex: ByteDuplex, settings: Settings, info: LinkInfo<T> = {}) {
    super(duplex, settings, info);
    this.localAddr = info.localAddr;
    this.tls = info.tls;
    this.#screen = info.screen;
    const { tickers, idleTimeout, frameTimeout, writeTimeout } = settings;
    const ticker = tickers.for(idleTimeout, frameTimeout, writeTimeout);
    this.deadlines = ticker &&
      new Deadlines(this, ticker, info.canProbe === true);
  }

  /**
   * Receives under other limits from now on; the layout stays. See
   * `limitDecoder`.
   */
  limit(framing: Framing, guarded = false): void {
    limitDecoder(this.decoder, framing, guarded);
  }

  /** Counts what was sent and received so far. */
  stats(): ConnectionStats {
    return {
      messagesReceived: this.messagesReceived,
      messagesSent: this.outbox.messages,
      bytesReceived: this.bytesReceived,
      bytesSent: this.outbox.bytesWritten,
      bytesQueued: this.outbox.bytesQueued,
    };
  }

  /** See `Connection.send`. */
  send(message: unknown): Promise<void> {
    try {
      this.enqueue(message);
    } catch (error) {
      return unsent(error);
    }
    return this.outbox.room() ?? RESOLVED;
  }

  /** See `Connection.request`. */
  request(message: unknown, options?: RequestOptions): Promise<T> {
    try {
      const limits: RequestLimits = options === undefined
        ? REQUEST_DEFAULTS
        : { ...REQUEST_DEFAULTS, ...readOptions(REQUEST_OPTIONS, options) };
      limits.signal?.throwIfAborted();
      this.inbox.checkRequest();
      if (!this.isReceiving) throw this.noReply("receive reply");
      this.enqueue(message);
      const reply = this.inbox.request(limits);
      if (!this.#hasReadArrivals) this.#readArrivals();
      return reply;
    } catch (error) {
      return unsent(error);
    }
  }

  /**
   * Holds what is sent until all has been read that had arrived at this machine
   * before, as none of it is a reply: until the platform has looked for it, and
   * a read waits for more.
   */
  async #readArrivals(): Promise<void> {
    this.#hasReadArrivals = true;
    this.outbox.hold();
    this.inbox.hold();
    let seen = this.bytesReceived;
    let quiet = 0;
    for (let i = 1; i < LOOKING_ROUNDS || quiet < QUIET_ROUNDS; i++) {
      await nextRound();
      if (!this.isReceiving) break;
      const isReading = this.isListening && this.#share.rest() === undefined;
      quiet = isReading && this.bytesReceived === seen ? quiet + 1 : 0;
      seen = this.bytesReceived;
    }
    this.inbox.release();
    this.outbox.release();
  }

  /**
   * Asks the peer for a sign of life. Whatever it answers is a reply, as to any
   * request, unless something else reads the connection and takes it.
   */
  beat(message: unknown): Promise<unknown> {
    if (this.inbox.isRead) return this.send(message);
    try {
      this.enqueue(message);
      return this.inbox.request(UNLIMITED, true);
    } catch (error) {
      return unsent(error);
    }
  }

  /**
   * Hands every message to `consumer` from now on; it closes the connection in
   * the end.
   *
   * @throws {TypeError} If something else waits for messages.
   */
  consume(consumer: Consumer<T>): void {
    this.inbox.consume(consumer);
    if (this.isReceiving) this.wanted();
    else if (!this.inbox.isBehind) consumer.end(this.received!);
    else this.#catchUp().then(() => consumer.end(this.received!));
  }

  /** Hands out what came before there was a consumer. */
  async #catchUp(): Promise<void> {
    while (this.inbox.isBehind && this.mayHandOut) {
      await this.inbox.catchUp();
      if (this.#share.isSpent(0)) await giveWay();
    }
  }

  /**
   * Reads on while no message is asked for, so that loss and silence are
   * noticed when they happen.
   */
  watch(): void {
    this.inbox.isWatched = true;
    this.wanted();
  }

  /** Reads on, now that a message is asked for. */
  wanted(): void {
    if (this.#isResting) {
      this.#isResting = false;
      if (this.#keepsAlive) this.duplex.ref?.();
    }
    this.#startPump();
  }

  #startPump(): void {
    if (this.#isPumping || !this.#isWanted) return;
    this.#isPumping = true;
    this.pumped = this.#pump();
  }

  get #isWanted(): boolean {
    return this.isReceiving && this.inbox.isWanted;
  }

  /**
   * Reads and hands out messages for as long as more is wanted. Never rejects.
   */
  async #pump(): Promise<void> {
    const { inbox, outbox, settings: { framing: { prefixBytes } } } = this;
    const decoder = this.decoder;
    const share = this.#share;
    try {
      while (this.#isWanted) {
        if (share.isFull) {
          await giveWay();
          continue;
        }
        if (inbox.isBehind) {
          await this.#catchUp();
          continue;
        }
        let start = this.bytesReceived - decoder.size;
        const run = this.#takeRun();
        if (run !== undefined) {
          const { messages, sizes } = run;
          for (let i = 0; i < sizes.length && this.isReceiving; i++) {
            if (inbox.isBehind) {
              await this.#catchUp();
              if (!this.isReceiving) break; // a message ended it
            }
            this.messagesReceived++;
            const wait = inbox.deliver(messages[i], sizes[i], start);
            start += prefixBytes + sizes[i];
            if (wait !== undefined) await wait;
            else if (
              i % REPLY_RUN === REPLY_RUN - 1 && inbox.consumer === undefined
            ) {
              await RESOLVED;
              outbox.hasten();
            }
            if (share.isSpent(sizes[i])) await giveWay();
          }
        } else if (
          !inbox.isAwaited && !inbox.isWatched && !this.#isResting
        ) await this.#rest();
        else {
          this.isListening = true;
          const count = await (share.rest() ??
            this.duplex.read(decoder.reserve()));
          this.isListening = false;
          if (count !== undefined) this.#take(count);
        }
      }
    } catch (cause) {
      const isWhole = isFramingError(cause) ||
        this.screened !== undefined && cause === this.screened;
      this.endReceiving(
        { clean: false, cause },
        isWhole ? "unreadable" : "stopped",
      );
    } finally {
      this.#isPumping = this.#hasReadArrivals = false;
    }
  }

  /** Decodes what has come, if that is a whole frame. */
  #takeRun(): Run<T> | undefined {
    const { size } = this.decoder;
    const run = size > 0 ? takeRun(this.decoder) : undefined;
    if (run !== undefined) {
      if (this.#screen !== undefined) this.#screenFirst(run.messages[0]);
      this.#share.decoded(size - this.decoder.size);
    }
    return run;
  }

  /** Takes what a read gave, or the end of the peer's side. */
  #take(count: number | null): void {
    if (count === null) {
      this.decoder.end();
      this.endReceiving({ clean: true }, "ended");
    } else {
      this.decoder.commit(count);
      this.bytesReceived += count;
      this.#share.read(count);
    }
  }

  #screenFirst(message: Decoded<T>): void {
    const screen = this.#screen;
    this.#screen = undefined;
    if (message instanceof InvalidMessageError) return;
    this.screened = screen?.(message, this);
    if (this.screened !== undefined) throw this.screened;
  }

  /**
   * Lets the process end while no message is asked for, unless what had the
   * last one asks for the next.
   */
  async #rest(): Promise<void> {
    for (let i = 0; i < BACK_WITHIN; i++) {
      await RESOLVED;
      if (this.inbox.isAwaited) return;
    }
    this.#isResting = true;
    this.duplex.unref?.();
  }

  /**
   * Queues a message like `send`, but throws at once if it cannot be sent; gives
   * by how much `bytesQueued` grows. A
   * consumer's answers are complete when it has had its messages; others are
   * `patient`, and wait for more to leave with.
   */
  enqueue(
    message: unknown,
    patient: boolean = this.inbox.consumer === undefined,
  ): number {
    this.checkSending();
    const { bytesQueued } = this.outbox;
    const { maxQueuedBytes } = this.settings;
    if (bytesQueued > maxQueuedBytes) {
      throw new BackpressureError(bytesQueued, maxQueuedBytes);
    }
    return this.outbox.push(message, patient);
  }

  /** The layout and limits of what is sent. */
  get framing(): Framing {
    return this.settings.framing;
  }

  /**
   * Resolves when no more than the high-water mark waits to be written;
   * `undefined` if that is so already.
   */
  room(): Promise<void> | undefined {
    return this.outbox.room();
  }

  /**
   * Keeps the process alive while the connection waits for the peer, as by
   * default.
   */
  ref(): void {
    this.#keepsAlive = true;
    if (!this.#isResting) this.duplex.ref?.();
  }

  /** Lets the process end while the connection waits for the peer. */
  unref(): void {
    this.#keepsAlive = false;
    this.duplex.unref?.();
  }
}
