/** Payloads that are no messages, and messages that JSON cannot carry. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertLessOrEqual,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import {
  connect,
  encodeFrame,
  FrameTooLargeError,
  InvalidMessageError,
  type JsonValue,
  type Reply,
} from "../mod.ts";
import { serveRpc } from "../rpc.ts";
import { startChildServer } from "./child_server.ts";
import { WIDE } from "./costly_texts.ts";
import { faultTest as test, until, watch, whileServed } from "./ledger.ts";
import {
  bytesOf,
  echo,
  frame,
  join,
  LOCAL,
  Peer,
  prefix,
  repeat,
} from "./peers.ts";
import { start } from "./process.ts";

const MIB = 1_048_576;

/** What answers a bad message. */
function answerError(error: unknown): unknown {
  return { error: (error as Error).message };
}

const SECRET = "s3cr3t";

/** Payloads that are no message, each with `SECRET` where there is room. */
const BAD_PAYLOADS: [string, string | Uint8Array][] = [
  ["a byte that UTF-8 has not", hostile("ff")],
  ["an overlong zero", hostile("c0 80")],
  ["an overlong letter", hostile("c1 81")],
  ["a surrogate", hostile("ed a0 80")],
  ["beyond Unicode", hostile("f4 90 80 80")],
  ["a character cut short", hostile("f0 9f 98")],
  ["a byte order mark", `\ufeff"${SECRET}"`],
  ["white space", " \t\r\n"],
  ["something behind", `"${SECRET}" 1`],
  ["two values", `{"${SECRET}":1}{}`],
  ["not a number", "NaN"],
  ["a word", SECRET],
  ["a control character", `"${SECRET}\u0007"`],
  ["a raw zero", `"${SECRET}\0"`],
  ["an escape sequence", `\x1b[31m${SECRET}\x1b[0m\n`],
  ["a long one", SECRET.repeat(100_000)],
  ["arrays in arrays", `"${SECRET}"`.padStart(524_288, "[")],
  ["objects in objects", `{"${SECRET}":`.repeat(40_000)],
];

function hostile(hex: string): Uint8Array {
  const text = new TextEncoder().encode(`"${SECRET}`);
  return join(text, bytesOf(hex), bytesOf("22"));
}

test("serve() answers for what is no message, tells none of it, and goes on; without onError, it closes", async () => {
  const errors: Error[] = [];
  await using lenient = watch(echo, {
    onError(error) {
      errors.push(error as Error);
      return answerError(error);
    },
  });
  await using strict = watch(echo);
  using patient = await Peer.connect(lenient.addr);
  for (const [name, payload] of BAD_PAYLOADS) {
    const bytes = join(frame(payload), frame('"good"'));
    await patient.write(bytes);
    const [reply, next] = await patient.take(2);
    const { error } = reply as { error: string };
    assertStringIncludes(error, "Cannot decode message: payload of ", name);
    assert(!error.includes(SECRET), name);
    assertEquals(next, "good", name);

    using cut = await Peer.connect(strict.addr);
    await cut.write(bytes);
    assertEquals(await cut.rest(), [], name);
  }
  await until(() => strict.ends.length === BAD_PAYLOADS.length, "not closed");
  for (const error of [...errors, ...strict.ends.map(({ cause }) => cause)]) {
    assertInstanceOf(error, InvalidMessageError);
    assert(!Deno.inspect(error).includes(SECRET));
    // deno-lint-ignore no-control-regex
    assert(!/[\0-\x1f\x7f-\x9f]/.test(error.message), error.message);
    assertLess(error.message.length, 120);
  }
  assertEquals(errors.length, BAD_PAYLOADS.length);
});

test("connect() rejects a request whose reply is not a message, shows none of it, and goes on", async () => {
  using listener = Deno.listen(LOCAL);
  await using client = await connect({ port: listener.addr.port });
  using peer = new Peer(await listener.accept());
  for (const [name, payload] of BAD_PAYLOADS) {
    const replies = [client.request(1), client.request(2)];
    const rejected = assertRejects(() => replies[0], InvalidMessageError);
    await peer.write(join(frame(payload), frame('"good"')));
    assert(!Deno.inspect(await rejected).includes(SECRET), name);
    assertEquals(await replies[1], "good", name);
  }
});

test("serve() goes on serving others while a peer sends 1 MiB of brackets again and again", async () => {
  await using watched = watch(echo, { onError: answerError });
  const deep = frame("[".repeat(MIB));
  await whileServed(watched.addr, async (replies) => {
    using peer = await Peer.connect(watched.addr);
    let sent = 0;
    while (replies() < 20) {
      await peer.write(deep);
      await peer.take(1);
      sent++;
    }
    // 10 ms lie between two requests.
    assertLess(sent, 20 * 50);
  });
});

