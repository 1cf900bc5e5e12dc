/**
 * What servers are made with, and what they tell.
 *
 * @module
 */
import type { JsonValue } from "../framing/framing.ts";
import {
  AUTHENTICATE_OPTION,
  type Authentication,
  type Verifier,
} from "../auth/auth.ts";
import {
  type Address,
  type Connection,
  CONNECTION_OPTIONS,
  type ConnectionEnd,
  type ConnectionOptions,
  type ConnectionStats,
} from "../connection/connection.ts";
import {
  type EndpointOptions,
  endpointOptions,
  isAbstract,
} from "../platform/platform.ts";
import type { ErrorHandler } from "./respond.ts";
import type { TlsServerOptions } from "../tls/tls.ts";
import {
  defaultsOf,
  flag,
  hook,
  limit,
  type OptionTable,
  secretBag,
  signal,
  timeout,
} from "../tools/options.ts";

/**
 * Why a peer that was accepted did not become a connection: no connection
 * ended to make room for it, it had as many as one address may have, it was the
 * oldest of too many handshakes in progress, its address had failed too often,
 * it could not be secured or authenticated, or not in time, or the server was
 * closing.
 */
export type RejectionReason =
  | "maxConnections"
  | "maxConnectionsPerIp"
  | "maxPending"
  | "failures"
  | "tls"
  | "authentication"
  | "handshakeTimeout"
  | "closed";

/**
 * What happens on a server: for a log, for counters. Every `connected` is
 * followed by one `closed` of the same connection.
 */
export type ServerEvent<T = JsonValue> =
  /** The server accepts connections from now on. */
  | { readonly type: "listening"; readonly addr: Address }
  /** A peer connected: encrypted and authenticated, where that is asked for. */
  | { readonly type: "connected"; readonly connection: Connection<T> }
  /** A peer was not let in. */
  | {
    readonly type: "rejected";
    readonly remoteAddr: Address;
    readonly reason: RejectionReason;
    readonly error?: unknown;
  }
  /** A connection ended. */
  | {
    readonly type: "closed";
    readonly connection: Connection<T>;
    readonly end: ConnectionEnd;
    readonly stats: ConnectionStats;
  }
  /**
   * A connection could not be accepted; the server goes on, after
   * `acceptBackoff` if the peer was not the reason.
   */
  | {
    readonly type: "acceptFailed";
    readonly error: unknown;
    /** Whether the peer left before it was accepted: no fault of the server. */
    readonly isOfPeer: boolean;
  }
  /**
   * No more connections are accepted, and those open end when they are
   * answered.
   */
  | { readonly type: "draining"; readonly connections: number };

/** What a server has done so far, and does now. */
export interface ServerStats {
  /** Connections that are open. */
  readonly connections: number;
  /** Peers that are not let in yet, or are being told that they are refused. */
  readonly pending: number;
  /** Peers accepted so far, those that were rejected included. */
  readonly accepted: number;
  /** Peers rejected so far. */
  readonly rejected: number;
  /** Times that accepting has failed. */
  readonly acceptFailures: number;
  /** Messages received so far, over all connections. */
  readonly messagesReceived: number;
  /** Messages sent so far. */
  readonly messagesSent: number;
  /** Bytes received so far, prefixes included. */
  readonly bytesReceived: number;
  /** Bytes written so far. */
  readonly bytesSent: number;
  /** Bytes that wait to be written now. */
  readonly bytesQueued: number;
}

