// A server that comes back: killed with -9 while it holds many allocations, placed by its own scheduler and reported by
// simulated devices, and started again on its data. The clock runs from exec to the first consistent read.
import process from "node:process";
import { flavours } from "./agent_process.ts";
import { median, type Row, seconds } from "./measure.ts";
import { placeAll, type PlacementsOptions } from "./placements.ts";
import { peakOf, withSimulation } from "./simulation.ts";

const ROUNDS = 3;

/** From a snapshot and the log after it, or from the log alone, which is what a server has that was filled quickly. */
const SOURCES = {
  "snapshot and log": `server {
  raft_snapshot_threshold = 100
  raft_snapshot_interval  = "2s"
}`,
  "log alone": "",
};

/** RESTART_ALLOCS sets another number of allocations. */
export async function restart(): Promise<Row[]> {
  const total = Number(process.env["RESTART_ALLOCS"] ?? 100_000);
  const rows: Row[] = [];
  for (const [source, config] of Object.entries(SOURCES)) {
    const options = {
      nodes: Math.max(1000, total / 200),
      jobs: 20,
      perJob: total / 20,
      type: "service",
      deployments: true,
      config,
    } satisfies PlacementsOptions;
    const time: Row = { what: `restart with ${total.toLocaleString("en")} allocations from ${source}` };
    const memory: Row = { what: "… peak memory" };
    for (const flavour of flavours()) {
      if (flavour === "nomad") time[flavour] = "our devices speak to ours only";
      else [time[flavour], memory[flavour]] = await measure(flavour, options);
    }
    rows.push(time, memory);
  }
  return rows;
}

function measure(flavour: "deno" | "bun", options: PlacementsOptions): Promise<[string, string]> {
  return withSimulation(flavour, options, async ({ agent, api }) => {
    await placeAll(api, options);
    const times: number[] = [];
    for (let i = 0; i < ROUNDS; i++) times.push(await agent.restart());
    return [seconds(median(times) / 1000), peakOf(agent.pid)];
  });
}
