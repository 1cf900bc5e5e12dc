/**
 * RPC over one connection after another.
 *
 * @module
 */
import type { ReconnectingClient } from "../client/client.ts";
import { Alarm, now } from "./alarm.ts";
import { apiOf } from "./api.ts";
import { Caller } from "./caller.ts";
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
import type { RpcSettings } from "./options.ts";
import { RpcPeer } from "./peer.ts";
import { onAbort } from "../tools/abort.ts";
import { callHook } from "../tools/report.ts";

/**
 * A client of a server's methods that connects again when its connection is
 * lost. Made by {@linkcode createRpcClient}.
 *
 * While there is no connection, a call waits for one. It is sent at most once:
 * if the connection is lost before the answer has come, it rejects, and the
 * method may or may not have run.
 *
 * ```ts
 * import { createRpcClient, serveRpc } from "@blackbelt/networking/rpc";
 * import { assertEquals } from "@std/assert";
 *
 * const methods = { add: (a: number, b: number) => a + b };
 * await using server = serveRpc({ hostname: "127.0.0.1", port: 0 }, methods);
 * await using client = await createRpcClient<typeof methods>(server.addr);
 * assertEquals(await client.api.add(1, 2), 3);
 * ```
 *
 * @typeParam Remote Type of the server's methods.
 */
export class RpcClient<Remote = RpcUntyped>
  implements RpcRemote<Remote>, AsyncDisposable {
  /** The methods of the server, as functions. */
  readonly api: RpcApi<Remote>;
  readonly #client: ReconnectingClient;
  readonly #caller: Caller;
  #peer: RpcPeer | undefined;
  readonly #alarm = new Alarm();
  #reaching: Promise<void> | undefined;

  /**
   * Takes a client over; use {@linkcode createRpcClient}. `attach` is called with the
   * peer of each connection.
   */
  constructor(
    client: ReconnectingClient,
    settings: RpcSettings,
    attach: (peer: RpcPeer) => void = () => {},
  ) {
    const { timeout, maxOpenCalls } = settings.options;
    const alarm = this.#alarm;
    this.#client = client;
    this.#caller = new Caller({
      timeout,
      maxOpenCalls,
      framing: client.framing,
      now,
      watch: (deadline) => alarm.watch(deadline),
      reach: () => this.#reach(),
      onUnclaimed: (error) => {
        const { onError } = settings.options;
        callHook(onError, error, undefined, this.#peer!.connection);
      },
    });
    alarm.add(this.#caller);
    onAbort(client.signal, () => this.#over());
    this.api = apiOf((method, params) =>
      this.#caller.call(method, params, undefined)
    );
    client.takeOver({
      use: (connection) => {
        this.#peer = new RpcPeer(connection, settings, this.#caller);
        attach(this.#peer);
      },
      close: async () => await this.#peer?.close(),
    });
  }

  /** Connects; what waits hears of it if there is to be no connection. */
  #reach(): void {
    if (this.#reaching !== undefined) return;
    this.#alarm.keepAlive(true);
    this.#reaching = this.#client.connected().then(
      () => {},
      (error) => this.#caller.failWaiting(error),
    ).finally(() => {
      this.#reaching = undefined;
      this.#alarm.keepAlive(false);
    });
  }

  #over(): void {
    this.#reach();
    this.#alarm.stop();
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
    return this.#caller.call(method, params, options) as RpcReply<
      RpcResult<Remote[Name]>
    >;
  }

  /**
   * Calls a method of the server without an answer; see {@linkcode
   * RpcPeer.notify}.
   */
  notify<Name extends RpcName<Remote>>(
    method: Name,
    ...rest: RpcArguments<Remote[Name], []>
  ): Promise<void> {
    return this.#caller.notify(method, ...rest as [params?: object]);
  }

  /**
   * Closes the connection, once everything sent before has been written, and
   * connects no more. It may be called at any time and more than once. Open
   * calls reject, and the server is told to cancel them.
   */
  close(): Promise<void> {
    return this.#client.close();
  }

  /** The same as {@linkcode RpcClient.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