test(
  "serve() goes on serving others while a peer sends 64 KiB of empty frames again and again",
  async () => {
    await using server = await startChildServer();
    const empty = repeat(prefix(0), 16_384);
    await whileServed(server.addr, async (replies) => {
      using peer = await Peer.connect(server.addr);
      while (replies() < 10) {
        await peer.write(empty);
        await peer.take(16_384);
      }
    });
  },
);

test("serve() takes 128 levels of arrays and objects, and not one more", async () => {
  await using watched = watch(echo, { onError: () => "refused" });
  using peer = await Peer.connect(watched.addr);
  for (const [open, close] of [["[", "]"], ['{"a":', "}"]]) {
    for (const depth of [128, 129]) {
      const text = `${open.repeat(depth)}1${close.repeat(depth)}`;
      await peer.write(frame(text));
      const [reply] = await peer.take(1);
      const good = depth === 128;
      assertEquals(JSON.stringify(reply), good ? text : '"refused"');
    }
  }
});

test("serve() takes what is wide and under the limit", async () => {
  await using watched = watch((message) => (message as unknown[]).length);
  using peer = await Peer.connect(watched.addr);
  for (const [name, text] of WIDE) {
    const bytes = frame(text);
    assertLessOrEqual(bytes.length, MIB + 4, name);
    await peer.write(bytes);
    assertEquals(await peer.take(1), [JSON.parse(text).length], name);
  }
});

test("serve() gives what JSON text says: the last of two keys, the nearest number, half a surrogate pair", async () => {
  await using watched = watch(echo);
  using peer = await Peer.connect(watched.addr);
  const cases = [
    ['{"a":1,"a":2}', '{"a":2}'],
    ["9007199254740993", "9007199254740992"],
    ["1e400", "null"],
    ["-0", "0"],
    ['"\\ud800"', '"\\ud800"'],
    ['"\\ufeff\\u0000"', '"\ufeff\\u0000"'],
  ];
  for (const [text, reply] of cases) {
    await peer.write(frame(text));
    const space = new Uint8Array(100);
    const count = await peer.conn.read(space) ?? 0;
    assertEquals(space.subarray(0, count), frame(reply), text);
  }
});

test("keys that have a meaning in JavaScript are keys like others, also where it lets __proto__ have one", async () => {
  const mod = new URL("../mod.ts", import.meta.url);
  for (const flags of [[], ["--unstable-unsafe-proto"]]) {
    await using child = start(Deno.execPath(), [
      "eval",
      ...flags,
      `--config=${new URL("../deno.json", import.meta.url).pathname}`,
      `
        import { fromDuplex, serve } from "${mod}";
        const texts = ["__proto__", "constructor", "prototype", "toString", "valueOf"]
          .flatMap((key) => [
            \`{"\${key}":{"admin":true}}\`,
            \`{"\${key}":{"prototype":{"admin":true}}}\`,
            \`[{"a":{"\${key}":{"admin":true}}}]\`,
            \`{"token":"token","\${key}":{"admin":true}}\`,
          ]);
        const local = { hostname: "127.0.0.1", port: 0 };
        const echo = (message) => message;
        await using open = serve(local, echo);
        await using closed = serve({
          ...local,
          authenticate: async (_, peer) => {
            await peer.ask(await peer.ask("?"));
            return {};
          },
        }, echo);
        for (const text of texts) {
          for (const { addr } of [open, closed]) {
            const conn = await Deno.connect(addr);
            await using link = fromDuplex(conn);
            if (addr === closed.addr) await link.request({ $login: "own" });
            const frame = new TextEncoder().encode("\\0\\0\\0" + String.fromCharCode(text.length) + text);
            await conn.write(frame);
            let value;
            for await (value of link) break;
            if (JSON.stringify(value) !== text) throw new Error(text);
            if (addr === closed.addr) await link.request(1);
          }
        }
        if ({}.admin !== undefined || Object.keys(Object.prototype).length > 0) {
          throw new Error("a prototype was changed");
        }
        console.log(texts.length, "payloads");
      `,
    ]);
    const [stdout, stderr] = [await child.stdout(), await child.stderr()];
    assertEquals([stdout, stderr], ["20 payloads\n", ""]);
  }
});

/** Values that JSON cannot carry, by name. */
const UNSENDABLE: Record<string, () => unknown> = {
  undefined: () => undefined,
  function: () => echo,
  symbol: () => Symbol("s"),
  bigint: () => ({ n: 1n }),
  cycle() {
    const list: unknown[] = [];
    list.push(list);
    return list;
  },
  toJSON: () => ({
    toJSON() {
      throw new Error(SECRET);
    },
  }),
  getter: () => ({
    get a() {
      throw new Error(SECRET);
    },
  }),
  proxy: () =>
    new Proxy({}, {
      ownKeys() {
        throw new Error(SECRET);
      },
    }),
  "too long": () => Array(512).fill({ ["x".repeat(MIB)]: 1 }),
};

