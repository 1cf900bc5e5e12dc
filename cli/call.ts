/**
 * The client as a caller of methods: one call, its result or its stream.
 *
 * @module
 */
import type { Connection, JsonValue } from "../mod.ts";
import { rpc, RpcError } from "../rpc.ts";
import { lateReply } from "./exchange.ts";
import { compact, print } from "./output.ts";
import { Failure } from "./program.ts";

/** What to call, and how. */
export interface CallOptions {
  /** Name of the method. */
  method: string;
  /** Its parameters, by position or by name. */
  params: object | undefined;
  /** Milliseconds for the answer to come, or for a stream to begin. */
  timeout: number;
  /** The text that is printed for the result. */
  format(result: JsonValue): string;
}

/**
 * Calls a method and prints its result, or each item of its stream as a line of
 * JSON. Ctrl-C cancels the call. Resolves to the exit code of the program.
 */
export async function call(
  connection: Connection,
  { method, params, timeout, format }: CallOptions,
): Promise<number> {
  await using peer = rpc(connection, {}, { timeout });
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  Deno.addSignalListener("SIGINT", interrupt);
  const { signal } = interrupted;
  try {
    const result = await peer.call(method, params, { signal });
    if (isStream(result)) {
      for await (const item of result) await print(`${compact(item)}\n`);
    } else await print(`${format(result as JsonValue)}\n`);
    return 0;
  } catch (error) {
    if (signal.aborted) return 130;
    throw isLate(error) ? lateReply(timeout) : explain(error);
  } finally {
    Deno.removeSignalListener("SIGINT", interrupt);
  }
}

/** Calls a method that is not to answer. */
export async function notify(
  connection: Connection,
  { method, params }: CallOptions,
): Promise<number> {
  await using peer = rpc(connection);
  await peer.notify(method, params);
  return 0;
}

/** An error that the method answered with, in words. */
function explain(error: unknown): unknown {
  if (!(error instanceof RpcError)) return error;
  const { code, message, data } = error;
  const details = data === undefined ? "" : `: ${compact(data)}`;
  return new Failure(
    `the server answered ${code}, ${compact(message)}${details}`,
  );
}

function isLate(error: unknown): boolean {
  return error instanceof DOMException && error.name === "TimeoutError";
}

function isStream(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null &&
    Symbol.asyncIterator in value;
}
