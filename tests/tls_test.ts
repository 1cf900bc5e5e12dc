/** Servers and clients over TLS. */
import {
  assert,
  assertEquals,
  assertGreater,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  connect,
  type Connection,
  ConnectionClosedError,
  createClient,
  type JsonValue,
  serve,
  type ServeOptions,
  sharedSecret,
  TlsError,
} from "../mod.ts";
import { certificates } from "./certificates.ts";
import { faultTest, Sockets, until } from "./ledger.ts";
import { echo, LOCAL, Peer, portOf } from "./peers.ts";
import { type Running, start, startServerProgram } from "./process.ts";

const ROOT = new URL("../", import.meta.url);

const { ca, otherCa, folder, server: IDENTITY, client: CLIENT, otherClient } =
  certificates();
faultTest(
  "serve({ tls }) accepts a client while 50 peers send nothing",
  async () => {
    await using guarded = new Guarded({
      tls: IDENTITY,
      handshakeTimeout: Infinity,
    });
    const peers = await connectAll(guarded.addr, 50);
    for (let i = 0; i < 5; i++) {
      await using client = await connect({ ...guarded.addr, tls: { ca } });
      assertEquals(await client.request(i), i);
    }
    assertEquals(guarded.server.stats().pending, 50);
    leaveAll(peers);
    await guarded.untilRejected(50);
    assert(guarded.reasons.every((reason) => reason === "tls"));
  },
);

faultTest(
  "serve({ tls }) frees the descriptors of silent peers at handshakeTimeout, though they stay",
  async () => {
    await using guarded = new Guarded({ tls: IDENTITY, handshakeTimeout: 100 });
    const sockets = new Sockets();
    const start = performance.now();
    const peers = await connectAll(guarded.addr, 50);
    await guarded.untilRejected(50);
    assertGreater(performance.now() - start, 95);
    assert(guarded.reasons.every((reason) => reason === "handshakeTimeout"));
    await until(() => sockets.open === 50, "they were not freed");
    assertEquals(guarded.server.stats().pending, 0);
    leaveAll(peers);
  },
);

faultTest(
  "serve({ tls }) never has more descriptors open than maxConnections and maxPending, however many stall",
  async () => {
    await using guarded = new Guarded({
      tls: IDENTITY,
      maxConnections: 5,
      maxPending: 20,
      handshakeTimeout: Infinity,
    });
    const { server } = guarded;
    const sockets = new Sockets();
    const peers = await connectAll(guarded.addr, 100);
    await guarded.untilRejected(80);
    await until(() => sockets.open === 100 + 20, "they were not freed");
    const clients = await Promise.all(
      Array.from(
        { length: 5 },
        () => connect({ ...guarded.addr, tls: { ca } }),
      ),
    );
    await until(() => server.connections.size === 5, "not all were let in");
    peers.push(...await connectAll(guarded.addr, 30));
    // The ends of the peers and of the clients, and all that the server may have.
    await until(
      () => sockets.open <= 130 + 5 + 25 && server.stats().pending <= 20,
      () => `${sockets.open} are open`,
    );
    assertEquals(await clients[0].request(1), 1);
    assert(guarded.reasons.every((reason) => reason === "maxPending"));
    // Those who wait are accepted, once connections have ended.
    await Promise.all(clients.map((client) => client.close()));
    await until(() => server.stats().accepted === 135, "not all were accepted");
    assertEquals(server.stats().pending, 20);
    leaveAll(peers);
    await guarded.untilRejected(130);
  },
);

faultTest(
  "serve({ tls }) rejects a peer that does not speak TLS, tells it, and goes on",
  async () => {
    await using guarded = new Guarded({ tls: IDENTITY });
    for (const text of ["GET / HTTP/1.0\r\n\r\n", '\0\0\0\x0D"hello there"']) {
      using peer = await Peer.connect(guarded.addr);
      await peer.write(new TextEncoder().encode(text));
      const alert = new Uint8Array(100);
      assertEquals(await peer.conn.read(alert), 7);
      assertEquals(alert[0], 0x15); // a record of TLS that holds an alert
      await peer.ended();
    }
    await guarded.untilRejected(2);
    for (const { reason, error } of guarded.rejected) {
      assertEquals(reason, "tls");
      assertInstanceOf(error, TlsError);
      assertEquals(
        error.message,
        "Cannot secure the connection: the peer does not speak TLS",
      );
    }
    await using client = await connect({ ...guarded.addr, tls: { ca } });
    assertEquals(await client.request(1), 1);
  },
);

