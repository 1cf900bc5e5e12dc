import {
  assert,
  assertEquals,
  assertRejects,
  assertThrows,
  fail,
} from "@std/assert";
import { concat } from "@std/bytes/concat";
import { writeAll } from "@std/io/write-all";
import type { ByteDuplex } from "../connection/connection.ts";
import { certificates, issue } from "../../tests/certificates.ts";
import { Sockets, standstill, until } from "../../tests/ledger.ts";
import { type MemoryEnd, memoryPair } from "../../tests/memory_pair.ts";
import { start } from "../../tests/process.ts";
import { type Random, seeded } from "../../tests/random.ts";
import {
  type SecureClient,
  secureClient,
  type SecureDuplex,
  type SecureServer,
  secureServer,
  type TlsClientOptions,
  TlsError,
  type TlsServerOptions,
} from "./tls.ts";
import { turn } from "../../tests/turns.ts";

const { ca, client, folder, otherCa, server, otherClient } = certificates();

function makeServer(options: Partial<TlsServerOptions> = {}) {
  return secureServer({ ...server, ...options });
}

function makeClient(options: TlsClientOptions = {}) {
  return secureClient({ ca, ...options });
}

const asServer = makeServer();
const asClient = makeClient();

/** Two ends of a TCP connection. */
async function tcpPair(): Promise<[Deno.TcpConn, Deno.TcpConn]> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return await Promise.all([listener.accept(), dial(listener.addr.port)]);
}

function dial(port: number): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname: "127.0.0.1", port });
}

/** Two ends with TLS between them, over memory. */
interface SecuredPair extends AsyncDisposable {
  server: SecureDuplex;
  client: SecureDuplex;
  /** The bytes below. */
  serverEnd: MemoryEnd;
  clientEnd: MemoryEnd;
}

async function securedPair(
  ofServer: SecureServer = asServer,
  ofClient: SecureClient = asClient,
): Promise<SecuredPair> {
  const [serverEnd, clientEnd] = memoryPair();
  const [server, client] = await Promise.all([
    ofServer(serverEnd),
    ofClient(clientEnd, "localhost"),
  ]);
  return {
    server,
    client,
    serverEnd,
    clientEnd,
    async [Symbol.asyncDispose]() {
      server.duplex.close();
      client.duplex.close();
      await turn();
    },
  };
}

/**
 * Both handshakes over TCP, one of which at least fails: with what each failed,
 * and whether it is closed then.
 */
async function failedPair(
  ofServer: SecureServer,
  ofClient: SecureClient,
  hostname = "localhost",
): Promise<{ ofServer: string; ofClient: string; closed: boolean[] }> {
  const conns = await tcpPair();
  const ends = await Promise.allSettled([
    ofServer(conns[0]),
    ofClient(conns[1], hostname),
  ]);
  if (ends.every(({ status }) => status === "fulfilled")) {
    conns.forEach((conn) => conn.close());
    fail("both handshakes succeeded");
  }
  const messages = await Promise.all(ends.map(async (end) => {
    if (end.status === "rejected") return messageOf(end.reason);
    // A client may be done before the server has looked at its certificate.
    const { duplex } = end.value;
    const message = await duplex.read(new Uint8Array(1)).then(
      String,
      messageOf,
    );
    duplex.close();
    return message;
  }));
  await turn();
  return {
    ofServer: messages[0],
    ofClient: messages[1],
    closed: conns.map(isClosed),
  };
}

/** Closes a connection, unless it is closed already. */
function isClosed(conn: Deno.Conn): boolean {
  try {
    conn.close();
    return false;
  } catch (error) {
    assert(error instanceof Deno.errors.BadResource);
    return true;
  }
}

function messageOf(error: unknown): string {
  assert(error instanceof TlsError, String(error));
  assertEquals(error.name, "TlsError");
  return error.message;
}

const FAILED = "Cannot secure the connection: ";
const CUT_SHORT =
  "Cannot receive: the connection ended without the end of TLS, so bytes may be missing";
const UNTRUSTED =
  `${FAILED}the certificate is not valid now, or its issuer is unknown (tls.ca)`;

/** Reads to the end, with spaces of any size. */
async function readAll(
  duplex: ByteDuplex,
  size: () => number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (;;) {
    const space = new Uint8Array(size());
    const count = await duplex.read(space);
    if (count === null) return concat(chunks);
    chunks.push(space.subarray(0, count));
  }
}

async function readText(duplex: ByteDuplex, length: number): Promise<string> {
  let text = "";
  while (text.length < length) {
    const space = new Uint8Array(length - text.length);
    const count = await duplex.read(space);
    if (count === null) break;
    text += new TextDecoder().decode(space.subarray(0, count));
  }
  return text;
}

