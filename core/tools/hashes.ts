/**
 * What a peer chooses, kept out of one bucket of a table: the engine's hashes
 * have no seed for numbers, and the same one everywhere for text.
 *
 * @module
 */

/**
 * A string of at most ten digits, by its first one. What looks like one inside
 * of another string, behind an escaped quotation mark, means the same when it is
 * escaped.
 */
const DIGITS = /"(\d)(?=\d{0,9}")/g;

/**
 * Writes the first digit of each short string of digits as an escape: the JSON
 * means the same.
 *
 * V8 keeps short strings of a JSON text in a table that all of the process
 * shares, and the hash of one that could be an array index is its number, which
 * a peer can choose so that all land in one bucket. A string with an escape is
 * not kept there.
 */
export function escapeDigits(json: string): string {
  return json.replace(DIGITS, '"\\u003$1');
}

/**
 * Chosen once by each process, so that a peer cannot choose keys that all lie in
 * one bucket of a `Map`.
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
