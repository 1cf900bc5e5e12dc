/**
 * Servers that want a login from a client that has no secret.
 *
 * @module
 */
import { Failure } from "./program.ts";

/** Why there is no reply. */
export function wantsLogin(place: string): Failure {
  return new Failure(
    `${place} wants a login; give the secret with --token-file or --token-env`,
  );
}