function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** Sends back what comes, and ends its side when the peer has. */
async function echoBytes({ duplex }: SecureDuplex): Promise<void> {
  const space = new Uint8Array(10_000);
  for (let count; (count = await duplex.read(space)) !== null;) {
    await writeAll(duplex, space.subarray(0, count));
  }
  await duplex.closeWrite?.();
  duplex.close();
}

Deno.test(
  "TlsDuplex carries any bytes both ways at once, in parts of any size",
  seeded(async (random: Random) => {
    await using pair = await securedPair();
    for (const end of [pair.serverEnd, pair.clientEnd]) {
      end.readAtMost = random.integer(1_000, 100_000);
      end.writeAtMost = random.integer(1_000, 100_000);
    }
    const there = random.bytes(1_048_576);
    const back = random.bytes(1_048_576);
    async function send(duplex: ByteDuplex, bytes: Uint8Array<ArrayBuffer>) {
      for (const part of random.split(bytes, 150_000)) {
        await writeAll(duplex, part);
      }
      await duplex.closeWrite?.();
    }
    const [atServer, atClient] = await Promise.all([
      readAll(pair.server.duplex, () => random.integer(1, 70_000)),
      readAll(pair.client.duplex, () => random.integer(1, 70_000)),
      send(pair.client.duplex, there),
      send(pair.server.duplex, back),
    ]);
    assert(
      atServer.length === there.length &&
        atServer.every((byte, i) => byte === there[i]),
    );
    assert(
      atClient.length === back.length &&
        atClient.every((byte, i) => byte === back[i]),
    );
  }),
);

Deno.test("TlsDuplex shows no plain byte to the stream below", async () => {
  await using pair = await securedPair();
  await writeAll(pair.client.duplex, utf8("a secret of some length"));
  assertEquals(
    await readText(pair.server.duplex, 23),
    "a secret of some length",
  );
  const sent = new TextDecoder("latin1").decode(concat(pair.clientEnd.writes));
  assert(!sent.includes("secret"));
});

Deno.test("secureServer() and secureClient() tell what they agreed on", async () => {
  await using plain = await securedPair();
  assertEquals(plain.server.info, {
    protocol: "TLSv1.3",
    cipher: plain.client.info.cipher,
  });
  assert(plain.client.info.cipher.startsWith("TLS_"));
  assertEquals(plain.client.info.alpnProtocol, undefined);

  await using pair = await securedPair(
    makeServer({ ca, alpnProtocols: ["first", "second"] }),
    makeClient({ ...client, alpnProtocols: ["other", "second"] }),
  );
  assertEquals(pair.server.info.alpnProtocol, "second");
  assertEquals(pair.client.info.alpnProtocol, "second");
  const ofServer = pair.client.info.peerCertificate;
  assertEquals(ofServer?.subjectAltNames, [
    "DNS:localhost",
    "IP Address:127.0.0.1",
  ]);
  const ofClient = pair.server.info.peerCertificate;
  assertEquals(ofClient?.subject, { O: "Example", CN: "client" });
  assertEquals(ofClient?.issuer, { CN: "Authority" });
  assertEquals(ofClient?.subjectAltNames, ["URI:spiffe://example.com/client"]);
  assert(/^[0-9A-F]+$/.test(ofClient?.serialNumber ?? ""));
  assert(
    /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/.test(ofClient?.fingerprint256 ?? ""),
  );
  assert((ofClient?.validTo.getTime() ?? 0) > Date.now());
});

Deno.test("secureClient() accepts a server by address, by another name and by a wildcard", async () => {
  const wildcard = makeServer(issue("wildcard", {
    subject: "/CN=wildcard",
    extensions: "subjectAltName = DNS:*.example.com, IP:::1",
    issuer: "ca",
  }));
  const cases: [SecureServer, SecureClient, string][] = [
    [asServer, asClient, "127.0.0.1"],
    [asServer, makeClient({ serverName: "localhost" }), "10.0.0.1"],
    [asServer, asClient, "LocalHost."],
    [asServer, makeClient({ ca: [otherCa, ca] }), "localhost"],
    [asServer, makeClient({ ca: otherCa + ca }), "localhost"],
    [wildcard, asClient, "a.example.com"],
    [wildcard, asClient, "0:0::1"],
  ];
  for (const [ofServer, ofClient, hostname] of cases) {
    const [serverEnd, clientEnd] = memoryPair();
    const ends = await Promise.all([
      ofServer(serverEnd),
      ofClient(clientEnd, hostname),
    ]);
    for (const { duplex } of ends) duplex.close();
  }
  await turn();
});

Deno.test("secureClient() refuses a certificate of an unknown issuer", async () => {
  const { ofServer, ofClient, closed } = await failedPair(
    asServer,
    makeClient({ ca: otherCa }),
  );
  assertEquals(ofClient, UNTRUSTED);
  assertEquals(ofServer, `${FAILED}the peer does not accept the certificate`);
  assertEquals(closed, [true, true]);
  // Nor if it was asked before, nor with the authorities of the platform.
  assertEquals(
    (await failedPair(asServer, makeClient({ ca: otherCa }))).ofClient,
    UNTRUSTED,
  );
  assertEquals(
    (await failedPair(asServer, secureClient())).ofClient,
    UNTRUSTED,
  );
});

