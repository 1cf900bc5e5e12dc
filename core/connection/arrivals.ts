/**
 * What had arrived before a request, and was not read yet.
 *
 * @module
 */
import { setImmediate } from "node:timers";

/**
 * While something is left to do, the platform looks for I/O at every 61st turn
 * of the event loop.
 */
const LOOKING_TURNS = 64;
/** What was read may be on its way through TLS or a stream for some turns. */
const QUIET_TURNS = 8;

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
  for (let i = 1; i < LOOKING_TURNS || quiet < QUIET_TURNS; i++) {
    await new Promise((resolve) => void setImmediate(resolve));
    if (!owner.isReceiving) return;
    const { bytesReceived } = owner;
    quiet = owner.isListening && bytesReceived === seen ? quiet + 1 : 0;
    seen = bytesReceived;
  }
}
