/** All that a run has measured, and on what. */
import { cpus, release, totalmem } from "node:os";
import type { Chart } from "./chart.ts";
import { type CodecFigure, codecTable } from "./codec.ts";
import { outputOf, PINNED } from "./processes.ts";
import {
  type RoundTrips,
  roundTripsSummary,
  roundTripsTable,
} from "./round_trips.ts";
import { type Scale, scaleTable } from "./scale.ts";
import { type LoadFigure, loadTable } from "./server_load.ts";
import { rounded } from "./table.ts";

/** Where it was measured. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGibibytes: number;
  readonly kernel: string;
  /** Whether server and client had a core each. */
  readonly pinned: boolean;
}

/** The figures of a run; those of the parts that were left out are missing. */
export interface Figures {
  readonly codec?: CodecFigure[];
  readonly roundTrips?: RoundTrips[];
  readonly load?: LoadFigure[];
  readonly scale?: Scale;
}

/** A whole run, as it is kept. */
export interface Results extends Required<Figures> {
  readonly date: string;
  readonly machine: Machine;
  readonly versions: Readonly<Record<string, string>>;
}

/** What this machine is. */
export function describeMachine(): Machine {
  const processors = cpus();
  return {
    cpu: processors[0]?.model ?? "unknown",
    cores: processors.length,
    memoryGibibytes: Math.round(totalmem() / 2 ** 30),
    kernel: `${Deno.build.os} ${release()}`,
    pinned: PINNED,
  };
}

/** Versions of the runtimes, and of the packages that are measured. */
export async function describeVersions(): Promise<Record<string, string>> {
  const lock = JSON.parse(
    await Deno.readTextFile(new URL("../deno.lock", import.meta.url)),
  );
  const packages: Record<string, string> = lock.specifiers;
  const versions: Record<string, string> = {
    deno: Deno.version.deno,
    node: outputOf("node", ["--version"])?.replace(/^v/, "") ?? "none",
  };
  for (const name of ["ws", "vscode-jsonrpc", "capnweb"]) {
    const specifier = Object.keys(packages).find((specifier) =>
      specifier.startsWith(`npm:${name}@`)
    );
    versions[name] = specifier === undefined ? "none" : packages[specifier];
  }
  return versions;
}

/** In one line: when, with what and on what. */
export function caption(
  { date, machine, versions }: Pick<Results, "date" | "machine" | "versions">,
): string {
  const { cpu, cores, memoryGibibytes, kernel, pinned } = machine;
  const software = Object.entries(versions).map(([name, version]) =>
    `${name} ${version}`
  );
  return `${date}: ${software.join(", ")}; ${cpu}, ${cores} cores, ` +
    `${memoryGibibytes} GiB, ${kernel}; server and client ` +
    (pinned ? "on one core each" : "on any core");
}

function roundTripsText(roundTrips: RoundTrips[]): string {
  const summary = roundTripsSummary(roundTrips);
  return roundTripsTable(roundTrips) + (summary && `\n${summary}`);
}

/** The tables of what was measured, under their headings. */
export function tables({ codec, roundTrips, load, scale }: Figures): string {
  const parts: [string, string | undefined][] = [
    ["Round trips", roundTrips && roundTripsText(roundTrips)],
    ["The server under load", load && loadTable(load)],
    ["Scale", scale && scaleTable(scale)],
    ["The codec", codec && codecTable(codec)],
  ];
  return parts.filter(([, text]) => text !== undefined).map(([title, text]) =>
    `### ${title}\n\n${text}`
  ).join("\n");
}

/** The chart of the round trips. */
export function chartOf(roundTrips: RoundTrips[], caption: string): Chart {
  return {
    title: "Messages a second on one connection",
    caption,
    panels: ["64 in flight", "1 in flight"].map((name) => ({
      title: name,
      bars: roundTrips.map(({ peer, messagesPerSecond }) => ({
        label: peer,
        value: messagesPerSecond[name],
        text: rounded(messagesPerSecond[name]),
        ours: peer.startsWith("ours"),
      })),
    })),
  };
}

const BEGIN = "<!-- figures -->";
const END = "<!-- end of figures -->";

/** A page with new figures in place of those between its two marks. */
export function withFigures(page: string, figures: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) {
    throw new Error("Cannot write figures: the page has no place for them");
  }
  return `${page.slice(0, begin)}${BEGIN}\n\n${figures}\n${page.slice(end)}`;
}
