/**
 * [`vscode-jsonrpc`](https://www.npmjs.com/package/vscode-jsonrpc), the JSON-RPC
 * library of editors and language servers, over a connection: a message reader
 * and a message writer. Each JSON-RPC message is one message of the connection,
 * without the `Content-Length` header of that library's own streams.
 *
 * Such a connection may be quiet for minutes, so set `idleTimeout: Infinity` on
 * the server. Do not use `heartbeat`: its answers would be taken for messages of
 * the library.
 *
 * The library is not imported here. Written for its version 10; anything of the
 * same shape works as well.
 *
 * @example
 * ```ts
 * import { connect, listen } from "@blackbelt/networking";
 * import {
 *   ConnectionMessageReader,
 *   ConnectionMessageWriter,
 * } from "@blackbelt/networking/adapters/vscode-jsonrpc";
 * import { createMessageConnection } from "npm:vscode-jsonrpc@10.0.0/node";
 * import { assertEquals } from "@std/assert";
 *
 * using listener = listen({ hostname: "127.0.0.1", port: 0 });
 * await using near = await connect(listener.addr);
 * await using far = await listener.accept();
 * const [client, server] = [near, far].map((connection) =>
 *   createMessageConnection(
 *     new ConnectionMessageReader(connection),
 *     new ConnectionMessageWriter(connection),
 *   )
 * );
 * server.onRequest("add", (a: number, b: number) => a + b);
 * server.listen();
 * client.listen();
 * assertEquals(await client.sendRequest("add", 1, 2), 3);
 * ```
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { type Connection, report } from "../mod.ts";
import { JsonRpcLink } from "./json_rpc_link.ts";

/** What every JSON-RPC message has: the `Message` of `vscode-jsonrpc`. */
export interface JsonRpcMessage {
  /** The version of the protocol, `"2.0"`. */
  jsonrpc: string;
}

/** The `Disposable` of `vscode-jsonrpc`: removes a listener. */
export interface Subscription {
  /** Removes the listener; calling it again does nothing. */
  dispose(): void;
}

/**
 * Adds a listener to an event: the `Event` of `vscode-jsonrpc`. The listener is
 * called with `thisArgument` as `this`. The result removes the listener, and is
 * added to `disposables`, if given. An error of a listener is printed, and the
 * others are called.
 *
 * @typeParam E Type of the event.
 */
export type Subscribe<E> = (
  listener: (event: E) => unknown,
  thisArgument?: unknown,
  disposables?: Subscription[],
) => Subscription;

/**
 * A write that failed: the error, the message, and the number of failures so
 * far.
 */
export type WriteFailure = [
  error: Error,
  message: JsonRpcMessage | undefined,
  count: number | undefined,
];

/** The listeners of an event. */
class Listeners<E> extends Set<(event: E) => unknown> {
  readonly event: Subscribe<E> = (listener, thisArgument, disposables) => {
    const call = (event: E) => listener.call(thisArgument, event);
    const disposable = { dispose: () => void this.delete(call) };
    this.add(call);
    disposables?.push(disposable);
    return disposable;
  };

  tell(event: E): void {
    for (const call of [...this]) Promise.try(call, event).catch(report);
  }
}

/**
 * Messages that the library may have before it: what a peer sends beyond that
 * stays with the peer.
 */
const MOST_AHEAD = 256;
/** What the reader and the writer of a connection have in common. */
const LINKS = new WeakMap<Connection, JsonRpcLink>();

