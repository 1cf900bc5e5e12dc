/** What `identity` is not. */
import { serve } from "../../mod.ts";

export function identities(): void {
  // @ts-expect-error: 'identity' is of type 'unknown'
  serve({ port: 0 }, (_, { identity }) => identity.name);
  serve(
    { authenticate: () => ({ name: "a" }) },
    // @ts-expect-error: Property 'age' does not exist on type '{ name: string; }'
    (_, { identity }) => identity.age,
  );
}
