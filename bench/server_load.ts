/**
 * Load on the server program of this package, started anew for every figure.
 */
import { figuresOf, startServer } from "./processes.ts";
import type { Progress } from "./progress.ts";
import type { Effort } from "./round_trips.ts";
import { median, rounded, table, whole } from "./table.ts";

/**
 * What is asked of the server: connections, messages open on each, and their
 * payload.
 */
const WORKLOADS: readonly (readonly [number, number, string])[] = [
  [1, 1, "17"],
  [50, 1, "17"],
  [1_000, 1, "17"],
  [8, 64, "17"],
  [8, 64, "u4"],
  [8, 20, "mix"],
  [8, 4, "16384"],
  [2, 1, "1048500"],
];

/** What the server did under one workload; times are milliseconds. */
export interface LoadFigure {
  readonly connections: number;
  readonly open: number;
  readonly payload: string;
  readonly messagesPerSecond: number;
  readonly mebibytesPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  /** Messages of the connection that had the fewest; 1 is an equal share. */
  readonly leastShare?: number;
}

/**
 * Measures all workloads. Of the rounds, that with the median throughput
 * counts.
 */
export async function measureLoad(
  { rounds, milliseconds }: Effort,
  progress: Progress,
): Promise<LoadFigure[]> {
  const results: LoadFigure[][] = WORKLOADS.map(() => []);
  for (let round = 1; round <= rounds; round++) {
    for (const [i, [connections, open, payload]] of WORKLOADS.entries()) {
      progress.step(
        `load, ${connections} x ${open} of ${payload} (${round} of ${rounds})`,
      );
      await using server = await startServer();
      const { errors: _, ...figures } = await figuresOf<
        LoadFigure & { errors: string[] }
      >(
        "load.ts",
        "--json",
        `--port=${server.port}`,
        ...[connections, open, milliseconds / 1_000, payload].map(String),
      );
      results[i].push({ ...figures, connections, open, payload });
    }
  }
  return results.map((figures) => {
    const rates = figures.map(({ messagesPerSecond }) => messagesPerSecond);
    return figures[rates.indexOf(median(rates))];
  });
}

/** The figures of the server as a table. */
export function loadTable(figures: LoadFigure[]): string {
  return table(
    [
      "connections",
      "open on each",
      "text",
      "messages a second",
      "MiB a second",
      "p50, ms",
      "p99, ms",
      "p99.9, ms",
      "least share",
    ],
    figures.map((figure) => [
      whole(figure.connections),
      whole(figure.open),
      figure.payload,
      ...[
        figure.messagesPerSecond,
        figure.mebibytesPerSecond,
        figure.p50,
        figure.p99,
        figure.p999,
      ].map(rounded),
      figure.leastShare?.toFixed(2) ?? "–",
    ]),
  );
}
