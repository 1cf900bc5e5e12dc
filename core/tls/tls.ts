/**
 * Encryption: TLS over any two-way stream of bytes.
 *
 * The stream below belongs to the code that opened it, so closing always frees
 * it, even in the middle of a handshake or behind a peer that reads nothing.
 *
 * @module
 */
import { isIP } from "node:net";
import {
  connect,
  createSecureContext,
  createServer,
  type PeerCertificate,
  type Server,
  type TLSSocket,
} from "node:tls";
import { domainToASCII } from "node:url";
import {
  checkIdentity,
  checkName,
  readCertificates,
  toTlsCertificate,
} from "./certificate.ts";
import type {
  ByteDuplex,
  TlsInfo,
  TlsVersion,
} from "../connection/connection.ts";
import { type Begin, TlsDuplex, TlsError } from "./duplex.ts";
import { onAbort } from "../tools/abort.ts";
import {
  anything,
  choice,
  defaultsOf,
  type OptionTable,
  readOptions,
  such,
  wrongType,
} from "../tools/options.ts";

export { TlsError };

/** What both ends of an encrypted connection can choose. */
export interface TlsOptions {
  /**
   * Application protocols, the preferred first, of which the two ends negotiate
   * one (ALPN, [RFC 7301](https://www.rfc-editor.org/rfc/rfc7301)). If both
   * ends name some and have none in common, the connection is refused.
   */
  alpnProtocols?: string[];
  /**
   * Oldest version of TLS that is accepted.
   *
   * @default {"TLSv1.2"}
   */
  minVersion?: TlsVersion;
}

/** Encryption for a server. Certificates and keys are PEM text. */
export interface TlsServerOptions extends TlsOptions {
  /** The server's certificate, followed by any intermediate certificates. */
  cert: string;
  /** The private key of the certificate. */
  key: string;
  /**
   * Authorities for the certificates of clients. If given, a client must show a
   * certificate that one of them has signed.
   */
  ca?: string | string[];
}

/** Encryption for a client. Certificates and keys are PEM text. */
export interface TlsClientOptions extends TlsOptions {
  /** Authorities to trust in place of those that the platform trusts. */
  ca?: string | string[];
  /** The certificate to show to a server that asks for one. */
  cert?: string;
  /** The private key of the certificate. */
  key?: string;
  /**
   * Name or address that the server's certificate must be valid for; by
   * default, the host that is connected to.
   */
  serverName?: string;
}

const HOST_NAME = "the name or address of a host";

/**
 * What each option may be. Of those that belong together, {@linkcode checkIdentity}
 * tells.
 */
const TLS_OPTIONS: OptionTable<TlsOptions> = {
  alpnProtocols: such(areAlpnNames, "an array of names of 1 to 255 bytes"),
  minVersion: choice(["TLSv1.2", "TLSv1.3"], "TLSv1.2"),
};
const TLS_SERVER_OPTIONS: OptionTable<TlsServerOptions> = {
  ...TLS_OPTIONS,
  cert: anything(),
  key: anything(),
  ca: anything(checkAuthorities),
};
const TLS_CLIENT_OPTIONS: OptionTable<TlsClientOptions> = {
  ...TLS_SERVER_OPTIONS,
  serverName: such((name) => asciiName(name) !== undefined, HOST_NAME),
};

/** The defaults of {@linkcode TlsOptions}. */
export const TLS_DEFAULTS: Readonly<{ minVersion: TlsVersion }> = defaultsOf(
  TLS_OPTIONS,
);

const NEWEST_VERSION: TlsVersion = "TLSv1.3";

function areAlpnNames(names: unknown): boolean {
  return Array.isArray(names) && names.length > 0 && names.every(isAlpnName);
}

function isAlpnName(name: unknown): boolean {
  return typeof name === "string" && name !== "" &&
    new TextEncoder().encode(name).length <= 255;
}

function checkAuthorities(name: string, ca: unknown): void {
  const [first, ...others] = [ca].flat();
  readCertificates(name, first);
  for (const other of others) readCertificates(name, other);
}

/** The name as it is written in certificates. */
function asciiName(name: unknown): string | undefined {
  if (typeof name !== "string") return undefined;
  if (isIP(name) !== 0) return name;
  const ascii = domainToASCII(name);
  return /^[\w.-]+$/.test(ascii) ? ascii : undefined;
}

/** An encrypted stream of bytes. */
export interface SecureDuplex {
  /** Plain bytes to and from the peer. */
  readonly duplex: ByteDuplex;
  /** What the two ends negotiated. */
  readonly info: TlsInfo;
}

