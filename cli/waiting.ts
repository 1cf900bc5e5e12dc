/**
 * What the client waits with: for its server, for its user, and not for ever.
 *
 * @module
 */
import { type Connection, ConnectionClosedError } from "../mod.ts";
import { count, printProgress } from "./output.ts";

/** The error of a reply that does not come. */
export function lateReply(timeout: number): DOMException {
  return new DOMException(`no reply after ${timeout} ms`, "TimeoutError");
}

/** Rejects when the connection ends. */
export async function untilClosed(connection: Connection): Promise<never> {
  const end = await connection.closed;
  throw new ConnectionClosedError(
    "Cannot go on: the connection is closed",
    end,
  );
}

/** Rejects when the signal is aborted. */
export function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

/** Does something with a signal that Ctrl-C aborts. */
export async function interruptible<Result>(
  body: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController();
  const interrupt = () => controller.abort();
  Deno.addSignalListener("SIGINT", interrupt);
  try {
    return await body(controller.signal);
  } finally {
    Deno.removeSignalListener("SIGINT", interrupt);
  }
}

/**
 * Items as they come, up to an error of their own or of `stop`, which is not
 * waited for once for each.
 */
export async function* until<Item>(
  items: AsyncIterable<Item>,
  stop: Promise<never>,
): AsyncGenerator<Item, void> {
  const iterator = items[Symbol.asyncIterator]();
  let fail: (error: unknown) => void = () => {};
  let end: { error: unknown } | undefined;
  stop.catch((error) => {
    end = { error };
    fail(error);
  });
  for (;;) {
    if (end !== undefined) throw end.error;
    const next = Promise.withResolvers<IteratorResult<Item>>();
    fail = next.reject;
    iterator.next().then(next.resolve, next.reject);
    const { done, value } = await next.promise;
    if (done) return;
    yield value;
  }
}

/**
 * Tells how far it is, every second, where a person would otherwise see
 * nothing.
 */
export class Progress {
  /** Replies so far. */
  replies = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isShown = false;

  /** Starts to tell. */
  constructor() {
    if (!Deno.stderr.isTerminal() || Deno.stdout.isTerminal()) return;
    this.#timer = setInterval(() => {
      this.#isShown = true;
      printProgress(count(this.replies, "reply", "replies"));
    }, 1_000);
  }

  /** Removes what it has shown, for a line in its place. */
  clear(): void {
    if (this.#isShown) printProgress("");
    this.#isShown = false;
  }

  /** Tells no more. */
  stop(): void {
    clearInterval(this.#timer);
    this.clear();
  }
}
