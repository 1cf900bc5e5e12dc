/**
 * Who may have one more connection: limits for each peer.
 *
 * @module
 */
import type { Address } from "./connection.ts";

/** Failures after which a peer has to wait. */
const MOST_FAILURES = 5;
/** Milliseconds for which failures count. */
const FAILURE_TIME = 1_000;

interface Failures {
  count: number;
  since: number;
}

/**
 * An attempt to authenticate. Called when it may be judged, or must not be as
 * the peer is barred.
 */
export type Attempt = (isBarred: boolean) => void;

/** Those of one peer, the oldest first. */
interface Attempts {
  readonly judged: Set<Attempt>;
  readonly waiting: Set<Attempt>;
}

/**
 * What counts as one peer: an IPv4 address, also where IPv6 carries it; the
 * first half of an IPv6 address, as whoever has one has all of the other half.
 * A Unix socket does not tell.
 */
export function peerOf(address: Address): string | undefined {
  if (address.transport === "unix") return undefined;
  const { hostname } = address;
  const mapped = /^::ffff:([\d.]+)$/i.exec(hostname);
  if (mapped !== null) return mapped[1];
  if (!hostname.includes(":")) return hostname;
  const [head, tail] = hostname.split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail ? tail.split(":").length : 0;
  if (tail !== undefined) {
    while (groups.length < 8 - after) groups.push("0");
    if (after > 0) groups.push(...tail.split(":"));
  }
  return `${groups.slice(0, 4).join(":")}::/64`;
}

/**
 * Counts the connections of each peer, and its failures to authenticate. It
 * keeps nothing of those who have none.
 */
export class Admission {
  readonly #most: number;
  readonly #connections = new Map<string, number>();
  /** The oldest first. */
  readonly #failures = new Map<string, Failures>();
  readonly #attempts = new Map<string, Attempts>();

  /** Allows each peer so many connections at a time. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Peers of whom anything is kept. */
  get size(): number {
    return this.#connections.size + this.#failures.size + this.#attempts.size;
  }

  /** Counts one more connection, unless the peer has as many as it may have. */
  enter(peer: string): boolean {
    const count = this.#connections.get(peer) ?? 0;
    if (count >= this.#most) return false;
    this.#connections.set(peer, count + 1);
    return true;
  }

  /** Counts one connection less. */
  leave(peer: string): void {
    const count = this.#connections.get(peer) ?? 0;
    if (count > 1) this.#connections.set(peer, count - 1);
    else this.#connections.delete(peer);
  }

  /**
   * Has an attempt judged as soon as it could fail without being one too many;
   * `now` is in milliseconds.
   */
  attempt(peer: string, attempt: Attempt, now: number): void {
    const attempts = this.#attempts.get(peer) ??
      { judged: new Set(), waiting: new Set() };
    attempts.waiting.add(attempt);
    this.#attempts.set(peer, attempts);
    this.#advance(peer, now);
  }

  /** Ends an attempt, whether it was judged or not. */
  settle(peer: string, attempt: Attempt, failed: boolean, now: number): void {
    if (failed) this.#fail(peer, now);
    const attempts = this.#attempts.get(peer);
    attempts?.judged.delete(attempt);
    attempts?.waiting.delete(attempt);
    this.#advance(peer, now);
  }

  #advance(peer: string, now: number): void {
    const attempts = this.#attempts.get(peer);
    if (attempts === undefined) return;
    const { judged, waiting } = attempts;
    const isBarred = this.isBarred(peer, now);
    const failures = this.#failures.get(peer)?.count ?? 0;
    for (const attempt of waiting) {
      if (!isBarred && judged.size + failures >= MOST_FAILURES) return;
      waiting.delete(attempt);
      if (!isBarred) judged.add(attempt);
      attempt(isBarred);
    }
    if (judged.size === 0) this.#attempts.delete(peer);
  }

  #fail(peer: string, now: number): void {
    this.#forget(now);
    const failures = this.#failures.get(peer);
    if (failures === undefined) {
      this.#failures.set(peer, { count: 1, since: now });
    } else failures.count++;
  }

  /** Whether a peer has failed so often that it has to wait. */
  isBarred(peer: string, now: number): boolean {
    this.#forget(now);
    return (this.#failures.get(peer)?.count ?? 0) >= MOST_FAILURES;
  }

  #forget(now: number): void {
    for (const [peer, { since }] of this.#failures) {
      if (now - since < FAILURE_TIME) return;
      this.#failures.delete(peer);
    }
  }
}
