/** Peers that do not behave, and what they need. */
import { once } from "node:events";
import { connect as connectNode, type Socket } from "node:net";
import {
  type Address,
  type Connection,
  FrameDecoder,
  type JsonValue,
} from "../mod.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Where servers of tests listen. */
export const LOCAL = { hostname: "127.0.0.1", port: 0 } as const;

/** The port of a TCP address. */
export function portOf(addr: Address): number {
  if (addr.transport !== "tcp") throw new TypeError("It has no port");
  return addr.port;
}

/** A handler that answers with what it is asked. */
export function echo(message: JsonValue): JsonValue {
  return message;
}

/** Sends back what comes, and closes at the end; resolves to its count. */
export async function echoAll(connection: Connection): Promise<number> {
  let count = 0;
  for await (const message of connection) {
    await connection.send(message);
    count++;
  }
  await connection.close();
  return count;
}

/** Connects from an address of this machine, and says nothing. */
export async function connectFrom(
  localAddress: string,
  port: number,
): Promise<Socket> {
  const socket = connectNode({ host: "127.0.0.1", port, localAddress });
  await once(socket, "connect");
  socket.on("error", () => {}); // it may be dropped at any time
  return socket;
}

/** What comes first after some bytes were sent from an address of this machine. */
export async function askFrom(
  localAddress: string,
  port: number,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  const socket = await connectFrom(localAddress, port);
  socket.write(bytes);
  const [answer] = await once(socket, "data");
  socket.destroy();
  return answer;
}

/** The bytes that hexadecimal digits stand for. */
export function bytesOf(hex: string): Bytes {
  return Uint8Array.fromHex(hex.replaceAll(" ", ""));
}

/** One after the other. */
export function join(...parts: Uint8Array[]): Bytes {
  const bytes = new Uint8Array(
    parts.reduce((size, { length }) => size + length, 0),
  );
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

/** The same bytes again and again. */
export function repeat(bytes: Uint8Array, count: number): Bytes {
  const all = new Uint8Array(bytes.length * count);
  for (let i = 0; i < count; i++) all.set(bytes, i * bytes.length);
  return all;
}

/** The prefix that announces so many bytes. */
export function prefix(length: number): Bytes {
  return bytesOf(length.toString(16).padStart(8, "0"));
}

/** A frame that was not made by the code under test, whatever its payload. */
export function frame(payload: string | Uint8Array): Bytes {
  const bytes = typeof payload === "string"
    ? new TextEncoder().encode(payload)
    : payload;
  return join(prefix(bytes.length), bytes);
}

/** Where bytes are read to that nobody wants. */
const WASTE = new Uint8Array(65_536);

/** A client made of nothing but bytes. */
export class Peer implements Disposable {
  /** The bytes. */
  readonly conn: Deno.TcpConn;
  /** Bytes read so far. */
  received = 0;
  readonly #decoder = new FrameDecoder<JsonValue>({ maxFrameBytes: Infinity });
  #space: Bytes | undefined;

  /** Use {@linkcode Peer.connect}. */
  constructor(conn: Deno.TcpConn) {
    conn.setNoDelay(true);
    this.conn = conn;
  }

  /** Connects to a server on this machine. */
  static async connect(addr: Address): Promise<Peer> {
    return new Peer(
      await Deno.connect({ hostname: "127.0.0.1", port: portOf(addr) }),
    );
  }

  /** Writes all the bytes. Rejects when the server takes no more. */
  async write(bytes: Uint8Array): Promise<void> {
    while (bytes.length > 0) {
      bytes = bytes.subarray(await this.conn.write(bytes));
    }
  }

  /**
   * Writes byte by byte with so many milliseconds between, until all are
   * written or the server takes no more.
   */
  async drip(bytes: Uint8Array, pause: number): Promise<void> {
    try {
      for (let i = 0; i < bytes.length; i++) {
        await this.conn.write(bytes.subarray(i, i + 1));
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    } catch {
      // The server has had enough.
    }
  }

  /** The next so many messages, fewer where the server ends its side. */
  async take(count: number): Promise<JsonValue[]> {
    const messages: JsonValue[] = [];
    let bytes: Uint8Array = new Uint8Array(0);
    for (;;) {
      for (const message of this.#decoder.push(bytes)) {
        messages.push(message);
        if (messages.length === count) return messages;
      }
      this.#space ??= new Uint8Array(65_536);
      const size = await this.conn.read(this.#space);
      if (size === null) return messages;
      this.received += size;
      bytes = this.#space.subarray(0, size);
    }
  }

  /**
   * All messages until the server ends its side, which it must do behind a
   * whole frame.
   */
  async rest(): Promise<JsonValue[]> {
    const messages = await this.take(Infinity);
    this.#decoder.end();
    return messages;
  }

  /** Resolves when the server has ended the connection, in whatever way. */
  async ended(): Promise<void> {
    try {
      for (;;) {
        const size = await this.conn.read(WASTE);
        if (size === null) return;
        this.received += size;
      }
    } catch {
      // It was reset, or closed here.
    }
  }

  /** Leaves. It may be called more than once. */
  [Symbol.dispose](): void {
    this.conn[Symbol.dispose]();
  }
}

/** A client that can reset its connection, as only `node:net` can. */
export interface Resetter {
  write(bytes: Uint8Array): Promise<void>;
  /** Resolves when the connection is gone. */
  reset(): Promise<void>;
}

/** Connects a client that can reset its connection. */
export function connectResetter(addr: Address): Promise<Resetter> {
  const socket = connectNode({ host: "127.0.0.1", port: portOf(addr) });
  const closed = new Promise<void>((resolve) => socket.on("close", resolve));
  const { promise, resolve, reject } = Promise.withResolvers<Resetter>();
  socket.on("error", reject);
  socket.on("connect", () =>
    resolve({
      write: (bytes) =>
        new Promise((resolve) => socket.write(bytes, () => resolve())),
      reset() {
        socket.resetAndDestroy();
        return closed;
      },
    }));
  return promise;
}

/**
 * Stands between one client and a server, and closes both links when so many
 * bytes went from the server to the client.
 */
export class Relay implements AsyncDisposable {
  readonly #listener = Deno.listen(LOCAL);
  readonly #done: Promise<void>;

  /** Waits for the client. */
  constructor(server: Address, cutAfter: number) {
    this.#done = this.#run(server, cutAfter);
  }

  /** Where the client connects to. */
  get addr(): Address {
    return { ...LOCAL, transport: "tcp", port: this.#listener.addr.port };
  }

  async #run(server: Address, cutAfter: number): Promise<void> {
    const near = await this.#listener.accept();
    const far = await Deno.connect({ ...LOCAL, port: portOf(server) });
    const forth = pass(near, far, Infinity);
    await pass(far, near, cutAfter);
    near.close();
    far.close();
    await forth;
  }

  /** Resolves when both links are closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#done;
    this.#listener.close();
  }
}

async function pass(
  from: Deno.Conn,
  to: Deno.Conn,
  most: number,
): Promise<void> {
  const space = new Uint8Array(1_024);
  try {
    while (most > 0) {
      const size = await from.read(space.subarray(0, Math.min(most, 1_024)));
      if (size === null) return;
      await to.write(space.subarray(0, size));
      most -= size;
    }
  } catch {
    // Closed from the other side.
  }
}
