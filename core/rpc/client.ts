/**
 * RPC over one connection after another.
 *
 * @module
 */
import type { ReconnectingClient } from "../client/client.ts";
import type { Connection } from "../connection/connection.ts";
import type { Framing } from "../framing/framing.ts";
import { onAbort } from "../tools/abort.ts";
import { callHook } from "../tools/report.ts";
import { Alarm, now } from "./alarm.ts";
import { Caller, type CallerOptions } from "./caller.ts";
import type { RpcRemote, RpcUntyped } from "./contract.ts";
import type { RpcError } from "./jsonrpc.ts";
import type { RpcSettings } from "./options.ts";
import { makePeer, type RpcPeer } from "./peer.ts";
import { Remote } from "./remote.ts";

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
 * @typeParam Contract Type of the server's methods.
 */
export interface RpcClient<Contract = RpcUntyped>
  extends RpcRemote<Contract>, AsyncDisposable {
  /**
   * Closes the connection, once everything sent before has left, and connects no
   * more. It may be called at any time and more than once. Calls that are open
   * reject, and the server hears that they are given up.
   */
  close(): Promise<void>;
}

/** Takes a client over; `attach` is called with the peer of each connection. */
export function makeRpcClient<Contract = RpcUntyped>(
  client: ReconnectingClient,
  settings: RpcSettings,
  attach: (peer: RpcPeer) => void = () => {},
): RpcClient<Contract> {
  const remote: unknown = new ReconnectingRemote(client, settings, attach);
  return remote as RpcClient<Contract>;
}

class ReconnectingRemote extends Remote implements RpcClient {
  readonly #client: ReconnectingClient;

  constructor(
    client: ReconnectingClient,
    settings: RpcSettings,
    attach: (peer: RpcPeer) => void,
  ) {
    const links = new Links(client, settings, attach);
    super(links.caller);
    this.#client = client;
    client.takeOver(links);
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Gives one caller each connection of a client, and connects when it needs one. */
class Links implements CallerOptions {
  readonly timeout: number;
  readonly framing: Framing;
  readonly now = now;
  readonly caller: Caller;
  readonly #client: ReconnectingClient;
  readonly #settings: RpcSettings;
  readonly #attach: (peer: RpcPeer) => void;
  readonly #alarm = new Alarm();
  #peer: RpcPeer | undefined;
  #reaching: Promise<void> | undefined;

  constructor(
    client: ReconnectingClient,
    settings: RpcSettings,
    attach: (peer: RpcPeer) => void,
  ) {
    this.timeout = settings.options.timeout;
    this.framing = client.framing;
    this.#client = client;
    this.#settings = settings;
    this.#attach = attach;
    this.caller = new Caller(this);
    this.#alarm.add(this.caller);
    onAbort(client.signal, () => this.#over());
  }

  watch(deadline: number): void {
    this.#alarm.watch(deadline);
  }

  onUnclaimed(error: RpcError): void {
    const { onError } = this.#settings.options;
    callHook(onError, error, undefined, this.#peer!.connection);
  }

  use(connection: Connection): void {
    this.#peer = makePeer(connection, this.#settings, this.caller);
    this.#attach(this.#peer);
  }

  async close(): Promise<void> {
    await this.#peer?.close();
  }

  /** Connects; what waits hears of it if there is to be no connection. */
  reach(): void {
    if (this.#reaching !== undefined) return;
    this.#alarm.keepAlive(true);
    this.#reaching = this.#client.connected().then(
      () => {},
      (error) => this.caller.failWaiting(error),
    ).finally(() => {
      this.#reaching = undefined;
      this.#alarm.keepAlive(false);
    });
  }

  #over(): void {
    this.reach();
    this.#alarm.stop();
  }
}
