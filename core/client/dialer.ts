/**
 * Making connections to one server.
 *
 * @module
 */
import { halfOf, logIn, screenServer } from "../auth/auth.ts";
import {
  type Address,
  AuthenticationError,
  type Connection,
  ConnectionClosedError,
  keepAlive,
  type Link,
  linkOf,
  type Settings,
  settingsOf,
} from "../connection/connection.ts";
import {
  type Handshake,
  type HandshakeSteps,
  shakeHands,
} from "../handshake/handshake.ts";
import {
  addressOf,
  checkEndpoint,
  type dial,
  isHopeless,
  type Socket,
} from "../platform/platform.ts";
import { secureClient, TlsError } from "../tls/tls.ts";
import { onTimeout, pause, timeoutError } from "../tools/abort.ts";
import { addressText, nameEndpoint } from "../tools/address.ts";
import { Events } from "../tools/events.ts";
import type { ClientEvent } from "./contract.ts";
import {
  CONNECT_DEFAULTS,
  type ConnectOptions,
  type Heartbeat,
  resolveHeartbeat,
} from "./options.ts";

/** Connects to one server, once for each call of `connect`. */
export class Dialer<T> {
  readonly #events: Events<ClientEvent<T>>;
  readonly #options: typeof CONNECT_DEFAULTS & ConnectOptions<T>;
  /** The framing and limits of the connections. */
  readonly settings: Settings;
  readonly #endpoint: Address;
  readonly #steps: HandshakeSteps<T>;
  readonly #heartbeat: Required<Heartbeat> | undefined;
  readonly #dial: typeof dial;

  /** Takes options that were read, and the function that opens a socket. */
  constructor(options: ConnectOptions<T>, dialSocket: typeof dial) {
    const resolved = { ...CONNECT_DEFAULTS, ...options };
    const { tls, authenticate, heartbeat } = resolved;
    this.#options = resolved;
    this.#dial = dialSocket;
    this.settings = settingsOf({
      ...options,
      idleTimeout: resolved.idleTimeout,
    });
    this.#heartbeat = heartbeat &&
      resolveHeartbeat(heartbeat, this.settings.framing);
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
    // Certificates name an IPv6 address without brackets.
    const hostname = this.#endpoint.transport === "tcp"
      ? this.#endpoint.hostname.replace(/^\[(.+)\]$/, "$1")
      : "";
    this.#steps = {
      encrypt: secure && ((bytes, signal) => secure(bytes, hostname, signal)),
      logIn: prove && ((link, signal) => logIn(link, prove, signal)),
    };
    this.#events = new Events("@blackbelt/networking:client", resolved.onEvent);
  }

  /** Connects after a delay, unless `signal` is aborted before that is done. */
  async connect(
    signal: AbortSignal | undefined,
    delay = 0,
  ): Promise<Connection<T>> {
    this.#events.emit({ type: "connecting", delay });
    let connection: Connection<T>;
    let link: Link<T>;
    try {
      if (delay > 0) await pause(delay, signal);
      const timeout = this.#options.connectTimeout;
      const socket = await this.#dial(this.#endpoint, { timeout, signal });
      connection = await this.#shakeHands(socket, signal);
      link = linkOf(connection);
      // It may have ended since the login.
      if (link.isEnded) throw link.gone("connect");
    } catch (error) {
      if (error !== signal?.reason) {
        nameEndpoint(error, "connect to", addressText(this.#endpoint));
      }
      this.#events.emit({ type: "failed", error });
      throw error;
    }
    this.#events.emit({ type: "connected", connection });
    connection.closed.then((end) =>
      this.#events.emit({
        type: "closed",
        connection,
        end,
        stats: link.stats(),
      })
    );
    if (this.#heartbeat !== undefined) {
      const { message, interval } = this.#heartbeat;
      keepAlive(link, () => link.beat(message), interval);
    }
    return connection;
  }

  /** Does the handshake, if there is one, within `handshakeTimeout`. */
  async #shakeHands(
    socket: Socket,
    signal: AbortSignal | undefined,
  ): Promise<Connection<T>> {
    const { handshakeTimeout } = this.#options;
    const info = {
      localAddr: addressOf(socket.localAddr),
      // The platform has the path that a Unix socket was made with.
      remoteAddr: addressOf(socket.remoteAddr, this.#endpoint),
      peerName: addressText(this.#endpoint),
      canProbe: this.#endpoint.transport === "tcp",
      screen: this.#steps.logIn === undefined ? screenServer : undefined,
    };
    const pending = new AbortController();
    const stop = onTimeout(
      handshakeTimeout,
      signal,
      () =>
        timeoutError(
          `Cannot connect to ${info.peerName}: the handshake took longer than ${handshakeTimeout} ms (handshakeTimeout)`,
        ),
      (reason) => pending.abort(reason),
    );
    const handshake: Handshake<T> = { socket, signal: pending.signal };
    try {
      return await shakeHands(handshake, this.#steps, this.settings, info);
    } catch (error) {
      handshake.connection?.abort(error);
      throw rejectionIn(error) ?? error;
    } finally {
      stop();
    }
  }
}

/**
 * What the server said against the client's certificate: by TLS 1.3 it says so
 * when the client is done, and so in its login.
 */
function rejectionIn(error: unknown): TlsError | undefined {
  if (!(error instanceof ConnectionClosedError)) return;
  const { cause } = error;
  return cause instanceof TlsError && !cause.mayRetry ? cause : undefined;
}

/** Whether another attempt to connect would fail in the same way. */
export function isFinal(error: unknown): boolean {
  if (error instanceof AuthenticationError || error instanceof TlsError) {
    return !error.mayRetry;
  }
  return error instanceof TypeError || error instanceof RangeError ||
    isHopeless(error);
}
