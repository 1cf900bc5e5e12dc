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
  FrameTooLargeError,
  FrameTruncatedError,
  type JsonValue,
  permissionsFor,
} from "../mod.ts";
import { call, notify } from "./call.ts";
import { endpointOf, format, requirePermission } from "./endpoint.ts";
import { exchange } from "./exchange.ts";
import { Input } from "./input.ts";
import { listen } from "./listen.ts";
import { wantsLogin } from "./login.ts";
import {
  clause,
  COMPACT,
  type Format,
  isOfOption,
  OutputError,
  PRETTY,
  PRETTY_PLAIN,
  printError,
} from "./output.ts";
import {
  Failure,
  type Given,
  MOST_TIMEOUT,
  type Program,
  run,
} from "./program.ts";
import { prompt, SILENCE, waitingFor } from "./prompt.ts";
import { Security, securityOptions, TLS_NAME_OPTION } from "./security.ts";

/** What is sent where nothing was given. */
export const HELLO: JsonValue = { message: "hello from client", type: "text" };

const DEFAULT_TIMEOUT = 10_000;

const PROGRAM: Program = {
  name: "client",
  about: "Sends JSON messages and prints the replies.\n" +
    "Messages are arguments, or lines of stdin, or typed at a prompt; with none at all,\n" +
    "it says hello. Where there are arguments, stdin is read for the argument - alone,\n" +
    "as cat does, so that a loop that reads lines keeps its own.",
  usage:
    'deno run --allow-net=localhost client.ts [options] [\'{"message":"hi"}\' ...]',
  operand: "message",
  options: {
    hostname: {
      value: "NAME",
      help: `host to connect to (default ${CONNECT_DEFAULTS.hostname})`,
    },
    port: {
      value: "NUMBER",
      help: `port to connect to (default ${CONNECT_DEFAULTS.port})`,
    },
    unix: { value: "PATH", help: "connect to a Unix socket instead" },
    call: {
      value: "METHOD",
      help:
        "call a method of a JSON-RPC server; each message is the parameters of one call",
    },
    notify: {
      value: "METHOD",
      help: "call it without waiting for an answer",
    },
    listen: { help: "print what comes, one line each, until Ctrl-C" },
    repeat: { value: "NUMBER", help: "send each message so many times" },
    timeout: {
      value: "MS",
      help:
        `milliseconds to wait for the connection, and for each reply (default ${DEFAULT_TIMEOUT})`,
    },
    "idle-timeout": {
      value: "MS",
      help:
        `milliseconds without a word before the server counts as gone (default ${CONNECT_DEFAULTS.idleTimeout})`,
    },
    "frame-timeout": {
      value: "MS",
      help:
        `milliseconds from the first byte of a reply to its last (default ${CONNECT_DEFAULTS.frameTimeout})`,
    },
    tls: { help: "encrypt, and trust the authorities that Deno trusts" },
    ...TLS_NAME_OPTION,
    ...securityOptions({
      cert: "encrypt, and show this certificate chain, PEM",
      ca: "encrypt, and trust these authorities instead, PEM",
      token: "prove to know the secret in this file",
    }),
    raw: { help: "print each reply as one line, even on a terminal" },
  },
};

/** Runs the client program until it has its replies. */
export function main(args: string[] = Deno.args): Promise<void> {
  return run(PROGRAM, args, converse);
}

/** How to talk: the options that every way of sending messages needs. */
interface Manner {
  readonly repeat: number;
  readonly timeout: number;
  readonly format: Format;
}

