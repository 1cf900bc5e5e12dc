/** What is sent and not awaited takes as much memory as SECURITY.md says. */
import { assert, assertEquals, assertLess } from "@std/assert";
import { startScript } from "./scripts.ts";

const MIB = 1_048_576;

/** What one end sends, again and again, until it is refused. */
const WAYS: Record<string, string> = {
  "small messages": "client.send(1)",
  "small requests": "client.request(1, { signal })",
  "large messages": 'client.send("x".repeat(100_000))',
  "messages with a wide character": 'client.send("x".repeat(100_000) + "€")',
};

/** The same for calls, which are bounded by their number. */
const CALLS: Record<string, string> = {
  "small calls": "caller.call('add', [1], { signal })",
  "small notifications": "caller.notify('add', [1])",
};
const CALL_COUNT = 20_000;

Deno.test("what waits for a client to connect takes as much memory as SECURITY.md says", async () => {
  const page = Deno.readTextFileSync(new URL("../SECURITY.md", import.meta.url))
    .replaceAll(/\s+/g, " ");
  const [, mebibytes] = /connect take up to (\d+) MiB of the client/.exec(
    page,
  )!;
  const [, kibibytes] = /each takes up to (\d+) KiB beside its message/.exec(
    page,
  )!;
  for (const [name, way] of Object.entries({ ...WAYS, ...CALLS })) {
    await using script = await startScript(
      `
      import { createRpcClient } from "${new URL(
        "../rpc.ts",
        import.meta.url,
      )}";
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const address = {
        ...{ hostname: "127.0.0.1", port: listener.addr.port },
      };
      // Each loses its first connection, and waits for the next.
      const client = await networking.createClient(address);
      const accepted = [await listener.accept()];
      const caller = await createRpcClient(address);
      accepted.push(await listener.accept());
      listener.close();
      const { closed } = await client.connected();
      for (const conn of accepted) conn.close();
      await closed;
      const { signal } = new AbortController();
      function taken() {
        gc();
        const { heapUsed, external } = Deno.memoryUsage();
        return heapUsed + external;
      }
      let isFull = false;
      let count = 0;
      function refused(error) {
        if (error.name === "BackpressureError") isFull = true;
      }
      const before = taken();
      while (!isFull && count < ${name in CALLS ? CALL_COUNT : Infinity}) {
        ${way}.catch(refused);
        if (++count % 16 === 0) await new Promise((go) => setTimeout(go));
      }
      console.log("took " + (taken() - before) + " for " + count);
      Deno.exit();
    `,
      { flags: ["--allow-all", "--v8-flags=--expose-gc"] },
    );
    const [text, bytes, count] = await script.line(/^took (-?\d+) for (\d+)$/);
    assert(Number(count) > 10, `${name}: ${text}`);
    const most = name in CALLS
      ? Number(kibibytes) * 1_024 * CALL_COUNT
      : Number(mebibytes) * MIB;
    if (name in CALLS) assertEquals(Number(count), CALL_COUNT);
    assertLess(Number(bytes), most, `${name}: ${text}`);
  }
});

Deno.test("send() that is not awaited keeps little beside its bytes", async () => {
  await using script = await startScript(
    `
    const writable = new WritableStream({ write: () => new Promise(() => {}) });
    const connection = networking.fromStreams(
      { readable: new ReadableStream(), writable },
      { writeTimeout: Infinity, idleTimeout: Infinity },
    );
    gc();
    const before = Deno.memoryUsage().heapUsed;
    for (let i = 0; i < 500_000; i++) connection.send(1);
    await new Promise((go) => setTimeout(go));
    gc();
    console.log("took " + (Deno.memoryUsage().heapUsed - before));
    Deno.exit();
  `,
    { flags: ["--allow-all", "--v8-flags=--expose-gc"] },
  );
  const [, bytes] = await script.line(/^took (-?\d+)$/);
  // 5 bytes of a frame and the length of its text; a promise of each was 400.
  assertLess(Number(bytes), 50 * 500_000);
});
