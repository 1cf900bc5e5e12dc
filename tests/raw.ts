/** What only `node:net` can do to a connection. */
import { connect } from "node:net";

/** Connects to a local port, sends bytes, and resets the connection. */
export function resetAndDestroy(
  port: number,
  bytes: Uint8Array,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("error", reject);
    socket.on("close", () => resolve());
    socket.on(
      "connect",
      () => socket.write(bytes, () => socket.resetAndDestroy()),
    );
  });
}
