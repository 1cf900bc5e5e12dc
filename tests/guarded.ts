/** A server whose rejections are watched, and many peers at once. */
import {
  type Address,
  type JsonValue,
  serve,
  type ServeOptions,
  type Server,
  type ServerEvent,
} from "../mod.ts";
import { until } from "./ledger.ts";
import { LOCAL, Peer } from "./peers.ts";

/** A server, and those whom it rejected. */
export class Guarded implements AsyncDisposable {
  readonly server: Server;
  readonly rejected: Extract<ServerEvent, { type: "rejected" }>[] = [];
  readonly closed: Extract<ServerEvent, { type: "closed" }>[] = [];
  /** What the handler has seen. */
  readonly handled: JsonValue[] = [];

  /** Starts the server. */
  constructor(options: ServeOptions) {
    this.server = serve({
      ...LOCAL,
      ...options,
      onEvent: (event) => {
        if (event.type === "rejected") this.rejected.push(event);
        if (event.type === "closed") this.closed.push(event);
      },
    }, (message) => {
      this.handled.push(message);
      return message;
    });
  }

  get addr(): Address {
    return this.server.addr;
  }

  get reasons(): string[] {
    return this.rejected.map(({ reason }) => reason);
  }

  async untilRejected(count: number): Promise<void> {
    await until(
      () => this.rejected.length >= count,
      `${count} were to be rejected`,
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.server.shutdown();
  }
}

/** Connects so many peers. */
export function connectAll(addr: Address, count: number): Promise<Peer[]> {
  return Promise.all(
    Array.from({ length: count }, () => Peer.connect(addr)),
  );
}

/** Closes the links of all. */
export function leaveAll(peers: Peer[]): void {
  for (const peer of peers) peer[Symbol.dispose]();
}

/** Passes bytes on until one of the two links is closed. */
export async function pipe(from: Deno.Conn, to: Deno.Conn): Promise<void> {
  const space = new Uint8Array(65_536);
  try {
    for (;;) {
      const count = await from.read(space);
      if (count === null) return;
      await to.write(space.subarray(0, count));
    }
  } catch {
    // The relay was cut.
  }
}