faultTest(
  "connect({ tls }) rejects when the server does not speak TLS, which says so, too",
  async () => {
    await using guarded = new Guarded({});
    await assertRejects(
      () => connect({ ...guarded.addr, tls: { ca } }),
      TlsError,
      "Cannot secure the connection",
    );
    await until(() => guarded.closed.length === 1, "it was not closed");
    const { cause } = guarded.closed[0].end;
    assertInstanceOf(cause, RangeError);
    assertMatch(cause.message, /the peer seems to speak TLS/);
    assertEquals(guarded.handled, []);
  },
);

faultTest(
  "connect({ tls }) gives up at handshakeTimeout, and frees its descriptor though the server stays",
  async () => {
    using listener = Deno.listen(LOCAL);
    const accepting = listener.accept();
    const sockets = new Sockets();
    const error = await assertRejects(
      () =>
        connect({
          ...LOCAL,
          port: listener.addr.port,
          tls: { ca },
          handshakeTimeout: 50,
        }),
      DOMException,
      ": the handshake took longer than 50 ms (handshakeTimeout)",
    );
    assertEquals(error.name, "TimeoutError");
    const conn = await accepting;
    await until(() => sockets.open === 1, "it was not freed");
    conn.close();
  },
);

faultTest(
  "connect({ tls, authenticate }) gives up with its signal in every handshake, and frees its descriptor",
  async () => {
    using silent = Deno.listen(LOCAL);
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<boolean>();
    await using guarded = new Guarded({
      tls: IDENTITY,
      authenticate() {
        asked.resolve();
        return answer.promise;
      },
    });
    for (const port of [silent.addr.port, portOf(guarded.addr)]) {
      const accepting = port === silent.addr.port ? silent.accept() : undefined;
      const sockets = new Sockets();
      const controller = new AbortController();
      const connecting = connect({
        ...LOCAL,
        port,
        tls: { ca },
        authenticate: () => ({ $login: "own" }),
        signal: controller.signal,
      });
      if (accepting === undefined) await asked.promise;
      else await (await accepting).read(new Uint8Array(1));
      const reason = new Error("enough");
      controller.abort(reason);
      assertStrictEquals(await assertRejects(() => connecting, Error), reason);
      (await accepting)?.close();
      answer.resolve(false);
      await until(() => sockets.open === 0, "it was not freed");
    }
    await guarded.untilRejected(1);
  },
);

/** A connection that its server has let in for good. */
async function letIn(
  options: Parameters<typeof connect>[0],
): Promise<Connection<unknown>> {
  const client = await connect(options);
  try {
    await client.request("hello");
  } catch (error) {
    // By TLS 1.3 the client is done before the server has seen its certificate.
    assertInstanceOf(error, ConnectionClosedError);
    throw error.cause;
  }
  return client;
}

