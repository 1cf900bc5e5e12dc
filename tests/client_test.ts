import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import {
  type Address,
  AuthenticationError,
  type ClientOptions,
  connect,
  ConnectionClosedError,
  type ConnectOptions,
  createClient,
  encodeFrame,
  FrameTruncatedError,
  listen,
  serve,
  sharedSecret,
  sharedToken,
  TlsError,
} from "../mod.ts";
import { certificates, issue } from "./certificates.ts";
import { echo } from "./peers.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };

type ErrorClass = new (message: string) => Error;

/** An address at which nobody listens. */
function nowhere(): Address {
  using listener = listen(LOCAL);
  return listener.addr;
}

Deno.test("connect() rejects when no server listens", async () => {
  const listener = listen(LOCAL);
  listener.close();
  await assertRejects(
    () => connect(listener.addr),
    Deno.errors.ConnectionRefused,
  );
  await assertRejects(
    () => connect({ path: "/nowhere/socket" }),
    Deno.errors.NotFound,
  );
});

Deno.test("connect() connects to localhost whichever address family it stands for", async () => {
  await using server = serve(LOCAL, (message) => message);
  await using client = await connect({
    port: (server.addr as Deno.NetAddr).port,
  });
  assertEquals(await client.request("hello"), "hello");
});

Deno.test("connect() gives up after connectTimeout, and when its signal is aborted", async () => {
  // A backlog of none, and connections that nobody accepts: the next has to
  // wait.
  using full = Deno.listen(
    { ...LOCAL, tcpBacklog: 0 } as Deno.TcpListenOptions,
  );
  const { port } = full.addr;
  const fillers = await Promise.all([Deno.connect({ port })]);
  const timeout = await assertRejects(
    () => connect({ port, connectTimeout: 20 }),
    DOMException,
    `Cannot connect to localhost:${port}: no answer after 20 ms`,
  );
  assertEquals(timeout.name, "TimeoutError");
  const controller = new AbortController();
  const reason = new Error("enough");
  const connecting = connect({ port, signal: controller.signal });
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => connecting, Error), reason);
  assertStrictEquals(
    await assertRejects(
      () => connect({ port, signal: controller.signal }),
      Error,
    ),
    reason,
  );
  for (const filler of fillers) filler.close();
});

Deno.test("connect() gives a connection that its signal does not abort, like Deno.connect()", async () => {
  await using server = serve(LOCAL, echo);
  const controller = new AbortController();
  await using connection = await connect({
    ...server.addr,
    signal: controller.signal,
  });
  controller.abort();
  assertEquals(await connection.request(1), 1);
  assertEquals(connection.signal.aborted, false);
});

Deno.test("createClient() waits for a server that starts later, and tells why it is not connected", async () => {
  const addr = nowhere();
  const failures: unknown[] = [];
  const first = Promise.withResolvers<void>();
  const connecting = createClient({
    ...addr,
    maxRetryDelay: 1,
    onEvent(event) {
      if (event.type !== "failed") return;
      failures.push(event.error);
      first.resolve();
    },
  });
  await first.promise;
  await using server = serve(addr, echo);
  await using client = await connecting;
  assertEquals(await client.request(1), 1);
  assertInstanceOf(failures[0], Deno.errors.ConnectionRefused);
  assertEquals(server.stats().accepted, 1);
});

