/** What `identity` is, by what `authenticate` gives. */
import {
  type JsonValue,
  listen,
  serve,
  type Server,
  sharedToken,
} from "../../mod.ts";
import {
  method,
  type RpcContext,
  type RpcUntyped,
  serveRpc,
} from "../../rpc.ts";
import { same } from "./calls.ts";

interface User {
  name: string;
}

declare const find: (token: JsonValue) => Promise<User | undefined>;

export function identities(): void {
  serve({ authenticate: (message) => find(message) }, (_, { identity }) => {
    same<User, typeof identity>(true);
    return identity.name;
  });
  serve(
    { authenticate: () => ({ name: "a" }), port: 0 },
    (_, { identity }) => identity.name,
  );
  serve({ authenticate: sharedToken("a") }, (_, { identity }) => {
    same<true, typeof identity>(true);
    return identity;
  });
  serve({ authenticate: (message) => message === 1 }, (_, { identity }) => {
    same<true, typeof identity>(true);
    return identity;
  });
  serve({ port: 0 }, (_, { identity }) => {
    same<unknown, typeof identity>(true);
    return null;
  });
  serve<User>({ authenticate: sharedToken("a") }, ({ name }) => name);
  serve({
    onEvent: ({ type }) => console.log(type),
    authenticate: async (message, peer) => {
      await peer.ask(message);
      return message === 1 ? { name: "a" } : undefined;
    },
    onError: (_, { identity }) => identity.name,
  }, (_, { identity }) => identity.name);
  const server: Server = serve({ authenticate: find }, () => 1);
  for (const { identity } of server.connections) {
    same<unknown, typeof identity>(true);
  }
  listen({ authenticate: find }, ({ identity }) => identity.name);
}

export async function acceptedIdentities(): Promise<void> {
  const listener = listen({ authenticate: find });
  (await listener.accept()).identity.name;
  for await (const { identity } of listener) identity.name;
}

export function callers(): void {
  const server = serveRpc({
    authenticate: find,
    onError: (_, method, { identity }) => `${identity.name}: ${method}`,
    port: 0,
  }, {
    whoAmI() {
      same<User, typeof this.connection.identity>(true);
      return this.connection.identity.name;
    },
    async *names() {
      yield this.connection.identity.name;
    },
    arrow: method((
      { connection }: RpcContext<RpcUntyped, User>,
      greeting: string,
    ) => `${greeting}, ${connection.identity.name}`),
    short: method(({ connection }, greeting: string) =>
      `${greeting}, ${connection.identity.name}`
    ),
  });
  for (const { connection } of server.peers) connection.identity.name;
  serveRpc({ port: 0 }, {
    whoAmI() {
      same<unknown, typeof this.connection.identity>(true);
    },
  });
}