faultTest(
  "connect({ tls }) trusts no other authority, and never goes on without TLS",
  async () => {
    const cases: [ServeOptions["tls"], object, string, string][] = [
      [
        IDENTITY,
        { ca: otherCa },
        "the certificate is not valid now, or its issuer is unknown",
        "the peer does not accept the certificate",
      ],
      [
        IDENTITY,
        {},
        "the certificate is not valid now, or its issuer is unknown",
        "the peer does not accept the certificate",
      ],
      [
        IDENTITY,
        { ca, serverName: "example.com" },
        'the certificate is not valid for "example.com"',
        "",
      ],
      [
        { ...IDENTITY, alpnProtocols: ["one"] },
        { ca, alpnProtocols: ["two"] },
        "no ALPN protocol in common",
        "no ALPN protocol in common",
      ],
      [
        { ...IDENTITY, minVersion: "TLSv1.3", ca },
        { ca },
        "the peer requires a certificate",
        "the peer sent no certificate",
      ],
      [
        { ...IDENTITY, ca },
        { ca, ...otherClient },
        "", // the server says nothing more
        "the certificate is not valid now, or its issuer is unknown",
      ],
    ];
    for (const [serverTls, clientTls, here, there] of cases) {
      await using guarded = new Guarded({ tls: serverTls });
      await assertRejects(
        () => letIn({ ...guarded.addr, tls: clientTls }),
        TlsError,
        here,
      );
      await until(
        () => guarded.rejected.length + guarded.closed.length === 1,
        "the server does not know",
      );
      for (const { reason, error } of guarded.rejected) {
        assertEquals(reason, "tls");
        assertInstanceOf(error, TlsError);
        assertMatch(error.message, new RegExp(there));
      }
      assertEquals(guarded.handled, []);
      assertEquals(guarded.server.stats().accepted, 1);
    }
  },
);

faultTest(
  "createClient() rejects if the server requires a certificate, and does not retry, though TLS tells it during the login",
  async () => {
    const authenticate = sharedSecret("it is sixteen bytes or more");
    await using guarded = new Guarded({
      tls: { ...IDENTITY, ca },
      authenticate,
    });
    const attempts: string[] = [];
    const error = await assertRejects(
      () =>
        createClient({
          ...guarded.addr,
          tls: { ca },
          authenticate,
          onEvent: ({ type }) => attempts.push(type),
        }),
      TlsError,
      "the peer requires a certificate",
    );
    assert(!error.mayRetry);
    assertEquals(attempts, ["connecting", "failed"]);
    await guarded.untilRejected(1);
  },
);

faultTest(
  "serve({ tls: { ca } }) shows the peer's certificate to the handler and the verifier",
  async () => {
    const subjects: unknown[] = [];
    await using server = serve({
      ...LOCAL,
      tls: { ...IDENTITY, ca },
      authenticate: (_message, { tls }) => ({
        name: tls?.peerCertificate?.subject.CN,
      }),
    }, (_message, { tls, identity }) => {
      subjects.push(tls?.peerCertificate?.subjectAltNames);
      return [identity as JsonValue, tls?.protocol as string];
    });
    await using client = await connect({
      ...server.addr,
      tls: { ca, ...CLIENT },
      authenticate: () => ({ $login: "own" }),
    });
    assertEquals(await client.request(1), [{ name: "client" }, "TLSv1.3"]);
    assertEquals(subjects, [["URI:spiffe://example.com/client"]]);
    assertEquals(client.tls?.peerCertificate?.subject.CN, "server");
  },
);

faultTest(
  "connections over TLS do not take the end of TCP for the word of the peer",
  async () => {
    await using guarded = new Guarded({ tls: IDENTITY });
    using listener = Deno.listen(LOCAL);
    const conns = (async () => {
      const near = await listener.accept();
      const far = await Deno.connect({ ...LOCAL, port: portOf(guarded.addr) });
      pipe(near, far);
      pipe(far, near);
      return [near, far];
    })();
    const client = await connect({
      ...LOCAL,
      port: listener.addr.port,
      tls: { ca },
    });
    assertEquals(await client.request("whole"), "whole");
    const message = assertRejects(
      () => client[Symbol.asyncIterator]().next(),
      ConnectionClosedError,
    );
    for (const conn of await conns) await conn.closeWrite();
    assertInstanceOf((await message).cause, TlsError);
    assert(!(await client.closed).clean);
    await until(() => guarded.closed.length === 1, "the server does not know");
    const { end } = guarded.closed[0];
    assert(!end.clean);
    assertInstanceOf(end.cause, TlsError);
    for (const conn of await conns) conn.close();
  },
);

