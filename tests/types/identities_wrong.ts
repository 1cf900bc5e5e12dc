/** What `identity` is not. */
import { serve } from "../../mod.ts";
import { method, serveRpc } from "../../rpc.ts";

export function identities(): void {
  // @ts-expect-error: 'identity' is of type 'unknown'
  serve({ port: 0 }, (_, { identity }) => identity.name);
  serve(
    { authenticate: () => ({ name: "a" }) },
    // @ts-expect-error: Property 'age' does not exist on type '{ name: string; }'
    (_, { identity }) => identity.age,
  );
}

export function callers(): void {
  serveRpc({ authenticate: () => ({ name: "a" }) }, {
    whoAmI() {
      // @ts-expect-error: Property 'age' does not exist on type '{ name: string; }'
      return this.connection.identity.age;
    },
  });
  // @ts-expect-error: 'context.connection.identity' is of type 'unknown'
  method((context) => context.connection.identity.name);
}
