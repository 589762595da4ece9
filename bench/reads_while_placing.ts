// How long reads of the API take while the server places: a fixed number of requests a second, each sent when it is due
// whether or not earlier ones are answered, so that a standstill is seen by all who would have asked meanwhile.
import { type Api, smallJob } from "./api.ts";
import { ms, percentile, type Row } from "./measure.ts";
import { awaitState, simulated } from "./simulation.ts";

export interface ReadsOptions {
  nodes: number;
  jobs: number;
  perJob: number;
  readsPerSecond: number;
}

export function readsWhilePlacing({ nodes, jobs, perJob, readsPerSecond }: ReadsOptions): Promise<Row[]> {
  const total = (jobs * perJob).toLocaleString("en");
  const what = `API reads, ${readsPerSecond}/s, while ${total} allocations are placed on ${nodes} nodes`;
  const rows = [
    `${what}: p50`,
    "… p99",
    "… slowest",
    "… reads, placing took",
    "… CPU, peak memory",
    "… p99 by path",
  ];
  return simulated(rows, { nodes }, async (simulation) => {
    const { api } = simulation;
    const targets = await chooseTargets(api, jobs);
    // Each once before the clock starts: the compilers have seen them, as on a server that runs for a minute.
    for (const path of targets) await read(api, path);
    simulation.mark();
    const reader = new Reader(api, targets, readsPerSecond);
    const began = performance.now();
    for (let n = 0; n < jobs; n++) await api.put("/v1/jobs", smallJob(`place-${n}`, { count: perJob }));
    for (let n = 0; n < jobs; n++) {
      await awaitState(
        () => api.get<{ Summary: { g: { Running: number } } }>(`/v1/job/place-${n}/summary`),
        ({ Summary: { g } }) => g.Running === perJob,
        { timeoutMs: 600_000, pollMs: 50 },
      );
    }
    const seconds = (performance.now() - began) / 1000;
    const waitsMs = await reader.stop();
    const all = [...waitsMs.values()].flat();
    const slow = [...waitsMs].map(([path, waits]) => ({ path, p99: percentile(waits, 99) }));
    return [
      ms(percentile(all, 50)),
      ms(percentile(all, 99)),
      ms(percentile(all, 100)),
      `${all.length}, ${seconds.toFixed(1)} s`,
      simulation.cost().text,
      slow.sort((a, b) => b.p99 - a.p99).map(({ path, p99 }) => `${path} ${ms(p99)}`).join("; "),
    ];
  });
}

/** What operators and dashboards ask for; lists as long as they page them. A job of before gives names to ask for. */
async function chooseTargets(api: Api, jobs: number): Promise<string[]> {
  await api.put("/v1/jobs", smallJob("before", { count: 10 }));
  const allocs = await awaitState(
    () => api.get<{ ID: string; NodeID: string; ClientStatus: string }[]>("/v1/job/before/allocations"),
    (found) => found.length === 10 && found.every(({ ClientStatus }) => ClientStatus === "running"),
    { timeoutMs: 30_000 },
  );
  const { ID: alloc, NodeID: node } = allocs[0]!;
  return [
    "/v1/jobs",
    "/v1/job/before",
    "/v1/job/before/summary",
    `/v1/job/place-${jobs - 1}/summary`,
    "/v1/job/before/allocations",
    "/v1/job/before/evaluations",
    `/v1/allocation/${alloc}`,
    "/v1/allocations?per_page=100",
    "/v1/evaluations?per_page=100",
    "/v1/nodes?per_page=100",
    `/v1/node/${node}`,
    `/v1/node/${node}/allocations`,
    "/v1/status/leader",
    "/v1/metrics",
  ];
}

/** A job that is not registered yet is a 404: an answer like any other. */
async function read(api: Api, path: string): Promise<void> {
  await api.call("GET", path).catch((error: Error) => {
    if (!error.message.includes(": 404 ")) throw error;
  });
}

class Reader {
  #waitsMs = new Map<string, number[]>();
  #open = new Set<Promise<void>>();
  #stopped = false;
  #done: Promise<void>;

  constructor(private readonly api: Api, private readonly paths: readonly string[], perSecond: number) {
    for (const path of paths) this.#waitsMs.set(path, []);
    this.#done = this.#run(1000 / perSecond);
  }

  async #run(everyMs: number): Promise<void> {
    const began = performance.now();
    for (let n = 0; !this.#stopped; n++) {
      const dueMs = began + n * everyMs;
      const aheadMs = dueMs - performance.now();
      if (aheadMs > 0) await new Promise((resolve) => setTimeout(resolve, aheadMs));
      const path = this.paths[n % this.paths.length]!;
      const one: Promise<void> = this.#read(path).finally(() => this.#open.delete(one));
      this.#open.add(one);
    }
  }

  /** Timed from its sending: a late timer of this process is not the server's. */
  async #read(path: string): Promise<void> {
    const began = performance.now();
    await read(this.api, path);
    this.#waitsMs.get(path)!.push(performance.now() - began);
  }

  /** Milliseconds of every read, by path. */
  async stop(): Promise<Map<string, number[]>> {
    this.#stopped = true;
    await this.#done;
    await Promise.all(this.#open);
    return this.#waitsMs;
  }
}
