/**
 * JSON-RPC 2.0 over a connection: either end may call the other.
 *
 * @module
 */
import {
  type Decoded,
  type Framing,
  InvalidMessageError,
  type JsonValue,
} from "../framing/framing.ts";
import {
  type Connection,
  type ConnectionEnd,
  type Consumer,
  keepAlive,
  type Link,
  linkOf,
} from "../connection/connection.ts";
import {
  failureOf,
  idOf,
  kindOf,
  RPC_ERRORS,
  type RpcError,
  type RpcRequest,
  type RpcResponse,
} from "./jsonrpc.ts";
import { Alarm, now } from "./alarm.ts";
import { stayAlive } from "./alive.ts";
import { Answerer } from "./answerer.ts";
import type { CallSetting } from "./incoming_call.ts";
import { Caller, type CallerOptions } from "./caller.ts";
import type { RpcRemote, RpcUntyped } from "./contract.ts";
import { Remote } from "./remote.ts";
import { Batch } from "./replies.ts";
import type { RpcSettings } from "./options.ts";
import { isWithinMethod, withinMethod } from "./within.ts";

/**
 * Replies that are handed out before the code that waits for them goes on, so
 * that their next calls leave while the rest follows.
 */
const REPLY_RUN = 16;
const RESOLVED = Promise.resolve();
/**
 * Messages in a batch. Their answers are kept until the last one is there, and
 * all of them begin before anything else is read: a frame could hold half a
 * million.
 */
const MOST_IN_BATCH = 100;
/**
 * Bytes of messages that were answered at once, while a peer does not read its
 * answers: then no more is read. Peers like this one have less open.
 */
const MOST_REFUSED = 2_097_152;

/** Counts of a peer, so far and at the moment. */
export interface RpcStats {
  /**
   * Calls to the peer that wait to be sent, for an answer, or for more of a
   * stream.
   */
  readonly callsOpen: number;
  /** Calls of the peer that methods work on, or that wait for a slot. */
  readonly callsRunning: number;
  /**
   * Answers, items, credits and cancellations so far that belong to no call,
   * most of them late.
   */
  readonly strays: number;
}

/**
 * One end of a connection that speaks JSON-RPC 2.0: calls the methods of the
 * other end, and answers with its own. Made by {@linkcode rpc},
 * {@linkcode connectRpc} and {@linkcode serveRpc}.
 *
 * ```ts
 * import { connectRpc, serveRpc } from "@blackbelt/networking/rpc";
 * import { assertEquals } from "@std/assert";
 *
 * const methods = { add: (a: number, b: number) => a + b };
 * await using server = serveRpc({ hostname: "127.0.0.1", port: 0 }, methods);
 * await using peer = await connectRpc<typeof methods>(server.addr);
 * assertEquals(await peer.api.add(1, 2), 3);
 * assertEquals(await peer.call("add", [1, 2], { timeout: 5_000 }), 3);
 * ```
 *
 * @typeParam Contract Type of the other end's methods: an interface, or
 * `typeof` the object that has them. It is not checked at run time.
 * @typeParam I Type of `identity`: what `authenticate` returns for a peer.
 */
export interface RpcPeer<Contract = RpcUntyped, I = unknown>
  extends RpcRemote<Contract>, AsyncDisposable {
  /** The connection, which the peer owns. */
  readonly connection: Connection<JsonValue, I>;
  /** Counts of a peer, so far and at the moment. */
  stats(): RpcStats;
  /**
   * Closes the connection, once everything sent before has been written. Open
   * calls reject, and the other end is told to cancel them; methods at work are
   * aborted.
   */
  close(): Promise<void>;
}

/**
 * Takes a connection over: the peer answers with the methods of the settings. Its
 * calls are those of `caller`, if there is one.
 */
export function makePeer<Contract = RpcUntyped, I = unknown>(
  connection: Connection,
  settings: RpcSettings,
  caller?: Caller,
): RpcPeer<Contract, I> {
  const peer: unknown = new Peer(connection, settings, caller);
  return peer as RpcPeer<Contract, I>;
}

class Peer extends Remote implements RpcPeer {
  readonly connection: Connection;
  readonly #dispatcher: Dispatcher;

  constructor(connection: Connection, settings: RpcSettings, caller?: Caller) {
    const dispatcher = new Dispatcher(connection, settings, caller);
    super(dispatcher.caller);
    this.connection = connection;
    this.#dispatcher = dispatcher;
    const link = linkOf(connection);
    link.outbox.limitDepth();
    withinMethod(() => link.consume(dispatcher));
    const { heartbeat } = settings;
    if (heartbeat !== false) {
      keepAlive(link, () => this.call("rpc.ping"), heartbeat);
    }
  }

  stats(): RpcStats {
    const { caller, answerer } = this.#dispatcher;
    return {
      callsOpen: caller.size,
      callsRunning: answerer.size,
      strays: caller.strays + answerer.strays,
    };
  }

