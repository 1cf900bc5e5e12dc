/**
 * The engine behind a connection: reading, writing, ending.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import {
  type Decoded,
  Decoder,
  FrameTooLargeError,
  FrameTruncatedError,
  type Framing,
  InvalidMessageError,
  type JsonValue,
} from "../framing/framing.ts";
import { arrivalsRead } from "./arrivals.ts";
import { Deadlines } from "./deadlines.ts";
import type { ByteDuplex } from "./duplex.ts";
import { markFailure } from "./failures.ts";
import { type Consumer, Inbox } from "./inbox.ts";
import type { RequestLimits } from "./requests.ts";
import { unsent } from "./unsent.ts";
import { discard, LINGER_QUIET, LINGER_TIMEOUT } from "./linger.ts";
import { Outbox } from "./outbox.ts";
import {
  type Address,
  BackpressureError,
  ConnectionClosedError,
  type ConnectionEnd,
  type ConnectionStats,
  REQUEST_DEFAULTS,
  REQUEST_OPTIONS,
  type RequestOptions,
  type Settings,
  type TlsInfo,
} from "./options.ts";
import { endReason } from "./reason.ts";
import { addressText } from "../tools/address.ts";
import { readOptions } from "../tools/options.ts";
import { quiet } from "../tools/quiet.ts";
import { callHook } from "../tools/report.ts";
import { startTimer } from "../tools/timer.ts";
import { BACK_WITHIN, giveWay, REPLY_RUN, Share } from "../tools/schedule.ts";
import type { Tickers } from "../tools/ticker.ts";

/** What only the maker of a link knows. */
export interface LinkInfo<T = JsonValue> {
  /** Where this end is. */
  localAddr?: Address;
  /** Where the peer is. */
  remoteAddr?: Address;
  /** What errors call the peer, in place of where it is. */
  peerName?: string;
  /** What TLS found out about the link and the peer. */
  tls?: TlsInfo;
  /**
   * Whether a write of no bytes puts nothing on the wire, and fails once the
   * peer has reset the link, as that of a TCP socket does.
   */
  canProbe?: boolean;
  /** Called once, when the link has ended: cheaper than `closed`. */
  onEnd?: (end: ConnectionEnd) => void;
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
export class Link<T = JsonValue> {
  /** Where this end is, where that is known. */
  readonly localAddr: Address | undefined;
  /** Where the peer is, where that is known. */
  readonly remoteAddr: Address | undefined;
  /** Who the peer is, if that was asked for. */
  identity: unknown;
  /** What TLS found out. */
  readonly tls: TlsInfo | undefined;

  readonly #duplex: ByteDuplex;
  readonly #decoder: Decoder<T>;
  readonly #outbox: Outbox;
  readonly #settings: Settings;
  readonly #onEnd: LinkInfo<T>["onEnd"];
  readonly #share = new Share();
  readonly #peerName: string | undefined;
  #closed: PromiseWithResolvers<ConnectionEnd> | undefined;
  #end: ConnectionEnd | undefined;
  #closing = RESOLVED;
  #closingWrite: Promise<void> | undefined;
  #closingFor: ConnectionEnd | undefined;
  #closedAs: string | undefined;
  #abortController: AbortController | undefined;

  /** Until the first message has come, and what was found then. */
  #screen: Screen<T> | undefined;
  #screened: Error | undefined;
  #pumping = false;
  /** Whether a request finds all read that had arrived before. */
  #hasReadArrivals = false;
  /** Whether it is the peer's turn: a read is pending. */
  #reading = false;
  #peerEnded = false;
  /** Whether it was drained in the midst of something. */
  #drainedBusy = false;
  #lingering = false;
  /** Who reads, and what nobody has read yet. */
  readonly #inbox = new Inbox<T>(this);
  /** Whether the process does not wait for a read that nobody waits for. */
  #isResting = false;
  #keepsAlive = true;
  #over: PromiseWithResolvers<void> | undefined;
  /** How receiving ended; an end without a cause is one that was wanted. */
  #received: ConnectionEnd | undefined;

  #sealed = false;
  #writeEnded = false;
  #aborted = false;

  /** Whether the peer has answered a request or a call, and so serves. */
  hasAnswered = false;
  #messagesReceived = 0;
  #bytesReceived = 0;
  readonly #deadlines: Deadlines | undefined;

