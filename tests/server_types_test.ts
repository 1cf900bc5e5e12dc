import { connect, serve } from "../mod.ts";
import { assertEquals } from "@std/assert";
import { LOCAL } from "./peers.ts";

Deno.test("serve() takes a handler alone, or options and a handler", async () => {
  await using server = serve(LOCAL, (message) => message);
  await using client = await connect(server.addr);
  assertEquals(await client.request("hello"), "hello");
  // On its default port, which may be in use.
  try {
    await using other = serve((message) => ({ echo: message }));
    assertEquals(other.addr, {
      transport: "tcp",
      hostname: "0.0.0.0",
      port: 8080,
    });
  } catch (error) {
    assertEquals((error as Error).name, "AddrInUse");
  }
});