faultTest(
  "serve({ tls }) frees the descriptor of a peer that reads nothing, though it stays",
  async () => {
    const text = "x".repeat(1_000_000);
    const ends: unknown[] = [];
    const server = serve({
      ...LOCAL,
      tls: IDENTITY,
      writeTimeout: 100,
      onEvent(event) {
        if (event.type === "closed") ends.push(event.end.cause);
      },
    }, () => text);
    const sockets = new Sockets();
    const client = await connect({ ...server.addr, tls: { ca } });
    for (let i = 0; i < 30; i++) client.send(1); // and nobody reads the replies
    await until(() => ends.length === 1, "it is still open");
    assertInstanceOf(ends[0], DOMException);
    assertEquals(ends[0].name, "TimeoutError");
    await until(() => sockets.open === 1, "it was not freed");
    client.abort();
    await server.shutdown();
  },
);

faultTest(
  "serve({ tls }) throws when it cannot use what it is given, and leaves no listener",
  async () => {
    const listener = Deno.listen(LOCAL);
    const port = listener.addr.port;
    listener.close();
    const { cert, key } = IDENTITY;
    const cases: [unknown, string][] = [
      [{}, '"cert": expected certificates as PEM text'],
      [{ cert }, '"key": expected a private key'],
      [{ cert: "nonsense", key }, '"cert": expected certificates as PEM text'],
      [{ cert, key: "nonsense" }, '"key": expected a private key'],
      [
        { cert, key: CLIENT.key },
        '"key": it does not belong to the certificate',
      ],
      [
        { cert, key, ca: "nonsense" },
        '"ca": expected certificates as PEM text',
      ],
      [{ cert, key, minVersion: "TLSv1" }, '"minVersion"'],
      [{ cert, key, requestCert: true }, '"requestCert": it does not exist'],
    ];
    for (const [tls, text] of cases) {
      const error = assertThrows(
        () => serve({ ...LOCAL, port, tls: tls as ServeOptions["tls"] }, echo),
        TypeError,
        text,
      );
      assert(!error.message.includes("PRIVATE"));
    }
    await serve({ ...LOCAL, port, tls: IDENTITY }, echo).shutdown();
  },
);

const PYTHON_CLIENT = `
import json, socket, ssl, struct, sys
port, certificate = int(sys.argv[1]), sys.argv[2:]
context = ssl.create_default_context(cafile="ca.pem")
if certificate:
    context.load_cert_chain(*certificate)
with socket.create_connection(("127.0.0.1", port)) as plain:
    with context.wrap_socket(plain, server_hostname="localhost") as secured:
        payload = json.dumps({"message": "from Python"}).encode()
        secured.sendall(struct.pack(">I", len(payload)) + payload)
        stream = secured.makefile("rb")
        (size,) = struct.unpack(">I", stream.read(4))
        print(secured.version(), stream.read(size).decode(), flush=True)
        secured.unwrap()
`;
import { connectAll, Guarded, leaveAll, pipe } from "./guarded.ts";

function startPython(port: number, ...certificate: string[]): Running {
  const args = ["-B", "-c", PYTHON_CLIENT, `${port}`, ...certificate];
  return start("python3", args, { cwd: folder });
}

/** A client that ends when the server does, as this one has nothing to add. */
async function startOpenssl(port: number, ...args: string[]): Promise<Running> {
  // deno-fmt-ignore
  const openssl = start("openssl", [
    "s_client", "-connect", `127.0.0.1:${port}`, "-CAfile", "ca.pem",
    "-verify_return_error", "-verify_hostname", "localhost", "-quiet", ...args,
  ], { cwd: folder, stdin: "piped" });
  await openssl.write('\0\0\0\x16{"message":"openssl"}\n');
  return openssl;
}

/** The server program behind TLS. */
function startTlsServer(
  files: string[],
  ...args: string[]
): Promise<Running & { port: number }> {
  const paths = files.map((file) => `${folder}/${file}`);
  return startServerProgram(
    ["--allow-net=127.0.0.1:0", `--allow-read=${paths.join()}`],
    ["--hostname=127.0.0.1", "--port=0", ...args],
  );
}

