/**
 * Logging in: what a server asks of a peer before any handler hears it, and how
 * a client answers.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { InvalidMessageError, type JsonValue } from "../../framing.ts";
import {
  type Address,
  AuthenticationError,
  type Connection,
  ConnectionClosedError,
} from "../connection.ts";
import type { Option } from "../tools/options.ts";
import { kindOf } from "../tools/show.ts";
import {
  type Authentication,
  isLogin,
  loginWord,
  type Prover,
  textIn,
  type Verdict,
  verdictIn,
  type Verifier,
} from "./contract.ts";

export { AuthenticationError } from "../connection.ts";
export type {
  Authentication,
  AuthenticationPeer,
  Prover,
  Verifier,
} from "./contract.ts";
export {
  SHARED_TOKEN_DEFAULTS,
  sharedSecret,
  sharedToken,
  type SharedTokenOptions,
} from "./shared.ts";

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

/**
 * The server's half of an option, for peers that reach `address`.
 *
 * @throws {TypeError} If it needs encryption and has none.
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
 * Looks at the first message of a server without a login: what belongs to one is
 * no reply.
 */
export function screenServer<T>(message: T): Error | undefined {
  return isLogin(message)
    ? new AuthenticationError(
      "the server wants a login, and the client has no authenticate",
    )
    : undefined;
}

/**
 * Looks at the first message of a client to a server without a login: what
 * begins one is refused, so that no handler gets a token.
 */
export function screenClient<T>(
  message: T,
  connection: Connection<T>,
): Error | undefined {
  if (!isLogin(message)) return undefined;
  tell(connection, "refused");
  return new AuthenticationError(
    "the peer began a login, and the server has no authenticate",
  );
}

/** Counts the failures of the address that a peer comes from. */
export interface LoginLimit {
  /** Whether there were too many: nobody from there is let in now. */
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

function tell<T>(
  connection: Connection<T>,
  $login: Verdict,
  proof?: string,
): void {
  connection.enqueue(proof === undefined ? { $login } : { $login, proof });
}

/** One peer that logs in, at the server. */
class ServerLogin<T> {
  readonly #connection: Connection<T>;
  readonly #verify: Verifier;
  readonly #signal: AbortSignal;
  readonly #limit: LoginLimit | undefined;
  /** Messages that the peer owes; the first one is due without a question. */
  #unanswered = 1;
  #isOver = false;
  #proof: string | undefined;
  /** What the peer itself did wrong. */
  #fault: { readonly error: unknown } | undefined;

  constructor(
    connection: Connection<T>,
    verify: Verifier,
    signal: AbortSignal,
    limit: LoginLimit | undefined,
  ) {
    this.#connection = connection;
    this.#verify = verify;
    this.#signal = signal;
    this.#limit = limit;
  }

