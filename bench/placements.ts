// Placing allocations into simulated nodes: the clock starts with the first registration and stops when every allocation
// has travelled to its device and `running` has come back into the API.
import type { Api } from "./api.ts";
import { smallJob } from "./api.ts";
import { perSecond, type Row, seconds } from "./measure.ts";
import { awaitState, simulated, type SimulationOptions } from "./simulation.ts";

export interface PlacementsOptions extends SimulationOptions {
  jobs: number;
  perJob: number;
  type: "service" | "batch";
  /** Service jobs get deployments, and the clock stops when all of these are successful. */
  deployments?: boolean;
}

interface Summary {
  Summary: { g: { Queued: number; Starting: number; Running: number } };
}

/** How long the slowest case may take. */
const TIMEOUT_MS = 600_000;

/** `jobs` × `perJob` allocations of `type` on `nodes` nodes. */
export function placements(options: PlacementsOptions): Promise<Row[]> {
  const { nodes, jobs, perJob, type, timeline = "instant", deployments = false } = options;
  const total = jobs * perJob;
  const what = `${total.toLocaleString("en")} ${type} allocations (${jobs} jobs) on ${nodes} nodes` +
    (timeline === "nomad" ? ", Nomad's timeline" : "");
  const end = deployments ? "all deployments successful" : "all running";
  return simulated([`${what}: ${end}`, "… CPU, peak memory"], options, async (simulation) => {
    const { api } = simulation;
    const began = performance.now();
    await placeAll(api, options);
    const took = (performance.now() - began) / 1000;
    return [`${seconds(took)} (${perSecond(total / took)})`, simulation.cost().text];
  });
}

/** Registers the jobs and waits until everything runs. */
export async function placeAll(api: Api, options: PlacementsOptions): Promise<void> {
  for (let n = 0; n < options.jobs; n++) await api.put("/v1/jobs", jobOf(n, options));
  await awaitAll(api, options);
}

function jobOf(
  n: number,
  { perJob, type, deployments }: PlacementsOptions,
): { Job: Record<string, unknown> } {
  const body = smallJob(jobId(n), { count: perJob, type });
  if (!deployments) return body;
  return { Job: { ...body.Job, Update: UPDATE } };
}

const jobId = (n: number) => `place-${n}`;

/** Healthy as soon as the tasks run, as the simulated devices report it. */
const UPDATE = {
  MaxParallel: 100,
  HealthCheck: "task_states",
  MinHealthyTime: 1e6,
  HealthyDeadline: 300e9,
  ProgressDeadline: 600e9,
};

async function awaitAll(api: Api, { jobs, perJob, deployments }: PlacementsOptions): Promise<void> {
  for (let n = 0; n < jobs; n++) {
    await awaitState(
      () => api.get<Summary>(`/v1/job/${jobId(n)}/summary`),
      ({ Summary: { g } }) => g.Running === perJob,
      { timeoutMs: TIMEOUT_MS },
    );
  }
  for (let n = 0; deployments && n < jobs; n++) {
    await awaitState(
      () => api.get<{ Status: string } | null>(`/v1/job/${jobId(n)}/deployment`),
      (deployment) => deployment?.Status === "successful",
      { timeoutMs: TIMEOUT_MS },
    );
  }
}
