import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  encodeFrame,
  FrameDecoder,
  InvalidMessageError,
  type JsonValue,
} from "../framing.ts";
import { type MemoryEnd, memoryPair } from "../tests/memory_pair.ts";
import {
  admit,
  AUTHENTICATE_OPTION,
  type Authentication,
  AuthenticationError,
  logIn,
  proverOf,
  sharedSecret,
  sharedToken,
  type Verifier,
  verifierOf,
} from "./authentication.ts";
import {
  type Address,
  Connection,
  ConnectionClosedError,
} from "./connection.ts";

const TOKEN = "Kröte-0123456789abcdef";
const HELLO = { authenticate: "token", token: TOKEN };
const PEER_REFUSED = "Cannot authenticate: the peer was refused";
const SERVER_REFUSED = "Cannot authenticate: the server refused";
const LOOPBACK: Address = {
  transport: "tcp",
  hostname: "127.0.0.1",
  port: 8080,
};
const NEVER = new AbortController().signal;

function frameOf(payload: Uint8Array | string): Uint8Array {
  const bytes = typeof payload === "string"
    ? new TextEncoder().encode(payload)
    : payload;
  const frame = new Uint8Array(4 + bytes.length);
  new DataView(frame.buffer).setUint32(0, bytes.length);
  frame.set(bytes, 4);
  return frame;
}

function bytesOf({ writes }: MemoryEnd): number[] {
  return writes.flatMap((bytes) => [...bytes]);
}

function messagesOf(end: MemoryEnd): JsonValue[] {
  return end.writes.flatMap((bytes) => [...new FrameDecoder().push(bytes)]);
}

/** A peer without the library: it writes frames and reads messages. */
class RawPeer {
  readonly #end: MemoryEnd;
  readonly #decoder = new FrameDecoder();
  readonly #space = new Uint8Array(1_024);

  constructor(end: MemoryEnd) {
    this.#end = end;
  }

  async send(payload: Uint8Array | string): Promise<void> {
    await this.#end.write(frameOf(payload));
  }

  /** The next message; `undefined` at the end. */
  async receive(): Promise<JsonValue | undefined> {
    for (;;) {
      const next = this.#decoder.push().next();
      if (!next.done) return next.value;
      const count = await this.#end.read(this.#space);
      if (count === null) return undefined;
      this.#decoder.push(this.#space.subarray(0, count));
    }
  }
}

interface Outcome {
  identity?: unknown;
  error?: unknown;
  /** All that the server has sent. */
  reply: number[];
}

/** A server that admits one peer or turns it away, and closes. */
async function meet(
  verify: Verifier,
  behave: (peer: RawPeer) => Promise<unknown>,
  signal: AbortSignal = NEVER,
): Promise<Outcome> {
  const [near, far] = memoryPair();
  const connection = new Connection(near);
  const outcome: Outcome = { reply: [] };
  const admitting = admit(connection, verify, signal).then(
    (identity) => outcome.identity = identity,
    (error) => outcome.error = error,
  );
  await behave(new RawPeer(far));
  await admitting;
  await connection.close();
  outcome.reply = bytesOf(near);
  return outcome;
}

function saying(
  ...payloads: (Uint8Array | string)[]
): (peer: RawPeer) => Promise<void> {
  return async (peer) => {
    for (const payload of payloads) await peer.send(payload);
  };
}

function verifier(option: Authentication | Verifier): Verifier {
  return verifierOf(option, LOOPBACK, false);
}

/** Both halves of the library over one pair. */
async function both(
  server: Authentication,
  client: Authentication,
): Promise<{ outcomes: PromiseSettledResult<unknown>[]; ends: MemoryEnd[] }> {
  const ends = memoryPair();
  const [near, far] = ends.map((end) => new Connection(end));
  const outcomes = await Promise.allSettled([
    admit(near, verifier(server), NEVER),
    logIn(far, proverOf(client, LOOPBACK, false), NEVER),
  ]);
  await Promise.all([near.close(), far.close()]);
  return { outcomes, ends };
}