Deno.test("secureClient() refuses a certificate for another name", async () => {
  const injecting = makeServer(issue("injecting", {
    subject: "/CN=example.com",
    extensions: "subjectAltName = @names\n[names]\n" +
      "URI.1 = http://a, DNS:example.com\nDNS.1 = localhost",
    issuer: "ca",
  }));
  const nameless = makeServer(
    issue("nameless", { subject: "/CN=example.com", issuer: "ca" }),
  );
  const cases: [SecureServer, string][] = [
    [asServer, "example.com"],
    [asServer, "127.0.0.2"],
    [asServer, "server"],
    // One name that looks like two.
    [injecting, "example.com"],
    [nameless, "example.com"],
  ];
  for (const [ofServer, hostname] of cases) {
    const failed = await failedPair(ofServer, asClient, hostname);
    assertEquals(
      failed.ofClient,
      `${FAILED}the certificate is not valid for "${hostname}"`,
    );
    assertEquals(failed.ofServer, CUT_SHORT);
    assertEquals(failed.closed, [true, true]);
  }
  const other = makeClient({ serverName: "example.com" });
  assertEquals(
    (await failedPair(asServer, other)).ofClient,
    `${FAILED}the certificate is not valid for "example.com"`,
  );
});

Deno.test("secureServer() and secureClient() refuse a peer with no protocol in common", async () => {
  assertEquals(
    await failedPair(
      makeServer({ alpnProtocols: ["a"] }),
      makeClient({ alpnProtocols: ["b"] }),
    ),
    {
      ofServer: `${FAILED}no ALPN protocol in common`,
      ofClient: `${FAILED}no ALPN protocol in common`,
      closed: [true, true],
    },
  );
});

Deno.test("secureServer() refuses a client without a certificate, and one of another authority", async () => {
  const ofServer = makeServer({ ca });
  assertEquals(await failedPair(ofServer, asClient), {
    ofServer: `${FAILED}the peer sent no certificate`,
    ofClient: `${FAILED}the peer requires a certificate`,
    closed: [true, true],
  });
  assertEquals(await failedPair(ofServer, makeClient(otherClient)), {
    ofServer: UNTRUSTED,
    ofClient: CUT_SHORT,
    closed: [true, true],
  });
  // A certificate for servers is none for clients.
  const wrongUse = issue("wrongUse", {
    subject: "/CN=client",
    extensions: "extendedKeyUsage = serverAuth",
    issuer: "ca",
  });
  assertEquals(
    (await failedPair(ofServer, makeClient(wrongUse))).ofServer,
    UNTRUSTED,
  );
  await using _accepted = await securedPair(ofServer, makeClient(client));
});

Deno.test("secureServer() and secureClient() reject when the peer does not speak TLS", async () => {
  for (
    const [secure, text] of [
      [(end: MemoryEnd) => asServer(end), "GET / HTTP/1.0\r\n\r\n"],
      [
        (end: MemoryEnd) => asClient(end, "localhost"),
        "\0\0\0\u0002{}",
      ],
    ] as const
  ) {
    const [end, peer] = memoryPair();
    await peer.write(utf8(text));
    const { cause } = await assertRejects(
      () => secure(end),
      TlsError,
      `${FAILED}the peer does not speak TLS`,
    );
    assert(cause instanceof Error);
    assertEquals(end.closed, 1);
    await turn();
  }
});

Deno.test("secureServer() keeps the connections of one context apart", async () => {
  const context = makeServer();
  await using pair = await securedPair(context);
  await using other = await securedPair(context);
  for (let i = 0; i < 2; i++) {
    const [end, peer] = memoryPair();
    await peer.write(utf8("GET / HTTP/1.0\r\n\r\n"));
    await assertRejects(() => context(end), TlsError);
    const both = await Promise.all([
      securedPair(context),
      securedPair(context),
    ]);
    for (
      const [index, { server, client }] of [pair, other, ...both].entries()
    ) {
      await writeAll(client.duplex, utf8(`hello ${index}`));
      assertEquals(await readText(server.duplex, 7), `hello ${index}`);
    }
    for (const each of both) await each[Symbol.asyncDispose]();
  }
});

Deno.test("secureServer() and secureClient() reject when the peer leaves or the link breaks", async () => {
  const secures = [
    (end: MemoryEnd) => asServer(end),
    (end: MemoryEnd) => asClient(end, "localhost"),
  ];
  for (const secure of secures) {
    const [end, peer] = memoryPair();
    await peer.closeWrite();
    await assertRejects(
      () => secure(end),
      TlsError,
      `${FAILED}the peer left during the handshake`,
    );
    assertEquals(end.closed, 1);

    const [other] = memoryPair();
    const failure = new Error("it broke");
    other.cut(failure);
    const { cause } = await assertRejects(
      () => secure(other),
      TlsError,
      `${FAILED}the link broke during the handshake`,
    );
    assertEquals(cause, failure);
    assertEquals(other.closed, 1);
  }
  await turn();
});

