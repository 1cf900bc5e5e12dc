/** Tests of faults, after which nothing may be left behind. */
import { assertEquals, assertGreater, assertLess } from "@std/assert";
import {
  type Address,
  connect,
  type ConnectionEnd,
  type Handler,
  serve,
  type ServeOptions,
  type Server,
} from "../mod.ts";
import { LOCAL } from "./peers.ts";

/** Milliseconds in which all that a test has opened must be closed. */
const SETTLE_TIMEOUT = 500;
/** Milliseconds after which a test that hangs is given up. */
const TEST_TIMEOUT = 20_000;
/** Milliseconds between the requests of a healthy client. */
const PACE = 10;

/** Waits so many milliseconds. */
export function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Waits until a condition holds. Rejects with what `failure` says where it does
 * not within a second.
 */
export async function until(
  condition: () => boolean,
  failure: string,
  milliseconds = 1_000,
): Promise<void> {
  const start = performance.now();
  while (!condition()) {
    if (performance.now() - start > milliseconds) throw new Error(failure);
    await delay(1);
  }
}

/** Descriptors of this process that are sockets; 0 where `/proc` is missing. */
export function openSockets(): number {
  let count = 0;
  try {
    for (const { name } of Deno.readDirSync("/proc/self/fd")) {
      if (linkOf(name).startsWith("socket:")) count++;
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return count;
}

function linkOf(descriptor: string): string {
  try {
    return Deno.readLinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    return ""; // closed meanwhile, as that of the folder itself
  }
}

/**
 * Declares a test that fails if it leaves a descriptor of a socket, a timer or
 * a rejection that nobody handles. The timers, those that do not keep the
 * process alive included, are counted by the runner.
 */
export function faultTest(
  name: string,
  body: () => void | Promise<void>,
  { ignore = false }: { ignore?: boolean } = {},
): void {
  Deno.test({
    name,
    ignore,
    sanitizeOps: true,
    sanitizeResources: true,
    timeout: TEST_TIMEOUT,
    fn: () => withLedger(body),
  });
}

async function withLedger(body: () => void | Promise<void>): Promise<void> {
  const rejections: unknown[] = [];
  function note(event: PromiseRejectionEvent): void {
    event.preventDefault();
    rejections.push(event.reason);
  }
  addEventListener("unhandledrejection", note);
  const before = openSockets();
  try {
    await body();
    await until(
      () => openSockets() <= before,
      "sockets are open that the test has opened",
      SETTLE_TIMEOUT,
    );
    await delay(0); // rejections are told when the turn is over
    assertEquals(rejections, [], "nobody has handled rejections");
  } finally {
    removeEventListener("unhandledrejection", note);
  }
}

/** Milliseconds within which replies come to a client that behaves. */
export interface Service {
  /** Half of them. */
  readonly half: number;
  /** 99 of 100. */
  readonly most: number;
}

/**
 * Runs `attack` while a client sends a request every 10 ms, each of which must
 * be answered. Prints and returns how soon.
 */
export async function whileServed(
  addr: Address,
  attack: () => Promise<void>,
): Promise<Service> {
  await using client = await connect(addr);
  await client.request("are you there?");
  const times: number[] = [];
  const over = new AbortController();
  const asking = (async () => {
    while (!over.signal.aborted) {
      const start = performance.now();
      await client.request("are you there?");
      times.push(performance.now() - start);
      await delay(PACE);
    }
  })();
  try {
    await Promise.race([attack(), asking]);
  } finally {
    over.abort();
  }
  await asking;
  assertGreater(times.length, 0);
  times.sort((one, other) => one - other);
  const [half, most] = [0.5, 0.99].map((part) =>
    times[Math.ceil(part * times.length) - 1]
  );
  console.log(
    `${times.length} replies: half within ${half.toFixed(1)} ms, ` +
      `99 % within ${most.toFixed(1)} ms`,
  );
  return { half, most };
}

/**
 * Checks that a client that behaves was served well: 99 of 100 replies within
 * 50 ms on a machine that does nothing else; where that has both cores busy,
 * half of them must do.
 */
export function assertServed({ half, most }: Service): void {
  assertLess(half, 50);
  assertLess(most, 500);
}

/** A server on this machine, and how its connections have ended so far. */
export interface Watched extends AsyncDisposable {
  readonly server: Server;
  readonly addr: Address;
  /** In the order in which they have ended. */
  readonly ends: ConnectionEnd[];
  /** How the next connection ends that has not ended yet. */
  next(): Promise<ConnectionEnd>;
}

/** Starts a server that is watched. */
export function watch(handler: Handler, options: ServeOptions = {}): Watched {
  const ends: ConnectionEnd[] = [];
  let ended = Promise.withResolvers<ConnectionEnd>();
  const server = serve({
    ...LOCAL,
    ...options,
    onEvent(event) {
      if (event.type !== "closed") return;
      ends.push(event.end);
      ended.resolve(event.end);
      ended = Promise.withResolvers();
    },
  }, handler);
  return {
    server,
    addr: server.addr,
    ends,
    next: () => ended.promise,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
