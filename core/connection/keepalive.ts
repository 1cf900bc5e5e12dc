/**
 * Proof that a peer is alive, without a kind of frame of its own.
 *
 * @module
 */
import { timeoutError } from "../tools/abort.ts";
import type { Link } from "./link.ts";

/**
 * Calls `beat` whenever nothing was sent, or nothing has come, for `interval`
 * milliseconds, and aborts the connection if nothing comes for as long again. It
 * asks the peer something that looks like any other message; whatever it answers
 * is proof enough.
 */
export function keepAlive<T>(
  link: Link<T>,
  beat: () => Promise<unknown>,
  interval: number,
): void {
  const ticker = link.settings.tickers.for(interval);
  if (ticker === undefined) return;
  const most = ticker.ticks(interval);
  let { bytesReceived, bytesSent, messagesSent } = link.stats();
  /** Ticks in which nothing has come, and in which nothing was sent. */
  let silent = 0;
  let idle = 0;
  const heartbeat = {
    tick() {
      // Where no reply can come any more, there is nothing to ask for.
      if (link.isOver) return ticker.delete(heartbeat);
      const stats = link.stats();
      // A peer at the other end of a slow link may be busy with one message: it
      // takes it, or sends it.
      const isAlive = stats.bytesReceived !== bytesReceived ||
        stats.bytesQueued > 0 && stats.bytesSent !== bytesSent;
      const wasSent = stats.messagesSent !== messagesSent;
      ({ bytesReceived, bytesSent, messagesSent } = stats);
      // Where nothing is read, it is not the peer that is silent.
      silent = isAlive || !link.isListening ? 0 : silent + 1;
      idle = wasSent ? 0 : idle + 1;
      if (silent > 2 * most) {
        link.abort(
          timeoutError(
            `Cannot receive message: ${link.peerName} did not answer a heartbeat within ${interval} ms (heartbeat)`,
          ),
        );
      } else if (silent === most || idle >= most) {
        idle = 0;
        // Whatever keeps it from being answered ends the link.
        beat().catch(() => {});
      }
    },
  };
  // The end, and the answers, are to be noticed although nothing waits.
  link.watch();
  ticker.add(heartbeat);
  link.closed.then(() => ticker.delete(heartbeat));
}