Deno.test("secureServer() and secureClient() give up at once when aborted", async () => {
  const reason = new Error("too slow");
  for (const early of [false, true]) {
    for (
      const secure of [
        (end: MemoryEnd, signal: AbortSignal) => asServer(end, signal),
        (end: MemoryEnd, signal: AbortSignal) =>
          asClient(end, "localhost", signal),
      ]
    ) {
      const [end] = memoryPair();
      const controller = new AbortController();
      if (early) controller.abort(reason);
      const secured = secure(end, controller.signal);
      controller.abort(reason);
      assertEquals(end.closed, 1);
      assertEquals(await assertRejects(() => secured), reason);
    }
  }
  // Afterwards, the signal has no say.
  const controller = new AbortController();
  const [serverEnd, clientEnd] = memoryPair();
  const ends = await Promise.all([
    asServer(serverEnd, controller.signal),
    asClient(clientEnd, "localhost", controller.signal),
  ]);
  controller.abort(reason);
  assertEquals(serverEnd.closed + clientEnd.closed, 0);
  for (const { duplex } of ends) duplex.close();
  await turn();
});

Deno.test("secureClient() rejects when there is no host to check the certificate for", async () => {
  const [end] = memoryPair();
  for (const hostname of ["", "a b"]) {
    await assertRejects(
      () => asClient(end, hostname),
      TypeError,
      'Cannot use option "serverName"',
    );
  }
  assert(end.closed > 0);
  await turn();
});

Deno.test("TlsDuplex.read() gives what came before the peer ended, then null", async () => {
  await using pair = await securedPair();
  await writeAll(pair.client.duplex, utf8("hello"));
  await pair.client.duplex.closeWrite?.();
  assertEquals(await readText(pair.server.duplex, 100), "hello");
  assertEquals(await pair.server.duplex.read(new Uint8Array(1)), null);
  // The other direction goes on, after the end of the first was read.
  await writeAll(pair.server.duplex, utf8("good-bye"));
  await pair.server.duplex.closeWrite?.();
  assertEquals(await readText(pair.client.duplex, 100), "good-bye");
  assertEquals(await pair.client.duplex.read(new Uint8Array(1)), null);
});

Deno.test("TlsDuplex.closeWrite() ends the stream below once the peer is told", async () => {
  await using pair = await securedPair();
  const { duplex } = pair.client;
  const end = pair.clientEnd;
  const closeWrite = end.closeWrite.bind(end);
  let closes = 0;
  end.closeWrite = () => {
    closes++;
    return closeWrite();
  };
  end.hold();
  const ending = duplex.closeWrite?.();
  const again = duplex.closeWrite?.();
  await assertRejects(
    () => duplex.write(utf8("more")),
    TlsError,
    "Cannot send: the sending side is closed",
  );
  for (let turns = 0; turns < 3; turns++) await turn();
  assertEquals(closes, 0);
  end.release();
  await Promise.all([ending, again]);
  assertEquals(closes, 1);
  assertEquals(await pair.server.duplex.read(new Uint8Array(1)), null);
});

Deno.test("TlsDuplex.read() rejects when the stream below ended but its encryption did not", async () => {
  await using pair = await securedPair();
  await writeAll(pair.client.duplex, utf8("hello"));
  await pair.clientEnd.closeWrite();
  assertEquals(await readText(pair.server.duplex, 5), "hello");
  for (let i = 0; i < 2; i++) {
    await assertRejects(
      () => pair.server.duplex.read(new Uint8Array(1)),
      TlsError,
      CUT_SHORT,
    );
  }
  await assertRejects(
    () => pair.server.duplex.write(new Uint8Array(1)),
    TlsError,
    CUT_SHORT,
  );
});

Deno.test("TlsDuplex.read() rejects when bytes were changed on their way", async () => {
  await using pair = await securedPair();
  const { writes } = pair.clientEnd;
  const before = writes.length;
  await writeAll(pair.client.duplex, utf8("hello"));
  const record = writes[before].slice();
  assertEquals(await readText(pair.server.duplex, 5), "hello");
  // The same once more.
  await pair.clientEnd.write(record);
  await assertRejects(
    () => pair.server.duplex.read(new Uint8Array(1)),
    TlsError,
    `${FAILED}TLS failed`,
  );
});

