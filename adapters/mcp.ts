/**
 * The [Model Context Protocol](https://modelcontextprotocol.io) over a
 * connection: a transport for the client and the server of its SDK,
 * [`@modelcontextprotocol/sdk`](https://www.npmjs.com/package/@modelcontextprotocol/sdk).
 * Each of the protocol's JSON-RPC messages is one message of the connection.
 *
 * Such a connection may be quiet for minutes, so set `idleTimeout: Infinity` on
 * the server. Do not use `heartbeat`: its answers would be taken for messages of
 * the SDK.
 *
 * The SDK is not imported here. Written for its version 1; anything of the same
 * shape works as well.
 *
 * @example
 * ```ts
 * import { connect, listen } from "@blackbelt/networking";
 * import { ConnectionTransport } from "@blackbelt/networking/adapters/mcp";
 * import { Client } from "npm:@modelcontextprotocol/sdk@1.32.2/client";
 * // @ts-types="npm:@modelcontextprotocol/sdk@1.32.2/server/mcp"
 * import { McpServer } from "npm:@modelcontextprotocol/sdk@1.32.2/server/mcp.js";
 * import { assertEquals } from "@std/assert";
 *
 * const server = new McpServer({ name: "greeter", version: "1.0.0" });
 * server.registerTool("greet", {}, () => ({ content: [{ type: "text", text: "hello" }] }));
 *
 * using listener = listen({ hostname: "127.0.0.1", port: 0 });
 * const client = new Client({ name: "guest", version: "1.0.0" });
 * const connection = await connect(listener.addr);
 * await server.connect(new ConnectionTransport(await listener.accept()));
 * await client.connect(new ConnectionTransport(connection));
 * const { content } = await client.callTool({ name: "greet" });
 * assertEquals(content, [{ type: "text", text: "hello" }]);
 * await client.close();
 * ```
 *
 * @module
 */
import { type Connection, report } from "../mod.ts";
import { JsonRpcLink } from "./json_rpc_link.ts";

/** Tells that a request is given up; it will have no answer. */
const CANCELLED = "notifications/cancelled";

function cancelledBy(message: unknown): unknown {
  const { method, params } = (message ?? {}) as {
    method?: unknown;
    params?: { requestId?: unknown };
  };
  return method === CANCELLED ? params?.requestId : undefined;
}

/**
 * Carries the messages of a client or a server of the Model Context Protocol: a
 * `Transport` of its SDK. It owns the connection: closing the client or the
 * server closes it.
 *
 * The client and the server set the callbacks and start the transport
 * themselves. Nothing is read before that, and messages that came before are
 * kept. An error of a callback goes to `onerror`, and is printed without one.
 *
 * While 100 requests of the peer or 1 MiB of them are unanswered, or messages
 * wait to be sent, nothing more is read. Only while the peer has requests of
 * this end to answer, 1 MiB of further requests is read and kept, and those
 * beyond it are answered with an error. Handlers of notifications, and of
 * requests that the peer has cancelled, cannot be counted.
 *
 * @example
 * ```ts
 * import { connect, listen } from "@blackbelt/networking";
 * import { ConnectionTransport } from "@blackbelt/networking/adapters/mcp";
 * import { assertEquals } from "@std/assert";
 *
 * using listener = listen({ hostname: "127.0.0.1", port: 0 });
 * const near = new ConnectionTransport(await connect(listener.addr));
 * await near.send({ jsonrpc: "2.0", method: "ping" });
 * const far = new ConnectionTransport(await listener.accept());
 * const ended = new Promise<void>((resolve) => far.onclose = resolve);
 * far.onmessage = (message) => {
 *   assertEquals(message, { jsonrpc: "2.0", method: "ping" });
 *   near.close();
 * };
 * await far.start();
 * await ended;
 * ```
 */
export class ConnectionTransport {
  /** Called with each message, which is not checked to be JSON-RPC. */
  onmessage?: ((message: unknown) => void) | undefined;
  /**
   * Called with an `InvalidMessageError` for a payload that is not UTF-8 or not
   * JSON, after which the transport goes on; called with a
   * `FrameTooLargeError`, a `FrameTruncatedError` or a `ConnectionClosedError`
   * when the link broke, before `onclose`.
   */
  onerror?: ((error: Error) => void) | undefined;
  /** Called once, when the connection has ended, at whichever end. */
  onclose?: (() => void) | undefined;

  readonly #connection: Connection;
  readonly #link: JsonRpcLink;
  #reading: Promise<void> | undefined;

  /**
   * Takes the connection over.
   *
   * @param connection The connection that carries the messages.
   */
  constructor(connection: Connection) {
    this.#link = new JsonRpcLink(connection);
    this.#connection = connection;
  }

  /**
   * Starts to read; the SDK calls it.
   *
   * @throws {TypeError} If the transport was started or closed before, or
   * something else reads the connection, which stays open.
   */
  // deno-lint-ignore require-await
  async start(): Promise<void> {
    if (this.#reading !== undefined) {
      throw new TypeError("Cannot start: the transport was started or closed");
    }
    this.#reading = this.#read();
  }

  /**
   * Sends a message.
   *
   * @param message The JSON-RPC message. It is encoded during the call.
   * @returns A promise that resolves when the message was handed to the
   * connection and the peer keeps up. Messages wait for those before them.
   * @throws {FrameTooLargeError} If the payload is larger than the limit.
   * Nothing is sent, and the transport can go on.
   * @throws {InvalidMessageError} If JSON cannot represent the message. Nothing
   * is sent, and the transport can go on.
   * @throws {ConnectionClosedError} If the connection has ended.
   */
  send(message: unknown): Promise<void> {
    const cancelled = cancelledBy(message);
    if (cancelled !== undefined) this.#link.giveUp(cancelled);
    return this.#link.send(message);
  }

  /**
   * Closes the connection, once everything sent before has been written;
   * resolves when `onclose` was called. It may be called more than once.
   */
  async close(): Promise<void> {
    await this.#connection.close();
    if (this.#reading === undefined) {
      this.#reading = Promise.resolve();
      this.#tellClosed();
    }
    await this.#reading;
  }

  #read(): Promise<void> {
    return this.#link.read({
      message: (message) => {
        const cancelled = cancelledBy(message);
        const result: unknown = this.onmessage?.(message);
        if (cancelled !== undefined) this.#link.forget(cancelled);
        return result;
      },
      failed: (error) => this.#failed(error),
      error: (error) => this.#tellError(error),
    }).then(() => this.#tellClosed());
  }

  #tellClosed(): void {
    Promise.try(() => this.onclose?.()).catch((error) => this.#failed(error));
  }

  #tellError(error: Error): void {
    Promise.try(() => this.onerror?.(error)).catch(report);
  }

  /** Tells what a callback has failed with. */
  #failed(error: unknown): void {
    if (this.onerror === undefined) report(error);
    else this.#tellError(error as Error);
  }
}
