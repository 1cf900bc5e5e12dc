/**
 * The client program: it sends messages and prints the replies.
 *
 * @module
 */
import {
  type Address,
  AuthenticationError,
  connect,
  CONNECT_DEFAULTS,
  ConnectionClosedError,
  type ConnectOptions,
  type JsonValue,
} from "../mod.ts";
import { permissionsFor } from "../core/platform/platform.ts";
import { addressText } from "../core/tools/address.ts";
import { call, notify, paramsOf } from "./call.ts";
import { endpointOf, requirePermission } from "./endpoint.ts";
import { exchange } from "./exchange.ts";
import { clause, Failure } from "./failure.ts";
import { Input } from "./input.ts";
import { listen } from "./listen.ts";
import { color, compact, type Format, pretty } from "./output.ts";
import { type Given, type Program, run } from "./program.ts";
import { prompt } from "./prompt.ts";
import { Security, securityOptions } from "./security.ts";
import { told } from "./waiting.ts";

/** What is sent where nothing was given. */
export const HELLO: JsonValue = { message: "hello from client", type: "text" };

const DEFAULT_TIMEOUT = 10_000;

const PROGRAM: Program = {
  name: "client",
  about: `Sends JSON messages and prints the replies.
Messages are arguments, or lines of stdin, or typed at a prompt; with none at all,
it says hello. Where there are arguments, stdin is read for the argument - alone,
as cat does, so that a loop that reads lines keeps its own.`,
  usage:
    'deno run --allow-net=localhost client.ts [options] [\'{"message":"hi"}\' ...]',
  takesOperands: true,
  options: `
--hostname NAME  host to connect to (default ${CONNECT_DEFAULTS.hostname})
--port NUMBER  port to connect to (default ${CONNECT_DEFAULTS.port})
--unix PATH  connect to a Unix socket instead
--call METHOD  call a method of a JSON-RPC server; each message is the parameters of one call
--notify METHOD  call it without waiting for an answer
--listen  print what comes, one line each, until Ctrl-C
--repeat NUMBER  send each message so many times
--timeout MS  milliseconds to wait for the connection, and for each reply (default ${DEFAULT_TIMEOUT})
--idle-timeout MS  milliseconds without a word before the server counts as gone (default ${CONNECT_DEFAULTS.idleTimeout})
--frame-timeout MS  milliseconds from the first byte of a reply to its last (default ${CONNECT_DEFAULTS.frameTimeout})
--tls  encrypt, and trust the authorities that Deno trusts
--tls-name NAME  encrypt, and check the server's certificate for this name (default the host)
${
    securityOptions({
      cert: "encrypt, and show this certificate chain, PEM",
      ca: "encrypt, and trust these authorities instead, PEM",
      token: "prove to know the secret in this file",
    })
  }
--raw  print each reply as one line, even on a terminal
`,
};

/** Runs the client program until it has its replies. */
export function main(args: string[] = Deno.args): Promise<void> {
  return run(PROGRAM, args, converse);
}

async function converse(given: Given): Promise<number> {
  const endpoint = endpointOf(given, 1, CONNECT_DEFAULTS);
  const server = addressText(endpoint);
  const method = given.text("call") ?? given.text("notify");
  const isListener = given.has("listen");
  const isExchange = method === undefined && !isListener;
  const input = new Input(given.operands, isExchange);
  given.exclude("call", "notify", "listen");
  given.exclude("notify", "listen");
  given.exclude("listen", "repeat");
  const params = method === undefined ? undefined : paramsOf(input);
  const isConversation = isExchange && given.operands.length === 0 &&
    Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
  const timeout = given.time("timeout") ?? DEFAULT_TIMEOUT;
  const format = formatOf(given, input.hasLines && !isConversation);
  const manner = { repeat: given.number("repeat", {}) ?? 1, timeout, format };
  const options = connectOptions(endpoint, given, timeout);
  const hasLogin = options.authenticate !== undefined;
  const why = (error: unknown) => explain(error, server, hasLogin);
  try {
    if (isConversation) {
      const connecting = connect({ ...options, reconnect: true });
      const client = await told(connecting, server);
      const exitCode = await prompt(client, {
        ...{ ...manner, server },
        explain: (error) => clause(why(error)),
      });
      // A user who interrupts does not wait for what is still on its way.
      if (exitCode === 0) await client.close();
      return exitCode;
    }
    const connection = await told(connect(options), server);
    if (method !== undefined && params !== undefined) {
      const use = given.has("call") ? call : notify;
      return await use(connection, { ...manner, method, params });
    }
    if (isListener) await listen(connection, input.messages([]));
    else await exchange(connection, input.messages([HELLO]), manner);
    await connection.close();
    return 0;
  } catch (error) {
    throw why(error);
  }
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
): ConnectOptions {
  const security = new Security(given);
  // A longer wait for a reply is not to be cut off before.
  const idleTimeout = given.time("idle-timeout") ??
    (given.has("listen")
      ? Infinity
      : Math.max(timeout, CONNECT_DEFAULTS.idleTimeout));
  const frameTimeout = given.time("frame-timeout");
  const needed = [
    ...permissionsFor(endpoint, "connect to"),
    ...security.needed,
  ];
  requirePermission("connect to", endpoint, needed, given);
  return {
    ...endpoint,
    connectTimeout: timeout,
    idleTimeout,
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
      `${server} wants a login; give the secret with --token-file or --token-env`,
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