Deno.test("TlsDuplex passes on with what the stream below broke", async () => {
  await using pair = await securedPair();
  const failure = new Error("it broke");
  const { duplex } = pair.server;
  const reading = duplex.read(new Uint8Array(1));
  pair.serverEnd.hold();
  const writing = duplex.write(new Uint8Array(1));
  pair.serverEnd.cut(failure);
  assertEquals(await assertRejects(() => reading), failure);
  assertEquals(await assertRejects(() => writing), failure);
  assertEquals(
    await assertRejects(() => duplex.read(new Uint8Array(1))),
    failure,
  );
  assertEquals(
    await assertRejects(() => duplex.write(new Uint8Array(1))),
    failure,
  );
  duplex.close();
  assertEquals(pair.serverEnd.closed, 1);
});

Deno.test("TlsDuplex.read() reads below only while somebody waits", async () => {
  await using pair = await securedPair();
  const sent = new Uint8Array(1_000_000);
  await turn();
  const before = pair.serverEnd.reads.length;
  await writeAll(pair.client.duplex, sent);
  await turn();
  assertEquals(pair.serverEnd.reads.length, before);
  const space = new Uint8Array(16_384);
  let count = 0;
  for (let most = 0; count < sent.length;) {
    count += await pair.server.duplex.read(space) ?? 0;
    const taken = pair.serverEnd.reads.length;
    await turn();
    assertEquals(pair.serverEnd.reads.length, taken);
    most = Math.max(most, ...pair.serverEnd.reads);
    assert(most <= 65_536);
  }
});

Deno.test("TlsDuplex.write() waits for the stream below, and has copied the bytes then", async () => {
  await using pair = await securedPair();
  const { duplex } = pair.server;
  pair.serverEnd.hold();
  const bytes = utf8("hello");
  let written = false;
  const writing = writeAll(duplex, bytes).then(() => written = true);
  await turn();
  await turn();
  assert(!written);
  pair.serverEnd.release();
  await writing;
  bytes.fill(0);
  assertEquals(await readText(pair.client.duplex, 5), "hello");
});

Deno.test("TlsDuplex.write() takes a part of many bytes", async () => {
  await using pair = await securedPair();
  assertEquals(await pair.client.duplex.write(new Uint8Array(49_152)), 49_152);
  assertEquals(
    await pair.client.duplex.write(new Uint8Array(1_000_000)),
    49_152,
  );
});

Deno.test("TlsDuplex.close() tells the peer, may be called twice, and rejects all that waits", async () => {
  const conns = await tcpPair();
  const [{ duplex }, peer] = await Promise.all([
    asServer(conns[0]),
    asClient(conns[1], "localhost"),
  ]);
  await writeAll(duplex, utf8("hello"));
  await writeAll(peer.duplex, utf8("hello"));
  assertEquals(await duplex.read(new Uint8Array(1)), 1);
  duplex.close();
  duplex.close();
  const waits = [
    // Not even what is there already.
    () => duplex.read(new Uint8Array(1)),
    () => duplex.write(new Uint8Array(1)),
    async () => await duplex.closeWrite?.(),
  ];
  for (const wait of waits) {
    await assertRejects(
      wait,
      TlsError,
      "Cannot use the connection: it is closed",
    );
  }
  assertEquals(await readText(peer.duplex, 100), "hello");
  assertEquals(await peer.duplex.read(new Uint8Array(1)), null);
  const reading = peer.duplex.read(new Uint8Array(1));
  peer.duplex.close();
  assertEquals(await reading, null);
  await turn();
  assertEquals(conns.map(isClosed), [true, true]);
});

Deno.test("TlsDuplex.close() rejects a read that waits", async () => {
  await using pair = await securedPair();
  const { duplex } = pair.server;
  const reading = duplex.read(new Uint8Array(1));
  duplex.close();
  await assertRejects(() => reading, TlsError, "is closed");
});

Deno.test("TlsDuplex.close() does not wait for a write that the peer does not take", async () => {
  await using pair = await securedPair();
  const { duplex } = pair.server;
  pair.serverEnd.hold();
  const writing = duplex.write(new Uint8Array(100_000));
  await turn();
  const ending = duplex.closeWrite?.();
  duplex.close();
  assertEquals(pair.serverEnd.closed, 1);
  await assertRejects(() => writing, TlsError, "is closed");
  await assertRejects(async () => await ending, TlsError, "is closed");
  await assertRejects(
    () => readAll(pair.client.duplex, () => 1_000),
    TlsError,
    CUT_SHORT,
  );
});

Deno.test("TlsDuplex.ref() and unref() reach the stream below", async () => {
  const [serverEnd, clientEnd] = memoryPair();
  const calls: string[] = [];
  const below: ByteDuplex = Object.assign(serverEnd, {
    ref: () => calls.push("ref"),
    unref: () => calls.push("unref"),
  });
  const [{ duplex }, peer] = await Promise.all([
    asServer(below),
    asClient(clientEnd, "localhost"),
  ]);
  duplex.unref?.();
  duplex.ref?.();
  assertEquals(calls, ["unref", "ref"]);
  // Not every stream has these.
  peer.duplex.unref?.();
  peer.duplex.ref?.();
  duplex.close();
  peer.duplex.close();
  await turn();
});

