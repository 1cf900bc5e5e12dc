/**
 * Round trips side by side with what one would use instead: each peer's server
 * and client are processes of their own.
 */
import type { Workload } from "./peer.ts";
import {
  HAS_NODE,
  outputAs,
  peerCommand,
  PINNED,
  startPeer,
} from "./processes.ts";
import type { Progress } from "./progress.ts";
import { median, rounded, table, times } from "./table.ts";

/** What is measured, and in which runtime. */
export interface PeerEntry {
  readonly name: string;
  readonly module: string;
  readonly runtime: "deno" | "node";
}

/** All peers, ours first. */
export const PEERS: readonly PeerEntry[] = [
  { name: "ours, request", module: "./peer_request.ts", runtime: "deno" },
  { name: "ours, for await", module: "./peer_iterate.ts", runtime: "deno" },
  { name: "ours, JSON-RPC", module: "./peer_rpc.ts", runtime: "deno" },
  {
    name: "node:net, framed by hand",
    module: "./peer_node_net.mjs",
    runtime: "deno",
  },
  {
    name: "the same in Node",
    module: "./peer_node_net.mjs",
    runtime: "node",
  },
  { name: "ws, ids by hand", module: "./peer_ws.ts", runtime: "deno" },
  {
    name: "Deno's WebSocket, ids by hand",
    module: "./peer_websocket.ts",
    runtime: "deno",
  },
  {
    name: "vscode-jsonrpc over TCP",
    module: "./peer_jsonrpc.ts",
    runtime: "deno",
  },
  {
    name: "capnweb over WebSocket",
    module: "./peer_capnweb.ts",
    runtime: "deno",
  },
  {
    name: "fetch and Deno.serve",
    module: "./peer_fetch.ts",
    runtime: "deno",
  },
];

/** What every peer has to do. */
export interface RoundTripWorkload extends Omit<Workload, "milliseconds"> {
  /** What its column is called. */
  readonly name: string;
  /**
   * Whether both ends share a core, so that all that counts is how much they
   * have to compute.
   */
  readonly oneCore?: boolean;
}

/** All workloads. */
export const WORKLOADS: readonly RoundTripWorkload[] = [
  { name: "1 in flight", connections: 1, inFlight: 1, textBytes: 17 },
  { name: "64 in flight", connections: 1, inFlight: 64, textBytes: 17 },
  {
    name: "64 in flight, one core",
    connections: 1,
    inFlight: 64,
    textBytes: 17,
    oneCore: true,
  },
  {
    name: "16 KiB, 4 in flight",
    connections: 1,
    inFlight: 4,
    textBytes: 16_384,
  },
  { name: "50 connections", connections: 50, inFlight: 1, textBytes: 17 },
];

/** Messages a second of one peer, by the name of the workload. */
export interface RoundTrips {
  readonly peer: string;
  readonly messagesPerSecond: Record<string, number>;
}

/** How long to measure, and how often; the median counts. */
export interface Effort {
  readonly rounds: number;
  readonly milliseconds: number;
}

/**
 * Measures all peers that can run here, each in its turn within a round, so
 * that a slow moment of the machine hits all alike.
 */
export async function measureRoundTrips(
  { rounds, milliseconds }: Effort,
  progress: Progress,
): Promise<RoundTrips[]> {
  const peers = PEERS.filter(({ runtime }) => runtime === "deno" || HAS_NODE);
  // Where nothing can be pinned, there is no core to share.
  const workloads = WORKLOADS.filter(({ oneCore }) => !oneCore || PINNED);
  const figures = peers.map(() => workloads.map((): number[] => []));
  for (let round = 1; round <= rounds; round++) {
    for (const [i, peer] of peers.entries()) {
      progress.step(`round trips, ${peer.name} (${round} of ${rounds})`);
      for (const oneCore of [false, true]) {
        const chosen = workloads.filter((workload) =>
          (workload.oneCore ?? false) === oneCore
        );
        const rates = await measurePeer(peer, chosen, milliseconds);
        chosen.forEach((workload, j) =>
          figures[i][workloads.indexOf(workload)].push(rates[j])
        );
      }
    }
  }
  return peers.map(({ name: peer }, i) => ({
    peer,
    messagesPerSecond: Object.fromEntries(
      workloads.map(({ name }, j) => [name, median(figures[i][j])]),
    ),
  }));
}

/** Measures workloads of which all share a core, or none does. */
async function measurePeer(
  { module, runtime }: PeerEntry,
  workloads: RoundTripWorkload[],
  milliseconds: number,
): Promise<number[]> {
  if (workloads.length === 0) return [];
  await using server = await startPeer(runtime, module);
  const [command, ...args] = peerCommand(runtime, module);
  const output = await outputAs(
    workloads[0].oneCore ? "server" : "client",
    command,
    [
      ...args,
      "drive",
      String(server.port),
      ...workloads.map((workload) =>
        JSON.stringify({ ...workload, milliseconds })
      ),
    ],
  );
  const rates = output.trim().split("\n").map(Number);
  if (rates.length !== workloads.length || rates.some(Number.isNaN)) {
    throw new Error(`Cannot read the figures of ${module}: ${output}`);
  }
  return rates;
}

/**
 * The round trips as a table; behind each figure, how many times as much the
 * first row has.
 */
export function roundTripsTable(rows: RoundTrips[]): string {
  const names = Object.keys(rows[0].messagesPerSecond);
  return table(
    ["messages a second", ...names.flatMap((name) => [name, "ours ÷"])],
    rows.map(({ peer, messagesPerSecond }) => [
      peer,
      ...names.flatMap((name) => [
        rounded(messagesPerSecond[name]),
        times(rows[0].messagesPerSecond[name], messagesPerSecond[name]),
      ]),
    ]),
  );
}

/**
 * How many times as much as `ws` both ways of ours do where messages are many;
 * empty without those figures.
 */
export function roundTripsSummary(rows: RoundTrips[]): string {
  const ws = rows.find(({ peer }) => peer.startsWith("ws"));
  if (ws === undefined) return "";
  return Object.keys(ws.messagesPerSecond)
    .filter((name) => name.startsWith("64 in flight"))
    .map((name) => {
      const ours = rows.filter(({ peer }) => peer.startsWith("ours"))
        .map(({ peer, messagesPerSecond: rates }) =>
          `${peer}: ${times(rates[name], ws.messagesPerSecond[name])}`
        );
      return `- ${name}, as many times as ws: ${ours.join("; ")}\n`;
    }).join("");
}
