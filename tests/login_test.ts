import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  AuthenticationError,
  connect,
  type Connection,
  createClient,
  type JsonValue,
  listen,
  serve,
  sharedSecret,
  sharedToken,
} from "../mod.ts";
import { connectRpc, RpcError, serveRpc } from "../rpc.ts";
import { frame, join, LOCAL, Peer, portOf } from "./peers.ts";
import { start } from "./process.ts";

const TEXT = "a secret of the tests, 32 bytes";
const TOKEN = sharedToken(TEXT);
const SECRET = sharedSecret(TEXT);
const ROOT = new URL("../", import.meta.url);
const HELLO = JSON.stringify({ $login: "token", token: TEXT });
const REFUSED = { $login: "refused" };
const WANTED =
  "Cannot authenticate: the server requires a login, and the client has no authenticate";

Deno.test("servers without authenticate refuse a client that begins a login, and hand on nothing of it", async () => {
  const seen: unknown[] = [];
  function take(message: unknown): string {
    seen.push(message);
    return "a reply";
  }
  const causes: unknown[] = [];
  await using echo = serve({
    ...LOCAL,
    onEvent(event) {
      if (event.type === "closed") causes.push(event.end.cause);
    },
  }, take);
  await using calls = serveRpc(LOCAL, { take });
  using listener = listen(LOCAL);
  const iterating = (async () => {
    for await (const connection of listener) {
      try {
        for await (const message of connection) take(message);
      } catch (error) {
        seen.push((error as Error).name);
      }
    }
  })();
  for (const { addr } of [echo, calls, listener]) {
    for (
      const hello of [HELLO, '{"$login":null}', '{"a":1,"$login":["secret"]}']
    ) {
      using peer = await Peer.connect(addr);
      await peer.write(join(frame(hello), frame('"and more"')));
      assertEquals(await peer.rest(), [REFUSED]);
    }
  }
  listener.close();
  await iterating;
  assertEquals(seen, Array(3).fill("AuthenticationError"));
  assertEquals(causes.length, 3);
  for (const cause of causes) assert(cause instanceof AuthenticationError);
});

Deno.test("$login is a key like any other behind the first message, and within it", async () => {
  const messages: JsonValue[] = [
    [JSON.parse(HELLO)],
    JSON.parse(HELLO),
    REFUSED,
    { $login: "accepted" },
  ];
  for (
    const options of [{}, { authenticate: SECRET }, { authenticate: TOKEN }]
  ) {
    await using server = serve({ ...LOCAL, ...options }, (message) => message);
    await using client = await connect({ ...server.addr, ...options });
    const isOpen = "authenticate" in options;
    for (const message of isOpen ? messages.toReversed() : messages) {
      assertEquals(await client.request(message), message);
    }
  }
});

Deno.test("clients without authenticate reject where the server wants a login", async () => {
  await using echo = serve({ ...LOCAL, authenticate: SECRET }, () => 1);
  await using calls = serveRpc({ ...LOCAL, authenticate: TOKEN }, {});
  const connection = await connect(echo.addr);
  const requests = [1, 2, 3].map((message) =>
    assertRejects(
      () => connection.request(message),
      AuthenticationError,
      WANTED,
    )
  );
  await Promise.all(requests);
  await connection.closed;
  await assertRejects(() => connection.request(4), AuthenticationError, WANTED);
  const iterated = await connect(echo.addr);
  await iterated.send("hello");
  await assertRejects(
    () => Array.fromAsync(iterated),
    AuthenticationError,
    WANTED,
  );
  await iterated.close();
  const peer = await connectRpc(calls.addr);
  await assertRejects(() => peer.call("add"), AuthenticationError, WANTED);
  await peer.close();
  assertEquals(echo.stats().messagesReceived, 0);
});

Deno.test("clients without authenticate take later words of a login for replies", async () => {
  const replies: JsonValue[] = ["first", REFUSED];
  await using server = serve(LOCAL, () => replies.shift() ?? null);
  await using client = await connect(server.addr);
  assertEquals(await client.request(1), "first");
  assertEquals(await client.request(2), REFUSED);
});

/** A server that says these payloads, one for each message, and keeps all. */
function fakeServer(payloads: string[]): {
  addr: { hostname: string; port: number };
  heard: Promise<JsonValue[]>;
} {
  const listener = Deno.listen(LOCAL);
  const { port } = listener.addr;
  async function talk(): Promise<JsonValue[]> {
    const heard: JsonValue[] = [];
    const conn = await listener.accept();
    listener.close();
    using peer = new Peer(conn);
    for (const payload of payloads) {
      heard.push(...await peer.take(1));
      await peer.write(frame(payload));
    }
    heard.push(...await peer.take(1).catch(() => []));
    return heard;
  }
  return { addr: { hostname: "127.0.0.1", port }, heard: talk() };
}

Deno.test("connect() sends nothing to a server that only claims to have accepted it", async () => {
  const challenge = `{"$login":"challenge","challenge":"${"0".repeat(64)}"}`;
  const accepted = '{"$login":"accepted"}';
  const proved = `{"$login":"accepted","proof":"${"0".repeat(64)}"}`;
  for (
    const [payloads, words] of [
      [['{"authenticated":true}'], ["secret"]],
      [[accepted], ["secret"]],
      [[challenge, accepted], ["secret", "response"]],
      [[challenge, proved], ["secret", "response"]],
    ]
  ) {
    const { addr, heard } = fakeServer(payloads);
    const connecting = connect({ ...addr, authenticate: SECRET });
    const { mayRetry } = await assertRejects(
      () => connecting,
      AuthenticationError,
    );
    assert(!mayRetry);
    const said = await heard as { $login: string }[];
    assertEquals(said.map(({ $login }) => $login), words);
  }
});