Deno.test("secureServer() and secureClient() throw when an option is wrong", () => {
  const broken = server.cert.replace(/\n\w{8}/, "\nAAAAAAAA");
  const cases: [unknown, string][] = [
    [{ cert: 1 }, '"cert": expected certificates as PEM text'],
    [{ cert: "text" }, '"cert": expected certificates as PEM text'],
    [{ cert: broken }, '"cert": certificate 1 of 1 is malformed'],
    [{ cert: server.cert + broken }, '"cert": certificate 2 of 2 is malformed'],
    [{ key: undefined }, '"key": expected a private key'],
    [{ key: "text" }, '"key": expected a private key'],
    [{ key: server.cert }, '"key": expected a private key'],
    [{ key: client.key }, '"key": it does not belong to the certificate'],
    [{ ca: "text" }, '"ca": expected certificates as PEM text'],
    [{ ca: [] }, '"ca": expected certificates as PEM text'],
    [{ ca: [ca, broken] }, '"ca": certificate 1 of 1 is malformed'],
    [
      { minVersion: "TLSv1.1" },
      '"minVersion": received "TLSv1.1", expected "TLSv1.2" or "TLSv1.3"',
    ],
    [{ alpnProtocols: "a" }, '"alpnProtocols": received "a", expected'],
    [{ alpnProtocols: [] }, '"alpnProtocols": received an array'],
    [{ alpnProtocols: [""] }, '"alpnProtocols": received an array'],
    [
      { alpnProtocols: ["é".repeat(128)] },
      '"alpnProtocols": received an array',
    ],
    [{ alpnProtocols: [1] }, '"alpnProtocols": received an array'],
    [{ rejectUnauthorized: false }, '"rejectUnauthorized": it does not exist'],
  ];
  for (const [options, message] of cases) {
    const all = { ...server, ...options as TlsServerOptions };
    const text = `Cannot use option ${message}`;
    const { cause } = assertThrows(
      () => secureServer(all),
      TypeError,
      text,
    );
    assertThrows(() => secureClient(all), TypeError, text);
    assert(!String(cause).includes("PRIVATE"));
  }
  assertThrows(
    () => secureServer({} as TlsServerOptions),
    TypeError,
    'Cannot use option "cert"',
  );
  assertThrows(
    () => secureClient({ cert: client.cert }),
    TypeError,
    'Cannot use option "key"',
  );
  for (
    const [serverName, received] of [
      ["", '""'],
      ["a b", '"a b"'],
      [1, "1"],
    ] as [string, string][]
  ) {
    assertThrows(
      () => secureClient({ serverName }),
      TypeError,
      `Cannot use option "serverName": received ${received}, expected the name or address of a host`,
    );
  }
});

Deno.test("secureServer() throws when TLS cannot use the kind of key", () => {
  const { success } = new Deno.Command("openssl", {
    // deno-fmt-ignore
    args: [
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1",
      "-nodes", "-subj", "/CN=localhost", "-keyout", "odd.key", "-out", "odd.pem",
    ],
    cwd: folder,
    stderr: "null",
  }).outputSync();
  assert(success);
  assertThrows(
    () =>
      secureServer({
        cert: Deno.readTextFileSync(`${folder}/odd.pem`),
        key: Deno.readTextFileSync(`${folder}/odd.key`),
      }),
    TypeError,
    'Cannot use option "key": TLS does not take this kind or size of key',
  );
});

const isLinux = Deno.build.os === "linux";

Deno.test({
  name:
    "secureServer() and secureClient() free the descriptor when aborted in a stalled handshake",
  ignore: !isLinux,
  async fn() {
    const sockets = new Sockets();
    // A silent peer, one that began a record, and one that sent its head.
    for (const sent of [[], [22], [22, 3, 3, 1, 0, 1]]) {
      for (
        const secure of [
          (conn: ByteDuplex, signal: AbortSignal) => asServer(conn, signal),
          (conn: ByteDuplex, signal: AbortSignal) =>
            asClient(conn, "localhost", signal),
        ]
      ) {
        const [conn, peer] = await tcpPair();
        await peer.write(Uint8Array.from(sent));
        const controller = new AbortController();
        const secured = secure(conn, controller.signal);
        await turn();
        controller.abort();
        await assertRejects(() => secured, DOMException);
        await until(() => sockets.open === 1, "it was not freed");
        peer.close();
      }
    }
  },
});

