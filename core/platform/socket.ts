/**
 * Sockets of the platform, and what their errors mean.
 *
 * @module
 */
import type { ByteDuplex } from "../connection/connection.ts";

/** A socket that is connected: bytes both ways, and where its ends are. */
export interface Socket extends ByteDuplex {
  /** Where this end is. */
  readonly localAddr: { readonly transport: string };
  /** Address of the peer. */
  readonly remoteAddr: { readonly transport: string };
  ref(): void;
  unref(): void;
  /** Of a TCP socket alone. */
  setNoDelay?(on: boolean): void;
  /** Of a TCP socket alone. */
  setKeepAlive?(on: boolean): void;
}

/**
 * A frame is written whole, so waiting for more to fill a segment would only
 * delay it. The platform's keepalive finds out after hours that a machine is
 * gone, where no deadline does before.
 */
export function tuned(socket: Socket): Socket {
  try {
    socket.setNoDelay?.(true);
    socket.setKeepAlive?.(true);
  } catch {
    // The peer is gone already, and reading will tell.
  }
  return socket;
}

/** Closes a socket that may be closed already. */
export function closeSocket(socket: { close(): void }): void {
  try {
    socket.close();
  } catch {
    // The platform closed it already.
  }
}

/**
 * Whether the peer is the reason that it was not accepted: it left before, or it
 * has bound its Unix socket to a path that is not UTF-8.
 */
export function isOfPeer(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.NotConnected ||
    error instanceof Deno.errors.InvalidData;
}

/** Whether the socket itself is closed. */
export function isClosed(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource;
}