Deno.test("a client that is told later may try again, and one that is refused may not", async () => {
  let isDown = true;
  await using server = serve({
    ...LOCAL,
    authenticate(message, peer) {
      if (isDown) throw new Error("the database is down");
      return SECRET.verify(message, peer);
    },
  }, (message) => message);
  const options = { ...server.addr, authenticate: SECRET };
  const later = await assertRejects(
    () => connect(options),
    AuthenticationError,
  );
  assert(later.mayRetry);
  isDown = false;
  await using client = await createClient({
    ...options,
    maxRetryDelay: 1,
  });
  const { closed } = await client.connected();
  isDown = true;
  const [connection] = server.connections;
  connection.abort();
  await closed;
  const reply = client.request("back again");
  // It was turned away at least once meanwhile.
  while (server.stats().rejected < 2) await new Promise((r) => setTimeout(r));
  isDown = false;
  assertEquals(await reply, "back again");
  const refused = await assertRejects(
    () =>
      connect({
        ...server.addr,
        authenticate: sharedSecret("another secret of the tests"),
      }),
    AuthenticationError,
    "the server rejected the login",
  );
  assert(!refused.mayRetry);
});

const LOGINS: [name: string, command: string, args: string[]][] = [
  ["login.py", "python3", ["-B", "-X", "utf8", "interop/login.py"]],
  ["login.mjs", "node", ["interop/login.mjs"]],
];

for (const [name, command, script] of LOGINS) {
  for (const way of ["token", "secret"] as const) {
    const authenticate = way === "token" ? TOKEN : SECRET;

    Deno.test(`${name} logs in with a ${way}, and not with another one`, async () => {
      const folder = await Deno.makeTempDir();
      await Deno.writeTextFile(`${folder}/good`, `${TEXT}\n`);
      await Deno.writeTextFile(
        `${folder}/bad`,
        "not the secret of the tests\n",
      );
      const handled: JsonValue[] = [];
      await using server = serve({ ...LOCAL, authenticate }, (message) => {
        handled.push(message);
        return { status: "success" };
      });
      const where = ["127.0.0.1", `${portOf(server.addr)}`, way];
      for (const [file, code] of [["good", 0], ["bad", 1]] as const) {
        await using client = start(command, [
          ...[...script, ...where, `${folder}/${file}`],
        ], { cwd: ROOT });
        assertEquals((await client.status).code, code, await client.stderr());
        const error = await client.stderr();
        assertEquals(
          error,
          code === 0 ? "" : `${name}: the server rejected the login\n`,
        );
      }
      assertEquals(handled, [{ message: "hi" }]);
      await Deno.remove(folder, { recursive: true });
    });

    Deno.test(`${name} lets a client in with a ${way}, and not with another one`, async () => {
      const file = await Deno.makeTempFile();
      await Deno.writeTextFile(file, `${TEXT}\n`);
      await using server = start(command, [
        ...[...script, "--serve", "127.0.0.1", "0", way, file],
      ], { cwd: ROOT });
      const [, port] = await server.line(/^Listening on 127\.0\.0\.1:(\d+)/);
      const addr = { hostname: "127.0.0.1", port: Number(port) };
      const other = "not the secret of the tests";
      await assertRejects(
        () =>
          connect({
            ...addr,
            authenticate: way === "token"
              ? sharedToken(other)
              : sharedSecret(other),
          }),
        AuthenticationError,
        "the server rejected the login",
      );
      const client: Connection = await connect({ ...addr, authenticate });
      assertEquals(await client.request({ message: "hi" }), {
        status: "success",
        echo: "hi",
      });
      await client.close();
      await Deno.remove(file);
    });
  }

  Deno.test(`${name} believes no server that does not know the secret`, async () => {
    const file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, TEXT);
    const digits = "0".repeat(64);
    const { addr, heard } = fakeServer([
      `{"$login":"challenge","challenge":"${digits}"}`,
      `{"$login":"accepted","proof":"${digits}"}`,
    ]);
    await using client = start(command, [
      ...[...script, addr.hostname, `${addr.port}`, "secret", file],
    ], { cwd: ROOT });
    assertEquals((await client.status).code, 1);
    assertEquals(
      await client.stderr(),
      `${name}: the server did not prove that it knows the secret\n`,
    );
    assertEquals((await heard).length, 2);
    await Deno.remove(file);
  });
}

Deno.test("a server of calls answers nothing before the login", async () => {
  await using server = serveRpc({ ...LOCAL, authenticate: SECRET }, {
    add: (a: number, b: number) => a + b,
  });
  using peer = await Peer.connect(server.addr);
  await peer.write(
    frame('{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}'),
  );
  assertEquals(await peer.rest(), [REFUSED]);
  await using client = await connectRpc({
    ...server.addr,
    authenticate: SECRET,
  });
  assertEquals(await client.call("add", [1, 2]), 3);
  await assertRejects(() => client.call("none"), RpcError);
});
