/**
 * What the server program prints: a line for every event.
 *
 * @module
 */
import type {
  Address,
  Connection,
  ConnectionEnd,
  ServerEvent,
} from "../mod.ts";
import { RpcError } from "../rpc.ts";
import { addressText } from "../core/tools/address.ts";
import { clause } from "./failure.ts";
import { LineRate, MOST_LINES, withOthers } from "./line_rate.ts";
import type { LogRecord, LogSink } from "./log_output.ts";
import { compact, count } from "./output.ts";

const MOST_REJECTIONS = 1;

/** How a {@linkcode ServerLog} prints. */
export interface ServerLogOptions {
  /** Milliseconds, from any beginning. @default {performance.now} */
  now?: () => number;
  /** Takes the lines, unless only errors are wanted. */
  output?: LogSink;
  /** Takes the lines about errors. */
  errors: LogSink;
}

interface Peer {
  readonly name: string;
  readonly since: number;
}

/** Turns the events of a server into lines. */
export class ServerLog {
  readonly #options: ServerLogOptions;
  readonly #peers = new WeakMap<Connection, Peer>();
  #connections = 0;
  #acceptFailing = false;
  readonly #rate: LineRate;

  /** Makes a log that has printed nothing yet. */
  constructor(options: ServerLogOptions) {
    this.#options = options;
    this.#rate = new LineRate(options.now ?? (() => performance.now()));
  }

  /** Prints what happened on the server. */
  event(event: ServerEvent): void {
    switch (event.type) {
      case "listening":
        return this.#print(
          { type: "listening", ...event.addr },
          `Listening on ${addressText(event.addr)}`,
        );
      case "connected":
        return this.#connected(event.connection);
      case "closed":
        return this.#closed(event.connection, event.end);
      case "rejected":
        return this.#rejected(event.remoteAddr, event.reason, event.error);
      case "acceptFailed":
        return this.#acceptFailed(event.error, event.isOfPeer);
      case "draining":
        this.end();
        return this.#print(
          { type: "draining", connections: event.connections },
          `Shutting down with ${count(event.connections, "connection")} open`,
        );
    }
  }

  /** Prints the size of a message, as compact JSON, and never its text. */
  message(
    direction: "in" | "out",
    connection: Connection,
    message: unknown,
  ): void {
    this.#printFew(`message ${direction}`, () => {
      const peer = this.#peers.get(connection)?.name;
      const bytes = new TextEncoder().encode(compact(message)).length;
      return [
        { type: "message", peer, direction, bytes },
        `${peer} message ${direction}, ${count(bytes, "byte")}`,
      ];
    });
  }

  /** Prints the name of a method that is called, which is one that exists. */
  call(connection: Connection, method: string): void {
    this.#printFew("call", () => {
      const peer = this.#peers.get(connection)?.name;
      return [{ type: "call", peer, method }, `${peer} calls ${method}`];
    });
  }

  /** Prints why a message or a reply was none. */
  badMessage(connection: Connection, error: unknown): void {
    this.#printFew("badMessage", () => {
      const peer = this.#peers.get(connection)?.name;
      const reason = reasonOf(error);
      return [{ type: "badMessage", peer, reason }, `${peer}: ${reason}`];
    });
  }

  /** Prints that lines cannot be printed, which is no reason to stop. */
  printFailed(error: unknown): void {
    const reason = clause(error);
    this.#options.errors.print(
      { type: "printFailed", reason },
      `server: cannot print: ${reason}; going on without`,
    );
  }

  /** Warns of a server that anybody may use. */
  open(): void {
    this.#print(
      { type: "open" },
      "Anyone who can reach this machine can connect: no --tls-cert, no --token-file",
    );
  }

  #rejected(address: Address, reason: string, error: unknown): void {
    this.#printFew("rejected", () => {
      const why = error === undefined ? reason : `${reason}: ${clause(error)}`;
      const peer = peerName(address, 0);
      return [
        { type: "rejected", peer, reason: why },
        `${peer} rejected: ${why}`,
      ];
    }, MOST_REJECTIONS);
  }

  #connected(connection: Connection): void {
    this.#acceptFailing = false;
    if (this.#options.output === undefined) return;
    const name = peerName(connection.remoteAddr, ++this.#connections);
    this.#peers.set(connection, { name, since: performance.now() });
    this.#printFew(
      "connected",
      () => [{ type: "connected", peer: name }, `${name} connected`],
    );
  }

  #closed(connection: Connection, end: ConnectionEnd): void {
    const peer = this.#peers.get(connection);
    if (peer === undefined) return;
    this.#printFew("closed", () => closedLine(connection, peer, end));
  }

  /**
   * Once until a connection comes again: the server goes on trying, many times
   * a second. Peers that come and go make it no more than a line a second.
   */
  #acceptFailed(error: unknown, isOfPeer: boolean): void {
    if (isOfPeer) this.#rate.skip("rejected");
    if (isOfPeer || this.#acceptFailing) return;
    this.#acceptFailing = true;
    this.#printFew(
      "acceptFailed",
      () => {
        const reason = clause(error);
        return [
          { type: "acceptFailed", reason },
          `server: cannot accept a connection: ${reason}; trying again`,
        ];
      },
      1,
      this.#options.errors,
    );
  }

  /** Prints one of few lines of its kind in a second. */
  #printFew(
    kind: string,
    line: () => readonly [record: LogRecord, text: string],
    most = MOST_LINES,
    sink = this.#options.output,
  ): void {
    const others = sink && this.#rate.take(kind, most);
    if (others === undefined) return;
    const [record, text] = line();
    if (others === 0) sink?.print(record, text);
    else sink?.print({ ...record, others }, withOthers(text, others));
  }

  /** Prints how many lines were left out, where none may come to say so. */
  end(): void {
    for (const [kind, lines] of this.#rate.takeOthers()) {
      this.#print(
        { type: "omitted", kind, lines },
        `${count(lines, "line")} of "${kind}" left out since the last one`,
      );
    }
  }

  #print(record: LogRecord, text: string): void {
    this.#options.output?.print(record, text);
  }
}

