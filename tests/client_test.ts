import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import {
  connect,
  type Connection,
  ConnectionClosedError,
  type ConnectOptions,
  encodeFrame,
  FrameTruncatedError,
  listen,
  serve,
  sharedToken,
  TlsError,
} from "../mod.ts";
import { certificates, issue } from "./certificates.ts";
import { echo } from "./peers.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };

Deno.test("connect() rejects when nobody listens", async () => {
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

Deno.test("connect() gives a connection that its signal aborts", async () => {
  await using server = serve(LOCAL, () => new Promise<never>(() => {}));
  const controller = new AbortController();
  const client = await connect({
    ...server.addr,
    signal: controller.signal,
  });
  const reply = assertRejects(() => client.request(1), ConnectionClosedError);
  const reason = new Error("enough");
  controller.abort(reason);
  assertStrictEquals((await reply).cause, reason);
  assertEquals(await client.closed, { clean: false, cause: reason });
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
    ["reconnect", [null, "", 0, 1, "yes", () => {}]],
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
  await assertRejects(
    () => connect({ port, reconnect: { minDelay: 0 } }),
    RangeError,
  );
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

Deno.test("connect({ reconnect: false }) gives a connection, like connect() without it", async () => {
  await using server = serve(LOCAL, (message) => message);
  const client: Connection = await connect({
    ...server.addr,
    reconnect: false,
  });
  assert(!("connected" in client));
  assertEquals(await client.request(1), 1);
  await client.close();
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