  /** Takes the bytes over. Nothing is read before somebody waits for a message. */
  constructor(duplex: ByteDuplex, settings: Settings, info: LinkInfo<T> = {}) {
    this.#duplex = duplex;
    this.#decoder = new Decoder(settings.framing);
    this.#outbox = new Outbox(
      duplex,
      settings.framing,
      settings.highWaterMark,
      this,
    );
    this.#settings = settings;
    this.localAddr = info.localAddr;
    this.remoteAddr = info.remoteAddr;
    this.#peerName = info.peerName;
    this.tls = info.tls;
    this.#onEnd = info.onEnd;
    this.#screen = info.screen;
    const { ticker } = settings;
    if (ticker !== undefined) {
      const parts = {
        duplex,
        settings,
        inbox: this.#inbox,
        outbox: this.#outbox,
      };
      this.#deadlines = new Deadlines(
        this,
        parts,
        ticker,
        info.canProbe === true,
      );
    }
  }

  /**
   * Receives under other limits from now on; the layout stays. See
   * `Decoder.limit`.
   */
  limit(framing: Framing, guarded = false): void {
    this.#decoder.limit(framing, guarded);
  }

  /**
   * Resolves when the connection has ended, whatever the reason; never rejects.
   */
  get closed(): Promise<ConnectionEnd> {
    if (this.#closed === undefined) {
      this.#closed = Promise.withResolvers();
      if (this.#end !== undefined) this.#closed.resolve(this.#end);
    }
    return this.#closed.promise;
  }

  /**
   * Aborted when the connection has ended, with a
   * {@linkcode ConnectionClosedError} as its reason.
   */
  get signal(): AbortSignal {
    if (this.#abortController === undefined) {
      this.#abortController = new AbortController();
      if (this.#end !== undefined) {
        this.#abortController.abort(this.gone("go on"));
      }
    }
    return this.#abortController.signal;
  }

  /**
   * Whether no reply can come any more, although the connection may not have
   * ended yet.
   */
  get isOver(): boolean {
    return this.#received !== undefined || this.#sealed;
  }

  /** Whether the peer has ended its side between two frames. */
  get hasPeerEnded(): boolean {
    return this.#peerEnded;
  }

  /** Whether nothing more may be sent. */
  get isSealed(): boolean {
    return this.#sealed;
  }

  /** Whole frames received. */
  get messagesReceived(): number {
    return this.#messagesReceived;
  }

  /** Bytes that have come of a frame that is not whole. */
  get bytesOfFrame(): number {
    return this.#decoder.size;
  }

  /** The tickers of deadlines. */
  get tickers(): Tickers {
    return this.#settings.tickers;
  }

  /** Whether messages may still come. */
  get isReceiving(): boolean {
    return this.#received === undefined;
  }

  /** Whether the connection has ended. */
  get isEnded(): boolean {
    return this.#end !== undefined;
  }

  /** What went over the connection so far. */
  get stats(): ConnectionStats {
    return {
      messagesReceived: this.#messagesReceived,
      messagesSent: this.#outbox.messages,
      bytesReceived: this.#bytesReceived,
      bytesSent: this.#outbox.bytesWritten,
      bytesQueued: this.#outbox.bytesQueued,
    };
  }

  /**
   * Sends a message. Its JSON text is made at once: what happens to the value
   * afterwards does not matter. Messages sent in one turn of the event loop
   * leave together.
   *
   * @returns A promise that resolves when the message was handed to the
   * platform, or when no more than the high-water mark waits; that the peer has
   * it, only a reply can tell. It need not be awaited; who does not, does not
   * learn of what was not sent.
   * @throws {InvalidMessageError} If JSON cannot carry the value. Nothing is
   * sent, and the connection can go on.
   * @throws {FrameTooLargeError} If the payload is larger than the limit.
   * Nothing is sent, and the connection can go on.
   * @throws {BackpressureError} If more than `maxQueuedBytes` wait already.
   * Nothing is sent, and the connection can go on.
   * @throws {ConnectionClosedError} If the connection has ended, or ends before
   * the message is handed over.
   */
  send(message: unknown): Promise<void> {
    try {
      this.enqueue(message);
    } catch (error) {
      return unsent(error);
    }
    return this.#outbox.room() ?? RESOLVED;
  }

  /**
   * Sends a message and waits for its reply: the replies come in the order of
   * the requests. Many requests may wait.
   *
   * A message that was read before the request is not its reply. A connection
   * that reads nothing yet first reads what has arrived, so that a greeting that
   * is there is no reply either; that takes less than a millisecond, once. A
   * message that the peer sends on its own and that comes later cannot be told
   * from the reply. Where the peer sends on its own, iterate, or use `rpc`.
   *
   * A request that is given up, by its signal or its timeout, rejects alone; its
   * reply is thrown away when it comes. If it is still missing a whole `timeout`
   * later, the connection ends: the next reply would be taken for it.
   *
   * @throws {InvalidMessageError} If JSON cannot carry the message, or the
   * reply's payload is not UTF-8 or not JSON.
   * @throws {FrameTooLargeError} If the message's payload is larger than the
   * limit.
   * @throws {BackpressureError} If more than `maxQueuedBytes` wait already, or
   * 65 536 requests.
   * @throws {ConnectionClosedError} If the connection ends before the reply has
   * come.
   * @throws {DOMException} With the name `TimeoutError`, if the reply does not
   * come within `timeout` milliseconds.
   * @throws {TypeError} If something else reads the connection, an option does
   * not exist or has the wrong type.
   */
  request(message: unknown, options?: RequestOptions): Promise<T> {
    try {
      const limits: RequestLimits = options === undefined
        ? REQUEST_DEFAULTS
        : { ...REQUEST_DEFAULTS, ...readOptions(REQUEST_OPTIONS, options) };
      limits.signal?.throwIfAborted();
      this.#inbox.checkRequest();
      if (this.#received !== undefined) throw this.noReply("receive reply");
      this.enqueue(message);
      const reply = this.#inbox.request(limits);
      if (!this.#hasReadArrivals) this.#readArrivals();
      return reply;
    } catch (error) {
      return unsent(error);
    }
  }

  /**
   * Holds what is sent until all has been read that had arrived before: none of
   * it is a reply.
   */
  async #readArrivals(): Promise<void> {
    this.#hasReadArrivals = true;
    this.#outbox.hold();
    this.#inbox.hold();
    await arrivalsRead(this);
    this.#inbox.release();
    this.#outbox.release();
  }

  /**
   * Asks the peer for a sign of life. Whatever it answers is a reply, as to any
   * request, unless something else reads the connection and takes it.
   */
  beat(message: unknown): Promise<unknown> {
    if (this.#inbox.isRead) return this.send(message);
    try {
      this.enqueue(message);
      return this.#inbox.request(UNLIMITED, true);
    } catch (error) {
      return unsent(error);
    }
  }

  /**
   * An iteration over the messages, which begins at once; nothing is read before
   * the first message is asked for.
   *
   * @throws {TypeError} If something else reads the connection.
   */
  iterate(): AsyncIterator<T, undefined> {
    return this.#inbox.iterate();
  }

  /**
   * Hands every message to `consumer` from now on; it closes the connection in
   * the end.
   *
   * @throws {TypeError} If something else waits for messages.
   */
  consume(consumer: Consumer<T>): void {
    this.#inbox.consume(consumer);
    if (this.#received === undefined) this.wanted();
    else if (!this.#inbox.isBehind) consumer.end(this.#received);
    else this.#catchUp().then(() => consumer.end(this.#received!));
  }

  /** Hands out what came before there was a consumer. */
  async #catchUp(): Promise<void> {
    while (this.#inbox.isBehind && this.#mayHandOut) {
      await this.#inbox.catchUp();
      if (this.#share.isSpent(0)) await giveWay();
    }
  }

  /** Whether what has come is still to be handed out: all but its end has. */
  get #mayHandOut(): boolean {
    return this.#closingFor === undefined && this.#end === undefined &&
      (this.#received === undefined || this.#peerEnded);
  }

  /**
   * Reads on while nobody waits, so that loss and silence are noticed when they
   * happen.
   */
  watch(): void {
    this.#inbox.isWatched = true;
    this.wanted();
  }

  /**
   * Resolves when no more messages will come; the connection may still send.
   */
  get over(): Promise<void> {
    this.#over ??= Promise.withResolvers();
    if (this.isOver) this.#over.resolve();
    return this.#over.promise;
  }

  /**
   * Lets the consumer finish what it has begun, if it knows how to; receives no
   * more otherwise, while sending goes on.
   */
  drain(): void {
    const { consumer } = this.#inbox;
    this.#drainedBusy = !this.#reading || this.#decoder.size > 0 ||
      this.#outbox.bytesQueued > 0 || consumer?.size !== 0;
    if (consumer?.drain !== undefined) consumer.drain();
    else this.#endReceiving({ clean: true });
  }

  /** Bytes received so far. */
  get bytesReceived(): number {
    return this.#bytesReceived;
  }

  /** Reads on, now that somebody waits for a message. */
  wanted(): void {
    if (this.#isResting) {
      this.#isResting = false;
      if (this.#keepsAlive) this.#duplex.ref?.();
    }
    this.#startPump();
  }

  /** Ends the connection, as what comes cannot be handed out. */
  unreadable(cause: unknown): void {
    this.#close({ clean: false, cause });
  }

  #startPump(): void {
    if (this.#pumping || !this.#isWanted) return;
    this.#pumping = true;
    this.#pump();
  }

  get #isWanted(): boolean {
    return this.#received === undefined && this.#inbox.isWanted;
  }

  /**
   * Reads and hands out messages for as long as more is wanted. Never rejects.
   */
  async #pump(): Promise<void> {
    const { prefixBytes } = this.#settings.framing;
    const share = this.#share;
    try {
      while (this.#isWanted) {
        if (share.isFull) {
          await giveWay();
          continue;
        }
        if (this.#inbox.isBehind) {
          await this.#catchUp();
          continue;
        }
        const { size } = this.#decoder;
        const run = size > 0 ? this.#decoder.take() : undefined;
        if (run !== undefined) {
          const { messages, sizes } = run;
          if (this.#screen !== undefined) this.#screenFirst(messages[0]);
          let start = this.#bytesReceived - size;
          share.decoded(size - this.#decoder.size);
          for (
            let i = 0;
            i < sizes.length && this.#received === undefined;
            i++
          ) {
            if (this.#inbox.isBehind) {
              await this.#catchUp();
              if (this.#received !== undefined) break; // a message ended it
            }
            this.#messagesReceived++;
            const wait = this.#inbox.deliver(messages[i], sizes[i], start);
            start += prefixBytes + sizes[i];
            if (wait !== undefined) await wait;
            else if (
              i % REPLY_RUN === REPLY_RUN - 1 &&
              this.#inbox.consumer === undefined
            ) {
              await RESOLVED;
              this.#outbox.hasten();
            }
            if (share.isSpent(sizes[i])) await giveWay();
          }
          continue;
        }
        if (
          !this.#inbox.isAwaited && !this.#inbox.isWatched && !this.#isResting
        ) {
          await this.#rest();
          continue;
        }
        this.#reading = true;
        const count = await this.#duplex.read(this.#decoder.reserve());
        this.#reading = false;
        if (count === null) {
          this.#peerEnded = true;
          this.#decoder.end();
          this.#endReceiving({ clean: true });
        } else {
          this.#decoder.commit(count);
          this.#bytesReceived += count;
          share.read(count);
        }
      }
    } catch (cause) {
      this.#endReceiving({ clean: false, cause });
    } finally {
      this.#pumping = this.#hasReadArrivals = false;
    }
    if (this.#lingering) this.#discard();
  }

  /** Whether nothing more can be received, but the other direction is whole. */
  #isHalfBroken(end: ConnectionEnd | undefined): boolean {
    return end !== undefined && (isFramingError(end.cause) ||
      this.#screened !== undefined && end.cause === this.#screened);
  }

  #screenFirst(message: Decoded<T>): void {
    const screen = this.#screen;
    this.#screen = undefined;
    if (message instanceof InvalidMessageError) return;
    this.#screened = screen?.(message, this);
    if (this.#screened !== undefined) throw this.#screened;
  }

  /** Throws away what the peer still sends, and shuts. */
  async #discard(): Promise<void> {
    if (this.#pumping || this.#end !== undefined) return;
    this.#pumping = true;
    const end = this.#closingFor ?? { clean: true };
    await discard(
      this.#duplex,
      !end.clean ? LINGER_TIMEOUT : this.#mayLose ? LINGER_QUIET : "rounds",
    );
    this.#shut(end);
  }

  /**
   * Lets the process end while nobody waits for a message, unless whoever had
   * the last one asks for the next.
   */
  async #rest(): Promise<void> {
    for (let i = 0; i < BACK_WITHIN; i++) {
      await RESOLVED;
      if (this.#inbox.isAwaited) return;
    }
    this.#isResting = true;
    this.#duplex.unref?.();
  }

  /**
   * Receives no more, for the reason given, and tells all who wait for a
   * message.
   */
  #endReceiving(end: ConnectionEnd): void {
    if (this.#received !== undefined) return;
    this.#received = end;
    const { consumer } = this.#inbox;
    this.#inbox.end(this.#failure(end), this.noReply("receive reply"));
    this.#over?.resolve();
    if (this.#isHalfBroken(end)) {
      // The other direction is whole: what was sent before still leaves, a
      // consumer may have replies to come, and who hears of the error may send
      // a last message at once.
      if (consumer === undefined) setImmediate(() => this.#close(end));
    } else if (
      !end.clean && this.#closingFor === undefined || this.#writeEnded
    ) {
      this.#shut(this.#closingFor ?? end);
    } else if (
      !this.#inbox.isRead && !(this.#peerEnded && this.#inbox.hasUnclaimed)
    ) {
      // No reply comes any more, nobody is at work for the peer, and nothing is
      // left that could be answered.
      this.#close(end);
    }
    consumer?.end(end);
  }

  /** What an iteration throws at the end of receiving, if anything. */
  #failure(end: ConnectionEnd): unknown {
    if (end.clean) return undefined;
    return this.#isHalfBroken(end)
      ? this.#own(end.cause as Error)
      : this.gone("receive message");
  }

  /**
   * Queues a message like `send`, but throws at once if it cannot be sent. A
   * consumer's answers are complete when it has had its messages; others are
   * `patient`, and wait for more to leave with.
   */
  enqueue(
    message: unknown,
    patient: boolean = this.#inbox.consumer === undefined,
  ): void {
    if (this.#sealed) {
      if (!this.#isHalfClosed) throw this.gone("send message");
      throw new ConnectionClosedError(
        "Cannot send message: closeWrite was called",
        { clean: true },
      );
    }
    const { bytesQueued } = this.#outbox;
    const { maxQueuedBytes } = this.#settings;
    if (bytesQueued > maxQueuedBytes) {
      throw new BackpressureError(bytesQueued, maxQueuedBytes);
    }
    this.#outbox.push(message, patient);
  }

  /** Whether only the sending side is closed. */
  get #isHalfClosed(): boolean {
    return this.#closingWrite !== undefined && this.#end === undefined &&
      this.#closingFor === undefined;
  }

  /** Whether a read is pending: the next bytes are up to the peer. */
  get isListening(): boolean {
    return this.#reading;
  }

  /** Gives the size of a message in bytes; throws where it cannot be sent. */
  measure(message: unknown): number {
    return this.#outbox.measure(message);
  }

  /** Sends nothing any more that is nested deeper than `maxDepth`. */
  limitDepth(): void {
    this.#outbox.limitDepth();
  }

  /** The layout and limits of what is sent. */
  get framing(): Framing {
    return this.#settings.framing;
  }

  /** Milliseconds after which a quiet peer is given up. */
  get idleTimeout(): number {
    return this.#settings.idleTimeout;
  }

  /**
   * Resolves when no more than the high-water mark waits to be written;
   * `undefined` if that is so already.
   */
  room(): Promise<void> | undefined {
    return this.#outbox.room();
  }

  /**
   * Ends the sending side once everything sent before has left; messages are
   * received until the peer ends its side, too. It may be called more than once.
   *
   * @throws {ConnectionClosedError} If the connection ends before.
   * @throws {TypeError} If the stream of bytes cannot be closed one way only.
   */
  closeWrite(): Promise<void> {
    if (this.#duplex.closeWrite === undefined) {
      return Promise.reject(
        new TypeError(
          "Cannot close the sending side: the stream of bytes has no closeWrite",
        ),
      );
    }
    return this.#closingWrite ??= quiet(this.#closeWrite());
  }

  async #closeWrite(): Promise<void> {
    if (this.#end !== undefined) throw this.gone("close the sending side");
    // Closing ends the sending side, too.
    if (this.#sealed) return await this.#closing;
    this.#sealed = true;
    await this.#outbox.room(0);
    await this.#duplex.closeWrite?.();
    this.#writeEnded = true;
    if (this.#received !== undefined) this.#shut(this.#received);
  }

  /**
   * Closes the connection once everything sent before has left, or when the
   * peer takes nothing of it for `writeTimeout`. It may be called at any time
   * and more than once. Iterations end quietly, requests without a reply
   * reject.
   *
   * @param why The reason that errors give who sends afterwards.
   */
  close(why?: string): Promise<void> {
    const end = this.#received;
    if (this.#closingFor === undefined) this.#closedAs = why;
    return this.#close(this.#isHalfBroken(end) ? end! : { clean: true });
  }

  /** Closes like `close`, for a reason that `closed` tells. */
  closeFor(end: ConnectionEnd): void {
    this.#close(end);
  }

  #close(end: ConnectionEnd): Promise<void> {
    if (this.#closingFor === undefined) {
      this.#closingFor = end;
      this.#closing = this.#flushAndShut(end);
    }
    return this.#closing;
  }

  async #flushAndShut(end: ConnectionEnd): Promise<void> {
    if (this.#end !== undefined) return;
    this.#sealed = true;
    this.#endReceiving(end);
    try {
      await this.#outbox.room(0);
      // A read that is pending has left nothing unread.
      const isRead = this.#peerEnded || this.#reading && !this.#mayLose;
      if (!end.clean || !isRead) await this.#linger();
      this.#shut(end);
    } catch {
      // The link broke or was aborted meanwhile, and `closed` tells.
    }
  }

  /**
   * Whether the peer may not have received what was sent: not everything is
   * answered, or a server shuts down in the midst of something.
   */
  get #mayLose(): boolean {
    return this.#drainedBusy || this.#outbox.messages > this.#messagesReceived;
  }

  /**
   * Ends the sending side and throws away what is unread, and what still comes
   * unless the connection came to a clean end.
   */
  async #linger(): Promise<void> {
    if (this.#duplex.closeWrite === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const stopTimer = startTimer(
      this.#closingFor?.clean && this.#reading ? LINGER_QUIET : LINGER_TIMEOUT,
      resolve,
    );
    this.closed.then(() => resolve());
    this.#lingering = true;
    const ending = this.#writeEnded
      ? Promise.resolve()
      : this.#duplex.closeWrite();
    // A read that is pending has to come back first.
    ending.then(() => this.#discard(), resolve);
    await promise;
    stopTimer();
  }

  /**
   * Closes the connection at once: what was sent and has not left yet is
   * dropped. Everything that waits rejects.
   *
   * @param reason Why; the cause of the errors that follow from it.
   */
  abort(reason?: unknown): void {
    if (this.#end !== undefined) return;
    this.#aborted = true;
    this.#shut({
      clean: false,
      cause: reason ??
        new DOMException("The connection was aborted", "AbortError"),
    });
  }

  /** Ends the connection for a write that failed. */
  writeFailed(cause: unknown): void {
    this.#shut({ clean: false, cause });
  }

  /** The end: frees the descriptor and tells everybody. */
  #shut(end: ConnectionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#sealed = true;
    this.#deadlines?.stop();
    try {
      this.#duplex.close();
    } catch {
      // The platform closed it already.
    }
    this.#endReceiving(end);
    const gone = this.gone("go on");
    this.#outbox.stop(gone);
    this.#abortController?.abort(gone);
    this.#closed?.resolve(end);
    callHook(this.#onEnd, end);
  }

  /**
   * The error of a request that gets no reply: where the server wants a login,
   * it says so.
   */
  noReply(failed: string): Error {
    return this.#screened ?? this.gone(failed);
  }

  /** The error for whoever comes too late, or waited in vain. */
  gone(failed: string): ConnectionClosedError {
    const end = this.#end ?? this.#received ?? { clean: true };
    const peer = this.#peer;
    const reason = end.clean && this.#closedAs ||
      endReason(end, peer, this.#aborted);
    return this.#own(
      new ConnectionClosedError(`Cannot ${failed}: ${reason}`, end),
    );
  }

  get #peer(): string | undefined {
    const address = this.remoteAddr;
    if (this.#peerName !== undefined || address === undefined) {
      return this.#peerName;
    }
    // A client of a Unix socket has no path.
    return "path" in address && address.path === ""
      ? undefined
      : addressText(address);
  }

  /** What errors call the peer. */
  get peerName(): string {
    return this.#peer ?? "the peer";
  }

  /** Marks an error as a failure of this link, not of who meets it. */
  #own<E extends Error>(error: E): E {
    markFailure(error, this);
    return error;
  }

  /**
   * Makes the connection keep the process alive while it waits for the peer, as
   * it does by default.
   */
  ref(): void {
    this.#keepsAlive = true;
    if (!this.#isResting) this.#duplex.ref?.();
  }

  /** Lets the process end although the connection waits for the peer. */
  unref(): void {
    this.#keepsAlive = false;
    this.#duplex.unref?.();
  }
}
