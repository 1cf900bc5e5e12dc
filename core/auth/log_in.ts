/**
 * The client's half of a login.
 *
 * @module
 */
import { InvalidMessageError, type JsonValue } from "../framing/framing.ts";
import { abortable } from "../tools/abort.ts";
import { AuthenticationError, type Link } from "../connection/connection.ts";
import {
  type AuthenticationPeer,
  isLogin,
  isSame,
  loginWord,
  type Prover,
  receive,
  textIn,
  verdictIn,
} from "./contract.ts";

/**
 * Looks at the first message of a server without a login: what belongs to one is
 * no reply.
 */
export function screenServer<T>(message: T): Error | undefined {
  if (!isLogin(message)) return undefined;
  return new AuthenticationError(
    "the server requires a login, and the client has no authenticate",
  );
}

/**
 * The client's half of a login: sends its proof, and waits for the verdict. The
 * caller closes the connection if it rejects.
 *
 * @param link Nothing else may receive from it meanwhile.
 * @param signal Gives up when aborted.
 * @throws {AuthenticationError} If the server says anything but yes, or does not
 * prove itself where it has to.
 * @throws {ConnectionClosedError} If the connection ends before the verdict.
 * @throws {TypeError} If the first message has no `$login`.
 * @throws The reason of the signal, if that is aborted, and what `prove`
 * throws.
 */
export async function logIn<T>(
  link: Link<T>,
  prove: Prover,
  signal: AbortSignal,
): Promise<void> {
  let isFirst = true;
  let expected: string | undefined;

  async function put(message: unknown): Promise<JsonValue> {
    if (isFirst && loginWord(message) === undefined) {
      throw new TypeError(
        'Cannot authenticate: the first message has no "$login"',
      );
    }
    isFirst = false;
    link.enqueue(message);
    try {
      return await receive(link, signal);
    } catch (cause) {
      if (!(cause instanceof InvalidMessageError)) throw cause;
      throw new AuthenticationError("the server has no authenticate", {
        cause,
      });
    }
  }
  async function ask(message: unknown): Promise<JsonValue> {
    const question = await put(message);
    if (verdictIn(question) === undefined) return question;
    throw notAccepted(
      question,
      "the server expects another kind of login, or none",
    );
  }

  const { localAddr, remoteAddr, tls } = link;
  signal.throwIfAborted();
  const peer: AuthenticationPeer = {
    localAddr,
    remoteAddr,
    tls,
    signal,
    ask,
    expectProof: (proof) => void (expected = proof),
  };
  const proof = await abortable(Promise.try(() => prove(peer)), signal);
  const verdict = await put(proof);
  if (verdictIn(verdict) !== "accepted") throw notAccepted(verdict);
  if (expected !== undefined && !isSame(textIn(verdict, "proof"), expected)) {
    throw new AuthenticationError(
      "the server did not prove that it knows the secret",
    );
  }
}

/** Why a verdict rejects the client. */
function notAccepted(
  message: JsonValue,
  refused = "the server rejected the login",
): AuthenticationError {
  const verdict = verdictIn(message);
  const text = verdict === "later"
    ? "the server asked to try again later"
    : verdict === "refused"
    ? refused
    : "the server has no authenticate";
  return new AuthenticationError(text, { mayRetry: verdict === "later" });
}
