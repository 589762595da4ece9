// A cluster to place into: one real, durable server process and thousands of simulated devices (devices.ts) in another,
// both under the runtime that is measured. With BENCH_ADDRESS (`-address URL`) the jobs go to whatever cluster answers
// there, with the nodes that it has; its processes are not ours, so their CPU and memory are not told.
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { join } from "node:path";
import process from "node:process";
import {
  type AgentProcess,
  commandOf,
  cpuSecondsOf,
  type Flavour,
  flavours,
  root,
  startAgent,
} from "./agent_process.ts";
import { Api } from "./api.ts";
import { megabytes, type Row, seconds } from "./measure.ts";

export interface SimulationOptions {
  nodes: number;
  /** See devices.ts; "instant" by default. */
  timeline?: "instant" | "nomad";
  /** More server configuration, as HCL. */
  config?: string;
}

/** What devices have counted since their start (devices.ts). */
export interface DeviceCounters {
  ready: number;
  assigned: number;
  running: number;
  healthy: number;
  stopped: number;
  messages: number;
  lost: number;
}

export interface Simulation {
  api: Api;
  /** What the server and the devices have spent since `mark`, for a row of the table. */
  cost(): Cost;
  /** From here on CPU is counted. */
  mark(): void;
  /** Null where the devices are not ours. */
  counters(): Promise<DeviceCounters | null>;
}

export interface Cost {
  serverCpu: number;
  devicesCpu: number;
  text: string;
}

/** Where `-address` points: any compatible server. */
export const externalAddress = () => process.env["BENCH_ADDRESS"] ?? "";

/**
 * Runs `measure` once a flavour, each time in a new cluster; its texts become one row each. The reference cannot be
 * given simulated devices: they speak our device protocol. With `-address` it is measured with its own nodes.
 */
export async function simulated(
  what: readonly string[],
  options: SimulationOptions,
  measure: (simulation: Simulation) => Promise<string[]>,
): Promise<Row[]> {
  const rows: Row[] = what.map((name) => ({ what: name }));
  const fill = (column: string, values: string[]) => values.forEach((value, i) => rows[i]![column] = value);
  if (externalAddress()) {
    fill(externalAddress(), await measureExternal(measure));
    return rows;
  }
  for (const flavour of flavours()) {
    if (flavour === "nomad") {
      fill(
        flavour,
        what.map((_, i) => i === 0 ? "our devices speak to ours only" : ""),
      );
    } else fill(flavour, await withSimulation(flavour, options, measure));
  }
  return rows;
}

async function measureExternal<T>(measure: (simulation: Simulation) => Promise<T>): Promise<T> {
  const api = new Api(externalAddress());
  const cost = { serverCpu: NaN, devicesCpu: NaN, text: "not ours" };
  try {
    return await measure({
      api,
      cost: () => cost,
      mark: () => undefined,
      counters: () => Promise.resolve(null),
    });
  } finally {
    api.close();
  }
}

export async function withSimulation<T>(
  flavour: "deno" | "bun",
  options: SimulationOptions,
  run: (simulation: Simulation & { agent: AgentProcess }) => Promise<T>,
): Promise<T> {
  const agent = await startAgent({
    flavour,
    durable: true,
    client: false,
    ...(options.config === undefined ? {} : { config: options.config }),
  });
  const devices = await startDevices(flavour, agent.rpcAddress, options).catch(async (error) => {
    await agent.end();
    throw error;
  });
  const api = new Api(agent.address);
  let before = { server: 0, devices: 0 };
  const now = () => ({ server: cpuSecondsOf(agent.pid), devices: cpuSecondsOf(devices.pid) });
  const simulation: Simulation & { agent: AgentProcess } = {
    agent,
    api,
    mark: () => before = now(),
    cost() {
      const spent = now();
      const serverCpu = spent.server - before.server;
      const devicesCpu = spent.devices - before.devices;
      return {
        serverCpu,
        devicesCpu,
        text: `server ${seconds(serverCpu)} CPU, ${peakOf(agent.pid)}; ` +
          `devices ${seconds(devicesCpu)} CPU, ${peakOf(devices.pid)}`,
      };
    },
    counters: () => devices.counters(),
  };
  simulation.mark();
  try {
    return await run(simulation);
  } finally {
    await devices.end();
    api.close();
    await agent.end();
  }
}

/** The most memory that the process ever had resident. */
export function peakOf(pid: number): string {
  const kb = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
  return megabytes(Number(kb) / 1024);
}

interface DevicesProcess {
  pid: number;
  counters(): Promise<DeviceCounters>;
  end(): Promise<void>;
}

/** Starts the devices under the same runtime as the server; resolves when all are registered. */
async function startDevices(
  flavour: Flavour,
  rpcAddress: string,
  { nodes, timeline = "instant" }: SimulationOptions,
): Promise<DevicesProcess> {
  const [command, ...args] = commandOf(flavour);
  const script = [...args.slice(0, -1), join(root, "bench", "devices.ts")];
  const flags = ["--servers", rpcAddress, "--count", String(nodes), "--timeline", timeline];
  const child: ChildProcess = spawn(command!, [...script, ...flags], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const line = async () => {
    const { value, done } = await lines.next() as IteratorResult<string>;
    if (done) throw new Error("the simulated devices ended");
    return value;
  };
  await line();
  return {
    pid: child.pid!,
    async counters() {
      child.stdin!.write("\n");
      return JSON.parse(await line()) as DeviceCounters;
    },
    async end() {
      if (child.exitCode !== null) return;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.stdin!.end();
      await ended;
    },
  };
}

/** Asks until `done`; throws with what was last seen after `timeoutMs`. */
export async function awaitState<T>(
  look: () => Promise<T>,
  done: (seen: T) => boolean,
  { timeoutMs, pollMs = 20 }: { timeoutMs: number; pollMs?: number },
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const seen = await look();
    if (done(seen)) return seen;
    if (performance.now() > end) {
      throw new Error(`not reached in ${timeoutMs / 1000} s: ${JSON.stringify(seen).slice(0, 500)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
