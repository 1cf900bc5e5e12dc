/**
 * How a link ends.
 *
 * ```
 * receiving   open ──────────── EOF, error, drain ──────────▶ ended
 * sending     open ── closeWrite, close ──▶ sealed ── queue empty ──▶ ended
 * link        open ── close ──▶ flushing ── queue empty ──▶ lingering ─▶ closed
 *                  └─ abort, write error, broken read: from any state to closed
 * ```
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { FrameDecoder } from "../framing/framing.ts";
import { addressText } from "../tools/address.ts";
import { quiet } from "../tools/promises.ts";
import { callHook, guard } from "../tools/report.ts";
import type { ByteDuplex } from "./duplex.ts";
import { markFailure } from "./failures.ts";
import { Inbox } from "./inbox.ts";
import { linger, LINGER_QUIET, LINGER_TIMEOUT } from "./linger.ts";
import {
  type Address,
  ConnectionClosedError,
  type ConnectionEnd,
  type Settings,
} from "./options.ts";
import { Outbox } from "./outbox.ts";
import { endReason } from "./reason.ts";

/**
 * `ended` by the peer between two frames; `unreadable` while the other direction
 * is whole; `stopped` as the link closes or drains.
 */
type Receiving = "open" | "ended" | "unreadable" | "stopped";

/** What the end of a link has to know of it. */
export interface ClosingInfo {
  /** Address of the peer. */
  remoteAddr?: Address;
  /** What errors call the peer, in place of where it is. */
  peerName?: string;
  /**
   * Whether a write of no bytes puts nothing on the wire, and fails once the
   * peer has reset the link, as that of a TCP socket does.
   */
  canProbe?: boolean;
  /** Called once, when the link has ended: cheaper than `closed`. */
  onEnd?: (end: ConnectionEnd) => void;
}

/** What a link is made of, and the states in which it ends. */
export abstract class Closing<T> {
  /** Address of the peer, if it is known. */
  readonly remoteAddr: Address | undefined;
  /** The bytes, whose end is here alone. */
  readonly duplex: ByteDuplex;
  /** Framing and limits. */
  readonly settings: Settings;
  /** What reads, and the messages that were not read yet. */
  readonly inbox: Inbox<T>;
  /** What is sent. */
  readonly outbox: Outbox;
  /** What has come of a frame that is not whole. */
  readonly decoder: FrameDecoder<T>;
  /** Whole frames received. */
  messagesReceived = 0;
  /** Bytes received so far. */
  bytesReceived = 0;
  /** Whether a read is pending: the next bytes are up to the peer. */
  isListening = false;
  /** Resolves when nothing is read; `undefined` if nothing was yet. */
  protected pumped: Promise<void> | undefined;
  /** What ticks until the link ends. */
  protected deadlines: { stop(): void } | undefined;
  /** What is wrong with the first message of the peer. */
  protected screened: Error | undefined;
  /** Whether the peer has answered a request or a call, and so serves. */
  hasAnswered = false;

  readonly #peerName: string | undefined;
  readonly #onEnd: ClosingInfo["onEnd"];
  #receiving: Receiving = "open";
  #sending: "open" | "sealed" | "ended" = "open";
  #state: "open" | "flushing" | "lingering" | "closed" = "open";
  /** How receiving ended; an end without a cause is one that was wanted. */
  #received: ConnectionEnd | undefined;
  /** How the link ends, once it is not open. */
  #end: ConnectionEnd | undefined;
  #wasAborted = false;
  /** What errors say of a clean end. */
  #closedAs: string | undefined;
  /** Whether it was drained in the midst of something. */
  #drainedBusy = false;
  #closing: Promise<void> | undefined;
  #closingWrite: Promise<void> | undefined;
  /** The end of the sending side below, once it has begun. */
  #endingBytes: Promise<void> | undefined;
  #closed: PromiseWithResolvers<ConnectionEnd> | undefined;
  #over: PromiseWithResolvers<void> | undefined;
  #abortController: AbortController | undefined;

  /** Takes the bytes over. */
  constructor(duplex: ByteDuplex, settings: Settings, info: ClosingInfo) {
    this.duplex = duplex;
    this.settings = settings;
    this.inbox = new Inbox(this);
    this.decoder = new FrameDecoder(settings.framing);
    this.outbox = new Outbox(
      duplex,
      settings,
      (cause) => this.writeFailed(cause),
    );
    this.remoteAddr = info.remoteAddr;
    this.#peerName = info.peerName;
    this.#onEnd = info.onEnd;
  }

  /** Reads on, now that a message is asked for. */
  abstract wanted(): void;

