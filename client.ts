/**
 * Connecting to a server. As a program, the client:
 * `deno run --allow-net=localhost client.ts`.
 *
 * @module
 */
import { onAbort, onTimeout, timeoutError } from "./core/tools/abort.ts";
import {
  checkHeartbeatInterval,
  Client,
  type ClientEvent,
  CONNECT_DEFAULTS,
  CONNECT_OPTIONS,
  type ConnectOptions,
  type ReconnectOptions,
} from "./core/client/client.ts";
import { halfOf, logIn, screenServer } from "./core/auth/auth.ts";
import {
  type Address,
  type Connection,
  keepAlive,
  type Link,
  linkOf,
  makeConnection,
  Settings,
} from "./core/connection/connection.ts";
import {
  addressOf,
  checkEndpoint,
  dial,
  isDenied,
  type Socket,
} from "./core/platform/platform.ts";
import { Events } from "./core/tools/events.ts";
import { addressText, nameEndpoint } from "./core/tools/address.ts";
import {
  type Handshake,
  type HandshakeSteps,
  shakeHands,
} from "./core/handshake/handshake.ts";
import { secureClient } from "./core/tls/tls.ts";
import { readOptions } from "./core/tools/options.ts";
import type { JsonValue } from "./core/framing/framing.ts";

export { CONNECT_DEFAULTS, type ConnectOptions } from "./core/client/client.ts";

/** Options of {@linkcode connect} for a client that connects again. */
export interface ReconnectingOptions<T = JsonValue> extends ConnectOptions<T> {
  /**
   * Connects again where the connection was lost: `true`, or how. The first
   * connection must succeed.
   */
  reconnect: ReconnectOptions | true;
}

/**
 * Connects to a server, like `Deno.connect`.
 *
 * ```ts
 * import { connect, serve } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => message);
 * await using client = await connect(server.addr);
 * const replies = await Promise.all([client.request(1), client.request(2)]);
 * assertEquals(replies, [1, 2]);
 * ```
 *
 * @typeParam T What the messages of the server are taken to be; nothing checks
 * it.
 * @param options Where to connect to, framing and limits.
 * @throws {Deno.errors.ConnectionRefused} If nobody listens there.
 * @throws {Deno.errors.NotCapable} If the permission to connect there is
 * missing.
 * @throws {DOMException} With the name `TimeoutError`, if it takes longer than
 * `connectTimeout`.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If an option does not exist or has the wrong type.
 */
export function connect<T = JsonValue>(
  options: ReconnectingOptions<T>,
): Promise<Client<T>>;
/**
 * Connects to a server, like `Deno.connect`.
 *
 * @typeParam T What the messages of the server are taken to be; nothing checks
 * it.
 * @param options Where to connect to, framing and limits.
 */
export function connect<T = JsonValue>(
  options?: ConnectOptions<T> & { reconnect?: false },
): Promise<Connection<T>>;
export async function connect<T = JsonValue>(
  options: ConnectOptions<T> & {
    reconnect?: ReconnectingOptions<T>["reconnect"] | false;
  } = {},
): Promise<Connection<T> | Client<T>> {
  const { reconnect = false, ...rest } = readOptions(CONNECT_OPTIONS, options);
  const dialer = new Dialer<T>(rest);
  const { signal } = rest;
  signal?.throwIfAborted();
  if (reconnect === false) return await dialer.connect(signal);
  const client = new Client<T>(
    (closing) => dialer.connect(closing),
    isFinal,
    dialer.events,
    reconnect === true ? {} : reconnect,
    dialer.settings,
  );
  onAbort(signal, (reason) => client.abort(reason), client.signal);
  return await client.open();
}

/** Whether trying again now would not help. */
function isFinal(error: unknown): boolean {
  return error instanceof TypeError || isDenied(error);
}

/** Connects to one server, as often as it is told to. */
class Dialer<T> {
  readonly events: Events<ClientEvent<T>>;
  readonly #options: typeof CONNECT_DEFAULTS & ConnectOptions<T>;
  readonly settings: Settings;
  readonly #endpoint: Address;
  readonly #steps: HandshakeSteps<T>;

