/**
 * Copies what fits of `source` into `target`, from `offset` on; returns the
 * number of bytes copied.
 */
export function copy(
  source: Uint8Array,
  target: Uint8Array,
  offset = 0,
): number {
  const start = Math.min(Math.max(0, offset), target.length);
  const count = Math.min(source.length, target.length - start);
  target.set(
    count === source.length ? source : source.subarray(0, count),
    start,
  );
  return count;
}