  /** Resolves when the link has ended, whatever the reason; never rejects. */
  get closed(): Promise<ConnectionEnd> {
    if (this.#closed === undefined) {
      this.#closed = Promise.withResolvers();
      if (this.isEnded) this.#closed.resolve(this.#end!);
    }
    return this.#closed.promise;
  }

  /** Aborted when the link has ended. */
  get signal(): AbortSignal {
    if (this.#abortController === undefined) {
      this.#abortController = new AbortController();
      if (this.isEnded) this.#abortController.abort(this.gone("go on"));
    }
    return this.#abortController.signal;
  }

  /** Resolves when no more messages will come; the link may still send. */
  get over(): Promise<void> {
    this.#over ??= Promise.withResolvers();
    if (this.isOver) this.#over.resolve();
    return this.#over.promise;
  }

  /** Whether no reply can come any more, although the link may not have ended. */
  get isOver(): boolean {
    return !this.isReceiving || this.isSealed;
  }

  /** Whether messages may still come. */
  get isReceiving(): boolean {
    return this.#receiving === "open";
  }

  /** Whether the peer has ended its side between two frames. */
  get hasPeerEnded(): boolean {
    return this.#receiving === "ended";
  }

  /** Whether nothing more may be sent. */
  get isSealed(): boolean {
    return this.#sending !== "open";
  }

  /** Whether the link has ended. */
  get isEnded(): boolean {
    return this.#state === "closed";
  }

  /** Whether what has come is still to be handed out: all but its end has. */
  protected get mayHandOut(): boolean {
    return this.#state === "open" && this.#receiving !== "stopped";
  }

  /** How receiving ended, once it has. */
  protected get received(): ConnectionEnd | undefined {
    return this.#received;
  }

  /** Receives no more, and rejects all that wait for a message. */
  protected endReceiving(
    end: ConnectionEnd,
    how: Exclude<Receiving, "open"> = "stopped",
  ): void {
    if (this.#receiving !== "open") {
      if (how === "ended") this.#receiving = how;
      return;
    }
    this.#receiving = how;
    this.#received = end;
    const { inbox, inbox: { consumer } } = this;
    inbox.end(this.#failure(end), this.noReply("receive reply"));
    this.#over?.resolve();
    if (how === "unreadable") {
      // The other direction is whole: what was sent before still leaves, a
      // consumer may have replies to come, and code that hears of the error may
      // send a last message at once.
      if (consumer === undefined) setImmediate(() => this.closeFor(end));
    } else if (
      this.#state === "open" &&
      (!end.clean || how === "ended" && this.#sending === "ended")
    ) {
      this.#shut(end);
    } else if (
      this.#sending === "ended" ||
      !inbox.isRead && !(how === "ended" && inbox.hasUnclaimed)
    ) {
      // No reply comes any more, nothing is at work for the peer, and nothing
      // is left that could be answered; or it could not be sent.
      this.closeFor(end);
    }
    consumer?.end(end);
  }

  /** What an iteration throws at the end of receiving, if anything. */
  #failure(end: ConnectionEnd): unknown {
    if (end.clean) return undefined;
    return this.#receiving === "unreadable"
      ? this.#own(end.cause as Error)
      : this.gone("receive message");
  }

  /**
   * Lets the consumer finish what it has begun, if it knows how to; receives no
   * more otherwise, while sending goes on.
   */
  drain(): void {
    const { consumer } = this.inbox;
    this.#drainedBusy = !this.isListening || this.decoder.size > 0 ||
      this.outbox.bytesQueued > 0 || consumer?.size !== 0;
    if (consumer?.drain !== undefined) consumer.drain();
    else this.endReceiving({ clean: true });
  }

  /** See `Connection.closeWrite`. */
  closeWrite(): Promise<void> {
    if (this.duplex.closeWrite === undefined) {
      return Promise.reject(
        new TypeError(
          "Cannot close the sending side: the stream of bytes has no closeWrite",
        ),
      );
    }
    return this.#closingWrite ??= quiet(this.#endSending());
  }

  async #endSending(): Promise<void> {
    if (this.isEnded) throw this.gone("close the sending side");
    // Closing ends the sending side, too.
    if (this.isSealed) return await this.close();
    this.#sending = "sealed";
    await this.outbox.room(0);
    try {
      if (this.#closing === undefined) await this.#endBytes();
    } catch (cause) {
      if (this.#closing === undefined) {
        // Nothing can be sent any more, and the peer does not know.
        this.writeFailed(cause);
        throw this.gone("close the sending side");
      }
    }
    // It was called meanwhile, and throws away first what is unread.
    if (this.#closing !== undefined) return await this.#closing;
    this.#sending = "ended";
    if (this.hasPeerEnded) this.#shut(this.#received!);
    else if (this.#received !== undefined) this.closeFor(this.#received);
  }

  /** Ends the sending side of the bytes, once. */
  #endBytes(): Promise<void> {
    return this.#endingBytes ??= this.#endBytesOnce();
  }

  async #endBytesOnce(): Promise<void> {
    await this.duplex.closeWrite?.();
  }

  /** Throws where nothing more may be sent. */
  protected checkSending(): void {
    if (!this.isSealed) return;
    if (this.#state !== "open") throw this.gone("send message");
    throw new ConnectionClosedError(
      "Cannot send message: closeWrite was called",
      { clean: true },
    );
  }

  /**
   * See `Connection.close`.
   *
   * @param why The reason in the errors of later calls of `send`.
   */
  close(why?: string): Promise<void> {
    if (this.#state === "open") this.#closedAs = why;
    return this.#close(
      this.#receiving === "unreadable" ? this.#received! : { clean: true },
    );
  }

  /** Closes like `close`, for a reason that `closed` tells. */
  closeFor(end: ConnectionEnd): void {
    this.#close(end);
  }

  #close(end: ConnectionEnd): Promise<void> {
    if (this.isEnded) return this.#closing ?? Promise.resolve();
    if (this.#state !== "open") {
      // What is told as it begins may close, too.
      return this.#closing ?? this.closed.then(() => {});
    }
    this.#state = "flushing";
    this.#end = end;
    return this.#closing = this.#flush(end);
  }

  async #flush(end: ConnectionEnd): Promise<void> {
    if (!this.isSealed) this.#sending = "sealed";
    this.endReceiving(end);
    try {
      await this.outbox.room(0);
    } catch {
      // The link broke or was aborted meanwhile, and `closed` tells.
    }
    if (this.isEnded) return;
    const { hasPeerEnded, isListening, duplex, pumped, closed } = this;
    const mayLose = this.#mayLose;
    // A read that is pending has left nothing unread.
    const isRead = hasPeerEnded || isListening && !mayLose;
    if (!end.clean || !isRead) {
      this.#state = "lingering";
      await linger(duplex, {
        endWriting: () => this.#endBytes(),
        pumped,
        closed,
        most: end.clean && isListening ? LINGER_QUIET : LINGER_TIMEOUT,
        patience: !end.clean
          ? LINGER_TIMEOUT
          : mayLose
          ? LINGER_QUIET
          : "rounds",
      });
    }
    this.#shut(end);
  }