Deno.test("sharedToken() lets in who knows the token, in one message each way", async () => {
  const { outcomes, ends } = await both(sharedToken(TOKEN), sharedToken(TOKEN));
  assertEquals(outcomes, [
    { status: "fulfilled", value: true },
    { status: "fulfilled", value: undefined },
  ]);
  const [near, far] = ends;
  assertEquals(bytesOf(far), [...encodeFrame(HELLO)]);
  assertEquals(bytesOf(near), [...frameOf('{"authenticated":true}')]);
});

Deno.test("sharedSecret() lets in who knows the secret, which does not cross the wire", async () => {
  const { outcomes, ends: [near, far] } = await both(
    sharedSecret(TOKEN),
    sharedSecret(TOKEN),
  );
  assertEquals(outcomes.map(({ status }) => status), [
    "fulfilled",
    "fulfilled",
  ]);
  const [hello, answer] = messagesOf(far);
  const [question, verdict] = messagesOf(near);
  assertEquals(hello, { authenticate: "challenge" });
  assertEquals(verdict, { authenticated: true });
  const { challenge } = question as { challenge: string };
  assert(/^[0-9a-f]{64}$/.test(challenge), challenge);
  const key = await crypto.subtle.importKey(
    "raw",
    new TextEncoder().encode(TOKEN),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  const response = await crypto.subtle.sign(
    "HMAC",
    key,
    Uint8Array.fromHex(challenge),
  );
  assertEquals(answer, { response: new Uint8Array(response).toHex() });
});

Deno.test("logIn() and admit() fail with one message when the secrets differ", async () => {
  const other = "another text of some length";
  for (const make of [sharedToken, sharedSecret]) {
    const { outcomes, ends: [near] } = await both(make(TOKEN), make(other));
    const messages = outcomes.map((outcome) => {
      assert(outcome.status === "rejected");
      assertInstanceOf(outcome.reason, AuthenticationError);
      return outcome.reason.message;
    });
    assertEquals(messages, [PEER_REFUSED, SERVER_REFUSED]);
    assertEquals(messagesOf(near).at(-1), { authenticated: false });
  }
});

Deno.test("admit() gives one reply, byte for byte, to every failure", async () => {
  const token = verifier(sharedToken(TOKEN));
  const secret = verifier(sharedSecret(TOKEN));
  const text = JSON.stringify;
  const hello = text(HELLO);
  const invalid = Uint8Array.of(0x22, 0xff, 0x22);
  const rows: [verify: Verifier, first: Uint8Array | string][] = [
    [token, text({ ...HELLO, token: "Kröte-0123456789abcdeg" })],
    [token, text({ ...HELLO, token: "Xröte-0123456789abcdef" })],
    [token, text({ ...HELLO, token: TOKEN.normalize("NFD") })],
    [token, text({ ...HELLO, token: `${TOKEN} ` })],
    [token, text({ ...HELLO, token: TOKEN.slice(1) })],
    [token, text({ ...HELLO, token: "" })],
    [token, text({ ...HELLO, token: "x".repeat(10_000) })],
    [token, text({ ...HELLO, token: "\ud800" })],
    [token, text({ ...HELLO, token: [TOKEN] })],
    [token, text({ ...HELLO, token: null })],
    [token, text({ authenticate: "token" })],
    [token, text({ token: TOKEN })],
    [token, text({ authenticate: "challenge", token: TOKEN })],
    [token, text({ authenticate: ["token"], token: TOKEN })],
    [token, `{"__proto__":${hello}}`],
    [token, text([HELLO])],
    [token, text(TOKEN)],
    [token, '{"message":"hello from client","type":"text"}'],
    [token, '{"jsonrpc":"2.0","id":1,"method":"constructor"}'],
    [token, "null"],
    [token, "42"],
    [token, ""],
    [token, "{nonsense}"],
    [token, invalid],
    [secret, hello],
    [secret, "null"],
    [secret, invalid],
    [secret, text({ authenticate: "challenge " })],
    [() => false, hello],
    [() => 1, hello],
    [() => "yes", hello],
    [() => null, hello],
    [() => undefined, hello],
    [() => [], hello],
    [() => [{ name: "somebody" }], hello],
    [() => new Error("not in the list"), hello],
    [() => () => true, hello],
    [() => Promise.resolve("yes"), hello],
    [() => Promise.reject(new Error("the database is down")), hello],
    [() => {
      throw new Error("the database is down");
    }, hello],
    [() => {
      throw undefined;
    }, hello],
  ];
  for (const [verify, first] of rows) {
    // What follows the first message does not help, even if it is right.
    const outcome = await meet(verify, saying(first, hello));
    const what = typeof first === "string" ? first : "not UTF-8";
    assertInstanceOf(outcome.error, AuthenticationError, what);
    assertEquals(outcome.error.message, PEER_REFUSED, what);
    assertEquals(outcome.reply, [...frameOf('{"authenticated":false}')], what);
  }
});

Deno.test("admit() gives the same reply when the time is up, and rejects with the signal's reason", async () => {
  const asked = Promise.withResolvers<void>();
  const hanging: [Verifier, (peer: RawPeer) => Promise<unknown>][] = [
    // Nothing comes from the peer.
    [() => true, () => Promise.resolve()],
    [
      () => (asked.resolve(), new Promise(() => {})),
      async (peer) => (await peer.send("1"), await asked.promise),
    ],
  ];
  for (const [verify, behave] of hanging) {
    const pending = new AbortController();
    const reason = new Error("no answer after 5000 ms");
    const outcome = await meet(verify, async (peer) => {
      await behave(peer);
      pending.abort(reason);
    }, pending.signal);
    assertStrictEquals(outcome.error, reason);
    assertEquals(outcome.reply, [...frameOf('{"authenticated":false}')]);
  }
  const outcome = await meet(
    () => true,
    saying("1"),
    AbortSignal.abort("late"),
  );
  assertEquals(outcome.error, "late");
});

Deno.test("admit() asks no verifier about what comes after the time is up", async () => {
  const [near, far] = memoryPair();
  const connection = new Connection(near);
  const pending = new AbortController();
  let called = 0;
  const admitting = admit(connection, () => ++called, pending.signal);
  pending.abort("late");
  await far.write(frameOf("1"));
  assertEquals(await admitting.catch((reason) => reason), "late");
  await connection.close();
  assertEquals(called, 0);
});

Deno.test("admit() resolves to who the peer is", async () => {
  const identity = { name: "somebody" };
  for (
    const verify of [() => identity, () => Promise.resolve(identity)]
  ) {
    const outcome = await meet(verify, saying("1"));
    assertStrictEquals(outcome.identity, identity);
    assertEquals(outcome.reply, [...frameOf('{"authenticated":true}')]);
  }
});

Deno.test("admit() tells the cause of a refusal on this side only", async () => {
  const cause = new Error("the database is down");
  const thrown = await meet(() => Promise.reject(cause), saying("1"));
  assertInstanceOf(thrown.error, AuthenticationError);
  assertStrictEquals(thrown.error.cause, cause);
  const invalid = await meet(() => true, saying("{"));
  assertInstanceOf(invalid.error, AuthenticationError);
  assertInstanceOf(invalid.error.cause, InvalidMessageError);
  const refused = await meet(() => false, saying("1"));
  assertInstanceOf(refused.error, AuthenticationError);
  assert(!Object.hasOwn(refused.error, "cause"));
});

Deno.test("admit() rejects when the peer leaves", async () => {
  for (const leave of ["close", "closeWrite", "cut"] as const) {
    const [near, far] = memoryPair();
    const connection = new Connection(near);
    const admitting = admit(connection, () => true, NEVER);
    far[leave]();
    const error = await assertRejects(() => admitting, AuthenticationError);
    assertEquals(error.message, PEER_REFUSED);
    assertInstanceOf(error.cause, ConnectionClosedError);
    await connection.close();
  }
});

Deno.test("admit() shows the verifier the message and the peer, and lets it ask", async () => {
  const [near, far] = memoryPair();
  const remoteAddr: Address = { transport: "unix", path: "" };
  const connection = new Connection(near, {}, {
    localAddr: LOOPBACK,
    remoteAddr,
  });
  const peer = new RawPeer(far);
  const talking = (async () => {
    await peer.send('"hello"');
    for (const answer of ["one", "two"]) {
      assertEquals(await peer.receive(), { question: answer });
      await peer.send(JSON.stringify(answer));
    }
    // It need not wait for the verdict.
    await peer.send('"for the handler"');
    assertEquals(await peer.receive(), { authenticated: true });
  })();
  const identity = await admit(connection, async (message, peer) => {
    assertEquals(message, "hello");
    assertStrictEquals(peer.signal, NEVER);
    assertEquals([peer.localAddr, peer.remoteAddr, peer.tls], [
      LOOPBACK,
      remoteAddr,
      undefined,
    ]);
    const answers = [
      await peer.ask({ question: "one" }),
      await peer.ask({ question: "two" }),
    ];
    return { answers };
  }, NEVER);
  assertEquals(identity, { answers: ["one", "two"] });
  await talking;
  const { value } = await connection[Symbol.asyncIterator]().next();
  assertEquals(value, "for the handler");
  await connection.close();
});

Deno.test("admit() takes an answer that was sent ahead, and leaves the rest", async () => {
  const [near, far] = memoryPair();
  const connection = new Connection(near);
  const frames = ["1", "2", "3"].flatMap((payload) => [...frameOf(payload)]);
  await far.write(Uint8Array.from(frames));
  const identity = await admit(
    connection,
    async (message, { ask }) => ({ heard: [message, await ask("next")] }),
    NEVER,
  );
  assertEquals(identity, { heard: [1, 2] });
  assertEquals((await connection[Symbol.asyncIterator]().next()).value, 3);
  await connection.close();
});

Deno.test("admit() lets no verifier take messages that are for the handler", async () => {
  let late = () => Promise.resolve<unknown>(undefined);
  const [near, far] = memoryPair();
  const connection = new Connection(near);
  await far.write(frameOf("1"));
  await admit(connection, (_, peer) => {
    late = () => peer.ask("late");
    return true;
  }, NEVER);
  await assertRejects(late, AuthenticationError);
  await far.write(frameOf("2"));
  assertEquals((await connection[Symbol.asyncIterator]().next()).value, 2);
  await connection.close();
  assertEquals(messagesOf(near), [{ authenticated: true }]);
});

Deno.test("admit() refuses when a question was not answered, or badly", async () => {
  const careless: Verifier = (_, peer) => {
    peer.ask("question").catch(() => {});
    return true;
  };
  const forgiving: Verifier = async (_, peer) => {
    await peer.ask("question").catch(() => {});
    return true;
  };
  const rows: [Verifier, string[]][] = [
    [careless, ["1"]],
    [forgiving, ["1", "{"]],
  ];
  for (const [verify, payloads] of rows) {
    const { error, reply } = await meet(verify, saying(...payloads));
    assertInstanceOf(error, AuthenticationError);
    assertEquals(reply, [
      ...frameOf('"question"'),
      ...frameOf('{"authenticated":false}'),
    ]);
  }
});

Deno.test("admit() passes the gate before each judgement, and says of wrong answers only that they failed", async () => {
  const { verify } = sharedSecret(TOKEN);
  const challenge = '{"authenticate":"challenge"}';
  const response = `{"response":"${"0".repeat(64)}"}`;
  const hasty: Verifier = (_, { ask }) => {
    ask("and?").catch(() => {});
    return false;
  };
  const cases: [Verifier, string[], string][] = [
    [() => true, ["1"], "enter leave"],
    [() => false, ["1"], "enter fail"],
    [() => false, ["no JSON"], "leave"],
    [() => false, [], "leave"],
    [verify, [challenge], "enter leave leave"],
    [verify, [challenge, "no JSON"], "enter leave leave"],
    [verify, [challenge, response], "enter leave enter fail"],
    [hasty, ["1"], "enter leave fail"],
  ];
  for (const [verify, payloads, expected] of cases) {
    const log: string[] = [];
    const [near, far] = memoryPair();
    const connection = new Connection(near);
    const admitting = admit(connection, verify, NEVER, {
      enter() {
        log.push("enter");
        return Promise.resolve();
      },
      leave: (failed) => void log.push(failed ? "fail" : "leave"),
    });
    for (const payload of payloads) await far.write(frameOf(payload));
    await far.closeWrite();
    await admitting.catch(() => {});
    await connection.close();
    assertEquals(log.join(" "), expected);
  }
});

Deno.test("sharedSecret() refuses a recorded login, 100 of 100", async () => {
  const verify = verifier(sharedSecret(TOKEN));
  const { ends: [, far] } = await both(
    sharedSecret(TOKEN),
    sharedSecret(TOKEN),
  );
  const recorded = messagesOf(far).map((message) => JSON.stringify(message));
  assertEquals(recorded.length, 2);
  const challenges = new Set<JsonValue | undefined>();
  for (let i = 0; i < 100; i++) {
    const { identity, error } = await meet(verify, async (peer) => {
      await peer.send(recorded[0]);
      challenges.add(JSON.stringify(await peer.receive()));
      await peer.send(recorded[1]);
      assertEquals(await peer.receive(), { authenticated: false });
    });
    assertEquals(identity, undefined);
    assertInstanceOf(error, AuthenticationError);
  }
  assertEquals(challenges.size, 100);
});

Deno.test("sharedSecret() takes one response, and nothing else for one", async () => {
  const client = proverOf(sharedSecret(TOKEN), LOOPBACK, false);
  const right = async (challenge: JsonValue): Promise<string> => {
    const proof = await client({
      localAddr: undefined,
      remoteAddr: undefined,
      tls: undefined,
      signal: NEVER,
      ask: () => Promise.resolve(challenge),
    });
    return (proof as { response: string }).response;
  };
  type Respond = (response: string, challenge: JsonValue) => JsonValue;
  const rows: [accepted: boolean, respond: Respond][] = [
    [true, (response) => ({ response })],
    [true, (response) => ({ response: response.toUpperCase() })],
    [false, (response) => ({ response: response.slice(1) })],
    [false, (response) => ({ response: `${response}0` })],
    [false, (response) => ({ response: `${response}\n` })],
    [false, (response) => ({ response: `0x${response.slice(2)}` })],
    [false, (response) => ({ response: [response] })],
    [false, (response) => ({ response: `g${response.slice(1)}` })],
    [false, (response) => ({ challenge: response })],
    [false, (response) => response],
    [false, () => ({ response: "0".repeat(64) })],
    [false, (_, challenge) => ({
      response: (challenge as { challenge: string }).challenge,
    })],
    [false, () => null],
  ];
  for (const [accepted, respond] of rows) {
    const outcome = await meet(
      verifier(sharedSecret(TOKEN)),
      async (peer) => {
        await peer.send('{"authenticate":"challenge"}');
        const challenge = await peer.receive() ?? null;
        const response = await right(challenge);
        const answer = respond(response, challenge);
        await peer.send(JSON.stringify(answer));
        // A second attempt is not heard.
        await peer.send(JSON.stringify({ response }));
        assertEquals(await peer.receive(), { authenticated: accepted });
      },
    );
    assertEquals(outcome.identity, accepted ? true : undefined);
  }
});

/** Logs in to a server that says what it likes. */
async function logInTo(
  authentication: Authentication,
  answers: readonly (Uint8Array | string)[],
): Promise<{ error: unknown; sent: JsonValue[] }> {
  const [near, far] = memoryPair();
  const connection = new Connection(near);
  for (const answer of answers) await far.write(frameOf(answer));
  const prove = proverOf(authentication, LOOPBACK, false);
  const error = await logIn(connection, prove, NEVER).then(
    () => undefined,
    (error) => error,
  );
  await connection.close();
  return { error, sent: messagesOf(near) };
}

Deno.test("logIn() goes on for no answer but yes", async () => {
  const refusals: (Uint8Array | string)[] = [
    '{"authenticated":false}',
    '{"authenticated":1}',
    '{"authenticated":"true"}',
    '{"authenticated":true,"token":"please"}',
    '{"authenticated":[true]}',
    '{"authenticated":{}}',
    '{"__proto__":{"authenticated":true}}',
    '[{"authenticated":true}]',
    "true",
    "null",
    "{}",
    '{"status":"error","error":"expected an object with a \\"message\\""}',
    `{"challenge":"${"0".repeat(64)}"}`,
  ];
  for (const answer of refusals) {
    const { error, sent } = await logInTo(sharedToken(TOKEN), [answer]);
    assertInstanceOf(error, AuthenticationError);
    assertEquals(error.message, SERVER_REFUSED);
    assertEquals(sent, [HELLO]);
  }
  for (const answer of ["{", Uint8Array.of(0x22, 0xff, 0x22)]) {
    const { error } = await logInTo(sharedToken(TOKEN), [answer]);
    assertInstanceOf(error, AuthenticationError);
    assertEquals(error.message, SERVER_REFUSED);
    assertInstanceOf(error.cause, InvalidMessageError);
  }
  const { error } = await logInTo(sharedToken(TOKEN), [
    ' { "authenticated" : true }',
  ]);
  assertEquals(error, undefined);
});

Deno.test("logIn() reveals nothing to a server that asks for more", async () => {
  const hello = { authenticate: "challenge" };
  const zeros = `{"challenge":"${"0".repeat(64)}"}`;
  const badChallenges = [
    ...['{"authenticated":true}', '{"authenticated":false}', "null"],
    ...['{"challenge":""}', '{"challenge":0}', `"${"0".repeat(64)}"`],
    `{"challenge":"${"0".repeat(63)}"}`,
    `{"challenge":"${"0".repeat(66)}"}`,
    `{"challenge":"${"0".repeat(63)}g"}`,
    `{"challenge":"${"0".repeat(63)}\\n"}`,
    '{"authenticate":"token"}',
  ];
  for (const challenge of badChallenges) {
    const { error, sent } = await logInTo(sharedSecret(TOKEN), [challenge]);
    assertInstanceOf(error, AuthenticationError);
    assertEquals(error.message, SERVER_REFUSED, challenge);
    assertEquals(sent, [hello], challenge);
  }
  const again = await logInTo(sharedSecret(TOKEN), [zeros, zeros, zeros]);
  assertInstanceOf(again.error, AuthenticationError);
  assertEquals(again.sent.length, 2);
  assert(!JSON.stringify(again.sent).includes(TOKEN));
});

Deno.test("logIn() takes no verdict for a question", async () => {
  for (const authenticated of [true, false, 1]) {
    const [near, far] = memoryPair();
    const connection = new Connection(near);
    const verdict = JSON.stringify({ authenticated });
    await far.write(frameOf(verdict));
    await far.write(frameOf('{"authenticated":true}'));
    const loggingIn = logIn(connection, ({ ask }) => ask("hello"), NEVER);
    const error = await assertRejects(() => loggingIn, AuthenticationError);
    assertEquals(error.message, SERVER_REFUSED);
    await connection.close();
    assertEquals(messagesOf(near), ["hello"]);
  }
});

Deno.test("logIn() and admit() leave nothing behind at their signals", async () => {
  for (const option of [sharedToken(TOKEN), sharedSecret(TOKEN)]) {
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: unknown[]) => {
      listeners++;
      Reflect.apply(addEventListener, signal, args);
    };
    signal.removeEventListener = (...args: unknown[]) => {
      listeners--;
      Reflect.apply(removeEventListener, signal, args);
    };
    const [near, far] = memoryPair().map((end) => new Connection(end));
    const admitting = admit(near, verifier(option), signal);
    assert(listeners > 0);
    await logIn(far, proverOf(option, LOOPBACK, false), signal);
    await admitting;
    assertEquals(listeners, 0);
    await Promise.all([near.close(), far.close()]);
  }
});

