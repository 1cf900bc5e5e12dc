/**
 * Connections that the program accepts one by one.
 *
 * @module
 */
import type { Address, Connection } from "../connection/connection.ts";
import type { JsonValue } from "../framing/framing.ts";
import { onAbort } from "../tools/abort.ts";
import {
  type OptionTable,
  readOptions,
  signal as signalOption,
} from "../tools/options.ts";
import { Queue } from "../tools/queue.ts";
import { quiet } from "../tools/promises.ts";
import { Acceptor, type Bind } from "./acceptor.ts";
import type { ListenOptions, ServerStats } from "./options.ts";

/** Options of {@linkcode Listener.accept}. */
export interface AcceptOptions {
  /** Gives the wait up when aborted; the next client goes to the next wait. */
  signal?: AbortSignal;
}

/** What each option may be. */
const ACCEPT_OPTIONS: OptionTable<AcceptOptions> = { signal: signalOption() };

/** Accepts connections until it is closed. Made by `listen`. */
export class Listener<T = JsonValue>
  implements AsyncIterable<Connection<T>>, Disposable {
  readonly #acceptor: Acceptor<T>;
  /** Connections that nobody has accepted yet, and who waits for one. */
  readonly #ready = new Queue<Connection<T>>();
  readonly #waiting = new Set<PromiseWithResolvers<Connection<T>>>();

  /** Opens the socket; use `listen`. */
  constructor(options: ListenOptions<T>, bind: Bind) {
    const waiting = this.#waiting;
    this.#acceptor = new Acceptor(options, bind, {
      get isWaiting() {
        return waiting.size > 0;
      },
      take: (connection) => this.#take(connection),
      close: () => {
        for (let next; (next = this.#ready.shift()) !== undefined;) {
          next.close();
        }
      },
    });
  }

  /** Where peers connect to. */
  get addr(): Address {
    return this.#acceptor.addr;
  }

  /** The connections that are open. */
  get connections(): ReadonlySet<Connection<T>> {
    return this.#acceptor.connections;
  }

  /** What happened so far, and what is open now. */
  stats(): ServerStats {
    return this.#acceptor.stats();
  }

  /**
   * Waits for the next connection. It outlives what goes wrong with single
   * ones, and waits where there are `maxConnections`.
   *
   * @throws {Deno.errors.BadResource} If the listener is closed.
   * @throws The reason of the signal, if that is aborted.
   */
  accept(options: AcceptOptions = {}): Promise<Connection<T>> {
    try {
      const { signal } = readOptions(ACCEPT_OPTIONS, options);
      return quiet(this.#acceptNext(signal));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #acceptNext(signal: AbortSignal | undefined): Promise<Connection<T>> {
    signal?.throwIfAborted();
    const connection = this.#ready.shift();
    if (connection !== undefined) return connection;
    const waiting = Promise.withResolvers<Connection<T>>();
    this.#waiting.add(waiting);
    this.#acceptor.run().catch((error) => this.#fail(error));
    const stop = onAbort(signal, (reason) => {
      this.#waiting.delete(waiting);
      waiting.reject(reason);
    });
    try {
      return await waiting.promise;
    } finally {
      stop();
    }
  }

  #take(connection: Connection<T>): void {
    const [waiting] = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting.delete(waiting);
      waiting.resolve(connection);
    } else if (this.#acceptor.isClosed) connection.close();
    else this.#ready.push(connection);
  }

  #fail(error: unknown): void {
    for (const waiting of this.#waiting) waiting.reject(error);
    this.#waiting.clear();
  }

  /**
   * Stops accepting. Connections that are open stay open. It may be called more
   * than once.
   */
  close(): void {
    this.#acceptor.close();
  }

  /**
   * Makes the listener and all its connections keep the process alive, as they
   * do by default.
   */
  ref(): void {
    this.#acceptor.ref();
  }

  /**
   * Lets the process end although the listener waits for connections, or a
   * connection for its peer.
   */
  unref(): void {
    this.#acceptor.unref();
  }

  /**
   * Iterates over the connections as they come, and ends when the listener is
   * closed. Leaving the iteration closes the listener.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Connection<T>, void> {
    try {
      for (;;) yield await this.accept();
    } catch (error) {
      if (!this.#acceptor.isClosed) throw error;
    } finally {
      this.close();
    }
  }

  /** The same as {@linkcode Listener.close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
