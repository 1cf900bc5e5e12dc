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
} from "../../framing.ts";
import { type MemoryEnd, memoryPair } from "../../tests/memory_pair.ts";
import { frame } from "../../tests/peers.ts";
import {
  admit,
  AUTHENTICATE_OPTION,
  type Authentication,
  AuthenticationError,
  type AuthenticationPeer,
  BarredError,
  halfOf,
  logIn,
  sharedSecret,
  sharedToken,
  type Verifier,
} from "./auth.ts";
import { secretLogin } from "./shared.ts";
import {
  type Address,
  ConnectionClosedError,
  fromDuplex,
  linkOf,
  makeConnection,
  settingsOf,
} from "../connection/connection.ts";

const TOKEN = "Kröte-0123456789abcdef";
const HELLO = { $login: "token", token: TOKEN };
/** The first message of a login of one's own. */
const OWN = { $login: "own" };
const OWN_TEXT = JSON.stringify(OWN);
const NONCE = "0".repeat(64);
const SECRET_TEXT = JSON.stringify({ $login: "secret", nonce: NONCE });
const PEER_REFUSED = "Cannot authenticate: the login was rejected";
const SERVER_REFUSED = "Cannot authenticate: the server rejected the login";
const NO_LOGIN = "Cannot authenticate: the server has no authenticate";
const REFUSED = '{"$login":"refused"}';
const ACCEPTED = '{"$login":"accepted"}';
const LATER = '{"$login":"later"}';
const LOOPBACK: Address = {
  transport: "tcp",
  hostname: "127.0.0.1",
  port: 8080,
};
const NEVER = new AbortController().signal;

function writtenBy({ writes }: MemoryEnd): number[] {
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
    await this.#end.write(frame(payload));
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
  const connection = fromDuplex(near);
  const outcome: Outcome = { reply: [] };
  const admitting = admit(linkOf(connection), verify, signal).then(
    (identity) => outcome.identity = identity,
    (error) => outcome.error = error,
  );
  await behave(new RawPeer(far));
  await admitting;
  await connection.close();
  outcome.reply = writtenBy(near);
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
  return halfOf("verify", option, LOOPBACK, false);
}

/** Both halves of the library over one pair. */
async function both(
  server: Authentication,
  client: Authentication,
): Promise<{ outcomes: PromiseSettledResult<unknown>[]; ends: MemoryEnd[] }> {
  const ends = memoryPair();
  const [near, far] = ends.map((end) => fromDuplex(end));
  const outcomes = await Promise.allSettled([
    admit(linkOf(near), verifier(server), NEVER),
    logIn(linkOf(far), halfOf("prove", client, LOOPBACK, false), NEVER),
  ]);
  await Promise.all([near.close(), far.close()]);
  return { outcomes, ends };
}

Deno.test("sharedToken() accepts clients that know the token, in one message each way", async () => {
  const { outcomes, ends } = await both(sharedToken(TOKEN), sharedToken(TOKEN));
  assertEquals(outcomes, [
    { status: "fulfilled", value: true },
    { status: "fulfilled", value: undefined },
  ]);
  const [near, far] = ends;
  assertEquals(writtenBy(far), [...encodeFrame(HELLO)]);
  assertEquals(writtenBy(near), [...frame(ACCEPTED)]);
});

