/**
 * A connection for JSON-RPC libraries that start a handler for every request,
 * without a limit of their own.
 *
 * @module
 */
import { type Connection, InvalidMessageError } from "../mod.ts";
import { PacedSender } from "./paced_sender.ts";

/** Unanswered requests of the peer, and their bytes, until reading pauses. */
const MOST_IN_FLIGHT = 100;
const MOST_BYTES = 1_048_576;
/**
 * Bytes of further requests that are kept while reading has to go on, because
 * the peer has requests to answer.
 */
const MOST_HELD = 1_048_576;

/** What a link calls in the adapter. */
export interface JsonRpcHooks {
  /** Called with each message for the library. */
  message(message: unknown): unknown;
  /** Called with the error of `message`, or of its promise. */
  failed(error: unknown): void;
  /** Called with the error of a bad message, or of the link. */
  error(error: Error): void;
  /** Returns a promise to wait for before the next message is read. */
  pace?(): Promise<void> | undefined;
}

interface JsonRpc {
  readonly id?: unknown;
  readonly method?: unknown;
}

function isRequest({ id, method }: JsonRpc): boolean {
  return typeof method === "string" &&
    (typeof id === "string" || typeof id === "number");
}

function isResponse({ id, method }: JsonRpc): boolean {
  return method === undefined && id !== undefined;
}

/** Counts requests and answers over a connection, and paces reading by them. */
export class JsonRpcLink {
  readonly #connection: Connection;
  readonly #sender: PacedSender;
  /** Requests of the peer that are at work, and their bytes. */
  readonly #inFlight = new Map<unknown, number>();
  #bytesInFlight = 0;
  #bytesSeen = 0;
  /** Requests of the library that the peer has not answered. */
  readonly #asked = new Set<unknown>();
  #held: { message: unknown; size: number }[] = [];
  #heldSize = 0;
  #isStarting = false;
  #hooks: JsonRpcHooks | undefined;
  #hasEnded = false;
  /** Resolves when reading has ended; set by adapters that need it. */
  reading: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  /** Takes the connection over; nothing is read before {@linkcode read}. */
  constructor(connection: Connection) {
    this.#connection = connection;
    this.#sender = new PacedSender(connection);
    connection.closed.then(() => {
      this.#hasEnded = true;
      this.#wake?.();
    });
  }

  /**
   * Sends a message; see `PacedSender.send`. An answer that cannot be sent counts
   * as sent: the library reports the error and makes no other answer.
   */
  send(message: unknown): Promise<void> {
    const json: JsonRpc = message ?? {};
    if (isResponse(json)) this.forget(json.id);
    const sent = this.#sender.send(message);
    if (isRequest(json)) {
      const { id } = json;
      this.#asked.add(id);
      sent.catch(() => this.giveUp(id));
      this.#wake?.(); // its answer has to be read
    }
    return sent;
  }

  /** A request of the library will have no answer. */
  giveUp(id: unknown): void {
    this.#asked.delete(id);
  }

  /** A request of the peer is answered, or will have no answer. */
  forget(id: unknown): void {
    this.#bytesInFlight -= this.#inFlight.get(id) ?? 0;
    this.#inFlight.delete(id);
    // A request that is answered at once calls this again.
    if (!this.#isStarting) this.#startHeld();
    this.#wake?.();
  }

  #startHeld(): void {
    this.#isStarting = true;
    while (this.#held.length > 0 && !this.#isBusy) {
      const { message, size } = this.#held.shift()!;
      this.#heldSize -= size;
      this.#start(message, size);
    }
    this.#isStarting = false;
  }

  /**
   * Reads until the connection has ended. The promise never rejects.
   *
   * @throws {TypeError} If something else reads the connection.
   */
  read(hooks: JsonRpcHooks): Promise<void> {
    this.#hooks = hooks;
    return this.#read(this.#connection[Symbol.asyncIterator](), hooks);
  }

  async #read(
    messages: AsyncIterator<unknown, undefined>,
    hooks: JsonRpcHooks,
  ): Promise<void> {
    for (let open = true; open;) {
      try {
        const { done, value } = await messages.next();
        if (done) break;
        this.#receive(value);
      } catch (error) {
        open = error instanceof InvalidMessageError;
        hooks.error(error as Error);
      }
      const wait = hooks.pace?.() ?? this.#sender.room();
      if (wait !== undefined) await wait;
      while (this.#isFull) await this.#change();
    }
    await this.#close();
  }

  /** Closes after the last answer: the peer may have ended only its own side. */
  async #close(): Promise<void> {
    while (this.#inFlight.size > 0 && !this.#hasEnded) await this.#change();
    for (let room; (room = this.#sender.room()) !== undefined;) await room;
    this.#connection.close();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wake = resolve);
  }

  get #isBusy(): boolean {
    return this.#inFlight.size >= MOST_IN_FLIGHT ||
      this.#bytesInFlight >= MOST_BYTES;
  }

  get #isFull(): boolean {
    return this.#isBusy && this.#asked.size === 0 && !this.#hasEnded;
  }

  /**
   * Approximate bytes of a request that is about to start: all bytes that were
   * read since the last one started.
   */
  #takeSize(): number {
    const { bytesReceived } = this.#connection.stats();
    const size = bytesReceived - this.#bytesSeen;
    this.#bytesSeen = bytesReceived;
    return size;
  }

  #receive(message: unknown): void {
    const json: JsonRpc = message ?? {};
    const { id } = json;
    if (!isRequest(json)) {
      if (isResponse(json)) this.#asked.delete(id);
      this.#deliver(message);
    } else if (this.#inFlight.has(id)) {
      // Two requests with one id could not be told apart.
      this.#refuse(id, -32600, "Invalid Request");
    } else if (!this.#isBusy) this.#start(message, this.#takeSize());
    else this.#hold(message);
  }

  #hold(message: unknown): void {
    // Measured exactly, as many may have been read together.
    const size = JSON.stringify(message).length;
    if (this.#heldSize + size > MOST_HELD) {
      this.#refuse((message as JsonRpc).id, -32000, "Too many calls");
    } else {
      this.#held.push({ message, size });
      this.#heldSize += size;
    }
  }

  #start(message: unknown, size: number): void {
    this.#inFlight.set((message as JsonRpc).id, size);
    this.#bytesInFlight += size;
    this.#deliver(message);
  }

  #deliver(message: unknown): void {
    Promise.try(() => this.#hooks?.message(message))
      .catch((error) => this.#hooks?.failed(error));
  }

  #refuse(id: unknown, code: number, message: string): void {
    const refusal = { jsonrpc: "2.0", id, error: { code, message } };
    // If the connection has ended, reading reports it.
    this.#sender.send(refusal).catch(() => {});
  }
}
