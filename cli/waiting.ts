/**
 * How the client waits: for its server, for Ctrl-C, and with a timeout.
 *
 * @module
 */
import { timeoutError } from "../core/tools/abort.ts";
import { count, printError, printProgress } from "./output.ts";

/** Milliseconds without a connection after which its user is told. */
const SILENCE = 1_000;

/**
 * Waits for what needs a connection, and tells a user at a terminal when there is
 * still no connection after a second.
 */
export async function told<Result>(
  connecting: Promise<Result>,
  server: string,
  isConnected: () => boolean = () => false,
): Promise<Result> {
  const timer = setTimeout(() => {
    if (isConnected() || !Deno.stderr.isTerminal()) return;
    printError(`Not connected to ${server} yet; still trying (Ctrl-C to stop)`);
  }, SILENCE);
  try {
    return await connecting;
  } finally {
    clearTimeout(timer);
  }
}

/** The error of a reply that does not come. */
export function lateReply(timeout: number): DOMException {
  return timeoutError(`no reply after ${timeout} ms`);
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
 * Shows how many replies have come, every second, where stdout is not a terminal
 * but stderr is.
 */
export class Progress {
  /** Replies so far. */
  replies = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isShown = false;

  /** Starts to show it. */
  constructor() {
    if (!Deno.stderr.isTerminal() || Deno.stdout.isTerminal()) return;
    this.#timer = setInterval(() => {
      this.#isShown = true;
      printProgress(count(this.replies, "reply", "replies"));
    }, 1_000);
  }

  /** Removes what it has shown, so that a line can be printed there. */
  clear(): void {
    if (this.#isShown) printProgress("");
    this.#isShown = false;
  }

  /** Stops. */
  stop(): void {
    clearInterval(this.#timer);
    this.clear();
  }
}
