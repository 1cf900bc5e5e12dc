/**
 * Messages over any two-way stream of bytes: what users hold.
 *
 * @module
 */
import type { JsonValue } from "../framing/framing.ts";
import type { ByteDuplex } from "./duplex.ts";
import { Link, type LinkInfo } from "./link.ts";
import {
  type Address,
  type ConnectionEnd,
  type ConnectionOptions,
  type ConnectionStats,
  type RequestOptions,
  Settings,
  type TlsInfo,
} from "./options.ts";
import { type ByteStreams, duplexOf } from "./streams.ts";
import { checkArgument } from "../tools/options.ts";

export type { ByteDuplex } from "./duplex.ts";
export type { ByteStreams } from "./streams.ts";
export type { Consumer } from "./inbox.ts";
export { isMistake, unsent } from "./unsent.ts";
export type { Link, LinkInfo } from "./link.ts";
export { keepAlive } from "./keepalive.ts";
export {
  type Address,
  AuthenticationError,
  BackpressureError,
  CONNECTION_DEFAULTS,
  CONNECTION_OPTIONS,
  ConnectionClosedError,
  type ConnectionEnd,
  type ConnectionOptions,
  type ConnectionStats,
  REQUEST_DEFAULTS,
  REQUEST_OPTIONS,
  type RequestOptions,
  Settings,
  type TlsCertificate,
  type TlsInfo,
  type TlsName,
  type TlsVersion,
} from "./options.ts";
export { isFailureOf, markFailure } from "./failures.ts";

/**
 * The engine behind a connection.
 *
 * @throws {TypeError} If it is no connection.
 */
export let linkOf: <T>(connection: Connection<T>) => Link<T>;
let connectionOf: <T>(link: Link<T>) => Connection<T>;

/**
 * One live link that sends and receives messages.
 *
 * One at a time reads it, and a second is a `TypeError`: requests, an iteration,
 * or what takes the connection over, such as `rpc` or the handler of `serve`.
 * {@linkcode Connection.request} takes the messages that come for the replies,
 * in the order of the requests. Nothing is read before somebody waits for a
 * message, and no more than an iteration asks for. Where requests are made,
 * reading goes on: no more than 1 MiB of messages may come that nobody asks for.
 *
 * The iteration ends quietly when the peer has ended its side between two
 * frames. Sending goes on: close the connection when all is sent, or it closes
 * when nothing was sent for `idleTimeout`. The iteration throws when the link
 * broke. A bad message in a good
 * frame is thrown as an `InvalidMessageError`, and a new iteration goes on
 * behind it.
 *
 * ```ts
 * import { connect, serve } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => message);
 * await using connection = await connect(server.addr);
 * const replies = [connection.request("a"), connection.request("b")];
 * assertEquals(await Promise.all(replies), ["a", "b"]);
 * assertEquals(connection.stats().messagesReceived, 2);
 * ```
 *
 * @typeParam T What the messages of the peer are taken to be; nothing checks
 * it.
 */
export class Connection<T = JsonValue>
  implements AsyncIterable<T>, AsyncDisposable {
  readonly #link: Link<T>;

  private constructor(link: Link<T>) {
    this.#link = link;
  }

  static {
    linkOf = (connection) => connection.#link;
    connectionOf = (link) => new Connection(link);
  }

  /** Where this end is, where that is known. */
  get localAddr(): Address | undefined {
    return this.#link.localAddr;
  }

  /** Where the peer is, where that is known. */
  get remoteAddr(): Address | undefined {
    return this.#link.remoteAddr;
  }

  /**
   * Who the peer is: what `authenticate` on the server has said; `undefined`
   * where nobody was asked.
   */
  get identity(): unknown {
    return this.#link.identity;
  }

  /** What TLS found out; nothing over a link that is not encrypted. */
  get tls(): TlsInfo | undefined {
    return this.#link.tls;
  }

  /**
   * Resolves when the connection has ended, whatever the reason; never rejects.
   */
  get closed(): Promise<ConnectionEnd> {
    return this.#link.closed;
  }

  /**
   * Aborted when the connection has ended, with a
   * {@linkcode ConnectionClosedError} as its reason.
   */
  get signal(): AbortSignal {
    return this.#link.signal;
  }

  /** What went over the connection so far. */
  stats(): ConnectionStats {
    return this.#link.stats();
  }

  /**
   * Sends a message. Its JSON text is made at once: what happens to the value
   * afterwards does not matter. Messages sent in one turn of the event loop
   * leave together.
   *
   * @returns A promise that resolves when the message was handed to the
   * platform, or when no more than 64 KiB wait; that the peer has
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
    return this.#link.send(message);
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
   * reply is thrown away when it comes. Where the peer leaves a reply out and
   * answers later requests, each of those replies is taken for the one before:
   * nothing but their order tells them apart. If nothing comes a whole `timeout`
   * after a request was given up, the connection ends.
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
    return this.#link.request(message, options);
  }

  /**
   * Iterates over the messages. Leaving the iteration early leaves the
   * connection open, and so does its end: what is sent still leaves, until the
   * connection is closed or nothing was sent for `idleTimeout` (60 s where that
   * is `Infinity`). So does one with messages that nobody has asked for when the
   * peer ends its side.
   *
   * @throws {TypeError} If something else reads the connection.
   */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return this.#link.iterate();
  }

  /**
   * Ends the sending side once everything sent before has left; messages are
   * received until the peer ends its side, too. It may be called more than once.
   *
   * @throws {ConnectionClosedError} If the connection ends before.
   * @throws {TypeError} If the stream of bytes cannot be closed one way only.
   */
  closeWrite(): Promise<void> {
    return this.#link.closeWrite();
  }

  /**
   * Closes the connection once everything sent before has left, or when the
   * peer takes nothing of it for `writeTimeout`. It may be called at any time
   * and more than once. Iterations end quietly, requests without a reply
   * reject.
   */
  close(): Promise<void> {
    return this.#link.close();
  }

  /**
   * Closes the connection at once: what was sent and has not left yet is
   * dropped. Everything that waits rejects.
   *
   * @param reason Why; the cause of the errors that follow from it.
   */
  abort(reason?: unknown): void {
    this.#link.abort(reason);
  }

  /**
   * Makes the connection keep the process alive while it waits for the peer, as
   * it does by default.
   */
  ref(): void {
    this.#link.ref();
  }

  /** Lets the process end although the connection waits for the peer. */
  unref(): void {
    this.#link.unref();
  }

  /** The same as {@linkcode Connection.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** What only the maker of a connection knows. */