/**
 * Encrypts a server's end of a connection. The bytes are owned from now on, and
 * closed if that fails.
 *
 * @throws {TlsError} If the handshake fails.
 * @throws The reason of the signal, if that is aborted before it is done.
 */
export type SecureServer = (
  duplex: ByteDuplex,
  signal?: AbortSignal,
) => Promise<SecureDuplex>;

/**
 * Encrypts a client's end of a connection to a host, and checks that the
 * server's certificate comes from an authority that is trusted and is valid for
 * the host. The bytes are owned from now on, and closed if that fails.
 *
 * @throws {TlsError} If the handshake fails.
 * @throws {TypeError} If the host is not a name or address, and the options
 * give no other.
 * @throws The reason of the signal, if that is aborted before it is done.
 */
export type SecureClient = (
  duplex: ByteDuplex,
  hostname: string,
  signal?: AbortSignal,
) => Promise<SecureDuplex>;

/**
 * The encryption of a server: checked once, for all its connections.
 *
 * @throws {TypeError} If an option does not exist or has the wrong type, if
 * a certificate or the key cannot be read, or if the two do not belong
 * together.
 */
export function secureServer(options: TlsServerOptions): SecureServer {
  const { alpnProtocols, ...given } = {
    ...TLS_DEFAULTS,
    ...readOptions(TLS_SERVER_OPTIONS, options),
  };
  checkIdentity(given.cert, given.key);
  const all = {
    ...given,
    maxVersion: NEWEST_VERSION,
    ALPNProtocols: alpnProtocols,
    requestCert: given.ca !== undefined,
    rejectUnauthorized: true,
    // None: its timer would keep an abandoned handshake in memory.
    handshakeTimeout: -1,
  };
  // Those that are between two handshakes: making one reads the key anew.
  const spare: Server[] = [];
  return (duplex, signal) =>
    secure(duplex, signal, (stream, secured, failed) => {
      // It never listens. One at a time: it does not say whose handshake it was.
      const server = spare.pop() ?? createServer(all);
      server.once("secureConnection", (socket) => {
        server.removeAllListeners("tlsClientError");
        spare.push(server);
        secured(socket);
      });
      server.once("tlsClientError", (error, { authorizationError: reason }) => {
        // That a certificate was refused shows only here.
        failed(reason ? new Error(String(reason)) : error);
      });
      server.emit("connection", stream);
    });
}

/**
 * The encryption of a client: checked once, for all its connections.
 *
 * @throws {TypeError} If an option does not exist or has the wrong type, if
 * a certificate or the key cannot be read, or if the two do not belong
 * together.
 */
export function secureClient(options: TlsClientOptions = {}): SecureClient {
  const { serverName, alpnProtocols, ...given } = {
    ...TLS_DEFAULTS,
    ...readOptions(TLS_CLIENT_OPTIONS, options),
  };
  const { cert, key } = given;
  if (cert !== undefined || key !== undefined) checkIdentity(cert, key);
  const all = {
    secureContext: createSecureContext({
      ...given,
      maxVersion: NEWEST_VERSION,
    }),
    ALPNProtocols: alpnProtocols,
    // Said even though it is the default, which the environment can change.
    rejectUnauthorized: true,
    checkServerIdentity: refuseName,
  };
  return (duplex, hostname, signal) =>
    secure(duplex, signal, (stream, secured, failed) => {
      const name = serverName ?? hostname;
      const host = asciiName(name);
      if (host === undefined) throw wrongType("serverName", name, HOST_NAME);
      const socket = connect({ ...all, socket: stream, host });
      socket.once("secureConnect", () => secured(socket));
      socket.on("error", failed);
    });
}

function refuseName(
  name: string,
  certificate: PeerCertificate,
): Error | undefined {
  const cause = checkName(name, certificate);
  return cause && new TlsError(
    `Cannot secure the connection: the certificate is not valid for "${name}"`,
    { cause },
  );
}

function infoOf(socket: TLSSocket): TlsInfo {
  const certificate = socket.getPeerCertificate();
  return {
    protocol: socket.getProtocol() as TlsVersion,
    cipher: socket.getCipher().standardName,
    ...(socket.alpnProtocol && { alpnProtocol: socket.alpnProtocol }),
    ...(certificate?.raw && { peerCertificate: toTlsCertificate(certificate) }),
  };
}

async function secure(
  duplex: ByteDuplex,
  signal: AbortSignal | undefined,
  begin: Begin,
): Promise<SecureDuplex> {
  const secured = new TlsDuplex(duplex);
  const handshake = secured.handshake(begin);
  const stop = onAbort(signal, (reason) => secured.abort(reason));
  try {
    return { duplex: secured, info: infoOf(await handshake) };
  } catch (error) {
    secured.abort(error);
    throw error;
  } finally {
    stop();
  }
}