async function converse(given: Given): Promise<number> {
  const endpoint = endpointOf(given, 1, CONNECT_DEFAULTS);
  const place = format(endpoint);
  const input = new Input(given.operands);
  const manner = mannerOf(given, input);
  const method = methodOf(given);
  const isConversation = given.operands.length === 0 && method === undefined &&
    !given.has("listen") &&
    Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
  if (method !== undefined) input.requireParams();
  const options = connectOptions(endpoint, given, manner.timeout);
  if (isConversation) {
    const client = await dial(() => connect({ ...options, reconnect: true }));
    const exitCode = await explained(place, () =>
      prompt(client, {
        ...manner,
        place,
        explain: (error) => clause(explain(error, place)),
      }));
    // Whoever interrupts does not want to wait for what is still on its way.
    if (exitCode === 0) await client.close();
    return exitCode;
  }
  const connection = await dial(() => connect(options));
  if (method !== undefined) {
    const use = given.has("call") ? call : notify;
    const params = repeated(input.params(), manner.repeat);
    return await explained(place, async () => {
      const ending = use(connection, { ...manner, method, params });
      await ending.catch(() => {});
      // It answers no call, so nothing else tells who notifies.
      const { aborted, reason } = connection.signal;
      if (aborted && reason.cause instanceof AuthenticationError) {
        throw reason.cause;
      }
      return await ending;
    });
  }
  await explained(place, () => {
    if (given.has("listen")) return listen(connection, input.piped());
    const messages = repeated(input.messages(HELLO), manner.repeat);
    return exchange(connection, messages, manner);
  });
  await connection.close();
  return 0;

  async function dial<Link>(connecting: () => Promise<Link>): Promise<Link> {
    const timer = setTimeout(() => {
      if (Deno.stderr.isTerminal()) printError(waitingFor(place));
    }, SILENCE);
    try {
      return await connecting();
    } catch (error) {
      throw unreachable(error, place, manner.timeout);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** The method to call, where calls are wanted. */
function methodOf(given: Given): string | undefined {
  given.exclude("call", "notify", "listen");
  given.exclude("notify", "listen");
  given.exclude("listen", "repeat");
  return given.text("call") ?? given.text("notify");
}

function mannerOf(given: Given, input: Input): Manner {
  const show = !Deno.stdout.isTerminal() || given.has("raw")
    ? COMPACT
    : Deno.noColor
    ? PRETTY_PLAIN
    : PRETTY;
  const format: Format = {
    text: (reply) => (input.hasLines ? COMPACT : show).text(reply),
    paint: (text) => input.hasLines ? text : show.paint?.(text) ?? text,
  };
  return {
    repeat: given.number("repeat", 1, Number.MAX_SAFE_INTEGER) ?? 1,
    timeout: given.number("timeout", 1, MOST_TIMEOUT, "Infinity") ??
      DEFAULT_TIMEOUT,
    format,
  };
}

/**
 * Does something over a connection to a place, and says in words what went
 * wrong.
 */
async function explained<Result>(
  place: string,
  body: () => Promise<Result>,
): Promise<Result> {
  try {
    return await body();
  } catch (error) {
    throw explain(error, place);
  }
}

/** Reads the files that the options name, if that is allowed. */
function connectOptions(
  endpoint: Address,
  given: Given,
  timeout: number,
): ConnectOptions {
  const security = new Security(given);
  const limits = {
    connectTimeout: timeout,
    // Whoever waits longer for a reply does not want to be cut off before.
    idleTimeout: given.number("idle-timeout", 1, MOST_TIMEOUT, "Infinity") ??
      (given.has("listen")
        ? Infinity
        : Math.max(timeout, CONNECT_DEFAULTS.idleTimeout)),
    frameTimeout: given.number("frame-timeout", 1, MOST_TIMEOUT, "Infinity"),
  };
  const needed = [
    ...permissionsFor(endpoint, "connect to"),
    ...security.needed,
  ];
  requirePermission("connect to", endpoint, needed, given);
  return {
    ...limits,
    ...endpoint,
    tls: security.forClient(),
    authenticate: security.authentication(),
  };
}

/** Why there is no connection, in words. */
function unreachable(error: unknown, place: string, timeout: number): Error {
  if (error instanceof AuthenticationError) {
    const why = clause(error).replace(` to ${place}`, "");
    return new Failure(`${place} does not let us in: ${why}`);
  }
  if (isOfOption(error)) return new Failure(clause(error));
  if (error instanceof Deno.errors.ConnectionRefused) {
    return new Failure(
      `connection to ${place} refused; is the server running?`,
    );
  }
  if (error instanceof Deno.errors.NotFound) {
    return new Failure(`there is no ${place}; is the server running?`);
  }
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return new Failure(
      error.message.includes("handshake")
        ? clause(error)
        : `no connection to ${place} after ${timeout} ms`,
    );
  }
  if (error instanceof ConnectionClosedError) return explain(error, place);
  return new Failure(clause(error));
}

async function* repeated<Item>(
  items: AsyncIterable<Item>,
  times: number,
): AsyncGenerator<Item, void> {
  for await (const item of items) {
    for (let i = 0; i < times; i++) yield item;
  }
}

/** What went wrong while messages were exchanged, in words. */
function explain(error: unknown, place: string): Error {
  if (error instanceof Failure || error instanceof OutputError) return error;
  if (error instanceof AuthenticationError) return wantsLogin(place);
  const isEnd = error instanceof ConnectionClosedError;
  const cause = isEnd ? error.cause : error;
  if (cause === undefined) return new Failure(`${place} closed the connection`);
  if (cause instanceof FrameTruncatedError) {
    return new Failure(
      `${place} closed the connection in the midst of a reply`,
    );
  }
  if (
    cause instanceof FrameTooLargeError && /^Cannot decode /.test(cause.message)
  ) {
    return new Failure(unreadable(cause, place));
  }
  if (!isEnd) return new Failure(clause(error));
  if (cause instanceof DOMException && cause.name === "TimeoutError") {
    return new Failure(cause.message);
  }
  return new Failure(`the connection to ${place} was lost: ${clause(cause)}`);
}

function unreadable(
  { message, size, limit }: FrameTooLargeError,
  place: string,
): string {
  const seeming = /the peer seems to .*/.exec(message)?.[0];
  if (seeming === undefined) {
    return `${place} announced a reply of ${size} bytes, the limit is ${limit}`;
  }
  const remedy = seeming.includes(" TLS ") ? "; try --tls" : "";
  return `cannot talk to ${place}: ${seeming}${remedy}`;
}
