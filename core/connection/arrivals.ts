/**
 * What had arrived before a request, and was not read yet.
 *
 * @module
 */
import { LOOKING_ROUNDS, nextRound, QUIET_ROUNDS } from "../tools/schedule.ts";

/** Reads one link, and goes on as long as something is there. */
export interface ArrivalsOwner {
  /** Bytes received so far. */
  readonly bytesReceived: number;
  /** Whether a read is pending. */
  readonly isListening: boolean;
  /** Whether more may come. */
  readonly isReceiving: boolean;
}

/**
 * Resolves when all that had arrived at this machine has been read: the platform
 * has looked for it, and a read waits for more. Never rejects.
 */
export async function arrivalsRead(owner: ArrivalsOwner): Promise<void> {
  let seen = owner.bytesReceived;
  let quiet = 0;
  for (let i = 1; i < LOOKING_ROUNDS || quiet < QUIET_ROUNDS; i++) {
    await nextRound();
    if (!owner.isReceiving) return;
    const { bytesReceived } = owner;
    quiet = owner.isListening && bytesReceived === seen ? quiet + 1 : 0;
    seen = bytesReceived;
  }
}
