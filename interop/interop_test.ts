import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "@std/assert";
import {
  type Address,
  connect,
  type Connection,
  ConnectionClosedError,
  type ConnectionEnd,
  encodeFrame,
  FrameTooLargeError,
  FrameTruncatedError,
  FRAMING_DEFAULTS,
  InvalidMessageError,
  type JsonValue,
  serve,
} from "../mod.ts";
import { type Running, start } from "../tests/process.ts";
import { WIRE_VECTORS } from "../tests/wire_vectors.ts";

/** A language that peers are written in, and how to run them. */
interface Language {
  readonly name: "Python" | "Node";
  readonly command: string;
  readonly extension: string;
  /** Flags to run a file. */
  readonly flags: string[];
  /** Flags before the text of a script. */
  readonly evaluate: string[];
  /** What the scripts that connect begin with. */
  readonly connecting: string;
  /** What the scripts that listen begin with. */
  readonly listening: string;
}

const PYTHON: Language = {
  name: "Python",
  command: "python3",
  extension: "py",
  flags: ["-B", "-X", "utf8"],
  evaluate: ["-B", "-X", "utf8", "-c"],
  connecting: `
import json, socket, struct, sys, threading
from client import frame, receive
from server import recv_payload

sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
`,
  listening: `
import socket, struct, sys
from client import frame, receive
from server import recv_payload

listener = socket.create_server(("127.0.0.1", 0))
print("Listening on {}:{}".format(*listener.getsockname()), flush=True)
sock, _ = listener.accept()
sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
`,
};

const NODE: Language = {
  name: "Node",
  command: "node",
  extension: "mjs",
  flags: [],
  evaluate: ["--input-type=module", "--eval"],
  connecting: `
import { once } from "node:events";
import { connect } from "node:net";
import { json } from "node:stream/consumers";
import { frame, onPayload, parse } from "./frames.mjs";

const [host, port] = process.argv.slice(1);
const socket = connect({ host, port, noDelay: true, allowHalfOpen: true });
await once(socket, "connect");
onPayload(socket, (payload) => socket.emit("payload", payload));
const received = async () => (await once(socket, "payload"))[0];
`,
  listening: `
import { once } from "node:events";
import { createServer } from "node:net";
import { frame, onPayload } from "./frames.mjs";

const listener = createServer({ allowHalfOpen: true, noDelay: true });
listener.listen(0, "127.0.0.1", () => {
  console.log("Listening on 127.0.0.1:" + listener.address().port);
});
const [socket] = await once(listener, "connection");
listener.close();
const payloads = [];
onPayload(socket, (payload) => {
  payloads.push(payload);
  socket.emit("payload");
});
const received = async () => {
  while (payloads.length === 0) await once(socket, "payload");
  return payloads.shift();
};
`,
};

/** The same script in every language. */
type Scripts = Record<Language["name"], string>;

/** Milliseconds that a peer may run. */
const DEADLINE = 60_000;

function run(language: Language, args: string[]): Running {
  try {
    const process = start(language.command, args, {
      cwd: new URL(".", import.meta.url),
      stdin: "piped",
    });
    // Whatever waits for a peer that waits in vain ends with it.
    const timer = setTimeout(() => process.kill("SIGKILL"), DEADLINE);
    process.status.then(() => clearTimeout(timer));
    return process;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(
      `Cannot run the peers in ${language.name}: there is no "${language.command}" on the path, see interop/README.md`,
    );
  }
}

function runProgram(
  language: Language,
  name: "client" | "server",
  ...args: string[]
): Running {
  return run(language, [
    ...language.flags,
    `${name}.${language.extension}`,
    ...args,
  ]);
}

function runScript(
  language: Language,
  kind: "connecting" | "listening",
  scripts: Scripts,
  ...args: string[]
): Running {
  const script = language[kind] + scripts[language.name];
  return run(language, [...language.evaluate, script, ...args]);
}

/** Host and port as arguments of a program. */
function argumentsFor(addr: Address): [string, string] {
  assert(addr.transport === "tcp");
  return [addr.hostname, `${addr.port}`];
}

async function connectTo(server: Running): Promise<Connection> {
  const [, hostname, port] = await server.line(/^Listening on (.+):(\d+)$/);
  return await connect({ hostname, port: Number(port) });
}

/** The lines that a process prints, when it has ended well. */
async function linesOf(process: Running): Promise<string[]> {
  const [{ code }, stdout, stderr] = await Promise.all([
    process.status,
    process.stdout(),
    process.stderr(),
  ]);
  assertEquals(code, 0, stderr);
  return stdout.trimEnd().split("\n");
}

