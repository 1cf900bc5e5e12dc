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
  type Connection,
  ConnectionClosedError,
  type ConnectOptions,
  FrameTooLargeError,
  FrameTruncatedError,
  type JsonValue,
} from "../mod.ts";
import { call, notify } from "./call.ts";
import { endpointOf, format, requirePermission } from "./endpoint.ts";
import { exchange } from "./exchange.ts";
import { parseLines } from "./lines.ts";
import { wantsLogin } from "./login.ts";
import {
  clause,
  compact,
  count,
  OutputError,
  pretty,
  printErrorText,
} from "./output.ts";
import {
  Failure,
  type Given,
  MOST_TIMEOUT,
  type Program,
  run,
  UsageError,
} from "./program.ts";
import { prompt } from "./prompt.ts";
import { Security, securityOptions, TLS_NAME_OPTION } from "./security.ts";

/** What is sent where nothing was given. */
export const HELLO: JsonValue = { message: "hello from client", type: "text" };

const DEFAULT_TIMEOUT = 10_000;

const PROGRAM: Program = {
  name: "client",
  about: "Sends JSON messages and prints the replies.\n" +
    "Messages are arguments, or lines of stdin, or typed at a prompt; with none at all, it says hello.",
  usage:
    'deno run --allow-net=localhost:8080 client.ts [options] [\'{"message":"hi"}\' ...]',
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
      help: "call a method of a JSON-RPC server; the message is its parameters",
    },
    notify: {
      value: "METHOD",
      help: "call it without waiting for an answer",
    },
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
export function main(args: string[]): Promise<void> {
  return run(PROGRAM, args, converse);
}

/** How to talk: the options that every way of sending messages needs. */
interface Manner {
  readonly repeat: number;
  readonly timeout: number;
  /** The text of a reply to a message that was an argument, or typed. */
  readonly format: (reply: JsonValue) => string;
  /** The text of a reply to a line of the input. */
  readonly formatLine: (reply: JsonValue) => string;
}

async function converse(given: Given): Promise<number> {
  const endpoint = endpointOf(given, 1, CONNECT_DEFAULTS);
  const place = format(endpoint);
  const manner = mannerOf(given);
  const messages = given.operands.map(parseOperand);
  const called = methodOf(given, messages);
  const isConversation = messages.length === 0 && called === undefined &&
    Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
  const options = connectOptions(endpoint, given, manner.timeout);
  if (isConversation) {
    const client = await dial(() => connect({ ...options, reconnect: true }));
    const exitCode = await explained(place, () =>
      prompt(client, {
        ...manner,
        explain: (error) => clause(explain(error, place)),
      }));
    // Whoever interrupts does not want to wait for what is still on its way.
    if (exitCode === 0) await client.close();
    return exitCode;
  }
  const connection = await dial(() => connect(options));
  if (called !== undefined) {
    const use = given.has("call") ? call : notify;
    return await explained(place, async () => {
      const ending = use(connection, { ...manner, ...called });
      await ending.catch(() => {});
      // It answers no call, so nothing else tells who notifies.
      const { aborted, reason } = connection.signal;
      if (aborted && reason.cause instanceof AuthenticationError) {
        throw reason.cause;
      }
      return await ending;
    });
  }
  await explained(
    place,
    () =>
      messages.length > 0
        ? exchange(connection, repeated(messages, manner.repeat), manner)
        : exchangeInput(connection, manner),
  );
  await connection.close();
  return 0;

  function dial<Link>(connecting: () => Promise<Link>): Promise<Link> {
    return connecting().catch((error) => {
      throw unreachable(error, place, manner.timeout);
    });
  }
}

