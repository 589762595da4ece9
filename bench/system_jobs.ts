// A system job onto every simulated node: until all its allocations are placed, and until all of them run.
import { type Api, smallJob } from "./api.ts";
import type { Row } from "./measure.ts";
import { seconds } from "./measure.ts";
import { awaitState, simulated } from "./simulation.ts";

interface Counts {
  Summary: { g: { Queued: number; Starting: number; Running: number } };
}

/** Cold, as an operator meets it: the first job that the cluster sees. */
export function systemJob(nodes: number): Promise<Row[]> {
  const what = `a system job on ${nodes.toLocaleString("en")} nodes`;
  return simulated([`${what}: placed`, "… running", "… CPU, peak memory"], { nodes }, async (simulation) => {
    const { api } = simulation;
    const isOurs = await simulation.counters() !== null;
    const count = isOurs ? nodes : await readyNodes(api);
    const began = performance.now();
    const since = () => seconds((performance.now() - began) / 1000);
    await api.put("/v1/jobs", smallJob("everywhere", { type: "system" }));
    let placed = "";
    await awaitState(
      () => api.get<Counts>("/v1/job/everywhere/summary"),
      ({ Summary: { g } }) => {
        if (placed === "" && g.Starting + g.Running === count) placed = since();
        return g.Running === count;
      },
      { timeoutMs: 120_000, pollMs: 10 },
    );
    return [placed, since(), simulation.cost().text];
  });
}

async function readyNodes(api: Api): Promise<number> {
  const all = await api.get<{ Status: string }[]>("/v1/nodes");
  return all.filter(({ Status }) => Status === "ready").length;
}
