/**
 * How a client connects again, and what it tells of that.
 *
 * @module
 */
import type { JsonValue } from "../framing/framing.ts";
import {
  type Connection,
  type ConnectionEnd,
  linkOf,
} from "../connection/connection.ts";
import {
  defaultsOf,
  limit,
  type OptionTable,
  readOptions,
  timeout,
} from "../tools/options.ts";

/** How a client connects again. */
export interface ReconnectOptions {
  /**
   * Most milliseconds before the first attempt after a loss; twice as many
   * before each further one.
   *
   * @default {100}
   */
  minDelay?: number;
  /**
   * Most milliseconds before any attempt. The delay is drawn from zero to the
   * most, so that clients that were lost together do not come back together.
   * The delays begin anew after a connection that lasted longer than this, or
   * over which the server has answered a request.
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
 * What happens to a client: for a log, for counters. Every `connecting` is
 * followed by `connected` or `failed`, every `connected` by `disconnected`.
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

/** Whether something new can be sent over a connection, and replies can come. */
export function isUsable<T>(
  connection: Connection<T> | undefined,
): connection is Connection<T> {
  return connection !== undefined && !linkOf(connection).isOver;
}
