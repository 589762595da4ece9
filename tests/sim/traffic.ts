// Everyday use of the cluster through its HTTP API: jobs are registered, changed, scaled, stopped and evaluated, nodes
// drained, allocations stopped, deployments promoted and failed, lists read. Nobody checks the answers here: what the
// cluster made of it is what checkers look at.
import { drawJob, JOB_IDS, type JobKind, SCALE_MAX } from "./job_model.ts";
import type { Answer, Call } from "./network.ts";
import type { SimRandom } from "./random.ts";

export interface TrafficHost {
  random: SimRandom;
  call(call: Call): Promise<Answer>;
  nodes(): string[];
}

type Action = (host: TrafficHost, stamp: string) => Promise<void>;

const KINDS: readonly JobKind[] = [
  "service",
  "service",
  "service",
  "service",
  "batch",
  "batch",
  "system",
  "sysbatch",
];
const IDS = Object.values(JOB_IDS).flat();

export async function useCluster(host: TrafficHost, stamp: string): Promise<void> {
  let dice = host.random.float() * WEIGHTS;
  const [, action] = ACTIONS.find(([weight]) => (dice -= weight) < 0) ?? ACTIONS[0]!;
  await action(host, stamp);
}

const ACTIONS: readonly (readonly [number, Action])[] = [
  [30, registerJob],
  [10, scaleJob],
  [6, stopJob],
  [8, (host) => put(host, `/v1/job/${host.random.pick(IDS)}/evaluate`, null)],
  [4, drainNode],
  [4, setEligibility],
  [6, stopAllocation],
  [6, actOnDeployment],
  [3, (host) => put(host, "/v1/system/gc", null)],
  [2, (host) => put(host, "/v1/system/reconcile/summaries", null)],
  [3, setAlgorithm],
  [10, readList],
];
const WEIGHTS = ACTIONS.reduce((sum, [weight]) => sum + weight, 0);

async function put(host: TrafficHost, path: string, body: unknown): Promise<void> {
  await host.call({ method: "PUT", path, body: body === null ? null : JSON.stringify(body) });
}

async function registerJob(host: TrafficHost, stamp: string): Promise<void> {
  await put(host, "/v1/jobs", { Job: drawJob(host.random, host.random.pick(KINDS), stamp) });
}

async function scaleJob(host: TrafficHost): Promise<void> {
  const { random } = host;
  const id = random.pick(JOB_IDS.service);
  await put(host, `/v1/job/${id}/scale`, {
    Target: { Group: "g" },
    Count: random.int(SCALE_MAX + 1),
    Message: "simulated",
  });
}

async function stopJob(host: TrafficHost): Promise<void> {
  const { random } = host;
  const purge = random.chance(0.3) ? "?purge=true" : "";
  await host.call({ method: "DELETE", path: `/v1/job/${random.pick(IDS)}${purge}` });
}

async function drainNode(host: TrafficHost): Promise<void> {
  const { random } = host;
  const id = random.pick(host.nodes());
  const on = random.chance(0.5);
  const deadline = random.pick([-1e9, 5e9, 60e9]);
  await put(host, `/v1/node/${id}/drain`, {
    NodeID: id,
    DrainSpec: on ? { Deadline: deadline, IgnoreSystemJobs: random.chance(0.5) } : null,
    MarkEligible: !on,
  });
}

async function setEligibility(host: TrafficHost): Promise<void> {
  const id = host.random.pick(host.nodes());
  const Eligibility = host.random.chance(0.3) ? "ineligible" : "eligible";
  await put(host, `/v1/node/${id}/eligibility`, { NodeID: id, Eligibility });
}

async function list<T>(host: TrafficHost, path: string): Promise<T[]> {
  const { status, text } = await host.call({ method: "GET", path });
  return status === 200 ? JSON.parse(text) as T[] : [];
}

async function stopAllocation(host: TrafficHost): Promise<void> {
  const id = host.random.pick(IDS);
  const allocs = await list<{ ID: string; DesiredStatus: string }>(host, `/v1/job/${id}/allocations`);
  const alive = allocs.filter((alloc) => alloc.DesiredStatus === "run");
  if (alive.length > 0) await put(host, `/v1/allocation/${host.random.pick(alive).ID}/stop`, null);
}

async function actOnDeployment(host: TrafficHost): Promise<void> {
  const { random } = host;
  const found = await list<{ ID: string; Status: string }>(host, "/v1/deployments");
  const running = found.filter(({ Status }) => Status === "running" || Status === "paused");
  if (running.length === 0) return;
  const { ID } = random.pick(running);
  const action = random.pick(["promote", "fail", "pause", "pause"]);
  const body = action === "promote"
    ? { DeploymentID: ID, All: true }
    : action === "pause"
    ? { DeploymentID: ID, Pause: random.chance(0.4) }
    : null;
  await put(host, `/v1/deployment/${action}/${ID}`, body);
}

async function setAlgorithm(host: TrafficHost): Promise<void> {
  const { random } = host;
  await put(host, "/v1/operator/scheduler/configuration", {
    SchedulerAlgorithm: random.pick(["binpack", "spread"]),
    PreemptionConfig: {
      SystemSchedulerEnabled: true,
      ServiceSchedulerEnabled: random.chance(0.5),
      BatchSchedulerEnabled: random.chance(0.5),
    },
  });
}

async function readList(host: TrafficHost): Promise<void> {
  const path = host.random.pick(["/v1/jobs", "/v1/nodes", "/v1/allocations", "/v1/evaluations"]);
  await list(host, host.random.chance(0.5) ? `${path}?stale` : path);
}
