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
  createClient,
  type JsonValue,
} from "../mod.ts";
import { addressText } from "../core/tools/address.ts";
import { call, paramsOf } from "./call.ts";
import { endpointOf, requirePermission } from "./endpoint.ts";
import { exchange } from "./exchange.ts";
import { clause, Failure } from "./failure.ts";
import { Input } from "./input.ts";
import { listen } from "./listen.ts";
import { color, compact, type Format, pretty } from "./output.ts";
import { type Given, type Program, run } from "./program.ts";
import { prompt } from "./prompt.ts";
import { Security } from "./security.ts";
import { told } from "./waiting.ts";

/** What is sent where nothing was given. */
export const HELLO: JsonValue = { message: "hello from client", type: "text" };

const DEFAULT_TIMEOUT = 10_000;

const PROGRAM: Program = {
  name: "client",
  usage: "client [OPTION]... [MESSAGE]...",
  about: `Send JSON messages and print the replies.

  client                       at a terminal, prompt for messages; else send the lines of stdin, or hello
  client '{"message":"hi"}'    send messages, and print the replies
  client - < FILE              send each line of a file
  client --call add '[1,2]'    call a method of a JSON-RPC server
  client --listen              print what the server sends, until Ctrl-C

With arguments, stdin is read for the argument - alone, so a loop that reads lines keeps its own.`,
  takesOperands: true,
  options: `
Address:
--hostname NAME  connect to this host (default ${CONNECT_DEFAULTS.hostname})
--port NUMBER  connect to this port (default ${CONNECT_DEFAULTS.port})
--unix PATH  connect to a Unix socket instead
What to send:
--call METHOD  call a JSON-RPC method; each message is the parameters of one call
--notify METHOD  the same, without waiting for an answer
--listen  print what the server sends, one line each, until Ctrl-C
--repeat N  send each message N times (default 1)
TLS and login (none by default):
--tls  encrypt, and trust the authorities that Deno trusts
--tls-ca FILE  encrypt, and trust the authorities in FILE instead (PEM)
--tls-name NAME  encrypt, and check the server's certificate for NAME (default: the host)
--tls-cert FILE  encrypt, and authenticate with the certificate chain in FILE (PEM)
--tls-key FILE  the private key of that certificate (PEM)
--token-file FILE  authenticate with the secret in FILE
--token-env NAME  the same, with the secret in the environment variable NAME
Limits (Infinity for none):
--timeout MS  wait MS ms for the connection, and for each reply (default ${DEFAULT_TIMEOUT})
--idle-timeout MS  close after MS ms of silence (default: no limit)
--frame-timeout MS  close if a reply takes over MS ms to arrive (default ${CONNECT_DEFAULTS.frameTimeout})
Output:
--raw  print each reply as one line (default: indented and coloured on a terminal)
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
      // The first attempt has to succeed.
      const failure = new AbortController();
      const connecting = createClient({
        ...options,
        signal: failure.signal,
        onEvent(event) {
          if (event.type === "failed") failure.abort(event.error);
        },
      });
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
      const isNotification = given.has("notify");
      const calls = { ...manner, method, params, isNotification };
      return await call(connection, calls);
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
