/**
 * Calls by their ids, and when which of them is late.
 *
 * @module
 */
import { Deadlines, type Timed } from "../tools/deadlines.ts";

interface Ordered<Call> extends Timed {
  readonly key: unknown;
  readonly call: Call;
}

/**
 * Calls by their ids. Nearly all are done in time, so they are put into an order
 * by their deadlines only when one of them may be late.
 */
export class CallTable<Id, Call extends { readonly deadline: number }> {
  readonly #keyOf: ((id: Id) => unknown) | undefined;
  /** Those without an order, and their earliest deadline. */
  #fresh = new Map<unknown, Call>();
  #freshEarliest = Infinity;
  readonly #ordered = new Map<unknown, Ordered<Call>>();
  readonly #deadlines = new Deadlines<Ordered<Call>>();

  /**
   * Makes an empty table. Where a peer chooses the ids, `keyOf` gives keys that
   * stand for them.
   */
  constructor(keyOf?: (id: Id) => unknown) {
    this.#keyOf = keyOf;
  }

  /** Number of calls. */
  get size(): number {
    return this.#fresh.size + this.#ordered.size;
  }

  /**
   * No call is late before this time; `Infinity` if none ever is. It is not
   * always the deadline of a call, as one that is taken may leave it as it was.
   */
  get earliest(): number {
    return Math.min(this.#freshEarliest, this.#deadlines.earliest);
  }

  #key(id: Id): unknown {
    return this.#keyOf === undefined ? id : this.#keyOf(id);
  }

  /** Adds a call under an id that no other has. */
  add(id: Id, call: Call): void {
    this.#fresh.set(this.#key(id), call);
    const { deadline } = call;
    if (deadline < this.#freshEarliest) this.#freshEarliest = deadline;
  }

  /** The call of that id. */
  get(id: Id): Call | undefined {
    const key = this.#key(id);
    return this.#fresh.get(key) ?? this.#ordered.get(key)?.call;
  }

  /** All calls. */
  *values(): IterableIterator<Call> {
    for (const { call } of this.#ordered.values()) yield call;
    yield* this.#fresh.values();
  }

  /** Removes and gives the call of that id. */
  take(id: Id): Call | undefined {
    const key = this.#key(id);
    const call = this.#fresh.get(key);
    if (call !== undefined) {
      this.#fresh.delete(key);
      return call;
    }
    const ordered = this.#ordered.get(key);
    if (ordered === undefined) return undefined;
    this.#ordered.delete(key);
    this.#deadlines.finish(ordered);
    return ordered.call;
  }

  /** Removes and gives the calls whose deadline is not after `now`. */
  takeLate(now: number): Call[] {
    const late: Call[] = [];
    if (now < this.earliest) return late;
    this.#order();
    for (let next; (next = this.#deadlines.takeLate(now)) !== undefined;) {
      const { key, call } = next;
      if (call.deadline <= now) {
        this.#ordered.delete(key);
        late.push(call);
      } else { // it was put off
        next.dueAt = call.deadline;
        this.#deadlines.add(next);
      }
    }
    return late;
  }

  #order(): void {
    const fresh = this.#fresh;
    this.#fresh = new Map();
    this.#freshEarliest = Infinity;
    for (const [key, call] of fresh) {
      const ordered = { key, call, dueAt: call.deadline, isDone: false };
      this.#ordered.set(key, ordered);
      this.#deadlines.add(ordered);
    }
  }

  /** Removes and gives all calls. */
  takeAll(): Call[] {
    const all = [...this.values()];
    this.#fresh = new Map();
    this.#freshEarliest = Infinity;
    this.#ordered.clear();
    this.#deadlines.clear();
    return all;
  }
}
