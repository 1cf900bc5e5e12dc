/**
 * What a client is told, and what it tells.
 *
 * @module
 */
import {
  AUTHENTICATE_OPTION,
  type Authentication,
  type Prover,
} from "../auth/auth.ts";
import {
  type Connection,
  CONNECTION_OPTIONS,
  type ConnectionEnd,
  type ConnectionOptions,
} from "../connection/connection.ts";
import { type EndpointOptions, endpointOptions } from "../platform/platform.ts";
import type { TlsClientOptions } from "../tls/tls.ts";
import {
  anything,
  bag,
  defaultsOf,
  hook,
  limit,
  type OptionTable,
  readOptions,
  secretBag,
  signal,
  timeout,
} from "../tools/options.ts";
import { encodeFrame, type JsonValue } from "../framing/framing.ts";

/** Options of `connect`. */
export interface ConnectOptions<T = JsonValue>
  extends ConnectionOptions, EndpointOptions {
  /**
   * Host to connect to.
   *
   * @default {"localhost"}
   */
  hostname?: string;
  /**
   * Port to connect to.
   *
   * @default {8080}
   */
  port?: number;
  /**
   * Milliseconds for connecting; `Infinity` for as long as the platform tries.
   * Temporary failures, such as the full backlog of a Unix socket, are tried
   * again within it.
   *
   * @default {10_000}
   */
  connectTimeout?: number;
  /**
   * Milliseconds for encryption and authentication together.
   *
   * @default {5_000}
   */
  handshakeTimeout?: number;
  /**
   * Encrypts the connection, and checks the server's certificate; `true` trusts
   * the authorities that the platform trusts. A server that rejects this
   * client's certificate may do so after the client is connected; then the
   * first request fails.
   */
  tls?: TlsClientOptions | true;
  /** How the client logs in: `sharedToken`, `sharedSecret`, or a function. */
  authenticate?: Authentication | Prover;
  /**
   * A message that the server answers, sent when nothing was sent or nothing
   * has come for `heartbeatInterval`. Any answer shows that the server is
   * alive. It is an ordinary request, so the server must answer each message.
   */
  heartbeat?: unknown;
  /**
   * Milliseconds without a message in one direction before a heartbeat is sent,
   * and for its answer; without an answer the connection ends. It must be
   * longer than the slowest answer takes. Only with a `heartbeat`.
   *
   * @default {20_000}
   */
  heartbeatInterval?: number;
  /**
   * Gives up connecting when aborted, and later aborts the connection.
   */
  signal?: AbortSignal;
  /**
   * Called with each event. An error of the function is printed, and ends
   * nothing. The events are also published on the channel
   * `@blackbelt/networking:client` of `node:diagnostics_channel`.
   */
  onEvent?: (event: ClientEvent<T>) => void;
}

/** What each option may be. */
export const CONNECT_OPTIONS: OptionTable<
  ConnectOptions & { reconnect?: ReconnectOptions | boolean }
> = {
  ...CONNECTION_OPTIONS,
  ...endpointOptions("localhost"),
  connectTimeout: timeout(10_000),
  handshakeTimeout: timeout(5_000),
  tls: anything((name, value) =>
    value === true || secretBag("true or an object").check(name, value)
  ),
  authenticate: AUTHENTICATE_OPTION,
  heartbeat: anything(checkHeartbeat),
  heartbeatInterval: timeout(20_000),
  reconnect: anything((name, value) =>
    typeof value === "boolean" || bag().check(name, value)
  ),
  signal: signal(),
  onEvent: hook(),
};

/** The defaults of {@linkcode ConnectOptions}. */
export const CONNECT_DEFAULTS: Readonly<
  Required<
    Omit<
      ConnectOptions,
      | "path"
      | "transport"
      | "tls"
      | "authenticate"
      | "heartbeat"
      | "signal"
      | "onEvent"
    >
  >
> = defaultsOf(CONNECT_OPTIONS);

/**
 * Throws where an interval is given and there is no heartbeat to send. Its
 * default asks for nothing.
 */
export function checkHeartbeatInterval(
  interval: number | undefined,
  hasHeartbeat: boolean,
): void {
  if (
    hasHeartbeat || interval === undefined ||
    interval === CONNECT_DEFAULTS.heartbeatInterval
  ) return;
  throw new TypeError(
    'Cannot use option "heartbeatInterval": no "heartbeat" is given',
  );
}

function checkHeartbeat(name: string, message: unknown): void {
  try {
    encodeFrame(message);
  } catch (cause) {
    throw new TypeError(
      `Cannot use option "${name}": JSON cannot represent the value`,
      { cause },
    );
  }
}

/** How a client reconnects. */
export interface ReconnectOptions {
  /**
   * Longest delay, in milliseconds, before the first attempt after a loss. It
   * doubles with each further attempt.
   *
   * @default {100}
   */
  minDelay?: number;
  /**
   * Longest delay, in milliseconds, before any attempt. Each delay is random,
   * from zero to the longest, so that clients which were lost together do not
   * come back together. The delays start from `minDelay` again after a
   * connection that lasted longer than this, or over which a request was
   * answered.
   *
   * @default {30_000}
   */
  maxDelay?: number;
  /**
   * Attempts in a row before the client gives up.
   *
   * @default {Infinity}
   */
  maxAttempts?: number;
}

/** What each option may be. */
const RECONNECT_OPTIONS: OptionTable<ReconnectOptions> = {
  minDelay: timeout(100),
  maxDelay: timeout(30_000),
  maxAttempts: limit(Infinity),
};

/** The defaults of {@linkcode ReconnectOptions}. */
export const RECONNECT_DEFAULTS: Readonly<Required<ReconnectOptions>> =
  defaultsOf(RECONNECT_OPTIONS);

/**
 * Checks how a client connects again.
 *
 * @throws {RangeError} If a number is out of range, or the first delay is more
 * than the longest.
 */
export function resolveReconnect(
  options: ReconnectOptions,
): Required<ReconnectOptions> {
  const resolved = {
    ...RECONNECT_DEFAULTS,
    ...readOptions(RECONNECT_OPTIONS, options),
  };
  const { minDelay, maxDelay } = resolved;
  // A default gives way.
  if (minDelay > maxDelay && minDelay !== RECONNECT_DEFAULTS.minDelay) {
    throw new RangeError(
      `Cannot use option "minDelay": received ${minDelay}, expected at most maxDelay, which is ${maxDelay}`,
    );
  }
  return resolved;
}

/**
 * An event of a client, for logs and counters. Every `connecting` is followed
 * by `connected` or `failed`, every `connected` by `disconnected`.
 */
export type ClientEvent<T = JsonValue> =
  /** It connects. */
  | { readonly type: "connecting" }
  /** It is connected: encrypted and authenticated, where that is asked for. */
  | { readonly type: "connected"; readonly connection: Connection<T> }
  /** It could not connect. */
  | { readonly type: "failed"; readonly error: unknown }
  /** The connection ended. */
  | {
    readonly type: "disconnected";
    readonly connection: Connection<T>;
    readonly end: ConnectionEnd;
  }
  /** It will connect again, after so many milliseconds. */
  | {
    readonly type: "waiting";
    readonly attempt: number;
    readonly delay: number;
  };
