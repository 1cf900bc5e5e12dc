/**
 * Connections that are not encrypted or authenticated yet.
 *
 * @module
 */

/** A connection in its handshake. */
export interface PendingConnection {
  /** What counts as its peer; `undefined` where that is not known. */
  readonly peer: string | undefined;
  /** When it was accepted, in milliseconds. */
  readonly since: number;
}

/**
 * Pending connections by their peers: where one has to make room, it is one of
 * the peer that has the most, so that no peer crowds the others out.
 */
export class PendingConnections<P extends PendingConnection>
  implements Iterable<P> {
  readonly #byPeer = new Map<string | undefined, Set<P>>();
  #size = 0;

  /** Number of pending connections. */
  get size(): number {
    return this.#size;
  }

  /** Adds one, which is the youngest. */
  add(pending: P): void {
    const others = this.#byPeer.get(pending.peer);
    if (others === undefined) {
      this.#byPeer.set(pending.peer, new Set([pending]));
    } else others.add(pending);
    this.#size++;
  }

  /** Removes one, if it is there. */
  delete(pending: P): void {
    const others = this.#byPeer.get(pending.peer);
    if (!others?.delete(pending)) return;
    this.#size--;
    if (others.size === 0) this.#byPeer.delete(pending.peer);
  }

  /**
   * The oldest one of the peer that has the most; among peers with as many, the
   * oldest of all.
   */
  first(): P | undefined {
    let found: P | undefined;
    let most = 0;
    for (const all of this.#byPeer.values()) {
      const [oldest] = all;
      if (
        all.size > most || all.size === most && oldest.since < found!.since
      ) {
        found = oldest;
        most = all.size;
      }
    }
    return found;
  }

  /** Gives all of them. */
  *[Symbol.iterator](): Generator<P> {
    for (const all of this.#byPeer.values()) yield* all;
  }
}
