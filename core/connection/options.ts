/**
 * What a connection can be told, and what it tells: options, addresses, ends and
 * errors.
 *
 * @module
 */
import {
  type Framing,
  FRAMING_OPTIONS,
  type FramingOptions,
  resolveFraming,
} from "../framing/framing.ts";
import { TICKERS, type Tickers } from "../tools/ticker.ts";
import {
  defaultsOf,
  limit,
  type OptionTable,
  signal,
  timeout,
} from "../tools/options.ts";

/**
 * Address of one end of a connection, in the shape of `Deno.NetAddr` and
 * `Deno.UnixAddr`. A client of a Unix socket has no path of its own: it is
 * empty.
 */
export type Address =
  | { transport: "tcp"; hostname: string; port: number }
  | { transport: "unix"; path: string };

/** Options of a connection. */
export interface ConnectionOptions extends FramingOptions {
  /**
   * Bytes that may wait to be written. Beyond it, `send` and `request` reject
   * with a {@linkcode BackpressureError}. A message that waits for a client to
   * connect counts 2 KiB more than its frame, as it takes so much memory.
   *
   * @default {4_194_304}
   */
  maxQueuedBytes?: number;
  /**
   * Milliseconds without a whole frame from the peer, while one is expected,
   * after which the connection is closed. It finds peers that disappear without
   * closing. A server whose clients only listen turns it off with `Infinity`; a
   * client that is gone is then noticed when it takes no more of what is sent.
   *
   * @default {60_000}
   */
  idleTimeout?: number;
  /**
   * Milliseconds from the first byte of a frame to its last. Bytes in between
   * do not restart it.
   *
   * @default {10_000}
   */
  frameTimeout?: number;
  /**
   * Milliseconds in which none of the waiting bytes can be written, after which
   * the connection is aborted. The platform takes more only when about a third
   * of its own buffer is free again, so this sets a lowest rate: with the
   * default, a peer behind a buffer of 4 MiB has to read 12 KB a second. Half
   * the time doubles the rate.
   *
   * @default {120_000}
   */
  writeTimeout?: number;
}

/** What each option may be. */
export const CONNECTION_OPTIONS: OptionTable<ConnectionOptions> = {
  ...FRAMING_OPTIONS,
  maxQueuedBytes: limit(4_194_304),
  idleTimeout: timeout(60_000),
  frameTimeout: timeout(10_000),
  writeTimeout: timeout(120_000),
};

/** The defaults of {@linkcode ConnectionOptions}. */
export const CONNECTION_DEFAULTS: Readonly<Required<ConnectionOptions>> =
  defaultsOf(CONNECTION_OPTIONS);

/** Versions of TLS. */
export type TlsVersion = "TLSv1.2" | "TLSv1.3";

/** A name in a certificate, by its parts: `CN`, `O`, `OU`, `C` and others. */
export type TlsName = Readonly<Record<string, string | string[]>>;

/** The certificate of a peer. It was checked, and the peer has its key. */
export interface TlsCertificate {
  /** The name that it was issued to. */
  readonly subject: TlsName;
  /** The name of its issuer. */
  readonly issuer: TlsName;
  /**
   * The names that it is valid for, such as `DNS:example.com`,
   * `IP Address:127.0.0.1`, `URI:spiffe://example.com/a`, `email:a@example.com`.
   */
  readonly subjectAltNames: readonly string[];
  /** Number among the certificates of its issuer, in hexadecimal. */
  readonly serialNumber: string;
  /** SHA-256 of the certificate: bytes in hexadecimal with colons between. */
  readonly fingerprint256: string;
  /** When it expires. */
  readonly validTo: Date;
}

/** What the two ends negotiated. */
export interface TlsInfo {
  /** Version of TLS. */
  readonly protocol: TlsVersion;
  /** Name of the cipher suite, as IANA has it. */
  readonly cipher: string;
  /** The application protocol, if both ends named some. */
  readonly alpnProtocol?: string;
  /** The peer's certificate, if it showed one. */
  readonly peerCertificate?: TlsCertificate;
}

/** How a connection ended. */
export interface ConnectionEnd {
  /**
   * Whether it ended between two frames, with everything written.
   */
  readonly clean: boolean;
  /** What ended it, unless that was the peer's end or a call of `close`. */
  readonly cause?: unknown;
}

/** Counts of a connection so far. */
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
   * reply is dropped when it comes.
   */
  signal?: AbortSignal;
  /**
   * Milliseconds for the reply to come; then the request rejects. If the reply
   * is still missing after the same time again, the connection ends, because
   * the next reply would be taken for it.
   *
   * @default {30_000}
   */
  timeout?: number;
}

/** What each option of a request may be. */
export const REQUEST_OPTIONS: OptionTable<RequestOptions> = {
  signal: signal(),
  timeout: timeout(30_000),
};

