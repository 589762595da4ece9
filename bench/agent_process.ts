// Agents as separate processes, to be measured from outside: ours under Deno and under Bun, and the reference binary
// when NOMAD_BIN names one. Ports come from the system; every process is ended by its id.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

export type Flavour = "deno" | "bun" | "nomad";

export interface AgentOptions {
  flavour: Flavour;
  /** True: libsql on disk; false: -dev, everything in memory. */
  durable: boolean;
  /** Also run the device side. */
  client: boolean;
  /** More configuration, as HCL. */
  config?: string;
}

export interface AgentProcess {
  address: string;
  rpcAddress: string;
  pid: number;
  startedAt: number;
  /** Kills it with -9 and starts it again on its data; the time from exec to a consistent read, in ms. */
  restart(): Promise<number>;
  /** Stops it in order (tasks of a dev agent end too) and removes its data. */
  end(): Promise<void>;
}

/** Which flavours are measured: the reference only where NOMAD_BIN is set; BENCH_FLAVOURS=deno,bun narrows it. */
export function flavours(): Flavour[] {
  const chosen = process.env["BENCH_FLAVOURS"];
  if (chosen) return chosen.split(",") as Flavour[];
  return process.env["NOMAD_BIN"] ? ["deno", "bun", "nomad"] : ["deno", "bun"];
}

/** BENCH_PROFILE=DIR: agents of ours leave CPU profiles there, which any browser's developer tools read. */
function profileFlags(): string[] {
  const dir = process.env["BENCH_PROFILE"];
  return dir ? ["--cpu-prof", `--cpu-prof-dir=${dir}`] : [];
}

/** The runtime's command for mod.ts: the pinned one if it is set up, else the one on PATH. */
export function commandOf(flavour: Flavour, flags: readonly string[] = []): string[] {
  if (flavour === "nomad") return [process.env["NOMAD_BIN"]!];
  const entry = join(root, "mod.ts");
  const tool = join(root, ".tools", "node_modules", ".bin", flavour);
  let command: string = flavour;
  try {
    readFileSync(tool);
    command = tool;
  } catch (missing) {
    void missing;
  }
  return flavour === "deno"
    ? [command, "run", "-A", "--no-check", ...flags, entry]
    : [command, ...flags, entry];
}

/** `count` ports that are free now. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () =>
      new Promise<ReturnType<typeof createServer>>((resolve) => {
        const server = createServer();
        server.listen(0, "127.0.0.1", () => resolve(server));
      })),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** Starts an agent; resolves when its API names a leader and, with a client, its node is ready. */
export async function startAgent(
  options: AgentOptions,
): Promise<AgentProcess & { readyMs: number; leaderMs: number }> {
  const [http, rpc, serf] = await freePorts(3) as [number, number, number];
  const data = mkdtempSync(join(tmpdir(), "bench-agent-"));
  const file = join(data, "agent.hcl");
  writeFileSync(
    file,
    `bind_addr = "127.0.0.1"
ports {
  http = ${http}
  rpc  = ${rpc}
  serf = ${serf}
}
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}
log_level = "ERROR"
${options.durable ? `data_dir = "${data}/data"` : ""}
server {
  enabled          = true
  bootstrap_expect = 1
}
client {
  enabled = ${options.client}
  options {
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
  }
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
${options.config ?? ""}
`,
  );
  const [command, ...args] = commandOf(options.flavour, profileFlags());
  const flags = ["agent", ...(options.durable ? [] : ["-dev"]), "-config", file];
  const launch = () => spawn(command!, [...args, ...flags], { stdio: "ignore", cwd: data });
  const startedAt = performance.now();
  let child = launch();
  const address = `http://127.0.0.1:${http}`;
  const leaderMs = await until(
    child,
    async () => (await getJson(`${address}/v1/status/leader`)) !== "",
    startedAt,
  );
  let readyMs = leaderMs;
  if (options.client) {
    readyMs = await until(child, async () => {
      const nodes = await getJson(`${address}/v1/nodes`) as { Status: string }[];
      return nodes.some((node) => node.Status === "ready");
    }, startedAt);
  }
  return {
    address,
    rpcAddress: `127.0.0.1:${rpc}`,
    get pid() {
      return child.pid!;
    },
    startedAt,
    leaderMs,
    readyMs,
    async restart() {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      process.kill(child.pid!, "SIGKILL");
      await ended;
      const began = performance.now();
      child = launch();
      return await until(
        child,
        async () => Array.isArray(await getJson(`${address}/v1/jobs?per_page=1&consistent`)),
        began,
      );
    },
    async end() {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      if (child.exitCode === null) {
        // In order, so that a dev agent takes its tasks along; at once where it does not.
        process.kill(child.pid!, "SIGINT");
        const force = setTimeout(() => process.kill(child.pid!, "SIGKILL"), 15_000);
        await ended;
        clearTimeout(force);
      }
      rmSync(data, { recursive: true, force: true });
    },
  };
}

async function getJson(url: string): Promise<unknown> {
  const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return await response.json();
}

/** Asks again until `ready`; the time since `startedAt` in ms. */
async function until(child: ChildProcess, ready: () => Promise<boolean>, startedAt: number): Promise<number> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the agent ended with exit code ${child.exitCode}`);
    if (performance.now() - startedAt > 60_000) throw new Error("the agent was not ready after 60 s");
    const ok = await ready().catch(() => false);
    if (ok) return performance.now() - startedAt;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Resident and private memory of a process in MB, from /proc. */
export function memoryOf(pid: number): { rssMb: number; privateMb: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const kb = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);
  return { rssMb: kb("Rss") / 1024, privateMb: (kb("Private_Clean") + kb("Private_Dirty")) / 1024 };
}

/** CPU seconds that a process has used. */
export function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
