/**
 * The server's half of a login: which peers are accepted.
 *
 * @module
 */
import type { JsonValue } from "../framing/framing.ts";
import { abortable } from "../tools/abort.ts";
import { AuthenticationError, type Link } from "../connection/connection.ts";
import {
  type AuthenticationPeer,
  isLogin,
  loginWord,
  receive,
  type Verdict,
  verdictIn,
  type Verifier,
} from "./contract.ts";

/**
 * Looks at the first message of a client to a server without a login: what
 * begins one is refused, so that no handler gets a token.
 */
export function screenClient<T>(
  message: T,
  link: Link<T>,
): Error | undefined {
  if (!isLogin(message)) return undefined;
  tell(link, "refused");
  return new AuthenticationError(
    "the client began a login, and the server has no authenticate",
  );
}

/** Counts the failures of the address that a peer comes from. */
export interface LoginLimit {
  /** Whether there were too many: no peer from there is accepted now. */
  isBarred(): boolean;
  /** Counts one more. */
  fail(): void;
}

/** Thrown where a peer is not judged for the failures of its address. */
export class BarredError extends AuthenticationError {
  /** Makes the error. */
  constructor() {
    super("too many logins from this address have failed", { mayRetry: true });
  }
}

/** Thrown where the verifier itself has failed, with its error as the cause. */
export class VerifierError extends AuthenticationError {
  /** Makes the error. */
  constructor(options: ErrorOptions) {
    super("the verifier failed", options);
  }
}

function tell<T>(link: Link<T>, $login: Verdict, proof?: string): void {
  link.enqueue(proof === undefined ? { $login } : { $login, proof });
}

/** What a server and one peer that logs in say to each other. */
class Dialog<T> {
  readonly #link: Link<T>;
  readonly #signal: AbortSignal;
  /** Messages that the peer owes; the first one is due without a question. */
  unanswered = 1;
  isOver = false;
  proof: string | undefined;
  /** What the peer itself did wrong. */
  readonly faults = new Set<unknown>();

  constructor(link: Link<T>, signal: AbortSignal) {
    this.#link = link;
    this.#signal = signal;
  }

  /** The peer, as the verifier sees it. */
  get peer(): AuthenticationPeer {
    const { localAddr, remoteAddr, tls } = this.#link;
    return {
      localAddr,
      remoteAddr,
      tls,
      signal: this.#signal,
      ask: (question) => this.#ask(question),
      expectProof: (proof) => void (this.proof = proof),
    };
  }

  async #ask(question: unknown): Promise<JsonValue> {
    // What comes after the verdict is for the handler.
    if (this.isOver) throw tooLate();
    if (verdictIn(question) !== undefined) {
      throw new TypeError(
        "Cannot ask: the message is a verdict of the server",
      );
    }
    this.unanswered++;
    this.#link.enqueue(question);
    return await this.next();
  }

  /**
   * The next message of the peer, or an error for which the peer is to blame.
   */
  async next(): Promise<JsonValue> {
    try {
      const message = await receive(this.#link, this.#signal);
      if (this.isOver) throw tooLate();
      this.unanswered--;
      return message;
    } catch (error) {
      this.faults.add(error);
      throw error;
    }
  }

  /** What a peer is told of an error; one that is late itself, nothing. */
  verdictFor(error: unknown): Verdict | undefined {
    if (!this.#signal.aborted) {
      // Anything else is the verifier's.
      return this.faults.has(error) ? "refused" : "later";
    }
    return this.unanswered > 0 ? undefined : "later";
  }
}

function tooLate(): AuthenticationError {
  return new AuthenticationError("the verdict was sent already");
}

async function judge<T>(
  dialog: Dialog<T>,
  verify: Verifier,
  limit: LoginLimit | undefined,
): Promise<unknown> {
  const message = await dialog.next();
  const hasBegun = loginWord(message) !== undefined;
  if (hasBegun && !limit?.isBarred()) return await verify(message, dialog.peer);
  // It made no guess, or none that was judged, whenever the bar ends.
  dialog.unanswered = 1;
  if (hasBegun) throw new BarredError();
  const error = new AuthenticationError("the client did not log in");
  dialog.faults.add(error);
  throw error;
}

/**
 * Receives the first message of a peer and lets it in or not, which the peer is
 * told in one message. The caller closes the connection of a peer that was
 * rejected.
 *
 * @param link Nothing else may receive from it meanwhile.
 * @param signal Gives the peer up when aborted: where that owes a message,
 * without a word.
 * @param limit Counts failures.
 * @param enter Waits until there is room for a peer that may come in.
 * @returns `true`, or who the peer is.
 * @throws {AuthenticationError} If the peer was rejected.
 * @throws The signal's reason, if it is aborted.
 */
export async function admit<T>(
  link: Link<T>,
  verify: Verifier,
  signal: AbortSignal,
  limit?: LoginLimit,
  enter?: () => Promise<void> | undefined,
): Promise<true | object> {
  const dialog = new Dialog(link, signal);
  let verdict: Verdict | undefined;
  let identity: unknown;
  let isWrong: boolean;
  let cause: unknown;
  try {
    identity = await abortable(judge(dialog, verify, limit), signal);
    isWrong = !isIdentity(identity) || dialog.unanswered > 0;
    dialog.isOver = true;
    if (!isWrong) await enter?.();
    verdict = isWrong ? "refused" : "accepted";
  } catch (error) {
    cause = error;
    // A peer that owes an answer has given no wrong one.
    isWrong = dialog.unanswered === 0 && !signal.aborted;
    verdict = dialog.verdictFor(error);
  }
  dialog.isOver = true;
  // Others may have failed from there meanwhile: no address learns more than so
  // many verdicts, however many logins were under way.
  if (verdict !== undefined && limit?.isBarred()) {
    verdict = "later";
    cause = new BarredError();
  } else if (isWrong) limit?.fail();
  try {
    if (verdict === "accepted") {
      tell(link, verdict, dialog.proof);
      return identity as true | object;
    }
    if (verdict !== undefined) tell(link, verdict);
  } catch (error) {
    // The peer left before it was told.
    if (verdict === "accepted") cause = error;
  }
  signal.throwIfAborted();
  if (cause instanceof BarredError) throw cause;
  const options = cause === undefined ? {} : { cause };
  throw verdict === "later"
    ? new VerifierError(options)
    : new AuthenticationError("the login was rejected", options);
}

/**
 * Whether it says who the peer is: no list of nobody found, and no error that
 * was returned where it should have been thrown.
 */
function isIdentity(value: unknown): boolean {
  return value === true ||
    typeof value === "object" && value !== null && !Array.isArray(value) &&
      !(value instanceof Error);
}
