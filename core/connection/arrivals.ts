/**
 * What had arrived before a request, and was not read yet.
 *
 * @module
 */
import type { Closing } from "./closing.ts";
import { LOOKING_ROUNDS, nextRound, QUIET_ROUNDS } from "../tools/schedule.ts";

/**
 * Resolves when all that had arrived at this machine has been read: the platform
 * has looked for it, and a read waits for more. Never rejects.
 */
export async function arrivalsRead<T>(link: Closing<T>): Promise<void> {
  let seen = link.bytesReceived;
  let quiet = 0;
  for (let i = 1; i < LOOKING_ROUNDS || quiet < QUIET_ROUNDS; i++) {
    await nextRound();
    if (!link.isReceiving) return;
    const { bytesReceived } = link;
    quiet = link.isListening && bytesReceived === seen ? quiet + 1 : 0;
    seen = bytesReceived;
  }
}