Deno.test("logIn() rejects with what ended it, where no answer came", async () => {
  const prove = proverOf(sharedToken(TOKEN), LOOPBACK, false);
  {
    const [near, far] = memoryPair();
    const connection = new Connection(near);
    const loggingIn = logIn(connection, prove, NEVER);
    far.close();
    await assertRejects(() => loggingIn, ConnectionClosedError);
    await connection.close();
  }
  const slow = () => new Promise(() => {});
  for (const each of [prove, slow]) {
    const [near] = memoryPair();
    const connection = new Connection(near);
    const pending = new AbortController();
    const loggingIn = logIn(connection, each, pending.signal);
    pending.abort("late");
    assertEquals(await loggingIn.catch((reason) => reason), "late");
    await connection.close();
  }
  const [near] = memoryPair();
  const connection = new Connection(near);
  const fault = new TypeError("no token yet");
  const failing = logIn(connection, () => Promise.reject(fault), NEVER);
  assertStrictEquals(await failing.catch((error) => error), fault);
  await connection.close();
  assertEquals(near.writes, []);
});

Deno.test("logIn() and admit() serve functions of one's own", async () => {
  const [near, far] = memoryPair();
  const [server, client] = [new Connection(near), new Connection(far)];
  const users = new Map([["somebody", "a password"]]);
  const verify: Verifier = async (message, peer) => {
    const { name } = message as { name: string };
    return await peer.ask("password?") === users.get(name) && { name };
  };
  const [identity] = await Promise.all([
    admit(server, verifier(verify), NEVER),
    logIn(
      client,
      proverOf(
        async ({ ask }) => {
          assertEquals(await ask({ name: "somebody" }), "password?");
          return "a password";
        },
        LOOPBACK,
        false,
      ),
      NEVER,
    ),
  ]);
  assertEquals(identity, { name: "somebody" });
  await Promise.all([server.close(), client.close()]);
});

