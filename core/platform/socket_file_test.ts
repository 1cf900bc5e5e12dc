import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { connect, createClient, listen, serve } from "../../mod.ts";
import { faultTest } from "../../tests/ledger.ts";
import { start } from "../../tests/process.ts";
import { startScript } from "../../tests/scripts.ts";
import { echo } from "../../tests/peers.ts";

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
function withPlatform<Name extends "chmodSync" | "linkSync" | "listen">(
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

/** As another user, connects to whatever may be a socket, until told to stop. */
const INTRUDER = `
import os, socket, sys
directory = sys.argv[1]
try:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
except OSError:
    sys.exit(print("no other user", flush=True))
print("ready", flush=True)
count = 0
while not os.path.exists(directory + "/stop"):
    for name in ["test.sock.d/s", *os.listdir(directory)]:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(directory + "/" + name)
                count += 1
            except OSError:
                pass
print(count, "connected", flush=True)
`;

faultTest(
  "listen() lets no other user connect to a Unix socket before its mode is right, whatever the umask",
  () =>
    inDirectory(async (directory) => {
      const path = `${directory}/test.sock`;
      const { listen: listenThere } = Deno;
      let created = 0;
      const checked =
        ((options: Deno.UnixListenOptions & { transport: "unix" }) => {
          const parent = options.path.replace(/\/[^/]*$/, "");
          assertEquals(Deno.lstatSync(parent).mode! & 0o777, 0o700);
          created++;
          return listenThere(options);
        }) as unknown as typeof Deno.listen;
      Deno.chmodSync(directory, 0o777);
      const before = Deno.umask();
      try {
        for (const umask of [0, 0o002, 0o177]) {
          Deno.umask(umask);
          withPlatform("listen", checked, () => listen({ path }).close());
        }
        assertEquals(created, 3);

        Deno.umask(0);
        await using intruder = start("python3", ["-c", INTRUDER, directory]);
        // To be another user takes rights that not every root has.
        const [state] = await intruder.line(/^ready$|^no other user$/);
        if (state !== "ready") return;
        for (let round = 0; round < 200; round++) {
          listen({ path }).close();
        }
        Deno.writeTextFileSync(`${directory}/stop`, "");
        assertEquals(
          (await intruder.line(/^\d+ connected$/))[0],
          "0 connected",
        );
        Deno.removeSync(`${directory}/stop`);
      } finally {
        Deno.umask(before);
      }
    }),
);

faultTest(
  "listen() takes a path of a Unix socket up to the platform's limit, and gives the limit beyond it",
  () =>
    inDirectory(async (directory) => {
      const most = Deno.build.os === "darwin" ? 99 : 103;
      // Bytes count, not characters.
      const start = `${directory}/é`;
      const longest = start.padEnd(most - 1, "x");
      {
        await using _server = serve({ path: longest }, echo);
        await assertServes(longest);
      }
      const error = assertThrows(
        () => listen({ path: `${longest}x` }),
        TypeError,
      );
      assertEquals(
        error.message,
        `Cannot listen on ${longest}x: the path is ${
          most + 1
        } bytes long, limit is ${most} bytes`,
      );
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
        await using client = await createClient({
          path: "test.sock",
          maxRetryDelay: 1,
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
          `Cannot listen on ${path}: ${path} exists and is not a socket`,
        );
        assert(namesIn(directory).includes("test.sock"));
        Deno.removeSync(path);
      }
      const directoryOfSocket = `${path}.d`;
      const besides: [() => void, string][] = [
        [
          () => Deno.writeTextFileSync(directoryOfSocket, ""),
          "is not a directory",
        ],
        [
          () => Deno.symlinkSync("/tmp", directoryOfSocket),
          "is not a directory",
        ],
        [() => {
          Deno.mkdirSync(directoryOfSocket);
          Deno.writeTextFileSync(`${directoryOfSocket}/s`, "precious");
          Deno.writeTextFileSync(`${directoryOfSocket}/mine`, "precious");
        }, "holds other files"],
      ];
      for (const [make, why] of besides) {
        make();
        const error = assertThrows(
          () => listen({ path }),
          Deno.errors.AddrInUse,
        );
        assertEquals(
          error.message,
          `Cannot listen on ${path}: ${directoryOfSocket} exists and ${why}`,
        );
        assertEquals(namesIn(directory), ["test.sock.d"]);
        Deno.removeSync(directoryOfSocket, { recursive: true });
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
        "Deno.mkdirSync = after(Deno.mkdirSync);",
        "Deno.listen = after(Deno.listen);",
        "Deno.chmodSync = crash;",
        "Deno.linkSync = crash;",
        "Deno.FsFile.prototype.truncateSync = crash;",
        "Deno.FsFile.prototype.writeSync = crash;",
        "Deno.removeSync = crash;",
        "Deno.removeSync = after(Deno.removeSync);",
        "", // while it listens
      ];
      for (const moment of moments) {
        await using child = await startScript(`
        const crash = () => Deno.kill(Deno.pid, "SIGKILL");
        const after = (make) => (...args) => {
          make(...args);
          crash();
        };
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
