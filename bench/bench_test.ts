import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { echo } from "../cli/echo.ts";
import { serve } from "../mod.ts";
import { start } from "../tests/process.ts";
import { draw } from "./chart.ts";
import { codecFigures } from "./codec.ts";
import { callingClient, run } from "./peer_work.mjs";
import {
  caption,
  chartOf,
  type Results,
  tables,
  withFigures,
} from "./results.ts";
import { median, rounded, table, times, whole } from "./table.ts";

const ROOT = new URL("../", import.meta.url);

Deno.test("run() stops at a wrong reply of a peer", async () => {
  const workload = {
    connections: 2,
    inFlight: 3,
    textBytes: 17,
    milliseconds: 500,
  };
  const right = callingClient(({ message }) =>
    new Promise((resolve) =>
      setTimeout(resolve, 1, { status: "success", echo: message })
    )
  );
  assert(await run([right, right], workload) > 0);
  const wrong = callingClient(() =>
    Promise.resolve({ status: "success", echo: "hello" })
  );
  await assertRejects(() => run([wrong], workload), Error, "not that of its");
});

Deno.test("the programs read their command lines", async () => {
  await using server = serve({ hostname: "127.0.0.1", port: 0 }, echo);
  assert(server.addr.transport === "tcp");
  const port = String(server.addr.port);
  const flags = ["run", "--allow-net=127.0.0.1"];
  const lines = [
    ["bench/load.ts", "--port", port, "--json", "2", "4", "0.05", "17"],
    ["bench/load.ts", "--port", port, "2", "4", "0.05"],
    ["bench/main.ts", "--fast"],
    ["bench/main.ts", "--help"],
  ];
  const [json, tooFew, unknown, help] = await Promise.all(
    lines.map(async (line) => {
      await using running = start(
        Deno.execPath(),
        [...flags.slice(0, line[0] === "bench/main.ts" ? 1 : 2), ...line],
        { cwd: ROOT, env: { NO_COLOR: "1" } },
      );
      const { code } = await running.status;
      return [code, await running.stdout(), await running.stderr()] as const;
    }),
  );
  assertEquals(json[0], 0, json[2]);
  assertEquals(JSON.parse(json[1]).errors, []);
  assertEquals(tooFew.slice(0, 2), [2, ""]);
  assertEquals(unknown, [
    2,
    "",
    "bench: unknown option '--fast'; see --help\n",
  ]);
  assertEquals([help[0], help[2]], [0, ""]);
  assertStringIncludes(help[1], "--quick");
});

const RATES = {
  "1 in flight": 10_000,
  "64 in flight": 250_000,
};

const RESULTS: Results = {
  date: "2026-01-31",
  machine: {
    cpu: 'A <fast> & "good" one',
    cores: 2,
    memoryGibibytes: 8,
    kernel: "linux 6",
    pinned: true,
  },
  versions: { deno: "2.9.6" },
  codec: [{ text: "ASCII", bytes: 17, frames: 64, decode: 312.5, encode: 99 }],
  roundTrips: [
    { peer: "ours, request", messagesPerSecond: RATES },
    {
      peer: "ws, ids by hand",
      messagesPerSecond: { "1 in flight": 8_000, "64 in flight": 100_000 },
    },
  ],
  load: [{
    connections: 1_000,
    open: 1,
    payload: "17",
    messagesPerSecond: 76_543,
    mebibytesPerSecond: 7.296,
    p50: 0.5,
    p99: 1,
    p999: 12.3456,
    leastShare: 0.875,
  }],
  scale: {
    idleMemory: { connections: 5_000, bytesPerConnection: null },
    idleMemoryOfNode: { connections: 5_000, bytesPerConnection: 2_560 },
    churn: { connectionsPerSecond: 10_500 },
    fairness: { p50: 1, p99: 20, mebibytesPerSecond: 800 },
    pieces: {
      frameBytes: 2 ** 20,
      milliseconds: 100,
      millisecondsOfHalf: 50,
      buffersPerFrame: 1.5,
    },
    calls: {
      itemsPerSecond: 1_234_567,
      openCalls: 10_000,
      milliseconds: 45.67,
    },
  },
};

