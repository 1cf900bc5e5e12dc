/** The packages that stand in for those of JSR. */
import { assertEquals } from "@std/assert";
import { concat } from "@std/bytes/concat";
import { copy } from "@std/bytes/copy";
import { equals } from "@std/bytes/equals";
import { writeAll } from "@std/io/write-all";
import { start } from "../tests/process.ts";

const ROOT = new URL("../", import.meta.url);

Deno.test("links/bytes does what its namesake does", () => {
  assertEquals(concat([]), new Uint8Array(0));
  assertEquals(
    concat([Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3)]),
    Uint8Array.of(1, 2, 3),
  );
  const cases: [offset: number, count: number, target: number[]][] = [
    [0, 2, [1, 2, 0]],
    [1, 2, [0, 1, 2]],
    [2, 1, [0, 0, 1]],
    [3, 0, [0, 0, 0]],
    [9, 0, [0, 0, 0]],
    [-1, 2, [1, 2, 0]],
  ];
  for (const [offset, count, expected] of cases) {
    const target = new Uint8Array(3);
    assertEquals(copy(Uint8Array.of(1, 2), target, offset), count);
    assertEquals(target, Uint8Array.from(expected));
  }
  assertEquals(equals(Uint8Array.of(1, 2), Uint8Array.of(1, 2)), true);
  assertEquals(equals(Uint8Array.of(1, 2), Uint8Array.of(1, 3)), false);
  assertEquals(equals(Uint8Array.of(1, 2), Uint8Array.of(1)), false);
});

Deno.test("links/io writes until every byte is taken", async () => {
  const taken: number[] = [];
  await writeAll({
    write(bytes) {
      taken.push(bytes[0]);
      return Promise.resolve(1);
    },
  }, Uint8Array.of(1, 2, 3));
  assertEquals(taken, [1, 2, 3]);
});

Deno.test("both programs start with an empty cache and no registry", async () => {
  const cache = await Deno.makeTempDir();
  const options = {
    cwd: ROOT,
    env: {
      DENO_DIR: cache,
      NO_COLOR: "1",
      // Nobody listens on port 1.
      JSR_URL: "http://127.0.0.1:1",
      NPM_CONFIG_REGISTRY: "http://127.0.0.1:1",
    },
  };
  try {
    await using server = start(Deno.execPath(), [
      ...["run", "--no-prompt", "--allow-net=127.0.0.1", "server.ts"],
      ...["--hostname", "127.0.0.1", "--port", "0", "--log=text"],
    ], options);
    const [, port] = await server.line(/^Listening on 127\.0\.0\.1:(\d+)$/);
    await using client = start(Deno.execPath(), [
      ...["run", "--no-prompt", "--allow-net=127.0.0.1", "client.ts"],
      ...["--hostname", "127.0.0.1", "--port", port],
    ], options);
    assertEquals((await client.status).code, 0, await client.stderr());
    assertEquals(
      await client.stdout(),
      '{"status":"success","echo":"hello from client"}\n',
    );
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
});