function mannerOf(given: Given): Manner {
  const forPeople = Deno.stdout.isTerminal() && !given.has("raw");
  const show: Manner["format"] = forPeople
    ? (reply) => pretty(reply, !Deno.noColor)
    : compact;
  return {
    repeat: given.number("repeat", 1, Number.MAX_SAFE_INTEGER) ?? 1,
    timeout: given.number("timeout", 1, MOST_TIMEOUT, "Infinity") ??
      DEFAULT_TIMEOUT,
    format: show,
    formatLine: compact,
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

/** The method to call, and its parameters. */
function methodOf(
  given: Given,
  messages: JsonValue[],
): { method: string; params: object | undefined } | undefined {
  given.exclude("call", "notify", "repeat");
  given.exclude("notify", "repeat");
  const method = given.text("call") ?? given.text("notify");
  if (method === undefined) return undefined;
  if (messages.length > 1) {
    throw new UsageError(
      `a method takes one array or object of parameters, received ${messages.length}`,
    );
  }
  const [params] = messages;
  if (params !== undefined && (typeof params !== "object" || !params)) {
    throw new UsageError(
      "parameters are an array or an object, as in '[1,2]' or '{\"a\":1}'",
    );
  }
  return { method, params };
}

function parseOperand(text: string, index: number): JsonValue {
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(
      `message ${
        index + 1
      } is not JSON; quote it for your shell, as in '{"message":"hi"}'`,
    );
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
      Math.max(timeout, CONNECT_DEFAULTS.idleTimeout),
    frameTimeout: given.number("frame-timeout", 1, MOST_TIMEOUT, "Infinity"),
  };
  requirePermission("connect to", endpoint, security.needed);
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

async function* repeated(
  messages: Iterable<JsonValue> | AsyncIterable<JsonValue>,
  times: number,
): AsyncGenerator<JsonValue, void> {
  for await (const message of messages) {
    for (let i = 0; i < times; i++) yield message;
  }
}

/**
 * Sends the lines of stdin, or says hello if there is not even an empty one.
 */
async function exchangeInput(
  connection: Connection,
  manner: Manner,
): Promise<void> {
  let format = manner.formatLine;
  async function* messages(): AsyncGenerator<JsonValue, void> {
    const chunks = readStdin();
    const first = await chunks.next();
    if (!first.done) {
      yield* parseLines(prepend(first.value, chunks));
    } else if (!Deno.stdin.isTerminal()) {
      format = manner.format;
      yield HELLO;
    }
  }
  const progress = new Progress();
  try {
    await exchange(connection, repeated(messages(), manner.repeat), {
      timeout: manner.timeout,
      format: (reply) => format(reply),
      onReply: (replies) => progress.replies = replies,
    });
  } finally {
    progress.stop();
  }
}

async function* readStdin(): AsyncGenerator<Uint8Array, void> {
  try {
    yield* Deno.stdin.readable;
  } catch (error) {
    throw new Failure(`cannot read stdin: ${clause(error)}`);
  }
}

async function* prepend<Item>(
  first: Item,
  rest: AsyncGenerator<Item, void>,
): AsyncGenerator<Item, void> {
  yield first;
  yield* rest;
}

/**
 * Tells how far it is, every second, where a person would otherwise see
 * nothing.
 */
class Progress {
  /** Replies so far. */
  replies = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #shown = false;

  constructor() {
    if (!Deno.stderr.isTerminal() || Deno.stdout.isTerminal()) return;
    this.#timer = setInterval(() => {
      this.#shown = true;
      printErrorText(`\r${count(this.replies, "reply", "replies")}`);
    }, 1_000);
  }

  /** Removes what it has shown. */
  stop(): void {
    clearInterval(this.#timer);
    if (this.#shown) printErrorText("\r\x1b[K");
  }
}

/** What went wrong while messages were exchanged, in words. */
function explain(error: unknown, place: string): Error {
  if (error instanceof Failure || error instanceof OutputError) return error;
  if (error instanceof AuthenticationError) return wantsLogin(place);
  if (!(error instanceof ConnectionClosedError)) {
    return new Failure(clause(error));
  }
  const { cause } = error;
  if (cause === undefined) return new Failure(`${place} closed the connection`);
  if (cause instanceof FrameTruncatedError) {
    return new Failure(
      `${place} closed the connection in the midst of a reply`,
    );
  }
  if (cause instanceof FrameTooLargeError) {
    return new Failure(unreadable(cause, place));
  }
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