Deno.test("sharedSecret() accepts clients that know the secret, which is never sent", async () => {
  const { outcomes, ends: [near, far] } = await both(
    sharedSecret(TOKEN),
    sharedSecret(TOKEN),
  );
  assertEquals(outcomes.map(({ status }) => status), [
    "fulfilled",
    "fulfilled",
  ]);
  const [hello, answer] = messagesOf(far) as Record<string, string>[];
  const [question, verdict] = messagesOf(near) as Record<string, string>[];
  const { nonce } = hello;
  const { challenge } = question;
  for (const bytes of [nonce, challenge]) assert(/^[0-9a-f]{64}$/.test(bytes));
  assert(nonce !== challenge);
  const key = await crypto.subtle.importKey(
    "raw",
    new TextEncoder().encode(TOKEN),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["sign"],
  );
  async function proofOf(role: string): Promise<string> {
    const text = `framed-json/1 ${role}\0`;
    const proof = await crypto.subtle.sign(
      "HMAC",
      key,
      Uint8Array.from([
        ...new TextEncoder().encode(text),
        ...Uint8Array.fromHex(nonce),
        ...Uint8Array.fromHex(challenge),
      ]),
    );
    return new Uint8Array(proof).toHex();
  }
  assertEquals([hello, question, answer, verdict], [
    { $login: "secret", nonce },
    { $login: "challenge", challenge },
    { $login: "response", response: await proofOf("client") },
    { $login: "accepted", proof: await proofOf("server") },
  ]);
});

Deno.test("sharedSecret() says these very bytes for these nonces", async () => {
  // The first is also in the README.
  const vectors = [
    {
      secret: "correct horse battery staple",
      nonce: Uint8Array.from({ length: 32 }, (_, i) => i),
      challenge: Uint8Array.from({ length: 32 }, (_, i) => 32 + i),
      response:
        "5816652b16f70ecdf0fdbe74eb53c7ba988900e57869ad76be3b3f7682790c53",
      proof: "77896139b2264d1f370d9fb98f0b13dfea0ee3ec4a2a1ddec1e0ce2f16b0f203",
    },
    {
      secret: TOKEN,
      nonce: new Uint8Array(32).fill(0xff),
      challenge: new Uint8Array(32),
      response:
        "29cd1cc063b4e66961016eb80cfe056f66048070c3f2af962fe9f450ce0d364f",
      proof: "416d32d6250c2ac3ba60e389ef3e641a0ae92ac67a519950eec21f9fb3c5c064",
    },
  ];
  for (const { secret, nonce, challenge, response, proof } of vectors) {
    const { outcomes, ends: [near, far] } = await both(
      secretLogin(secret, () => challenge),
      secretLogin(secret, () => nonce),
    );
    assertEquals(outcomes.map(({ status }) => status), [
      "fulfilled",
      "fulfilled",
    ]);
    assertEquals(
      writtenBy(far),
      [
        `{"$login":"secret","nonce":"${nonce.toHex()}"}`,
        `{"$login":"response","response":"${response}"}`,
      ].flatMap((text) => [...frame(text)]),
    );
    assertEquals(
      writtenBy(near),
      [
        `{"$login":"challenge","challenge":"${challenge.toHex()}"}`,
        `{"$login":"accepted","proof":"${proof}"}`,
      ].flatMap((text) => [...frame(text)]),
    );
  }
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
    assertEquals(messagesOf(near).at(-1), { $login: "refused" });
  }
});

Deno.test("admit() gives the same reply, byte for byte, to all that it refuses", async () => {
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
    [token, text({ $login: "token" })],
    [token, text({ token: TOKEN })],
    [token, text({ authenticate: "token", token: TOKEN })],
    [token, text({ $login: "secret", token: TOKEN })],
    [token, text({ $login: "accepted", token: TOKEN })],
    [token, text({ $login: ["token"], token: TOKEN })],
    [token, text({ $login: null, token: TOKEN })],
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
    [secret, text({ $login: "secret" })],
    [secret, text({ $login: "secret", nonce: NONCE.slice(1) })],
    [secret, text({ $login: "secret", nonce: "A".repeat(64) })],
    [secret, text({ $login: "secret", nonce: [NONCE] })],
    [secret, text({ $login: "response", response: NONCE })],
    // Asked before a verifier is.
    [() => true, '"no login"'],
    [() => true, "{}"],
    [() => true, '{"__proto__":{"$login":"own"}}'],
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
  ];
  for (const [verify, first] of rows) {
    // What follows the first message does not help, even if it is right.
    const outcome = await meet(verify, saying(first, hello));
    const what = typeof first === "string" ? first : "not UTF-8";
    assertInstanceOf(outcome.error, AuthenticationError, what);
    assertEquals(outcome.error.message, PEER_REFUSED, what);
    assertEquals(outcome.reply, [...frame(REFUSED)], what);
  }
});

