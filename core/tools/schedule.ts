/**
 * Giving way to others: yielding to the event loop, fair rounds, and every number
 * that says when.
 *
 * @module
 */
import { setImmediate, setTimeout } from "node:timers";

/**
 * Rounds of the event loop in which a read comes back that need not wait. Of 300
 * reads over TCP and 300 of a Web Stream, each took one round.
 */
export const READY_ROUNDS = 4;
/**
 * Rounds in which the platform has looked for I/O: while something is left to
 * do, it does so in every 61st. Then 299 of 300 pending reads took 58 rounds.
 */
export const LOOKING_ROUNDS = 64;
/**
 * Rounds that what was read may take to come through TLS or a stream. A Web
 * Stream takes one; the others are for layers that take several.
 */
export const QUIET_ROUNDS = 8;
/**
 * Microtasks within which the code that awaits each send, or each reply, is back
 * with the next. Sends in an async function leave one in a write with 0, 16
 * together with 1, and 31 with 2; one more function takes one more.
 */
export const BACK_WITHIN = 4;
/**
 * The same for a generator with its next item. Items leave one in a write with
 * 1, and together from 2 on; with one `await` before each item from 3 on.
 */
export const NEXT_ITEM_WITHIN = 6;
/**
 * Replies that are handed out before the code that waits for them goes on, so
 * that its next requests leave while the rest follows. With 512 open, a request
 * takes 1.5 to 2.5 µs of CPU with 8, and 1.1 to 1.6 with 32 or 128.
 */
export const REPLY_RUN = 32;
/**
 * So many messages are worth a write of their own: the peer works on them while
 * the next ones are made. With 512 open, a request takes 1.2 to 1.9 µs of CPU
 * whether this is 8, 32 or 128, so the peer may as well begin early.
 */
export const WORTH_A_WRITE = 32;

