// Jobs a second: registrations of one allocation each from many callers, and how long each takes from its submission to
// its placement, as the event stream tells it. The stream is read by one reader beside the callers.
import { type ClientRequest, request } from "node:http";
import process from "node:process";
import { type Api, smallJob } from "./api.ts";
import { Caller } from "./caller.ts";
import { ms, percentile, perSecond, type Row } from "./measure.ts";
import { awaitState, simulated } from "./simulation.ts";

export interface JobRateOptions {
  nodes: number;
  jobs: number;
  callers: number;
}

export function jobRate({ nodes, jobs, callers }: JobRateOptions): Promise<Row[]> {
  const what = `${jobs.toLocaleString("en")} jobs of one allocation, ${callers} callers, ${nodes} nodes`;
  const rows = [
    `${what}: placed`,
    "… submit → placed p50",
    "… p99",
    "… all running after",
    "… CPU, peak memory",
  ];
  return simulated(rows, { nodes }, async (simulation) => {
    const { api } = simulation;
    await run(api, "warm", Math.ceil(jobs / 5), callers);
    simulation.mark();
    const ownBefore = process.cpuUsage();
    const { seconds, waitsMs, runningSeconds } = await run(api, "job", jobs, callers);
    const own = process.cpuUsage(ownBefore);
    return [
      perSecond(jobs / seconds),
      ms(percentile(waitsMs, 50)),
      ms(percentile(waitsMs, 99)),
      `${runningSeconds.toFixed(2)} s`,
      `${simulation.cost().text}; callers ${((own.user + own.system) / 1e6).toFixed(2)} s CPU`,
    ];
  });
}

/** Registers `jobs` jobs named `prefix-N`; resolves when all are placed and running. */
async function run(
  api: Api,
  prefix: string,
  jobs: number,
  callers: number,
): Promise<{ seconds: number; waitsMs: number[]; runningSeconds: number }> {
  const submitted = new Map<string, number>();
  const placed = new Map<string, number>();
  const stream = await followPlacements(api.address, (jobId, atMs) => {
    if (!placed.has(jobId)) placed.set(jobId, atMs);
  });
  const bodies = Array.from({ length: jobs }, (_, n) => JSON.stringify(smallJob(`${prefix}-${n}`, {})));
  const connections = await Promise.all(Array.from({ length: callers }, () => Caller.open(api.address)));
  const began = performance.now();
  let next = 0;
  await Promise.all(connections.map(async (caller) => {
    while (next < jobs) {
      const n = next++;
      submitted.set(`${prefix}-${n}`, performance.now());
      const { status, body } = await caller.call("PUT", "/v1/jobs", bodies[n]);
      if (status !== 200) throw new Error(`registration ${n}: ${status} ${body}`);
    }
    caller.close();
  }));
  const countPlaced = () => [...submitted.keys()].filter((id) => placed.has(id)).length;
  await awaitState(() => Promise.resolve(countPlaced()), (count) => count === jobs, {
    timeoutMs: 120_000,
    pollMs: 20,
  });
  stream.destroy();
  const last = Math.max(...[...submitted.keys()].map((id) => placed.get(id)!));
  const waitsMs = [...submitted].map(([id, at]) => placed.get(id)! - at);
  // The devices' answers come after the placements: the slowest job's summary tells when all of them run.
  for (let n = 0; n < jobs; n += Math.ceil(jobs / 20)) await awaitRunning(api, `${prefix}-${n}`);
  await awaitRunning(api, `${prefix}-${jobs - 1}`);
  return { seconds: (last - began) / 1000, waitsMs, runningSeconds: (performance.now() - began) / 1000 };
}

async function awaitRunning(api: Api, id: string): Promise<void> {
  await awaitState(
    () => api.get<{ Summary: { g: { Running: number } } }>(`/v1/job/${id}/summary`),
    ({ Summary: { g } }) => g.Running === 1,
    { timeoutMs: 60_000 },
  );
}

/** Calls `onPlaced` for each allocation that a plan made, as the event stream brings it. */
function followPlacements(
  address: string,
  onPlaced: (jobId: string, atMs: number) => void,
): Promise<ClientRequest> {
  return new Promise((resolve, reject) => {
    const sent = request(`${address}/v1/event/stream?topic=Evaluation`, (response) => {
      let rest = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        const atMs = performance.now();
        const lines = (rest + text).split("\n");
        rest = lines.pop()!;
        for (const line of lines) for (const id of placedJobs(line)) onPlaced(id, atMs);
      });
      response.on("error", () => undefined);
      resolve(sent);
    });
    sent.on("error", reject);
    sent.end();
  });
}

interface EventLine {
  Events?: {
    Payload: { Evaluation: { JobID: string; Status: string; QueuedAllocations?: Record<string, number> } };
  }[];
}

/** Jobs whose evaluation is complete with nothing left in the queue. */
function placedJobs(line: string): string[] {
  if (line.length < 3) return [];
  return ((JSON.parse(line) as EventLine).Events ?? []).flatMap(({ Payload: { Evaluation: evaluation } }) =>
    evaluation.Status === "complete" ? [evaluation.JobID] : []
  );
}
