// @ts-check
/**
 * What all peers have in common. Plain JavaScript, so that Node runs it, too.
 *
 * @import { Client, Message, Reply, Work, Workload } from "./peer.ts"
 */

/**
 * The answer of every server.
 *
 * @param {Message} message
 * @returns {Reply}
 */
export function answer(message) {
  return { status: "success", echo: message.message };
}

/**
 * A client that is one function, from a message to its reply.
 *
 * @param {(message: Message) => Promise<Reply>} call
 * @returns {Client}
 */
export function callingClient(call) {
  /** @param {Work} work */
  async function callInTurn(work) {
    for (let message; (message = work.next()) !== undefined;) {
      work.check(message, await call(message));
    }
  }
  return {
    async exchange(work) {
      await Promise.all(
        Array.from({ length: work.inFlight }, () => callInTurn(work)),
      );
    },
  };
}

/** More than are ever open on one connection, so that no two of those have the same text. */
const DISTINCT_MESSAGES = 256;

/**
 * @param {number} textBytes
 * @returns {Message[]}
 */
function makeMessages(textBytes) {
  return Array.from({ length: DISTINCT_MESSAGES }, (_, number) => ({
    message: `hello from ${String(number).padStart(6, "0")}`
      .padEnd(textBytes, "x"),
    type: "text",
  }));
}

/**
 * Runs a workload, and tells how many replies came a second, the first fifth of the time left out.
 *
 * @param {Client[]} clients
 * @param {Workload} workload
 * @returns {Promise<number>}
 */
export async function run(clients, { inFlight, textBytes, milliseconds }) {
  const messages = makeMessages(textBytes);
  let replies = 0;
  let over = false;

  /** @returns {Work} */
  function work() {
    let number = 0;
    return {
      inFlight,
      next: () => over ? undefined : messages[number++ % DISTINCT_MESSAGES],
      check(message, reply) {
        if (reply.status !== "success" || reply.echo !== message.message) {
          throw new Error("a reply is not that of its message");
        }
        replies++;
      },
    };
  }

  const from = { replies: 0, time: 0 };
  let rate = 0;
  const warmUp = setTimeout(() => {
    from.replies = replies;
    from.time = performance.now();
  }, milliseconds / 5);
  const end = setTimeout(() => {
    rate = (replies - from.replies) * 1_000 / (performance.now() - from.time);
    over = true;
  }, milliseconds);
  try {
    await Promise.all(clients.map((client) => client.exchange(work())));
  } finally {
    clearTimeout(warmUp);
    clearTimeout(end);
  }
  return rate;
}
