/**
 * Calls by their ids, and when which of them is late.
 *
 * @module
 */
import { Deadlines, type Timed } from "../tools/deadlines.ts";
import { saltedHash } from "../tools/salted_hash.ts";

interface Entry<Id, Call> extends Timed {
  readonly id: Id;
  readonly call: Call;
  /** Another one with the same hash. */
  next: Entry<Id, Call> | undefined;
}

/**
 * Peers choose ids and deadlines, and neither decides what finding a call
 * costs. An id that is no number or text, but an object, is its own key.
 */
export class CallTable<Id, Call extends { readonly deadline: number }> {
  readonly #entries = new Map<unknown, Entry<Id, Call>>();
  readonly #deadlines = new Deadlines<Entry<Id, Call>>();
  #size = 0;

  /** Number of calls. */
  get size(): number {
    return this.#size;
  }

  /**
   * No call is late before this time; `Infinity` if none ever is. It is not
   * always the deadline of a call, as one that is taken may leave it as it was.
   */
  get earliest(): number {
    return this.#deadlines.earliest;
  }

  /** Adds a call under an id that no other has. */
  add(id: Id, call: Call): void {
    const key = keyOf(id);
    const next = this.#entries.get(key);
    const dueAt = call.deadline;
    const entry = { id, call, dueAt, isDone: false, next };
    this.#entries.set(key, entry);
    this.#deadlines.add(entry);
    this.#size++;
  }

  /** The call of that id. */
  get(id: Id): Call | undefined {
    let entry = this.#entries.get(keyOf(id));
    while (entry !== undefined && entry.id !== id) entry = entry.next;
    return entry?.call;
  }

  /** All calls. */
  *values(): IterableIterator<Call> {
    for (let entry of this.#entries.values()) {
      for (;;) {
        const { call, next } = entry;
        yield call;
        if (next === undefined) break;
        entry = next;
      }
    }
  }

  /** Removes and gives the call of that id. */
  take(id: Id): Call | undefined {
    const entry = this.#remove(id);
    if (entry !== undefined) this.#deadlines.finish(entry);
    return entry?.call;
  }

  #remove(id: Id): Entry<Id, Call> | undefined {
    const key = keyOf(id);
    let previous: Entry<Id, Call> | undefined;
    let entry = this.#entries.get(key);
    while (entry !== undefined && entry.id !== id) {
      previous = entry;
      entry = entry.next;
    }
    if (entry === undefined) return undefined;
    if (previous !== undefined) previous.next = entry.next;
    else if (entry.next !== undefined) this.#entries.set(key, entry.next);
    else this.#entries.delete(key);
    this.#size--;
    return entry;
  }

  /** Removes and gives the calls whose deadline is not after `now`. */
  takeLate(now: number): Call[] {
    const late: Call[] = [];
    for (let entry; (entry = this.#deadlines.takeLate(now)) !== undefined;) {
      const { id, call } = entry;
      if (call.deadline <= now) {
        this.#remove(id);
        late.push(call);
      } else { // it was put off
        entry.dueAt = call.deadline;
        this.#deadlines.add(entry);
      }
    }
    return late;
  }

  /** Removes and gives all calls. */
  takeAll(): Call[] {
    const all = [...this.values()];
    this.#entries.clear();
    this.#deadlines.clear();
    this.#size = 0;
    return all;
  }
}

function keyOf(id: unknown): unknown {
  return typeof id === "number" || typeof id === "string" ? saltedHash(id) : id;
}
