/**
 * The client at a terminal, as a caller of methods; and what methods there are.
 *
 * @module
 */
import type { Connection, JsonValue } from "../mod.ts";
import { rpc, type RpcClient, RpcError, type RpcPeer } from "../rpc.ts";
import { answered, printResult } from "./call.ts";
import type { ExchangeOptions } from "./exchange.ts";
import { sentence } from "./failure.ts";
import { print, printError } from "./output.ts";
import type { Answering } from "./prompt.ts";

const DISCOVER = "rpc.discover";
const HELP = "help";
/** Neither a name nor a description has it. */
const GAP = "  ";
const METHOD_NOT_FOUND = -32601;
/** A string, a bracket, white space, or a run of anything else. */
const TOKEN = /"(?:\\.|[^"\\])*"?|[[{\]}]|\s+|[^\s"[\]{}]+/g;

/** A method that the server has. */
interface Method {
  readonly name: string;
  readonly description: string;
}

/** What the server says of its methods: nothing, where it knows no such call. */
async function discover(
  peer: RpcClient | RpcPeer,
  timeout: number,
): Promise<Method[] | undefined> {
  let found: unknown;
  try {
    found = await peer.call(DISCOVER, undefined, { timeout });
  } catch (error) {
    const isUnknown = error instanceof RpcError &&
      error.code === METHOD_NOT_FOUND;
    if (isUnknown) return undefined;
    throw error;
  }
  const { methods } = Object(found);
  const entries: unknown[] = Array.isArray(methods) ? methods : [];
  return entries.map((entry) => {
    const { name, description, summary } = Object(entry);
    return { name: line(name), description: line(description ?? summary) };
  });
}

/** Text of the server on one line. */
function line(text: unknown): string {
  return String(text ?? "").replaceAll(/\s+/g, " ").trim();
}

/**
 * Prints the methods of the server, their names and descriptions apart by a tab.
 * Resolves to the exit code of the program.
 */
export async function list(
  connection: Connection,
  timeout: number,
): Promise<number> {
  await using peer = rpc(connection);
  const methods = await discover(peer, timeout);
  if (methods === undefined) {
    printError(`client: the server does not list its methods (${DISCOVER})`);
    return 1;
  }
  const lines = methods.map((m) => `${m.name}${GAP}${m.description}\n`);
  await print(lines.join(""), (text) => text.replaceAll(GAP, "\t"));
  return 0;
}

/** Takes each text as a call, and prints its result, or the items of its stream. */
export function answerCalls(
  client: RpcClient,
  { repeat, timeout, format }: ExchangeOptions,
): Answering {
  let methods: Method[] | undefined;
  let running: AbortController | undefined;
  const discovered = discover(client, timeout)
    .then((found) => void (methods = found));
  discovered.catch(() => {});

  async function help(): Promise<void> {
    methods ??= await discover(client, timeout);
    const rows = methods ?? [];
    const width = Math.max(0, ...rows.map(({ name }) => name.length));
    const lines = [
      ...rows.map((m) => `${m.name.padEnd(width)}${GAP}${m.description}`),
      ...methods === undefined ? ["The server does not list its methods."] : [],
      'A call is a name and its arguments: add 1 2, or add {"a":1,"b":2}',
    ];
    await print(lines.map((line) => `${line}\n`).join(""));
  }

  async function call(method: string, params?: object): Promise<void> {
    const { signal } = running = new AbortController();
    try {
      const result = await client.call(method, params, { signal, timeout });
      await printResult(result, format);
    } catch (error) {
      if (error instanceof RpcError) printError(sentence(answered(error)));
      else if (!signal.aborted) throw error;
    } finally {
      running = undefined;
    }
  }

  return {
    hint: "help lists the methods",
    close: () => client.close(),
    async answer(text) {
      const [, method, rest] = /^\s*(\S+)([^]*)$/.exec(text)!;
      if (method === HELP) return await help();
      const params = paramsOf(rest);
      if (params === null) {
        return printError('Arguments are JSON: add 1 2, or echo "text"');
      }
      for (let i = 0; i < repeat; i++) await call(method, params);
    },
    complete(line) {
      if (/\s/.test(line)) return [[], line];
      const names = [HELP, ...methods?.map(({ name }) => name) ?? []];
      const left = names.filter((name) => name.startsWith(line));
      return [left.map((name) => `${name} `), line];
    },
    interrupt() {
      running?.abort();
      return running !== undefined;
    },
  };
}

/**
 * Arguments behind the name of a method: an array or an object alone is the
 * parameters themselves. `null` where they are not JSON.
 */
function paramsOf(text: string): object | undefined | null {
  const values = [""];
  let depth = 0;
  for (const [token] of text.matchAll(TOKEN)) {
    if (depth === 0 && token.trim() === "") values.push("");
    else values.push(values.pop() + token);
    if (/^[[{]$/.test(token)) depth++;
    if (/^[\]}]$/.test(token)) depth--;
  }
  try {
    const args: JsonValue[] = values.filter((value) => value !== "")
      .map((value) => JSON.parse(value));
    const [first] = args;
    if (args.length === 0) return undefined;
    return args.length === 1 && typeof first === "object" && first !== null
      ? first
      : args;
  } catch {
    return null;
  }
}
