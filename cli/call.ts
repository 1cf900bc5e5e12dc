/**
 * The client as a caller of methods: calls, their results and their streams.
 *
 * @module
 */
import {
  AuthenticationError,
  type Connection,
  type JsonValue,
} from "../mod.ts";
import { rpc, RpcError, type RpcPeer } from "../rpc.ts";
import type { ExchangeOptions } from "./exchange.ts";
import type { Params } from "./input.ts";
import { compact, type Format, print, printError } from "./output.ts";
import { interruptible, lateReply, Progress, until } from "./waiting.ts";

/** What to call, and how. */
export interface CallOptions extends ExchangeOptions {
  /** Name of the method. */
  method: string;
  /** The parameters of each call. */
  params: AsyncIterable<Params>;
}

/**
 * Calls a method, once for each parameters and one call after the other, and
 * prints the results, or each item of a stream as a line of JSON. Ctrl-C
 * cancels the call. Resolves to the exit code of the program.
 */
export async function call(
  connection: Connection,
  { method, params, timeout, format }: CallOptions,
): Promise<number> {
  await using peer = rpc(connection, {}, { timeout });
  return await interruptible(async (signal) => {
    const stop = AbortSignal.any([signal, connection.signal]);
    const progress = new Progress();
    let exitCode = 0;
    try {
      for await (const one of until(params, stop)) {
        try {
          await printResult(peer, method, one, { format, signal });
        } catch (error) {
          if (!(error instanceof RpcError)) throw error;
          // What the method has against these says nothing of the next ones.
          progress.clear();
          printError(`client: ${answered(error)}`);
          exitCode = 1;
        }
        progress.replies++;
      }
      return exitCode;
    } catch (error) {
      if (signal.aborted) return 130;
      throw isLate(error) ? lateReply(timeout) : error;
    } finally {
      progress.stop();
    }
  });
}

async function printResult(
  peer: RpcPeer,
  method: string,
  params: Params,
  { format, signal }: { format: Format; signal: AbortSignal },
): Promise<void> {
  const result = await peer.call(method, params, { signal });
  if (isStream(result)) {
    for await (const item of result) await print(`${compact(item)}\n`);
  } else await print(`${format.text(result as JsonValue)}\n`, format.paint);
}

/** Calls a method that is not to answer. */
export async function notify(
  connection: Connection,
  { method, params }: CallOptions,
): Promise<number> {
  const peer = rpc(connection);
  try {
    for await (const one of params) await peer.notify(method, one);
  } finally {
    await peer.close();
  }
  // It answers no call, so nothing else tells a client that only notifies.
  const { reason } = connection.signal;
  if (reason?.cause instanceof AuthenticationError) throw reason;
  return 0;
}

/** An error that the method answered with, in words. */
function answered({ code, message, data }: RpcError): string {
  const details = data === undefined ? "" : `: ${compact(data)}`;
  return `the server answered ${code}, ${compact(message)}${details}`;
}

function isLate(error: unknown): boolean {
  return error instanceof DOMException && error.name === "TimeoutError";
}

function isStream(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null &&
    Symbol.asyncIterator in value;
}
