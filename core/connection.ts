/**
 * Messages over any two-way stream of bytes.
 *
 * @module
 */
import type { Closer, Reader, Writer } from "@std/io/types";
import { setImmediate } from "node:timers";
import {
  checkLimit,
  type Decoded,
  FrameDecoder,
  FrameTooLargeError,
  FrameTruncatedError,
  Framing,
  FRAMING_DEFAULTS,
  type FramingOptions,
  InvalidMessageError,
  type JsonValue,
  pickOptions,
  resolveOptions,
} from "../framing.ts";
import { Outbox } from "./outbox.ts";
import { Queue } from "./queue.ts";

/**
 * A two-way stream of bytes, in the shapes of `@std/io`: `Deno.TcpConn`,
 * `Deno.UnixConn` and `Deno.TlsConn` are such streams.
 */
export interface ByteDuplex extends Reader, Writer, Closer {
  /** Ends the writing side and leaves the reading side open. */
  closeWrite?(): Promise<void>;
  /** Makes pending reads and writes keep the process alive. */
  ref?(): void;
  /** Lets the process end in spite of pending reads and writes. */
  unref?(): void;
}

/**
 * Where one end of a connection is: of the same shape as `Deno.NetAddr` and
 * `Deno.UnixAddr`. The path is empty for a client of a Unix socket, which has
 * none.
 */
export type Address =
  | { transport: "tcp"; hostname: string; port: number }
  | { transport: "unix"; path: string };

/** Options of a connection. */
export interface ConnectionOptions extends FramingOptions {
  /**
   * Bytes that may wait to be written before `send` makes its caller wait, and
   * before no more is read from a peer that does not read its replies.
   *
   * @default {65_536}
   */
  highWaterMark?: number;
  /**
   * Milliseconds that `close` gives the peer to take what was sent before;
   * `Infinity` for as long as it takes.
   *
   * @default {30_000}
   */
  writeTimeout?: number;
}

/** The defaults of {@linkcode ConnectionOptions}. */
export const CONNECTION_DEFAULTS: Readonly<Required<ConnectionOptions>> = Object
  .freeze({
    ...FRAMING_DEFAULTS,
    highWaterMark: 65_536,
    writeTimeout: 30_000,
  });

/** What only the maker of a connection knows. */
export interface ConnectionInfo<T = JsonValue> {
  /** Where this end is. */
  localAddr?: Address;
  /** Where the peer is. */
  remoteAddr?: Address;
  /**
   * Called once, when the connection has ended: the same as `closed`, at less
   * cost for who keeps many.
   */
  onEnd?: (connection: Connection<T>, end: ConnectionEnd) => void;
}

/** How a connection ended. */
export interface ConnectionEnd {
  /**
   * Whether it ended between two frames, with everything written that was sent.
   */
  readonly clean: boolean;
  /** What ended it, where it did not end by itself or by a call of `close`. */
  readonly cause?: unknown;
}

/** What went over a connection so far. */
export interface ConnectionStats {
  /** Whole frames received. */
  readonly messagesReceived: number;
  /** Messages accepted for sending. */
  readonly messagesSent: number;
  /** Bytes received, prefixes included. */
  readonly bytesReceived: number;
  /** Bytes written, prefixes included. */
  readonly bytesSent: number;
  /**
   * Bytes that wait to be written; for text that is not encoded yet, the number
   * of its UTF-16 units.
   */
  readonly bytesQueued: number;
}

/** Options of a request. */
export interface RequestOptions {
  /**
   * Gives up waiting for the reply, and rejects with the signal's reason. The
   * reply, when it comes, is thrown away.
   */
  signal?: AbortSignal;
}

/**
 * Thrown when a connection is used after its end, and by all that waits on it
 * when it ends.
 */
export class ConnectionClosedError extends Error {
  /**
   * Whether the connection ended between two frames, with everything written
   * that was sent.
   */
  readonly clean: boolean;

  /** Makes the error; `cause` is what ended the connection. */
  constructor(message: string, end: ConnectionEnd) {
    super(message, end.cause === undefined ? undefined : { cause: end.cause });
    this.name = "ConnectionClosedError";
    this.clean = end.clean;
  }
}

