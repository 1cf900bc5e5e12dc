/**
 * Who is let in: what a server asks of a peer before any handler hears it, and
 * how a client answers.
 *
 * @module
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { InvalidMessageError, type JsonValue } from "../framing.ts";
import {
  type Address,
  type Connection,
  ConnectionClosedError,
  type TlsInfo,
} from "./connection.ts";
import {
  defaultsOf,
  flag,
  type Option,
  type OptionTable,
  resolveOptions,
} from "./tools/options.ts";
import { kindOf } from "./tools/show.ts";

/**
 * Thrown when a peer was not let in: refused, or late. The reasons for a
 * refusal all look the same, to the peer and here; on the server, `cause` is
 * what the hook failed with.
 */
export class AuthenticationError extends Error {
  /** Makes the error; `reason` names no secret. */
  constructor(reason: string, options?: ErrorOptions) {
    super(`Cannot authenticate: ${reason}`, options);
    this.name = "AuthenticationError";
  }
}

/** The other end, as long as it is not let in. */
export interface AuthenticationPeer {
  /** Where this end is, where that is known. */
  readonly localAddr: Address | undefined;
  /** Where the peer is, where that is known. */
  readonly remoteAddr: Address | undefined;
  /** What TLS found out about the link and the peer. */
  readonly tls: TlsInfo | undefined;
  /** Aborted when the time is up, or the connection has ended. */
  readonly signal: AbortSignal;
  /**
   * Sends a message and waits for the peer's next one.
   *
   * @throws {InvalidMessageError} If that is not UTF-8 or not JSON: nothing can
   * let the peer in any more.
   */
  ask(message: unknown): Promise<JsonValue>;
}

/**
 * The server's half: judges the first message of a peer. `true`, or an object
 * that says who the peer is, lets it in; an array, an `Error`, anything else,
 * throwing, rejecting and a question that is not awaited refuse it.
 */
export type Verifier = (
  message: JsonValue,
  peer: AuthenticationPeer,
) => unknown;

/**
 * The client's half: returns, or resolves to, the last message to send, upon
 * which only the server's verdict may follow. Without a question of the server,
 * it is the first, too; `ask` sends another one before.
 */
export type Prover = (peer: AuthenticationPeer) => unknown;

/** Both halves of a way to authenticate. */
export interface Authentication {
  /** The client's half. */
  readonly prove: Prover;
  /** The server's half. */
  readonly verify: Verifier;
  /**
   * Whether who listens in could authenticate later: it is refused over TCP
   * without TLS, except within one machine.
   */
  readonly needsEncryption: boolean;
}