function closedLine(
  connection: Connection,
  { name, since }: Peer,
  end: ConnectionEnd,
): [record: LogRecord, text: string] {
  const { messagesReceived, messagesSent, bytesReceived, bytesSent } =
    connection.stats();
  const milliseconds = Math.round(performance.now() - since);
  const reason = end.clean ? undefined : clause(end.cause);
  return [
    {
      type: "closed",
      peer: name,
      messagesIn: messagesReceived,
      messagesOut: messagesSent,
      bytesIn: bytesReceived,
      bytesOut: bytesSent,
      milliseconds,
      reason,
    },
    `${name} closed after ${duration(milliseconds)}: ` +
    `${count(messagesReceived, "message")} in (${
      count(bytesReceived, "byte")
    }), ${messagesSent} out (${count(bytesSent, "byte")})` +
    (reason === undefined ? "" : `; ${reason}`),
  ];
}

/** The clients of a Unix socket have no address, so they are numbered. */
function peerName(address: Address | undefined, number: number): string {
  return address?.transport === "tcp"
    ? addressText(address)
    : `client ${number}`;
}

function duration(milliseconds: number): string {
  return milliseconds < 10_000
    ? `${milliseconds} ms`
    : `${(milliseconds / 1_000).toFixed(1)} s`;
}

/** Most characters of the reason for a bad message. */
const MOST_REASON = 300;

/** Why a message was bad, in none of the peer's words. */
function reasonOf(error: unknown): string {
  const reason = error instanceof RpcError && error.isReceived
    ? `the peer sent error ${error.code}`
    : clause(error);
  return reason.length > MOST_REASON
    ? `${reason.slice(0, MOST_REASON)}…`
    : reason;
}
