/**
 * Connections in memory, for the tests of your own code: no port, and no
 * permission.
 *
 * ```ts
 * import { connectionPair } from "@blackbelt/networking/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const [client, server] = connectionPair();
 * async function shout() { // what is to be tested
 *   for await (const message of server) await server.send(`${message}!`);
 *   await server.close();
 * }
 * const shouting = shout();
 * assertEquals(await client.request("hello"), "hello!");
 * await client.close();
 * await shouting;
 * ```
 *
 * @module
 */
import {
  type Connection,
  type DuplexOptions,
  fromStreams,
  type JsonValue,
} from "./mod.ts";

/** Bytes that an end may write before the other one reads them. */
const PIPE_BYTES = 65_536;

/** One direction: a write waits while the other end reads nothing. */
function pipe(): TransformStream<Uint8Array, Uint8Array> {
  const size = (bytes: Uint8Array) => bytes.length;
  return new TransformStream({}, {}, { highWaterMark: PIPE_BYTES, size });
}

/**
 * Makes two connections in memory, the two ends of one link. Each
 * direction is a pipe that takes no more once 64 KiB wait in it, so an end that
 * does not read makes the other one wait, as over a network. Close both in the end.
 *
 * ```ts
 * import { connectionPair } from "@blackbelt/networking/testing";
 * import { rpc } from "@blackbelt/networking/rpc";
 * import { assertEquals } from "@std/assert";
 *
 * const [near, far] = connectionPair({ maxFrameBytes: 1_000 });
 * rpc(far, { add: (a: number, b: number) => a + b });
 * await using client = rpc(near);
 * assertEquals(await client.call("add", [1, 2]), 3);
 * ```
 *
 * @typeParam Near Type of the messages that the first one receives. It is not
 * checked at run time.
 * @typeParam Far Type of the messages that the second one receives.
 * @param near Options of the first one: framing, limits and addresses.
 * @param far Options of the second one; without them, the same.
 * @returns Both connections.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If an option does not exist or has the wrong type.
 */
export function connectionPair<Near = JsonValue, Far = JsonValue>(
  near: DuplexOptions = {},
  far: DuplexOptions = near,
): [Connection<Near>, Connection<Far>] {
  const there = pipe();
  const back = pipe();
  return [
    fromStreams({ readable: back.readable, writable: there.writable }, near),
    fromStreams({ readable: there.readable, writable: back.writable }, far),
  ];
}
