/**
 * Messages over any two-way stream of bytes: what users hold.
 *
 * @module
 */
import type { JsonValue } from "../framing/framing.ts";
import { type ByteDuplex, type ByteStreams, duplexOf } from "./duplex.ts";
import { Link, type LinkInfo } from "./link.ts";
import {
  type Address,
  CONNECTION_OPTIONS,
  type ConnectionEnd,
  type ConnectionOptions,
  type ConnectionStats,
  type RequestOptions,
  type Settings,
  settingsOf,
  type TlsInfo,
} from "./options.ts";
import {
  checkArgument,
  type OptionTable,
  readOptions,
  such,
} from "../tools/options.ts";

export type { ByteDuplex, ByteStreams } from "./duplex.ts";
export type { Consumer } from "./inbox.ts";
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
  type Settings,
  settingsOf,
  type TlsCertificate,
  type TlsInfo,
  type TlsName,
  type TlsVersion,
} from "./options.ts";
export { Totals } from "./totals.ts";
export { isFailureOf, isMistake, markFailure, unsent } from "./failures.ts";

/**
 * The engine behind a connection.
 *
 * @throws {TypeError} If it is no connection.
 */
export let linkOf: <T>(connection: Connection<T>) => Link<T>;
let connectionOf: <T>(link: Link<T>) => Connection<T>;

/**
 * Sends and receives messages.
 *
 * It has one reader at a time: requests, one iteration, or what takes the
 * connection over, such as `rpc` or the handler of `serve`. A second reader is
 * a `TypeError`. {@linkcode Connection.request} takes each message that comes
 * for a reply, in the order of the requests. An iteration reads no more than it
 * asks for. While requests are made, reading goes on; unrequested messages of
 * more than 1 MiB end the connection.
 *
 * An iteration ends quietly when the peer has ended its side between two
 * frames, and throws when the link broke. After a quiet end you can still send;
 * close the connection when you are done, or it closes once nothing was sent
 * for `idleTimeout`. A payload that is not a message is thrown as an
 * `InvalidMessageError`; a new iteration continues after it.
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
 * @typeParam T Type of the peer's messages. It is not checked at run time.
 * @typeParam I Type of `identity`: what `authenticate` returns for a peer.
 */
export class Connection<T = JsonValue, I = unknown>
  implements AsyncIterable<T>, AsyncDisposable {
  readonly #link: Link<T>;

  private constructor(link: Link<T>) {
    this.#link = link;
  }

  static {
    linkOf = (connection) => connection.#link;
    connectionOf = (link) => new Connection(link);
  }

  /** Address of this end, if it is known. */
  get localAddr(): Address | undefined {
    return this.#link.localAddr;
  }

  /** Address of the peer, if it is known. */
  get remoteAddr(): Address | undefined {
    return this.#link.remoteAddr;
  }

  /**
   * Who the peer is: what `authenticate` of the server returned. It is
   * `undefined` without `authenticate`.
   */
  get identity(): I {
    return this.#link.identity as I;
  }

  /** What TLS negotiated; `undefined` over a link that is not encrypted. */
  get tls(): TlsInfo | undefined {
    return this.#link.tls;
  }

  /**
   * Resolves when the connection has ended, for whatever reason. It never
   * rejects.
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

  /** Counts what was sent and received so far. */
  stats(): ConnectionStats {
    return this.#link.stats();
  }

  /**
   * Sends a message. It is encoded during the call, so the value may change
   * afterwards. Messages sent in one tick of the event loop are written
   * together.
   *
   * @returns A promise that resolves when the platform has taken the message,
   * or when at most 64 KiB wait to be written. Only a reply tells that the peer
   * has it. If you do not await it, a failed send goes unnoticed.
   * @throws {InvalidMessageError} If JSON cannot represent the value. Nothing
   * is sent, and the connection stays open.
   * @throws {FrameTooLargeError} If the payload is larger than the limit.
   * Nothing is sent, and the connection stays open.
   * @throws {BackpressureError} If more than `maxQueuedBytes` wait already.
   * Nothing is sent, and the connection stays open.
   * @throws {ConnectionClosedError} If the connection has ended, or ends before
   * the message is handed over.
   */
  send(message: unknown): Promise<void> {
    return this.#link.send(message);
  }

  /**
   * Sends a message and waits for its reply. Replies come in the order of the
   * requests. Up to 65 536 requests may wait.
   *
   * A message that arrived before the first request, such as a greeting, is not
   * taken for its reply. A message that the peer sends on its own later is:
   * iterate over the connection, or use `rpc`, where the peer pushes.
   *
   * A request that is given up, by its signal or its timeout, rejects alone,
   * and its reply is dropped when it comes. Replies are matched by order alone:
   * if the peer leaves one out, each later reply is taken for the one before.
   * If nothing comes within another `timeout`, the connection ends.
   *
   * @throws {InvalidMessageError} If JSON cannot represent the message, or the
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
   * Iterates over the messages. The connection stays open when the loop is
   * left, and also when the peer has ended its side: it then closes once
   * nothing was sent for `idleTimeout` (60 s if that is `Infinity`).
   *
   * @throws {TypeError} If something else reads the connection.
   */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return this.#link.inbox.iterate();
  }

  /**
   * Ends the sending side, once everything sent before has been written.
   * Messages are still received, until the peer ends its side as well. It may
   * be called more than once.
   *
   * @throws {ConnectionClosedError} If the connection ends before.
   * @throws {TypeError} If the stream of bytes cannot be closed in one
   * direction only.
   */
  closeWrite(): Promise<void> {
    return this.#link.closeWrite();
  }

  /**
   * Closes the connection, once everything sent before has been written or the
   * peer has read nothing for `writeTimeout`. It may be called at any time and
   * more than once. Iterations end quietly; requests without a reply reject.
   */
  close(): Promise<void> {
    return this.#link.close();
  }

  /**
   * Closes the connection at once and drops what is not written yet. Everything
   * that waits rejects.
   *
   * @param reason Why; the cause of the errors that follow from it.
   */
  abort(reason?: unknown): void {
    this.#link.abort(reason);
  }

  /**
   * Keeps the process alive while the connection waits for the peer, as by
   * default.
   */
  ref(): void {
    this.#link.ref();
  }

  /** Lets the process end while the connection waits for the peer. */
  unref(): void {
    this.#link.unref();
  }

  /** The same as {@linkcode Connection.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * A peer is connected: encrypted and authenticated, where that is asked for.
 * One {@linkcode ClosedEvent} of the same connection follows.
 */
