/**
 * Puts load on a server that answers `{"message":X}` with
 * `{"status":"success","echo":X}`, and checks that every reply is right, in its
 * place and the only one.
 *
 *     deno run --allow-net=127.0.0.1 bench/load.ts --port 8080 8 64 4 17
 */
import { UsageError } from "../cli/failure.ts";
import { print } from "../cli/output.ts";
import { type Given, type Program, run } from "../cli/program.ts";
import { textsOf } from "./load_batch.ts";
import { load, type LoadOptions, type LoadResult } from "./load_run.ts";
import { rounded } from "./table.ts";

const PROGRAM: Program = {
  name: "load",
  about: "Keeps messages open on a number of connections to a server that " +
    'answers {"message":X}\nwith {"status":"success","echo":X}, and checks ' +
    "every reply. PAYLOAD is the size of the texts\nin bytes, uN for N times " +
    "four characters of one to four bytes, or mix for five sizes in turn.",
  usage: "deno run --allow-net=127.0.0.1 bench/load.ts [options] " +
    "CONNECTIONS OPEN SECONDS PAYLOAD",
  takesOperands: true,
  options: `
--hostname NAME  host of the server (default 127.0.0.1)
--port NUMBER  port of the server (default 8080)
--timeout MS  milliseconds without a reply that are too long (default 10000)
--json  print the figures as a line of JSON
`,
};

/** Reads the workload off the command line. */
function optionsOf(given: Given): LoadOptions {
  if (given.operands.length !== 4) {
    throw new UsageError("expected CONNECTIONS OPEN SECONDS PAYLOAD");
  }
  const [connections, open, seconds] = given.operands.map(Number);
  const payload = given.operands[3];
  for (const count of [connections, open]) {
    if (!Number.isInteger(count) || count < 1) {
      throw new UsageError("CONNECTIONS and OPEN must be whole numbers from 1");
    }
  }
  if (!(seconds > 0 && seconds <= 86_400)) {
    throw new UsageError("SECONDS must be a number above 0, at most 86400");
  }
  if (textsOf(payload) === undefined) {
    throw new UsageError("PAYLOAD must be a number from 8, uN or mix");
  }
  return {
    hostname: given.text("hostname") ?? "127.0.0.1",
    port: given.number("port", { most: 65_535 }) ?? 8080,
    timeout: given.number("timeout", { most: 2 ** 31 - 1 }) ?? 10_000,
    connections,
    open,
    seconds,
    payload,
  };
}

function inWords(result: LoadResult): string {
  const { messagesPerSecond, mebibytesPerSecond, p50, p99, p999, leastShare } =
    result;
  return `${rounded(messagesPerSecond)} messages a second, ` +
    `${rounded(mebibytesPerSecond)} MiB a second; ` +
    `milliseconds: p50 ${rounded(p50)}, p99 ${rounded(p99)}, ` +
    `p99.9 ${rounded(p999)}; least share ${leastShare.toFixed(2)}; ` +
    `errors: ${result.errors.length}\n` +
    result.errors.slice(0, 5).map(({ kind, message }) =>
      `${kind}: ${message}\n`
    ).join("");
}

function inJson({ errors, ...figures }: LoadResult): string {
  const reasons = errors.map(({ kind, message }) => `${kind}: ${message}`);
  return `${JSON.stringify({ ...figures, errors: reasons })}\n`;
}

if (import.meta.main) {
  await run(PROGRAM, Deno.args, async (given) => {
    const result = await load(optionsOf(given));
    await print(given.has("json") ? inJson(result) : inWords(result));
    return result.errors.length === 0 ? 0 : 1;
  });
}