/**
 * The messages that a process prints, one line each, when it has ended well.
 */
async function messagesOf(process: Running): Promise<JsonValue[]> {
  return (await linesOf(process)).map((line) => JSON.parse(line));
}

async function feed(process: Running, input: unknown): Promise<void> {
  await process.write(JSON.stringify(input));
  await process.closeInput();
}

/** Where our side listens. */
const ENDPOINT = { hostname: "127.0.0.1", port: 0 };

/** The rule of the echo programs. */
function answer(message: JsonValue): JsonValue {
  return message !== null && typeof message === "object" &&
      !Array.isArray(message) && Object.hasOwn(message, "message")
    ? { status: "success", echo: message.message }
    : { status: "error", error: 'expected an object with a "message"' };
}

function nest(depth: number): JsonValue {
  return depth === 0 ? [] : [nest(depth - 1)];
}

const VALUES: readonly JsonValue[] = [
  ...[null, true, false, "", [], {}],
  ...["Grüße", "Привет, мир", "你好，世界", "こんにちは", "안녕하세요"],
  ...["مرحبا بالعالم", "שלום עולם", "नमस्ते", "สวัสดี", "e\u0301"],
  ...["🦕", "👩‍👩‍👧‍👦 🇺🇳", "a🦕b", "\u{10ffff}"],
  ...["\0\b\t\n\f\r\u001f\u007f", '"\\/', "\u2028\u2029\ufeff\ufffd"],
  ...[0, 1, -1, 2 ** 31, 2 ** 32, 2 ** 53 - 1, -(2 ** 53 - 1)],
  ...[0.1, -1.5, 1e-7, 1e21, 5e-324, Number.MAX_VALUE],
  [[], {}, [[]], [{}], { "": [] }],
  { "": "", "ключ": "值", "🔑": { "مفتاح": ["🦕", null, 1.5] } },
  { ["__proto__"]: {}, constructor: 1, toString: "a" },
  nest(100),
];

/**
 * Sends the messages as one run of bytes, in parts of `step` bytes, and its end
 * behind them; prints all the replies.
 */
const EXCHANGE: Scripts = {
  Python: `
def compact(message):
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    payload = text.encode()
    return struct.pack(">I", len(payload)) + payload

def send():
    for start in range(0, len(data), step):
        sock.sendall(data[start:start + step])
    sock.shutdown(socket.SHUT_WR)

messages, step = json.load(sys.stdin)
data = b"".join(map(compact, messages))
threading.Thread(target=send).start()
try:
    while True:
        print(json.dumps(receive(sock)))
except EOFError:
    pass
`,
  Node: `
const [messages, step] = await json(process.stdin);
const data = Buffer.concat(messages.map(frame));
socket.on("payload", (payload) => console.log(JSON.stringify(parse(payload))));
for (let start = 0; start < data.length; start += step) {
  const part = data.subarray(start, start + step);
  await new Promise((resolve) => socket.write(part, resolve));
}
socket.end();
`,
};
const ONE_WRITE = 2 ** 30;

