/**
 * Keys of tables that a peer fills.
 *
 * @module
 */

/**
 * Chosen once by each process. The engine's own hashes have no seed for
 * numbers, and the same one everywhere for text, so a peer could choose keys
 * that all lie in one bucket of a `Map`.
 */
const [SALT, TEXT_SALT, FACTOR] = crypto.getRandomValues(new Uint32Array(3));

/** Makes another one of each 32-bit number. */
function mix(number: number): number {
  number = Math.imul(number ^ (number >>> 16), FACTOR | 1);
  number = Math.imul(number ^ (number >>> 15), 0x735a2d97);
  return number ^ (number >>> 15);
}

/**
 * A key that stands for a number or a text, and for no other, but whose hash
 * cannot be foreseen. Anything else stands for itself.
 */
export function saltedKey(value: unknown): unknown {
  if (typeof value === "number") {
    const small = value | 0;
    return small === value ? mix(small ^ SALT) : saltedText(`${value}`, "#");
  }
  return typeof value === "string" ? saltedText(value, '"') : value;
}

function saltedText(text: string, mark: string): string {
  let hash = TEXT_SALT;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), FACTOR | 1);
    hash ^= hash >>> 15;
  }
  return mix(hash) + mark + text;
}