Deno.test({
  name: "TlsDuplex.close() frees the descriptor when the peer reads nothing",
  ignore: !isLinux,
  async fn() {
    const sockets = new Sockets();
    const [conn, peer] = await tcpPair();
    const [{ duplex }, other] = await Promise.all([
      asServer(conn),
      asClient(peer, "localhost"),
    ]);
    let bytesWritten = 0;
    const blocked = (async () => {
      for (;;) bytesWritten += await duplex.write(new Uint8Array(65_536));
    })();
    await standstill(() => bytesWritten);
    assert(bytesWritten > 0);
    duplex.close();
    await assertRejects(() => blocked, TlsError, "is closed");
    await turn();
    await until(() => sockets.open === 1, "it was not freed");
    other.duplex.close();
    await turn();
    await until(() => sockets.open === 0, "it was not freed");
  },
});

/** Listens, encrypts, and hands each connection over. */
function serveTls(
  context: SecureServer,
  handle: (secured: SecureDuplex) => Promise<void>,
): { port: number; done: Promise<void> } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  async function serve() {
    const conn = await listener.accept();
    listener.close();
    await handle(await context(conn));
    await turn();
  }
  return { port: listener.addr.port, done: serve() };
}

const PYTHON_CLIENT = `
import socket, ssl, sys
context = ssl.create_default_context(cafile="ca.pem")
context.load_cert_chain("client.pem", "client.key")
context.set_alpn_protocols(["test"])
context.maximum_version = context.minimum_version = ssl.TLSVersion[sys.argv[2]]
plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
with context.wrap_socket(plain, server_hostname="localhost") as secured:
    for text in [b"hello", bytes(200000)]:
        secured.sendall(text)
        received = b""
        while len(received) < len(text):
            received += secured.recv(65536)
        assert received == text
    print(secured.version(), secured.selected_alpn_protocol(), flush=True)
    secured.unwrap()
`;

Deno.test("secureServer() serves a client in Python, by both versions of TLS", async () => {
  for (
    const [argument, protocol] of [["TLSv1_2", "TLSv1.2"], [
      "TLSv1_3",
      "TLSv1.3",
    ]]
  ) {
    const infos: SecureDuplex["info"][] = [];
    const { port, done } = serveTls(
      makeServer({ ca, alpnProtocols: ["test"] }),
      (secured) => {
        infos.push(secured.info);
        return echoBytes(secured);
      },
    );
    await using python = start("python3", [
      "-c",
      PYTHON_CLIENT,
      `${port}`,
      argument,
    ], { cwd: folder });
    await python.line(new RegExp(`^${protocol} test$`));
    await done;
    assertEquals((await python.status).code, 0, await python.stderr());
    assertEquals(infos.map(({ protocol }) => protocol), [protocol]);
    assertEquals(infos[0].peerCertificate?.subject.CN, "client");
  }
});

const PYTHON_SERVER = `
import socket, ssl, sys
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile="ca.pem")
context.verify_mode = ssl.CERT_REQUIRED
context.load_cert_chain("server.pem", "server.key")
context.maximum_version = context.minimum_version = ssl.TLSVersion[sys.argv[1]]
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
plain, _ = listener.accept()
with context.wrap_socket(plain, server_side=True) as secured:
    while received := secured.recv(65536):
        secured.sendall(received)
    print("ended", secured.getpeercert()["subject"], flush=True)
    secured.unwrap()
`;

Deno.test("secureClient() talks to a server in Python, by both versions of TLS", async () => {
  for (
    const [argument, protocol] of [["TLSv1_2", "TLSv1.2"], [
      "TLSv1_3",
      "TLSv1.3",
    ]]
  ) {
    await using python = start("python3", ["-c", PYTHON_SERVER, argument], {
      cwd: folder,
    });
    const [, port] = await python.line(/^port (\d+)$/);
    const conn = await dial(Number(port));
    const { duplex, info } = await makeClient(client)(conn, "127.0.0.1");
    assertEquals(info.protocol, protocol);
    const text = "hello ".repeat(30_000);
    const [received] = await Promise.all([
      readText(duplex, text.length),
      writeAll(duplex, utf8(text)),
    ]);
    assertEquals(received, text);
    await duplex.closeWrite?.();
    await python.line(/^ended .*'client'/);
    assertEquals(await duplex.read(new Uint8Array(1)), null);
    duplex.close();
    assertEquals((await python.status).code, 0, await python.stderr());
    await turn();
  }
});

Deno.test("secureServer() and secureClient() refuse a peer without the version that they demand", async () => {
  const expected = `${FAILED}no version of TLS in common`;
  const { port, done } = serveTls(
    makeServer({ minVersion: "TLSv1.3" }),
    ({ duplex }) => Promise.resolve(duplex.close()),
  );
  await using old = start("python3", [
    "-c",
    PYTHON_CLIENT,
    `${port}`,
    "TLSv1_2",
  ], { cwd: folder });
  await assertRejects(() => done, TlsError, expected);
  assertEquals((await old.status).code, 1);

  await using python = start("python3", ["-c", PYTHON_SERVER, "TLSv1_2"], {
    cwd: folder,
  });
  const [, portOfOld] = await python.line(/^port (\d+)$/);
  const demanding = makeClient({ ...client, minVersion: "TLSv1.3" });
  const conn = await dial(Number(portOfOld));
  await assertRejects(
    () => demanding(conn, "localhost"),
    TlsError,
    expected,
  );
  await turn();
});

