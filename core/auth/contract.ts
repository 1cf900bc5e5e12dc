/**
 * The two halves of a login, and the words that they say.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { JsonValue } from "../framing/framing.ts";
import {
  type Address,
  ConnectionClosedError,
  type Link,
  type TlsInfo,
} from "../connection/connection.ts";
import { abortable } from "../tools/abort.ts";

/** The other end during a login. */
export interface AuthenticationPeer {
  /** Address of this end, if it is known. */
  readonly localAddr: Address | undefined;
  /** Address of the peer, if it is known. */
  readonly remoteAddr: Address | undefined;
  /** What TLS negotiated; `undefined` over a link that is not encrypted. */
  readonly tls: TlsInfo | undefined;
  /** Aborted when the time is up, or the connection has ended. */
  readonly signal: AbortSignal;
  /**
   * Sends a message and waits for the peer's next one.
   *
   * @throws {InvalidMessageError} If that is not UTF-8 or not JSON. The peer is
   * rejected then, in any case.
   * @throws {TypeError} If the message is one of the server's verdicts, or the
   * client's first one and has no `$login`.
   */
  ask(message: unknown): Promise<JsonValue>;
  /**
   * Makes the server prove itself. Both halves call it with the same text,
   * computed from what only the two ends know. The server sends the text with
   * its verdict, and the client accepts no verdict without it.
   */
  expectProof(proof: string): void;
}

/**
 * The server's half of a login. It gets the first message of a peer, an object
 * with a string `$login`; any other first message is rejected before. `true`,
 * or an object that says who the peer is, accepts the peer. Anything else
 * rejects it, an array and an `Error` included, and so does a question that is
 * not awaited. If it throws or rejects, the peer is told to try again later.
 */
export type Verifier<I = unknown> = (
  message: JsonValue,
  peer: AuthenticationPeer,
) =>
  | I
  | false
  | null
  | undefined
  | PromiseLike<I | false | null | undefined>;

/**
 * The client's half of a login. It returns, or resolves to, the last message to
 * send; only the server's verdict may follow. `ask` sends a message before, and
 * gives the server's answer. The first message sent is an object with a string
 * `$login` that names the kind of login.
 */
export type Prover = (peer: AuthenticationPeer) => unknown;

/** Both halves of a way to authenticate. */
export interface Authentication<I = unknown> {
  /** The client's half. */
  readonly prove: Prover;
  /** The server's half. */
  readonly verify: Verifier<I>;
  /**
   * Whether an eavesdropper could log in later: it is refused over TCP without
   * TLS, except within one machine.
   */
  readonly needsEncryption: boolean;
}

const VERDICTS = ["accepted", "refused", "later"] as const;
/** What a server decides. */
export type Verdict = typeof VERDICTS[number];

/**
 * The word of a message that belongs to a login; `undefined` for any other.
 * Only the first message of each direction is looked at.
 */
export function loginWord(message: unknown): string | undefined {
  return textIn(message, "$login");
}

/** Whether a message begins a login, or answers one. */
export function isLogin(message: unknown): boolean {
  return ownIn(message, "$login") !== undefined;
}

/** The verdict in a message, where it is one. */
export function verdictIn(message: unknown): Verdict | undefined {
  const word = loginWord(message);
  return VERDICTS.find((verdict) => verdict === word);
}

/** A text in a message that may be anything. */
export function textIn(message: unknown, key: string): string | undefined {
  const value = ownIn(message, key);
  return typeof value === "string" ? value : undefined;
}

function ownIn(message: unknown, key: string): unknown {
  return typeof message === "object" && message !== null &&
      Object.hasOwn(message, key)
    ? Reflect.get(message, key)
    : undefined;
}

/** Compares texts in a time that does not tell where they differ. */
export function isSame(one: string | undefined, other: string): boolean {
  // What is compared has one length, whatever the peer has sent.
  const [a, b] = [one ?? "", other].map((text) =>
    createHash("sha256").update(text).digest()
  );
  return timingSafeEqual(a, b);
}

/** The peer's next message; gives up when the signal is aborted. */
export async function receive<T>(
  link: Link<T>,
  signal: AbortSignal,
): Promise<JsonValue> {
  signal.throwIfAborted();
  const messages = link.inbox.iterate();
  try {
    const { done, value } = await abortable(messages.next(), signal);
    if (!done) return value as JsonValue;
  } finally {
    messages.return?.(); // others may read behind it
  }
  throw new ConnectionClosedError(
    "Cannot receive message: the connection is closed",
    { clean: true },
  );
}
