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
import { format } from "./endpoint.ts";
import { LineRate } from "./line_rate.ts";
import { clause, compact, count } from "./output.ts";

/** Lines of one kind in a second: whoever floods the server floods no log. */
const MOST_LINES = 20;
const MOST_REJECTIONS = 1;

/** How a {@linkcode ServerLog} prints. */
export interface ServerLogOptions {
  /** Lines for people, or lines of JSON. */
  format: "text" | "json";
  /** Whether lines of text begin with the time. @default {false} */
  isTimed?: boolean;
  /** Milliseconds, from any beginning. @default {performance.now} */
  now?: () => number;
  /** Prints a line, unless only errors are wanted. */
  print?(line: string): void;
  /** Prints a line about an error. */
  printError(line: string): void;
}

/** A line as data. */
interface LogRecord {
  readonly type: string;
  readonly [name: string]: unknown;
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
          `Listening on ${format(event.addr)}`,
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
        this.#printOmitted();
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
    const peer = this.#peers.get(connection)?.name;
    const bytes = new TextEncoder().encode(compact(message)).length;
    this.#print(
      { type: "message", peer, direction, bytes },
      `${peer} message ${direction}, ${count(bytes, "byte")}`,
    );
  }

  /** Prints the name of a method that is called, which is one that exists. */
  call(connection: Connection, method: string): void {
    const peer = this.#peers.get(connection)?.name;
    this.#print({ type: "call", peer, method }, `${peer} calls ${method}`);
  }

  /** Prints why a message or a reply was none. */
  badMessage(connection: Connection, error: unknown): void {
    const peer = this.#peers.get(connection)?.name;
    const reason = reasonOf(error);
    this.#printFew({ type: "badMessage", peer, reason }, `${peer}: ${reason}`);
  }

  /** The line in place of lines that nobody took in time. */
  lost(lines: number): string {
    return this.#line(
      { type: "lost", lines },
      `${count(lines, "line")} lost: they were not taken in time`,
    );
  }

  /** Prints that lines cannot be printed, which is no reason to stop. */
  printFailed(error: unknown): void {
    const reason = clause(error);
    this.#options.printError(this.#line(
      { type: "printFailed", reason },
      `server: cannot print: ${reason}; going on without`,
    ));
  }

  /** Warns of a server that anybody may use. */
  open(): void {
    this.#print(
      { type: "open" },
      "Anyone who can reach this machine can connect: no --tls-cert, no --token-file",
    );
  }

  #rejected(address: Address, reason: string, error: unknown): void {
    const why = error === undefined ? reason : `${reason}: ${clause(error)}`;
    const peer = peerName(address, 0);
    this.#printFew(
      { type: "rejected", peer, reason: why },
      `${peer} rejected: ${why}`,
      MOST_REJECTIONS,
    );
  }

  #connected(connection: Connection): void {
    this.#acceptFailing = false;
    if (this.#options.print === undefined) return;
    const name = peerName(connection.remoteAddr, ++this.#connections);
    this.#peers.set(connection, { name, since: performance.now() });
    this.#printFew({ type: "connected", peer: name }, `${name} connected`);
  }

  #closed(connection: Connection, end: ConnectionEnd): void {
    const peer = this.#peers.get(connection);
    if (peer === undefined) return;
    const { messagesReceived, messagesSent, bytesReceived, bytesSent } =
      connection.stats;
    const milliseconds = Math.round(performance.now() - peer.since);
    const reason = end.clean ? undefined : clause(end.cause);
    this.#printFew(
      {
        type: "closed",
        peer: peer.name,
        messagesIn: messagesReceived,
        messagesOut: messagesSent,
        bytesIn: bytesReceived,
        bytesOut: bytesSent,
        milliseconds,
        reason,
      },
      `${peer.name} closed after ${duration(milliseconds)}: ` +
        `${count(messagesReceived, "message")} in (${
          count(bytesReceived, "byte")
        }), ${messagesSent} out (${count(bytesSent, "byte")})` +
        (reason === undefined ? "" : `; ${reason}`),
    );
  }

  /**
   * Once until a connection comes again: the server goes on trying, many times
   * a second.
   */
  #acceptFailed(error: unknown, isOfPeer: boolean): void {
    if (isOfPeer) this.#rate.skip("rejected");
    if (isOfPeer || this.#acceptFailing) return;
    this.#acceptFailing = true;
    const reason = clause(error);
    this.#options.printError(this.#line(
      { type: "acceptFailed", reason },
      `server: cannot accept a connection: ${reason}; trying again`,
    ));
  }

  /** Prints one of few lines of its kind in a second. */
  #printFew(
    record: LogRecord,
    text: string,
    most = MOST_LINES,
  ): void {
    const others = this.#rate.take(record.type, most);
    if (others === undefined) return;
    if (others === 0) this.#print(record, text);
    else {
      this.#print(
        { ...record, others },
        `${text}; ${count(others, "other")} since the last line`,
      );
    }
  }

  /** Prints how many lines were left out, where none may come to say so. */
  #printOmitted(): void {
    for (const [kind, lines] of this.#rate.takeOthers()) {
      this.#print(
        { type: "omitted", kind, lines },
        `${count(lines, "line")} of "${kind}" left out since the last one`,
      );
    }
  }

  #print(record: LogRecord, text: string): void {
    this.#options.print?.(this.#line(record, text));
  }

  #line({ type, ...rest }: LogRecord, text: string): string {
    const time = new Date().toISOString();
    const { format, isTimed } = this.#options;
    if (format === "json") return compact({ type, time, ...rest });
    return isTimed ? `${time} ${text}` : text;
  }
}

/** The clients of a Unix socket have no address, so they are numbered. */
function peerName(address: Address | undefined, number: number): string {
  return address?.transport === "tcp" ? format(address) : `client ${number}`;
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
