/**
 * What a way of exchanging messages has to offer to be measured. Every peer
 * answers `{"message":X}` with `{"status":"success","echo":X}`.
 */

/** What a client sends. */
export interface Message {
  readonly message: string;
  readonly type: "text";
}

/** What a server answers. */
export interface Reply {
  readonly status: string;
  readonly echo: unknown;
}

/** Both ends of a way of exchanging messages. */
export interface Peer {
  /** Starts a server on a free port of 127.0.0.1, and resolves to the port. */
  serve(): number | Promise<number>;
  /** Opens one connection to it. */
  connect(port: number): Client | Promise<Client>;
}

/** One open connection. */
export interface Client {
  /** Exchanges messages until there is no next one and every reply has come. */
  exchange(work: Work): Promise<void>;
}

/** What one connection has to do. */
export interface Work {
  /** Messages that are open at the same time. */
  readonly inFlight: number;
  /** The next message, or `undefined` when it is enough. */
  next(): Message | undefined;
  /** Checks the reply to a message, and counts it. */
  check(message: Message, reply: Reply): void;
}

/**
 * A workload of the round trips: so many connections, each with so many
 * messages open, each with a text of so many bytes.
 */
export interface Workload {
  readonly connections: number;
  readonly inFlight: number;
  readonly textBytes: number;
  readonly milliseconds: number;
}
