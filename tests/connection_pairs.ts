/** Two connections that are the two ends of one link. */
import {
  connect,
  type Connection,
  type ConnectionOptions,
  fromDuplex,
  listen,
} from "../mod.ts";
import { type MemoryEnd, memoryPair } from "./memory_pair.ts";

export { turn } from "./turns.ts";

/** Two ends of a TCP connection. */
export async function tcpConnections(
  options: ConnectionOptions = {},
): Promise<[Connection, Connection]> {
  using listener = listen({ ...options, hostname: "127.0.0.1", port: 0 });
  const one = await connect({ ...options, ...listener.addr });
  return [one, await listener.accept()];
}

/** Two ends in memory, and the streams of bytes below them. */
export function memoryConnections(
  options?: ConnectionOptions,
): { near: MemoryEnd; far: MemoryEnd; one: Connection; other: Connection } {
  const { near, far, connection } = rawConnection(options);
  return { near, far, one: connection, other: fromDuplex(far, options) };
}

/** A connection in memory, and the end of it that is no connection. */
export function rawConnection(
  options?: ConnectionOptions,
): { near: MemoryEnd; far: MemoryEnd; connection: Connection } {
  const [near, far] = memoryPair();
  return { near, far, connection: fromDuplex(near, options) };
}

/** Makers of both kinds, by name. */
export const CONNECTIONS: [
  string,
  (options?: ConnectionOptions) => Promise<[Connection, Connection]>,
][] = [
  ["TCP", tcpConnections],
  ["memory", (options) => {
    const { one, other } = memoryConnections(options);
    return Promise.resolve([one, other]);
  }],
];