const TLS_FILES = ["server.pem", "server.key"];

const TLS_ARGS = [
  `--tls-cert=${folder}/server.pem`,
  `--tls-key=${folder}/server.key`,
];

faultTest(
  "serve({ tls }) and the server program speak TLS with Python and with openssl",
  async () => {
    const reply = '{"status":"success","echo":"openssl"}';
    await using server = serve({ ...LOCAL, tls: IDENTITY }, (message) => ({
      status: "success",
      echo: (message as { message: string }).message,
    }));
    await using program = await startTlsServer(
      TLS_FILES,
      ...TLS_ARGS,
      "--verbose",
    );
    for (const port of [portOf(server.addr), program.port]) {
      await using python = startPython(port);
      await python.line(
        /^TLSv1\.3 \{"status":"success","echo":"from Python"\}$/,
      );
      assertEquals((await python.status).code, 0);
      await using openssl = await startOpenssl(port);
      if (port === program.port) {
        for (let i = 0; i < 2; i++) await program.line(/message out/);
        program.kill();
      } else {
        await until(() => server.stats().messagesSent === 2, "no reply");
        await server.shutdown();
      }
      assertEquals((await openssl.status).code, 0);
      const output = await openssl.stdout();
      assertEquals(
        output,
        `\0\0\0${String.fromCharCode(reply.length)}${reply}`,
      );
    }
  },
);

faultTest(
  "the server program demands certificates of clients with --tls-ca",
  async () => {
    await using server = await startTlsServer(
      [...TLS_FILES, "ca.pem"],
      ...TLS_ARGS,
      `--tls-ca=${folder}/ca.pem`,
    );
    await using trusted = startPython(server.port, "client.pem", "client.key");
    await trusted.line(
      /^TLSv1\.3 \{"status":"success","echo":"from Python"\}$/,
    );
    for (const files of [[], ["other_client.pem", "other_client.key"]]) {
      await using refused = startPython(server.port, ...files);
      assert((await refused.status).code !== 0);
      assertEquals(await refused.stdout(), "");
    }
    await using openssl = await startOpenssl(
      server.port,
      ...["-cert", "client.pem", "-key", "client.key"],
    );
    server.kill();
    assertEquals((await server.status).code, 0);
    await openssl.status;
    const output = await server.stdout();
    assertMatch(
      output,
      /rejected: tls: cannot secure the connection: the peer sent no certificate/,
    );
  },
);

faultTest(
  "the client program trusts --tls-ca, and says why it rejects other servers",
  async () => {
    await using server = await startTlsServer(
      [...TLS_FILES, "ca.pem"],
      ...TLS_ARGS,
      `--tls-ca=${folder}/ca.pem`,
    );
    const cases: [string, string[], number, RegExp, RegExp][] = [
      ["ca.pem", ["client"], 0, /^\{"status":"success","echo":"hi"\}\n$/, /^$/],
      [
        "otherCa.pem",
        ["client"],
        1,
        /^$/,
        /^client: cannot secure the connection to .*the certificate is not valid now, or its issuer is unknown \(tls\.ca\)\n$/,
      ],
    ];
    for (const [authority, [name], code, stdout, stderr] of cases) {
      const files = [authority, `${name}.pem`, `${name}.key`]
        .map((file) => `${folder}/${file}`);
      const [caFile, certFile, keyFile] = files;
      await using client = start(Deno.execPath(), [
        ...["run", "--no-prompt", `--allow-net=127.0.0.1:${server.port}`],
        ...[`--allow-read=${files.join(",")}`, "client.ts"],
        ...["--hostname=127.0.0.1", `--port=${server.port}`],
        ...[`--tls-ca=${caFile}`, `--tls-cert=${certFile}`],
        ...[`--tls-key=${keyFile}`, '{"message":"hi"}'],
      ], { cwd: ROOT });
      assertMatch(await client.stdout(), stdout);
      assertMatch(await client.stderr(), stderr);
      assertEquals((await client.status).code, code);
    }
  },
);