Deno.test("admit() says later where the verifier failed", async () => {
  const verifiers: Verifier[] = [
    () => Promise.reject(new Error("the database is down")),
    () => {
      throw new Error("the database is down");
    },
    () => {
      throw undefined;
    },
    (_, peer) => peer.ask({ $login: "accepted" }),
    (_, peer) => peer.ask(1n),
  ];
  for (const verify of verifiers) {
    const outcome = await meet(verify, saying(OWN_TEXT));
    assertInstanceOf(outcome.error, AuthenticationError);
    assertEquals(
      outcome.error.message,
      "Cannot authenticate: the verifier failed",
    );
    assertEquals(outcome.reply, [...frame(LATER)]);
  }
});

Deno.test("admit() says later where the verifier is late, and nothing to a peer that is", async () => {
  const asked = Promise.withResolvers<void>();
  function judgeForEver(): Promise<boolean> {
    asked.resolve();
    return new Promise(() => {});
  }
  const question = [...frame('"question"')];
  const rows: [
    verify: Verifier,
    behave: (peer: RawPeer) => Promise<unknown>,
    reply: number[],
  ][] = [
    [() => true, () => Promise.resolve(), []],
    [
      (_, peer) => peer.ask("question"),
      async (peer) => (await peer.send(OWN_TEXT), await peer.receive()),
      question,
    ],
    [
      judgeForEver,
      async (peer) => (await peer.send(OWN_TEXT), await asked.promise),
      [...frame(LATER)],
    ],
  ];
  for (const [verify, behave, reply] of rows) {
    const pending = new AbortController();
    const reason = new Error("no answer after 5000 ms");
    const outcome = await meet(verify, async (peer) => {
      await behave(peer);
      pending.abort(reason);
    }, pending.signal);
    assertStrictEquals(outcome.error, reason);
    assertEquals(outcome.reply, reply);
  }
  const outcome = await meet(
    () => true,
    saying(OWN_TEXT),
    AbortSignal.abort("late"),
  );
  assertEquals([outcome.error, outcome.reply], ["late", []]);
});

Deno.test("admit() asks no verifier about what comes after the time is up", async () => {
  const [near, far] = memoryPair();
  const connection = fromDuplex(near);
  const pending = new AbortController();
  let called = 0;
  const admitting = admit(linkOf(connection), () => ++called, pending.signal);
  pending.abort("late");
  await far.write(frame(OWN_TEXT));
  assertEquals(await admitting.catch((reason) => reason), "late");
  await connection.close();
  assertEquals(called, 0);
});

Deno.test("admit() resolves to who the peer is", async () => {
  const identity = { name: "somebody" };
  for (
    const verify of [() => identity, () => Promise.resolve(identity)]
  ) {
    const outcome = await meet(verify, saying(OWN_TEXT));
    assertStrictEquals(outcome.identity, identity);
    assertEquals(outcome.reply, [...frame(ACCEPTED)]);
  }
});

Deno.test("admit() tells the cause of a refusal on this side only", async () => {
  const cause = new Error("the database is down");
  const thrown = await meet(() => Promise.reject(cause), saying(OWN_TEXT));
  assertInstanceOf(thrown.error, AuthenticationError);
  assertStrictEquals(thrown.error.cause, cause);
  const invalid = await meet(() => true, saying("{"));
  assertInstanceOf(invalid.error, AuthenticationError);
  assertInstanceOf(invalid.error.cause, InvalidMessageError);
  const refused = await meet(() => false, saying(OWN_TEXT));
  assertInstanceOf(refused.error, AuthenticationError);
  assert(!Object.hasOwn(refused.error, "cause"));
});

