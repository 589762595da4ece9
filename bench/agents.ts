// What one agent costs and how quick it is: start, idle memory, submit → running, stop → terminal, memory a task,
// durable registrations and reads. Every figure of one row comes from the same run, flavour after flavour.
import { readdirSync, readFileSync } from "node:fs";
import { type AgentOptions, type Flavour, flavours, memoryOf, startAgent } from "./agent_process.ts";
import { Api, rate, smallJob } from "./api.ts";
import { median, megabytes, ms, percentile, perSecond, type Row } from "./measure.ts";

type Measured = Row[];

async function withAgent<T>(options: AgentOptions, run: (api: Api, pid: number) => Promise<T>): Promise<T> {
  const agent = await startAgent(options);
  const api = new Api(agent.address);
  try {
    return await run(api, agent.pid);
  } finally {
    api.close();
    await agent.end();
  }
}

/** One row per figure, one column per flavour. */
async function columns(what: string[], measure: (flavour: Flavour) => Promise<string[]>): Promise<Measured> {
  const rows: Row[] = what.map((name) => ({ what: name }));
  for (const flavour of flavours()) {
    const values = await measure(flavour);
    values.forEach((value, i) => rows[i]![flavour] = value);
  }
  return rows;
}

/** exec → API answers with a leader; exec → node ready. Median of five starts. */
export function start(): Promise<Measured> {
  return columns(["exec → leader", "exec → node ready"], async (flavour) => {
    const leader: number[] = [];
    const ready: number[] = [];
    for (let i = 0; i < 5; i++) {
      const agent = await startAgent({ flavour, durable: false, client: true });
      leader.push(agent.leaderMs);
      ready.push(agent.readyMs);
      await agent.end();
    }
    return [ms(median(leader)), ms(median(ready))];
  });
}

/** Resident memory of a dev agent 30 s after its start. */
export function idleMemory(): Promise<Measured> {
  return columns(
    ["idle dev agent, RSS after 30 s", "… private"],
    (flavour) =>
      withAgent({ flavour, durable: false, client: true }, async (_api, pid) => {
        await new Promise((resolve) => setTimeout(resolve, 30_000));
        const { rssMb, privateMb } = memoryOf(pid);
        return [megabytes(rssMb), megabytes(privateMb)];
      }),
  );
}

/** Follows the job's one allocation with blocking queries until `wanted` holds. */
async function awaitAlloc(api: Api, job: string, wanted: (status: string) => boolean): Promise<void> {
  let index = 0;
  for (;;) {
    const answer = await api.call("GET", `/v1/job/${job}/allocations?index=${index}&wait=10s`);
    const allocs = JSON.parse(answer.body) as { ClientStatus: string }[];
    if (allocs.length > 0 && allocs.every((alloc) => wanted(alloc.ClientStatus))) return;
    index = Math.max(answer.index, 1);
  }
}

/** Registration sent → allocation seen running through a blocking query; stop sent → seen terminal. */
export function latency(): Promise<Measured> {
  const names = [
    "submit → running p50",
    "submit → running p99",
    "stop → terminal p50",
    "stop → terminal p99",
  ];
  return columns(names, (flavour) =>
    withAgent({ flavour, durable: false, client: true }, async (api) => {
      const running: number[] = [];
      const stopped: number[] = [];
      const runs = flavour === "nomad" ? 15 : 100;
      for (let i = -3; i < runs; i++) {
        const id = `latency-${i + 3}`;
        let began = performance.now();
        await api.put("/v1/jobs", smallJob(id, {}));
        await awaitAlloc(api, id, (status) => status === "running");
        if (i >= 0) running.push(performance.now() - began);
        began = performance.now();
        await api.call("DELETE", `/v1/job/${id}`);
        await awaitAlloc(api, id, (status) => status === "complete" || status === "failed");
        if (i >= 0) stopped.push(performance.now() - began);
        await api.call("DELETE", `/v1/job/${id}?purge=true`);
      }
      return [median(running), percentile(running, 99), median(stopped), percentile(stopped, 99)].map(ms);
    }));
}

