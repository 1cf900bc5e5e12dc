/** Who reads a connection that is given to an adapter. */
import { assertEquals, assertRejects } from "@std/assert";
import type { Connection } from "../core/connection/connection.ts";
import { rpc } from "../rpc.ts";
import { memoryConnections, turn } from "../tests/connection_pairs.ts";
import { written } from "../tests/memory_pair.ts";
import { ConnectionRpcTransport } from "./capnweb.ts";
import { ConnectionTransport } from "./mcp.ts";
import { ConnectionMessageReader } from "./vscode_jsonrpc.ts";
import { linkOf } from "../core/connection/connection.ts";

const ADAPTERS: Record<string, (connection: Connection) => unknown> = {
  "start() of MCP": (one) => new ConnectionTransport(one).start(),
  "listen() of vscode-jsonrpc": (one) =>
    new ConnectionMessageReader(one).listen(() => {}),
  "the transport of capnweb": (one) => new ConnectionRpcTransport(one),
};

/** Reads a connection, and tells whether that goes on. */
const READERS: Record<
  string,
  (one: Connection, other: Connection) => () => Promise<unknown>
> = {
  "an iteration": (one, other) => {
    const messages = one[Symbol.asyncIterator]();
    const first = messages.next();
    return async () => {
      other.send("good");
      return (await first).value;
    };
  },
  "a request": (one, other) => {
    const reply = one.request(1);
    return async () => {
      // What comes before the request has left is no reply to it.
      await written(one);
      other.send("good");
      return await reply;
    };
  },
  "rpc()": (one, other) => {
    rpc(one, { health: () => "good" });
    return () => Promise.resolve(rpc(other).call("health"));
  },
};

for (const [adapter, take] of Object.entries(ADAPTERS)) {
  Deno.test(`${adapter} is a TypeError where something else reads, which goes on`, async () => {
    const readers = Object.entries(READERS);
    const others = Object.entries(ADAPTERS).map((
      [name, take],
    ): [string, typeof READERS[string]] => [name, (one) => {
      take(one);
      return () => Promise.resolve(linkOf(one).isOver ? "ended" : "good");
    }]);
    for (const [reader, read] of [...readers, ...others]) {
      const { one, other } = memoryConnections();
      const isGood = read(one, other);
      // deno-lint-ignore require-await
      await assertRejects(async () => take(one), TypeError, "Cannot ");
      await turn();
      assertEquals(await isGood(), "good", reader);
      one.abort();
      other.abort();
    }
  });
}
