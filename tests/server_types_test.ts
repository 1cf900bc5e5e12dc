/** What a handler may return: `deno check` finds an error that is expected and missing. */
import { connect, type Handler, NO_REPLY, serve } from "../mod.ts";
import { assertEquals } from "@std/assert";
import { LOCAL } from "./peers.ts";

interface Status {
  status: string;
}
class Point {
  constructor(readonly x: number, readonly y: number) {}
}

const status: Status = { status: "success" };
const record: Record<string, unknown> = { a: 1 };
const maybe: Status | undefined = Math.random() > 1 ? status : undefined;

/** These check. */
export const RIGHT: Handler[] = [
  (message) => message,
  (message) => ({ echo: message }),
  async (message) => ({ echo: await message }),
  () => status,
  () => [status],
  () => Promise.resolve(status),
  () => record,
  () => new Point(1, 2),
  () => new Date(),
  () => null,
  () => NO_REPLY,
  async (message) => await message === 1 ? NO_REPLY : { message },
  (message) => message === 1 ? NO_REPLY : message,
  () => {
    throw new Error();
  },
  () => Promise.reject(new Error()),
];

/** These do not. */
export const WRONG: Handler[] = [
  // @ts-expect-error Nothing is returned.
  () => {},
  // @ts-expect-error Nothing is returned.
  async () => {},
  // @ts-expect-error Nothing is returned.
  () => undefined,
  // @ts-expect-error Nothing is returned.
  () => Promise.resolve(),
  // @ts-expect-error Nothing is returned.
  (_message, connection) => connection.send("news"),
  // @ts-expect-error Nothing is returned for other messages.
  (message) => {
    if (message === 1) return status;
  },
  // @ts-expect-error Nothing is returned for other messages.
  async (message) => {
    if (await message === 1) return status;
  },
  // @ts-expect-error It may be undefined.
  () => maybe,
  // @ts-expect-error JSON cannot represent it.
  () => 1n,
];

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