export interface ConnectionInfo<T = JsonValue>
  extends Omit<LinkInfo<T>, "onEnd"> {
  /**
   * Called once, when the connection has ended: cheaper than `closed` for a
   * server with many connections.
   */
  onEnd?: (connection: Connection<T>, end: ConnectionEnd) => void;
}

/** Makes a connection of which more is known than the bytes. */
export function makeConnection<T = JsonValue>(
  duplex: ByteDuplex,
  options: ConnectionOptions | Settings = {},
  { onEnd, ...info }: ConnectionInfo<T> = {},
): Connection<T> {
  const link = new Link<T>(duplex, Settings.of(options), {
    ...info,
    onEnd: onEnd && ((end) => onEnd(connection, end)),
  });
  const connection = connectionOf(link);
  return connection;
}

/**
 * Makes a connection over any two-way stream of bytes, which it owns from then
 * on, and closes in the end. Nothing is read before somebody waits for a
 * message.
 *
 * ```ts
 * import { encodeFrame, fromDuplex } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * const input = [encodeFrame("a"), null];
 * const written: number[] = [];
 * await using connection = fromDuplex({
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
 * await connection.close();
 * assertEquals(written, [0, 0, 0, 3, 0x22, 0x61, 0x22]);
 * ```
 *
 * @typeParam T What the messages of the peer are taken to be; nothing checks
 * it.
 * @param duplex The bytes.
 * @param options Framing and limits.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If an option does not exist or has the wrong type.
 */
export function fromDuplex<T = JsonValue>(
  duplex: ByteDuplex,
  options: ConnectionOptions = {},
): Connection<T> {
  const { read, write, close } = Object(duplex);
  checkArgument(
    "duplex",
    duplex,
    [read, write, close].every((method) => typeof method === "function"),
    "an object with read, write and close",
  );
  return makeConnection<T>(duplex, options);
}

/**
 * Makes a connection from a pair of Web Streams, which it locks and owns from
 * then on.
 *
 * ```ts
 * import { fromStreams } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * const there = new TransformStream<Uint8Array, Uint8Array>();
 * const back = new TransformStream<Uint8Array, Uint8Array>();
 * await using one = fromStreams({ readable: back.readable, writable: there.writable });
 * await using other = fromStreams({ readable: there.readable, writable: back.writable });
 * const [message] = await Promise.all([other[Symbol.asyncIterator]().next(), one.send("hello")]);
 * assertEquals(message.value, "hello");
 * ```
 *
 * @typeParam T What the messages of the peer are taken to be; nothing checks
 * it.
 * @param streams The bytes of the peer, and where the bytes for it go.
 * @param options Framing and limits.
 * @throws {TypeError} If a stream is locked already, or an option does not
 * exist or has the wrong type.
 * @throws {RangeError} If a number is out of range.
 */
export function fromStreams<T = JsonValue>(
  streams: ByteStreams,
  options: ConnectionOptions = {},
): Connection<T> {
  return makeConnection<T>(duplexOf(streams), options);
}
