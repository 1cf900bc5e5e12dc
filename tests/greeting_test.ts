/** Peers that speak before they are asked. */
import { assertEquals } from "@std/assert";
import {
  type Address,
  connect,
  type Connection,
  type ConnectOptions,
  createClient,
  listen,
} from "../mod.ts";
import { certificates } from "./certificates.ts";
import { faultTest, settled, until } from "./ledger.ts";
import { LOCAL, portOf } from "./peers.ts";

const ROUNDS = 10;
const COUNTS = [1, 3, 40, 1_000];
const LONG = "x".repeat(1_000);

/** Ways to connect: how to listen, and what the client is told. */
const WAYS: Record<
  string,
  () => { listening: object; options: object; open?: typeof createClient }
> = {
  "TCP": () => ({ listening: LOCAL, options: {} }),
  "TLS"() {
    const { ca, server: { cert, key } } = certificates();
    return {
      listening: { ...LOCAL, tls: { cert, key } },
      options: { tls: { ca } },
    };
  },
  "a Unix socket": () => ({
    listening: { path: `${Deno.makeTempDirSync()}/socket` },
    options: {},
  }),
  "a client that connects again": () => ({
    listening: LOCAL,
    options: {},
    open: createClient,
  }),
};

/** A port as Linux lists it. */
function hexOf(addr?: Address): string {
  return portOf(addr!).toString(16).toUpperCase().padStart(4, "0");
}

/**
 * Whether all that was sent is where the peer reads it: a Unix socket hands it
 * over, and over TCP nothing waits for its acknowledgement.
 */
function hasArrived(connection: Connection): boolean {
  const { localAddr, remoteAddr } = connection;
  if (connection.stats().bytesQueued > 0) return false;
  if (localAddr?.transport === "unix") return true;
  const ends = `:${hexOf(localAddr)} \\w+:${hexOf(remoteAddr)}`;
  return new RegExp(`${ends} 01 00000000:`).test(
    Deno.readTextFileSync("/proc/net/tcp"),
  );
}

for (const [name, way] of Object.entries(WAYS)) {
  faultTest(
    `what a server has sent before the first request is no reply to it, over ${name}`,
    async () => {
      const { listening, options, open = connect } = way();
      using stack = new DisposableStack();
      if ("path" in listening) {
        const folder = String(listening.path).slice(0, -"/socket".length);
        stack.defer(() => Deno.removeSync(folder, { recursive: true }));
      }
      using listener = listen(listening);
      for (const count of COUNTS) {
        for (let round = 0; round < ROUNDS; round++) {
          const accepted = listener.accept();
          const client = await open(
            { ...listener.addr, ...options } as ConnectOptions,
          );
          const server = await accepted;
          for (let push = 0; push < count; push++) {
            await server.send({ push, text: count > 99 ? "" : LONG });
          }
          await until(() => hasArrived(server), "it does not arrive");
          const replies = [1, 2].map((n) => client.request({ n }));
          (async () => {
            for await (const message of server) await server.send(message);
          })();
          assertEquals(await settled(Promise.all(replies), "no reply"), [
            { n: 1 },
            { n: 2 },
          ]);
          await Promise.all([client.close(), server.close()]);
        }
      }
    },
  );
}
