/** Clients that the compiler accepts: see `../types_test.ts`. */
import {
  type Client,
  type ClientEvent,
  type ClientOptions,
  connect,
  type Connection,
  type ConnectOptions,
  createClient,
  type JsonValue,
} from "../../mod.ts";
import {
  connectRpc,
  createRpcClient,
  type RpcClient,
  type RpcPeer,
} from "../../rpc.ts";
import { type Library, same } from "./calls.ts";

/** No type of a result depends on an option. */
export function results(options: ConnectOptions & ClientOptions): void {
  const connection = connect(options);
  same<typeof connection, Promise<Connection<JsonValue>>>(true);
  const client = createClient<string>({ port: 8080, maxRetryDelay: 1_000 });
  same<typeof client, Promise<Client<string>>>(true);
  const peer = connectRpc<Library>({ port: 8080 });
  same<typeof peer, Promise<RpcPeer<Library>>>(true);
  const caller = createRpcClient<Library>({ maxRetryDelay: 1_000 });
  same<typeof caller, Promise<RpcClient<Library>>>(true);
}

export async function use(client: Client<string>): Promise<string> {
  for await (const connection of client) {
    same<typeof connection, Connection<string>>(true);
  }
  const { clean } = await client.closed;
  const { connected, failed, messagesSent } = client.stats();
  const reply = await client.request({
    clean,
    connected,
    failed,
    messagesSent,
  });
  same<typeof reply, string>(true);
  const { signal } = await client.connected({ signal: client.signal });
  await client.send(signal.aborted);
  return reply;
}

export function hear(event: ClientEvent): string {
  switch (event.type) {
    case "connecting":
      return `connecting in ${event.delay} ms`;
    case "connected":
      return `connected to ${event.connection.remoteAddr}`;
    case "failed":
      return `failed: ${event.error}`;
    case "closed":
      return `closed after ${event.stats.messagesSent}: ${event.end.clean}`;
  }
}
