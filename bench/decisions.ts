// What deciding costs: the time that a real server's scheduler takes for its placements (the server's own samples of its
// scheduling runs, as /v1/metrics tells them), with all that surrounds it running: log, apply, devices and reports.
import { type Api, smallJob } from "./api.ts";
import { perSecond, type Row } from "./measure.ts";
import { awaitState, type Cost, simulated, type Simulation } from "./simulation.ts";

type JobBody = { Job: Record<string, unknown> };

interface Kind {
  name: string;
  jobOf(id: string, count: number): JobBody;
}

const PLAIN: Kind = { name: "service", jobOf: (id, count) => smallJob(id, { count }) };

/** Everything at once that makes a decision dear. */
const DEMANDING: Kind = {
  name: "service, spread on 50 racks + affinity + 3 constraints + 2 dynamic ports",
  jobOf(id, count) {
    const { Job } = smallJob(id, { count });
    const [group] = Job["TaskGroups"] as Record<string, unknown>[];
    return {
      Job: {
        ...Job,
        Constraints: [
          { LTarget: "${attr.kernel.name}", RTarget: "linux", Operand: "=" },
          { LTarget: "${attr.cpu.arch}", RTarget: "amd64", Operand: "=" },
          { LTarget: "${meta.rack}", RTarget: "^r\\d+$", Operand: "regexp" },
        ],
        Affinities: [{ LTarget: "${meta.ssd}", RTarget: "true", Operand: "=", Weight: 50 }],
        Spreads: [{ Attribute: "${meta.rack}", Weight: 100 }],
        TaskGroups: [{
          ...group,
          Networks: [{ Mode: "host", DynamicPorts: [{ Label: "http" }, { Label: "rpc" }] }],
        }],
      },
    };
  },
};

const WARM_JOBS = 10;
const JOBS = 20;
const PER_JOB = 1000;

interface Decided {
  placed: number;
  schedulerSeconds: number;
  seconds: number;
  cost: Cost;
}

/** Places 10 × 1,000 to warm up and 20 × 1,000 under the clock. */
async function decide(simulation: Simulation, kind: Kind): Promise<Decided> {
  const { api } = simulation;
  await place(api, kind, "warm", WARM_JOBS);
  const before = await schedulerMs(api);
  simulation.mark();
  const began = performance.now();
  await place(api, kind, "job", JOBS);
  return {
    placed: JOBS * PER_JOB,
    seconds: (performance.now() - began) / 1000,
    schedulerSeconds: (await schedulerMs(api) - before) / 1000,
    cost: simulation.cost(),
  };
}

async function place(api: Api, { jobOf }: Kind, prefix: string, jobs: number): Promise<void> {
  for (let n = 0; n < jobs; n++) await api.put("/v1/jobs", jobOf(`${prefix}-${n}`, PER_JOB));
  for (let n = 0; n < jobs; n++) {
    await awaitState(
      () => api.get<{ Summary: { g: { Running: number } } }>(`/v1/job/${prefix}-${n}/summary`),
      ({ Summary: { g } }) => g.Running === PER_JOB,
      { timeoutMs: 120_000 },
    );
  }
}

/** Milliseconds in the scheduler of service jobs since the server's start. */
async function schedulerMs(api: Api): Promise<number> {
  const { Samples } = await api.get<{ Samples: { Name: string; Sum: number }[] }>("/v1/metrics");
  return Samples.find(({ Name }) => Name === "nomad.nomad.worker.invoke_scheduler_service")?.Sum ?? NaN;
}

export function decisions(nodes: number, demanding: boolean): Promise<Row[]> {
  const kind = demanding ? DEMANDING : PLAIN;
  const what = `placement decisions alone, ${nodes} nodes, ${kind.name}`;
  return simulated([what, "… all running", "… CPU, peak memory"], { nodes }, async (simulation) => {
    const { placed, schedulerSeconds, seconds: took, cost } = await decide(simulation, kind);
    return [perSecond(placed / schedulerSeconds), perSecond(placed / took), cost.text];
  });
}

/**
 * The same from few nodes to many: what one decision costs may not depend on them much. The server's whole CPU grows with
 * the messages, too: the same allocations go to more devices, one or two to each instead of hundreds.
 */
export async function growth(sizes: readonly number[]): Promise<Row[]> {
  const rows: Row[] = [];
  const costs: { decideUs: number; cpuUs: number }[][] = [];
  for (const nodes of sizes) {
    const ofSize: { decideUs: number; cpuUs: number }[] = [];
    const what = `one placement on ${nodes.toLocaleString("en")} nodes: decision, server CPU until running`;
    rows.push(
      ...await simulated([what, "… CPU, peak memory"], { nodes }, async (simulation) => {
        const { placed, schedulerSeconds, cost } = await decide(simulation, PLAIN);
        const one = { decideUs: schedulerSeconds / placed * 1e6, cpuUs: cost.serverCpu / placed * 1e6 };
        ofSize.push(one);
        return [`${one.decideUs.toFixed(1)} µs, ${one.cpuUs.toFixed(0)} µs`, cost.text];
      }),
    );
    costs.push(ofSize);
  }
  const columns = Object.keys(rows[0]!).filter((column) => column !== "what" && column !== "nomad");
  const grown: Row = { what: `… from ${sizes[0]} to ${sizes.at(-1)} nodes the decision grows` };
  for (const [i, column] of columns.entries()) {
    grown[column] = `${(costs.at(-1)![i]!.decideUs / costs[0]![i]!.decideUs).toFixed(2)} ×`;
  }
  return [...rows, grown];
}
