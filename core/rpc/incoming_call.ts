/**
 * A call from the side that answers it.
 *
 * @module
 */
import type { Connection } from "../connection/connection.ts";
import type { RpcId, RpcRequest } from "./jsonrpc.ts";
import type { Caller } from "./caller.ts";
import type { Invoke } from "./methods.ts";
import type { RpcContext } from "./contract.ts";
import type { CallScope } from "./outgoing_call.ts";
import type { OutgoingStream } from "./outgoing_stream.ts";
import { Remote } from "./remote.ts";
import type { Batch } from "./replies.ts";
import type { RpcSettings } from "./options.ts";
import type { Slots } from "./slots.ts";

/** What all calls of a connection have in common. */
export interface CallSetting {
  /** On which they come. */
  readonly connection: Connection;
  /** What they call back with. */
  readonly caller: Caller;
  /** What they call, and within which limits. */
  readonly settings: RpcSettings;
  /** The time now, in milliseconds. */
  now(): number;
  /** Called with the time at which a call is late. */
  watch(deadline: number): void;
}

/** A call as its method has it, and what there is to know about it. */
export class IncomingCall extends Remote implements RpcContext {
  /** What it is known by; `undefined` for a notification. */
  readonly id: RpcId | undefined;
  /** What is called; `undefined` if there is no such method. */
  readonly method: string | undefined;
  /** The method. */
  readonly invoke: Invoke | undefined;
  /** With what it is called. */
  readonly params: object | undefined;
  /** Bytes of its message, or its share of that of a batch. */
  readonly bytes: number;
  /** With what it is answered together. */
  readonly batch: Batch | undefined;
  /**
   * Where it is: `new` before it has a slot or waits, `parked` until there is a
   * slot for it, `working` in one of {@linkcode IncomingCall.slots}, `over` if
   * its answer was sent or is not wanted.
   */
  state: "new" | "parked" | "working" | "over" = "new";
  /** Those among which it has one, or had when it was over. */
  slots: Slots | undefined;
  /** What it streams. */
  stream: OutgoingStream | undefined;
  readonly #setting: CallSetting;
  /** When the caller stops waiting. */
  #callerDeadline = Infinity;
  #deadline: number | undefined;
  #controller: AbortController | undefined;
  #overController: AbortController | undefined;
  /** What the signal says: that it is over, or first that it is to end soon. */
  #told: unknown;
  /** Why it is over. */
  #abortion: unknown;

  /** Makes a call of a request. */
  constructor(
    { id, method, params, timeout }: RpcRequest,
    bytes: number,
    batch: Batch | undefined,
    setting: CallSetting,
  ) {
    super(setting.caller);
    this.id = id;
    this.invoke = setting.settings.methods.get(method);
    this.method = this.invoke && method;
    this.params = params ?? undefined;
    this.bytes = bytes;
    this.batch = batch;
    this.#setting = setting;
    // A member of that name may belong to another protocol.
    if (typeof timeout === "number" && timeout > 0) {
      this.#callerDeadline = setting.now() + timeout;
    }
  }

  /** Gives it a slot until its method is done, in place of one that it has. */
  takeSlot(slots: Slots): void {
    this.slots?.leave(this.bytes);
    this.slots?.rest(this.bytes);
    this.slots = slots;
    slots.take(this.bytes);
    this.state = "working";
  }

  /** Whether it waits for a slot. */
  get isWaiting(): boolean {
    return this.state === "parked";
  }

  /**
   * When it is late: where its method runs, for its answer to begin. Not worth
   * a look at the clock where the method answers at once.
   */
  get deadline(): number {
    if (this.state === "parked" || this.stream !== undefined) {
      return this.#callerDeadline;
    }
    const { now, settings } = this.#setting;
    return this.#deadline ??= Math.min(
      this.#callerDeadline,
      now() + settings.options.handlerTimeout,
    );
  }

  /** See {@linkcode RpcContext.signal}. Few methods look at it. */
  get signal(): AbortSignal {
    return (this.#controller ??= controllerOf(this.#told)).signal;
  }

  /** Aborted when its answer is not wanted any more: calls within it are given up. */
  get over(): AbortSignal {
    return (this.#overController ??= controllerOf(this.#abortion)).signal;
  }

  /** See {@linkcode RpcContext.timeLeft}. */
  get timeLeft(): number {
    return Math.max(0, this.deadline - this.#setting.now());
  }

  /** See {@linkcode RpcContext.connection}. */
  get connection(): Connection {
    return this.#setting.connection;
  }

  /** What is called through it is given up with it. */
  protected override get scope(): CallScope {
    return this;
  }

  /**
   * The answer is still wanted, but not for long: the method's signal says so.
   */
  endSoon(reason: unknown): void {
    this.#told ??= reason;
    this.#controller?.abort(reason);
  }

  /** Its answer is not wanted any more. */
  abort(reason: unknown): void {
    this.#abortion = reason;
    this.endSoon(reason);
    this.#overController?.abort(reason);
    this.stream?.stop();
  }

  /** Whether it was aborted for that reason. */
  isAbortedFor(reason: unknown): boolean {
    return reason !== undefined &&
      (this.#abortion === reason || this.#told === reason);
  }
}

function controllerOf(reason: unknown): AbortController {
  const controller = new AbortController();
  if (reason !== undefined) controller.abort(reason);
  return controller;
}