interface Receiver<R> {
  resolve(value: R): void;
  reject(reason: unknown): void;
}

/** Takes every message of a connection that no request waits for. */
export interface Consumer<T> {
  /**
   * Called for each message, in order; a promise that comes back is awaited
   * before the next.
   */
  receive(message: Decoded<T>): Promise<void> | undefined;
  /** Called once, when no more messages will come. */
  end(end: ConnectionEnd): void;
}

/**
 * Replies that are handed out before those who wait for them get their turn, so
 * that their next requests leave while the rest follows.
 */
const REPLY_RUN = 32;
/**
 * Bytes read and decoded, each counted, before other connections get their
 * turn: neither waits for anything while bytes are there.
 */
const TURN_BYTES = 262_144;

const RESOLVED = Promise.resolve();
const REQUEST_DEFAULTS: { signal: AbortSignal | undefined } = {
  signal: undefined,
};

/**
 * Connection options that are checked.
 * @internal
 */
export class Settings {
  /** The framing of both directions. */
  readonly framing: Framing;
  /** Bytes that may wait to be written. */
  readonly highWaterMark: number;
  /** Milliseconds to write what was sent. */
  readonly writeTimeout: number;

  /** Checks options, of which those of other things are left out. */
  constructor(options: ConnectionOptions) {
    const { highWaterMark, writeTimeout } = resolveOptions(
      CONNECTION_DEFAULTS,
      options,
    );
    checkLimit("highWaterMark", highWaterMark);
    checkTimeout("writeTimeout", writeTimeout);
    this.framing = Framing.from(pickOptions(FRAMING_DEFAULTS, options));
    this.highWaterMark = highWaterMark;
    this.writeTimeout = writeTimeout;
  }
}

/** Longest time that the platform's timers can measure, in milliseconds. */
const MOST_TIMEOUT = 2 ** 31 - 1;

/**
 * Checks an option that is a time in milliseconds.
 * @internal
 */
export function checkTimeout(name: string, value: number): void {
  checkLimit(name, value, 1, MOST_TIMEOUT);
}

/**
 * Calls `late` after so many milliseconds, and never after `Infinity`. The
 * function that comes back prevents it.
 * @internal
 */
export function startTimer(timeout: number, late: () => void): () => void {
  if (timeout === Infinity) return () => {};
  const timer = setTimeout(late, timeout);
  return () => clearTimeout(timer);
}

function isFramingError(cause: unknown): boolean {
  return cause instanceof FrameTooLargeError ||
    cause instanceof FrameTruncatedError;
}

/**
 * One live link that sends and receives messages.
 *
 * Messages are received by iterating, and by {@linkcode Connection.request} in
 * the order of the requests; while a request waits, the next message is its
 * reply. Nothing is read from the peer while nobody waits for a message.
 *
 * The iteration ends quietly when the peer closed between two frames, and then
 * closes the connection; it throws when the link broke. A bad message in a good
 * frame is thrown as an `InvalidMessageError`, and a new iteration goes on
 * behind it.
 *
 * ```ts
 * import { Connection, encodeFrame } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * const input = [encodeFrame("a"), null];
 * const written: number[] = [];
 * await using connection = new Connection({
 *   read(space) {
 *     const bytes = input.shift() ?? null;
 *     if (bytes !== null) space.set(bytes);
 *     return Promise.resolve(bytes && bytes.length);
 *   },
 *   write(bytes) {
 *     written.push(...bytes);
 *     return Promise.resolve(bytes.length);
 *   },
 *   close() {},
 * });
 * for await (const message of connection) await connection.send(message);
 * await connection.closed;
 * assertEquals(written, [0, 0, 0, 3, 0x22, 0x61, 0x22]);
 * ```
 *
 * @typeParam T What the messages of the peer are taken to be; nothing checks
 * it.
 */