  /** Takes options that were read. */
  constructor(options: ConnectOptions<T>) {
    const resolved = { ...CONNECT_DEFAULTS, ...options };
    const { tls, authenticate } = resolved;
    this.#options = resolved;
    checkHeartbeatInterval(
      options.heartbeatInterval,
      options.heartbeat !== undefined,
    );
    this.settings = new Settings(options);
    this.#endpoint = checkEndpoint(options, CONNECT_DEFAULTS);
    const secure = tls && secureClient(tls === true ? {} : tls);
    if (
      this.#endpoint.transport === "unix" && tls !== undefined &&
      (tls === true || tls.serverName === undefined)
    ) {
      throw new TypeError(
        'Cannot use option "tls": a Unix socket has no name to check, so it needs "serverName"',
      );
    }
    const prove = authenticate &&
      halfOf("prove", authenticate, this.#endpoint, secure !== undefined);
    const hostname = this.#endpoint.transport === "tcp"
      ? withoutBrackets(this.#endpoint.hostname)
      : "";
    this.#steps = {
      encrypt: secure && ((bytes, signal) => secure(bytes, hostname, signal)),
      logIn: prove && ((link, signal) => logIn(link, prove, signal)),
    };
    this.events = new Events("@blackbelt/networking:client", resolved.onEvent);
  }

  /** Connects, unless `signal` is aborted before that is done. */
  async connect(signal: AbortSignal | undefined): Promise<Connection<T>> {
    this.events.emit({ type: "connecting" });
    let connection: Connection<T>;
    let link: Link<T>;
    try {
      const timeout = this.#options.connectTimeout;
      const socket = await dial(this.#endpoint, { timeout, signal });
      connection = await this.#shakeHands(socket, signal);
      link = linkOf(connection);
      // It may have ended since the verdict of the login.
      if (link.isEnded) throw link.gone("connect");
    } catch (error) {
      if (error !== signal?.reason) {
        nameEndpoint(error, "connect to", addressText(this.#endpoint));
      }
      this.events.emit({ type: "failed", error });
      throw error;
    }
    this.events.emit({ type: "connected", connection });
    const { signal: over } = this.#options;
    const stopListening = onAbort(over, (reason) => connection.abort(reason));
    connection.closed.then((end) => {
      stopListening();
      this.events.emit({ type: "disconnected", connection, end });
    });
    const { heartbeat, heartbeatInterval } = this.#options;
    if (heartbeat !== undefined) {
      keepAlive(link, () => link.beat(heartbeat), heartbeatInterval);
    }
    return connection;
  }

  /** Encrypts and authenticates, where that is asked for, in the given time. */
  async #shakeHands(
    socket: Socket,
    signal: AbortSignal | undefined,
  ): Promise<Connection<T>> {
    const { handshakeTimeout } = this.#options;
    const info = {
      localAddr: addressOf(socket.localAddr),
      // The platform tells the name that the socket had when it was made.
      remoteAddr: addressOf(socket.remoteAddr, this.#endpoint),
      peerName: addressText(this.#endpoint),
      canProbe: this.#endpoint.transport === "tcp",
      screen: this.#steps.logIn === undefined ? screenServer : undefined,
    };
    const { encrypt, logIn } = this.#steps;
    if (encrypt === undefined && logIn === undefined) {
      return makeConnection<T>(socket, this.settings, info);
    }
    const pending = new AbortController();
    const stop = onTimeout(
      handshakeTimeout,
      signal,
      () =>
        timeoutError(
          `Cannot connect to ${info.peerName}: the handshake is not done after ${handshakeTimeout} ms (handshakeTimeout)`,
        ),
      (reason) => pending.abort(reason),
    );
    const handshake: Handshake<T> = { socket, signal: pending.signal };
    try {
      return await shakeHands(handshake, this.#steps, this.settings, info);
    } catch (error) {
      handshake.connection?.abort(error);
      throw error;
    } finally {
      stop();
    }
  }
}

/** As certificates have it: the brackets are for a port behind. */
function withoutBrackets(hostname: string): string {
  return hostname.replace(/^\[(.+)\]$/, "$1");
}

if (import.meta.main) {
  // Not awaited: the program imports this module.
  import("./cli/client.ts").then(({ main }) => main());
}
