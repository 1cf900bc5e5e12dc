/** Clients that the compiler rejects: see `../types_test.ts`. */
import {
  type Client,
  connect,
  type Connection,
  createClient,
} from "../../mod.ts";
import { connectRpc } from "../../rpc.ts";

export async function options(): Promise<void> {
  // @ts-expect-error: 'reconnect' does not exist in type
  await connect({ port: 8080, reconnect: true });
  // @ts-expect-error: 'maxRetryDelay' does not exist in type
  await connect({ port: 8080, maxRetryDelay: 1_000 });
  // @ts-expect-error: 'maxRetryDelay' does not exist in type
  await connectRpc({ port: 8080, maxRetryDelay: 1_000 });
  // @ts-expect-error: Property 'message' is missing
  await createClient({ heartbeat: { interval: 1_000 } });
}

export function members(client: Client): void {
  // @ts-expect-error: Property 'open' does not exist
  client.open();
  // @ts-expect-error: Property 'takeOver' does not exist
  client.takeOver();
}

export async function kinds(client: Client): Promise<void> {
  // @ts-expect-error: is missing the following properties from type 'Connection
  const _connection: Connection = client;
  // @ts-expect-error: Property 'abort' does not exist
  (await createClient()).abort();
}
