import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { connect, type JsonValue, listen, serve } from "../../mod.ts";
import { faultTest } from "../../tests/ledger.ts";
import { startScript } from "../../tests/scripts.ts";

function echo(message: JsonValue): JsonValue {
  return message;
}

/** Calls `body` with a directory that is empty again afterwards. */
async function inDirectory(
  body: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = await Deno.realPath(await Deno.makeTempDir());
  try {
    await body(directory);
    assertEquals(namesIn(directory), []);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function namesIn(directory: string): string[] {
  return [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
}

/** Runs `body` while a function of the platform is another. */
function withPlatform<Name extends "chmodSync" | "linkSync">(
  name: Name,
  other: typeof Deno[Name],
  body: () => void,
): void {
  const before = Deno[name];
  Deno[name] = other;
  try {
    body();
  } finally {
    Deno[name] = before;
  }
}

async function assertServes(path: string): Promise<void> {
  await using client = await connect({ path });
  assertEquals(await client.request(path), path);
}

faultTest(
  "listen() gives a Unix socket its name once only the owner may connect",
  () =>
    inDirectory(async (directory) => {
      const path = `${directory}/test.sock`;
      const { linkSync } = Deno;
      const modes: number[] = [];
      withPlatform("linkSync", (from, to) => {
        assertThrows(() => Deno.lstatSync(path), Deno.errors.NotFound);
        modes.push(Deno.lstatSync(from).mode! & 0o777);
        linkSync(from, to);
      }, () => {
        using _listener = listen({ path });
        assertEquals(Deno.lstatSync(path).mode! & 0o777, 0o600);
        assertEquals(namesIn(directory), ["test.sock", "test.sock.lock"]);
      });
      assertEquals(modes, [0o600]);
      await Promise.resolve();
    }),
);

faultTest(
  "listen() leaves nothing open and no file where it fails",
  () =>
    inDirectory(async (directory) => {
      const path = `${directory}/test.sock`;
      for (const name of ["chmodSync", "linkSync"] as const) {
        withPlatform(name, () => {
          throw new Error("from the platform");
        }, () => {
          assertThrows(() => listen({ path }), Error, "from the platform");
        });
        assertEquals(namesIn(directory), []);
      }
      await using _server = serve({ path }, echo);
      await assertServes(path);
    }),
);

faultTest(
  "listen() and connect() resolve the path of a Unix socket once",
  () =>
    inDirectory(async (directory) => {
      const before = Deno.cwd();
      const other = `${directory}/other`;
      Deno.mkdirSync(other);
      try {
        Deno.chdir(directory);
        await using server = serve({ path: "test.sock" }, echo);
        await using client = await connect({
          path: "test.sock",
          reconnect: { minDelay: 1, maxDelay: 1 },
        });
        Deno.chdir(other);
        Deno.writeTextFileSync("test.sock", "precious");
        const path = `${directory}/test.sock`;
        assertEquals(server.addr, { transport: "unix", path });
        await assertServes(path);
        const { closed } = await client.connected();
        await server.shutdown();
        await closed;
        assertEquals(Deno.readTextFileSync("test.sock"), "precious");
        await using _successor = serve({ path }, echo);
        assertEquals(await client.request("again"), "again");
      } finally {
        Deno.chdir(before);
      }
      Deno.removeSync(other, { recursive: true });
    }),
);

faultTest(
  "close() removes the file of a Unix socket only while it is the same",
  () =>
    inDirectory(async (directory) => {
      const path = `${directory}/test.sock`;
      const first = serve({ path }, echo);
      Deno.removeSync(path);
      const second = serve({ path }, echo);
      await first.shutdown();
      await assertServes(path);
      assertThrows(() => listen({ path }), Deno.errors.AddrInUse);
      await second.shutdown();

      const third = serve({ path }, echo);
      Deno.removeSync(path);
      Deno.writeTextFileSync(path, "precious");
      await third.shutdown();
      assertEquals(Deno.readTextFileSync(path), "precious");
      Deno.removeSync(path);
    }),
);

faultTest(
  "listen() says that a path is in use, and touches nothing that is there",
  () =>
    inDirectory(async (directory) => {
      const path = `${directory}/test.sock`;
      {
        await using _server = serve({ path }, echo);
        const error = assertThrows(
          () => listen({ path }),
          Deno.errors.AddrInUse,
        );
        assertEquals(
          error.message,
          `Cannot listen on ${path}: address already in use`,
        );
        await assertServes(path);
      }
      const others: (() => void)[] = [
        () => Deno.writeTextFileSync(path, "precious"),
        () => Deno.symlinkSync("/dev/null", path),
        () => Deno.mkdirSync(path),
      ];
      for (const make of others) {
        make();
        const error = assertThrows(
          () => listen({ path }),
          Deno.errors.AddrInUse,
        );
        assertEquals(
          error.message,
          `Cannot listen on ${path}: ${path} exists and is no socket`,
        );
        assert(namesIn(directory).includes("test.sock"));
        Deno.removeSync(path);
      }
      // What another program has left: whether anyone listens is unknown.
      const other = Deno.listen({ transport: "unix", path: `${path}.other` });
      Deno.linkSync(`${path}.other`, path);
      other.close();
      assertThrows(() => listen({ path }), Deno.errors.AddrInUse, "in use");
      Deno.removeSync(path);
    }),
);

faultTest("listen() takes a name in memory, which has no file", async () => {
  if (Deno.build.os !== "linux") return;
  const path = `\0networking-${crypto.randomUUID()}`;
  const server = serve({ path }, echo);
  await assertServes(path);
  assertThrows(() => listen({ path }), Deno.errors.AddrInUse);
  await server.shutdown();
  await serve({ path }, echo).shutdown();
});

faultTest(
  "listen() starts again after a crash at any moment",
  () =>
    inDirectory(async (directory) => {
      const path = `${directory}/test.sock`;
      const moments = [
        "Deno.chmodSync = crash;",
        "Deno.linkSync = crash;",
        "Deno.FsFile.prototype.truncateSync = crash;",
        "Deno.FsFile.prototype.writeSync = crash;",
        "Deno.removeSync = crash;",
        "", // while it listens
      ];
      for (const moment of moments) {
        await using child = await startScript(`
        const crash = () => Deno.kill(Deno.pid, "SIGKILL");
        ${moment}
        networking.listen({ path: ${JSON.stringify(path)} });
        crash();
      `);
        await child.status;
        if (moment === "") {
          assert((await Deno.lstat(path)).isSocket);
          assertThrows(
            () => listen({ path, removeStale: false }),
            Deno.errors.AddrInUse,
          );
        }
        {
          await using _server = serve({ path }, echo);
          await assertServes(path);
        }
        assertEquals(namesIn(directory), [], moment);
      }
    }),
);

faultTest(
  "of many servers that start at once over a stale Unix socket exactly one listens",
  () =>
    inDirectory(async (directory) => {
      const path = `${directory}/test.sock`;
      const starters = await Promise.all(
        Array.from({ length: 5 }, () =>
          startScript(`
        const go = ${JSON.stringify(`${directory}/go`)};
        console.log("ready");
        for (let round = 1;; round++) {
          // Spinning, so that all see it at the same moment.
          for (;;) {
            try {
              Deno.lstatSync(go + round);
              break;
            } catch {}
          }
          try {
            networking.serve({ path: ${JSON.stringify(path)} }, () => {});
            console.log("listens");
            break;
          } catch (error) {
            console.log(error.name + ": " + error.message);
          }
        }`)),
      );
      await Promise.all(starters.map((starter) => starter.line(/^ready$/)));
      for (let round = 1; starters.length > 1; round++) {
        Deno.writeTextFileSync(`${directory}/go${round}`, "");
        const said = await Promise.all(
          starters.map(async (starter) => (await starter.line(/.+/))[0]),
        );
        const winner = said.indexOf("listens");
        for (const [index, text] of said.entries()) {
          if (index === winner) continue;
          assertEquals(
            text,
            `AddrInUse: Cannot listen on ${path}: address already in use`,
          );
        }
        assertMatch(said[winner], /listens/);
        const [killed] = starters.splice(winner, 1);
        await killed[Symbol.asyncDispose]();
      }
      await starters[0][Symbol.asyncDispose]();
      await serve({ path }, echo).shutdown();
      for (const name of namesIn(directory)) {
        assertMatch(name, /^go\d$/);
        Deno.removeSync(`${directory}/${name}`);
      }
    }),
);
