/**
 * Why a connection ended, in words: the outermost message of an error is the
 * one that is logged.
 *
 * @module
 */
import type { ConnectionEnd } from "./options.ts";
import { clauseOf } from "../tools/address.ts";
import { escape } from "../tools/escape.ts";

/** What the peer did, by the platform's name or code for it. */
const DEEDS: Readonly<Record<string, string>> = {
  __proto__: null as never,
  ConnectionReset: "reset the connection",
  ECONNRESET: "reset the connection",
  BrokenPipe: "has closed the connection",
  EPIPE: "has closed the connection",
  TimedOut: "no longer answers",
  ETIMEDOUT: "no longer answers",
};
/** Errors of ours, whose messages begin with what failed at that time. */
const OWN_ERROR =
  /^(?:TimeoutError|TlsError|ConnectionClosedError|AuthenticationError|InvalidMessageError|Frame\w+Error)$/;
/** Most characters of a message that is not ours. */
const MOST_TEXT = 200;

/** The part of a sentence behind "Cannot send message: ". */
export function endReason(
  { clean, cause }: ConnectionEnd,
  peer: string | undefined,
  isAborted: boolean,
): string {
  const connection = peer === undefined
    ? "the connection"
    : `the connection to ${peer}`;
  if (clean) return `${connection} is closed`;
  const { name, code, message } = textsOf(cause);
  const deed = DEEDS[name] ?? DEEDS[code];
  if (deed !== undefined) return `${peer ?? "the peer"} ${deed}`;
  const [, clause] = OWN_ERROR.test(name)
    ? /^Cannot [^:]+: ([^]+)$/.exec(message) ?? []
    : [];
  // Those of the deadlines are whole.
  if (clause !== undefined && name === "TimeoutError") return clause;
  const happened = `${connection} was ${isAborted ? "aborted" : "lost"}`;
  const why = clause ?? escape(clauseOf(message).slice(0, MOST_TEXT));
  return /^$|was aborted$/.test(why) ? happened : `${happened}: ${why}`;
}

/** What an error says of itself; anything may have been thrown. */
function textsOf(
  cause: unknown,
): { name: string; code: string; message: string } {
  const texts = { name: "", code: "", message: "" };
  try {
    if (cause instanceof Error) {
      const { name, message, code } = cause as Error & { code?: unknown };
      texts.name = String(name);
      texts.code = String(code);
      texts.message = String(message);
    }
  } catch {
    // A revoked Proxy, or a getter that throws.
  }
  return texts;
}
