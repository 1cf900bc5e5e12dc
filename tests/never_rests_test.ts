/** Nothing grows with the number of messages that have gone through. */
import { assertLess } from "@std/assert";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  type ByteDuplex,
  type Connection,
  encodeFrame,
  fromDuplex,
} from "../mod.ts";
import { Responder } from "../core/server/respond.ts";
import { rpc } from "../rpc.ts";
import { linkOf } from "../core/connection/connection.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** About as many bytes as one read takes. */
const RUN_BYTES = 65_536;
/** Most bytes of heap that a message may leave: a slot of an array has 8. */
const MOST_LEFT = 4;

/** Bytes that the heap holds when what is garbage has gone. */
function heapSize(): number {
  collectGarbage();
  return Deno.memoryUsage().heapUsed;
}

/**
 * A peer that sends frames as fast as they are read, or as many as it gets, and
 * takes what is written.
 */
class Source implements ByteDuplex {
  readonly #run: Uint8Array;
  readonly #most: number;
  #sent = 0;
  #half = 0;
  #owed: number;
  #wake = () => {};

  constructor(frame: Uint8Array, messages: number, answers: boolean) {
    this.#owed = answers ? 0 : Infinity;
    const count = Math.floor(RUN_BYTES / frame.length);
    this.#run = new Uint8Array(count * frame.length);
    for (let i = 0; i < count; i++) this.#run.set(frame, i * frame.length);
    this.#most = messages * frame.length;
  }

  /** Bytes of heap that have come with the second half. */
  growth = 0;

  async read(space: Uint8Array): Promise<number | null> {
    if (this.#sent >= this.#most) {
      this.growth = heapSize() - this.#half;
      return null;
    }
    while (this.#owed === 0) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    const from = this.#sent % this.#run.length;
    const size = Math.min(space.length, this.#owed);
    const part = this.#run.subarray(from, from + size);
    space.set(part);
    this.#sent += part.length;
    this.#owed -= part.length;
    if (this.#half === 0 && this.#sent > this.#most / 2) {
      this.#half = heapSize();
    }
    return part.length;
  }

  write(bytes: Uint8Array): Promise<number> {
    this.#owed += bytes.length;
    this.#wake();
    return Promise.resolve(bytes.length);
  }

  closeWrite(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {}
}

/** Ways to take messages without ever being at rest. */
const WAYS: Record<
  string,
  {
    message: unknown;
    count: number;
    isAsked?: boolean;
    take(connection: Connection): Promise<unknown>;
  }
> = {
  "a handler that answers each message when the next has come": {
    message: 1,
    count: 100_000,
    async take(connection) {
      let answer = (_: number) => {};
      new Responder(
        connection,
        () => {
          answer(1);
          return new Promise((resolve) => answer = resolve);
        },
        undefined,
        100,
      );
      await linkOf(connection).over;
      answer(1);
      await connection.closed;
    },
  },
  "an iteration": {
    message: 1,
    count: 200_000,
    async take(connection) {
      for await (const _ of connection);
    },
  },
  "notifications of RPC": {
    message: { jsonrpc: "2.0", method: "n" },
    count: 100_000,
    take(connection) {
      rpc(connection, { n() {} });
      return connection.closed;
    },
  },
  "requests of which some always wait": {
    message: 1,
    count: 100_000,
    isAsked: true,
    async take(connection) {
      async function ask(): Promise<void> {
        for (;;) await connection.request(1);
      }
      await Promise.allSettled(Array.from({ length: 64 }, ask));
    },
  },
};

// Half a million messages in all.
for (
  const [name, { message, count, isAsked = false, take }] of Object.entries(
    WAYS,
  )
) {
  Deno.test(`memory does not grow with the messages of ${name}`, async () => {
    const source = new Source(encodeFrame(message), count, isAsked);
    const connection = fromDuplex(source, {
      idleTimeout: Infinity,
      frameTimeout: Infinity,
      writeTimeout: Infinity,
    });
    await take(connection);
    await connection.close();
    assertLess(source.growth, MOST_LEFT * count / 2);
  });
}
