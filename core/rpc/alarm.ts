/**
 * Looking for what is late, when something may be.
 *
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";

/** The longest that a timer takes; what is later is looked at again then. */
const MOST_DELAY = 2 ** 31 - 1;

/** A look is at all calls, so it rests so many times as long as one took. */
const REST = 9;

/** What has deadlines. */
export interface Punctual {
  /** Nothing is late before. */
  readonly earliest: number;
  /** Ends what is late. */
  stopLate(now: number): void;
}

/** The time now, in whole milliseconds. */
export function now(): number {
  return Math.floor(performance.now());
}

/** One timer for all deadlines. */
export class Alarm {
  readonly #members: Punctual[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #at = Infinity;
  /** When it may look again. */
  #restsUntil = -Infinity;
  #keepsAlive = false;

  /** Looks for what is late there, too. */
  add(member: Punctual): void {
    this.#members.push(member);
  }

  /** Looks for what is late at that time. */
  watch(deadline: number): void {
    const at = Math.max(deadline, this.#restsUntil);
    if (at >= this.#at) return;
    clearTimeout(this.#timer);
    this.#at = at;
    this.#timer = setTimeout(
      () => this.#look(),
      Math.min(Math.max(1, Math.ceil(at - now())), MOST_DELAY),
    );
    // Waiting for a connection keeps the process alive.
    if (!this.#keepsAlive) this.#timer.unref();
  }

  /** Keeps the process alive from now on, or does not. */
  keepAlive(keepsAlive: boolean): void {
    this.#keepsAlive = keepsAlive;
    if (keepsAlive) this.#timer?.ref();
    else this.#timer?.unref();
  }

  #look(): void {
    this.#at = Infinity;
    const time = now();
    for (const member of this.#members) member.stopLate(time);
    const end = now();
    this.#restsUntil = end + REST * (end - time);
    for (const { earliest } of this.#members) this.watch(earliest);
  }

  /** Looks no more. */
  stop(): void {
    this.#at = -Infinity;
    clearTimeout(this.#timer);
  }
}
