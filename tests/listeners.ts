/** What stays on signals that are not ours. */
import { getEventListeners } from "node:events";

/** Where the platform keeps what depends on a signal without listening to it. */
const DEPENDENTS = /abortAlgos|dependentSignals/;

/** Counts who waits for a signal: listeners, and signals made of it. */
export function waitersOf(signal: AbortSignal): number {
  let count = getEventListeners(signal, "abort").length;
  for (const key of Object.getOwnPropertySymbols(signal)) {
    if (!DEPENDENTS.test(String(key))) continue;
    count += (Reflect.get(signal, key) as Set<unknown> | null)?.size ?? 0;
  }
  return count;
}
