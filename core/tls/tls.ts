/**
 * Encryption: TLS over any two-way stream of bytes.
 *
 * The stream below stays in the hands of whoever opened it, so closing always
 * frees it, even in the middle of a handshake or behind a peer that reads
 * nothing.
 *
 * @module
 */
import { isIP } from "node:net";
import {
  connect,
  type ConnectionOptions,
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
   * Protocols of the layer above, the best first, of which the two ends agree
   * on one (ALPN, [RFC 7301](https://www.rfc-editor.org/rfc/rfc7301)). If both
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
  /** The server's certificate, followed by those that lead to its authority. */
  cert: string;
  /** The private key of the certificate. */
  key: string;
  /**
   * Authorities for the certificates of clients. Where there are any, a client
   * without a certificate that one of them has signed is refused.
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
   * Name or address that the server's certificate must be valid for. By
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

/** The encryption of a server: checked once, for all its connections. */
export class TlsServerContext {
  readonly #options: Parameters<typeof createServer>[0];
  /** Those that are between two handshakes: making one reads the key anew. */
  readonly #spare: Server[] = [];

  /**
   * Checks the options; nothing is opened.
   *
   * @throws {TypeError} If an option does not exist or has the wrong type, if
   * a certificate or the key cannot be read, or if the two do not belong
   * together.
   */
  constructor(options: TlsServerOptions) {
    const { cert, key, ca, alpnProtocols, minVersion } = {
      ...TLS_DEFAULTS,
      ...readOptions(TLS_SERVER_OPTIONS, options),
    };
    checkIdentity(cert, key);
    this.#options = {
      cert,
      key,
      ca,
      minVersion,
      maxVersion: NEWEST_VERSION,
      ALPNProtocols: alpnProtocols,
      requestCert: ca !== undefined,
      rejectUnauthorized: true,
      // None: its timer would keep an abandoned handshake in memory.
      handshakeTimeout: -1,
    };
  }

  /** Begins a handshake. */
  readonly begin: Begin = (stream, secured, failed) => {
    // It never listens. One at a time: it does not say whose handshake it was.
    const server = this.#spare.pop() ?? createServer(this.#options);
    server.once("secureConnection", (socket) => {
      server.removeAllListeners("tlsClientError");
      this.#spare.push(server);
      secured(socket);
    });
    server.once("tlsClientError", (error, { authorizationError }) => {
      // That a certificate was refused shows only here.
      failed(
        authorizationError ? new Error(String(authorizationError)) : error,
      );
    });
    server.emit("connection", stream);
  };
}

/** The encryption of a client: checked once, for all its connections. */
export class TlsClientContext {
  readonly #options: ConnectionOptions;
  readonly #serverName: string | undefined;

  /**
   * Checks the options; nothing is opened.
   *
   * @throws {TypeError} If an option does not exist or has the wrong type, if
   * a certificate or the key cannot be read, or if the two do not belong
   * together.
   */
  constructor(options: TlsClientOptions = {}) {
    const { cert, key, ca, serverName, alpnProtocols, minVersion } = {
      ...TLS_DEFAULTS,
      ...readOptions(TLS_CLIENT_OPTIONS, options),
    };
    if (cert !== undefined || key !== undefined) checkIdentity(cert, key);
    const limits = { minVersion, maxVersion: NEWEST_VERSION };
    this.#serverName = serverName;
    this.#options = {
      secureContext: createSecureContext({ cert, key, ca, ...limits }),
      ALPNProtocols: alpnProtocols,
      // Said even though it is the default, which the environment can change.
      rejectUnauthorized: true,
      checkServerIdentity: refuseName,
    };
  }

  /** Begins a handshake with a host. */
  begin(
    hostname: string,
    ...[stream, secured, failed]: Parameters<Begin>
  ): void {
    const name = this.#serverName ?? hostname;
    const host = asciiName(name);
    if (host === undefined) throw wrongType("serverName", name, HOST_NAME);
    const socket = connect({ ...this.#options, socket: stream, host });
    socket.once("secureConnect", () => secured(socket));
    socket.on("error", failed);
  }
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

/** An encrypted stream of bytes. */
export interface SecureDuplex {
  /** Plain bytes to and from the peer. */
  readonly duplex: ByteDuplex;
  /** What the two ends agreed on. */
  readonly info: TlsInfo;
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

/**
 * Encrypts a server's end of a connection.
 *
 * @param duplex The bytes to encrypt; it is owned from now on, and closed if
 * that fails.
 * @param context The server's encryption.
 * @param signal Gives up when aborted before the handshake is done.
 * @throws {TlsError} If the handshake fails.
 */
export function secureServer(
  duplex: ByteDuplex,
  context: TlsServerContext,
  signal?: AbortSignal,
): Promise<SecureDuplex> {
  return secure(duplex, signal, context.begin);
}

/**
 * Encrypts a client's end of a connection, and checks that the server's
 * certificate comes from an authority that is trusted and is valid for the
 * host.
 *
 * @param duplex The bytes to encrypt; it is owned from now on, and closed if
 * that fails.
 * @param context The client's encryption.
 * @param hostname The host that is connected to.
 * @param signal Gives up when aborted before the handshake is done.
 * @throws {TlsError} If the handshake fails.
 * @throws {TypeError} If the host is none, and the options name no other.
 */
export function secureClient(
  duplex: ByteDuplex,
  context: TlsClientContext,
  hostname: string,
  signal?: AbortSignal,
): Promise<SecureDuplex> {
  return secure(
    duplex,
    signal,
    (...handshake) => context.begin(hostname, ...handshake),
  );
}
