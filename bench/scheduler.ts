// How many placements the scheduler decides in a second, alone: no log, no devices. Prints one line a case; on a busy
// machine the rate by CPU time is the one to compare.
//
// Usage: deno run -A bench/scheduler.ts [NODES …]     (default 1000 5000)
import { systemRandom } from "../core/env.ts";
import type { Job } from "../core/types.ts";
import process from "node:process";
import { jobEvaluation } from "../server/evaluations.ts";
import { schedule } from "../server/schedule.ts";
import { State } from "../server/state.ts";
import { UsageOverlay } from "../server/usage.ts";
import { group, job, node, task } from "../tests/scheduler/fixtures.ts";

interface Case {
  name: string;
  jobs: number;
  make(i: number): Job;
}

const SMALL = { Resources: { CPU: 20, MemoryMB: 20 }, Config: { run_for: "1h" } };

function plain(type: string, count: number): (i: number) => Job {
  return (i) =>
    job(`${type}-${i}`, {
      Type: type,
      TaskGroups: [group({ Count: count, EphemeralDisk: { SizeMB: 10 }, Tasks: [task(SMALL)] })],
    });
}

function demanding(count: number): (i: number) => Job {
  return (i) =>
    job(`demanding-${i}`, {
      Constraints: [
        { LTarget: "${attr.kernel.name}", RTarget: "linux", Operand: "=" },
        { LTarget: "${attr.cpu.arch}", RTarget: "amd64", Operand: "=" },
        { LTarget: "${meta.rack}", RTarget: "^r\\d+$", Operand: "regexp" },
      ],
      Affinities: [{ LTarget: "${meta.ssd}", RTarget: "true", Operand: "=", Weight: 50 }],
      Spreads: [{ Attribute: "${meta.rack}", Weight: 100 }],
      TaskGroups: [group({
        Count: count,
        EphemeralDisk: { SizeMB: 10 },
        Networks: [{ Mode: "host", DynamicPorts: [{ Label: "http" }, { Label: "rpc" }] }],
        Tasks: [task(SMALL)],
      })],
    });
}

const CASES: Case[] = [
  { name: "service, 10 jobs × 1,000", jobs: 10, make: plain("service", 1000) },
  { name: "batch, 10 jobs × 1,000", jobs: 10, make: plain("batch", 1000) },
  { name: "service, 1 job × 50,000", jobs: 1, make: plain("service", 50_000) },
  { name: "service, 2,000 jobs × 1", jobs: 2000, make: plain("service", 1) },
  {
    name: "spread on 50 racks, affinity, 3 constraints, 2 dynamic ports; 10 jobs × 1,000",
    jobs: 10,
    make: demanding(1000),
  },
  { name: "system, 3 jobs", jobs: 3, make: plain("system", 1) },
];

function cluster(nodes: number): State {
  const state = new State();
  for (let i = 0; i < nodes; i++) {
    const made = node(i, {
      cpu: 64_000,
      memory: 64_000,
      meta: { rack: `r${i % 50}`, ssd: String(i % 3 === 0) },
    });
    state.apply(state.index + 1, { kind: "node.register", time: 1, node: made });
  }
  return state;
}

function run(nodes: number, { name, jobs, make }: Case): void {
  const state = cluster(nodes);
  const overlay = new UsageOverlay();
  let placed = 0;
  let decidingMs = 0;
  let cpuMs = 0;
  let applyingMs = 0;
  for (let i = 0; i < jobs; i++) {
    const made = make(i);
    const evaluation = jobEvaluation(made, "job-register", { random: systemRandom, nowNs: 1 });
    state.apply(state.index + 1, {
      kind: "job.register",
      time: 1,
      job: made,
      submission: null,
      evals: [evaluation],
    });
    let current = state.eval(evaluation.ID)!;
    for (;;) {
      const began = performance.now();
      const beganCpu = process.cpuUsage();
      const plan = schedule(state, current, systemRandom, 1, { overlay });
      decidingMs += performance.now() - began;
      const spent = process.cpuUsage(beganCpu);
      cpuMs += (spent.user + spent.system) / 1000;
      placed += plan.result.placements.length;
      const applying = performance.now();
      state.apply(state.index + 1, { kind: "plan", time: 1, plan: plan.result });
      applyingMs += performance.now() - applying;
      current = state.eval(evaluation.ID)!;
      if (!plan.more) break;
    }
  }
  const rate = Math.round(placed / (decidingMs / 1000));
  console.log(
    `${String(nodes).padStart(6)} nodes  ${String(rate).padStart(8)} placements/s  ` +
      `(${Math.round(placed / (cpuMs / 1000))}/s of CPU)  ${
        (decidingMs / jobs).toFixed(1).padStart(8)
      } ms/job  applied at ${Math.round(placed / (applyingMs / 1000))}/s  ${name}`,
  );
}

const sizes = process.argv.slice(2).map(Number).filter((n) => n > 0);
for (const nodes of sizes.length > 0 ? sizes : [1000, 5000]) for (const one of CASES) run(nodes, one);
