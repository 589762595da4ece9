// How fast the shared state applies plans and reports, and what an allocation costs in memory. Runs alone:
//   deno run -A --v8-flags=--expose-gc,--max-old-space-size=8000 bench/state.ts [allocations] [ports]
//   bun --expose-gc bench/state.ts [allocations] [ports]
// Entries go through JSON first, as they do on their way out of the log, so that texts are the copies they really are.
// `ports`: every allocation gets a dynamic port, so its resources are its own.
import process from "node:process";
import type { Command } from "../server/commands.ts";
import { State } from "../server/state.ts";
import { canonicalizeJob } from "../server/job_canonical.ts";
import { type AllocatedResources, BLANK_EVENT, type Node } from "../core/types.ts";
import { systemRandom } from "../core/env.ts";

const total = Number(process.argv[2] ?? 1_000_000);
const withPorts = process.argv[3] === "ports";
const NODES = 5000;
const PLAN = 1000;
const JOBS = 100;

const state = new State();
let now = 1_795_320_000e9;
let touched = 0;
state.onChanges((changes) => touched += changes.allocs.length + changes.clientAllocs.length);

function apply(command: Command): void {
  now += 1e6;
  const result = state.apply(state.index + 1, JSON.parse(JSON.stringify(command)) as Command);
  if (result.refused) throw new Error(result.refused.message);
}

const nodeIds = Array.from({ length: NODES }, () => systemRandom.uuid());
for (const [i, id] of nodeIds.entries()) apply({ kind: "node.register", time: now, node: makeNode(id, i) });
for (let i = 0; i < JOBS; i++) {
  const job = canonicalizeJob({
    ID: `job-${i}`,
    TaskGroups: [{ Name: "g", Count: total / JOBS, Tasks: [{ Name: "t", Driver: "mock_driver" }] }],
  }, { region: "global", namespace: "default" });
  apply({ kind: "job.register", time: now, job, submission: null, evals: [] });
}
const before = measureMemory();

const ids: string[] = [];
let planNs = 0;
for (let done = 0; done < total; done += PLAN) {
  const command = makePlan(done);
  const text = JSON.stringify(command);
  const parsed = JSON.parse(text) as Command;
  const started = performance.now();
  state.apply(state.index + 1, parsed);
  planNs += performance.now() - started;
}
report("plans of 1,000 placements", total, planNs);
const placed = measureMemory();
reportMemory("after placing", before, placed);

let reportMs = 0;
for (let done = 0; done < total; done += PLAN) {
  const parsed = JSON.parse(JSON.stringify(makeReport(done))) as Command;
  const started = performance.now();
  state.apply(state.index + 1, parsed);
  reportMs += performance.now() - started;
}
report("device reports (running, 1,000 an entry)", total, reportMs);
reportMemory("after reports with three task events each", before, measureMemory());

let started = performance.now();
const chunks = [...state.snapshot()];
const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
console.log(`snapshot: ${Math.round(performance.now() - started)} ms, ${(bytes / 1e6).toFixed(0)} MB`);
started = performance.now();
const copy = new State();
copy.restore(state.index, chunks);
console.log(`restore: ${Math.round(performance.now() - started)} ms (${copy.allocCount} allocations)`);
started = performance.now();
let walked = 0;
for (const alloc of state.allocsByJob("default", "job-0")) walked += alloc.CreateIndex > 0 ? 1 : 0;
console.log(
  `allocsByJob of ${walked}: ${
    ((performance.now() - started) * 1000).toFixed(0)
  } µs; ${touched} changes told`,
);

function makeNode(id: string, i: number): Node {
  const node = {
    ID: id,
    SecretID: id,
    Name: `node-${i}`,
    Datacenter: "dc1",
    NodePool: "default",
    Status: "ready",
    SchedulingEligibility: "eligible",
    Drain: false,
    Events: [],
    NodeResources: { Cpu: { CpuShares: 1e6 }, Memory: { MemoryMB: 1e6 }, Disk: { DiskMB: 1e7 } },
    ReservedResources: { Cpu: { CpuShares: 0 }, Memory: { MemoryMB: 0 }, Disk: { DiskMB: 0 } },
  };
  return node as unknown as Node;
}