/** The names of the elements, in order; fails if the XML is not well-formed. */
function elementsOf(xml: string): string[] {
  const names: string[] = [];
  const open: string[] = [];
  const pattern =
    /<(\/?)(\w+)((?: [\w:-]+="[^"<&]*(?:&\w+;[^"<&]*)*")*)(\/?)>|([^<]+)/gy;
  let end = 0;
  for (const [all, closing, name, , empty, content] of xml.matchAll(pattern)) {
    end += all.length;
    if (content !== undefined) {
      assert(!/&(?!(amp|lt|gt|quot);)|>/.test(content), content);
    } else if (closing) {
      assertEquals(name, open.pop());
    } else {
      names.push(name);
      if (!empty) open.push(name);
    }
  }
  assertEquals([end, open], [xml.length, []]);
  return names;
}

Deno.test("draw() makes well-formed SVG with a bar and a figure for each value", () => {
  const svg = draw(chartOf(RESULTS.roundTrips, caption(RESULTS)));
  const names = elementsOf(svg);
  assertEquals(names[0], "svg");
  assertEquals(names.filter((name) => name === "rect").length, 1 + 4);
  for (const text of ["ours, request", "ws, ids by hand", "250 000", "8 000"]) {
    assertStringIncludes(svg, `>${text}</text>`);
  }
  assertStringIncludes(svg, "A &lt;fast&gt; &amp; &quot;good&quot;");
  const widths = [...svg.matchAll(/class="bar.*? width="(\d+)"/g)]
    .map(([, width]) => Number(width));
  assertEquals((widths[1] / widths[0]).toFixed(2), "0.40");
});

Deno.test("tables() shows every figure, and leaves out what was not measured", () => {
  const text = tables(RESULTS);
  for (
    const figure of [
      "2.50 ×",
      "76 500",
      "12.3",
      "0.88",
      "2.50 KiB",
      "10 500 a second",
      "1 230 000 a second",
      "45.7 ms",
      "313",
    ]
  ) {
    assertStringIncludes(text, figure);
  }
  assertStringIncludes(
    text,
    "64 in flight, as many times as ws: ours, request: 2.50 ×",
  );
  assertStringIncludes(text, "not measured");
  assert(!tables({ codec: RESULTS.codec }).includes("Round trips"));
});

Deno.test("table() aligns its columns", () => {
  assertEquals(
    table(["a", "long head"], [["first", "1"], ["b", "23"]]),
    "| a     | long head |\n" +
      "| ----- | --------: |\n" +
      "| first |         1 |\n" +
      "| b     |        23 |\n",
  );
});

Deno.test("rounded() keeps three digits, whole() all", () => {
  const figures = [0, 0.012_345, 1.234, 99.96, 123.4, 98_765, 1_234_567, 2e9];
  assertEquals(figures.map(rounded), [
    "0",
    "0.0123",
    "1.23",
    "100",
    "123",
    "98 800",
    "1 230 000",
    "2 000 000 000",
  ]);
  assertEquals([17, 1_048_576].map(whole), ["17", "1 048 576"]);
  assertEquals(times(3, 2), "1.50 ×");
  assertEquals([median([3, 1, 2]), median([5])], [2, 5]);
});

Deno.test("withFigures() changes what is between the marks", () => {
  const page = "a\n<!-- figures -->\nold\n<!-- end of figures -->\nb\n";
  const changed = withFigures(page, "new\n");
  assertEquals(
    changed,
    "a\n<!-- figures -->\n\nnew\n\n<!-- end of figures -->\nb\n",
  );
  assertEquals(withFigures(changed, "new\n"), changed);
  assertThrows(() => withFigures("a", "new"), Error, "no place");
});

Deno.test("codecFigures() takes nanoseconds a message", () => {
  const benches = [["decode", 640], ["encode", 64]].map(([name, avg]) => ({
    name: `${name} 64 x 17 bytes, not ASCII`,
    results: [{ ok: { avg: Number(avg) } }],
  }));
  assertEquals(codecFigures({ benches }), [
    { text: "not ASCII", bytes: 17, frames: 64, decode: 10, encode: 1 },
  ]);
});