/** Options of {@linkcode sharedToken}. */
export interface SharedTokenOptions {
  /**
   * Whether the token may be sent without encryption, so that whoever listens
   * in learns it.
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

/** What the option `authenticate` may be. */
export const AUTHENTICATE_OPTION: Option<never> = {
  check(name, value) {
    if (typeof value === "function") return;
    const { prove, verify, needsEncryption } = Object(value);
    if (
      typeof prove === "function" && typeof verify === "function" &&
      typeof needsEncryption === "boolean"
    ) return;
    // Whatever it is may be a secret.
    throw new TypeError(
      `Cannot use option "${name}": received ${
        kindOf(value)
      }, expected a function or what sharedToken and sharedSecret make`,
    );
  },
};

const PEER_REFUSED = "the peer was refused";
const SERVER_REFUSED = "the server refused";
/** Fewer bytes could be guessed: a token online, a secret from one login. */
const LEAST_BYTES = 16;
/** Bytes of a challenge, and of SHA-256. */
const DIGEST_BYTES = 32;

/**
 * Lets in who knows a token, which the client sends:
 * `{"authenticate":"token","token":"…"}`.
 *
 * ```ts
 * import { sharedToken } from "@blackbelt/networking";
 * import { assert, assertThrows } from "@std/assert";
 *
 * const authentication = sharedToken("b2Zmc3ByaW5nLWJlY2F1c2U");
 * assert(authentication.needsEncryption);
 * assertThrows(() => sharedToken("short"), RangeError, "at least 16");
 * ```
 *
 * @param token Text that is hard to guess, at least 16 bytes in UTF-8.
 * @param options Whether it may be sent without encryption.
 * @throws {RangeError} If the token is too short.
 * @throws {TypeError} If the token is empty, begins or ends with white space, or
 * is text that another system may write in other bytes; if an option does not
 * exist or has the wrong type.
 */
export function sharedToken(
  token: string,
  options: SharedTokenOptions = {},
): Authentication {
  checkSecret("token", token);
  const { allowPlaintext } = resolveOptions(
    SHARED_TOKEN_OPTIONS,
    SHARED_TOKEN_DEFAULTS,
    options,
  );
  const digest = digestOf(token);
  return {
    needsEncryption: !allowPlaintext,
    prove: () => ({ authenticate: "token", token }),
    verify(message) {
      const given = textIn(message, "token");
      const isSame = timingSafeEqual(digestOf(given ?? ""), digest);
      return textIn(message, "authenticate") === "token" && isSame;
    },
  };
}

/**
 * Lets in who knows a secret, which never crosses the wire. The client asks for
 * a challenge, `{"authenticate":"challenge"}`; the server sends 32 random bytes
 * as 64 hexadecimal digits, `{"challenge":"…"}`; the client answers
 * `{"response":"…"}`, their HMAC-SHA-256
 * ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)) under the secret's bytes
 * in UTF-8. A challenge is good for one answer on its own connection, so a
 * recorded login is worth nothing.
 *
 * Without TLS, the messages that follow are neither secret nor protected, and
 * whoever can change them can go on in the client's place.
 *
 * ```ts
 * import { sharedSecret } from "@blackbelt/networking";
 * import { assert, assertThrows } from "@std/assert";
 *
 * const authentication = sharedSecret("b2Zmc3ByaW5nLWJlY2F1c2U");
 * assert(!authentication.needsEncryption);
 * assertThrows(() => sharedSecret("read from a file, with its line break\n"), TypeError);
 * ```
 *
 * @param secret Text that is hard to guess, at least 16 bytes in UTF-8.
 * @throws {RangeError} If the secret is too short.
 * @throws {TypeError} If the secret is empty, begins or ends with white space,
 * or is text that another system may write in other bytes.
 */
export function sharedSecret(secret: string): Authentication {
  checkSecret("secret", secret);
  return {
    needsEncryption: false,
    async prove(peer) {
      const question = await peer.ask({ authenticate: "challenge" });
      const challenge = bytesIn(question, "challenge");
      if (challenge === undefined) {
        throw new AuthenticationError(SERVER_REFUSED);
      }
      return { response: responseTo(challenge, secret).toHex() };
    },
    async verify(message, peer) {
      if (textIn(message, "authenticate") !== "challenge") return false;
      const challenge = crypto.getRandomValues(new Uint8Array(DIGEST_BYTES));
      const answer = await peer.ask({ challenge: challenge.toHex() });
      return timingSafeEqual(
        bytesIn(answer, "response") ?? new Uint8Array(DIGEST_BYTES),
        responseTo(challenge, secret),
      );
    },
  };
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
    ? "it has half a surrogate pair, which UTF-8 cannot express"
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

/** What is compared has one length, whatever the peer has sent. */
function digestOf(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

function responseTo(challenge: Uint8Array, secret: string): Uint8Array {
  return createHmac("sha256", secret).update(challenge).digest();
}

/** A text in a message that may be anything. */
function textIn(message: JsonValue, key: string): string | undefined {
  if (typeof message !== "object" || message === null) return undefined;
  const value: unknown = Reflect.get(message, key);
  return typeof value === "string" ? value : undefined;
}

/** The bytes of 64 hexadecimal digits in a message that may be anything. */
function bytesIn(message: JsonValue, key: string): Uint8Array | undefined {
  const text = textIn(message, key);
  if (text === undefined || !/^[\da-f]{64}$/i.test(text)) return undefined;
  return Uint8Array.fromHex(text);
}

/**
 * The server's half of an option, for peers that reach `address`.
 *
 * @throws {TypeError} If it needs encryption and has none.
 * @internal
 */
export function verifierOf(
  option: Verifier | Authentication,
  address: Address,
  encrypted: boolean,
): Verifier {
  if (typeof option === "function") return option;
  checkEncryption(option, address, encrypted);
  return (message, peer) => option.verify(message, peer);
}

/**
 * The client's half of an option, for a server at `address`.
 *
 * @throws {TypeError} If it needs encryption and has none.
 * @internal
 */
export function proverOf(
  option: Prover | Authentication,
  address: Address,
  encrypted: boolean,
): Prover {
  if (typeof option === "function") return option;
  checkEncryption(option, address, encrypted);
  return (peer) => option.prove(peer);
}

function checkEncryption(
  option: Authentication,
  address: Address,
  encrypted: boolean,
): void {
  if (
    option.needsEncryption && !encrypted && address.transport === "tcp" &&
    !isLoopback(address.hostname)
  ) {
    throw new TypeError(
      `Cannot authenticate with a token: TCP to "${address.hostname}" is not encrypted; use TLS, a shared secret, or allowPlaintext`,
    );
  }
}

function isLoopback(hostname: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/i.test(hostname);
}

/**
 * Who may be judged now, of those that could be guessing together.
 * @internal
 */
export interface Gate {
  /** Resolves when what the peer has said may be judged. */
  enter(): Promise<void>;
  /** It is the peer's turn again, or there is a verdict. */
  leave(failed: boolean): void;
}

const OPEN_GATE: Gate = { enter: () => Promise.resolve(), leave() {} };

/**
 * Receives the first message of a peer and lets it in or not; the peer is told
 * in one of two messages. Who calls it closes the connection of a peer that was
 * refused.
 *
 * @param connection Nobody else may receive from it meanwhile.
 * @param signal Refuses the peer when aborted.
 * @param gate The verifier is asked when it opens.
 * @returns `true`, or who the peer is.
 * @throws {AuthenticationError} If the peer was refused.
 * @throws The reason of the signal, if that is aborted.
 * @internal
 */
export async function admit<T>(
  connection: Connection<T>,
  verify: Verifier,
  signal: AbortSignal,
  gate: Gate = OPEN_GATE,
): Promise<true | object> {
  let unanswered = 1; // the first message is due without a question
  let isOver = false;

  // What comes after the verdict is for the handler.
  function checkTime(): void {
    if (isOver) throw new AuthenticationError("the peer was told the verdict");
  }
  async function next(): Promise<JsonValue> {
    const message = await receive(connection, signal);
    checkTime();
    await unlessAborted(() => gate.enter(), signal);
    return message;
  }
  async function ask(message: unknown): Promise<JsonValue> {
    checkTime();
    unanswered++;
    connection.enqueue(message);
    gate.leave(false);
    const answer = await next();
    unanswered--;
    return answer;
  }
  async function judge(): Promise<true | object | undefined> {
    const message = await next();
    unanswered--;
    const who = await verify(message, peerOf(connection, signal, ask));
    return isIdentity(who) && unanswered === 0 ? who : undefined;
  }

  let identity: true | object | undefined;
  let isWrong: boolean;
  let cause: unknown;
  try {
    identity = await unlessAborted(judge, signal);
    isWrong = identity === undefined;
  } catch (error) {
    cause = error;
    // Who owes an answer has given no wrong one.
    isWrong = unanswered === 0 && !signal.aborted;
  }
  isOver = true;
  gate.leave(isWrong);
  try {
    connection.enqueue({ authenticated: identity !== undefined });
    if (identity !== undefined) return identity;
  } catch (error) {
    // The peer left before it was told.
    if (identity !== undefined) cause = error;
  }
  signal.throwIfAborted();
  const options = cause === undefined ? {} : { cause };
  throw new AuthenticationError(PEER_REFUSED, options);
}

/**
 * The client's way in: sends what proves who it is, and waits for the verdict.
 * Who calls it closes the connection if it rejects.
 *
 * @param connection Nobody else may receive from it meanwhile.
 * @param signal Gives up when aborted.
 * @throws {AuthenticationError} If the server says anything but yes.
 * @throws {ConnectionClosedError} If the connection ends before the verdict.
 * @throws The reason of the signal, if that is aborted, and what `prove`
 * throws.
 * @internal
 */
export async function logIn<T>(
  connection: Connection<T>,
  prove: Prover,
  signal: AbortSignal,
): Promise<void> {
  async function put(message: unknown): Promise<JsonValue> {
    connection.enqueue(message);
    try {
      return await receive(connection, signal);
    } catch (cause) {
      if (!(cause instanceof InvalidMessageError)) throw cause;
      throw new AuthenticationError(SERVER_REFUSED, { cause });
    }
  }
  async function ask(message: unknown): Promise<JsonValue> {
    const question = await put(message);
    if (isVerdict(question)) throw new AuthenticationError(SERVER_REFUSED);
    return question;
  }

  const proof = await unlessAborted(
    async () => await prove(peerOf(connection, signal, ask)),
    signal,
  );
  const verdict = await put(proof);
  if (
    !isVerdict(verdict) || Object.keys(verdict).length > 1 ||
    verdict.authenticated !== true
  ) {
    throw new AuthenticationError(SERVER_REFUSED);
  }
}

function peerOf<T>(
  { localAddr, remoteAddr, tls }: Connection<T>,
  signal: AbortSignal,
  ask: AuthenticationPeer["ask"],
): AuthenticationPeer {
  return { localAddr, remoteAddr, tls, signal, ask };
}

/**
 * Whether it says who the peer is: no list of nobody found, and no error that
 * was returned where it should have been thrown.
 */
function isIdentity(value: unknown): value is true | object {
  return value === true ||
    typeof value === "object" && value !== null && !Array.isArray(value) &&
      !(value instanceof Error);
}

function isVerdict(
  message: JsonValue,
): message is { authenticated: JsonValue } {
  return typeof message === "object" && message !== null &&
    Object.hasOwn(message, "authenticated");
}

/** The peer's next message. */
async function receive<T>(
  connection: Connection<T>,
  signal: AbortSignal,
): Promise<JsonValue> {
  const { done, value } = await unlessAborted(
    () => connection[Symbol.asyncIterator]().next(),
    signal,
  );
  if (!done) return value as JsonValue;
  throw new ConnectionClosedError(
    "Cannot receive message: the connection is closed",
    { clean: true },
  );
}

/** Gives up waiting for what `work` promises when the signal is aborted. */
async function unlessAborted<T>(
  work: () => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([work(), promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
