// Placing allocations into simulated nodes: a real durable server in one process, simulated devices that speak the
// real device protocol in another. The clock stops when every allocation has travelled to its device and `running`
// has come back into the API.
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { commandOf, cpuSecondsOf, type Flavour, memoryOf, root, startAgent } from "./agent_process.ts";
import { Api, smallJob } from "./api.ts";
import { megabytes, perSecond, type Row } from "./measure.ts";

interface Simulation {
  process: ChildProcess;
  counters(): Promise<{ running: number; cpuSeconds: number; rssMb: number }>;
}

/** Starts `count` simulated devices under the same runtime as the server; resolves when all are registered. */
export async function startDevices(flavour: Flavour, rpcAddress: string, count: number): Promise<Simulation> {
  const [command, ...args] = commandOf(flavour);
  const script = [...args.slice(0, -1), join(root, "bench", "devices.ts")];
  const child = spawn(command!, [...script, "--servers", rpcAddress, "--count", String(count)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  await lines.next();
  return {
    process: child,
    async counters() {
      child.stdin!.write("\n");
      return JSON.parse((await lines.next()).value as string);
    },
  };
}

/** `jobs` × `perJob` allocations of `type` on `nodes` nodes. */
export async function placements(
  options: { nodes: number; jobs: number; perJob: number; type: "service" | "batch" },
): Promise<Row[]> {
  const total = options.jobs * options.perJob;
  const what = `${total.toLocaleString("en")} ${options.type} allocations on ${options.nodes} nodes`;
  const rows: Row[] = [{ what: `${what}: all running, per second` }, { what: "… server CPU, peak RSS" }];
  for (const flavour of ["deno", "bun"] as const) {
    const agent = await startAgent({ flavour, durable: true, client: false });
    const devices = await startDevices(flavour, agent.rpcAddress, options.nodes);
    const api = new Api(agent.address);
    const cpuBefore = cpuSecondsOf(agent.pid);
    const began = performance.now();
    for (let n = 0; n < options.jobs; n++) {
      await api.put("/v1/jobs", smallJob(`place-${n}`, { count: options.perJob, type: options.type }));
    }
    for (let n = 0; n < options.jobs; n++) {
      for (;;) {
        const summary = await api.get<{ Summary: { g: { Running: number } } }>(`/v1/job/place-${n}/summary`);
        if (summary.Summary.g.Running === options.perJob) break;
        if (performance.now() - began > 120_000) {
          throw new Error(`place-${n}: ${JSON.stringify(summary)} after 120 s`);
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    const seconds = (performance.now() - began) / 1000;
    rows[0]![flavour] = `${perSecond(total / seconds)} (${seconds.toFixed(2)} s)`;
    rows[1]![flavour] = `${(cpuSecondsOf(agent.pid) - cpuBefore).toFixed(1)} s, ${
      megabytes(memoryOf(agent.pid).rssMb)
    }`;
    devices.process.stdin!.end();
    await new Promise((resolve) => devices.process.once("exit", resolve));
    api.close();
    await agent.end();
  }
  return rows;
}
