/**
 * The server program: it echoes.
 *
 * @module
 */
import {
  type Connection,
  dropPermissions,
  LISTEN_DEFAULTS,
  serve,
  type ServeOptions,
  type Server,
} from "../mod.ts";
import { type RpcContext, type RpcMethods, serveRpc } from "../rpc.ts";
import { echo, echoError } from "./echo.ts";
import { endpointOf, isLocal, requirePermission } from "./endpoint.ts";
import { clause, Failure } from "./failure.ts";
import { ServerLog } from "./log.ts";
import { formatFor, LogOutput } from "./log_output.ts";
import { METHODS } from "./methods.ts";
import { type Given, type Program, run } from "./program.ts";
import { Security } from "./security.ts";

const NAMES = Object.keys(METHODS).join(", ");
const PROGRAM: Program = {
  name: "server",
  usage: "server [OPTION]...",
  about: `Answer JSON messages over TCP, each behind its length in 4 bytes:
{"message":"hi"} gets {"status":"success","echo":"hi"}.

  server                     listen on ${LISTEN_DEFAULTS.hostname}:${LISTEN_DEFAULTS.port}
  server --port 9000         listen on another port
  server --rpc               serve JSON-RPC methods instead
  server --token-file FILE   require a login

Ctrl-C ends the server when the open requests are answered; again, at once.`,
  options: `
Address:
--hostname NAME  listen on this address (default ${LISTEN_DEFAULTS.hostname})
--port N  listen on this port, 0 for any free one (default ${LISTEN_DEFAULTS.port})
--unix PATH  listen on a Unix socket instead
Service:
--rpc  serve the JSON-RPC methods ${NAMES}
TLS and login (none by default):
--tls-cert FILE  encrypt with the certificate chain in FILE (PEM)
--tls-key FILE  private key of the certificate (PEM)
--tls-ca FILE  require client certificates of these authorities (PEM)
--token-file FILE  require clients to authenticate with the secret in FILE
--token-env NAME  the same, with the secret in the variable NAME
Limits (Infinity for none):
--max-frame-bytes N  largest message, in and out (default ${LISTEN_DEFAULTS.maxFrameBytes})
--max-connections N  open connections; more wait (default ${LISTEN_DEFAULTS.maxConnections})
--idle-timeout MS  close after MS ms without a message (default ${LISTEN_DEFAULTS.idleTimeout})
--frame-timeout MS  close if a message takes over MS ms (default ${LISTEN_DEFAULTS.frameTimeout})
Output:
--quiet  print errors only
--verbose  print sizes of messages and names of methods, too
--log FORMAT  text, timed or json (default timed; text on a terminal)
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
  const options: ServeOptions = {
    ...endpoint,
    maxFrameBytes: given.number("max-frame-bytes", {
      most: 2 ** 32 - 1,
      orInfinity: true,
    }),
    maxConnections: given.number("max-connections", { orInfinity: true }),
    idleTimeout: given.time("idle-timeout"),
    frameTimeout: given.time("frame-timeout"),
    onEvent: (event) => log.event(event),
  };
  // Before the first line is printed, as its reader may send a signal right away.
  const stopped = Promise.withResolvers<void>();
  onSignal(stopped.resolve);
  const needed = security.neededFor("listen on", endpoint);
  requirePermission("listen on", endpoint, needed, given);
  const tls = security.forServer();
  const authenticate = security.authentication();
  const server = open({ ...options, tls, authenticate }, log, given);
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

function open(options: ServeOptions, log: ServerLog, given: Given): Server {
  const isVerbose = given.has("verbose");
  try {
    if (given.has("rpc")) {
      return serveRpc({
        ...options,
        discover: true,
        // On purpose or not: the caller sees no more than that it failed.
        onError: (error, _method, peer) => log.badMessage(peer, error),
      }, isVerbose ? loggedMethods(log) : METHODS);
    }
    return isVerbose
      ? serveLogged(options, log)
      : serve({ ...options, onError: echoError }, echo);
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
 * Echoes with a line for each message: apart, so that it costs nothing without
 * them.
 */
function serveLogged(options: ServeOptions, log: ServerLog): Server {
  function sent<Reply>(reply: Reply, connection: Connection): Reply {
    log.message("out", connection, reply);
    return reply;
  }
  return serve({
    ...options,
    onError(error, connection) {
      log.badMessage(connection, error);
      return sent(echoError(error), connection);
    },
  }, (message, connection) => {
    log.message("in", connection, message);
    return sent(echo(message), connection);
  });
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
