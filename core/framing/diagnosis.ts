/**
 * What a stream is that holds no frames.
 *
 * @module
 */
import type { Framing } from "./options.ts";

/** What begins with these bytes, where a length should be. */
const SIGNATURES: readonly (readonly [string, readonly string[]])[] = [
  ["speak HTTP", [
    "GET ",
    "POST",
    "PUT ",
    "HEAD",
    "DELE",
    "OPTI",
    "PATC",
    "CONN",
    "TRAC",
    "PRI ",
    "HTTP",
  ]],
  ["speak TLS", ["\x16\x03", "\x15\x03"]],
  ["speak SSH", ["SSH-"]],
  ["speak the PROXY protocol", ["PROX", "\r\n\r\n"]],
  ["send a Content-Length header", ["Cont"]],
];

/** The same of JSON, which white space may stand in front of and inside. */
const JSON_START = /^[ \t\n\r]*(?:\{[ \t\n\r]*(?:["}]|$)|\[|"|true|fals|null)/;

/**
 * The beginning of a method of HTTP, any token
 * ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110), section 9.1): a web page
 * may choose it.
 */
const HTTP_METHOD = /^[!#$%&'*+.^_`|~\dA-Za-z-]+(?= |$)/;

/** Highest minor version in a record of TLS, behind its signature. */
const TLS_VERSION = 4;

/** Bytes at the beginning of a stream that tell another protocol. */
export const OPENING_BYTES = 4;

/** Says which protocol begins with these bytes. */
function recognize(opening: Uint8Array): string | undefined {
  const text = String.fromCharCode(...opening);
  for (const [what, signatures] of SIGNATURES) {
    const found = signatures.find((signature) => text.startsWith(signature));
    if (found === undefined) continue;
    if (found.length > 2 || !(opening[2] > TLS_VERSION)) {
      return seeming(what, found);
    }
  }
}

/**
 * The same of a first frame that is no JSON: its length and what is behind that
 * may be the method of HTTP, whatever a web page calls it.
 */
export function recognizeBad(opening: Uint8Array): string | undefined {
  const text = String.fromCharCode(...opening);
  const [method] = HTTP_METHOD.exec(text) ?? [];
  return recognize(opening) ?? (method && seeming("speak HTTP", method));
}

function seeming(what: string, found: string): string {
  const shown = /^[ -~]+$/.test(found)
    ? `"${found}"`
    : hex(Uint8Array.from(found, (character) => character.charCodeAt(0)));
  return `the peer seems to ${what} (first bytes ${shown})`;
}

/** Says what a stream is that begins with a length over the limit. */
export function diagnose(
  opening: Uint8Array,
  { prefixBytes, littleEndian, maxFrameBytes }: Framing,
): string | undefined {
  const protocol = recognize(opening);
  if (protocol !== undefined) return protocol;
  // JSON has no zeros, lengths have.
  const json = opening.includes(0)
    ? null
    : JSON_START.exec(String.fromCharCode(...opening));
  if (json !== null) return seeming("send JSON without a length", json[0]);
  const first = opening.subarray(0, prefixBytes);
  let swapped = 0;
  for (let i = 0; i < prefixBytes; i++) {
    swapped = swapped * 256 + first[littleEndian ? i : prefixBytes - 1 - i];
  }
  // Round sizes look like lengths in the other order, too.
  const isRound = first.at(littleEndian ? -1 : 0) === 0;
  if (swapped > 0 && swapped <= maxFrameBytes && !isRound) {
    return `the peer seems to send ${
      littleEndian ? "big" : "little"
    }-endian lengths (first bytes ${hex(first)})`;
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(
    bytes,
    (byte) => byte.toString(16).toUpperCase().padStart(2, "0"),
  ).join(" ");
}
