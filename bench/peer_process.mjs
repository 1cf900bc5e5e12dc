// @ts-check
/**
 * One end of a peer in a process of its own, in Deno or in Node:
 *
 *     peer_process.mjs MODULE serve               prints the port
 *     peer_process.mjs MODULE drive PORT WORK...  prints messages a second, a line for each workload in JSON
 *
 * @import { Peer, Workload } from "./peer.ts"
 */
import process from "node:process";
import { run } from "./peer_work.mjs";

const [module = "", role, port, ...workloads] = process.argv.slice(2);
/** @type {Peer} */
const peer = await import(new URL(module, import.meta.url).href);

if (role === "serve") {
  console.log(await peer.serve());
} else {
  for (const text of workloads) {
    /** @type {Workload} */
    const workload = JSON.parse(text);
    const clients = [];
    for (let i = 0; i < workload.connections; i++) {
      clients.push(await peer.connect(Number(port)));
    }
    console.log(await run(clients, workload));
  }
  process.exit(0);
}