export interface ConnectedEvent<T = JsonValue> {
  /** The kind of event. */
  readonly type: "connected";
  /** The connection. */
  readonly connection: Connection<T>;
}

/** A connection has ended. */
export interface ClosedEvent<T = JsonValue> {
  /** The kind of event. */
  readonly type: "closed";
  /** The connection. */
  readonly connection: Connection<T>;
  /** How it has ended. */
  readonly end: ConnectionEnd;
  /** Counts of the connection. */
  readonly stats: ConnectionStats;
}

/** Connecting, or accepting a connection, has failed. */
export interface FailedEvent {
  /** The kind of event. */
  readonly type: "failed";
  /** Why. */
  readonly error: unknown;
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
  settings: Settings,
  { onEnd, ...info }: ConnectionInfo<T> = {},
): Connection<T> {
  const link = new Link<T>(duplex, settings, {
    ...info,
    onEnd: onEnd && ((end) => onEnd(connection, end)),
  });
  const connection = connectionOf(link);
  return connection;
}

/** Options of `fromDuplex` and `fromStreams`. */
export interface DuplexOptions extends ConnectionOptions {
  /** Where this end is: `localAddr` of the connection. */
  localAddr?: Address;
  /** Where the peer is: `remoteAddr` of the connection. Errors name it. */
  remoteAddr?: Address;
}

const DUPLEX_OPTIONS: OptionTable<DuplexOptions> = {
  ...CONNECTION_OPTIONS,
  localAddr: such(isAddress, "an address"),
  remoteAddr: such(isAddress, "an address"),
};

function isAddress(value: unknown): boolean {
  const { transport, hostname, port, path } = Object(value);
  return transport === "tcp"
    ? typeof hostname === "string" && typeof port === "number"
    : transport === "unix" && typeof path === "string";
}

function connectionOver<T>(
  duplex: ByteDuplex,
  options: DuplexOptions,
): Connection<T> {
  const given = readOptions(DUPLEX_OPTIONS, options);
  const { localAddr, remoteAddr } = given;
  const settings = settingsOf(readOptions(CONNECTION_OPTIONS, given));
  return makeConnection<T>(duplex, settings, { localAddr, remoteAddr });
}

/**
 * Makes a connection over any two-way stream of bytes. The connection owns the
 * stream and closes it. Nothing is read before a message is asked for.
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
 * @typeParam T Type of the peer's messages. It is not checked at run time.
 * @param duplex The bytes.
 * @param options Framing, limits and addresses.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If an option does not exist or has the wrong type.
 */
export function fromDuplex<T = JsonValue>(
  duplex: ByteDuplex,
  options: DuplexOptions = {},
): Connection<T> {
  const { read, write, close } = Object(duplex);
  checkArgument(
    "duplex",
    duplex,
    [read, write, close].every((method) => typeof method === "function"),
    "an object with read, write and close",
  );
  return connectionOver<T>(duplex, options);
}

/**
 * Makes a connection from a pair of Web Streams, which it locks and owns.
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
 * @typeParam T Type of the peer's messages. It is not checked at run time.
 * @param streams The bytes of the peer, and those for the peer.
 * @param options Framing, limits and addresses.
 * @throws {TypeError} If a stream is locked already, or an option does not
 * exist or has the wrong type.
 * @throws {RangeError} If a number is out of range.
 */
export function fromStreams<T = JsonValue>(
  streams: ByteStreams,
  options: DuplexOptions = {},
): Connection<T> {
  return connectionOver<T>(duplexOf(streams), options);
}