Deno.test("createClient() waits for the socket of a server that starts later", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/socket`;
  const failed = Promise.withResolvers<unknown>();
  const connecting = createClient({
    path,
    maxRetryDelay: 1,
    onEvent: (event) => event.type === "failed" && failed.resolve(event.error),
  });
  assertInstanceOf(await failed.promise, Deno.errors.NotFound);
  await using _server = serve({ path }, echo);
  await using client = await connecting;
  assertEquals(await client.request(1), 1);
  await client.close();
  await Deno.remove(directory, { recursive: true });
});

Deno.test("createClient() tries again where a server leaves in the middle of the TLS handshake", async () => {
  const { ca, server: { cert, key } } = certificates();
  const leaving = Deno.listen(LOCAL);
  const addr = { ...LOCAL, port: leaving.addr.port };
  const failed = Promise.withResolvers<unknown>();
  const connecting = createClient({
    ...addr,
    tls: { ca },
    maxRetryDelay: 1,
    onEvent: (event) => event.type === "failed" && failed.resolve(event.error),
  });
  (await leaving.accept()).close();
  leaving.close();
  const error = await failed.promise;
  assertInstanceOf(error, TlsError);
  assert(error.mayRetry);
  await using _server = serve({ ...addr, tls: { cert, key } }, echo);
  await using client = await connecting;
  assertEquals(await client.request(1), 1);
});

Deno.test("createClient() rejects at once what no other attempt would change", async () => {
  const { ca, server: { cert, key } } = certificates();
  const authenticate = sharedSecret("a secret of the tests");
  await using server = serve(
    { ...LOCAL, tls: { cert, key }, authenticate },
    echo,
  );
  const options = { ...server.addr, tls: { ca }, authenticate };
  const cases: [ClientOptions, ErrorClass, string][] = [
    [{ hostname: "a..b" }, URIError, "invalid host"],
    [{ port: -1 }, RangeError, "received -1"],
    [{ ...LOCAL, port: 0 }, RangeError, "invalid port"],
    [{ path: `/tmp/${"x".repeat(200)}` }, TypeError, "shorter than SUN_LEN"],
    [{ ...options, tls: true }, TlsError, "Cannot secure the connection"],
    [
      { ...options, authenticate: sharedSecret("another secret of the tests") },
      AuthenticationError,
      "the server rejected the login",
    ],
  ];
  for (const [options, type, text] of cases) {
    await assertRejects(() => createClient(options), type, text);
  }
  await using client = await createClient(options);
  assertEquals(await client.request(1), 1);
});

Deno.test("createClient() gives up its first connection with its signal, and that alone", async () => {
  const addr = nowhere();
  const controller = new AbortController();
  const { signal } = controller;
  const reason = new Error("enough");
  const failed = Promise.withResolvers<void>();
  const connecting = assertRejects(
    () =>
      createClient({
        ...addr,
        signal,
        onEvent: ({ type }) => type === "failed" && failed.resolve(),
      }),
    Error,
  );
  await failed.promise;
  controller.abort(reason);
  assertStrictEquals(await connecting, reason);
  await using server = serve(addr, echo);
  assertEquals(server.stats().accepted, 0);
  const later = new AbortController();
  await using client = await createClient({ ...addr, signal: later.signal });
  later.abort(reason);
  assertEquals(await client.request(1), 1);
});

Deno.test("connect() rejects wrong options before it dials", async () => {
  const cases: [ConnectOptions, typeof Error, string][] = [
    [{ port: -1 }, RangeError, "received -1"],
    [{ connectTimeout: 0 }, RangeError, "received 0"],
    [{ path: "x", hostname: "y" }, TypeError, 'option "path" together'],
    [{ prefixBytes: 5 as never }, RangeError, "received 5"],
    [{ timeout: 5 } as never, TypeError, '"timeout": it does not exist'],
  ];
  for (const [options, type, text] of cases) {
    await assertRejects(() => connect(options), type, text);
  }
});

Deno.test("connect() rejects options of the wrong type before it dials, and ignores none", async () => {
  using listener = Deno.listen(LOCAL);
  const { port } = listener.addr;
  const token = sharedToken("a token of the tests");
  const cases: [string, unknown[]][] = [
    ["tls", [false, null, "", 0, "yes", () => {}]],
    ["authenticate", [null, false, "", 0, "token", {}, []]],
    ["signal", [null, false, {}, new AbortController()]],
    ["onEvent", [null, false, {}, "log"]],
    ["hostname", [null, false, 0, 127, {}]],
  ];
  for (const [name, values] of cases) {
    for (const value of values) {
      const options = { port, authenticate: token, [name]: value };
      await assertRejects(
        () => connect(options as ConnectOptions),
        TypeError,
        `Cannot use option "${name}": received `,
      );
    }
  }
  // Had any of them dialed, it would be the first to be accepted.
  const last = await Deno.connect({ port });
  const first = await listener.accept();
  assertEquals(first.remoteAddr, last.localAddr);
  first.close();
  last.close();
});

Deno.test("connect({ tls }) checks an IPv6 address with or without brackets", async () => {
  const { ca, server: { cert, key } } = certificates();
  const tls = issue("loopback", {
    subject: "/CN=loopback",
    extensions: "subjectAltName = IP:::1",
    issuer: "ca",
  });
  for (const hostname of ["[::1]", "::1"]) {
    await using server = serve({ hostname: "::1", port: 0, tls }, echo);
    const { port } = server.addr as Deno.NetAddr;
    await using client = await connect({ hostname, port, tls: { ca } });
    assertEquals(await client.request(hostname), hostname);
    await using other = serve(
      { hostname: "::1", port: 0, tls: { cert, key } },
      echo,
    );
    const { port: otherPort } = other.addr as Deno.NetAddr;
    await assertRejects(
      () => connect({ hostname, port: otherPort, tls: { ca } }),
      TlsError,
      'the certificate is not valid for "::1"',
    );
  }
});

Deno.test("request() rejects when the server leaves, and says how", async () => {
  const frame = encodeFrame({ message: "cut" });
  for (const sent of [0, 2, 9]) {
    using listener = Deno.listen(LOCAL);
    await using client = await connect({ port: listener.addr.port });
    const conn = await listener.accept();
    const replies = [client.request(1), client.request(2)].map((reply) =>
      assertRejects(() => reply, ConnectionClosedError)
    );
    await conn.read(new Uint8Array(100));
    if (sent > 0) await conn.write(frame.subarray(0, sent));
    conn.close();
    for (const { clean, cause } of await Promise.all(replies)) {
      assertEquals(clean, sent === 0);
      if (sent > 0) assertInstanceOf(cause, FrameTruncatedError);
    }
  }
});

Deno.test("request() carries 10 000 messages at once, in order", async () => {
  await using server = serve(LOCAL, (message) => message);
  await using client = await connect(server.addr);
  const numbers = Array.from({ length: 10_000 }, (_, i) => i);
  assertEquals(
    await Promise.all(numbers.map((i) => client.request(i))),
    numbers,
  );
});

Deno.test("request() carries large messages in both directions at once", async () => {
  await using server = serve(LOCAL, (message) => message);
  await using client = await connect({
    ...server.addr,
    maxQueuedBytes: Infinity,
  });
  const texts = Array.from({ length: 20 }, (_, i) => `${i}é`.repeat(250_000));
  const replies = await Promise.all(texts.map((text) => client.request(text)));
  assert(replies.every((reply, i) => reply === texts[i]));
});
