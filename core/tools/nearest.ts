/**
 * What was meant by a name that does not exist.
 *
 * @module
 */

/** Letters of a name that is part of another which say what was meant. */
const LEAST_PART = 3;
/** Longer names are like none, and would cost too much to compare. */
const MOST_LENGTH = 64;

/**
 * The name that is most like another one: it begins or ends with it, such as
 * `hostname` for `host`, or differs in at most every second letter.
 */
export function nearest(
  name: string,
  names: readonly string[],
): string | undefined {
  if (name.length > MOST_LENGTH) return undefined;
  const most = Math.max(1, Math.floor(name.length / 2));
  let best: string | undefined;
  let least = Infinity;
  for (const candidate of names) {
    const distance = isPart(name, candidate) ? 1 : distanceOf(name, candidate);
    if (distance > most || distance >= least) continue;
    best = candidate;
    least = distance;
  }
  return best;
}

function isPart(name: string, candidate: string): boolean {
  const [one, other] = [name.toLowerCase(), candidate.toLowerCase()]
    .sort((a, b) => a.length - b.length);
  return one.length >= LEAST_PART &&
    (other.startsWith(one) || other.endsWith(one));
}

/** Letters to insert, remove or replace; case does not count. */
function distanceOf(one: string, other: string): number {
  const from = one.toLowerCase();
  const to = other.toLowerCase();
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 0; i < from.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++) {
      next.push(Math.min(
        next[j] + 1,
        row[j + 1] + 1,
        row[j] + (from[i] === to[j] ? 0 : 1),
      ));
    }
    row = next;
  }
  return row[to.length];
}