export class Connection<T = JsonValue>
  implements AsyncIterable<T>, AsyncDisposable {
  /** Where this end is, where that is known. */
  readonly localAddr: Address | undefined;
  /** Where the peer is, where that is known. */
  readonly remoteAddr: Address | undefined;

  readonly #duplex: ByteDuplex;
  readonly #decoder: FrameDecoder<T>;
  readonly #outbox: Outbox;
  readonly #settings: Settings;
  readonly #onEnd: ConnectionInfo<T>["onEnd"];
  #closed: PromiseWithResolvers<ConnectionEnd> | undefined;
  #end: ConnectionEnd | undefined;
  #closing = RESOLVED;
  #closingFor: ConnectionEnd | undefined;
  #abortController: AbortController | undefined;

  #pumping = false;
  #consumer: Consumer<T> | undefined;
  readonly #requests = new Queue<Receiver<T>>();
  readonly #receivers = new Queue<Receiver<IteratorResult<T, undefined>>>();
  readonly #inbox = new Queue<Decoded<T>>();
  /** How receiving ended; an end without a cause is one that was wanted. */
  #received: ConnectionEnd | undefined;

  #sealed = false;
  #writeEnded = false;

  #messagesReceived = 0;
  #bytesReceived = 0;

  /**
   * Takes the bytes over. Nothing is read before somebody waits for a message.
   *
   * @param duplex The bytes; the connection owns them from now on, and closes
   * them.
   * @param options Framing and limits.
   * @param info Where the two ends are.
   * @throws {RangeError} If a number is out of range.
   * @throws {TypeError} If an option does not exist or has the wrong type.
   */
  constructor(
    duplex: ByteDuplex,
    options: ConnectionOptions | Settings = {},
    info: ConnectionInfo<T> = {},
  ) {
    const settings = options instanceof Settings
      ? options
      : new Settings(options);
    this.#duplex = duplex;
    this.#decoder = new FrameDecoder(settings.framing);
    this.#outbox = new Outbox(
      duplex,
      settings.framing,
      settings.highWaterMark,
      this,
    );
    this.#settings = settings;
    this.localAddr = info.localAddr;
    this.remoteAddr = info.remoteAddr;
    this.#onEnd = info.onEnd;
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
        this.#abortController.abort(this.#gone("go on"));
      }
    }
    return this.#abortController.signal;
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
   * it, only a reply can tell.
   * @throws {InvalidMessageError} If JSON cannot carry the value. Nothing is
   * sent, and the connection can go on.
   * @throws {FrameTooLargeError} If the payload is larger than the limit.
   * Nothing is sent, and the connection can go on.
   * @throws {ConnectionClosedError} If the connection has ended, or ends before
   * the message is handed over.
   */
  send(message: unknown): Promise<void> {
    try {
      this.enqueue(message);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#outbox.room() ?? RESOLVED;
  }

  /**
   * Sends a message and waits for its reply: the replies come in the order of
   * the requests. Any number of requests may wait.
   *
   * @throws {InvalidMessageError} If JSON cannot carry the message, or the
   * reply's payload is not UTF-8 or not JSON.
   * @throws {FrameTooLargeError} If the message's payload is larger than the
   * limit.
   * @throws {ConnectionClosedError} If the connection ends before the reply has
   * come.
   */
  request(message: unknown, options?: RequestOptions): Promise<T> {
    try {
      const signal = options &&
        resolveOptions(REQUEST_DEFAULTS, options).signal;
      signal?.throwIfAborted();
      if (this.#received !== undefined) throw this.#gone("receive reply");
      this.enqueue(message);
      return this.#reply(signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #reply(signal: AbortSignal | undefined): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    if (signal === undefined) {
      this.#requests.push({ resolve, reject });
    } else {
      const abort = () => reject(signal.reason);
      const settled = () => signal.removeEventListener("abort", abort);
      // An aborted request keeps its place, so that its reply is not taken for
      // another's.
      this.#requests.push({
        resolve(value) {
          settled();
          resolve(value);
        },
        reject(reason) {
          settled();
          reject(reason);
        },
      });
      signal.addEventListener("abort", abort, { once: true });
    }
    this.#startPump();
    return promise;
  }

  /**
   * Iterates over the messages that no request waits for. Leaving the iteration
   * early leaves the connection open.
   */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return { next: () => this.#receive() };
  }

  #receive(): Promise<IteratorResult<T, undefined>> {
    if (this.#inbox.size > 0) {
      const message = this.#inbox.shift() as Decoded<T>;
      return message instanceof InvalidMessageError
        ? Promise.reject(message)
        : Promise.resolve({ done: false, value: message });
    }
    const { promise, resolve, reject } = Promise.withResolvers<
      IteratorResult<T, undefined>
    >();
    this.#receivers.push({ resolve, reject });
    if (this.#received === undefined) this.#startPump();
    else this.#endReceivers(this.#received);
    return promise;
  }

  /**
   * Hands every message to `consumer` from now on; it closes the connection in
   * the end.
   * @internal
   */
  consume(consumer: Consumer<T>): void {
    this.#consumer = consumer;
    this.#startPump();
  }

  /**
   * Receives no more; sending goes on.
   * @internal
   */
  endReceiving(): void {
    this.#endReceiving({ clean: true });
  }

  #startPump(): void {
    if (this.#pumping || this.#received !== undefined) return;
    this.#pumping = true;
    this.#pump();
  }

  /**
   * Reads and hands out messages for as long as anybody waits for one. Never
   * rejects.
   */
  async #pump(): Promise<void> {
    let bytesOfTurn = 0;
    try {
      while (
        this.#received === undefined && (this.#consumer !== undefined ||
          this.#requests.size > 0 || this.#receivers.size > 0)
      ) {
        const { size } = this.#decoder;
        const run = this.#decoder.take();
        bytesOfTurn += size - this.#decoder.size;
        for (let i = 0; i < run.length && this.#received === undefined; i++) {
          const wait = this.#deliver(run[i]);
          if (wait !== undefined) await wait;
          else if (
            this.#consumer === undefined && i % REPLY_RUN === REPLY_RUN - 1
          ) {
            await RESOLVED;
            this.#outbox.hasten();
          }
        }
        if (bytesOfTurn > TURN_BYTES) {
          bytesOfTurn = 0;
          await new Promise((resolve) => setImmediate(resolve));
          continue;
        }
        if (run.length > 0) continue;
        const count = await this.#duplex.read(this.#decoder.reserve());
        if (count === null) {
          this.#decoder.end();
          this.#endReceiving({ clean: true });
        } else {
          this.#decoder.commit(count);
          this.#bytesReceived += count;
          bytesOfTurn += count;
        }
      }
    } catch (cause) {
      this.#endReceiving({ clean: false, cause });
    } finally {
      this.#pumping = false;
    }
  }

  /**
   * Hands a message to whoever is first in line: a request, the consumer, an
   * iteration.
   */
  #deliver(message: Decoded<T>): Promise<void> | undefined {
    this.#messagesReceived++;
    const request = this.#requests.shift();
    if (request !== undefined) {
      if (message instanceof InvalidMessageError) request.reject(message);
      else request.resolve(message);
      return;
    }
    if (this.#consumer !== undefined) return this.#consumer.receive(message);
    const receiver = this.#receivers.shift();
    if (receiver === undefined) this.#inbox.push(message);
    else if (message instanceof InvalidMessageError) receiver.reject(message);
    else receiver.resolve({ done: false, value: message });
  }

  /**
   * Receives no more, for the reason given, and tells all who wait for a
   * message.
   */
  #endReceiving(end: ConnectionEnd): void {
    if (this.#received !== undefined) return;
    this.#received = end;
    this.#endReceivers(end);
    for (let request; (request = this.#requests.shift()) !== undefined;) {
      request.reject(this.#gone("receive reply"));
    }
    if (isFramingError(end.cause)) {
      // The other direction is whole: what was sent before still leaves, and a
      // consumer may have replies to come.
      if (this.#consumer === undefined) this.#close(end);
    } else if (!end.clean || this.#writeEnded) {
      this.#shut(this.#closingFor ?? end);
    }
    this.#consumer?.end(end);
  }

  #endReceivers(end: ConnectionEnd): void {
    for (let next; (next = this.#receivers.shift()) !== undefined;) {
      if (!end.clean) {
        next.reject(
          isFramingError(end.cause) ? end.cause : this.#gone("receive message"),
        );
        continue;
      }
      next.resolve({ done: true, value: undefined });
      // Whoever iterates to the end has nothing left to wait for.
      this.close();
    }
  }

  /**
   * Queues a message like `send`, but throws at once if it cannot be sent.
   * @internal
   */
  enqueue(message: unknown): void {
    if (this.#sealed) throw this.#gone("send message");
    // A consumer's answers are complete when it has had its messages.
    this.#outbox.push(message, this.#consumer === undefined);
  }

  /**
   * Resolves when no more than the high-water mark waits to be written;
   * `undefined` if that is so already.
   * @internal
   */
  room(): Promise<void> | undefined {
    return this.#outbox.room();
  }

  /**
   * Ends the sending side once everything sent before has left; messages are
   * received until the peer ends its side, too.
   *
   * @throws {ConnectionClosedError} If the connection ends before.
   * @throws {TypeError} If the stream of bytes cannot be closed one way only.
   */
  async closeWrite(): Promise<void> {
    if (this.#duplex.closeWrite === undefined) {
      throw new TypeError(
        "Cannot close the sending side: the stream of bytes has no closeWrite",
      );
    }
    if (this.#sealed && this.#end === undefined) {
      return await this.#outbox.room(0);
    }
    if (this.#end !== undefined) throw this.#gone("close the sending side");
    this.#sealed = true;
    await this.#outbox.room(0);
    await this.#duplex.closeWrite();
    this.#writeEnded = true;
    if (this.#received !== undefined) this.#shut(this.#received);
  }

  /**
   * Closes the connection once everything sent before has left, or after
   * `writeTimeout`. It may be called at any time and more than once. Iterations
   * end quietly, requests without a reply reject.
   */
  close(): Promise<void> {
    return this.#close({ clean: true });
  }

  /**
   * Closes like `close`, for a reason that `closed` tells.
   * @internal
   */
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
    this.#endReceiving({ clean: true });
    const stopTimer = startTimer(this.#settings.writeTimeout, () => {
      this.abort(
        new DOMException(
          `Cannot close: ${this.#outbox.bytesQueued} bytes are not taken after ${this.#settings.writeTimeout} ms`,
          "TimeoutError",
        ),
      );
    });
    try {
      await this.#outbox.room(0);
      this.#shut(end);
    } catch {
      // The link broke or was aborted meanwhile, and `closed` tells.
    } finally {
      stopTimer();
    }
  }

  /**
   * Closes the connection at once: what was sent and has not left yet is
   * dropped. Everything that waits rejects.
   *
   * @param reason Why; the cause of the errors that follow from it.
   */
  abort(reason?: unknown): void {
    this.#shut({
      clean: false,
      cause: reason ??
        new DOMException("The connection was aborted", "AbortError"),
    });
  }

  /**
   * Ends the connection for a write that failed.
   * @internal
   */
  writeFailed(cause: unknown): void {
    this.#shut({ clean: false, cause });
  }

  /** The end: frees the descriptor and tells everybody. */
  #shut(end: ConnectionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#sealed = true;
    try {
      this.#duplex.close();
    } catch {
      // The platform closed it already.
    }
    this.#endReceiving(end);
    const gone = this.#gone("go on");
    this.#outbox.stop(gone);
    this.#abortController?.abort(gone);
    this.#closed?.resolve(end);
    this.#onEnd?.(this, end);
  }

  /** The error for whoever comes too late, or waited in vain. */
  #gone(failed: string): ConnectionClosedError {
    const end = this.#end ?? this.#received ?? { clean: true };
    return new ConnectionClosedError(
      `Cannot ${failed}: the connection ${
        end.clean ? "is closed" : "was lost"
      }`,
      end,
    );
  }

  /**
   * Makes the connection keep the process alive while it waits for the peer, as
   * it does by default.
   */
  ref(): void {
    this.#duplex.ref?.();
  }

  /** Lets the process end although the connection waits for the peer. */
  unref(): void {
    this.#duplex.unref?.();
  }

  /** The same as {@linkcode Connection.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