Deno.test("sharedToken() and sharedSecret() refuse a text that is no good secret, without telling it", () => {
  const rows: [text: unknown, type: typeof TypeError, fault: string][] = [
    ["", TypeError, "it is empty"],
    [undefined, TypeError, "received undefined, expected a string"],
    [new Uint8Array(32), TypeError, "received an object, expected a string"],
    [` ${TOKEN}`, TypeError, "it begins or ends with white space"],
    [`${TOKEN}\r\n`, TypeError, "it begins or ends with white space"],
    [`\uFEFF${TOKEN}`, TypeError, "it begins or ends with white space"],
    [
      `${TOKEN}\ud800`,
      TypeError,
      "it has half a surrogate pair, which UTF-8 cannot express",
    ],
    [
      TOKEN.normalize("NFD"),
      TypeError,
      "it is not in Unicode's normalization form C",
    ],
    [
      "123456789012345",
      RangeError,
      "it is 15 bytes, expected at least 16 bytes",
    ],
  ];
  for (
    const [name, make] of [
      ["token", sharedToken],
      ["secret", sharedSecret],
    ] as const
  ) {
    for (const [text, type, fault] of rows) {
      const error = assertThrows(() => make(text as string), type);
      assertEquals(error.message, `Cannot use ${name}: ${fault}`);
      assert(!/Kr.{1,2}te|12345/.test(Deno.inspect(error)));
    }
    make("1234567890123456");
    make("éééééééé");
  }
  assertThrows(
    () => sharedToken(TOKEN, { allowPlaintext: 1 as unknown as boolean }),
    TypeError,
    'Cannot use option "allowPlaintext": received 1, expected a boolean',
  );
  assertThrows(
    () => sharedToken(TOKEN, { plain: true } as object),
    TypeError,
    'Cannot use option "plain": it does not exist',
  );
});