function makeResources(port: number | null): AllocatedResources {
  const ports = port === null
    ? null
    : [{ Label: "http", Value: port, To: 0, HostIP: "192.0.2.1", IgnoreCollision: false }];
  return {
    Tasks: {
      t: {
        Cpu: { CpuShares: 100, ReservedCores: null },
        Memory: { MemoryMB: 64, MemoryMaxMB: 0 },
        Networks: null,
        Devices: null,
      },
    },
    TaskLifecycles: { t: null },
    Shared: { DiskMB: 300, Networks: null, Ports: ports },
  };
}

function makePlan(first: number): Command {
  const job = `job-${(first / PLAN) % JOBS}`;
  const resources = withPorts
    ? Array.from({ length: PLAN }, (_, i) => makeResources(20000 + (first + i) % 10000))
    : [makeResources(null)];
  const placements = Array.from({ length: PLAN }, (_, i) => {
    const id = systemRandom.uuid();
    ids.push(id);
    return {
      id,
      name: `${job}.g[${Math.floor(first / PLAN / JOBS) * PLAN + i}]`,
      group: "g",
      nodeId: nodeIds[(first + i) % NODES]!,
      job: 0,
      resources: withPorts ? i : 0,
      metrics: 0,
      deploymentId: "",
      canary: false,
      previous: "",
    };
  });
  return {
    kind: "plan",
    time: now += 1e6,
    plan: {
      evalId: systemRandom.uuid(),
      namespace: "default",
      jobId: job,
      jobs: [{ version: 0 }],
      resources,
      metrics: [],
      placements,
      stops: [],
      inPlace: [],
      preemptions: [],
      deployment: null,
      deploymentUpdates: [],
      evals: [],
    },
  };
}

function makeReport(first: number): Command {
  const event = (Type: string, DisplayMessage: string) => ({
    ...BLANK_EVENT,
    Type,
    Time: now,
    DisplayMessage,
  });
  return {
    kind: "alloc.client",
    time: now += 1e6,
    evals: [],
    updates: ids.slice(first, first + PLAN).map((ID) => ({
      ID,
      ClientStatus: "running" as const,
      ClientDescription: "Tasks are running",
      TaskStates: {
        t: {
          State: "running" as const,
          Failed: false,
          Restarts: 0,
          LastRestart: null,
          StartedAt: "2026-11-22T04:48:41.233985254Z",
          FinishedAt: null,
          Paused: "",
          Events: [
            event("Received", "Task received by client"),
            event("Task Setup", "Building Task Directory"),
            event("Started", "Task started by client"),
          ],
        },
      },
      DeploymentStatus: null,
      NetworkStatus: null,
    })),
  };
}

function measureMemory(): { rss: number; heap: number } {
  const collect = (globalThis as { gc?: () => void }).gc;
  collect?.();
  collect?.();
  const { rss, heapUsed } = process.memoryUsage();
  return { rss, heap: heapUsed };
}

function report(what: string, count: number, ms: number): void {
  console.log(
    `${what}: ${Math.round(count / ms * 1000).toLocaleString("en")}/s (${
      (ms / count * 1000).toFixed(2)
    } µs each)`,
  );
}

function reportMemory(
  what: string,
  from: { rss: number; heap: number },
  to: { rss: number; heap: number },
): void {
  const each = (bytes: number) => Math.round(bytes / total);
  console.log(
    `memory ${what}: ${each(to.heap - from.heap)} B heap, ${each(to.rss - from.rss)} B rss an allocation; ` +
      `rss ${Math.round(to.rss / 1e6)} MB`,
  );
}
