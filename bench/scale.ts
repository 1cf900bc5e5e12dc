/** How the server program behaves as there is more to do. */
import type { Calls } from "./calls.ts";
import type { Churn } from "./churn.ts";
import type { Fairness } from "./fairness.ts";
import type { IdleMemory } from "./idle_memory.ts";
import type { Pieces } from "./pieces.ts";
import {
  figuresOf,
  HAS_NODE,
  type RunningServer,
  startPeer,
  startServer,
} from "./processes.ts";
import type { Progress } from "./progress.ts";
import type { Effort } from "./round_trips.ts";
import { median, rounded, table, times, whole } from "./table.ts";

/** All that is measured. */
export interface Scale {
  readonly idleMemory: IdleMemory;
  /** The same of a server on `node:net` in Node, where there is one. */
  readonly idleMemoryOfNode: IdleMemory | null;
  readonly churn: Churn;
  readonly fairness: Fairness;
  readonly pieces: Pieces;
  readonly calls: Calls;
}

/** How much of it. */
export interface ScaleEffort extends Effort {
  readonly idleConnections: number;
}

/** Measures everything, each time with a new server. */
export async function measureScale(
  { idleConnections, rounds, milliseconds }: ScaleEffort,
  progress: Progress,
): Promise<Scale> {
  progress.step(`scale, memory of ${idleConnections} idle connections`);
  const idleMemory = await measureIdleMemory(startServer(), idleConnections);
  const idleMemoryOfNode = HAS_NODE
    ? await measureIdleMemory(
      startPeer("node", "./peer_node_net.mjs"),
      idleConnections,
    )
    : null;

  /**
   * Runs a script against the server, and gives the figures of the middle
   * round.
   */
  async function measure<T>(
    script: string,
    key: keyof T & string,
  ): Promise<T> {
    const figures: T[] = [];
    for (let round = 1; round <= rounds; round++) {
      progress.step(`scale, ${script} (${round} of ${rounds})`);
      await using server = await startServer();
      const seconds = milliseconds / 1_000;
      figures.push(
        await figuresOf<T>(script, String(server.port), String(seconds)),
      );
    }
    const middle = median(figures.map((figure) => Number(figure[key])));
    return figures.find((figure) => figure[key] === middle)!;
  }

  const churn = await measure<Churn>("churn.ts", "connectionsPerSecond");
  const fairness = await measure<Fairness>("fairness.ts", "p99");
  progress.step("scale, pieces.ts");
  const pieces = await figuresOf<Pieces>("pieces.ts");
  progress.step("scale, calls.ts");
  const calls = await figuresOf<Calls>(
    "calls.ts",
    String(milliseconds / 1_000),
  );
  return { idleMemory, idleMemoryOfNode, churn, fairness, pieces, calls };
}

async function measureIdleMemory(
  starting: Promise<RunningServer>,
  count: number,
): Promise<IdleMemory> {
  await using server = await starting;
  const { port, pid } = server;
  return await figuresOf("idle_memory.ts", ...[port, pid, count].map(String));
}

function idleMemoryText({ bytesPerConnection }: IdleMemory): string {
  return bytesPerConnection === null
    ? "not measured"
    : `${rounded(bytesPerConnection / 1_024)} KiB`;
}

/** The figures as a table. */
export function scaleTable(
  { idleMemory, idleMemoryOfNode, churn, fairness, pieces, calls }: Scale,
): string {
  return table(["what", "figure"], [
    [
      `resident memory of an idle connection, ${
        whole(idleMemory.connections)
      } open`,
      idleMemoryText(idleMemory),
    ],
    ...(idleMemoryOfNode === null
      ? []
      : [["the same with node:net in Node", idleMemoryText(idleMemoryOfNode)]]),
    [
      "connections opened, one exchange, closed",
      `${rounded(churn.connectionsPerSecond)} a second`,
    ],
    [
      "one message beside a stream of frames of 1 MiB, p50",
      `${rounded(fairness.p50)} ms`,
    ],
    ["the same, p99", `${rounded(fairness.p99)} ms`],
    ["the stream itself", `${rounded(fairness.mebibytesPerSecond)} MiB/s`],
    [
      "a frame of 1 MiB in pieces of one byte, in memory",
      `${rounded(pieces.milliseconds)} ms`,
    ],
    [
      "the same against a frame of half the size",
      times(pieces.milliseconds, pieces.millisecondsOfHalf),
    ],
    ["buffers that it takes", `${rounded(pieces.buffersPerFrame)} × the frame`],
    [
      "small items of a stream, JSON-RPC",
      `${rounded(calls.itemsPerSecond)} a second`,
    ],
    [
      `${whole(calls.openCalls)} open calls rejected when the link is cut`,
      `${rounded(calls.milliseconds)} ms`,
    ],
  ]);
}