Deno.test("sharedToken() and sharedSecret() show their secrets to nobody", async () => {
  for (const make of [sharedToken, sharedSecret]) {
    const right = make(TOKEN);
    const wrong = make("another text of some length");
    const { outcomes } = await both(right, wrong);
    const answers = ["{", '{"authenticated":false}', '{"challenge":1}'];
    const errors = await Promise.all(
      answers.map(async (answer) => (await logInTo(right, [answer])).error),
    );
    for (
      const value of [
        ...[right, right.prove, right.verify, verifier(right), { right }],
        ...outcomes,
        ...errors,
      ]
    ) {
      const seen = [
        Deno.inspect(value, { showHidden: true, depth: Infinity }),
        JSON.stringify(value),
        String(value),
        value instanceof Error && value.stack,
      ].join();
      assert(!/Kröte|abcdef|some length/.test(seen), seen);
    }
  }
});

Deno.test("verifierOf() and proverOf() refuse a token over TCP that is not encrypted", () => {
  const tcp = (hostname: string): Address => ({ ...LOOPBACK, hostname });
  const token = sharedToken(TOKEN);
  const far = [
    ...["0.0.0.0", "::", "192.0.2.1", "example.com", "127.example.com"],
    ...["localhost.example.com", "1127.0.0.1", "127.0.0.1.example.com"],
  ];
  for (const halfOf of [verifierOf, proverOf]) {
    for (const hostname of far) {
      assertThrows(
        () => halfOf(token, tcp(hostname), false),
        TypeError,
        `Cannot authenticate with a token: TCP to "${hostname}" is not encrypted; use TLS, a shared secret, or allowPlaintext`,
      );
      halfOf(token, tcp(hostname), true);
      halfOf(
        sharedToken(TOKEN, { allowPlaintext: true }),
        tcp(hostname),
        false,
      );
      halfOf(sharedSecret(TOKEN), tcp(hostname), false);
      halfOf(() => true, tcp(hostname), false);
    }
    for (
      const hostname of [
        ...["localhost", "LOCALHOST", "127.0.0.1", "127.255.0.3"],
        ...["::1", "[::1]"],
      ]
    ) {
      halfOf(token, tcp(hostname), false);
    }
    halfOf(token, { transport: "unix", path: "/run/server.sock" }, false);
  }
});