Deno.test("admit() rejects when the peer leaves", async () => {
  for (const leave of ["close", "closeWrite", "cut"] as const) {
    const [near, far] = memoryPair();
    const connection = fromDuplex(near);
    const admitting = admit(linkOf(connection), () => true, NEVER);
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
  const connection = makeConnection(near, settingsOf({}), {
    localAddr: LOOPBACK,
    remoteAddr,
  });
  const peer = new RawPeer(far);
  const talking = (async () => {
    await peer.send(OWN_TEXT);
    for (const answer of ["one", "two"]) {
      assertEquals(await peer.receive(), { question: answer });
      await peer.send(JSON.stringify(answer));
    }
    // It need not wait for the verdict.
    await peer.send('"for the handler"');
    assertEquals(await peer.receive(), { $login: "accepted" });
  })();
  const identity = await admit(linkOf(connection), async (message, peer) => {
    assertEquals(message, OWN);
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
  const connection = fromDuplex(near);
  const frames = [OWN_TEXT, "2", "3"].flatMap((
    payload,
  ) => [...frame(payload)]);
  await far.write(Uint8Array.from(frames));
  const identity = await admit(
    linkOf(connection),
    async (message, { ask }) => ({ heard: [message, await ask("next")] }),
    NEVER,
  );
  assertEquals(identity, { heard: [OWN, 2] });
  assertEquals((await connection[Symbol.asyncIterator]().next()).value, 3);
  await connection.close();
});

Deno.test("admit() lets no verifier take messages that are for the handler", async () => {
  let late = () => Promise.resolve<unknown>(undefined);
  const [near, far] = memoryPair();
  const connection = fromDuplex(near);
  await far.write(frame(OWN_TEXT));
  await admit(linkOf(connection), (_, peer) => {
    late = () => peer.ask("late");
    return true;
  }, NEVER);
  await assertRejects(late, AuthenticationError);
  await far.write(frame("2"));
  assertEquals((await connection[Symbol.asyncIterator]().next()).value, 2);
  await connection.close();
  assertEquals(messagesOf(near), [{ $login: "accepted" }]);
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
    [careless, [OWN_TEXT]],
    [forgiving, [OWN_TEXT, "{"]],
  ];
  for (const [verify, payloads] of rows) {
    const { error, reply } = await meet(verify, saying(...payloads));
    assertInstanceOf(error, AuthenticationError);
    assertEquals(reply, [
      ...frame('"question"'),
      ...frame(REFUSED),
    ]);
  }
});

Deno.test("admit() counts wrong answers, and nothing else", async () => {
  const { verify } = sharedSecret(TOKEN);
  const response = `{"$login":"response","response":"${NONCE}"}`;
  const hasty: Verifier = (_, { ask }) => {
    ask("and?").catch(() => {});
    return false;
  };
  const cases: [Verifier, string[], failures: number][] = [
    [() => true, [OWN_TEXT], 0],
    [() => false, [OWN_TEXT], 1],
    [() => Promise.reject(new Error("failed")), [OWN_TEXT], 1],
    [() => true, ['"no login"'], 0],
    [() => false, ["no JSON"], 0],
    [() => false, [], 0],
    [verify, [SECRET_TEXT], 0],
    [verify, [SECRET_TEXT, "no JSON"], 0],
    [verify, [SECRET_TEXT, response], 1],
    [hasty, [OWN_TEXT], 1],
  ];
  for (const [verify, payloads, expected] of cases) {
    let failures = 0;
    const [near, far] = memoryPair();
    const connection = fromDuplex(near);
    const admitting = admit(linkOf(connection), verify, NEVER, {
      isBarred: () => false,
      fail: () => void failures++,
    });
    for (const payload of payloads) await far.write(frame(payload));
    await far.closeWrite();
    await admitting.catch(() => {});
    await connection.close();
    assertEquals(failures, expected, payloads.join());
  }
});

Deno.test("admit() says later to a barred address, before it asks and before it tells", async () => {
  for (const barredAfter of [0, 1]) {
    let looks = 0;
    let asked = 0;
    let failures = 0;
    const [near, far] = memoryPair();
    const connection = fromDuplex(near);
    await far.write(frame(OWN_TEXT));
    const error = await assertRejects(
      () =>
        admit(linkOf(connection), () => (asked++, true), NEVER, {
          isBarred: () => looks++ >= barredAfter,
          fail: () => void failures++,
        }),
      BarredError,
    );
    assert(error.mayRetry);
    await connection.close();
    assertEquals([asked, failures], [barredAfter, 0]);
    assertEquals(writtenBy(near), [...frame(LATER)]);
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
      assertEquals(await peer.receive(), { $login: "refused" });
    });
    assertEquals(identity, undefined);
    assertInstanceOf(error, AuthenticationError);
  }
  assertEquals(challenges.size, 100);
});

