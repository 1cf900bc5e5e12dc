/**
 * Proof that a peer is alive, without a kind of frame of its own.
 *
 * @module
 */
import { timeoutError } from "../tools/timer.ts";
import { sweepFor } from "../tools/sweep.ts";

/** What is kept alive: a connection. */
interface Watched {
  readonly isOver: boolean;
  readonly isListening: boolean;
  readonly stats: {
    readonly messagesReceived: number;
    readonly messagesSent: number;
  };
  readonly peerName: string;
  readonly closed: Promise<unknown>;
  watch(): void;
  abort(reason: unknown): void;
}

/**
 * Calls `beat` whenever nothing was sent, or nothing has come, for `interval`
 * milliseconds, and aborts the connection if nothing comes for as long again. It
 * asks the peer something that looks like any other message; whatever it answers
 * is proof enough.
 */
export function keepAlive(
  connection: Watched,
  beat: () => Promise<unknown>,
  interval: number,
): void {
  const sweep = sweepFor(interval);
  if (sweep === undefined) return;
  const most = sweep.ticks(interval);
  let { messagesReceived, messagesSent } = connection.stats;
  /** Ticks in which nothing has come, and in which nothing was sent. */
  let silent = 0;
  let idle = 0;
  const heartbeat = {
    tick() {
      // Where no reply can come any more, there is nothing to ask for.
      if (connection.isOver) return sweep.delete(heartbeat);
      const { stats } = connection;
      const hasCome = stats.messagesReceived !== messagesReceived;
      const wasSent = stats.messagesSent !== messagesSent;
      ({ messagesReceived, messagesSent } = stats);
      // Where nobody listens, it is not the peer that is silent.
      silent = hasCome || !connection.isListening ? 0 : silent + 1;
      idle = wasSent ? 0 : idle + 1;
      if (silent > 2 * most) {
        connection.abort(
          timeoutError(
            `Cannot receive message: ${connection.peerName} did not answer a heartbeat within ${interval} ms (heartbeatInterval)`,
          ),
        );
      } else if (silent === most || idle >= most) {
        idle = 0;
        // Whatever keeps it from being answered ends the connection.
        beat().catch(() => {});
      }
    },
  };
  // The end, and the answers, are to be noticed although nobody waits.
  connection.watch();
  sweep.add(heartbeat);
  connection.closed.then(() => sweep.delete(heartbeat));
}
