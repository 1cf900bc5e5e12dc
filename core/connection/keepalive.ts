/**
 * Proof that a peer is alive, without a kind of frame of its own.
 *
 * @module
 */
import { sweepFor } from "../tools/sweep.ts";

/** What is kept alive: a connection. */
interface Watched {
  readonly isOver: boolean;
  readonly isListening: boolean;
  readonly stats: { readonly messagesReceived: number };
  readonly peerName: string;
  readonly closed: Promise<unknown>;
  watch(): void;
  abort(reason: unknown): void;
}

/**
 * Calls `beat` whenever nothing has come for `interval` milliseconds, and aborts
 * the connection if nothing comes for as long again. It asks the peer something
 * that looks like any other message; whatever it answers is proof enough.
 */
export function keepAlive(
  connection: Watched,
  beat: () => Promise<unknown>,
  interval: number,
): void {
  const sweep = sweepFor(interval);
  if (sweep === undefined) return;
  const most = sweep.ticks(interval);
  let seen = 0;
  let ticks = 0;
  const heartbeat = {
    tick() {
      // Where no reply can come any more, there is nothing to ask for.
      if (connection.isOver) return sweep.delete(heartbeat);
      // Not the peer is silent: nobody listens.
      if (!connection.isListening) {
        ticks = 0;
        return;
      }
      const { messagesReceived } = connection.stats;
      if (messagesReceived !== seen) {
        seen = messagesReceived;
        ticks = 0;
      } else if (++ticks === most) {
        // Whatever keeps it from being answered ends the connection.
        beat().catch(() => {});
      } else if (ticks > 2 * most) {
        connection.abort(
          new DOMException(
            `Cannot receive message: ${connection.peerName} did not answer a heartbeat within ${interval} ms (heartbeatInterval)`,
            "TimeoutError",
          ),
        );
      }
    },
  };
  // The end, and the answers, are to be noticed although nobody waits.
  connection.watch();
  sweep.add(heartbeat);
  connection.closed.then(() => sweep.delete(heartbeat));
}