/** Options of `listen`. */
export interface ListenOptions<T = JsonValue>
  extends ConnectionOptions, EndpointOptions {
  /**
   * Address to listen on.
   *
   * @default {"0.0.0.0"}
   */
  hostname?: string;
  /**
   * Port to listen on; 0 for any that is free.
   *
   * @default {8080}
   */
  port?: number;
  /**
   * Connections open at the same time. Where there are as many, accepting
   * pauses, and peers wait in the platform's backlog; one in the middle of its
   * handshake waits within `handshakeTimeout`, and is told to try again later.
   *
   * @default {1_000}
   */
  maxConnections?: number;
  /**
   * Connections of one address: of one IPv4 address, or of the IPv6 addresses
   * with the same first 64 bits. More are closed at once. Clients of a Unix
   * socket have no address, so there it can only be `Infinity`.
   *
   * @default {Infinity}
   */
  maxConnectionsPerIp?: number;
  /**
   * Peers that have not finished encryption and authentication, or are being told
   * that they are refused; they are no `maxConnections`. Where one more comes, one
   * of the address that has the most of them is dropped, its oldest (IPv6
   * addresses count by their first 64 bits).
   *
   * @default {100}
   */
  maxPending?: number;
  /**
   * Milliseconds for encryption and authentication together, and for the wait
   * for a slot where there are `maxConnections`.
   *
   * @default {5_000}
   */
  handshakeTimeout?: number;
  /** Encrypts the connections; without it, everybody on the way can read them. */
  tls?: TlsServerOptions;
  /**
   * Lets a peer in, or does not: `sharedToken`, `sharedSecret`, or a function
   * that sees the first message. Nothing else of the peer is handled before.
   */
  authenticate?: Authentication | Verifier;
  /**
   * Whether the file of a Unix socket is removed that a server left which was
   * killed: it is, unless this is `false`. A socket of another program stays,
   * and so does one whose server lives. Only for a `path` that is a file.
   */
  removeStale?: boolean;
  /**
   * Milliseconds to wait after a connection could not be accepted, for example
   * for want of descriptors.
   *
   * @default {100}
   */
  acceptBackoff?: number;
  /** Closes the listener when aborted; a server shuts down. */
  signal?: AbortSignal;
  /**
   * Called with what happens. An error of the function is printed, and ends
   * nothing. The same is published on the channel
   * `@blackbelt/networking:server` of `node:diagnostics_channel`.
   */
  onEvent?: (event: ServerEvent<T>) => void;
}

/** Options of `listen` with a handler. */
export interface ServerOptions<T = JsonValue> extends ListenOptions<T> {
  /**
   * Milliseconds that `Server.shutdown` gives the connections to end.
   *
   * @default {10_000}
   */
  shutdownTimeout?: number;
  /**
   * Called once the server accepts connections, with its address. An error of
   * the function is printed, and ends nothing.
   */
  onListen?: (addr: Address) => void;
}

/** Options of `serve`. */
export interface ServeOptions<T = JsonValue> extends ServerOptions<T> {
  /**
   * Messages of one connection whose replies are outstanding; where there are
   * as many, no more is read from it.
   *
   * @default {100}
   */
  maxInFlight?: number;
  /**
   * Answers for what a handler cannot answer; without it, the error is printed
   * unless the peer caused it, and the connection is closed.
   */
  onError?: ErrorHandler<T>;
}

/** What each option may be. */
export const LISTEN_OPTIONS: OptionTable<ListenOptions> = {
  ...CONNECTION_OPTIONS,
  ...endpointOptions("0.0.0.0"),
  maxConnections: limit(1_000),
  maxConnectionsPerIp: limit(Infinity),
  maxPending: limit(100),
  handshakeTimeout: timeout(5_000),
  tls: secretBag(),
  authenticate: AUTHENTICATE_OPTION,
  removeStale: flag(),
  acceptBackoff: timeout(100),
  signal: signal(),
  onEvent: hook(),
};

/** The same for a server, whatever it does with its connections. */
export const SERVER_OPTIONS: OptionTable<ServerOptions> = {
  ...LISTEN_OPTIONS,
  shutdownTimeout: timeout(10_000),
  onListen: hook(),
};

/** The same for a server that answers messages. */
export const SERVE_OPTIONS: OptionTable<ServeOptions> = {
  ...SERVER_OPTIONS,
  maxInFlight: limit(100),
  onError: hook(),
};

/**
 * Throws for an option that has no meaning where the server listens.
 *
 * @param given The options that were given, without the defaults.
 */
export function checkForAddress(
  { removeStale, maxConnectionsPerIp = Infinity }: Pick<
    ListenOptions,
    "removeStale" | "maxConnectionsPerIp"
  >,
  address: Address,
): void {
  const isUnix = address.transport === "unix";
  if (removeStale !== undefined && (!isUnix || isAbstract(address.path))) {
    throw new TypeError(
      'Cannot use option "removeStale": only a Unix socket with a path has a file',
    );
  }
  if (isUnix && maxConnectionsPerIp !== Infinity) {
    throw new TypeError(
      'Cannot use option "maxConnectionsPerIp": clients of a Unix socket have no address',
    );
  }
}

/** The defaults of {@linkcode ListenOptions}. */
export const LISTEN_DEFAULTS: Readonly<
  Required<
    Omit<
      ListenOptions,
      | "path"
      | "transport"
      | "tls"
      | "authenticate"
      | "removeStale"
      | "signal"
      | "onEvent"
    >
  >
> = defaultsOf(LISTEN_OPTIONS);

/** The defaults of {@linkcode ServeOptions}. */
export const SERVE_DEFAULTS:
  & typeof LISTEN_DEFAULTS
  & Readonly<Required<Pick<ServeOptions, "maxInFlight" | "shutdownTimeout">>> =
    defaultsOf(SERVE_OPTIONS);
