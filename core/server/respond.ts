/**
 * Request and reply on the side that replies: a handler's answers, in the order
 * of the messages.
 *
 * @module
 */
import {
  type Decoded,
  InvalidMessageError,
  type JsonValue,
} from "../framing/framing.ts";
import {
  type Connection,
  ConnectionClosedError,
  type ConnectionEnd,
  type Consumer,
  isFailureOf,
  type Link,
  linkOf,
  markFailure,
} from "../connection/connection.ts";
import { isPromiseLike } from "../tools/promises.ts";
import { Queue } from "../tools/queue.ts";
import { report } from "../tools/report.ts";

/**
 * A handler returns it to send no reply. This is only for peers that expect
 * none: a client that waits for the reply would take the next one for it.
 *
 * ```ts
 * import { connect, NO_REPLY, serve } from "@blackbelt/networking";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve(
 *   { hostname: "127.0.0.1", port: 0 },
 *   (message) => message === "log" ? NO_REPLY : { echo: message },
 * );
 * await using client = await connect(server.addr);
 * await client.send("log");
 * assertEquals(await client.request("hello"), { echo: "hello" });
 * ```
 */
export const NO_REPLY: unique symbol = Symbol("NO_REPLY");

/**
 * What a {@linkcode Handler} may return, or resolve to: a value that JSON can
 * represent, or {@linkcode NO_REPLY}; not `undefined`.
 */
export type Reply =
  | JsonValue
  | Record<string, unknown>
  | object & { then?: never }
  | symbol;

/**
 * Answers a message. What it returns, or resolves to, is sent as the reply, and
 * nothing for {@linkcode NO_REPLY}. The replies leave in the order of the
 * messages. If it throws, rejects or returns `undefined`, the
 * {@linkcode ErrorHandler} answers.
 *
 * @typeParam T Type of the peer's messages. It is not checked at run time.
 * @typeParam I Type of `identity`: what `authenticate` returns for a peer.
 */
export type Handler<T = JsonValue, I = unknown> = (
  message: T,
  connection: Connection<T, I>,
) => Reply | PromiseLike<Reply>;

/**
 * Answers instead of the handler when that threw, when its reply cannot be
 * sent, and when a message is not UTF-8 or not JSON (an `InvalidMessageError`).
 * The reply is what it returns or resolves to; nothing is sent for
 * {@linkcode NO_REPLY}. If it returns `undefined` or throws, the connection is
 * closed once the earlier replies are written: with a reply missing, every later
 * one would be taken for the wrong request's.
 */
export type ErrorHandler<T = JsonValue, I = unknown> = (
  error: unknown,
  connection: Connection<T, I>,
) => unknown;

interface Pending {
  settled: boolean;
  value: unknown;
  /** Size of the message that it answers. */
  bytes: number;
  /** Whether it stands in for a reply that could not be sent. */
  replaced: boolean;
}

/** In place of a reply: the connection ends here. */
class Failure {
  constructor(readonly cause: unknown) {}

  /** Whether that is one: a handler's Proxy may throw when it is asked. */
  static is(reply: unknown): reply is Failure {
    try {
      return reply instanceof Failure;
    } catch {
      return false;
    }
  }
}

function noReply(): TypeError {
  return new TypeError(
    "Cannot send reply: the handler returned undefined; return a value, or NO_REPLY to send nothing",
  );
}

function orFailure(reply: unknown, error: unknown): unknown {
  return reply === undefined ? new Failure(error) : reply;
}

/**
 * Hands the messages of one connection to a handler and sends its replies in
 * order; closes it when it is at an end and all are sent.
 */
export class Responder<T, I = unknown> implements Consumer<T> {
  readonly name = "serve()";
  readonly #connection: Connection<T, I>;
  readonly #link: Link<T>;
  readonly #handler: Handler<T, I>;
  readonly #onError: ErrorHandler<T, I> | undefined;
  readonly #maxInFlight: number;
  readonly #replies = new Queue<Pending>();
  #bytesInFlight = 0;
  /** Whether a handler is being called now: it may shut the server down. */
  #calling = false;
  /** Wakes the reading that waits until fewer replies are outstanding. */
  #wake: (() => void) | undefined;
  /** How receiving ended, once it has. */
  #ended: ConnectionEnd | undefined;

  constructor(
    connection: Connection<T, I>,
    handler: Handler<T, I>,
    onError: ErrorHandler<T, I> | undefined,
    maxInFlight: number,
  ) {
    this.#connection = connection;
    this.#link = linkOf(connection);
    this.#handler = handler;
    this.#onError = onError;
    this.#maxInFlight = maxInFlight;
    this.#link.consume(this);
  }

