/**
 * Both ends of a login, by a token or by a secret that stays at home.
 *
 *     node login.mjs HOST PORT token|secret FILE
 *     node login.mjs --serve HOST PORT token|secret FILE
 *
 * Once it is let in, and the server has proved that it knows the secret, the
 * client sends {"message": "hi"} and prints the reply. The server echoes.
 */
import { Buffer } from "node:buffer";
import {
  createHash,
  createHmac,
  randomBytes,
  timingSafeEqual,
} from "node:crypto";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import process from "node:process";
import { frame, onPayload, parse } from "./frames.mjs";

const args = process.argv.slice(2);
const isServer = args[0] === "--serve";
if (isServer) args.shift();
const [host, port, way, path] = args;
if (args.length !== 4 || !["token", "secret"].includes(way)) {
  fail("usage: login.mjs [--serve] HOST PORT token|secret FILE");
} else {
  const text = readFileSync(path, "utf8").trim();
  if (isServer) serve(text);
  else talk(text).catch(({ message }) => fail(message));
}

function fail(reason) {
  console.error(`login.mjs: ${reason}`);
  process.exitCode = 1;
}

/** The messages of a socket, one at a time. */
function receiver(socket) {
  const payloads = [];
  let wake = () => {};
  onPayload(socket, (payload) => {
    payloads.push(payload);
    wake();
  });
  socket.on("error", () => {});
  socket.on("close", () => wake());
  return async function receive() {
    while (payloads.length === 0) {
      if (socket.destroyed) throw new Error("the peer closed the connection");
      await new Promise((resolve) => wake = resolve);
    }
    return parse(payloads.shift());
  };
}

/** The bytes of 64 hexadecimal digits in a message. */
function member(message, name) {
  const text = message?.[name];
  if (typeof text !== "string" || !/^[0-9a-f]{64}$/.test(text)) {
    throw new Error("the peer does not speak this login");
  }
  return Buffer.from(text, "hex");
}

function proof(role, secret, nonce, challenge) {
  return createHmac("sha256", secret)
    .update(`framed-json/1 ${role}\0`).update(nonce).update(challenge).digest();
}

function isSame(one, other) {
  const [a, b] = [one, other].map((text) =>
    createHash("sha256").update(text).digest()
  );
  return timingSafeEqual(a, b);
}

function check(verdict) {
  if (verdict?.$login === "accepted") return;
  throw new Error(
    verdict?.$login === "later"
      ? "the server asked to try again later"
      : "the server rejected the login",
  );
}

async function talk(text) {
  const socket = connect(Number(port), host);
  const receive = receiver(socket);
  function ask(message) {
    socket.write(frame(message));
    return receive();
  }
  try {
    if (way === "token") check(await ask({ $login: "token", token: text }));
    else {
      const nonce = randomBytes(32);
      const question = await ask({
        $login: "secret",
        nonce: nonce.toString("hex"),
      });
      if (question?.$login !== "challenge") check(question);
      const challenge = member(question, "challenge");
      const response = proof("client", text, nonce, challenge).toString("hex");
      const verdict = await ask({ $login: "response", response });
      check(verdict);
      const expected = proof("server", text, nonce, challenge);
      if (!timingSafeEqual(member(verdict, "proof"), expected)) {
        throw new Error("the server did not prove that it knows the secret");
      }
    }
    console.log(JSON.stringify(await ask({ message: "hi" })));
  } finally {
    socket.end();
  }
}

/** The server's half: the verdict on a client. */
async function admit(socket, receive, text) {
  const hello = await receive();
  if (hello?.$login !== way) return { $login: "refused" };
  if (way === "token") {
    const isKnown = isSame(String(hello.token), text);
    return { $login: isKnown ? "accepted" : "refused" };
  }
  const nonce = member(hello, "nonce");
  const challenge = randomBytes(32);
  socket.write(
    frame({ $login: "challenge", challenge: challenge.toString("hex") }),
  );
  const answer = await receive();
  const expected = proof("client", text, nonce, challenge);
  const isKnown = timingSafeEqual(member(answer, "response"), expected);
  if (answer.$login !== "response" || !isKnown) return { $login: "refused" };
  return {
    $login: "accepted",
    proof: proof("server", text, nonce, challenge).toString("hex"),
  };
}

function serve(text) {
  const server = createServer(async (socket) => {
    const receive = receiver(socket);
    const timer = setTimeout(() => socket.destroy(), 5_000);
    const verdict = await admit(socket, receive, text)
      .catch(() => ({ $login: "refused" }));
    clearTimeout(timer);
    socket.write(frame(verdict));
    try {
      while (verdict.$login === "accepted") {
        const { message } = await receive();
        socket.write(frame({ status: "success", echo: message }));
      }
    } catch {
      // The client left.
    }
    socket.end();
  });
  server.listen(Number(port), host, () => {
    const { address, port } = server.address();
    console.log(`Listening on ${address}:${port}`);
  });
}