for (const language of [PYTHON, NODE]) {
  const { name } = language;

  Deno.test(`serve() answers a ${name} client that says hello`, async () => {
    await using server = serve(ENDPOINT, answer);
    await using client = runProgram(
      language,
      "client",
      ...argumentsFor(server.addr),
    );
    assertEquals(await messagesOf(client), [
      { status: "success", echo: "hello from client" },
    ]);
  });

  Deno.test(`serve() answers a ${name} client that sends every kind of value`, async () => {
    const values = [...VALUES, "\ud800 and \udfff"];
    await using server = serve(ENDPOINT, answer);
    await using client = runProgram(
      language,
      "client",
      ...argumentsFor(server.addr),
      ...values.map((message) => JSON.stringify({ message })),
      "[]",
    );
    assertEquals(await messagesOf(client), [
      ...values.map((echo) => ({ status: "success", echo })),
      answer([]),
    ]);
  });

  Deno.test(`serve() answers a ${name} client with the bytes of the wire vectors`, async () => {
    const vectors = WIRE_VECTORS.filter(({ options }) =>
      (options.prefixBytes ?? 4) === 4 && !options.littleEndian
    );
    await using server = serve(ENDPOINT, (message) => message);
    await using client = runScript(
      language,
      "connecting",
      {
        // The second request is made from what was read out of the first reply.
        Python: `
for message in json.load(sys.stdin):
    sock.sendall(frame(message))
    sock.sendall(frame(receive(sock)))
    payload = recv_payload(sock)
    print((struct.pack(">I", len(payload)) + payload).hex())
`,
        Node: `
for (const message of await json(process.stdin)) {
  socket.write(frame(message));
  socket.write(frame(parse(await received())));
  const payload = await received();
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(payload.length);
  console.log(Buffer.concat([prefix, payload]).toString("hex"));
}
socket.end();
`,
      },
      ...argumentsFor(server.addr),
    );
    await feed(client, vectors.map(({ message }) => message));
    assertEquals(
      await linesOf(client),
      vectors.map(({ hex }) => hex.replaceAll(" ", "")),
    );
  });

  Deno.test(`serve() answers a ${name} client that sends one byte at a time and half-closes`, async () => {
    await using server = serve(ENDPOINT, (message) => message);
    await using client = runScript(
      language,
      "connecting",
      EXCHANGE,
      ...argumentsFor(server.addr),
    );
    await feed(client, [VALUES, 1]);
    assertEquals(await messagesOf(client), VALUES);
  });

  Deno.test(`serve() answers a ${name} client that sends 10 000 messages in one write and half-closes`, async () => {
    const messages = Array.from({ length: 10_000 }, (_, id) => ({
      id,
      text: VALUES[id % VALUES.length],
    }));
    await using server = serve(ENDPOINT, (message) => message);
    await using client = runScript(
      language,
      "connecting",
      EXCHANGE,
      ...argumentsFor(server.addr),
    );
    await feed(client, [messages, ONE_WRITE]);
    assertEquals(await messagesOf(client), messages);
  });

  Deno.test(`serve() answers a ${name} client that half-closes before the first reply`, async () => {
    const halfClosed = Promise.withResolvers<void>();
    await using server = serve(ENDPOINT, async (message) => {
      await halfClosed.promise;
      return message;
    });
    await using client = runScript(
      language,
      "connecting",
      {
        Python: `
sock.sendall(frame("first") + frame("second"))
sock.shutdown(socket.SHUT_WR)
print("half-closed", flush=True)
print(receive(sock), receive(sock), sock.recv(1) or "end", sep="\\n")
`,
        Node: `
socket.on("payload", (payload) => console.log(parse(payload)));
socket.on("end", () => console.log("end"));
socket.write(frame("first"));
socket.end(frame("second"), () => console.log("half-closed"));
`,
      },
      ...argumentsFor(server.addr),
    );
    await client.line(/^half-closed$/);
    halfClosed.resolve();
    assertEquals(await linesOf(client), [
      "half-closed",
      "first",
      "second",
      "end",
    ]);
  });

  Deno.test(`serve() answers a ${name} client whose messages are as large as the limit`, async () => {
    const most = FRAMING_DEFAULTS.maxFrameBytes - 2;
    const messages = ["a".repeat(most), "é".repeat(most / 2), "end"];
    await using server = serve(ENDPOINT, (message) => message);
    await using client = runScript(
      language,
      "connecting",
      EXCHANGE,
      ...argumentsFor(server.addr),
    );
    await feed(client, [messages, ONE_WRITE]);
    assertEquals(await messagesOf(client), messages);
  });

  Deno.test(`serve() answers a ${name} client up to the frame that is too large`, async () => {
    const closed = Promise.withResolvers<ConnectionEnd>();
    await using server = serve({
      ...ENDPOINT,
      onEvent(event) {
        if (event.type === "closed") closed.resolve(event.end);
      },
    }, (message) => message);
    await using client = runScript(
      language,
      "connecting",
      {
        Python: `
sock.sendall(frame("before") + struct.pack(">I", 1_048_577))
print(receive(sock))
print(sock.recv(1) or "end")
`,
        Node: `
socket.on("payload", (payload) => console.log(parse(payload)));
socket.on("end", () => console.log("end"));
socket.write(Buffer.concat([frame("before"), Buffer.of(0, 16, 0, 1)]));
await once(socket, "end");
socket.end();
`,
      },
      ...argumentsFor(server.addr),
    );
    assertEquals(await linesOf(client), ["before", "end"]);
    const { clean, cause } = await closed.promise;
    assertInstanceOf(cause, FrameTooLargeError);
    assert(!clean);
    assertEquals([cause.size, cause.limit], [1_048_577, 1_048_576]);
  });

  Deno.test(`serve() answers a ${name} client whose payloads are not JSON`, async () => {
    await using server = serve({
      ...ENDPOINT,
      onError: (error) => (error as Error).name,
    }, (message) => message);
    await using client = runScript(
      language,
      "connecting",
      {
        Python: String.raw`
good = b'"good"'
for bad in b"", b"NaN", b"{", b"[1] 2", b"\xff", b"\xef\xbb\xbf1", b'"\0"':
    for payload in bad, good:
        sock.sendall(struct.pack(">I", len(payload)) + payload)
        print(receive(sock))
`,
        Node: String.raw`
for (const bad of ["", "NaN", "{", "[1] 2", "\xff", "\xef\xbb\xbf1", '"\0"']) {
  for (const payload of [bad, '"good"']) {
    socket.write(Buffer.of(0, 0, 0, payload.length));
    socket.write(payload, "latin1");
    console.log(parse(await received()));
  }
}
socket.end();
`,
      },
      ...argumentsFor(server.addr),
    );
    assertEquals(
      await linesOf(client),
      Array(7).fill(["InvalidMessageError", "good"]).flat(),
    );
  });

  Deno.test(`serve() answers others when a ${name} client is killed inside a frame`, async () => {
    const closed = Promise.withResolvers<ConnectionEnd>();
    await using server = serve({
      ...ENDPOINT,
      onEvent(event) {
        if (event.type === "closed") closed.resolve(event.end);
      },
    }, (message) => message);
    await using other = await connect(server.addr);
    assertEquals(await other.request("before"), "before");
    await using client = runScript(
      language,
      "connecting",
      {
        Python: `
sock.sendall(frame("whole"))
print(receive(sock))
sock.sendall(frame("cut short")[:-3])
print("sent", flush=True)
sys.stdin.read()
`,
        Node: `
socket.write(frame("whole"));
console.log(parse(await received()));
socket.write(frame("cut short").subarray(0, -3), () => console.log("sent"));
`,
      },
      ...argumentsFor(server.addr),
    );
    await client.line(/^whole$/);
    await client.line(/^sent$/);
    assertEquals(await other.request("meanwhile"), "meanwhile");
    client.kill("SIGKILL");
    const { clean, cause } = await closed.promise;
    assertInstanceOf(cause, FrameTruncatedError);
    assert(!clean);
    assertEquals([cause.received, cause.expected], [8, 11]);
    assertEquals(await other.request("after"), "after");
    assertEquals(server.connections.size, 1);
  });

  Deno.test(`connect() gets replies from a ${name} server for every kind of value`, async () => {
    const values = [...VALUES, "\ud800 and \udfff"];
    await using server = runProgram(language, "server", "127.0.0.1", "0");
    await using client = await connectTo(server);
    assertEquals(
      await Promise.all(values.map((message) => client.request({ message }))),
      values.map((echo) => ({ status: "success", echo })),
    );
    assertEquals(await client.request([]), answer([]));
  });

  Deno.test(`connect() gets replies from a ${name} server for the wire vectors`, async () => {
    await using server = runProgram(language, "server", "127.0.0.1", "0");
    await using client = await connectTo(server);
    for (const { message } of WIRE_VECTORS) {
      assertEquals(await client.request({ message }), answer({ message }));
    }
  });

  Deno.test(`connect() gets 10 000 replies from a ${name} server in the order of the requests`, async () => {
    await using server = runProgram(language, "server", "127.0.0.1", "0");
    await using client = await connectTo(server);
    const replies = [];
    for (let id = 0; id < 10_000; id++) {
      replies.push(client.request({ message: id }));
    }
    assertEquals(
      await Promise.all(replies),
      replies.map((_, id) => ({ status: "success", echo: id })),
    );
  });

  Deno.test(`connect() gets every reply from a ${name} server after closing the sending side`, async () => {
    await using server = runProgram(language, "server", "127.0.0.1", "0");
    await using client = await connectTo(server);
    for (const message of VALUES) client.send({ message });
    await client.closeWrite();
    assertEquals(
      await Array.fromAsync(client),
      VALUES.map((echo) => ({ status: "success", echo })),
    );
    assertEquals(await client.closed, { clean: true });
  });

  Deno.test(`connect() gets replies from a ${name} server up to the one that is too large`, async () => {
    const most = FRAMING_DEFAULTS.maxFrameBytes - '{"message":""}'.length;
    // Room for what a reply has and its request has not; and Python writes 12
    // characters for a dinosaur.
    const texts = ["a".repeat(most - 100), "🦕".repeat((most - 100) / 12)];
    await using server = runProgram(language, "server", "127.0.0.1", "0");
    await using client = await connectTo(server);
    for (const message of texts) {
      assertEquals(await client.request({ message }), answer({ message }));
    }
    const { cause } = await assertRejects(
      () => client.request({ message: "a".repeat(most) }),
      ConnectionClosedError,
    );
    assertInstanceOf(cause, FrameTooLargeError);
    assertEquals(cause.limit, FRAMING_DEFAULTS.maxFrameBytes);
  });

  Deno.test(`connect() gets replies from a ${name} server that others left inside a frame`, async () => {
    await using server = runProgram(language, "server", "127.0.0.1", "0");
    await using client = await connectTo(server);
    const { hostname, port } = client.remoteAddr as Deno.NetAddr;
    const conn = await Deno.connect({ hostname, port });
    await conn.write(encodeFrame({ message: "cut short" }).subarray(0, 9));
    conn.close();
    await server.line(/ left/);
    assertEquals(await client.request({ message: 1 }), answer({ message: 1 }));
    await using next = await connect({ hostname, port });
    assertEquals(await next.request({ message: 2 }), answer({ message: 2 }));
  });

  Deno.test(`connect() gets replies from a ${name} server that sends one byte at a time`, async () => {
    await using server = runScript(language, "listening", {
      Python: `
while True:
    payload = recv_payload(sock)
    for byte in struct.pack(">I", len(payload)) + payload:
        sock.sendall(bytes([byte]))
`,
      Node: `
for (;;) {
  for (const byte of frame(JSON.parse(await received()))) {
    await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
  }
}
`,
    });
    await using client = await connectTo(server);
    assertEquals(
      await Promise.all(VALUES.map((value) => client.request(value))),
      VALUES,
    );
  });

  Deno.test(`connect() gets replies from a ${name} server after one that is not JSON`, async () => {
    await using server = runScript(language, "listening", {
      Python: `
receive(sock), receive(sock)
sock.sendall(frame(float("nan")) + frame("after"))
sys.stdin.read()
`,
      Node: `
await received(), await received();
socket.write("\\0\\0\\0\\x03NaN");
socket.write(frame("after"));
`,
    });
    await using client = await connectTo(server);
    const bad = client.request(1);
    const good = client.request(2);
    await assertRejects(() => bad, InvalidMessageError);
    assertEquals(await good, "after");
  });

  Deno.test(`connect() rejects all requests with one cause when a ${name} server is killed inside a reply`, async () => {
    await using server = runScript(language, "listening", {
      Python: `
receive(sock), receive(sock), receive(sock)
sock.sendall(frame("whole") + frame("cut short")[:-3])
print("sent", flush=True)
sys.stdin.read()
`,
      Node: `
await received(), await received(), await received();
socket.write(frame("whole"));
socket.write(frame("cut short").subarray(0, -3), () => console.log("sent"));
`,
    });
    await using client = await connectTo(server);
    const [first, second, third] = [1, 2, 3].map((id) => client.request(id));
    const lost = Promise.allSettled([second, third]);
    assertEquals(await first, "whole");
    await server.line(/^sent$/);
    server.kill("SIGKILL");
    const errors = (await lost).map((reply) =>
      reply.status === "rejected" && reply.reason
    );
    for (const error of errors) {
      assertInstanceOf(error, ConnectionClosedError);
      assert(!error.clean);
      assertInstanceOf(error.cause, FrameTruncatedError);
      assertEquals([error.cause.received, error.cause.expected], [8, 11]);
    }
    assert(errors[0].cause === errors[1].cause);
    await assertRejects(() => client.request(4), ConnectionClosedError);
  });

  Deno.test(`connect() rejects requests when a ${name} server resets the connection`, async () => {
    await using server = runScript(language, "listening", {
      Python: `
receive(sock)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
sock.close()
`,
      Node: `
await received();
socket.resetAndDestroy();
`,
    });
    await using client = await connectTo(server);
    const error = await assertRejects(
      () => client.request(1),
      ConnectionClosedError,
    );
    assert(!error.clean);
    assertInstanceOf(error.cause, Deno.errors.ConnectionReset);
  });

  Deno.test(`connect() rejects requests when a ${name} server closes in place of a reply`, async () => {
    await using server = runScript(language, "listening", {
      Python: `
receive(sock), receive(sock)
sock.sendall(frame("only"))
sock.close()
`,
      Node: `
await received(), await received();
socket.end(frame("only"));
`,
    });
    await using client = await connectTo(server);
    const only = client.request(1);
    const lost = assertRejects(
      () => client.request(2),
      ConnectionClosedError,
    );
    assertEquals(await only, "only");
    const { clean, cause } = await lost;
    assert(clean);
    assertEquals(cause, undefined);
  });
}
