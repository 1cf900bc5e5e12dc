/**
 * A call from the side that answers it.
 *
 * @module
 */
import type { Connection } from "./connection.ts";
import type { RpcId, RpcRequest } from "./jsonrpc.ts";
import { apiOf } from "./rpc_api.ts";
import type { Caller } from "./rpc_caller.ts";
import type {
  RpcApi,
  RpcCallOptions,
  RpcContext,
  RpcReply,
  RpcUntyped,
} from "./rpc_contract.ts";
import type { OutgoingStream } from "./rpc_outgoing.ts";
import type { Batch } from "./rpc_replies.ts";

/** What all calls of a connection have in common. */
export interface Surroundings {
  /** On which they come. */
  readonly connection: Connection;
  /** What they call back with. */
  readonly caller: Caller;
  /** Milliseconds that a method has to answer, or to begin a stream. */
  readonly handlerTimeout: number;
  /** The time now, in milliseconds. */
  now(): number;
}

/** A call as its method has it, and what there is to know about it. */
export class RunningCall implements RpcContext {
  /** What it is known by; `undefined` for a notification. */
  readonly id: RpcId | undefined;
  /** What is called; `undefined` if there is no such method. */
  readonly method: string | undefined;
  /** With what it is called. */
  readonly params: object | undefined;
  /** With what it is answered together. */
  readonly batch: Batch | undefined;
  /**
   * Where it is: `new` if nobody else knows of it, `parked` until there is a
   * place for it, `running` in that place, `streaming` once it needs none any
   * more, `over` if nobody waits for it.
   */
  state: "new" | "parked" | "running" | "streaming" | "over" = "new";
  /** What it streams. */
  stream: OutgoingStream | undefined;
  readonly #surroundings: Surroundings;
  /** When the caller stops waiting. */
  #callerDeadline = Infinity;
  #deadline: number | undefined;
  #controller: AbortController | undefined;
  #abortion: { reason: unknown } | undefined;

  /** Makes a call of a request. */
  constructor(
    { id, params, timeout }: RpcRequest,
    method: string | undefined,
    batch: Batch | undefined,
    surroundings: Surroundings,
  ) {
    this.id = id;
    this.method = method;
    this.params = params ?? undefined;
    this.batch = batch;
    this.#surroundings = surroundings;
    // Another protocol's member of that name is none of ours.
    if (typeof timeout === "number" && timeout > 0) {
      this.#callerDeadline = surroundings.now() + timeout;
    }
  }

  /**
   * When it is late: where its method runs, for its answer to begin. Not worth
   * a look at the clock where the method answers at once.
   */
  get deadline(): number {
    if (this.state === "parked" || this.stream !== undefined) {
      return this.#callerDeadline;
    }
    return this.#deadline ??= Math.min(
      this.#callerDeadline,
      this.#surroundings.now() + this.#surroundings.handlerTimeout,
    );
  }

  /** See {@linkcode RpcContext.signal}. Few methods look at it. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortion !== undefined) {
        this.#controller.abort(this.#abortion.reason);
      }
    }
    return this.#controller.signal;
  }

  /** See {@linkcode RpcContext.timeLeft}. */
  get timeLeft(): number {
    return Math.max(0, this.deadline - this.#surroundings.now());
  }

  /** See {@linkcode RpcContext.connection}. */
  get connection(): Connection {
    return this.#surroundings.connection;
  }

  /** See {@linkcode RpcRemote.api}. */
  get api(): RpcApi<RpcUntyped> {
    return apiOf((method, params) => this.call(method, params));
  }

  /** See {@linkcode RpcRemote.call}. */
  call(
    method: string,
    params?: object,
    options?: RpcCallOptions,
  ): RpcReply<unknown> {
    return this.#surroundings.caller.call(method, params, options, this);
  }

  /** See {@linkcode RpcRemote.notify}. */
  notify(method: string, params?: object): Promise<void> {
    return this.#surroundings.caller.notify(method, params);
  }

  /** Nobody waits for the answer any more. */
  abort(reason: unknown): void {
    this.#abortion = { reason };
    this.#controller?.abort(reason);
    this.stream?.stop();
  }

  /** Whether it was aborted for that reason. */
  isAbortedFor(reason: unknown): boolean {
    return this.#abortion !== undefined && this.#abortion.reason === reason;
  }
}
