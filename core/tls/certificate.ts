/**
 * Certificates: reading them, and the names in them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { Duplex } from "node:stream";
import {
  checkServerIdentity,
  createServer,
  type PeerCertificate,
} from "node:tls";
import type { TlsCertificate, TlsName } from "../connection/connection.ts";
import { EMPTY } from "../tools/bytes.ts";

/** One value of a certificate, which is written in DER (ITU-T X.690). */
interface DerItem {
  readonly tag: number;
  readonly content: Uint8Array;
}

function* derItems(der: Uint8Array): Generator<DerItem, void, undefined> {
  for (let at = 0; at < der.length;) {
    const tag = der[at++];
    let length = der[at++];
    if (length > 127) {
      const end = at + (length & 127);
      for (length = 0; at < end; at++) length = length * 256 + der[at];
    }
    yield { tag, content: der.subarray(at, at += length) };
  }
}

/** The content of the first of several values. */
function derContent(der: Uint8Array): Uint8Array {
  return derItems(der).next().value?.content ?? EMPTY;
}

function ipAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const parts = Buffer.from(bytes).toString("hex").match(/.{4}/g) ?? [];
  return URL.parse(`http://[${parts.join(":")}]`)?.hostname.slice(1, -1) ?? "";
}

/** A name of the kinds that are of use, with its kind before it. */
function altName({ tag, content }: DerItem): string | undefined {
  const text = Buffer.from(content).toString("latin1");
  if (tag === 0x81) return `email:${text}`;
  if (tag === 0x82) return `DNS:${text}`;
  if (tag === 0x86) return `URI:${text}`;
  if (tag === 0x87) return `IP Address:${ipAddress(content)}`;
}

const EXTENSIONS = 0xa3;
const SUBJECT_ALT_NAME = "551d11";

/**
 * The alternative names of a certificate
 * ([RFC 5280](https://www.rfc-editor.org/rfc/rfc5280), section 4.2.1.6), read
 * from its bytes: the platform joins them with commas and quotes none, so that
 * a name with a comma in it would pass for two.
 */
function altNames(certificate: Uint8Array): string[] {
  const names: string[] = [];
  for (const part of derItems(derContent(derContent(certificate)))) {
    if (part.tag !== EXTENSIONS) continue;
    for (const extension of derItems(derContent(part.content))) {
      const id = Buffer.from(derContent(extension.content)).toString("hex");
      if (id !== SUBJECT_ALT_NAME) continue;
      // Between the two may stand that the extension is critical.
      const value = [...derItems(extension.content)].pop();
      for (const item of derItems(derContent(value?.content ?? EMPTY))) {
        const name = altName(item);
        if (name !== undefined) names.push(name);
      }
    }
  }
  return names;
}

/**
 * A name of a server: a wildcard is the whole left-most label, or the name does
 * not count. The platform takes `f*.example.com`, too.
 */
const NAME = /^(DNS:(\*\.)?[\w.-]+|IP Address:[\w.:]+)$/;

/**
 * What is wrong with the name of a server, by the alternative names alone, as
 * [RFC 9525](https://www.rfc-editor.org/rfc/rfc9525), section 6.3, has it.
 */
export function checkName(
  name: string,
  certificate: PeerCertificate,
): Error | undefined {
  const names = altNames(certificate.raw).filter((name) => NAME.test(name));
  return checkServerIdentity(name, {
    ...certificate,
    subject: { ...certificate.subject, CN: "" },
    subjectaltname: names.join(", "),
  });
}

/** What there is to know of a peer by its certificate. */
export function toTlsCertificate(certificate: PeerCertificate): TlsCertificate {
  return {
    subject: { ...certificate.subject } as TlsName,
    issuer: { ...certificate.issuer } as TlsName,
    subjectAltNames: altNames(certificate.raw),
    serialNumber: certificate.serialNumber,
    fingerprint256: certificate.fingerprint256,
    validTo: new Date(certificate.valid_to),
  };
}

/** Reads the certificates of an option; throws if that cannot be done. */
export function readCertificates(
  option: string,
  pem: unknown,
): X509Certificate[] {
  const texts = typeof pem === "string"
    ? pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g)
    : null;
  if (texts === null) {
    throw new TypeError(
      `Cannot use option "${option}": expected certificates as PEM text`,
    );
  }
  return texts.map((text, index) => {
    try {
      return new X509Certificate(text);
    } catch (cause) {
      throw new TypeError(
        `Cannot use option "${option}": certificate ${
          index + 1
        } of ${texts.length} is malformed`,
        { cause },
      );
    }
  });
}

/**
 * Checks the options `cert` and `key`: they can be read, belong together, and
 * are of a kind that TLS can use.
 */
export function checkIdentity(cert: unknown, key: unknown): void {
  const [certificate] = readCertificates("cert", cert);
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(key as string);
  } catch {
    // No cause: it might tell of the key.
    throw new TypeError(
      'Cannot use option "key": expected a private key, not encrypted, as PEM text',
    );
  }
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new TypeError(
      'Cannot use option "key": it does not belong to the certificate',
    );
  }
  tryOut({ cert, key } as { cert: string; key: string });
}

/** Begins a handshake without a peer: what fails here would fail every time. */
function tryOut(options: { cert: string; key: string }): void {
  const stream = new Duplex({ read() {} });
  let failure: unknown;
  try {
    createServer(options)
      .on("tlsClientError", (error) => failure ??= error)
      .emit("connection", stream);
  } catch (error) {
    failure = error;
  }
  stream.destroy();
  if (failure !== undefined) {
    throw new TypeError(
      'Cannot use option "key": TLS does not take this kind or size of key',
      { cause: failure },
    );
  }
}
