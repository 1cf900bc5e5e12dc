/**
 * Calls by their ids, and when one of them may be late.
 *
 * @module
 */

/**
 * Calls by their ids. Nearly all are done in time, so that no order of their
 * deadlines is kept: all of them are looked at when one may be late.
 */
export class CallTable<Id, Call extends { readonly deadline: number }> {
  readonly #keyOf: ((id: Id) => unknown) | undefined;
  readonly #calls = new Map<unknown, Call>();
  #earliest = Infinity;

  /**
   * Makes an empty table. Where a peer chooses the ids, `keyOf` gives keys that
   * stand for them.
   */
  constructor(keyOf?: (id: Id) => unknown) {
    this.#keyOf = keyOf;
  }

  /** Number of calls. */
  get size(): number {
    return this.#calls.size;
  }

  /**
   * No call is late before this time; `Infinity` if none ever is. It is not
   * always the deadline of a call, as one that is taken may leave it as it was.
   */
  get earliest(): number {
    return this.#earliest;
  }

  #key(id: Id): unknown {
    return this.#keyOf === undefined ? id : this.#keyOf(id);
  }

  /** Adds a call under an id that no other has. */
  add(id: Id, call: Call): void {
    this.#calls.set(this.#key(id), call);
    if (call.deadline < this.#earliest) this.#earliest = call.deadline;
  }

  /** The call of that id. */
  get(id: Id): Call | undefined {
    return this.#calls.get(this.#key(id));
  }

  /** All calls. */
  values(): IterableIterator<Call> {
    return this.#calls.values();
  }

  /** Removes and gives the call of that id. */
  take(id: Id): Call | undefined {
    const key = this.#key(id);
    const call = this.#calls.get(key);
    if (call !== undefined) this.#calls.delete(key);
    return call;
  }

  /** Removes and gives the calls whose deadline is not after `now`. */
  takeLate(now: number): Call[] {
    const late: Call[] = [];
    if (now < this.#earliest) return late;
    this.#earliest = Infinity;
    for (const [key, call] of this.#calls) {
      if (call.deadline > now) {
        this.#earliest = Math.min(this.#earliest, call.deadline);
      } else {
        this.#calls.delete(key);
        late.push(call);
      }
    }
    return late;
  }

  /** Removes and gives all calls. */
  takeAll(): Call[] {
    const all = [...this.#calls.values()];
    this.#calls.clear();
    this.#earliest = Infinity;
    return all;
  }
}
