/**
 * Logins with a text that both ends know.
 *
 * @module
 */
import { createHmac } from "node:crypto";
import { AuthenticationError } from "../connection/connection.ts";
import {
  defaultsOf,
  flag,
  type OptionTable,
  readOptions,
} from "../tools/options.ts";
import { kindOf } from "../tools/show.ts";
import { type Authentication, isSame, loginWord, textIn } from "./contract.ts";

/** Options of {@linkcode sharedToken}. */
export interface SharedTokenOptions {
  /**
   * Whether the token may be sent without encryption, where everybody on the
   * path can read it.
   *
   * @default {false}
   */
  allowPlaintext?: boolean;
}

/** What each option may be. */
const SHARED_TOKEN_OPTIONS: OptionTable<SharedTokenOptions> = {
  allowPlaintext: flag(false),
};

/** The defaults of {@linkcode SharedTokenOptions}. */
export const SHARED_TOKEN_DEFAULTS: Readonly<Required<SharedTokenOptions>> =
  defaultsOf(SHARED_TOKEN_OPTIONS);

/** Fewer bytes could be guessed: a token online, a secret from one login. */
const LEAST_BYTES = 16;

/**
 * Accepts clients that know a token, which they send:
 * `{"$login":"token","token":"…"}`. The server proves nothing, so use TLS,
 * which keeps the token from other servers.
 *
 * ```ts
 * import { sharedToken } from "@blackbelt/networking";
 * import { assert, assertThrows } from "@std/assert";
 *
 * const token = crypto.getRandomValues(new Uint8Array(32)).toHex();
 * assert(sharedToken(token).needsEncryption);
 * assertThrows(() => sharedToken("short"), RangeError, "at least 16");
 * ```
 *
 * @param token Text that is hard to guess, at least 16 bytes in UTF-8, as
 * `openssl rand -hex 32` makes it.
 * @param options Whether it may be sent without encryption.
 * @throws {RangeError} If the token is too short.
 * @throws {TypeError} If the token is empty, begins or ends with white space,
 * or is not in Unicode normal form C; if an option does not exist or has the
 * wrong type.
 */
export function sharedToken(
  token: string,
  options: SharedTokenOptions = {},
): Authentication<true> {
  checkSecret("token", token);
  const { allowPlaintext } = readOptions(SHARED_TOKEN_OPTIONS, options);
  return {
    needsEncryption: !allowPlaintext,
    prove: () => ({ $login: "token", token }),
    verify(message) {
      const isRight = isSame(textIn(message, "token"), token);
      return loginWord(message) === "token" && isRight;
    },
  };
}

/**
 * Accepts clients that know a secret, which is never sent. The server proves
 * that it knows the secret, too, before the client sends anything else.
 *
 * ```text
 * client  {"$login":"secret","nonce":n}         n, c: 32 random bytes each
 * server  {"$login":"challenge","challenge":c}
 * client  {"$login":"response","response":HMAC(secret, "framed-json/1 client" 00 n c)}
 * server  {"$login":"accepted","proof":HMAC(secret, "framed-json/1 server" 00 n c)}
 * ```
 *
 * HMAC is HMAC-SHA-256 ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104))
 * with the secret's bytes in UTF-8 as the key, 00 one zero byte; all bytes are
 * written as lower-case hexadecimal digits. A recorded login is useless.
 *
 * Over a link that is not encrypted, a relay between the two ends can pass the
 * login on, and read and change what follows; a fake server that was sent one
 * response can guess a weak secret at leisure. Use TLS, and a random secret.
 *
 * ```ts
 * import { sharedSecret } from "@blackbelt/networking";
 * import { assert, assertThrows } from "@std/assert";
 *
 * const secret = crypto.getRandomValues(new Uint8Array(32)).toHex();
 * assert(!sharedSecret(secret).needsEncryption);
 * assertThrows(() => sharedSecret("read from a file, with its line break\n"), TypeError);
 * ```
 *
 * @param secret Text that is hard to guess, at least 16 bytes in UTF-8, as
 * `openssl rand -hex 32` makes it.
 * @throws {RangeError} If the secret is too short.
 * @throws {TypeError} If the secret is empty, begins or ends with white space,
 * or is not in Unicode normal form C.
 */
export function sharedSecret(secret: string): Authentication<true> {
  checkSecret("secret", secret);
  return secretLogin(secret, randomBytes);
}

/** The same, with what makes the nonces. */
export function secretLogin(
  secret: string,
  makeNonce: () => Uint8Array,
): Authentication<true> {
  return {
    needsEncryption: false,
    async prove(peer) {
      const nonce = makeNonce().toHex();
      const question = await peer.ask({ $login: "secret", nonce });
      const challenge = digitsIn(question, "challenge");
      if (loginWord(question) !== "challenge" || challenge === undefined) {
        throw new AuthenticationError(
          "the server did not answer with a challenge",
        );
      }
      peer.expectProof(proofOf("server", secret, nonce + challenge));
      const response = proofOf("client", secret, nonce + challenge);
      return { $login: "response", response };
    },
    async verify(message, peer) {
      const nonce = digitsIn(message, "nonce");
      if (loginWord(message) !== "secret" || nonce === undefined) return false;
      const challenge = makeNonce().toHex();
      const answer = await peer.ask({ $login: "challenge", challenge });
      peer.expectProof(proofOf("server", secret, nonce + challenge));
      const expected = proofOf("client", secret, nonce + challenge);
      const isRight = isSame(textIn(answer, "response"), expected);
      return loginWord(answer) === "response" && isRight;
    },
  };
}

function randomBytes(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(32));
}

/**
 * What only an end that knows the secret can say, in this role and for these
 * nonces, in hexadecimal.
 */
function proofOf(
  role: "client" | "server",
  secret: string,
  nonces: string,
): string {
  return createHmac("sha256", secret)
    .update(`framed-json/1 ${role}\0`)
    .update(nonces, "hex")
    .digest("hex");
}

/** Throws for a text that is no good secret, which is no part of the error. */
function checkSecret(name: "token" | "secret", text: string): void {
  const fault = typeof text !== "string"
    ? `received ${kindOf(text)}, expected a string`
    : text === ""
    ? "it is empty"
    : text.trim() !== text
    ? "it begins or ends with white space"
    : !text.isWellFormed()
    ? "it has half a surrogate pair, which UTF-8 cannot encode"
    : text.normalize() !== text
    ? "it is not in Unicode's normalization form C"
    : undefined;
  if (fault !== undefined) throw new TypeError(`Cannot use ${name}: ${fault}`);
  const { length } = new TextEncoder().encode(text);
  if (length < LEAST_BYTES) {
    throw new RangeError(
      `Cannot use ${name}: it is ${length} bytes, expected at least ${LEAST_BYTES} bytes`,
    );
  }
}

/** The 64 hexadecimal digits in a message that may be anything. */
function digitsIn(message: unknown, key: string): string | undefined {
  const text = textIn(message, key);
  return text !== undefined && /^[\da-f]{64}$/.test(text) ? text : undefined;
}
