/**
 * The client as a listener: it prints what a server pushes.
 *
 * @module
 */
import { type Connection, InvalidMessageError } from "../mod.ts";
import { abortable } from "../core/tools/abort.ts";
import { Throttle } from "../core/tools/throttle.ts";
import { clause } from "./failure.ts";
import type { Messages } from "./input.ts";
import {
  compact,
  MOST_LINES,
  print,
  printError,
  withOthers,
} from "./output.ts";
import { interruptible } from "./waiting.ts";

/**
 * Sends messages, and prints all that comes as one line each, until the server
 * ends it or the user does with Ctrl-C.
 */
export async function listen(
  connection: Connection,
  messages: Messages,
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
  const throttle = new Throttle(MOST_LINES, () => performance.now());
  for (;;) {
    try {
      for await (const message of connection) {
        await print(`${compact(message)}\n`);
      }
      return;
    } catch (error) {
      if (!(error instanceof InvalidMessageError)) throw error;
      const others = throttle.take();
      if (others === undefined) continue;
      printError(withOthers(`client: ${clause(error)}`, others));
    }
  }
}

/** Rejects where it cannot; what comes goes on when all is sent. */
async function sendAll(
  connection: Connection,
  messages: Messages,
): Promise<never> {
  for await (const piece of messages) {
    for (const message of piece) await connection.send(message);
  }
  return await new Promise(() => {});
}