/** Private memory that running raw_exec tasks add, a task: in the agent's child processes, and in the agent itself. */
export function taskMemory(): Promise<Measured> {
  const names = ["per raw_exec task: helper processes, private", "… in the agent, private"];
  return columns(
    names,
    (flavour) =>
      withAgent({ flavour, durable: false, client: true }, async (api, pid) => {
        const count = flavour === "nomad" ? 10 : 150;
        await api.put("/v1/jobs", smallJob("warm", { count: 20, cpu: 1 }));
        await awaitAlloc(api, "warm", (status) => status === "running");
        await new Promise((resolve) => setTimeout(resolve, 3000));
        const before = memoryOf(pid).privateMb;
        const known = new Set(descendants(pid));
        await api.put("/v1/jobs", smallJob("tasks", { count, cpu: 1 }));
        await awaitAlloc(api, "tasks", (status) => status === "running");
        await new Promise((resolve) => setTimeout(resolve, 3000));
        const helpers = descendants(pid).filter((id) => !known.has(id) && commandName(id) !== "sleep");
        const helperMb = helpers.reduce((sum, id) => sum + memoryOf(id).privateMb, 0);
        const agentMb = memoryOf(pid).privateMb - before;
        return [megabytes(helperMb / count), megabytes(agentMb / count)];
      }),
  );
}

/** All processes below `root`, by their parents in /proc. */
function descendants(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const parent = parentOf(Number(name));
    if (parent !== undefined) children.set(parent, [...children.get(parent) ?? [], Number(name)]);
  }
  const found: number[] = [];
  for (const queue = [root]; queue.length > 0;) {
    const below = children.get(queue.pop()!) ?? [];
    found.push(...below);
    queue.push(...below);
  }
  return found;
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ")[1]);
  } catch (gone) {
    void gone;
    return undefined;
  }
}

const commandName = (pid: number) => readFileSync(`/proc/${pid}/comm`, "utf8").trim();

/**
 * Job registrations per second that are on disk when they are acknowledged. The flavours take turns, three rounds, and
 * the median counts: a shared disk is too moody for one look.
 */
export async function registrations(): Promise<Measured> {
  const seen = new Map<Flavour, { one: number[]; many: number[] }>();
  for (let round = 0; round < 3; round++) {
    for (const flavour of flavours()) {
      const samples = seen.get(flavour) ?? { one: [], many: [] };
      seen.set(flavour, samples);
      await withAgent({ flavour, durable: true, client: false }, async (api) => {
        const register = (prefix: string) => (n: number) =>
          api.put("/v1/jobs", smallJob(`${prefix}-${n}`, {}));
        // Long enough for both compilers of a JavaScript engine to have settled: the steady state is measured.
        await rate(8, 2000, register("warm"));
        samples.one.push(await rate(1, 1000, register("one")));
        samples.many.push(await rate(32, 3000, register("many")));
      });
    }
  }
  const rows: Row[] = [{ what: "durable registrations/s, 1 caller" }, { what: "… 32 callers" }];
  for (const [flavour, { one, many }] of seen) {
    rows[0]![flavour] = perSecond(median(one));
    rows[1]![flavour] = perSecond(median(many));
  }
  return rows;
}

/** Reads per second with 200 jobs: the list, and one job. */
export function reads(): Promise<Measured> {
  const names = ["GET 200 jobs, 1 caller", "… 32 callers", "GET one job, 1 caller", "… 32 callers"];
  return columns(names, (flavour) =>
    withAgent({ flavour, durable: false, client: false }, async (api) => {
      for (let n = 0; n < 200; n++) await api.put("/v1/jobs", smallJob(`job-${n}`, {}));
      const list = () => api.call("GET", "/v1/jobs");
      const one = (n: number) => api.call("GET", `/v1/job/job-${n % 200}`);
      await rate(8, 200, list);
      const figures = [
        await rate(1, 500, list),
        await rate(32, 1500, list),
        await rate(1, 1000, one),
        await rate(32, 4000, one),
      ];
      return figures.map(perSecond);
    }));
}
