/**
 * Tests of faults, after which nothing may be left behind, and how tests wait:
 *
 * - for an event: `until`, `settled`, `standstill`; never for a time;
 * - for a deadline: `Clock` makes the ticks of connections and heartbeats, `Now`
 *   moves `performance.now()`; a timer may be found not to be early, never not
 *   to be late;
 * - what is counted is the test's own: `Sockets`.
 */
import {
  assert,
  assertEquals,
  assertGreater,
  assertInstanceOf,
} from "@std/assert";
import {
  type Address,
  connect,
  type Connection,
  type ConnectionEnd,
  type Handler,
  serve,
  type ServeOptions,
  type Server,
} from "../mod.ts";
import timers from "node:timers";
import { linkOf } from "../core/connection/connection.ts";
import { Tickers } from "../core/tools/ticker.ts";
import { LOCAL } from "./peers.ts";

/**
 * Milliseconds after which an event is given up that does not come. No test
 * takes that long; it only ends one that hangs.
 */
const GUARD = 30_000;
/** Milliseconds after which a test that hangs is given up. */
const TEST_TIMEOUT = 60_000;
/** Milliseconds between the requests of a healthy client. */
const PACE = 10;

/**
 * Waits so many milliseconds: to lay a distance between two events, never to
 * give something time to happen. For that, use {@linkcode until}.
 */
export function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Waits until a condition holds, however busy the machine is. Rejects with what
 * `failure` says where it does not within {@linkcode GUARD}.
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  failure: string | (() => string),
): Promise<void> {
  const start = now();
  while (!await condition()) {
    if (now() - start > GUARD) {
      throw new Error(typeof failure === "string" ? failure : failure());
    }
    await delay(1);
  }
}

/**
 * Waits until a connection reads: where it does not, its deadlines do not take
 * the peer for silent.
 */
export async function listening(connection: Connection): Promise<void> {
  const link = linkOf(connection);
  await until(() => link.isListening, "nothing is read");
}

/**
 * Waits until a number has stood still for a while. Where a busy machine only
 * makes it seem so, a test that goes on sees less, and fails not.
 */
export async function standstill(read: () => number): Promise<void> {
  let last = read();
  let turns = 0;
  await until(() => {
    const next = read();
    turns = next === last ? turns + 1 : 0;
    last = next;
    return turns === 30;
  }, "it does not stand still");
}

/**
 * Waits for a promise, and rejects with what `failure` says where it takes
 * longer than {@linkcode GUARD}.
 */
export async function settled<Value>(
  promise: Promise<Value>,
  failure: string,
): Promise<Value> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(failure)), GUARD);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Does something with each, two at a time: for what waits for processes of its
 * own, and must not be disturbed by others of this process.
 */
export async function inPairs<Item>(
  items: Iterable<Item>,
  act: (item: Item) => Promise<void>,
): Promise<void> {
  const rest = items[Symbol.iterator]();
  let failure: { error: unknown } | undefined;
  async function work(): Promise<void> {
    for (let next; !failure && !(next = rest.next()).done;) {
      await act(next.value).catch((error) => failure ??= { error });
    }
  }
  await Promise.all([work(), work()]);
  if (failure !== undefined) throw failure.error;
}

/**
 * The clock of deadlines, of which the shortest takes so many milliseconds. It
 * stands still unless a test moves it, until it is disposed of: so no deadline
 * depends on how busy the machine is. Connections that were open before, with
 * deadlines as short, are not stopped.
 */
export class Clock implements Disposable {
  /** Milliseconds between two ticks. */
  readonly period: number;
  /** What ticks by this clock, by its timer. */
  readonly #ticks = new Map<unknown, () => void>();
  readonly #platform = { ...timers };
  #isDisposed = false;