/** Resolves in the next round of the event loop. */
export function nextRound(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/**
 * The platform looks for I/O when nothing else is left to do, or in every 61st
 * round: where one connection always has something to do, others would wait for
 * that. So everybody rests at least this often, in milliseconds. It has its
 * price: eight connections with 64 requests each have a p99 of 1.1 ms or more,
 * and of 0.7 ms with a rest a thousand times rarer.
 */
const REST_INTERVAL = 25;

let restedAt = 0;
let rest: Promise<void> | undefined;

/** Resolves when other connections have had their round. */
export function giveWay(): Promise<void> {
  if (performance.now() - restedAt < REST_INTERVAL) return nextRound();
  return rest ??= new Promise((resolve) => {
    setTimeout(() => {
      restedAt = performance.now();
      rest = undefined;
      resolve();
    }, 0);
  });
}

/**
 * Bytes read and decoded, each counted, before other connections have their
 * round: neither waits for anything while bytes are there. With this rest, large
 * messages are 10 to 40 % faster than with none.
 */
const MOST_BYTES = 262_144;
/**
 * Milliseconds of work with messages before others have their round: a rest
 * takes some 5 µs, so this one costs less than 0.1 %.
 */
const MOST_TIME = 10;
/** A message of so many bytes may take long: it takes 10 µs, a small one 1. */
const LARGE = 4_096;
/**
 * Most messages between two looks at the clock, each of which costs about half a
 * small message; fewer where the last ones took longer than `FAST` milliseconds,
 * some sixty times as long as small ones take.
 */
const MOST_UNSEEN = 32;
const FAST = 2;

/**
 * Reads that the platform completes in one round of the event loop. It defers
 * the others until it has looked for I/O, and then puts them behind whatever has
 * become ready: of 1 000 busy connections some are read again and again, and
 * others not for a second.
 */
const FULL_ROUND = 128;
/**
 * Looks for I/O, about a millisecond apart, without a read before all
 * connections that rest read again.
 */
const QUIET_LOOKS = 4;

/** What {@linkcode Rounds} hear of the event loop. */
export interface RoundEvents {
  /** Calls `end` once, at the end of the current round. */
  atEnd(end: () => void): void;
  /** Calls `then` once, after the platform has looked for I/O. */
  afterLook(then: () => void): void;
}

const EVENT_LOOP: RoundEvents = {
  atEnd: (end) => void setImmediate(end),
  afterLook: (then) => void setTimeout(then, 0),
};

/** Who reads, with the round and the cycle of its last read that counted. */
export interface Reader {
  round: number;
  cycle: number;
}

/**
 * Fair rounds: while more connections have something to read than fit in a
 * round, each is read once in a cycle of rounds, and rests until the next cycle.
 *
 * ```
 * uncrowded ── a full round ──▶ crowded: reads once in a cycle, then rests
 *     ▲                            │ the cycle ends: all read again
 *     └── no round was full ◀──────┘
 * ```
 *
 * A cycle ends with two rounds in a row that are not full (the platform counts
 * more than reads, so one may be cut short), or as soon as it has had as many
 * reads as the last cycle that ended because no more came.
 *
 * To hear of the end of a round takes a microsecond and keeps the platform from
 * waiting for I/O, so it is asked for in every round only while crowded, and
 * twice in 128 reads otherwise, at most.
 */
export class Rounds {
  readonly #events: RoundEvents;
  #round = 0;
  /** Connections that were read since the last end of a round. */
  #reads = 0;
  /** Whether that was the end of the round before, so `#reads` are of one. */
  #isExact = false;
  #awaitsEnd = false;
  #isCrowded = false;
  #cycle = 0;
  /** Reads of the cycle, and whether one of its rounds was full. */
  #readsOfCycle = 0;
  #wasFull = false;
  /** Whether the round before was the first that was not full. */
  #isShort = false;
  /** Reads of the last cycle that ended because no more came. */
  #most = Infinity;
  /** Looks for I/O since the last read. */
  #looks = 0;
  #rest: PromiseWithResolvers<void> | undefined;

  /** Follows the event loop, unless a test hands in another. */
  constructor(events: RoundEvents = EVENT_LOOP) {
    this.#events = events;
  }

  /**
   * Counts a read. The second of a connection in one round does not count: a few
   * whose bytes are in memory read any number of times, and crowd out nobody.
   */
  count(reader: Reader): void {
    if (reader.round === this.#round) return;
    reader.round = this.#round;
    this.#reads++;
    if (!this.#awaitsEnd && (this.#isExact || this.#reads >= FULL_ROUND)) {
      this.#awaitEnd();
    }
    // It was not read in the cycle before, so more are busy now than then.
    if (reader.cycle < this.#cycle - 1) this.#most = Infinity;
    reader.cycle = this.#cycle;
  }

  /** Resolves when a connection may read again; `undefined` if it may now. */
  rest(reader: Reader): Promise<void> | undefined {
    if (!this.#isCrowded || reader.cycle !== this.#cycle) return undefined;
    if (this.#rest === undefined) {
      this.#rest = Promise.withResolvers();
      this.#awaitQuiet();
    }
    return this.#rest.promise;
  }

  #awaitEnd(): void {
    this.#awaitsEnd = true;
    this.#events.atEnd(this.#end);
  }

  readonly #end = (): void => {
    this.#awaitsEnd = false;
    const reads = this.#reads;
    this.#reads = 0;
    this.#round++;
    this.#looks = 0;
    if (!this.#isExact) {
      this.#isExact = true;
      return;
    }
    this.#readsOfCycle += reads;
    const isFull = reads >= FULL_ROUND;
    if (isFull) this.#wasFull = true;
    this.#isShort = !isFull && !this.#isShort;
    if (this.#isCrowded && this.#isShort && this.#readsOfCycle < this.#most) {
      this.#awaitEnd();
    } else if (
      !isFull || !this.#isCrowded || this.#readsOfCycle >= this.#most
    ) {
      this.#endCycle();
    }
  };

  #awaitQuiet(): void {
    const cycle = this.#cycle;
    this.#looks = 0;
    const look = () => {
      if (cycle !== this.#cycle) return;
      if (++this.#looks < QUIET_LOOKS) return this.#events.afterLook(look);
      this.#most = this.#readsOfCycle;
      this.#endCycle();
    };
    this.#events.afterLook(look);
  }

  #endCycle(): void {
    this.#cycle++;
    this.#isExact = this.#isCrowded = this.#wasFull;
    this.#wasFull = this.#isShort = false;
    this.#readsOfCycle = 0;
    const rest = this.#rest;
    this.#rest = undefined;
    rest?.resolve();
  }
}

const ROUNDS = new Rounds();

/** What one connection may do before it rests. */
export class Share implements Reader {
  readonly #rounds: Rounds;
  /** See {@linkcode Reader}. */
  round = -1;
  /** See {@linkcode Reader}. */
  cycle = -1;
  #bytes = 0;
  /** Milliseconds of work that were seen, and until when. */
  #time = 0;
  #seenUntil = Date.now();
  /** Messages between two looks at the clock, and those that are left. */
  #step = 1;
  #left = 1;

  /** Reads in the rounds of all connections, unless a test hands in others. */
  constructor(rounds: Rounds = ROUNDS) {
    this.#rounds = rounds;
  }

  /** Resolves when it may read again; `undefined` if it may now. */
  rest(): Promise<void> | undefined {
    return this.#rounds.rest(this);
  }

  /** So many bytes were read. What was before was no work, as far as is known. */
  read(bytes: number): void {
    this.#rounds.count(this);
    this.#bytes += bytes;
    if (this.#step === 1) this.#seenUntil = Date.now();
  }

  /** So many bytes were decoded. */
  decoded(bytes: number): void {
    this.#bytes += bytes;
    if (bytes >= LARGE) this.#left = 1;
  }

  /** Whether to rest for the bytes; then all begins anew. */
  get isFull(): boolean {
    if (this.#bytes <= MOST_BYTES) return false;
    this.#bytes = 0;
    return true;
  }

  /**
   * Whether to rest for the time, behind a message of so many bytes; it is asked
   * once for each.
   */
  isSpent(bytes: number): boolean {
    if (--this.#left > 0 && bytes < LARGE) return false;
    const now = Date.now();
    // A clock that was put back tells nothing.
    const time = Math.max(0, now - this.#seenUntil);
    this.#seenUntil = now;
    this.#left = this.#step = time < FAST
      ? Math.min(2 * this.#step, MOST_UNSEEN)
      : 1;
    this.#time += time;
    if (this.#time < MOST_TIME) return false;
    this.#time = 0;
    return true;
  }
}
