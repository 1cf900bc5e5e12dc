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
import { Throttle } from "../core/tools/throttle.ts";
import { clause } from "./failure.ts";
import type { LogRecord, LogSink } from "./log_output.ts";
import { compact, count, MOST_LINES, withOthers } from "./output.ts";

/** Most of those that cost a peer nothing. */
const FEW_LINES = 1;
/** Most characters of the reason for a bad message. */
const MOST_REASON = 300;

/** How a {@linkcode ServerLog} prints. */
export interface ServerLogOptions {
  /** Milliseconds, from any beginning. @default {performance.now} */
  now?: () => number;
  /** Takes the lines, unless only errors are wanted. */
  output?: LogSink;
  /** Takes the lines about errors. */
  errors: LogSink;
}

type Line = [record: Record<string, unknown>, text: string];

/** Turns the events of a server into lines. */
export class ServerLog {
  readonly #output: LogSink | undefined;
  readonly #errors: LogSink;
  readonly #now: () => number;
  readonly #throttles = new Map<string, Throttle>();
  readonly #peers = new WeakMap<Connection, { name: string; since: number }>();
  #connections = 0;
  #isAcceptFailing = false;

  /** Makes a log that has printed nothing yet. */
  constructor(
    { output, errors, now = () => performance.now() }: ServerLogOptions,
  ) {
    this.#output = output;
    this.#errors = errors;
    this.#now = now;
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
      case "failed":
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
    this.#few(`message ${direction}`, () => {
      const bytes = new TextEncoder().encode(compact(message)).length;
      const peer = this.#nameOf(connection);
      const text = `${peer} message ${direction}, ${count(bytes, "byte")}`;
      return [{ peer, direction, bytes }, text];
    });
  }

  /** Prints the name of a method that is called, which is one that exists. */
  call(connection: Connection, method: string): void {
    this.#few("call", () => {
      const peer = this.#nameOf(connection);
      return [{ peer, method }, `${peer} calls ${method}`];
    });
  }

  /** Prints why a message or a reply was not valid. */
  badMessage(connection: Connection, error: unknown): void {
    this.#few("badMessage", () => {
      const peer = this.#nameOf(connection);
      const reason = reasonOf(error);
      return [{ peer, reason }, `${peer}: ${reason}`];
    });
  }

  /** Prints that lines cannot be printed, which is no reason to stop. */
  printFailed(error: unknown): void {
    const reason = clause(error);
    this.#errors.print(
      { type: "printFailed", reason },
      `server: cannot print: ${reason}; going on without`,
    );
  }

  /** Warns of a server that anyone may use. */
  open(): void {
    this.#print(
      { type: "open" },
      "Anyone who can reach this machine can connect: no --tls-cert, no --token-file",
    );
  }

  /** Prints how many lines were left out since the last line of each kind. */
  end(): void {
    for (const [kind, throttle] of this.#throttles) {
      const lines = throttle.takeOmitted();
      if (lines === 0) continue;
      this.#print(
        { type: "omitted", kind, lines },
        `${count(lines, "line")} of "${kind}" left out since the last one`,
      );
    }
  }

  #connected(connection: Connection): void {
    this.#isAcceptFailing = false;
    const name = peerName(connection.remoteAddr, ++this.#connections);
    this.#peers.set(connection, { name, since: performance.now() });
    this.#few(
      "connected",
      () => [{ peer: name }, `${name} connected`],
    );
  }

  #closed(connection: Connection, end: ConnectionEnd): void {
    this.#few("closed", () => {
      const { name, since } = this.#peers.get(connection)!;
      const {
        messagesReceived: messagesIn,
        messagesSent: messagesOut,
        bytesReceived: bytesIn,
        bytesSent: bytesOut,
      } = connection.stats();
      const milliseconds = Math.round(performance.now() - since);
      const reason = end.clean ? undefined : clause(end.cause);
      const sums = { messagesIn, messagesOut, bytesIn, bytesOut };
      return [
        { peer: name, ...sums, milliseconds, reason },
        `${name} closed after ${duration(milliseconds)}: ` +
        `${count(messagesIn, "message")} in (${count(bytesIn, "byte")}), ` +
        `${messagesOut} out (${count(bytesOut, "byte")})` +
        (end.clean ? "" : `; ${reason}`),
      ];
    });
  }

  #rejected(address: Address, reason: string, error: unknown): void {
    this.#few("rejected", () => {
      const why = error === undefined ? reason : `${reason}: ${clause(error)}`;
      const peer = peerName(address, 0);
      return [{ peer, reason: why }, `${peer} rejected: ${why}`];
    }, FEW_LINES);
  }

  /**
   * Once until a connection comes again: the server goes on trying, many times
   * a second. Peers that come and go make it no more than a line a second.
   */
  #acceptFailed(error: unknown, isOfPeer: boolean): void {
    if (isOfPeer) this.#throttle("rejected", FEW_LINES).omitted++;
    if (isOfPeer || this.#isAcceptFailing) return;
    this.#isAcceptFailing = true;
    this.#few(
      "acceptFailed",
      () => {
        const reason = clause(error);
        return [
          { reason },
          `server: cannot accept a connection: ${reason}; trying again`,
        ];
      },
      FEW_LINES,
      this.#errors,
    );
  }

  /** Prints one of few lines of its kind in a second. */
  #few(
    kind: string,
    line: () => Line,
    most = MOST_LINES,
    sink = this.#output,
  ): void {
    const others = sink && this.#throttle(kind, most).take();
    if (others === undefined) return;
    const [record, text] = line();
    const [type] = kind.split(" ");
    const left = others > 0 ? { others } : {};
    sink?.print({ type, ...record, ...left }, withOthers(text, others));
  }

  #throttle(kind: string, most: number): Throttle {
    let throttle = this.#throttles.get(kind);
    if (throttle === undefined) {
      throttle = new Throttle(most, this.#now);
      this.#throttles.set(kind, throttle);
    }
    return throttle;
  }

  #print(record: LogRecord, text: string): void {
    this.#output?.print(record, text);
  }

  #nameOf(connection: Connection): string | undefined {
    return this.#peers.get(connection)?.name;
  }
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

/** Why a message was bad, without the words of the peer. */
function reasonOf(error: unknown): string {
  const reason = error instanceof RpcError && error.isReceived
    ? `the peer sent error ${error.code}`
    : clause(error);
  return reason.length > MOST_REASON
    ? `${reason.slice(0, MOST_REASON)}…`
    : reason;
}
