/**
 * Servers that want a login from a client that has no secret.
 *
 * @module
 */
import { type Connection, encodeFrame, type JsonValue } from "../mod.ts";
import { compact } from "./output.ts";
import { Failure } from "./program.ts";

/** What such a server says to a first message that is no login. */
const REFUSAL: JsonValue = { authenticated: false };

/** Whether a first reply is no reply, but a refusal. */
export function isRefusal(reply: JsonValue): boolean {
  return compact(reply) === compact(REFUSAL);
}

/**
 * Whether a refusal is all that came. As it answers no call, nothing else tells
 * a caller.
 */
export function isRefused({ stats }: Connection): boolean {
  return stats.messagesReceived === 1 &&
    stats.bytesReceived === encodeFrame(REFUSAL).length;
}

/** Why there is no reply. */
export function wantsLogin(place: string): Failure {
  return new Failure(
    `${place} wants a login; give the secret with --token-file or --token-env`,
  );
}
