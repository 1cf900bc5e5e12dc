/**
 * What a server tells: events and counts.
 *
 * @module
 */
import type {
  Address,
  ClosedEvent,
  ConnectedEvent,
  FailedEvent,
} from "../connection/connection.ts";
import type { JsonValue } from "../framing/framing.ts";

/**
 * Why a peer was rejected after it had been accepted: no connection ended in
 * time (`maxConnections`), its address has too many (`maxConnectionsPerIp`), it
 * was the oldest of too many handshakes (`maxPending`), its address had failed
 * too often (`failures`), the handshake failed (`tls`, `authentication`) or was
 * too slow (`handshakeTimeout`), or the server was closing (`closed`).
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

/** A server accepts connections from now on. */
export interface ListeningEvent {
  /** The kind of event. */
  readonly type: "listening";
  /** Where it listens. */
  readonly addr: Address;
}

/** A server has rejected a peer. */
export interface RejectedEvent {
  /** The kind of event. */
  readonly type: "rejected";
  /** Address of the peer. */
  readonly remoteAddr: Address;
  /** Why. */
  readonly reason: RejectionReason;
  /** What went wrong, if something did. */
  readonly error?: unknown;
}

/**
 * A connection could not be accepted. The server goes on, after a pause if the
 * peer was not the reason.
 */
export interface AcceptFailedEvent extends FailedEvent {
  /**
   * Whether the peer left before it was accepted, which is no fault of the
   * server.
   */
  readonly isOfPeer: boolean;
}

/**
 * A server is shutting down: it accepts no more connections, and each that is
 * open ends when its messages are answered.
 */
export interface DrainingEvent {
  /** The kind of event. */
  readonly type: "draining";
  /** Connections that are open. */
  readonly connections: number;
}

/**
 * An event of a server, for logs and counters. Every `connected` is followed by
 * one `closed` of the same connection.
 */
export type ServerEvent<T = JsonValue> =
  | ListeningEvent
  | ConnectedEvent<T>
  | RejectedEvent
  | AcceptFailedEvent
  | ClosedEvent<T>
  | DrainingEvent;

/** Counts of a server, so far and at the moment. */
export interface ServerStats {
  /** Connections that are open. */
  readonly connections: number;
  /** Handshakes in progress, those being rejected included. */
  readonly pending: number;
  /** Peers accepted so far, including those that were rejected later. */
  readonly accepted: number;
  /** Peers rejected so far. */
  readonly rejected: number;
  /** How often accepting has failed. */
  readonly failed: number;
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