/** The defaults of {@linkcode RequestOptions}. */
export const REQUEST_DEFAULTS: Readonly<
  Required<Pick<RequestOptions, "timeout">>
> = defaultsOf(REQUEST_OPTIONS);

/**
 * Thrown when a connection is used after its end. Everything that waits on a
 * connection rejects with it when the connection ends.
 *
 * ```ts
 * import { connect, ConnectionClosedError, serve } from "@blackbelt/networking";
 * import { assert, assertRejects } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => message);
 * const client = await connect(server.addr);
 * await client.close();
 * const { clean } = await assertRejects(() => client.request(1), ConnectionClosedError);
 * assert(clean); // it ended between two frames
 * ```
 */
export class ConnectionClosedError extends Error {
  /**
   * Whether the connection ended between two frames, with everything written.
   */
  readonly clean: boolean;

  /** Makes the error; `cause` is what ended the connection. */
  constructor(message: string, end: ConnectionEnd) {
    super(message, end.cause === undefined ? undefined : { cause: end.cause });
    this.name = "ConnectionClosedError";
    this.clean = end.clean;
  }
}

/**
 * Thrown when more waits than the limit allows: bytes to be written, because
 * the peer reads more slowly than messages are sent, or requests and calls
 * without a reply. Nothing of the message is sent, and the connection stays
 * open. Await `send` to send no faster than the peer reads.
 *
 * ```ts
 * import { BackpressureError, connect, serve } from "@blackbelt/networking";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => message);
 * await using client = await connect({ ...server.addr, maxQueuedBytes: 100 });
 * const replies = Array.from({ length: 50 }, () => client.request("hello"));
 * const { limit } = await assertRejects(() => Promise.all(replies), BackpressureError);
 * assertEquals([limit, await replies[0]], [100, "hello"]);
 * ```
 */
export class BackpressureError extends RangeError {
  /**
   * Bytes that wait to be written, requests or calls that wait for their replies,
   * or UTF-16 units of calls that wait to be sent.
   */
  readonly queued: number;
  /** How many may wait. */
  readonly limit: number;

  /** Makes the error. */
  constructor(
    queued: number,
    limit: number,
    what: "bytes" | "requests" | "calls" | "UTF-16 units of calls" = "bytes",
  ) {
    super(
      what === "bytes"
        ? `Cannot send message: ${queued} bytes wait to be written, limit is ${limit} bytes (maxQueuedBytes)`
        : what === "requests"
        ? `Cannot send request: ${queued} requests wait for their replies, limit is ${limit}`
        : what === "calls"
        ? `Cannot call: ${queued} calls are open, limit is ${limit}`
        : `Cannot call: ${queued} UTF-16 units of calls wait, limit is ${limit}`,
    );
    this.name = "BackpressureError";
    this.queued = queued;
    this.limit = limit;
  }
}

/**
 * Thrown when the server rejects a login, requires one, or does not prove that
 * it knows the secret. All rejections look the same to the peer; on the server,
 * `cause` is what `authenticate` failed with.
 *
 * ```ts
 * import { AuthenticationError, connect, serve, sharedSecret } from "@blackbelt/networking";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const authenticate = sharedSecret("the secret of the server");
 * await using server = serve(
 *   { hostname: "127.0.0.1", port: 0, authenticate },
 *   (message) => message,
 * );
 * const { mayRetry } = await assertRejects(
 *   () => connect({ ...server.addr, authenticate: sharedSecret("another one, that is wrong") }),
 *   AuthenticationError,
 * );
 * assertEquals(mayRetry, false);
 * ```
 */
export class AuthenticationError extends Error {
  /** Whether the server asked to try again later instead of rejecting. */
  readonly mayRetry: boolean;

  /** Makes the error; `reason` names no secret. */
  constructor(
    reason: string,
    { mayRetry = false, ...options }: ErrorOptions & { mayRetry?: boolean } =
      {},
  ) {
    super(`Cannot authenticate: ${reason}`, options);
    this.name = "AuthenticationError";
    this.mayRetry = mayRetry;
  }
}

/** Connection options that are checked, and what measures time. */
export interface Settings
  extends Readonly<Required<Omit<ConnectionOptions, keyof FramingOptions>>> {
  /** The framing of both directions. */
  readonly framing: Framing;
  /** Deadlines tick by these. */
  readonly tickers: Tickers;
}

/** Takes options that were read. */
export function settingsOf(
  given: ConnectionOptions,
  tickers: Tickers = TICKERS,
): Settings {
  const { maxQueuedBytes, idleTimeout, frameTimeout, writeTimeout } = {
    ...CONNECTION_DEFAULTS,
    ...given,
  };
  return {
    framing: resolveFraming(given),
    tickers,
    maxQueuedBytes,
    idleTimeout,
    frameTimeout,
    writeTimeout,
  };
}