Deno.test("sharedSecret() takes one response, and nothing else for one", async () => {
  const client = halfOf(
    "prove",
    secretLogin(TOKEN, () => new Uint8Array(32)),
    LOOPBACK,
    false,
  );
  const right = async (challenge: JsonValue): Promise<string> => {
    const proof = await client({
      localAddr: undefined,
      remoteAddr: undefined,
      tls: undefined,
      signal: NEVER,
      ask: () => Promise.resolve(challenge),
      expectProof() {},
    });
    return (proof as { response: string }).response;
  };
  const $login = "response";
  type Respond = (response: string, challenge: JsonValue) => JsonValue;
  const rows: [accepted: boolean, respond: Respond][] = [
    [true, (response) => ({ $login, response })],
    [false, (response) => ({ response })],
    [false, (response) => ({ $login: "secret", response })],
    [false, (response) => ({ $login, response: response.toUpperCase() })],
    [false, (response) => ({ $login, response: response.slice(1) })],
    [false, (response) => ({ $login, response: `${response}0` })],
    [false, (response) => ({ $login, response: `${response}\n` })],
    [false, (response) => ({ $login, response: `0x${response.slice(2)}` })],
    [false, (response) => ({ $login, response: [response] })],
    [false, (response) => ({ $login, response: `g${response.slice(1)}` })],
    [false, (response) => ({ $login, challenge: response })],
    [false, (response) => response],
    [false, () => ({ $login, response: NONCE })],
    [false, (_, challenge) => ({
      $login,
      response: (challenge as { challenge: string }).challenge,
    })],
    [false, () => null],
  ];
  for (const [accepted, respond] of rows) {
    const outcome = await meet(
      verifier(sharedSecret(TOKEN)),
      async (peer) => {
        await peer.send(SECRET_TEXT);
        const challenge = await peer.receive() ?? null;
        const response = await right(challenge);
        const answer = respond(response, challenge);
        await peer.send(JSON.stringify(answer));
        // A second attempt is not heard.
        await peer.send(JSON.stringify({ $login, response }));
        const verdict = await peer.receive();
        assertEquals(
          (verdict as { $login: string }).$login,
          accepted ? "accepted" : "refused",
        );
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
  const connection = fromDuplex(near);
  for (const answer of answers) await far.write(frame(answer));
  const prove = halfOf("prove", authentication, LOOPBACK, false);
  const error = await logIn(linkOf(connection), prove, NEVER).then(
    () => undefined,
    (error) => error,
  );
  await connection.close();
  return { error, sent: messagesOf(near) };
}

Deno.test("logIn() goes on for no answer but yes", async () => {
  const answers: [answer: Uint8Array | string, message: string][] = [
    [REFUSED, SERVER_REFUSED],
    [LATER, "Cannot authenticate: the server asked to try again later"],
    ...[
      '{"authenticated":true}',
      '{"$login":true}',
      '{"$login":["accepted"]}',
      '{"$login":"Accepted"}',
      '{"$login":"accepted "}',
      '{"__proto__":{"$login":"accepted"}}',
      '[{"$login":"accepted"}]',
      '"accepted"',
      "true",
      "null",
      "{}",
      JSON.stringify(HELLO),
      '{"status":"error","error":"expected an object with a \\"message\\""}',
      `{"$login":"challenge","challenge":"${NONCE}"}`,
      "{",
      Uint8Array.of(0x22, 0xff, 0x22),
    ].map((answer): [Uint8Array | string, string] => [answer, NO_LOGIN]),
  ];
  for (const [answer, message] of answers) {
    const { error, sent } = await logInTo(sharedToken(TOKEN), [answer]);
    assertInstanceOf(error, AuthenticationError);
    assertEquals(error.message, message);
    assertEquals(error.mayRetry, answer === LATER);
    assertEquals(sent, [HELLO]);
  }
  for (
    const answer of [
      ' { "$login" : "accepted" }',
      '{"$login":"accepted","more":1}',
    ]
  ) {
    const { error } = await logInTo(sharedToken(TOKEN), [answer]);
    assertEquals(error, undefined);
  }
});

Deno.test("logIn() believes no server that does not prove that it knows the secret", async () => {
  const challenge = `{"$login":"challenge","challenge":"${NONCE}"}`;
  const secret = secretLogin(TOKEN, () => new Uint8Array(32));
  // What a server that knows it would say, and what the client has said.
  const { ends } = await both(secret, secret);
  const [, verdict] = messagesOf(ends[0]) as Record<string, string>[];
  const [, response] = messagesOf(ends[1]) as Record<string, string>[];
  const { proof } = verdict;
  const accepted = (proof: unknown) => JSON.stringify({ ...verdict, proof });
  assertEquals(
    (await logInTo(secret, [challenge, accepted(proof)])).error,
    undefined,
  );
  for (
    const answer of [
      ACCEPTED,
      accepted(response.response),
      accepted(proof.toUpperCase()),
      accepted(proof.slice(1)),
      accepted(`${proof}0`),
      accepted(`0${proof.slice(1)}`),
      accepted([proof]),
      accepted(null),
      accepted(true),
      accepted(""),
    ]
  ) {
    const { error, sent } = await logInTo(secret, [challenge, answer]);
    assertInstanceOf(error, AuthenticationError, answer);
    assertEquals(
      error.message,
      "Cannot authenticate: the server did not prove that it knows the secret",
    );
    assert(!error.mayRetry);
    assertEquals(sent.length, 2);
  }
});

Deno.test("admit() takes no response of the server's role for the client's", async () => {
  // The client's nonce as the challenge, and all that was said, sent back.
  const outcome = await meet(
    verifier(secretLogin(TOKEN, () => new Uint8Array(32))),
    async (peer) => {
      await peer.send(SECRET_TEXT);
      await peer.receive();
      const { ends: [near] } = await both(
        secretLogin(TOKEN, () => new Uint8Array(32)),
        secretLogin(TOKEN, () => new Uint8Array(32)),
      );
      const [, { proof }] = messagesOf(near) as Record<string, string>[];
      await peer.send(`{"$login":"response","response":"${proof}"}`);
      assertEquals(await peer.receive(), { $login: "refused" });
    },
  );
  assertInstanceOf(outcome.error, AuthenticationError);
});

Deno.test("logIn() reveals nothing to a server that asks for more", async () => {
  const secret = secretLogin(TOKEN, () => new Uint8Array(32));
  const hello = { $login: "secret", nonce: NONCE };
  const $login = "challenge";
  const zeros = JSON.stringify({ $login, challenge: NONCE });
  const badChallenges = [
    ...[ACCEPTED, REFUSED, LATER, "null", JSON.stringify(hello)],
    ...[
      { $login, challenge: "" },
      { $login, challenge: 0 },
      { challenge: NONCE },
      { $login: "Challenge", challenge: NONCE },
      { $login, challenge: NONCE.slice(1) },
      { $login, challenge: `${NONCE}00` },
      { $login, challenge: `${NONCE.slice(1)}g` },
      { $login, challenge: `${NONCE.slice(1)}A` },
      { $login, challenge: `${NONCE.slice(1)}\n` },
      NONCE,
      { $login: "token" },
    ].map((message) => JSON.stringify(message)),
  ];
  for (const challenge of badChallenges) {
    const { error, sent } = await logInTo(secret, [challenge]);
    assertInstanceOf(error, AuthenticationError, challenge);
    assertEquals(error.mayRetry, challenge === LATER);
    assertEquals(sent, [hello], challenge);
  }
  const again = await logInTo(secret, [zeros, zeros, zeros]);
  assertInstanceOf(again.error, AuthenticationError);
  assertEquals(again.sent.length, 2);
  assert(!JSON.stringify(again.sent).includes(TOKEN));
});

Deno.test("logIn() sends no first message without $login", async () => {
  for (const message of ["hello", {}, { $login: 1 }, null, [], undefined]) {
    for (
      const prove of [
        () => message,
        (peer: AuthenticationPeer) => peer.ask(message),
      ]
    ) {
      const [near] = memoryPair();
      const connection = fromDuplex(near);
      await assertRejects(
        () => logIn(linkOf(connection), prove, NEVER),
        TypeError,
        'Cannot authenticate: the first message has no "$login"',
      );
      await connection.close();
      assertEquals(near.writes, []);
    }
  }
});

Deno.test("logIn() takes no verdict for a question", async () => {
  for (const verdict of [ACCEPTED, REFUSED, LATER]) {
    const [near, far] = memoryPair();
    const connection = fromDuplex(near);
    await far.write(frame(verdict));
    await far.write(frame(ACCEPTED));
    const loggingIn = logIn(linkOf(connection), ({ ask }) => ask(OWN), NEVER);
    await assertRejects(() => loggingIn, AuthenticationError);
    await connection.close();
    assertEquals(messagesOf(near), [OWN]);
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
    const [near, far] = memoryPair().map((end) => fromDuplex(end));
    const admitting = admit(linkOf(near), verifier(option), signal);
    assert(listeners > 0);
    await logIn(linkOf(far), halfOf("prove", option, LOOPBACK, false), signal);
    await admitting;
    assertEquals(listeners, 0);
    await Promise.all([near.close(), far.close()]);
  }
});

Deno.test("logIn() rejects with what ended it, where no answer came", async () => {
  const prove = halfOf("prove", sharedToken(TOKEN), LOOPBACK, false);
  {
    const [near, far] = memoryPair();
    const connection = fromDuplex(near);
    const loggingIn = logIn(linkOf(connection), prove, NEVER);
    far.close();
    await assertRejects(() => loggingIn, ConnectionClosedError);
    await connection.close();
  }
  const slow = () => new Promise(() => {});
  for (const each of [prove, slow]) {
    const [near] = memoryPair();
    const connection = fromDuplex(near);
    const pending = new AbortController();
    const loggingIn = logIn(linkOf(connection), each, pending.signal);
    pending.abort("late");
    assertEquals(await loggingIn.catch((reason) => reason), "late");
    await connection.close();
  }
  const [near] = memoryPair();
  const connection = fromDuplex(near);
  const fault = new TypeError("no token yet");
  const failing = logIn(linkOf(connection), () => Promise.reject(fault), NEVER);
  assertStrictEquals(await failing.catch((error) => error), fault);
  await connection.close();
  assertEquals(near.writes, []);
});

Deno.test("logIn() and admit() serve functions of one's own", async () => {
  const [near, far] = memoryPair();
  const [server, client] = [fromDuplex(near), fromDuplex(far)];
  const users = new Map([["somebody", "a password"]]);
  const verify: Verifier = async (message, peer) => {
    const { name } = message as { name: string };
    return await peer.ask("password?") === users.get(name) && { name };
  };
  const [identity] = await Promise.all([
    admit(linkOf(server), verifier(verify), NEVER),
    logIn(
      linkOf(client),
      halfOf(
        "prove",
        async ({ ask }: AuthenticationPeer) => {
          const hello = { $login: "password", name: "somebody" };
          assertEquals(await ask(hello), "password?");
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

Deno.test("sharedToken() and sharedSecret() refuse a text that is not a good secret, without showing it", () => {
  const rows: [text: unknown, type: typeof TypeError, fault: string][] = [
    ["", TypeError, "it is empty"],
    [undefined, TypeError, "received undefined, expected a string"],
    [new Uint8Array(32), TypeError, "received a Uint8Array, expected a string"],
    [` ${TOKEN}`, TypeError, "it begins or ends with white space"],
    [`${TOKEN}\r\n`, TypeError, "it begins or ends with white space"],
    [`\uFEFF${TOKEN}`, TypeError, "it begins or ends with white space"],
    [
      `${TOKEN}\ud800`,
      TypeError,
      "it has half a surrogate pair, which UTF-8 cannot encode",
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

Deno.test("sharedToken() and sharedSecret() show their secrets nowhere", async () => {
  for (const make of [sharedToken, sharedSecret]) {
    const right = make(TOKEN);
    const wrong = make("another text of some length");
    const { outcomes } = await both(right, wrong);
    const answers = ["{", REFUSED, '{"$login":"challenge","challenge":1}'];
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

Deno.test("halfOf() refuses a token over TCP that is not encrypted", () => {
  const tcp = (hostname: string): Address => ({ ...LOOPBACK, hostname });
  const token = sharedToken(TOKEN);
  const far = [
    ...["0.0.0.0", "::", "192.0.2.1", "example.com", "127.example.com"],
    ...["localhost.example.com", "1127.0.0.1", "127.0.0.1.example.com"],
  ];
  for (const half of ["verify", "prove"] as const) {
    for (const hostname of far) {
      assertThrows(
        () => halfOf(half, token, tcp(hostname), false),
        TypeError,
        `Cannot authenticate with a token: TCP to "${hostname}" is not encrypted; use TLS, a shared secret, or allowPlaintext`,
      );
      halfOf(half, token, tcp(hostname), true);
      halfOf(
        half,
        sharedToken(TOKEN, { allowPlaintext: true }),
        tcp(hostname),
        false,
      );
      halfOf(half, sharedSecret(TOKEN), tcp(hostname), false);
      halfOf(half, () => true, tcp(hostname), false);
    }
    for (
      const hostname of [
        ...["localhost", "LOCALHOST", "127.0.0.1", "127.255.0.3"],
        ...["::1", "[::1]"],
      ]
    ) {
      halfOf(half, token, tcp(hostname), false);
    }
    halfOf(half, token, { transport: "unix", path: "/run/server.sock" }, false);
  }
});

Deno.test("authenticate takes an object of a class, and no half of one", async () => {
  class Password implements Authentication {
    readonly needsEncryption = true;
    readonly #password = "a password";
    prove(): JsonValue {
      return { $login: this.#password };
    }
    verify(message: JsonValue): boolean {
      return Reflect.get(Object(message), "$login") === this.#password;
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

Deno.test("secrets and proofs are compared in constant time only", async () => {
  let comparisons = 0;
  for (
    const name of ["admit", "auth", "contract", "log_in", "shared"]
  ) {
    const code = await Deno.readTextFile(
      new URL(`./${name}.ts`, import.meta.url),
    );
    comparisons += code.match(/(?<!function )\bisSame\(/g)?.length ?? 0;
    const compared =
      /[!=]==? *(token|secret|given|digest|proof|expected|other)\b|\b(token|secret|given|digest|proof|expected) *[!=]==(?! undefined)/;
    assert(!compared.test(code), code.match(compared)?.[0]);
  }
  assertEquals(comparisons, 3);
});
