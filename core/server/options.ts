/**
 * What servers are made with.
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
  CONNECTION_OPTIONS,
  type ConnectionOptions,
} from "../connection/connection.ts";
import {
  type EndpointOptions,
  endpointOptions,
  isAbstract,
} from "../platform/platform.ts";
import type { ServerEvent } from "./events.ts";
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

/** Options of `listen`. */
export interface ListenOptions<T = JsonValue, I = unknown>
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
   * Connections open at the same time. While there are as many, accepting
   * pauses, and peers wait in the platform's backlog. One that has finished its
   * handshake waits within `handshakeTimeout`, and is then told to try again
   * later.
   *
   * @default {1_000}
   */
  maxConnections?: number;
  /**
   * Connections of one IPv4 address, or of IPv6 addresses with the same first
   * 64 bits. More are closed at once. Clients of a Unix socket have no address,
   * so it must be `Infinity` there.
   *
   * @default {Infinity}
   */
  maxConnectionsPerIp?: number;
  /**
   * Handshakes in progress: peers that have not finished encryption and
   * authentication, or are being told that they are rejected. They do not count
   * as `maxConnections`. Beyond this, the oldest of the address that has the
   * most is dropped.
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
  /**
   * Encrypts the connections. Without it, everybody on the path can read them.
   */
  tls?: TlsServerOptions;
  /**
   * Accepts or rejects each peer: `sharedToken`, `sharedSecret`, or a function
   * that gets the first message. No handler runs before.
   */
  authenticate?: Authentication<I> | Verifier<I>;
  /**
   * Whether to remove the Unix socket that a killed server of this package left
   * behind. A socket of another program or of a running server is never
   * removed. Only for a `path` that is a file.
   */
  removeStale?: boolean;
  /** Closes the listener, or shuts the server down, when aborted. */
  signal?: AbortSignal;
  /**
   * Called with each event. An error of the function is printed, and ends
   * nothing. The events are also published on the channel
   * `@blackbelt/networking:server` of `node:diagnostics_channel`.
   */
  onEvent?: (event: ServerEvent<T>) => void;
}

/** Options of `listen` with a handler. */
export interface ServerOptions<T = JsonValue, I = unknown>
  extends ListenOptions<T, I> {
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
export interface ServeOptions<T = JsonValue, I = unknown>
  extends ServerOptions<T, I> {
  /**
   * Messages of one connection that have no reply yet. While there are as many,
   * or they have more bytes than `maxFrameBytes`, nothing more is read from it.
   *
   * @default {100}
   */
  maxInFlight?: number;
  /**
   * Answers when the handler fails. Without it, the error is printed unless the
   * peer caused it, and the connection is closed. TypeScript infers the type of
   * `identity` only if `authenticate` stands before it.
   */
  onError?: ErrorHandler<T, I>;
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
