/** Runs the benchmark of the codec, and takes its figures. */
import { outputAs } from "./processes.ts";
import { rounded, table, whole } from "./table.ts";

/** What the codec costs for one kind of chunk, in nanoseconds a message. */
export interface CodecFigure {
  readonly text: string;
  readonly bytes: number;
  readonly frames: number;
  readonly decode: number;
  readonly encode: number;
}

interface BenchOutput {
  benches: { name: string; results: { ok?: { avg: number } }[] }[];
}

/** Measures the codec with `deno bench`. */
export async function measureCodec(quick: boolean): Promise<CodecFigure[]> {
  const output = await outputAs("server", Deno.execPath(), [
    "bench",
    "--json",
    new URL("./codec_bench.ts", import.meta.url).pathname,
    ...(quick ? ["--", "--quick"] : []),
  ]);
  return codecFigures(JSON.parse(output));
}

/** The figures in what `deno bench` prints. */
export function codecFigures({ benches }: BenchOutput): CodecFigure[] {
  const averages = new Map(
    benches.map(({ name, results }) => [name, results[0].ok?.avg ?? NaN]),
  );
  const figures = [];
  for (const [name, decode] of averages) {
    const match = name.match(/^decode ((\d+) x (\d+) bytes, (.+))$/);
    if (match === null) continue;
    const [, kind, frames, bytes, text] = match;
    const encode = averages.get(`encode ${kind}`) ?? NaN;
    figures.push({
      text,
      bytes: Number(bytes),
      frames: Number(frames),
      decode: decode / Number(frames),
      encode: encode / Number(frames),
    });
  }
  return figures;
}

/** The figures of the codec as a table. */
export function codecTable(figures: CodecFigure[]): string {
  return table(
    ["text", "bytes", "frames a chunk", "decode, ns", "encode, ns"],
    figures.map(({ text, bytes, frames, decode, encode }) => [
      text,
      whole(bytes),
      String(frames),
      rounded(decode),
      rounded(encode),
    ]),
  );
}
