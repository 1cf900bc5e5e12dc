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
  CONNECTION_OPTIONS,
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
  MOST_TIMEOUT,
  type OptionTable,
  readOptions,
  secretBag,
  signal,
  timeout,
} from "../tools/options.ts";
import type { ClientEvent } from "./contract.ts";
import {
  EncodedMessage,
  encodeText,
  type Framing,
  type JsonValue,
} from "../framing/framing.ts";

/** What a client sends to see that its server is alive. */
export interface Heartbeat {
  /**
   * A message that the server answers, whatever the answer. It is an ordinary
   * request, so the server must answer each message. It is sent as it was when
   * the option was given.
   */
  message: unknown;
  /**
   * Milliseconds without a message in one direction before a heartbeat is sent,
   * and for its answer; without an answer the connection ends. It must be
   * longer than the slowest answer takes.
   *
   * @default {20_000}
   */
  interval?: number;
}

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
  /**
   * Milliseconds without a whole frame from the server, while one is expected,
   * after which the connection is closed. A server may have nothing to say for
   * long, so there is no limit by default. Where a server only sends, and does
   * so regularly, set more than its longest pause to notice that it is gone.
   *
   * @default {Infinity}
   */
  idleTimeout?: number;
  /** How the client logs in: `sharedToken`, `sharedSecret`, or a function. */
  authenticate?: Authentication | Prover;
  /**
   * Asks the server for a sign of life, so that a quiet connection stays open
   * and a dead one is noticed.
   */
  heartbeat?: Heartbeat;
  /** Gives up connecting when aborted; the connection is not affected. */
  signal?: AbortSignal;
  /**
   * Called with each event. An error of the function is printed, and ends
   * nothing. The events are also published on the channel
   * `@blackbelt/networking:client` of `node:diagnostics_channel`.
   */
  onEvent?: (event: ClientEvent<T>) => void;
}

/** What each option may be. */
export const CONNECT_OPTIONS: OptionTable<ConnectOptions> = {
  ...CONNECTION_OPTIONS,
  ...endpointOptions("localhost"),
  idleTimeout: timeout(Infinity),
  connectTimeout: timeout(10_000),
  handshakeTimeout: timeout(5_000),
  tls: anything((name, value) =>
    value === true || secretBag("true or an object").check(name, value)
  ),
  authenticate: AUTHENTICATE_OPTION,
  heartbeat: bag('an object like { message: "ping" }'),
  signal: signal(),
  onEvent: hook(),
};

/** The defaults of {@linkcode ConnectOptions}. */
export const CONNECT_DEFAULTS: Readonly<
  Required<
    & ConnectionOptions
    & Pick<
      ConnectOptions,
      "hostname" | "port" | "connectTimeout" | "handshakeTimeout"
    >
  >
> = defaultsOf(CONNECT_OPTIONS);

const HEARTBEAT_OPTIONS: OptionTable<Heartbeat> = {
  message: anything(),
  interval: timeout(20_000),
};

/**
 * Reads a heartbeat. Its message is encoded once and for all: nobody would hear
 * of it if it could not be sent later.
 *
 * @throws {RangeError} If the interval is out of range.
 * @throws {TypeError} If the message cannot be sent, or an option does not exist
 * or has the wrong type.
 */
export function resolveHeartbeat(
  heartbeat: Heartbeat,
  framing: Framing,
): Required<Heartbeat> {
  const { message, interval } = {
    ...defaultsOf<{ interval: number }>(HEARTBEAT_OPTIONS),
    ...readOptions(HEARTBEAT_OPTIONS, heartbeat),
  };
  try {
    const text = encodeText(message, framing);
    return { message: new EncodedMessage(text), interval };
  } catch (cause) {
    const problem = message === undefined
      ? "a heartbeat needs one"
      : "the value cannot be sent";
    throw new TypeError(`Cannot use option "message": ${problem}`, { cause });
  }
}

/**
 * Options of a client that connects again: those of `connect`, for each of its
 * connections.
 */
export interface ClientOptions<T = JsonValue> extends ConnectOptions<T> {
  /**
   * Longest delay, in milliseconds, before any attempt to connect. The first
   * attempt of a client is made at once. Each later delay is random, from zero
   * to 100 ms at first and to twice as much after each failure, so that clients
   * which were lost together do not come back together. The delays start from
   * 100 ms again after a connection that lasted longer than this, or over which
   * a request was answered.
   *
   * @default {30_000}
   */
  maxRetryDelay?: number;
  /** Gives up the first connection when aborted; later ones are not affected. */
  signal?: AbortSignal;
}

/** What each option may be. */
export const CLIENT_OPTIONS: OptionTable<ClientOptions> = {
  ...CONNECT_OPTIONS,
  maxRetryDelay: limit(30_000, { most: MOST_TIMEOUT, allowInfinity: false }),
};

/** The defaults of {@linkcode ClientOptions}. */
export const CLIENT_DEFAULTS:
  & typeof CONNECT_DEFAULTS
  & Readonly<Required<Pick<ClientOptions, "maxRetryDelay">>> = defaultsOf(
    CLIENT_OPTIONS,
  );