  /** Takes the timeouts of one connection, the defaults included. */
  constructor(...timeouts: number[]) {
    const period = new Tickers().for(...timeouts)?.period;
    if (period === undefined) throw new TypeError("There is no deadline");
    this.period = period;
    const { setInterval, clearInterval } = this.#platform;
    timers.setInterval = ((tick: () => void, period: number) => {
      if (period !== this.period) return setInterval(tick, period);
      const timer = setInterval(() => this.#isDisposed && tick(), period);
      this.#ticks.set(timer, tick);
      return timer;
    }) as typeof setInterval;
    timers.clearInterval = (timer) => {
      this.#ticks.delete(timer);
      clearInterval(timer);
    };
  }

  /**
   * Lets so many milliseconds pass. A deadline ends what takes longer than its
   * timeout, by a period at least.
   */
  advance(milliseconds: number): void {
    const ticks = Math.round(milliseconds / this.period);
    for (let i = 0; i < ticks; i++) {
      for (const tick of this.#ticks.values()) tick();
    }
  }

  /** Moves on, a period in each turn, until a condition holds. */
  async advanceUntil(condition: () => boolean, failure: string): Promise<void> {
    await until(() => {
      if (condition()) return true;
      this.advance(this.period);
      return false;
    }, failure);
  }

  [Symbol.dispose](): void {
    Object.assign(timers, this.#platform);
    this.#isDisposed = true;
  }
}

/** The time that passes, whatever a test makes of `performance.now()`. */
const now = performance.now.bind(performance);

/**
 * What `performance.now()` says in this process, until it is disposed of: it
 * stands still unless a test moves it. Timers go on as always.
 */
export class Now implements Disposable {
  readonly #real = performance.now;
  #time = now();

  /** Stops the time. */
  constructor() {
    performance.now = () => this.#time;
  }

  /** Lets so many milliseconds pass, which may be less than none. */
  advance(milliseconds: number): void {
    this.#time += milliseconds;
  }

  [Symbol.dispose](): void {
    performance.now = this.#real;
  }
}

// The platform opens a pair of sockets for its signals once: before any test.
if (Deno.build.os !== "windows") {
  Deno.addSignalListener("SIGUSR2", ignore);
  Deno.removeSignalListener("SIGUSR2", ignore);
}

function ignore(): void {}

/**
 * The sockets that this process has opened since: those that were open before
 * do not count, whenever they are closed, and neither do those of the runner,
 * which loads packages meanwhile.
 */
export class Sockets {
  readonly #before = inodes();

  /** How many of them are open; 0 where `/proc` is missing. */
  get open(): number {
    const opened = inodes().difference(this.#before);
    // The tables are long: they are read only where there is something to find.
    return opened.size > 0 ? opened.difference(remoteInodes()).size : 0;
  }
}

/** The inodes of all sockets of this process. */
function inodes(): Set<string> {
  const found = new Set<string>();
  for (const { name } of readFolder("/proc/self/fd")) {
    const [, inode] = /^socket:\[(\d+)\]$/.exec(targetOf(name)) ?? [];
    if (inode !== undefined) found.add(inode);
  }
  return found;
}

function readFolder(path: string): Iterable<Deno.DirEntry> {
  try {
    return [...Deno.readDirSync(path)];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function targetOf(descriptor: string): string {
  try {
    return Deno.readLinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    return ""; // closed meanwhile, as that of the folder itself
  }
}

/** The inodes of sockets that are connected to another machine. */
function remoteInodes(): Set<string> {
  const found = new Set<string>();
  for (const table of ["tcp", "tcp6", "udp", "udp6"]) {
    const rows = Deno.readTextFileSync(`/proc/self/net/${table}`).split("\n");
    for (const row of rows.slice(1, -1)) {
      const fields = row.trim().split(/\s+/);
      const [remote, inode] = [fields[2], fields[9]];
      if (!isLocal(remote)) found.add(inode);
    }
  }
  return found;
}

/** Whether an address of the kernel's tables is of this machine, or none. */
function isLocal(address: string): boolean {
  const [host] = address.split(":");
  return /^0*$|7F$|^0{24}01000000$/.test(host);
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
  const sockets = new Sockets();
  try {
    await body();
    await until(
      () => sockets.open === 0,
      "sockets are open that the test has opened",
    );
    await delay(0); // rejections are told when the turn is over
    assertEquals(rejections, [], "nobody has handled rejections");
  } finally {
    removeEventListener("unhandledrejection", note);
  }
}

/**
 * Runs `attack` while a client that behaves sends one request after the other,
 * each of which must be answered, some of them before the attack is over.
 * `replies` tells how many were, so that an attack may go on until there are
 * enough of them.
 */
export async function whileServed(
  addr: Address,
  attack: (replies: () => number) => Promise<void>,
): Promise<void> {
  await using client = await connect(addr);
  let replies = 0;
  let isOver = false;
  const asking = (async () => {
    while (!isOver) {
      assertEquals(await client.request("are you there?"), "are you there?");
      if (!isOver) replies++;
      await delay(PACE);
    }
  })();
  try {
    await Promise.race([attack(() => replies), asking]);
  } finally {
    isOver = true;
  }
  await asking;
  console.log(`${replies} replies meanwhile`);
  assertGreater(replies, 0);
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

/** Checks that a connection has ended since something took too long. */
export function assertTimeout({ clean, cause }: ConnectionEnd): void {
  assert(!clean);
  assertInstanceOf(cause, DOMException);
  assertEquals(cause.name, "TimeoutError");
}
