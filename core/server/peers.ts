/**
 * Limits for each address: connections, and failed logins.
 *
 * @module
 */
import type { LoginLimit } from "../auth/auth.ts";
import type { Address } from "../connection/connection.ts";

/** Failures after which a peer has to wait. */
const MOST_FAILURES = 5;
/** Milliseconds for which failures count. */
const FAILURE_TIME = 1_000;
/** Peers whose failures are kept; beyond it, the oldest are forgotten. */
const MOST_PEERS = 10_000;

interface Failures {
  count: number;
  since: number;
}

/**
 * What counts as one peer: an IPv4 address, also where IPv6 carries it; the
 * first half of an IPv6 address, since the owner of one has all of the other
 * half. A Unix socket does not tell.
 */
export function peerOf(address: Address): string | undefined {
  if (address.transport === "unix") return undefined;
  const { hostname } = address;
  const mapped = /^::ffff:([\d.]+)$/i.exec(hostname);
  if (mapped !== null) return mapped[1];
  if (!hostname.includes(":")) return hostname;
  const [head, tail = []] = hostname.split("::").map((half) =>
    half.split(":").filter((group) => group !== "")
  );
  const zeros = Array(8 - head.length - tail.length).fill("0");
  const groups = [...head, ...zeros, ...tail];
  return `${groups.slice(0, 4).join(":")}::/64`;
}

/**
 * Which of the pending connections makes room for another one, so that no peer
 * crowds the others out: the oldest of the peer that has the most of them; among
 * peers with as many, the oldest of all.
 *
 * @param pending The oldest first.
 */
export function firstToGo<P extends { readonly peer: string | undefined }>(
  pending: Iterable<P>,
): P | undefined {
  const groups = [...Map.groupBy(pending, ({ peer }) => peer).values()];
  const [most] = groups.sort((a, b) => b.length - a.length);
  return most?.[0];
}

/**
 * Counts the connections of each peer, and its failures to authenticate. It
 * keeps nothing of addresses that have none.
 */
export class Admission {
  readonly #most: number;
  readonly #connections = new Map<string, number>();
  /** The oldest first. */
  readonly #failures = new Map<string, Failures>();

  /** Allows each peer so many connections at a time. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Addresses of which anything is kept. */
  get size(): number {
    return this.#connections.size + this.#failures.size;
  }

  /** Counts one more connection, unless the peer has as many as it may have. */
  enter(peer: string | undefined): boolean {
    if (peer === undefined) return true;
    const count = this.#connections.get(peer) ?? 0;
    if (count >= this.#most) return false;
    this.#connections.set(peer, count + 1);
    return true;
  }

  /** Counts one connection less. */
  leave(peer: string | undefined): void {
    if (peer === undefined) return;
    const count = this.#connections.get(peer) ?? 0;
    if (count > 1) this.#connections.set(peer, count - 1);
    else this.#connections.delete(peer);
  }

  /** Counts one more failure to log in; `now` is in milliseconds. */
  fail(peer: string, now: number): void {
    this.#forget(now);
    const failures = this.#failures.get(peer);
    if (failures === undefined) {
      if (this.#failures.size >= MOST_PEERS) {
        const [oldest] = this.#failures.keys();
        this.#failures.delete(oldest);
      }
      this.#failures.set(peer, { count: 1, since: now });
    } else failures.count++;
  }

  /** Whether a peer has failed so often that it has to wait. */
  isBarred(peer: string, now: number): boolean {
    this.#forget(now);
    return (this.#failures.get(peer)?.count ?? 0) >= MOST_FAILURES;
  }

  /** Counts the failures of one peer, so that few can guess. */
  limitFor(peer: string | undefined): LoginLimit | undefined {
    return peer === undefined ? undefined : {
      isBarred: () => this.isBarred(peer, performance.now()),
      fail: () => this.fail(peer, performance.now()),
    };
  }

  #forget(now: number): void {
    for (const [peer, { since }] of this.#failures) {
      if (now - since < FAILURE_TIME) return;
      this.#failures.delete(peer);
    }
  }
}
