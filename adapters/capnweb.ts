/**
 * [`capnweb`](https://www.npmjs.com/package/capnweb), object-capability RPC with
 * promise pipelining, over a connection: a transport for its `RpcSession`.
 *
 * Each message of the library is one message of the connection, encoded once,
 * so the wire holds plain JSON and not JSON text inside a JSON string.
 *
 * Such a connection may be quiet for minutes, so set `idleTimeout: Infinity` on
 * the server. Do not use `heartbeat`: its answers would be taken for messages of
 * the library.
 *
 * The library is not imported here. Written for its version 0.12; versions from
 * 0.10 have transports with an `encodingLevel`, which it needs.
 *
 * @example
 * ```ts
 * import { connect, listen } from "@blackbelt/networking";
 * import { ConnectionRpcTransport } from "@blackbelt/networking/adapters/capnweb";
 * import { RpcSession, RpcTarget } from "npm:capnweb@0.12.0";
 * import { assertEquals } from "@std/assert";
 *
 * class Greeter extends RpcTarget {
 *   greet(name: string): string {
 *     return `hello ${name}`;
 *   }
 * }
 *
 * using listener = listen({ hostname: "127.0.0.1", port: 0 });
 * const near = await connect(listener.addr);
 * const far = await listener.accept();
 * new RpcSession(new ConnectionRpcTransport(far), new Greeter());
 * const session = new RpcSession<Greeter>(new ConnectionRpcTransport(near));
 * const greeter = session.getRemoteMain();
 * assertEquals(await greeter.greet("ada"), "hello ada");
 * greeter[Symbol.dispose](); // ends the session, and the connection with it
 * await Promise.all([near.closed, far.closed]);
 * ```
 *
 * @module
 */
import { type Connection, ConnectionClosedError } from "../mod.ts";
import { PacedSender } from "./paced_sender.ts";

/**
 * Carries the messages of an `RpcSession` of `capnweb`: an `RpcTransport`. It
 * owns the connection, which is closed when the session ends, because its main
 * stub was disposed or something failed.
 *
 * A message that cannot be sent, or is not JSON, ends the session, since the
 * library cannot go on without it. The library does not wait for a transport:
 * messages wait here in order, and nothing more is read from the peer
 * meanwhile. Calls at work cannot be counted, since the library does not tell
 * when one is done, so a peer that is not trusted can start any number of them.
 *
 * @example
 * ```ts
 * import { connect, serve } from "@blackbelt/networking";
 * import { ConnectionRpcTransport } from "@blackbelt/networking/adapters/capnweb";
 * import { assertEquals } from "@std/assert";
 *
 * await using server = serve({ hostname: "127.0.0.1", port: 0 }, (message) => message);
 * const connection = await connect(server.addr);
 * const transport = new ConnectionRpcTransport(connection);
 * transport.send(["pull", 1]);
 * assertEquals(await transport.receive(), ["pull", 1]);
 * transport.abort(new Error("enough"));
 * await connection.closed;
 * ```
 */
export class ConnectionRpcTransport {
  /** Tells the library to hand over JSON values, not their text. */
  readonly encodingLevel = "jsonCompatible";
  readonly #connection: Connection;
  readonly #messages: AsyncIterator<unknown, undefined>;
  readonly #sender: PacedSender;
  /** Why a message was not sent. */
  #failure: { error: unknown } | undefined;
  /** Rejects the `receive` that waits. */
  #reject: ((error: unknown) => void) | undefined;

  /**
   * Takes the connection over. Nothing is read before the session asks for it.
   *
   * @param connection The connection that carries the messages.
   * @throws {TypeError} If something else reads the connection, which stays
   * open.
   */
  constructor(connection: Connection) {
    this.#sender = new PacedSender(connection);
    this.#connection = connection;
    this.#messages = connection[Symbol.asyncIterator]();
  }

  /**
   * Sends a message, behind those before it. If that fails, {@linkcode
   * ConnectionRpcTransport.receive} rejects with the error.
   *
   * @param message The JSON value. It is encoded during the call.
   */
  send(message: unknown): void {
    this.#sender.send(message).catch((error) => {
      this.#failure ??= { error };
      this.#reject?.(error);
    });
  }

  /**
   * Waits for the next message.
   *
   * @throws {ConnectionClosedError} If the connection has ended; `clean` says
   * whether that was between two messages.
   * @throws {FrameTooLargeError} If the payload is larger than the limit.
   * @throws {FrameTruncatedError} If the connection ended inside a frame.
   * @throws {InvalidMessageError} If the payload is not UTF-8 or not JSON.
   * @throws The error of a message that could not be sent: a
   * `FrameTooLargeError` or an `InvalidMessageError`.
   */
  receive(): Promise<unknown> {
    const received = this.#receive();
    received.catch(() => {}); // not awaiting it is safe
    return received;
  }

  async #receive(): Promise<unknown> {
    await this.#sender.room();
    if (this.#failure !== undefined) throw this.#failure.error;
    const { promise, resolve, reject } = Promise.withResolvers<
      IteratorResult<unknown, undefined>
    >();
    this.#reject = reject;
    this.#messages.next().then(resolve, reject);
    const { done, value } = await promise;
    if (done) {
      // A session is over when either end is.
      this.#connection.close();
      throw new ConnectionClosedError(
        "Cannot receive message: the connection is closed",
        { clean: true },
      );
    }
    return value;
  }

  /**
   * Closes the connection, once everything sent before has been written.
   *
   * @param _reason The reason, of which the library has told the peer.
   */
  abort(_reason: unknown): void {
    this.#connection.close();
  }
}