Deno.test("authenticate takes an object of a class, and no half of one", async () => {
  class Password implements Authentication {
    readonly needsEncryption = true;
    readonly #password = "a password";
    prove(): JsonValue {
      return this.#password;
    }
    verify(message: JsonValue): boolean {
      return message === this.#password;
    }
  }
  const { outcomes } = await both(new Password(), new Password());
  assertEquals(outcomes.map(({ status }) => status), [
    "fulfilled",
    "fulfilled",
  ]);
  const { prove, verify } = sharedSecret(TOKEN);
  for (
    const [received, option] of [
      ["a string", TOKEN],
      ["null", null],
      ["an object", { verify, needsEncryption: false }],
      ["an object", { prove, needsEncryption: false }],
      ["an object", { prove, verify }],
    ]
  ) {
    assertThrows(
      () => AUTHENTICATE_OPTION.check("authenticate", option),
      TypeError,
      `Cannot use option "authenticate": received ${received}, expected a function or what sharedToken and sharedSecret make`,
    );
  }
});

Deno.test("secrets are compared in constant time only", async () => {
  const code = await Deno.readTextFile(
    new URL("./authentication.ts", import.meta.url),
  );
  assertEquals(code.match(/ timingSafeEqual\(/g)?.length, 2);
  const compared =
    /[!=]==? *(token|secret|given|digest)\b|\b(token|secret|given|digest) *[!=]==(?! undefined)/;
  assert(!compared.test(code), code.match(compared)?.[0]);
});
