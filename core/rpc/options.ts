/**
 * What is to be known before a peer is made: its options and methods.
 *
 * @module
 */
import type { RpcMethods } from "./contract.ts";
import { type MethodTable, tableOf } from "./methods.ts";
import type { RpcErrorHandler } from "./replies.ts";
import {
  defaultsOf,
  flag,
  hook,
  limit,
  type OptionTable,
  readOptions,
  timeout,
} from "../tools/options.ts";

/**
 * Options of a peer.
 *
 * @typeParam I Type of `identity`: what `authenticate` returns for a peer.
 */
export interface RpcOptions<I = unknown> {
  /**
   * Milliseconds for the answer to a call, or the first item of its stream,
   * where the call has no timeout of its own.
   *
   * @default {30_000}
   */
  timeout?: number;
  /**
   * Milliseconds for a method to answer or to begin a stream, unless the caller
   * allows less. Then the answer is -32001, and the method's `signal` is
   * aborted. A method that never awaits anything cannot be stopped.
   *
   * @default {60_000}
   */
  handlerTimeout?: number;
  /**
   * Calls of the peer at work at the same time, not counting streams that have
   * begun. As many more may run as this end has calls open itself, since
   * methods may wait for those.
   *
   * Bytes are limited, too: the parameters of calls at work have at most 1 MiB
   * together, or `maxFrameBytes` if that is less; a single call may have more.
   * Further calls wait, up to 896 KiB and one of any size. Calls beyond that
   * are answered with -32000 without running; notifications beyond are dropped,
   * and `onError` is told. Peers of this package hold back what exceeds this.
   *
   * A cancelled call frees its slot, but its bytes count until its method ends,
   * and at most `maxInFlight` such methods go on. Streams have limits of their
   * own: 1 000 are open at the same time, with 1 MiB of parameters. The call
   * for one more is answered with -32000.
   *
   * @default {100}
   */
  maxInFlight?: number;
  /**
   * Whether `rpc.discover` lists the methods and their descriptions.
   *
   * @default {false}
   */
  discover?: boolean;
  /**
   * Called with the error of a method, unless that is an `RpcError` for its
   * caller, and with the error of an answer that cannot be sent. The caller
   * sees only "Internal error". Without it, such an error is printed.
   *
   * Called without the name of a method for an error of the peer that belongs
   * to none of the open calls. An error of the hook itself is printed, and ends
   * nothing.
   */
  onError?: RpcErrorHandler<I>;
}

/** What each option may be. */
export const RPC_OPTIONS: OptionTable<RpcOptions> = {
  timeout: timeout(30_000),
  handlerTimeout: timeout(60_000),
  maxInFlight: limit(100),
  discover: flag(false),
  onError: hook(),
};

/** The defaults of {@linkcode RpcOptions}. */
export const RPC_DEFAULTS: Readonly<Required<Omit<RpcOptions, "onError">>> =
  defaultsOf(RPC_OPTIONS);

/**
 * Options and methods that are checked: the same for all connections of a
 * server.
 */
export class RpcSettings {
  /** The options, with defaults. */
  readonly options: typeof RPC_DEFAULTS & RpcOptions;
  /** The methods. */
  readonly methods: MethodTable;
  /** Milliseconds of silence before `rpc.ping` is called. */
  readonly heartbeat: number | false;

  /** Checks options and methods. */
  constructor(
    methods: RpcMethods,
    options: RpcOptions,
    heartbeat: number | false = false,
  ) {
    this.heartbeat = heartbeat;
    this.options = { ...RPC_DEFAULTS, ...readOptions(RPC_OPTIONS, options) };
    this.methods = tableOf(methods, this.options.discover);
  }
}
