/**
 * RPC over one connection after another.
 *
 * @module
 */
import type { Client, Waiting } from "../client/client.ts";
import {
  BackpressureError,
  type Connection,
  unsent,
} from "../connection/connection.ts";
import { apiOf } from "./api.ts";
import { CALL_OPTIONS, checkedParams } from "./caller.ts";
import type {
  RpcApi,
  RpcArguments,
  RpcCallOptions,
  RpcName,
  RpcRemote,
  RpcReply,
  RpcResult,
  RpcUntyped,
} from "./contract.ts";
import type { RpcPeer } from "./peer.ts";
import { readOptions } from "../tools/options.ts";
import { quiet } from "../tools/quiet.ts";

/** What a call is known by is not known before it is sent, but has room. */
const LONGEST_ID = Number.MAX_SAFE_INTEGER;

/** Options of a peer that hold for calls that wait, too. */
export interface RpcClientLimits {
  /** Milliseconds for a connection, where a call has no timeout of its own. */
  readonly timeout: number;
  /** Calls that wait, or are open, at the same time. */
  readonly maxOpenCalls: number;
}

/** A call that was sent. A promise of it would be awaited for its result. */
interface SentCall {
  readonly reply: RpcReply<unknown>;
}

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
  readonly #limits: RpcClientLimits;
  #peer!: RpcPeer;
  #callsWaiting = 0;

  /** Takes a client over; use {@linkcode connectRpc}. */
  constructor(
    client: Client,
    limits: RpcClientLimits,
    attach: (connection: Connection) => RpcPeer<Remote>,
  ) {
    this.#client = client;
    this.#limits = limits;
    this.api = apiOf((method, params) => this.#call(method, params));
    client.takeOver({
      use: (connection) => this.#peer = attach(connection) as RpcPeer,
      close: async () => await this.#peer?.close(),
    });
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
    if (this.#client.ready !== undefined) {
      return this.#peer.call(method, params, options);
    }
    try {
      return this.#callLater(method, params, options);
    } catch (error) {
      const failed = unsent(error);
      return replyOf(failed, { promise: failed, leave() {} });
    }
  }

  #callLater(
    method: string,
    params: object | undefined,
    options: RpcCallOptions = {},
  ): RpcReply<unknown> {
    const { timeout, signal } = readOptions(CALL_OPTIONS, options);
    const doing = `call "${method}"`;
    this.#checkRoom();
    params = checkedParams(method, params);
    const call = this.#client.wait<SentCall>(
      { jsonrpc: "2.0", id: LONGEST_ID, method, params, timeout },
      { doing, timeout: timeout ?? this.#limits.timeout, signal },
      (_connection, message, left) => {
        this.#callsWaiting--;
        const { params } = message as { params?: object };
        const options = { signal, timeout: timeout && left };
        return { reply: this.#peer.call(method, params, options) };
      },
    );
    this.#callsWaiting++;
    call.promise.catch(() => this.#callsWaiting--);
    return replyOf(quiet(call.promise.then(({ reply }) => reply)), call);
  }

  #checkRoom(): void {
    const { maxOpenCalls } = this.#limits;
    const open = this.#callsWaiting + (this.#peer?.stats.callsOpen ?? 0);
    if (open >= maxOpenCalls) {
      throw new BackpressureError(open, maxOpenCalls, "calls");
    }
  }

  /** Tells the server something; see {@linkcode RpcPeer.notify}. */
  notify<Name extends RpcName<Remote>>(
    method: Name,
    ...rest: RpcArguments<Remote[Name], []>
  ): Promise<void> {
    const [params] = rest as [params?: object];
    if (this.#client.ready !== undefined) {
      return this.#peer.notify(method, params);
    }
    try {
      return this.#client.wait(
        { jsonrpc: "2.0", method, params: checkedParams(method, params) },
        { doing: `notify "${method}"`, timeout: this.#limits.timeout },
        (_connection, message) =>
          this.#peer.notify(method, (message as { params?: object }).params),
      ).promise;
    } catch (error) {
      return unsent(error);
    }
  }

  /**
   * Closes the connection, once everything sent before has left, and connects no
   * more. It may be called at any time and more than once. Calls that are open
   * reject, and the server hears that they are given up.
   */
  close(): Promise<void> {
    return this.#client.close();
  }

  /** The same as {@linkcode RpcClient.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** What whoever calls has of a call that waits. */
function replyOf(
  result: Promise<unknown>,
  call: Waiting<SentCall>,
): RpcReply<unknown> {
  return Object.assign(result, {
    [Symbol.asyncIterator]() {
      // What it fails with is told where it is iterated.
      quiet(result);
      return new LaterStream(call);
    },
  });
}

/** A stream that can be left before there is a connection. */
class LaterStream implements AsyncIterator<unknown, unknown, void> {
  readonly #call: Waiting<SentCall>;
  readonly #items: Promise<AsyncIterator<unknown, unknown, void>>;
  #isOver = false;

  constructor(call: Waiting<SentCall>) {
    this.#call = call;
    this.#items = quiet(
      call.promise.then(({ reply }) => reply[Symbol.asyncIterator]()),
    );
  }

  next(): Promise<IteratorResult<unknown, unknown>> {
    return quiet(this.#next());
  }

  async #next(): Promise<IteratorResult<unknown, unknown>> {
    let items: AsyncIterator<unknown, unknown, void>;
    try {
      items = await this.#items;
    } catch (error) {
      // It is told once, and not to who has left.
      if (this.#isOver) return { done: true, value: undefined };
      this.#isOver = true;
      throw error;
    }
    return await items.next();
  }

  async return(value?: unknown): Promise<IteratorResult<unknown, unknown>> {
    this.#isOver = true;
    this.#call.leave(new DOMException("The stream was left", "AbortError"));
    try {
      await (await this.#items).return?.();
    } catch {
      // There has been none.
    }
    return { done: true, value };
  }
}
