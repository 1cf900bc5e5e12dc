/**
 * JSON messages over TCP, TLS and Unix sockets, each behind its length in 4
 * bytes, big-endian.
 *
 * {@linkcode serve} answers requests, {@linkcode connect} makes a connection,
 * {@linkcode createClient} one that connects again, and {@linkcode listen}
 * hands each connection to a handler. Remote calls are in
 * `@blackbelt/networking/rpc`, the codec alone in
 * `@blackbelt/networking/framing`, and connections for your tests in
 * `@blackbelt/networking/testing`.
 *
 * ```ts
 * import { connect, serve } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve(
 *   { hostname: "127.0.0.1", port: 0 },
 *   (message) => ({ status: "success", echo: message }),
 * );
 * await using client = await connect(server.addr);
 * assertEquals(await client.request("hello"), { status: "success", echo: "hello" });
 * ```
 *
 * @module
 */
export {
  encodeFrame,
  FrameDecoder,
  FrameDecoderStream,
  FrameEncoder,
  FrameEncoderStream,
  FrameTooLargeError,
  FrameTruncatedError,
  FRAMING_DEFAULTS,
  type FramingOptions,
  InvalidMessageError,
  type JsonValue,
} from "./framing.ts";
export {
  type Address,
  BackpressureError,
  type ByteDuplex,
  type ByteStreams,
  type ClosedEvent,
  type ConnectedEvent,
  type Connection,
  CONNECTION_DEFAULTS,
  ConnectionClosedError,
  type ConnectionEnd,
  type ConnectionOptions,
  type ConnectionStats,
  type DuplexOptions,
  type FailedEvent,
  fromDuplex,
  fromStreams,
  type RequestOptions,
  type TlsCertificate,
  type TlsInfo,
  type TlsName,
  type TlsVersion,
} from "./core/connection/connection.ts";
export {
  dropPermissions,
  type EndpointOptions,
} from "./core/platform/platform.ts";
export {
  type Authentication,
  AuthenticationError,
  type AuthenticationPeer,
  type Prover,
  sharedSecret,
  sharedToken,
  type SharedTokenOptions,
  type Verifier,
} from "./core/auth/auth.ts";
export {
  type TlsClientOptions,
  TlsError,
  type TlsOptions,
  type TlsServerOptions,
} from "./core/tls/tls.ts";
export {
  type AcceptFailedEvent,
  type AcceptOptions,
  type ConnectionHandler,
  type DrainingEvent,
  type ErrorHandler,
  type Handler,
  listen,
  LISTEN_DEFAULTS,
  type Listener,
  type ListeningEvent,
  type ListenOptions,
  NO_REPLY,
  type RejectedEvent,
  type RejectionReason,
  type Reply,
  serve,
  SERVE_DEFAULTS,
  type ServeOptions,
  type Server,
  type ServerEvent,
  type ServerOptions,
  type ServerStats,
} from "./server.ts";
export {
  type Client,
  CLIENT_DEFAULTS,
  type ClientEvent,
  type ClientOptions,
  type ClientStats,
  connect,
  CONNECT_DEFAULTS,
  type ConnectingEvent,
  type ConnectOptions,
  createClient,
  type Heartbeat,
} from "./client.ts";
export { report } from "./core/tools/report.ts";