  async run(): Promise<true | object> {
    let verdict: Verdict | undefined;
    let identity: unknown;
    let isWrong = false;
    let cause: unknown;
    try {
      identity = await unlessAborted(() => this.#judge(), this.#signal);
      verdict = isIdentity(identity) && this.#unanswered === 0
        ? "accepted"
        : "refused";
      isWrong = verdict === "refused";
    } catch (error) {
      cause = error;
      // A peer that owes an answer has given no wrong one.
      isWrong = this.#unanswered === 0 && !this.#signal.aborted;
      verdict = this.#verdictFor(error);
    }
    this.#isOver = true;
    // Whoever failed meanwhile from there: nobody learns more than so many
    // verdicts, however many logins were under way.
    if (verdict !== undefined && this.#limit?.isBarred()) {
      verdict = "later";
      cause = new BarredError();
    } else if (isWrong) this.#limit?.fail();
    try {
      if (verdict !== undefined) {
        const proof = verdict === "accepted" ? this.#proof : undefined;
        tell(this.#connection, verdict, proof);
      }
      if (verdict === "accepted") return identity as true | object;
    } catch (error) {
      // The peer left before it was told.
      if (verdict === "accepted") cause = error;
    }
    this.#signal.throwIfAborted();
    if (cause instanceof BarredError) throw cause;
    const options = cause === undefined ? {} : { cause };
    throw verdict === "later"
      ? new VerifierError(options)
      : new AuthenticationError("the peer was refused", options);
  }

  async #judge(): Promise<unknown> {
    const message = await this.#next();
    if (loginWord(message) === undefined) {
      const error = new AuthenticationError("the peer did not log in");
      this.#fault = { error };
      // It made no guess.
      this.#unanswered = 1;
      throw error;
    }
    if (this.#limit?.isBarred()) return undefined;
    const { localAddr, remoteAddr, tls } = this.#connection;
    return await this.#verify(message, {
      localAddr,
      remoteAddr,
      tls,
      signal: this.#signal,
      ask: (question) => this.#ask(question),
      expectProof: (proof) => void (this.#proof = proof),
    });
  }

  async #ask(question: unknown): Promise<JsonValue> {
    // What comes after the verdict is for the handler.
    if (this.#isOver) throw tooLate();
    checkQuestion(question);
    this.#unanswered++;
    this.#connection.enqueue(question);
    return await this.#next();
  }

  /** The next message of the peer, whose fault it is if there is none. */
  async #next(): Promise<JsonValue> {
    try {
      const message = await receive(this.#connection, this.#signal);
      if (this.#isOver) throw tooLate();
      this.#unanswered--;
      return message;
    } catch (error) {
      this.#fault = { error };
      throw error;
    }
  }

  /** What a peer is told of an error; one that is late itself, nothing. */
  #verdictFor(error: unknown): Verdict | undefined {
    if (this.#signal.aborted) {
      return this.#unanswered > 0 ? undefined : "later";
    }
    // Anything else is the verifier's.
    const { error: fault } = this.#fault ?? { error: NaN };
    return fault === error ? "refused" : "later";
  }
}

function tooLate(): AuthenticationError {
  return new AuthenticationError("the peer was told the verdict");
}

function checkQuestion(question: unknown): void {
  if (verdictIn(question) === undefined) return;
  throw new TypeError(
    "Cannot ask: the message is one of the verdicts of the server",
  );
}

/**
 * Receives the first message of a peer and lets it in or not, which the peer is
 * told in one message. Who calls it closes the connection of a peer that was not
 * let in.
 *
 * @param connection Nobody else may receive from it meanwhile.
 * @param signal Gives the peer up when aborted: where that owes a message,
 * without a word.
 * @param limit Counts failures.
 * @returns `true`, or who the peer is.
 * @throws {AuthenticationError} If the peer was not let in.
 * @throws The reason of the signal, if that is aborted.
 */
export function admit<T>(
  connection: Connection<T>,
  verify: Verifier,
  signal: AbortSignal,
  limit?: LoginLimit,
): Promise<true | object> {
  return new ServerLogin(connection, verify, signal, limit).run();
}

/**
 * The client's way in: sends what proves who it is, and waits for the verdict.
 * Who calls it closes the connection if it rejects.
 *
 * @param connection Nobody else may receive from it meanwhile.
 * @param signal Gives up when aborted.
 * @throws {AuthenticationError} If the server says anything but yes, or does not
 * prove itself where it has to.
 * @throws {ConnectionClosedError} If the connection ends before the verdict.
 * @throws {TypeError} If the first message has no `$login`.
 * @throws The reason of the signal, if that is aborted, and what `prove`
 * throws.
 */
export async function logIn<T>(
  connection: Connection<T>,
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
    connection.enqueue(message);
    try {
      return await receive(connection, signal);
    } catch (cause) {
      if (!(cause instanceof InvalidMessageError)) throw cause;
      throw new AuthenticationError("the server does not log clients in", {
        cause,
      });
    }
  }
  async function ask(message: unknown): Promise<JsonValue> {
    const question = await put(message);
    if (verdictIn(question) !== undefined) throw notAccepted(question);
    return question;
  }

  const { localAddr, remoteAddr, tls } = connection;
  const proof = await unlessAborted(
    async () =>
      await prove({
        localAddr,
        remoteAddr,
        tls,
        signal,
        ask,
        expectProof: (proof) => void (expected = proof),
      }),
    signal,
  );
  const verdict = await put(proof);
  if (verdictIn(verdict) !== "accepted") throw notAccepted(verdict);
  if (expected !== undefined && !isSame(textIn(verdict, "proof"), expected)) {
    throw new AuthenticationError(
      "the server did not prove that it knows the secret",
    );
  }
}

/** Why a verdict lets nobody in. */
function notAccepted(verdict: JsonValue): AuthenticationError {
  switch (verdictIn(verdict)) {
    case "refused":
      return new AuthenticationError("the server refused");
    case "later":
      return new AuthenticationError("the server says to try again later", {
        mayRetry: true,
      });
    default:
      return new AuthenticationError("the server does not log clients in");
  }
}

/** Compares texts in a time that does not tell where they differ. */
function isSame(one: string | undefined, other: string): boolean {
  const [a, b] = [one ?? "", other].map((text) =>
    createHash("sha256").update(text).digest()
  );
  return timingSafeEqual(a, b);
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

/** The peer's next message. */
async function receive<T>(
  connection: Connection<T>,
  signal: AbortSignal,
): Promise<JsonValue> {
  const messages = connection[Symbol.asyncIterator]();
  try {
    const { done, value } = await unlessAborted(() => messages.next(), signal);
    if (!done) return value as JsonValue;
  } finally {
    messages.return?.(); // others may read behind it
  }
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
