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
import { abortable } from "../core/tools/abort.ts";
import { type ExchangeOptions, repeated } from "./exchange.ts";
import { Failure, UsageError } from "./failure.ts";
import type { Input, Messages } from "./input.ts";
import { compact, type Format, print, printError } from "./output.ts";
import { interruptible, lateReply, Progress } from "./waiting.ts";

const NO_PARAMS =
  "parameters are an array or an object, as in '[1,2]' or '{\"a\":1}'";
/** Stands for a call without parameters. */
const WITHOUT: JsonValue = [];

/** What to call, and how. */
export interface CallOptions extends ExchangeOptions {
  /** Name of the method. */
  method: string;
  /** The parameters of each call. */
  params: Messages;
  /** Whether no answer is waited for. */
  isNotification: boolean;
}

/** The parameters of each call. Without any input there is one call without parameters. */
export function paramsOf(input: Input): Messages {
  if (!input.given.every(isParams)) throw new UsageError(NO_PARAMS);
  return input.messages([WITHOUT]);
}

function isParams(message: JsonValue): message is JsonValue & object {
  return typeof message === "object" && message !== null;
}

async function* eachOf(
  { params, repeat }: CallOptions,
): AsyncGenerator<object | undefined, void> {
  for await (const piece of params) {
    for (const one of repeated(piece, repeat)) {
      if (!isParams(one)) throw new Failure(NO_PARAMS);
      yield one === WITHOUT ? undefined : one;
    }
  }
}

/**
 * Calls a method, once for each parameters and one call after the other, and
 * prints the results, or each item of a stream as a line of JSON. Ctrl-C
 * cancels the call. Resolves to the exit code of the program.
 */
export async function call(
  connection: Connection,
  options: CallOptions,
): Promise<number> {
  const { timeout } = options;
  const peer = rpc(connection, {}, { timeout });
  const progress = new Progress();
  const exitCode = await interruptible(async (signal) => {
    const stop = AbortSignal.any([signal, connection.signal]);
    try {
      return await abortable(callAll(peer, options, signal, progress), stop);
    } catch (error) {
      if (signal.aborted) return 130;
      throw isLate(error) ? lateReply(timeout) : error;
    } finally {
      progress.stop();
      await peer.close();
    }
  });
  // Nothing else tells this to a client that only notifies.
  const { reason } = connection.signal;
  if (reason?.cause instanceof AuthenticationError) throw reason;
  return exitCode;
}

async function callAll(
  peer: RpcPeer,
  options: CallOptions,
  signal: AbortSignal,
  progress: Progress,
): Promise<number> {
  const { method, isNotification, format } = options;
  let exitCode = 0;
  for await (const params of eachOf(options)) {
    try {
      if (isNotification) await peer.notify(method, params);
      else {await printResult(
          await peer.call(method, params, { signal }),
          format,
        );}
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
}

/** Prints a result, or each item of a stream as a line of JSON. */
export async function printResult(
  result: unknown,
  format: Format,
): Promise<void> {
  if (Symbol.asyncIterator in Object(result)) {
    const items = result as AsyncIterable<unknown>;
    for await (const item of items) await print(`${compact(item)}\n`);
  } else await print(`${format.text(result)}\n`, format.paint);
}

/** An error that the method answered with, in words. */
export function answered({ code, message, data }: RpcError): string {
  const details = data === undefined ? "" : `: ${compact(data)}`;
  return `the server answered ${code}, ${compact(message)}${details}`;
}

function isLate(error: unknown): boolean {
  return error instanceof DOMException && error.name === "TimeoutError";
}
