/**
 * The client as a listener: it prints what a server pushes.
 *
 * @module
 */
import {
  type Connection,
  InvalidMessageError,
  type JsonValue,
} from "../mod.ts";
import { clause } from "./failure.ts";
import { LineRate, MOST_LINES, withOthers } from "./line_rate.ts";
import { compact, print, printError } from "./output.ts";
import { abortable } from "../core/tools/abort.ts";
import { interruptible } from "./waiting.ts";

/**
 * Sends messages, and prints all that comes as one line each, until the server
 * ends it or the user does with Ctrl-C.
 */
export async function listen(
  connection: Connection,
  messages: AsyncIterable<JsonValue>,
): Promise<void> {
  await interruptible(async (signal) => {
    try {
      const ended = printAll(connection);
      const sending = sendAll(connection, messages);
      await abortable(Promise.race([ended, sending]), signal);
    } catch (error) {
      if (error !== signal.reason) throw error;
    }
  });
}

async function printAll(connection: Connection): Promise<void> {
  const rate = new LineRate(() => performance.now());
  for (;;) {
    try {
      for await (const message of connection) {
        await print(`${compact(message)}\n`);
      }
      return;
    } catch (error) {
      if (!(error instanceof InvalidMessageError)) throw error;
      const others = rate.take("bad message", MOST_LINES);
      if (others === undefined) continue;
      printError(withOthers(`client: ${clause(error)}`, others));
    }
  }
}

/** Rejects where it cannot; what comes goes on when all is sent. */
async function sendAll(
  connection: Connection,
  messages: AsyncIterable<JsonValue>,
): Promise<never> {
  for await (const message of messages) await connection.send(message);
  return await new Promise(() => {});
}