  close(): Promise<void> {
    this.#dispatcher.caller.close();
    return this.connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** What is about calls: its parameters, and how large it is. */
type Control = (dispatcher: Dispatcher, params: object, bytes: number) => void;

const CONTROLS: ReadonlyMap<string, Control> = new Map<string, Control>([
  ["$/stream", ({ caller }, params, bytes) => caller.push(params, bytes)],
  ["$/credit", ({ answerer }, params) => answerer.credit(params)],
  ["$/cancelRequest", ({ answerer }, params) => answerer.cancel(params)],
]);

/** Hands each message to the half of a peer that it is for. */
class Dispatcher implements Consumer<JsonValue>, CallerOptions, CallSetting {
  readonly name = "rpc()";
  readonly connection: Connection;
  readonly settings: RpcSettings;
  readonly timeout: number;
  readonly framing: Framing;
  readonly now = now;
  readonly caller: Caller;
  readonly answerer: Answerer;
  readonly #link: Link;
  readonly #alarm = new Alarm();
  #settled = 0;
  /** Whether what reads the link was begun by the peer. */
  #isWithin: boolean | undefined;
  /** What was answered with an error as no request, since the last request. */
  #refused: Batch | "message" | undefined;

  constructor(connection: Connection, settings: RpcSettings, caller?: Caller) {
    this.connection = connection;
    this.settings = settings;
    this.#link = linkOf(connection);
    this.timeout = settings.options.timeout;
    this.framing = this.#link.framing;
    this.caller = caller ?? new Caller(this);
    this.answerer = new Answerer(this);
    if (caller === undefined) this.#alarm.add(this.caller);
    this.#alarm.add(this.answerer);
    this.caller.attach(this.#link, this.answerer);
    stayAlive(this.#link, this.answerer);
    this.#link.closed.then(() => this.#over());
  }

  watch(deadline: number): void {
    this.#alarm.watch(deadline);
  }

  onUnclaimed(error: RpcError): void {
    this.answerer.replies.report(error, undefined);
  }

  /** Answers that are outstanding, and streams that are not read. */
  get size(): number {
    return this.answerer.size + this.caller.behind;
  }

  receive(
    message: Decoded<JsonValue>,
    bytes: number,
  ): Promise<void> | undefined {
    this.#isWithin ??= isWithinMethod();
    return this.#isWithin
      ? this.#receive(message, bytes)
      : withinMethod(() => this.#receive(message, bytes));
  }

  #receive(
    message: Decoded<JsonValue>,
    bytes: number,
  ): Promise<void> | undefined {
    const { replies } = this.answerer;
    const { waiting } = replies;
    if (message instanceof InvalidMessageError) {
      if (!this.caller.settleBadly(undefined)) {
        this.#refuse(failureOf(null, RPC_ERRORS.parseError));
      }
    } else if (Array.isArray(message)) this.#receiveBatch(message, bytes);
    else this.#dispatch(message, bytes);
    if (replies.waiting > waiting) replies.bytesRefused += bytes;
    if (replies.bytesRefused > MOST_REFUSED) {
      return this.#link.room()?.catch(() => {});
    }
    if (this.#settled < REPLY_RUN) return undefined;
    this.#settled = 0;
    return RESOLVED;
  }

  #receiveBatch(messages: JsonValue[], bytes: number): void {
    const { length } = messages;
    if (length === 0 || length > MOST_IN_BATCH) {
      this.#refuse(failureOf(null, RPC_ERRORS.invalidRequest));
      return;
    }
    const batch = new Batch(length, this.answerer.replies);
    for (const message of messages) {
      // What is held of them is counted, and one may be all of it.
      const share = length === 1 ? bytes : JSON.stringify(message).length;
      this.#dispatch(message, share, batch);
    }
  }

  #dispatch(message: JsonValue, bytes: number, batch?: Batch): void {
    const kind = kindOf(message);
    if (kind === "request") {
      this.#refused = undefined;
      const request = message as unknown as RpcRequest;
      if (request.method.startsWith("$/")) this.#control(request, bytes, batch);
      else this.answerer.receive(request, bytes, batch);
    } else if (kind === "response") {
      this.#settled++;
      this.caller.settle(message as unknown as RpcResponse);
      batch?.add();
    } else if (this.caller.settleBadly(message)) batch?.add();
    else {
      const id = idOf(message);
      const failure = failureOf(id, RPC_ERRORS.invalidRequest);
      const isRequest = id !== null &&
        (message as Partial<RpcRequest>).method !== undefined;
      if (isRequest) (batch ?? this.answerer.replies).add(failure);
      else this.#refuse(failure, batch);
    }
  }

  /**
   * Answers what is no request with an error: once, until a request has come,
   * as two ends that both answer what is not a request would never come to
   * rest.
   */
  #refuse(failure: RpcResponse, batch?: Batch): void {
    const isFirst = this.#refused === undefined ||
      batch !== undefined && this.#refused === batch;
    if (isFirst) this.#refused = batch ?? "message";
    (batch ?? this.answerer.replies).add(isFirst ? failure : undefined);
  }

  /** What is about calls: none of it has an answer. */
  #control(
    { method, params, id }: RpcRequest,
    bytes: number,
    batch: Batch | undefined,
  ): void {
    if (id !== undefined) {
      (batch ?? this.answerer.replies)
        .add(failureOf(id, RPC_ERRORS.methodNotFound));
      return;
    }
    batch?.add();
    CONTROLS.get(method)?.(this, params ?? {}, bytes);
  }

  end(end: ConnectionEnd): void {
    this.caller.end(this.#link, end);
    this.answerer.end(end);
  }

  drain(): void {
    this.answerer.drain();
  }

  #over(): void {
    this.#alarm.stop();
    this.answerer.abort(this.#link.gone("go on"));
  }
}
