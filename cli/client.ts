/**
 * The client program: it sends messages and prints the replies.
 *
 * @module
 */
import {
  type Address,
  AuthenticationError,
  type ClientEvent,
  connect,
  CONNECT_DEFAULTS,
  ConnectionClosedError,
  type ConnectOptions,
  createClient,
  type JsonValue,
} from "../mod.ts";
import { createRpcClient } from "../rpc.ts";
import { addressText } from "../core/tools/address.ts";
import { call, paramsOf } from "./call.ts";
import { endpointOf, requirePermission } from "./endpoint.ts";
import { exchange, type ExchangeOptions } from "./exchange.ts";
import { clause, Failure, UsageError } from "./failure.ts";
import { Input } from "./input.ts";
import { listen } from "./listen.ts";
import { answerCalls, list } from "./methods_prompt.ts";
import { color, compact, type Format, pretty, printError } from "./output.ts";
import { type Given, type Program, run } from "./program.ts";
import { type Answering, answerMessages, prompt } from "./prompt.ts";
import { Security } from "./security.ts";
import { told } from "./waiting.ts";

/** What is sent where nothing was given. */
export const HELLO: JsonValue = { message: "hello from client", type: "text" };

const DEFAULT_TIMEOUT = 10_000;

const PROGRAM: Program = {
  name: "client",
  usage: "client [OPTION]... [MESSAGE]...",
  about: `Send JSON messages, and print the replies.

  client '{"message":"hi"}'   send a message
  client < FILE               send each line of a file
  client                      at a terminal, prompt for messages
  client --call add '[1,2]'   call a method of a JSON-RPC server
  client --rpc                at a terminal, prompt for calls
  client --listen             print what the server sends

With arguments, stdin is read for the argument - alone, so that a loop which
reads lines keeps its own. With no message at all, the client says hello.`,
  takesOperands: true,
  options: `
Address:
--hostname NAME  connect to this host (default ${CONNECT_DEFAULTS.hostname})
--port N  connect to this port (default ${CONNECT_DEFAULTS.port})
--unix PATH  connect to a Unix socket instead
What to send:
--call METHOD  call METHOD; each message is the parameters of one call
--notify METHOD  the same, without waiting for an answer
--listen  print what the server sends, one line each, until Ctrl-C
--rpc  prompt for calls: add 1 2, or add {"a":1,"b":2}
--list  list the server's methods: name, tab, description
--repeat N  send each message N times (default 1)
TLS and login (none by default):
--tls  encrypt, and trust the authorities that Deno trusts
--tls-ca FILE  encrypt, and trust the authorities in FILE (PEM)
--tls-name NAME  encrypt, and check for NAME (default: the host)
--tls-cert FILE  encrypt, and authenticate with a certificate (PEM)
--tls-key FILE  private key of the certificate (PEM)
--token-file FILE  authenticate with the secret in FILE
--token-env NAME  the same, with the secret in the variable NAME
Limits (Infinity for none):
--timeout MS  wait MS ms to connect, and for a reply (default ${DEFAULT_TIMEOUT})
--idle-timeout MS  close after MS ms of silence (default ${CONNECT_DEFAULTS.idleTimeout})
--frame-timeout MS  close if a reply takes over MS ms (default ${CONNECT_DEFAULTS.frameTimeout})
Output:
--raw  print each reply as one line, even on a terminal
`,
};

/** Runs the client program until it has its replies. */
export function main(args: string[] = Deno.args): Promise<void> {
  return run(PROGRAM, args, converse);
}

/** What else it does than to send messages and to print the replies. */
const MODES = ["call", "notify", "listen", "list"] as const;