  /**
   * Whether the peer may not have received what was sent: not everything is
   * answered, or a server shuts down in the midst of something.
   */
  get #mayLose(): boolean {
    return this.#drainedBusy || this.outbox.messages > this.messagesReceived;
  }

  /** See `Connection.abort`. */
  abort(reason?: unknown): void {
    if (this.isEnded) return;
    this.#wasAborted = true;
    this.writeFailed(
      reason ?? new DOMException("The connection was aborted", "AbortError"),
    );
  }

  /** Ends the link for a write that failed. */
  writeFailed(cause: unknown): void {
    this.#shut({ clean: false, cause });
  }

  /** The end: frees the descriptor and tells everybody. */
  #shut(end: ConnectionEnd): void {
    if (this.isEnded) return;
    this.#state = "closed";
    this.#end = end;
    if (!this.isSealed) this.#sending = "sealed";
    this.deadlines?.stop();
    // One that fails was closed already.
    guard(() => this.duplex.close(), () => {});
    this.endReceiving(end);
    const gone = this.gone("go on");
    this.outbox.stop(gone);
    this.#abortController?.abort(gone);
    this.#closed?.resolve(end);
    callHook(this.#onEnd, end);
  }

  /**
   * The error of a request that gets no reply: where the server wants a login,
   * it says so.
   */
  noReply(failed: string): Error {
    return this.screened ?? this.gone(failed);
  }

  /** The error for calls that come too late, and for what waited. */
  gone(failed: string): ConnectionClosedError {
    const end = (this.isEnded ? this.#end : this.#received) ?? { clean: true };
    const reason = end.clean && this.#closedAs ||
      endReason(end, this.#peer, this.#wasAborted);
    return this.#own(
      new ConnectionClosedError(`Cannot ${failed}: ${reason}`, end),
    );
  }

  get #peer(): string | undefined {
    const { remoteAddr } = this;
    // A client of a Unix socket has no path.
    const isNameless = remoteAddr === undefined ||
      "path" in remoteAddr && remoteAddr.path === "";
    return this.#peerName ?? (isNameless ? undefined : addressText(remoteAddr));
  }

  /** What errors call the peer. */
  get peerName(): string {
    return this.#peer ?? "the peer";
  }

  /**
   * Marks an error as a failure of this link, not of the code that meets it.
   */
  #own<E extends Error>(error: E): E {
    markFailure(error, this);
    return error;
  }
}
