/**
 * The server program: it echoes.
 *
 * @module
 */
import {
  dropPermissions,
  type ErrorHandler,
  type Handler,
  LISTEN_DEFAULTS,
  serve,
  type ServeOptions,
  type Server,
} from "../mod.ts";
import { permissionsFor } from "../core/platform/platform.ts";
import { type RpcContext, type RpcMethods, serveRpc } from "../rpc.ts";
import { echo, echoError } from "./echo.ts";
import { endpointOf, isLocal, requirePermission } from "./endpoint.ts";
import { clause, Failure } from "./failure.ts";
import { ServerLog } from "./log.ts";
import { formatFor, LogOutput } from "./log_output.ts";
import { METHODS } from "./methods.ts";
import { type Given, type Program, run } from "./program.ts";
import { Security, securityOptions } from "./security.ts";

const PROGRAM: Program = {
  name: "server",
  about: 'Answers JSON messages over TCP: {"message":"hi"} gets ' +
    '{"status":"success","echo":"hi"}.\n' +
    "Each message travels behind its length, 4 bytes, big-endian.",
  usage: "deno run --allow-net=0.0.0.0 server.ts [options]",
  options: `
--hostname NAME  address to listen on (default ${LISTEN_DEFAULTS.hostname})
--port NUMBER  port to listen on, 0 for any that is free (default ${LISTEN_DEFAULTS.port})
--unix PATH  listen on a Unix socket instead
--max-frame-bytes NUMBER  largest payload, in and out (default ${LISTEN_DEFAULTS.maxFrameBytes})
--max-connections NUMBER  connections open at a time; others wait (default ${LISTEN_DEFAULTS.maxConnections})
--idle-timeout MS  milliseconds without a message before a client is dropped (default ${LISTEN_DEFAULTS.idleTimeout})
--frame-timeout MS  milliseconds from the first byte of a message to its last (default ${LISTEN_DEFAULTS.frameTimeout})
${
    securityOptions({
      cert: "encrypt with this certificate chain, PEM",
      ca: "demand certificates that these authorities have signed, PEM",
      token: "let in only who proves to know the secret in this file",
    })
  }
--rpc  serve JSON-RPC 2.0 instead: ${
    Object.keys(METHODS).join(", ")
  }, rpc.discover
--quiet  print errors only
--verbose  print a line for each message or call, too: its size as compact JSON, or its method (20 a second)
--log text|timed|json  print lines of text, of text behind the time, or of JSON (default text on a terminal and to the journal, else timed)
`,
};

/** Runs the server program until it is told to end. */
export function main(args: string[] = Deno.args): Promise<void> {
  return run(PROGRAM, args, serveUntilSignal);
}

async function serveUntilSignal(given: Given): Promise<number> {
  given.exclude("quiet", "verbose");
  const endpoint = endpointOf(given, 0, LISTEN_DEFAULTS);
  const security = new Security(given);
  const format = given.choice("log", ["text", "timed", "json"]);
  const output = new LogOutput(Deno.stdout, {
    format: format ?? formatFor(1),
    onError: (error) => log.printFailed(error),
  });
  const errors = new LogOutput(Deno.stderr, {
    format: format ?? formatFor(2),
  });
  const log = new ServerLog({
    output: given.has("quiet") ? undefined : output,
    errors,
  });
  const stopped = Promise.withResolvers<void>();
  // Before the first line is printed: whoever reads it may send a signal right
  // away.
  onSignal(stopped.resolve);
  const options: ServeOptions = {
    maxFrameBytes: given.number("max-frame-bytes", {
      most: 2 ** 32 - 1,
      orInfinity: true,
    }),
    maxConnections: given.number("max-connections", { orInfinity: true }),
    idleTimeout: given.time("idle-timeout"),
    frameTimeout: given.time("frame-timeout"),
    onEvent: (event) => log.event(event),
  };
  const needed = [
    ...permissionsFor(endpoint, "listen on"),
    ...security.needed,
  ];
  requirePermission("listen on", endpoint, needed, given);
  const tls = security.forServer();
  const authenticate = security.authentication();
  const all = { ...options, ...endpoint, tls, authenticate };
  const isVerbose = given.has("verbose");
  const server = open(() =>
    given.has("rpc")
      ? serveRpc({
        ...all,
        discover: true,
        // On purpose or not: the caller sees no more than that it failed.
        onError: (error, _method, peer) => log.badMessage(peer, error),
      }, isVerbose ? loggedMethods(log) : METHODS)
      : isVerbose
      ? serve({ ...all, onError: loggedError(log) }, logged(log))
      : serve({ ...all, onError: echoError }, echo)
  );
  // What the program has opened is all that it will ever need.
  dropPermissions();
  // For a Unix socket, single files stay granted: not those of the secrets.
  for (const need of security.needed) Deno.permissions.revokeSync(need);
  if (!tls && !authenticate && !isLocal(endpoint)) log.open();
  await stopped.promise;
  await server.shutdown();
  log.end();
  await Promise.all([output.end(), errors.end()]);
  return 0;
}

function open(start: () => Server): Server {
  try {
    return start();
  } catch (error) {
    throw new Failure(clause(error));
  }
}

/** The same methods, with a line for each call. */
function loggedMethods(log: ServerLog): RpcMethods {
  return Object.fromEntries(
    Object.entries(METHODS).map(([name, { handler, ...method }]) => [name, {
      ...method,
      handler(this: RpcContext, ...params: unknown[]): unknown {
        log.call(this.connection, name);
        return handler.apply(this, params);
      },
    }]),
  );
}

/**
 * The same as `echo`, with a line for each message: a function of its own, so
 * that nobody else pays for it.
 */
function logged(log: ServerLog): Handler {
  return (message, connection) => {
    log.message("in", connection, message);
    const reply = echo(message);
    log.message("out", connection, reply);
    return reply;
  };
}

function loggedError(log: ServerLog): ErrorHandler {
  return (error, connection) => {
    log.badMessage(connection, error);
    const reply = echoError(error);
    log.message("out", connection, reply);
    return reply;
  };
}

const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT", "SIGBREAK"]
  : ["SIGINT", "SIGTERM"];

/**
 * Milliseconds in which the same signal again is the same wish: `deno task`
 * passes on a Ctrl-C that the terminal has sent to its program already.
 */
const SAME_WISH = 250;

/** Calls `stop` at the first signal; the second ends the process at once. */
function onSignal(stop: () => void): void {
  let first: { signal: Deno.Signal; time: number } | undefined;
  for (const signal of SIGNALS) {
    Deno.addSignalListener(signal, () => {
      const time = performance.now();
      if (first === undefined) {
        first = { signal, time };
        stop();
      } else if (signal !== first.signal || time - first.time > SAME_WISH) {
        Deno.exit(signal === "SIGTERM" ? 143 : 130);
      }
    });
  }
}