test("send() refuses what JSON cannot carry, writes nothing of it, and the link goes on", async () => {
  await using watched = watch(echo);
  await using client = await connect(watched.addr);
  for (const [name, make] of Object.entries(UNSENDABLE)) {
    const { bytesSent } = client.stats();
    await assertRejects(() => client.send(make()), InvalidMessageError);
    assertEquals(client.stats().bytesSent, bytesSent, name);
    assertEquals(await client.request(name), name);
  }
  const lossy = { a: NaN, b: undefined, c: new Map([[1, 2]]), d: [echo] };
  assertEquals(await client.request(lossy), { a: null, c: {}, d: [null] });
});

test("serve() answers by onError for a reply that JSON cannot carry, and the link goes on; without it, it closes", async () => {
  function handler(message: JsonValue): Reply {
    return message as string in UNSENDABLE
      ? UNSENDABLE[message as string]() as Reply
      : message;
  }
  const errors: unknown[] = [];
  await using lenient = watch(handler, {
    onError(error) {
      errors.push(error);
      return answerError(error);
    },
  });
  await using strict = watch(handler);
  await using client = await connect(lenient.addr);
  const names = Object.keys(UNSENDABLE).slice(1, -1);
  for (const name of names) {
    const reply = await client.request(name) as { error: string };
    assertStringIncludes(reply.error, "Cannot encode message: JSON cannot");
    assertEquals(await client.request("good"), "good");

    await using other = await connect(strict.addr);
    assertEquals(await other.request("good"), "good");
    await assertRejects(() => other.request(name), Error, "Cannot receive");
  }
  assertEquals(errors.length, names.length);
  for (const error of errors) assertInstanceOf(error, InvalidMessageError);
  await until(() => strict.ends.length === names.length, "not closed");
});

test("the server program prints nothing that a peer has written, and no line is long", async () => {
  for (const format of ["text", "json"]) {
    await using server = start(Deno.execPath(), [
      ...["run", "--no-prompt", "--allow-net=127.0.0.1:0"],
      new URL("../server.ts", import.meta.url).pathname,
      ...["--hostname", "127.0.0.1", "--port", "0", "--verbose"],
      ...["--log", format],
    ]);
    const [, port] = await server.line(/127\.0\.0\.1\D+(\d+)/);
    const addr = { ...LOCAL, transport: "tcp", port: Number(port) } as const;
    for (const [, payload] of BAD_PAYLOADS) {
      const bytes = typeof payload === "string"
        ? new TextEncoder().encode(payload)
        : payload;
      // As a payload, and where a length is expected.
      for (const attack of [frame(bytes), bytes]) {
        using peer = await Peer.connect(addr);
        await peer.write(attack).catch(() => {});
        await peer.conn.closeWrite().catch(() => {});
        await peer.ended();
      }
    }
    server.kill();
    await server.status;
    const printed = await server.stdout() + await server.stderr();
    assert(printed.split("\n").length > 2 * BAD_PAYLOADS.length);
    assert(!printed.includes(SECRET));
    for (const line of printed.split("\n")) {
      // deno-lint-ignore no-control-regex
      assert(!/[\0-\x1f\x7f-\x9f]/.test(line), line);
      assertLess(line.length, 300);
    }
  }
});

test("a web page can call no method through a browser, whatever the width of the prefix", async () => {
  // A page chooses the method nearly as it likes.
  const methods = ["POST", "PROPFIND", "patch", "M-SEARCH", "A", "~1"];
  const framings = ([1, 2, 4, 8] as const).flatMap((prefixBytes) =>
    [false, true].flatMap((littleEndian) =>
      methods.map((method) => ({ method, prefixBytes, littleEndian }))
    )
  );
  await Promise.all(framings.map(async ({ method, ...framing }) => {
    const head = new TextEncoder().encode(
      `${method} / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n`,
    );
    const called: unknown[] = [];
    const ends: unknown[] = [];
    await using server = serveRpc({
      ...LOCAL,
      ...framing,
      onEvent(event) {
        if (event.type === "closed") ends.push(event.end.cause);
      },
    }, { transfer: (params: unknown) => void called.push(params) });
    const { prefixBytes, littleEndian } = framing;
    // The length that the method announces, and in the body a call behind it.
    const [first, second] = head;
    const two = littleEndian ? second * 256 + first : first * 256 + second;
    const length = [first, two][prefixBytes - 1] ?? 0;
    const body = new Uint8Array(
      Math.max(0, prefixBytes + length - head.length),
    ).fill(0x20);
    const call = encodeFrame(
      { jsonrpc: "2.0", method: "transfer", params: [1] },
      framing,
    );
    using peer = await Peer.connect(server.addr);
    await peer.write(join(head, body, call));
    await peer.ended();
    peer[Symbol.dispose](); // else it is waited for
    await until(() => ends.length === 1, "it was not closed");
    assertEquals(called, []);
    assertInstanceOf(ends[0], FrameTooLargeError);
    if (method === "POST" || prefixBytes < 4) {
      assertStringIncludes(ends[0].message, "the peer seems to speak HTTP");
    }
  }));
});