function linkOf(connection: Connection): JsonRpcLink {
  let link = LINKS.get(connection);
  if (link === undefined) {
    link = new JsonRpcLink(connection);
    LINKS.set(connection, link);
  }
  return link;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * Reads the messages of a connection for `createMessageConnection` of
 * `vscode-jsonrpc`: a `MessageReader`.
 *
 * Nothing is read before {@linkcode ConnectionMessageReader.listen}, and
 * messages that came before it are kept. The library does not reject open
 * requests when the connection ends; dispose of the message connection for
 * that: `messageConnection.onClose(() => messageConnection.dispose())`.
 *
 * While 100 requests of the peer or 1 MiB of them are unanswered, or messages
 * wait to be written, nothing more is read. Only while the peer has requests of
 * this end to answer, 1 MiB of further requests is read and kept, and those
 * beyond it are answered with an error. Handlers of notifications cannot be
 * counted.
 *
 * @example
 * ```ts
 * import { connect, listen } from "@blackbelt/networking";
 * import { ConnectionMessageReader } from "@blackbelt/networking/adapters/vscode-jsonrpc";
 * import { assertEquals } from "@std/assert";
 *
 * using listener = listen({ hostname: "127.0.0.1", port: 0 });
 * await using near = await connect(listener.addr);
 * await near.send({ jsonrpc: "2.0", method: "hello" });
 * await near.closeWrite();
 * const reader = new ConnectionMessageReader(await listener.accept());
 * const messages: unknown[] = [];
 * reader.listen((message) => messages.push(message));
 * await new Promise<void>((resolve) => reader.onClose(resolve));
 * assertEquals(messages, [{ jsonrpc: "2.0", method: "hello" }]);
 * ```
 */
export class ConnectionMessageReader {
  readonly #link: JsonRpcLink;
  readonly #errors = new Listeners<Error>();
  readonly #closes = new Listeners<void>();
  #callback: ((message: JsonRpcMessage) => void) | undefined;

  /**
   * Called with an `InvalidMessageError` for a payload that is not UTF-8 or not
   * JSON, and with an error of the library while it handles a message, which is
   * printed if there is no listener. Reading goes on. Called with a
   * `FrameTooLargeError`, a `FrameTruncatedError` or a `ConnectionClosedError`
   * when the link broke, before `onClose`.
   */
  readonly onError: Subscribe<Error> = this.#errors.event;
  /**
   * Called once, when the connection has ended, at whichever end, and the
   * library has handled all messages before.
   */
  readonly onClose: Subscribe<void> = this.#closes.event;
  /** Never called: slow messages are not reported. */
  readonly onPartialMessage: Subscribe<never> = new Listeners<never>().event;

  /**
   * Takes over the receiving side of the connection. The caller still closes
   * the connection.
   *
   * @param connection The connection that the messages come from.
   */
  constructor(connection: Connection) {
    this.#link = linkOf(connection);
  }

  /**
   * Starts to read. The connection closes itself when the peer has closed its
   * sending side.
   *
   * @param callback Called with each message, which is not checked to be
   * JSON-RPC.
   * @returns Stops the calls when disposed; later messages are dropped.
   * @throws {TypeError} If it was called before, or something else reads the
   * connection, which stays open.
   */
  listen(callback: (message: JsonRpcMessage) => void): Subscription {
    if (this.#link.reading !== undefined) {
      throw new TypeError("Cannot listen: the connection has a reader already");
    }
    this.#callback = callback;
    this.#link.reading = this.#read();
    return { dispose: () => this.#callback = undefined };
  }

  #read(): Promise<void> {
    // The library works on one message in each turn of the event loop.
    let caughtUp = Promise.resolve();
    let count = 0;
    const reading = this.#link.read({
      message: (message) => this.#callback?.(message as JsonRpcMessage),
      failed: (error) => this.#failed(error),
      error: (error) => this.#errors.tell(error),
      pace() {
        caughtUp = caughtUp.then(nextTurn);
        return ++count % MOST_AHEAD === 0 ? caughtUp : undefined;
      },
    });
    return reading.then(() => caughtUp).then(() => this.#closes.tell());
  }

  #failed(error: unknown): void {
    if (this.#errors.size === 0) report(error);
    else this.#errors.tell(error as Error);
  }

  /**
   * Removes all listeners and calls back no more. Later messages are dropped,
   * and the connection stays open.
   */
  dispose(): void {
    this.#callback = undefined;
    this.#errors.clear();
    this.#closes.clear();
  }
}

/**
 * Writes the messages of `createMessageConnection` of `vscode-jsonrpc` to a
 * connection: a `MessageWriter`.
 *
 * @example
 * ```ts
 * import { connect, serve } from "@blackbelt/networking";
 * import { ConnectionMessageWriter } from "@blackbelt/networking/adapters/vscode-jsonrpc";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => message);
 * await using connection = await connect(server.addr);
 * const writer = new ConnectionMessageWriter(connection);
 * const hello = { jsonrpc: "2.0", method: "hello" };
 * await writer.write(hello);
 * const { value } = await connection[Symbol.asyncIterator]().next();
 * assertEquals(value, hello);
 * ```
 */
export class ConnectionMessageWriter {
  readonly #connection: Connection;
  readonly #link: JsonRpcLink;
  readonly #errors = new Listeners<WriteFailure>();
  readonly #closes = new Listeners<void>();
  #failures = 0;

  /**
   * Called when a message could not be written, with the error, the message and
   * the number of failures so far.
   */
  readonly onError: Subscribe<WriteFailure> = this.#errors.event;
  /** Called once, when the connection has ended, after the reader's. */
  readonly onClose: Subscribe<void> = this.#closes.event;

  /**
   * Sends over the connection. The caller still closes it.
   *
   * @param connection The connection that the messages go to.
   */
  constructor(connection: Connection) {
    const link = this.#link = linkOf(connection);
    this.#connection = connection;
    // What arrived is read before a close is told.
    connection.closed.then(() => link.reading).then(() => this.#closes.tell());
  }

  /**
   * Sends a message.
   *
   * @param message The JSON-RPC message. It is encoded during the call.
   * @returns A promise that resolves when the message was handed to the
   * connection and the peer keeps up. Messages wait for those before them.
   * @throws {FrameTooLargeError} If the payload is larger than the limit.
   * Nothing is sent, and the connection stays open.
   * @throws {InvalidMessageError} If JSON cannot represent the message. Nothing
   * is sent, and the connection stays open.
   * @throws {ConnectionClosedError} If the connection has ended.
   */
  write(message: JsonRpcMessage): Promise<void> {
    const sent = this.#link.send(message);
    sent.catch((error) =>
      this.#errors.tell([error, message, ++this.#failures])
    );
    return sent;
  }

  /**
   * Ends the sending side, once everything before has been written, or the
   * connection if its stream cannot be closed in one direction.
   */
  end(): void {
    this.#connection.closeWrite().catch(() => this.#connection.close());
  }

  /** Removes all listeners. The connection stays open. */
  dispose(): void {
    this.#errors.clear();
    this.#closes.clear();
  }
}
