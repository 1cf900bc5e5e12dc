/**
 * Hashes that a peer cannot foresee.
 *
 * @module
 */

/**
 * Chosen once by each process. The engine's own hashes have no seed for
 * numbers, and the same one everywhere for strings, so a peer could fill a
 * `Map` with keys that all lie in one place of it.
 */
const [SALT, STRING_SALT, FACTOR] = crypto.getRandomValues(new Uint32Array(3));

function mix(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), FACTOR | 1);
  hash = Math.imul(hash ^ (hash >>> 15), 0x735a2d97);
  return hash ^ (hash >>> 15);
}

/** A small whole number for a whole number or a text. */
export function saltedHash(key: number | string): number {
  let hash: number;
  if (typeof key === "number") {
    hash = mix(SALT ^ (key | 0)) ^ Math.floor(key / 4_294_967_296);
  } else {
    hash = STRING_SALT;
    for (let i = 0; i < key.length; i++) {
      hash = Math.imul(hash ^ key.charCodeAt(i), FACTOR | 1);
      hash ^= hash >>> 15;
    }
  }
  // What the engine need not allocate.
  return mix(hash) & 0x3fff_ffff;
}
