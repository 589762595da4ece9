// `deno task bench [name …]`: measures and prints Markdown tables. NOMAD_BIN=PATH measures the reference binary in the
// same run; `-address URL NAME …` drives the cluster that answers there, with the nodes it has, over the public API.
// Names: see `benches`; without any, all of them.
import process from "node:process";
import * as agents from "./agents.ts";
import { commands } from "./commands.ts";
import { decisions, growth } from "./decisions.ts";
import { failover } from "./failover.ts";
import { jobRate } from "./job_rate.ts";
import { jobspec } from "./jobspec.ts";
import { clusterRegistrations, log } from "./log.ts";
import { machine, markdown, type Row } from "./measure.ts";
import { placements } from "./placements.ts";
import { readsWhilePlacing } from "./reads_while_placing.ts";
import { restart } from "./restart.ts";
import { simulation } from "./sim.ts";
import { systemJob } from "./system_jobs.ts";

const benches: Record<string, () => Promise<Row[]>> = {
  start: agents.start,
  latency: agents.latency,
  "task-memory": agents.taskMemory,
  registrations: agents.registrations,
  reads: agents.reads,
  placements: () => placements({ nodes: 1000, jobs: 10, perJob: 1000, type: "service" }),
  "placements-deployments": () =>
    placements({ nodes: 1000, jobs: 10, perJob: 1000, type: "service", deployments: true }),
  "placements-nomad-timeline": () =>
    placements({
      nodes: 1000,
      jobs: 10,
      perJob: 1000,
      type: "service",
      deployments: true,
      timeline: "nomad",
    }),
  "placements-batch": () => placements({ nodes: 1000, jobs: 10, perJob: 1000, type: "batch" }),
  "placements-100k": () => placements({ nodes: 1000, jobs: 10, perJob: 10_000, type: "service" }),
  "placements-1m": () => placements({ nodes: 5000, jobs: 100, perJob: 10_000, type: "service" }),
  decisions: () => decisions(5000, false),
  "decisions-demanding": () => decisions(5000, true),
  "decisions-growth": () => growth([100, 1000, 10_000]),
  "reads-while-placing": () =>
    readsWhilePlacing({ nodes: 5000, jobs: 30, perJob: 10_000, readsPerSecond: 50 }),
  "system-job": () => systemJob(5000),
  "job-rate": () => jobRate({ nodes: 100, jobs: 10_000, callers: 100 }),
  log,
  "cluster-registrations": clusterRegistrations,
  restart,
  failover,
  sim: simulation,
  jobspec,
  commands,
  "idle-memory": agents.idleMemory,
};

/** Benches that need no more than the API of the cluster that they measure. */
const EXTERNAL = /^(placements.*|system-job|job-rate|reads-while-placing)$/;

const names = process.argv.slice(2);
const addressAt = names.findIndex((name) => /^--?address$/.test(name));
if (addressAt >= 0) process.env["BENCH_ADDRESS"] = names.splice(addressAt, 2)[1] ?? "";
const unknown = names.filter((name) => !(name in benches));
if (unknown.length > 0) {
  console.error(`Unknown benchmark ${unknown.join(", ")}: choose from ${Object.keys(benches).join(", ")}`);
  process.exit(1);
}
if (addressAt >= 0 && (names.length === 0 || !names.every((name) => EXTERNAL.test(name)))) {
  const possible = Object.keys(benches).filter((name) => EXTERNAL.test(name));
  console.error(`With -address URL name what to measure there: ${possible.join(", ")}`);
  process.exit(1);
}
console.log(`# ${machine()}\n`);
for (const name of names.length > 0 ? names : Object.keys(benches)) {
  console.log(`## ${name}\n`);
  try {
    console.log(`${markdown(await benches[name]!())}\n`);
  } catch (error) {
    console.log(`failed: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
process.exit();
