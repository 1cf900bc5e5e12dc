/**
 * RPC over one connection after another.
 *
 * @module
 */
import type { ClientStats, ReconnectingClient } from "../client/client.ts";
import type { Connection, ConnectionEnd } from "../connection/connection.ts";
import type { Framing } from "../framing/framing.ts";
import { onAbort } from "../tools/abort.ts";
import { callHook } from "../tools/report.ts";
import { Alarm, now } from "./alarm.ts";
import { Caller, type CallerOptions } from "./caller.ts";
import type { RpcCallOptions, RpcRemote, RpcUntyped } from "./contract.ts";
import type { RpcError } from "./jsonrpc.ts";
import type { RpcSettings } from "./options.ts";
import { makePeer, type RpcPeer, type RpcStats } from "./peer.ts";
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
  /** Resolves when the client is closed and so are its connections. */
  readonly closed: Promise<ConnectionEnd>;
  /** Aborted when the client is closed. */
  readonly signal: AbortSignal;
  /**
   * Returns the open connection, or the next one; see `Client.connected`.
   *
   * @throws {ConnectionClosedError} If the client is closed.
   * @throws The signal's reason, if it is aborted.
   */
  connected(
    options?: Pick<RpcCallOptions, "signal">,
  ): Promise<Connection>;
  /** Counts of its calls and connections, so far and at the moment. */
  stats(): RpcClientStats;
  /**
   * Closes the connection, once everything sent before has been written, and
   * connects no more. It may be called at any time and more than once. Open
   * calls reject, and the server is told to cancel them.
   */
  close(): Promise<void>;
}

/** Counts of a client of calls, over all its connections. */
export interface RpcClientStats extends RpcStats, ClientStats {}

/** Takes a client over. */
export function makeRpcClient<Contract = RpcUntyped>(
  client: ReconnectingClient,
  settings: RpcSettings,
): RpcClient<Contract> {
  const remote: unknown = new ReconnectingRemote(client, settings);
  return remote as RpcClient<Contract>;
}

class ReconnectingRemote extends Remote implements RpcClient {
  readonly #client: ReconnectingClient;
  readonly #links: Links;

  constructor(client: ReconnectingClient, settings: RpcSettings) {
    const links = new Links(client, settings);
    super(links.caller);
    this.#client = client;
    this.#links = links;
    client.takeOver(links);
  }

  get closed(): Promise<ConnectionEnd> {
    return this.#client.closed;
  }

  get signal(): AbortSignal {
    return this.#client.signal;
  }

  connected(options?: Pick<RpcCallOptions, "signal">): Promise<Connection> {
    return this.#client.connected(options);
  }

  stats(): RpcClientStats {
    return { ...this.#client.stats(), ...this.#links.stats() };
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
  readonly #alarm = new Alarm();
  #peer: RpcPeer | undefined;
  /** What came over earlier connections for calls that were not at work. */
  #strays = 0;
  #reaching: Promise<void> | undefined;

  constructor(client: ReconnectingClient, settings: RpcSettings) {
    this.timeout = settings.options.timeout;
    this.framing = client.framing;
    this.#client = client;
    this.#settings = settings;
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

  /** Counts of its calls, those over earlier connections included. */
  stats(): RpcStats {
    const stats = this.#peer?.stats() ??
      { callsOpen: this.caller.size, callsRunning: 0, strays: 0 };
    return { ...stats, strays: stats.strays + this.#strays };
  }

  use(connection: Connection): void {
    // Those of the caller go on to be counted by the next peer.
    this.#strays = this.stats().strays - this.caller.strays;
    this.#peer = makePeer(connection, this.#settings, this.caller);
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
