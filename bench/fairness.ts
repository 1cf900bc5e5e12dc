/**
 * What one client notices of another that streams large frames as fast as it
 * can. Each is a process of its own.
 *
 *     deno run --allow-all bench/fairness.ts PORT SECONDS
 */
import type { LoadResult } from "./load_run.ts";

/**
 * Milliseconds that a message takes beside the stream, and how much is
 * streamed, both ways together.
 */
export interface Fairness {
  readonly p50: number;
  readonly p99: number;
  readonly mebibytesPerSecond: number;
}

/** Large enough for frames of almost 1 MiB, the default limit, both ways. */
const STREAM = ["1", "8"];
const STREAM_PAYLOAD = "1048500";

async function loadOf(port: string, workload: string[]): Promise<LoadResult> {
  const script = new URL("./load.ts", import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", script, "--json", "--port", port, ...workload],
  }).output();
  const [output, errors] = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  );
  if (!success) throw new Error(`Cannot measure: ${output}${errors}`);
  return JSON.parse(output);
}

async function measure(port: string, seconds: number): Promise<Fairness> {
  const longer = String(1.5 * seconds);
  const [stream, probe] = await Promise.all([
    loadOf(port, [...STREAM, longer, STREAM_PAYLOAD]),
    loadOf(port, ["1", "1", String(seconds), "17"]),
  ]);
  const { p50, p99 } = probe;
  return { p50, p99, mebibytesPerSecond: stream.mebibytesPerSecond };
}

if (import.meta.main) {
  const [port, seconds] = Deno.args;
  console.log(JSON.stringify(await measure(port, Number(seconds))));
}
