/**
 * What can be called at the other end, as it is behind its types.
 *
 * @module
 */
import { readOptions } from "../tools/options.ts";
import { apiOf } from "./api.ts";
import type { Caller } from "./caller.ts";
import type {
  RpcApi,
  RpcCallOptions,
  RpcRemote,
  RpcReply,
  RpcUntyped,
} from "./contract.ts";
import { CALL_OPTIONS, type CallScope } from "./outgoing_call.ts";

/** Calls the methods of the other end, all of them with the same options. */
export class Remote implements RpcRemote {
  readonly #caller: Caller;
  readonly #options: RpcCallOptions | undefined;
  readonly #scope: CallScope | undefined;
  #api: RpcApi<RpcUntyped> | undefined;

  /** Calls by that caller, within a call that is answered. */
  constructor(caller: Caller, options?: RpcCallOptions, scope?: CallScope) {
    this.#caller = caller;
    this.#options = options;
    this.#scope = scope;
  }

  /** The call that is answered, for what is called within it. */
  protected get scope(): CallScope | undefined {
    return this.#scope;
  }

  /** See {@linkcode RpcRemote.api}. */
  get api(): RpcApi<RpcUntyped> {
    return this.#api ??= apiOf((method, params) => this.call(method, params));
  }

  /** See {@linkcode RpcRemote.with}. */
  with(options: RpcCallOptions): Remote {
    const given = readOptions(CALL_OPTIONS, options);
    const all = { ...this.#options, ...given };
    return new Remote(this.#caller, all, this.scope);
  }

  /** See {@linkcode RpcRemote.call}. */
  call(
    method: string,
    params?: object,
    options?: RpcCallOptions,
  ): RpcReply<unknown> {
    return this.#caller.call(
      method,
      params,
      options,
      this.scope,
      this.#options,
    );
  }

  /** See {@linkcode RpcRemote.notify}. */
  notify(method: string, params?: object): Promise<void> {
    return this.#caller.notify(method, params, this.scope);
  }
}
