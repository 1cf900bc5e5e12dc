/**
 * RPC over one connection after another.
 *
 * @module
 */
import { type Connection, startTimer } from "./connection.ts";
import type { Client } from "./reconnect.ts";
import { apiOf } from "./rpc_api.ts";
import { CALL_OPTIONS } from "./rpc_caller.ts";
import type {
  RpcApi,
  RpcArguments,
  RpcCallOptions,
  RpcName,
  RpcRemote,
  RpcReply,
  RpcResult,
  RpcUntyped,
} from "./rpc_contract.ts";
import { notAStream } from "./rpc_incoming.ts";
import type { RpcPeer } from "./rpc_peer.ts";
import { readOptions } from "./tools/options.ts";

/**
 * Calls the methods of one server, over one connection after another. Made by
 * {@linkcode connectRpc} with the option `reconnect`.
 *
 * A call waits for a connection where there is none. It is sent once at most: if
 * the connection is lost before its answer has come, it rejects, and whether the
 * method has run only the server knows.
 *
 * @typeParam Remote The contract of what the server serves.
 */
export class RpcClient<Remote = RpcUntyped>
  implements RpcRemote<Remote>, AsyncDisposable {
  /** The methods of the server, to be called like functions. */
  readonly api: RpcApi<Remote>;
  readonly #client: Client;
  readonly #timeout: number;
  readonly #attach: (connection: Connection) => RpcPeer<Remote>;
  #peer: RpcPeer<Remote> | undefined;
  #isStaying = false;

  /** Takes a client over; use {@linkcode connectRpc}. */
  constructor(
    client: Client,
    timeout: number,
    attach: (connection: Connection) => RpcPeer<Remote>,
  ) {
    this.#client = client;
    this.#timeout = timeout;
    this.#attach = attach;
    this.api = apiOf((method, params) => this.#call(method, params));
    this.#stayConnected();
  }

  /** The server can call at any time, so there is always to be a connection. */
  async #stayConnected(): Promise<void> {
    if (this.#isStaying) return;
    this.#isStaying = true;
    try {
      for await (const connection of this.#client) this.#use(connection);
    } catch {
      // The next call tries again, and tells what is wrong.
    }
    this.#isStaying = false;
  }

  #use(connection: Connection): RpcPeer<Remote> {
    if (this.#peer?.connection === connection) return this.#peer;
    const peer = this.#attach(connection);
    connection.closed.then(() => {
      if (this.#peer === peer) this.#peer = undefined;
    });
    return this.#peer = peer;
  }

  /** Calls a method of the server; see {@linkcode RpcPeer.call}. */
  call<Name extends RpcName<Remote>>(
    method: Name,
    ...rest: RpcArguments<Remote[Name], [options?: RpcCallOptions]>
  ): RpcReply<RpcResult<Remote[Name]>> {
    const [params, options] = rest as [
      params?: object,
      options?: RpcCallOptions,
    ];
    return this.#call(method, params, options) as RpcReply<
      RpcResult<Remote[Name]>
    >;
  }

  #call(
    method: string,
    params?: object,
    options?: RpcCallOptions,
  ): RpcReply<unknown> {
    const peer = this.#peer as RpcPeer | undefined;
    if (peer !== undefined) return peer.call(method, params, options);
    const left = new AbortController();
    const reply = this.#callLater(method, params, options, left.signal);
    return Object.assign(reply, {
      [Symbol.asyncIterator]: () => new LaterStream(reply, left),
    });
  }

  async #callLater(
    method: string,
    params: object | undefined,
    options: RpcCallOptions = {},
    left: AbortSignal,
  ): Promise<unknown> {
    const { timeout, signal: given } = readOptions(CALL_OPTIONS, options);
    const signal = given === undefined ? left : AbortSignal.any([given, left]);
    params = snapshot(params);
    const start = performance.now();
    const peer = await this.#connected(timeout, signal) as RpcPeer;
    const elapsed = Math.floor(performance.now() - start);
    return await peer.call(method, params, {
      signal,
      timeout: timeout && Math.max(1, timeout - elapsed),
    });
  }

  /** Waits for a connection. */
  async #connected(
    timeout = this.#timeout,
    signal?: AbortSignal,
  ): Promise<RpcPeer<Remote>> {
    const late = new AbortController();
    const stopTimer = startTimer(timeout, () => {
      late.abort(
        new DOMException(
          `Cannot call: no connection after ${timeout} ms`,
          "TimeoutError",
        ),
      );
    });
    try {
      const connection = await this.#client.connected({
        signal: signal === undefined
          ? late.signal
          : AbortSignal.any([signal, late.signal]),
      });
      this.#stayConnected();
      return this.#use(connection);
    } finally {
      stopTimer();
    }
  }

  /** Tells the server something; see {@linkcode RpcPeer.notify}. */
  async notify<Name extends RpcName<Remote>>(
    method: Name,
    ...rest: RpcArguments<Remote[Name], []>
  ): Promise<void> {
    const peer = this.#peer ?? await this.#connected();
    await peer.notify(method, ...rest);
  }

  /**
   * Closes the connection and connects no more. It may be called at any time and
   * more than once.
   */
  close(): Promise<void> {
    return this.#client.close();
  }

  /** The same as {@linkcode RpcClient.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** What is sent of it now, whatever becomes of it until there is a connection. */
function snapshot(params: object | undefined): object | undefined {
  try {
    return JSON.parse(JSON.stringify(params));
  } catch {
    return params; // nothing, or nothing that can be sent: the call will tell
  }
}

/** Iterates over the stream that a call turns out to be. */
async function* itemsOf(
  reply: Promise<unknown>,
): AsyncGenerator<unknown, unknown, void> {
  const result = await reply;
  const isStream = typeof result === "object" && result !== null &&
    Symbol.asyncIterator in result;
  if (!isStream) throw notAStream();
  return yield* result as AsyncGenerator<unknown, unknown, void>;
}

/** A stream that can be left before there is a connection. */
class LaterStream implements AsyncIterator<unknown, unknown, void> {
  readonly #items: AsyncGenerator<unknown, unknown, void>;
  readonly #left: AbortController;

  constructor(reply: Promise<unknown>, left: AbortController) {
    this.#items = itemsOf(reply);
    this.#left = left;
  }

  async next(): Promise<IteratorResult<unknown, unknown>> {
    try {
      return await this.#items.next();
    } catch (error) {
      if (!this.#left.signal.aborted) throw error;
      return { done: true, value: undefined };
    }
  }

  return(value?: unknown): Promise<IteratorResult<unknown, unknown>> {
    // Behind a `next` that waits, its own `return` would wait, too.
    this.#left.abort();
    return this.#items.return(value);
  }
}
