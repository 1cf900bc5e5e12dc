/**
 * Runs the benchmarks: `deno task bench`, or in a minute
 * `deno task bench --quick`.
 */
import { UsageError } from "../cli/failure.ts";
import { print } from "../cli/output.ts";
import { type Given, type Program, run } from "../cli/program.ts";
import { draw } from "./chart.ts";
import { measureCodec } from "./codec.ts";
import { Progress } from "./progress.ts";
import {
  caption,
  chartOf,
  describeMachine,
  describeVersions,
  type Figures,
  type Results,
  tables,
  withFigures,
} from "./results.ts";
import { measureRoundTrips } from "./round_trips.ts";
import { measureScale } from "./scale.ts";
import { measureLoad } from "./server_load.ts";

const PARTS = ["codec", "round-trips", "load", "scale"] as const;

type Part = typeof PARTS[number];

const PROGRAM: Program = {
  name: "bench",
  about: "Measures the codec, round trips beside other ways to exchange " +
    "messages, the server under load,\nand how it scales. A full run takes " +
    "some minutes and writes bench/results.json, bench/results.svg\nand the " +
    "figures in bench/README.md; a quick run, or one of some parts only, " +
    "writes nothing.",
  usage: `deno task bench [--quick] [${PARTS.join("] [")}]`,
  takesOperands: true,
  options: "--quick  a rough look, within a minute",
};

/** How much work is put into the figures. */
interface Efforts {
  readonly quick: boolean;
  readonly rounds: number;
  readonly milliseconds: number;
  readonly idleConnections: number;
}

const FULL: Efforts = {
  quick: false,
  rounds: 5,
  milliseconds: 1_500,
  idleConnections: 5_000,
};

const QUICK: Efforts = {
  quick: true,
  rounds: 1,
  milliseconds: 500,
  idleConnections: 1_000,
};

function partsOf(given: Given): readonly Part[] {
  const parts = given.operands.map((operand) => {
    const part = PARTS.find((part) => part === operand);
    if (part === undefined) {
      throw new UsageError(`unknown part, expected ${PARTS.join(", ")}`);
    }
    return part;
  });
  return parts.length === 0 ? PARTS : parts;
}

async function measure(
  parts: readonly Part[],
  efforts: Efforts,
  progress: Progress,
): Promise<Figures> {
  const figures: { -readonly [K in keyof Figures]: Figures[K] } = {};
  if (parts.includes("codec")) {
    progress.step("codec");
    figures.codec = await measureCodec(efforts.quick);
  }
  if (parts.includes("round-trips")) {
    figures.roundTrips = await measureRoundTrips(efforts, progress);
  }
  if (parts.includes("load")) {
    figures.load = await measureLoad(efforts, progress);
  }
  if (parts.includes("scale")) {
    figures.scale = await measureScale(efforts, progress);
  }
  return figures;
}

function isWhole(figures: Figures): figures is Required<Figures> {
  return figures.codec !== undefined && figures.roundTrips !== undefined &&
    figures.load !== undefined && figures.scale !== undefined;
}

async function write(results: Results): Promise<void> {
  const [json, svg, page, front] = [
    "results.json",
    "results.svg",
    "README.md",
    "../README.md",
  ].map((name) => new URL(name, import.meta.url));
  await Deno.writeTextFile(json, JSON.stringify(results, null, 2) + "\n");
  const about = `${caption(results)}.\n`;
  await Deno.writeTextFile(
    svg,
    draw(chartOf(results.roundTrips, caption(results))),
  );
  for (
    const [file, figures] of [
      [page, `${about}\n${tables(results)}`],
      [front, about],
    ] as const
  ) {
    const text = withFigures(await Deno.readTextFile(file), figures);
    await Deno.writeTextFile(file, text);
  }
  await new Deno.Command(Deno.execPath(), {
    args: [
      "fmt",
      "--quiet",
      ...[json, svg, page, front].map(({ pathname }) => pathname),
    ],
  }).output();
}

if (import.meta.main) {
  await run(PROGRAM, Deno.args, async (given) => {
    const parts = partsOf(given);
    const quick = given.has("quick");
    const progress = new Progress();
    const figures = await measure(parts, quick ? QUICK : FULL, progress);
    progress.end();
    const date = new Date().toISOString().slice(0, 10);
    const machine = describeMachine();
    const about = { date, machine, versions: await describeVersions() };
    await print(`${caption(about)}\n\n${tables(figures)}`);
    if (!quick && isWhole(figures)) await write({ ...about, ...figures });
    return 0;
  });
}