async function converse(given: Given): Promise<number> {
  given.exclude(...MODES);
  given.exclude("listen", "repeat");
  given.exclude("list", "repeat");
  const isPrompt = given.operands.length === 0 &&
    Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
  const mode = MODES.find((name) => given.has(name)) ??
    (isPrompt ? "prompt" : "send");
  if (given.has("rpc") && mode === "send") {
    throw new UsageError(
      "option '--rpc' needs a terminal, '--call', '--notify' or '--list'",
    );
  }
  const input = new Input(given.operands, mode === "send");
  const endpoint = endpointOf(given, 1, CONNECT_DEFAULTS);
  const isCall = mode === "call" || mode === "notify";
  const method = isCall ? given.text(mode) : undefined;
  const params = isCall ? paramsOf(input) : input.messages([]);
  const timeout = given.time("timeout") ?? DEFAULT_TIMEOUT;
  const repeat = given.number("repeat", {}) ?? 1;
  const manner = { repeat, timeout, format: formatOf(given, input.hasLines) };
  const options = connectOptions(endpoint, given, timeout);
  const server = addressText(endpoint);
  const hasLogin = options.authenticate !== undefined;
  const why = (error: unknown) => explain(error, server, hasLogin);
  try {
    if (mode === "prompt") {
      const asking = { ...manner, server, isRpc: given.has("rpc") };
      return await ask(options, asking, (error) => clause(why(error)));
    }
    const connection = await told(connect(options), server);
    if (method !== undefined) {
      const isNotification = mode === "notify";
      const calls = { ...manner, method, params, isNotification };
      return await call(connection, calls);
    }
    let exitCode = 0;
    if (mode === "listen") await listen(connection, params);
    else if (mode === "list") exitCode = await list(connection, timeout);
    else await exchange(connection, input.messages([HELLO]), manner);
    await connection.close();
    return exitCode;
  } catch (error) {
    throw why(error);
  }
}

/** The program sends no heartbeats but those of calls. */
type OwnOptions = Omit<ConnectOptions, "heartbeat">;

interface Asking extends ExchangeOptions {
  readonly server: string;
  readonly isRpc: boolean;
}

/** Prompts for messages or calls until the user has had enough. */
async function ask(
  options: OwnOptions,
  asking: Asking,
  explain: (error: unknown) => string,
): Promise<number> {
  const { server, isRpc } = asking;
  // The first attempt has to succeed.
  const failure = new AbortController();
  let connections = 0;
  let isConnected = false;
  const all = {
    ...options,
    signal: failure.signal,
    onEvent(event: ClientEvent) {
      if (event.type === "failed" && connections === 0) {
        failure.abort(event.error);
      }
      if (event.type === "closed") isConnected = false;
      if (event.type !== "connected") return;
      isConnected = true;
      // Servers close what is idle, and a person may think for long.
      if (connections++ === 0 || isRpc) return;
      printError("The connection was closed; connected again.");
    },
  };
  async function open(): Promise<Answering> {
    return isRpc
      ? answerCalls(await createRpcClient(all), asking)
      : answerMessages(await createClient(all), asking);
  }
  const answering = await told(open(), server);
  printError(`Connected to ${server}: ${answering.hint}; Ctrl-D ends`);
  return await prompt({
    ...answering,
    answer: (text) => told(answering.answer(text), server, () => isConnected),
  }, explain);
}

function formatOf(given: Given, isCompact: boolean): Format {
  const isPretty = Deno.stdout.isTerminal() && !given.has("raw") && !isCompact;
  return {
    text: isPretty ? pretty : compact,
    paint: isPretty && !Deno.noColor ? color : String,
  };
}

/** Reads the files that the options name, if that is allowed. */
function connectOptions(
  endpoint: Address,
  given: Given,
  timeout: number,
): OwnOptions {
  const security = new Security(given);
  const frameTimeout = given.time("frame-timeout");
  const needed = security.neededFor("connect to", endpoint);
  requirePermission("connect to", endpoint, needed, given);
  return {
    ...endpoint,
    connectTimeout: timeout,
    idleTimeout: given.time("idle-timeout"),
    frameTimeout,
    tls: security.forClient(),
    authenticate: security.authentication(),
  };
}

/** Why there is no connection or no reply: the library's words, and a hint. */
function explain(error: unknown, server: string, hasLogin: boolean): Failure {
  const cause = error instanceof ConnectionClosedError ? error.cause : error;
  if (cause instanceof Failure) return cause;
  if (cause === undefined) {
    return new Failure(`${server} closed the connection`);
  }
  if (cause instanceof AuthenticationError && !hasLogin) {
    return new Failure(
      `${server} requires a login; give the secret with --token-file or --token-env`,
    );
  }
  // A reply that is late is reason enough, as is a refusal.
  const isReason = cause instanceof DOMException ||
    cause instanceof AuthenticationError;
  const words = clause(isReason ? cause : error);
  const isAbsent = error instanceof Deno.errors.ConnectionRefused ||
    error instanceof Deno.errors.NotFound;
  const hint = isAbsent
    ? "; is the server running?"
    : / speak TLS /.test(words)
    ? "; try --tls"
    : "";
  return new Failure(words + hint);
}