Deno.test(
  "secureServer() and secureClient() reject whatever garbled bytes they are sent",
  seeded(async (random: Random) => {
    const flights = [];
    {
      await using pair = await securedPair();
      flights.push(pair.clientEnd.writes[0], pair.serverEnd.writes[0]);
    }
    const secures = [
      (end: MemoryEnd) => asServer(end),
      (end: MemoryEnd) => asClient(end, "localhost"),
    ];
    for (let i = 0; i < 200; i++) {
      const bytes = flights[i % 2].slice(0, random.integer(1, 1_000));
      for (let flips = random.integer(0, 3); flips > 0; flips--) {
        bytes[random.integer(0, bytes.length - 1)] = random.integer(0, 255);
      }
      const [end, peer] = memoryPair();
      await peer.write(bytes);
      await peer.closeWrite();
      await assertRejects(() => secures[i % 2](end), TlsError, FAILED);
      assertEquals(end.closed, 1);
    }
  }),
);

Deno.test("secureServer() serves `openssl s_client`, and its end is a clean one", async () => {
  const { port, done } = serveTls(
    makeServer({ alpnProtocols: ["test"] }),
    async ({ duplex, info }) => {
      assertEquals(info.alpnProtocol, "test");
      await writeAll(duplex, utf8(`${await readText(duplex, 6)}bye\n`));
      duplex.close();
    },
  );
  // deno-fmt-ignore
  await using openssl = start("openssl", [
    "s_client", "-connect", `127.0.0.1:${port}`, "-CAfile", "ca.pem",
    "-verify_return_error", "-verify_hostname", "localhost",
    "-alpn", "test", "-quiet",
  ], { cwd: folder, stdin: "piped" });
  await openssl.write("hello\n");
  await openssl.line(/^hello$/);
  await openssl.line(/^bye$/);
  await done;
  assertEquals((await openssl.status).code, 0, await openssl.stderr());
});

const CHILD = `
import * as tls from ${JSON.stringify(new URL("./tls.ts", import.meta.url))};
const { ca, otherCa, server } = ${JSON.stringify({ ca, otherCa, server })};
const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
async function attempt(ca) {
  const [conn, peer] = await Promise.all([Deno.connect(listener.addr), listener.accept()]);
  const ends = await Promise.allSettled([
    tls.secureClient({ ca })(conn, "localhost"),
    tls.secureServer(server)(peer),
  ]);
  console.log(ends[0].status, ends[0].reason?.message ?? "");
  for (const { value } of ends) value?.duplex.close();
}
await attempt(ca);
await attempt(otherCa);
listener.close();

const context = tls.secureServer(server);
const given = [];
/** A handshake that is given up, with a peer that is silent or speaks no TLS. */
async function giveUp(isSilent) {
  const late = new AbortController();
  const duplex = {
    read(space) {
      if (isSilent) return new Promise(() => late.abort());
      space.set([71, 69, 84, 32, 47]);
      return Promise.resolve(5);
    },
    write: ({ length }) => Promise.resolve(length),
    close() {},
  };
  given.push(new WeakRef(duplex));
  await context(duplex, late.signal).catch(() => {});
}
for (let i = 0; i < 100; i++) await giveUp(i % 2 === 0);
let kept;
for (let i = 0; i < 100; i++) {
  await new Promise((resolve) => setTimeout(resolve, 1));
  gc();
  kept = given.filter((ref) => ref.deref() !== undefined).length;
  if (kept === 0) break;
}
console.log("kept", kept);
`;

Deno.test("secureClient() and secureServer() check whatever the environment says, need no permission of their own, and leave nothing behind", async () => {
  const path = `${folder}/child.ts`;
  Deno.writeTextFileSync(path, CHILD);
  await using child = start(Deno.execPath(), [
    "run",
    "--no-prompt",
    "--no-lock",
    "--no-check",
    "--allow-net=127.0.0.1",
    "--v8-flags=--expose-gc",
    `--config=${new URL("../../deno.json", import.meta.url).pathname}`,
    path,
  ], { env: { NODE_TLS_REJECT_UNAUTHORIZED: "0", NO_COLOR: "1" } });
  await child.line(/^fulfilled $/);
  await child.line(new RegExp(`^rejected ${RegExp.escape(UNTRUSTED)}$`));
  const [, kept] = await child.line(/^kept (\d+)$/);
  // The collector may take the last one for still in use.
  assert(Number(kept) < 3, `${kept} of 100 handshakes are kept`);
  // It ends by itself.
  assertEquals((await child.status).code, 0, await child.stderr());
});
