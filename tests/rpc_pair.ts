/** Peers in memory: two of ours, or one of ours and whatever a test writes. */
import {
  type Connection,
  type ConnectionOptions,
  fromDuplex,
} from "../core/connection/connection.ts";
import type { RpcMethods, RpcUntyped } from "../core/rpc/contract.ts";
import { makePeer, type RpcPeer } from "../core/rpc/peer.ts";
import { type RpcOptions, RpcSettings } from "../core/rpc/options.ts";
import { type MemoryEnd, memoryPair } from "./memory_pair.ts";
import { prefix } from "./peers.ts";

export interface Ends<Remote> {
  client: RpcPeer<Remote>;
  server: RpcPeer;
  near: MemoryEnd;
  far: MemoryEnd;
}

/** A server with methods and its client. */
export function rpcPair<Remote = RpcUntyped>(
  methods: RpcMethods,
  options: RpcOptions = {},
  clientMethods: RpcMethods = {},
  clientOptions: RpcOptions = {},
  connectionOptions: ConnectionOptions = {},
): Ends<Remote> {
  const [near, far] = memoryPair();
  const server = makePeer(
    fromDuplex(near, connectionOptions),
    new RpcSettings(methods, options),
  );
  const client = makePeer<Remote>(
    fromDuplex(far),
    new RpcSettings(clientMethods, clientOptions),
  );
  closeTogether(client, server);
  return { server, client, near, far };
}

/** Turns in which the other end may come to its end, where it is to end. */
const MOST_TURNS = 100;

/** Has the client's `close` wait for the server, whose timers end with it. */
function closeTogether(
  client: Pick<RpcPeer, "close">,
  { connection }: RpcPeer,
): void {
  const close = client.close.bind(client);
  let isClosed = false;
  connection.closed.then(() => isClosed = true);
  client.close = async () => {
    await close();
    for (let i = 0; i < MOST_TURNS && !isClosed; i++) {
      await new Promise((resolve) => setTimeout(resolve));
    }
  };
}

/** The far end of a peer, as one sees it who has only frames of JSON. */
export class RawPeer<Remote = RpcUntyped> {
  readonly peer: RpcPeer<Remote>;
  readonly near: MemoryEnd;
  readonly far: MemoryEnd;
  readonly connection: Connection;
  #messages: AsyncIterator<unknown> | undefined;

  constructor(
    methods: RpcMethods = {},
    options: RpcOptions = {},
    connectionOptions: ConnectionOptions = {},
  ) {
    [this.near, this.far] = memoryPair();
    this.peer = makePeer(
      fromDuplex(this.near, connectionOptions),
      new RpcSettings(methods, options),
    );
    this.connection = fromDuplex(this.far);
  }

  /** Sends payloads as they are, good JSON or not. */
  async write(...payloads: string[]): Promise<void> {
    const bytes = payloads.flatMap((payload) => {
      const text = new TextEncoder().encode(payload);
      return [...prefix(text.length), ...text];
    });
    await this.far.write(Uint8Array.from(bytes));
  }

  /** Sends messages. */
  async send(...messages: unknown[]): Promise<void> {
    await this.write(...messages.map((message) => JSON.stringify(message)));
  }

  /** Receives so many messages. */
  async receive(count: number): Promise<unknown[]> {
    const messages: unknown[] = [];
    this.#messages ??= this.connection[Symbol.asyncIterator]();
    while (messages.length < count) {
      const { done, value } = await this.#messages.next();
      if (done) throw new Error(`Cannot receive more than ${messages.length}`);
      messages.push(value);
    }
    return messages;
  }

  /** Sends payloads, and gives what is answered before a call that is. */
  async exchange(...payloads: string[]): Promise<unknown[]> {
    const mark = '{"jsonrpc":"2.0","id":"mark","method":"$/mark"}';
    await this.write(...payloads, mark);
    const answers: unknown[] = [];
    for (;;) {
      const [answer] = await this.receive(1);
      if ((answer as { id?: unknown }).id === "mark") return answers;
      answers.push(answer);
    }
  }

  async close(): Promise<void> {
    await this.peer.close();
    await this.connection.close();
  }
}

/** Keeps the process alive, as deadlines do not, until disposed of. */
export function awake(): Disposable {
  const timer = setInterval(() => {}, 1_000);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** So many numbers, from 0. */
export function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** An answer that is an error. */
export function failure(id: unknown, code: number, message: string): object {
  return { jsonrpc: "2.0", id, error: { code, message } };
}
