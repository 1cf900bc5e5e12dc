/**
 * What servers are made of: the door of this folder.
 *
 * @module
 */
export { type ErrorHandler, type Handler, Responder } from "./respond.ts";
export {
  checkForAddress,
  LISTEN_DEFAULTS,
  LISTEN_OPTIONS,
  type ListenOptions,
  type RejectionReason,
  SERVE_DEFAULTS,
  SERVE_OPTIONS,
  type ServeOptions,
  SERVER_OPTIONS,
  type ServerEvent,
  type ServerOptions,
  type ServerStats,
} from "./options.ts";
export { Admission, peerOf } from "./peers.ts";
export { type PendingConnection, PendingConnections } from "./pending.ts";
export { type ConnectionHandler, handle } from "./handle.ts";
export { Timers } from "./timers.ts";
