/**
 * What stands between a socket and its messages, for either end: encryption,
 * then the login. The door of this folder.
 *
 * @module
 */
import {
  type ByteDuplex,
  type Connection,
  type ConnectionInfo,
  type Link,
  linkOf,
  makeConnection,
  type Settings,
} from "../connection/connection.ts";
import type { SecureDuplex } from "../tls/tls.ts";

/** What one end does, each where it is asked for. */
export interface HandshakeSteps<T> {
  /** Encrypts the bytes; closes them where that fails. */
  readonly encrypt?: (
    bytes: ByteDuplex,
    signal: AbortSignal,
  ) => Promise<SecureDuplex>;
  /** Logs in, or lets the peer log in; resolves to who the peer is. */
  readonly logIn?: (
    link: Link<T>,
    signal: AbortSignal,
  ) => Promise<unknown>;
}

/** One handshake. */
export interface Handshake<T> {
  /** The bytes, owned by the handshake. */
  readonly socket: ByteDuplex;
  /** Gives the handshake up when aborted. */
  readonly signal: AbortSignal;
  /**
   * There once the bytes are encrypted. Where the login fails, the code that
   * began the handshake ends it.
   */
  connection?: Connection<T>;
}

/**
 * Makes a connection of a socket, once all that was asked for is done.
 *
 * @throws {AuthenticationError} If the login fails.
 * @throws {TlsError} If the encryption fails.
 * @throws The signal's reason, if it is aborted.
 */
export async function shakeHands<T>(
  handshake: Handshake<T>,
  { encrypt, logIn }: HandshakeSteps<T>,
  settings: Settings,
  info: ConnectionInfo<T>,
): Promise<Connection<T>> {
  const { socket, signal } = handshake;
  const secure = encrypt && await encrypt(socket, signal);
  const connection = makeConnection<T>(
    secure?.duplex ?? socket,
    settings,
    { ...info, tls: secure?.info },
  );
  handshake.connection = connection;
  const link = linkOf(connection);
  link.identity = logIn && await logIn(link, signal);
  signal.throwIfAborted();
  return connection;
}