  /** Replies that are outstanding. */
  get size(): number {
    return this.#replies.size;
  }

  get #isFull(): boolean {
    return this.#replies.size >= this.#maxInFlight ||
      this.#bytesInFlight >= this.#link.framing.maxFrameBytes;
  }

  /** There will be no more messages. */
  end(end: ConnectionEnd): void {
    this.#ended = end;
    this.#wake?.();
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (
      this.#ended !== undefined && this.#replies.size === 0 && !this.#calling
    ) this.#link.closeFor(this.#ended);
  }

  /**
   * Answers a message; resolves, if there is something to wait for, when there
   * is room for the next.
   */
  receive(message: Decoded<T>, bytes: number): Promise<void> | undefined {
    let reply: unknown;
    this.#calling = true;
    try {
      reply = message instanceof InvalidMessageError
        ? this.#replyToBad(message)
        : this.#handler(message, this.#connection);
    } catch (error) {
      reply = this.#replyTo(error);
    }
    this.#calling = false;
    if (isPromiseLike(reply)) this.#settle(this.#hold(bytes), reply);
    else if (this.#replies.size === 0) {
      const replacement = this.#send(reply);
      if (replacement === undefined) {
        if (this.#ended !== undefined) this.#closeIfDone();
        return this.#link.room();
      }
      const held = this.#hold(bytes);
      held.replaced = true;
      this.#settle(held, replacement);
    } else {
      const held = this.#hold(bytes);
      held.settled = true;
      held.value = reply;
    }
    if (this.#ended !== undefined) this.#closeIfDone();
    return this.#isFull
      ? new Promise((resolve) => this.#wake = resolve)
      : this.#link.room();
  }

  /** A slot in the order of the replies. */
  #hold(bytes: number): Pending {
    const reply = { settled: false, value: undefined, bytes, replaced: false };
    this.#replies.push(reply);
    this.#bytesInFlight += bytes;
    return reply;
  }

  /** The reply to a payload that is not a message. */
  #replyToBad(error: InvalidMessageError): unknown {
    markFailure(error, this.#link);
    return this.#replyTo(error);
  }

  /** The reply to an error: the user's, or the end of the connection. */
  #replyTo(error: unknown): unknown {
    if (this.#onError === undefined) return this.#failed(error);
    try {
      const reply = this.#onError(error, this.#connection);
      if (!isPromiseLike(reply)) return orFailure(reply, error);
      return Promise.resolve(reply).then(
        (reply) => orFailure(reply, error),
        (thrown) => this.#failed(thrown, error),
      );
    } catch (thrown) {
      return this.#failed(thrown, error);
    }
  }

  /**
   * Ends the connection for `cause`, and reports what no hook has taken, unless
   * the link itself has failed.
   */
  #failed(error: unknown, cause: unknown = error): Failure {
    if (!isFailureOf(this.#link, error)) report(error);
    return new Failure(cause);
  }

  #settle(reply: Pending, promise: PromiseLike<unknown>): void {
    Promise.resolve(promise).catch((error) => this.#replyTo(error)).then(
      (value) => {
        reply.settled = true;
        reply.value = value;
        this.#sendSettled();
      },
    );
  }

  #sendSettled(): void {
    for (let reply; (reply = this.#replies.peek())?.settled;) {
      const room = this.#link.room();
      if (room !== undefined) {
        room.then(() => this.#sendSettled(), () => this.#sendSettled());
        return;
      }
      const replacement = this.#send(reply.value, reply.replaced);
      if (replacement !== undefined) {
        reply.settled = false;
        reply.replaced = true;
        this.#settle(reply, replacement);
        break;
      }
      this.#replies.shift();
      this.#bytesInFlight -= reply.bytes;
    }
    if (!this.#isFull) this.#wake?.();
    this.#closeIfDone();
  }

  /**
   * Sends a reply; one that cannot be sent is replaced, once. Returns the
   * replacement if it is yet to come.
   */
  #send(reply: unknown, replaced = false): PromiseLike<unknown> | undefined {
    if (reply === NO_REPLY) return;
    if (Failure.is(reply)) {
      this.#link.closeFor({ clean: false, cause: reply.cause });
      return;
    }
    try {
      this.#link.enqueue(reply);
    } catch (error) {
      // It cannot be read any more.
      if (error instanceof ConnectionClosedError) return;
      const failure = reply === undefined ? noReply() : error;
      const replacement = replaced
        ? this.#failed(failure)
        : this.#replyTo(failure);
      if (isPromiseLike(replacement)) return replacement;
      return this.#send(replacement, true);
    }
  }
}
