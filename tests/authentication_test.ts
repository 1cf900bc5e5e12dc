/** Who is let in, and who is not. */
import {
  assert,
  assertEquals,
  assertGreater,
  assertInstanceOf,
  assertLessOrEqual,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import {
  type Address,
  AuthenticationError,
  connect,
  type JsonValue,
  serve,
  sharedSecret,
  sharedToken,
  type Verifier,
} from "../mod.ts";
import { certificates } from "./certificates.ts";
import { delay, faultTest, Now, until } from "./ledger.ts";
import {
  askFrom,
  echo,
  frame,
  join,
  LOCAL,
  Peer,
  portOf,
  prefix,
} from "./peers.ts";
import { start } from "./process.ts";
import { connectAll, Guarded, leaveAll, pipe } from "./guarded.ts";

const ROOT = new URL("../", import.meta.url);
const { ca, server: IDENTITY } = certificates();
const TEXT = "Kröte-0123456789abcdef";
const SECRET = sharedSecret(TEXT);
const TOKEN = sharedToken(TEXT);

/** All that a server sends to a peer that sends this, until it ends. */
async function answerTo(addr: Address, bytes: Uint8Array): Promise<string> {
  using peer = await Peer.connect(addr);
  await peer.write(bytes);
  const space = new Uint8Array(1_000);
  let received = "";
  for (;;) {
    const count = await peer.conn.read(space);
    if (count === null) return received;
    received += space.subarray(0, count).toHex();
  }
}

const REFUSED = frame('{"$login":"refused"}').toHex();
const LATER = frame('{"$login":"later"}').toHex();
const HELLO = frame(`{"$login":"secret","nonce":"${"0".repeat(64)}"}`);

faultTest(
  "serve({ authenticate }) gives the same bytes and the same end to all that it refuses, and no handler sees them",
  async () => {
    const message = (value: JsonValue) => frame(JSON.stringify(value));
    const attempts = [
      message({ $login: "token", token: "wrong, but long enough" }),
      message({ $login: "token", token: TEXT.toUpperCase() }),
      message({ $login: "token" }),
      message({ $login: "token", token: [TEXT] }),
      message({ token: TEXT }),
      message({ authenticate: "token", token: TEXT }),
      message({ $login: "accepted" }),
      message({ method: "toString", id: 1 }),
      message([{ $login: "token", token: TEXT }]),
      message(null),
      frame("{no JSON"),
      frame(Uint8Array.of(0x22, 0xff, 0x22)),
      frame(""),
      join(message("first"), message({ $login: "token", token: TEXT })),
    ];
    const handled: JsonValue[] = [];
    for (const attempt of attempts) {
      await using guarded = new Guarded({ authenticate: TOKEN });
      assertEquals(await answerTo(guarded.addr, attempt), REFUSED);
      assertEquals(guarded.reasons, ["authentication"]);
      handled.push(...guarded.handled);
    }
    assertEquals(handled, []);
  },
);

faultTest(
  "serve({ authenticate }) takes what was sent behind a good login, and nothing behind a bad one",
  async () => {
    await using guarded = new Guarded({ authenticate: TOKEN });
    const login = frame(JSON.stringify({ $login: "token", token: TEXT }));
    using peer = await Peer.connect(guarded.addr);
    await peer.write(join(login, frame("1"), frame("2")));
    assertEquals(await peer.take(3), [{ $login: "accepted" }, 1, 2]);
    assertEquals(
      await answerTo(guarded.addr, join(frame('"x"'), login, frame("3"))),
      REFUSED,
    );
    assertEquals(guarded.handled, [1, 2]);
  },
);

faultTest(
  "serve({ authenticate }) answers who logs in, asks and ends its side in one write, with and without TLS",
  async () => {
    const login = frame(JSON.stringify({ $login: "token", token: TEXT }));
    for (const tls of [undefined, IDENTITY]) {
      await using guarded = new Guarded({ tls, authenticate: TOKEN });
      if (tls === undefined) {
        using peer = await Peer.connect(guarded.addr);
        await peer.write(join(login, ...Array(1_000).fill(frame("1"))));
        await peer.conn.closeWrite();
        assertEquals((await peer.rest()).length, 1_001);
      } else {
        const client = await connect({
          ...guarded.addr,
          tls: { ca },
          authenticate: TOKEN,
        });
        for (let i = 0; i < 1_000; i++) client.send(1);
        await client.closeWrite();
        assertEquals((await Array.fromAsync(client)).length, 1_000);
      }
      await until(() => guarded.closed.length === 1, "it was not closed");
      assert(guarded.closed[0].end.clean);
    }
  },
);

faultTest(
  "serve({ authenticate }) reads at most 16 KiB before the login, and a MiB after it",
  async () => {
    await using guarded = new Guarded({ authenticate: TOKEN });
    using early = await Peer.connect(guarded.addr);
    await early.write(prefix(16_385));
    await early.ended();
    const [{ reason, error }] = guarded.rejected;
    assertEquals(reason, "authentication");
    assertInstanceOf(error, AuthenticationError);
    const padding = " ".repeat(16_384 - 100);
    using admitted = await Peer.connect(guarded.addr);
    await admitted.write(frame(
      JSON.stringify({ $login: "token", token: TEXT, padding }),
    ));
    const large = "x".repeat(1_000_000);
    await admitted.write(frame(`"${large}"`));
    const [verdict, reply] = await admitted.take(2);
    assertEquals(verdict, { $login: "accepted" });
    assert(reply === large);
  },
  {},
);

faultTest(
  "serve({ authenticate }) drops peers that send nothing, or too slowly, at handshakeTimeout",
  async () => {
    await using guarded = new Guarded({
      authenticate: SECRET,
      handshakeTimeout: 100,
    });
    const start = performance.now();
    using silent = await Peer.connect(guarded.addr);
    using slow = await Peer.connect(guarded.addr);
    using halfway = await Peer.connect(guarded.addr);
    await halfway.write(HELLO);
    const dripping = slow.drip(frame(`"${"x".repeat(30)}"`), 10);
    await Promise.all([silent.ended(), slow.ended(), halfway.ended()]);
    assertGreater(performance.now() - start, 95);
    await dripping;
    assertEquals(guarded.reasons, Array(3).fill("handshakeTimeout"));
    assertEquals(guarded.handled, []);
  },
);

faultTest(
  "serve({ authenticate }) hears five wrong logins a second of one address",
  async () => {
    await using guarded = new Guarded({ authenticate: TOKEN });
    using now = new Now();
    const wrong = frame('{"$login":"token","token":"guess"}');
    const answers: string[] = [];
    for (let i = 0; i < 30; i++) {
      answers.push(await answerTo(guarded.addr, wrong));
    }
    assertEquals(answers, [
      ...Array(5).fill(REFUSED),
      ...Array(25).fill(LATER),
    ]);
    assertEquals(guarded.reasons.slice(5), Array(25).fill("failures"));
    const { mayRetry } = await assertRejects(
      () => connect({ ...guarded.addr, authenticate: TOKEN }),
      AuthenticationError,
      "the server asked to try again later",
    );
    assert(mayRetry);
    const right = frame(JSON.stringify({ $login: "token", token: TEXT }));
    const verdict = await askFrom("127.0.0.2", portOf(guarded.addr), right);
    assertEquals(new Uint8Array(verdict), frame('{"$login":"accepted"}'));
    now.advance(1_001);
    await using client = await connect({
      ...guarded.addr,
      authenticate: TOKEN,
    });
    assertEquals(await client.request(1), 1);
  },
);

/** Peers that have all been asked for a response to a challenge. */
async function challengeAll(addr: Address, count: number): Promise<Peer[]> {
  const peers = await connectAll(addr, count);
  for (const peer of peers) {
    await peer.write(HELLO);
  }
  await Promise.all(peers.map((peer) => peer.take(1)));
  return peers;
}

faultTest(
  "serve({ authenticate }) judges five guesses a second of one address, however many are prepared",
  async () => {
    await using guarded = new Guarded({ authenticate: SECRET });
    using now = new Now();
    const guess = frame(
      `{"$login":"response","response":"${"0".repeat(64)}"}`,
    );
    for (let round = 1; round <= 3; round++) {
      const peers = await challengeAll(guarded.addr, 100);
      assertEquals(guarded.server.stats().pending, 100);
      await Promise.all(peers.map((peer) => peer.write(guess)));
      const answers = await Promise.all(
        peers.map((peer) => peer.take(1)),
      );
      const words = answers.flat().map((answer) => JSON.stringify(answer));
      assertEquals(words.sort(), [
        ...Array(95).fill('{"$login":"later"}'),
        ...Array(5).fill('{"$login":"refused"}'),
      ]);
      await guarded.untilRejected(100 * round);
      assertEquals(
        guarded.reasons.filter((reason) => reason === "failures").length,
        95 * round,
      );
      leaveAll(peers);
      now.advance(1_001);
    }
    await using admitted = await connect({
      ...guarded.addr,
      authenticate: SECRET,
    });
    assertEquals(await admitted.request(1), 1);
  },
);

faultTest(
  "serve({ authenticate }) accepts 100 clients of one address that log in at once",
  async () => {
    const slow: Verifier = async (message, peer) => {
      await delay(1);
      return await SECRET.verify(message, peer);
    };
    for (const authenticate of [SECRET, slow, TOKEN]) {
      await using guarded = new Guarded({ authenticate });
      const clients = await Promise.all(
        Array.from({ length: 100 }, () =>
          connect({
            ...guarded.addr,
            authenticate: authenticate === TOKEN ? TOKEN : SECRET,
          })),
      );
      assertEquals(
        await Promise.all(clients.map((client, i) => client.request(i))),
        clients.map((_, i) => i),
      );
      assertEquals(guarded.reasons, []);
      await Promise.all(clients.map((client) => client.close()));
    }
  },
);

faultTest(
  "serve({ authenticate }) does not bar an address for peers that leave before they have tried",
  async () => {
    await using guarded = new Guarded({ authenticate: SECRET });
    leaveAll(await challengeAll(guarded.addr, 10));
    await guarded.untilRejected(10);
    for (const peer of await challengeAll(guarded.addr, 10)) {
      await peer.conn.closeWrite();
      await peer.ended();
      peer[Symbol.dispose]();
    }
    await guarded.untilRejected(20);
    assertEquals(guarded.reasons, Array(20).fill("authentication"));
    await using admitted = await connect({
      ...guarded.addr,
      authenticate: SECRET,
    });
    assertEquals(await admitted.request(1), 1);
  },
);

faultTest("sharedSecret() rejects a recorded login, 100 of 100", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/test.sock`;
  const recorded: Uint8Array[] = [];
  {
    // A server that hears all, and passes on what it hears.
    const relay = Deno.listen({ transport: "unix", path: `${path}.relay` });
    await using server = serve({ path, authenticate: SECRET }, echo);
    const passing = relay.accept().then(async (near) => {
      const far = await Deno.connect({ transport: "unix", path });
      const back = pipe(far, near);
      const space = new Uint8Array(1_000);
      for (let count; (count = await near.read(space)) !== null;) {
        recorded.push(space.slice(0, count));
        await far.write(space.subarray(0, count));
      }
      await far.closeWrite();
      await back;
      near.close();
      far.close();
    });
    const client = await connect({
      path: `${path}.relay`,
      authenticate: SECRET,
    });
    assertEquals(await client.request("to be replayed"), "to be replayed");
    await client.close();
    await passing;
    relay.close();
    assertEquals(server.stats().rejected, 0);
  }
  assertEquals(recorded.length, 3);
  await using guarded = new Guarded({
    path,
    hostname: undefined,
    port: undefined,
    authenticate: SECRET,
  });
  for (let i = 0; i < 100; i++) {
    const conn = await Deno.connect({ transport: "unix", path });
    const space = new Uint8Array(1_000);
    await conn.write(recorded[0]);
    await conn.read(space); // the challenge, another one
    await conn.write(join(...recorded.slice(1)));
    const count = await conn.read(space) ?? 0;
    assertEquals(space.subarray(0, count).toHex(), REFUSED);
    conn.close();
  }
  assertEquals(guarded.rejected.length, 100);
  assertEquals(guarded.handled, []);
  await guarded.server.shutdown();
  await Deno.remove(directory, { recursive: true });
});

faultTest(
  "serve({ authenticate }) accepts no peer unless the verifier says yes",
  async () => {
    const refusing: Verifier[] = [
      () => 1,
      () => "yes",
      () => [],
      () => undefined,
      () => false,
      () => new Error("no"),
      () => Promise.resolve("yes"),
    ];
    const failing: Verifier[] = [
      () => {
        throw new Error("broken");
      },
      () => Promise.reject(new Error("broken")),
    ];
    const late: Verifier = () => new Promise(() => {});
    const own = frame('{"$login":"own"}');
    for (const authenticate of [...refusing, ...failing, late]) {
      const handshakeTimeout = authenticate === late ? 50 : 5_000;
      await using guarded = new Guarded({ authenticate, handshakeTimeout });
      assertEquals(
        await answerTo(guarded.addr, join(own, frame("2"))),
        refusing.includes(authenticate) ? REFUSED : LATER,
      );
      assertEquals(guarded.reasons, [
        authenticate === late ? "handshakeTimeout" : "authentication",
      ]);
      assertEquals(guarded.handled, []);
    }
    await using guarded = new Guarded({
      authenticate: () => ({ name: "Ada" }),
    });
    await using client = await connect({
      ...guarded.addr,
      authenticate: () => ({ $login: "own" }),
    });
    assertEquals(await client.request(1), 1);
    const [connection] = guarded.server.connections;
    assertEquals(connection.identity, { name: "Ada" });
  },
);

faultTest(
  "serve() and connect() send no token beyond this machine without TLS, unless they are told to",
  async () => {
    assertThrows(
      () => serve({ hostname: "0.0.0.0", port: 0, authenticate: TOKEN }, echo),
      TypeError,
      'TCP to "0.0.0.0" is not encrypted',
    );
    await assertRejects(
      () => connect({ hostname: "192.0.2.1", authenticate: TOKEN }),
      TypeError,
      'TCP to "192.0.2.1" is not encrypted',
    );
    for (
      const options of [
        { tls: IDENTITY, authenticate: TOKEN },
        { authenticate: sharedToken(TEXT, { allowPlaintext: true }) },
        { authenticate: SECRET },
      ]
    ) {
      await using server = serve(
        { hostname: "0.0.0.0", port: 0, ...options },
        echo,
      );
      await using client = await connect({
        ...LOCAL,
        port: portOf(server.addr),
        ...options,
        tls: "tls" in options ? { ca } : undefined,
      });
      assertEquals(await client.request(1), 1);
    }
  },
);

faultTest(
  "the server program accepts clients that know the secret, and shows it nowhere",
  async () => {
    const directory = await Deno.makeTempDir();
    const good = `${directory}/good`;
    const bad = `${directory}/bad`;
    await Deno.writeTextFile(good, `${TEXT}\n`);
    await Deno.writeTextFile(bad, "not the secret of the tests\n");
    const output: string[] = [];
    for (const log of ["text", "json"]) {
      await using server = start(Deno.execPath(), [
        ...["run", "--no-prompt", "--allow-net=127.0.0.1:0"],
        ...[`--allow-read=${good}`, "server.ts", "--verbose", `--log=${log}`],
        ...["--hostname=127.0.0.1", "--port=0", `--token-file=${good}`],
      ], { cwd: ROOT });
      const [, port] = await server.line(/127\.0\.0\.1\D+(\d+)/);
      for (const [file, code] of [[good, 0], [bad, 1]] as const) {
        await using python = start("python3", [
          ...["-B", "interop/login.py", "127.0.0.1", port, "secret", file],
        ], { cwd: ROOT });
        assertEquals((await python.status).code, code);
        assertEquals(
          await python.stdout(),
          code === 0 ? '{"status": "success", "echo": "hi"}\n' : "",
        );
        await using client = start(Deno.execPath(), [
          ...["run", "--no-prompt", `--allow-net=127.0.0.1:${port}`],
          ...["--allow-env=SECRET", "client.ts", "--hostname=127.0.0.1"],
          ...[`--port=${port}`, "--token-env=SECRET", '{"message":"hi"}'],
        ], {
          cwd: ROOT,
          env: { SECRET: (await Deno.readTextFile(file)).trim() },
        });
        assertEquals((await client.status).code, code);
        output.push(await client.stdout(), await client.stderr());
        output.push(await python.stderr());
      }
      server.kill();
      assertEquals((await server.status).code, 0);
      output.push(await server.stdout(), await server.stderr());
    }
    const all = output.join("\n");
    assertMatch(all, /cannot authenticate to 127/);
    assertMatch(all, /rejected: authentication/);
    const bytes = new TextEncoder().encode(TEXT);
    for (const secret of [TEXT, bytes.toHex(), bytes.toBase64()]) {
      assert(!all.includes(secret));
    }
    await Deno.remove(directory, { recursive: true });
  },
);

faultTest("login.py logs in with a token", async () => {
  await using guarded = new Guarded({ authenticate: TOKEN });
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, TEXT);
  await using python = start("python3", [
    ...["-B", "-X", "utf8", "interop/login.py", "127.0.0.1"],
    ...[`${portOf(guarded.addr)}`, "token", file],
  ], { cwd: ROOT });
  assertEquals((await python.status).code, 0, await python.stderr());
  assertEquals(guarded.handled, [{ message: "hi" }]);
  await Deno.remove(file);
});

faultTest(
  "the server program prints a line a second about the peers that it rejects, and their number",
  async () => {
    const file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, TEXT);
    await using server = start(Deno.execPath(), [
      ...["run", "--no-prompt", "--allow-net=127.0.0.1:0"],
      ...[`--allow-read=${file}`, "server.ts", "--hostname=127.0.0.1"],
      ...["--port=0", "--log=text", `--token-file=${file}`],
    ], { cwd: ROOT });
    const [, port] = await server.line(/127\.0\.0\.1:(\d+)/);
    const addr = { ...LOCAL, transport: "tcp", port: Number(port) } as const;
    const since = performance.now();
    const rejected = server.line(
      /rejected: .* (\d+) others? since the last line$/,
    );
    let isOver = false;
    rejected.finally(() => isOver = true);
    let count = 0;
    while (!isOver || count < 40) {
      const knock = frame('"\\u001b[31mlet me in\\n"');
      await answerTo(addr, knock).catch(() => {});
      count++;
    }
    await rejected;
    server.kill();
    await server.status;
    const seconds = (performance.now() - since) / 1_000;
    await Deno.remove(file);
    const lines = (await server.stdout()).split("\n").filter((line) =>
      line.includes("rejected")
    );
    assertMatch(lines[0], /^127\.0\.0\.1:\d+ rejected: authentication: .+$/);
    assertGreater(lines.length, 1);
    // The first comes at once, and the last at the end.
    assertLessOrEqual(lines.length, seconds + 2);
    const told = lines.map((line) =>
      1 + Number(/; (\d+) others? since/.exec(line)?.[1] ?? 0)
    );
    assertLessOrEqual(told.reduce((sum, some) => sum + some), count);
    assertGreater(told[1], 1);
  },
);
