// The replicated log: durable commands a second and how long one caller waits, through one server and through three server
// processes on this machine, each with its own disk writes; and job registrations through the API of three whole agents.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { commandOf, cpuSecondsOf, type Flavour, flavours, root } from "./agent_process.ts";
import { Api, rate, smallJob } from "./api.ts";
import { type ClusterProcess, startCluster } from "./cluster.ts";
import type { Load, LoadAnswer } from "./log_server.ts";
import { median, ms, percentile, perSecond, type Row, seconds } from "./measure.ts";

const MANY = 64;
const SECONDS = 4;

/** One of the processes of log_server.ts. */
class LogServer {
  port = 0;
  leads = false;
  readonly #child: ChildProcess;
  #answers: ((answer: LoadAnswer) => void)[] = [];
  readonly ready: Promise<void>;

  constructor(flavour: Flavour, readonly id: string, folder: string) {
    const [command, ...args] = commandOf(flavour);
    const script = [...args.slice(0, -1), join(root, "bench", "log_server.ts")];
    const child = spawn(command!, [...script, id, join(folder, `${id}.db`)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child = child;
    this.ready = new Promise((resolve, reject) => {
      child.on("exit", (code) => reject(new Error(`server ${id} of the log ended with ${code}`)));
      createInterface({ input: child.stdout! }).on("line", (line) => {
        const said = JSON.parse(line) as { port?: number; leader?: string } & LoadAnswer;
        if (said.port) {
          this.port = said.port;
          resolve();
        } else if (said.leader) this.leads = true;
        else this.#answers.shift()!(said);
      });
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  say(message: unknown): void {
    this.#child.stdin!.write(JSON.stringify(message) + "\n");
  }

  ask(load: Load): Promise<LoadAnswer> {
    this.say(load);
    return new Promise((resolve) => this.#answers.push(resolve));
  }

  async end(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.ready.catch(() => undefined); // Its end is expected now.
    this.#child.stdin!.end();
    await ended;
  }
}

async function withServers<T>(
  flavour: Flavour,
  count: number,
  run: (leader: LogServer, all: LogServer[]) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "bench-log-"));
  const servers = Array.from({ length: count }, (_, i) => new LogServer(flavour, `s${i}`, folder));
  try {
    await Promise.all(servers.map((server) => server.ready));
    const members = servers.map(({ id, port }) => {
      const address = `127.0.0.1:${port}`;
      return { id, rpcAddress: address, httpAddress: address, voter: true };
    });
    for (const server of servers) server.say({ members });
    while (!servers.some((server) => server.leads)) await new Promise((wake) => setTimeout(wake, 20));
    return await run(servers.find((server) => server.leads)!, servers);
  } finally {
    await Promise.all(servers.map((server) => server.end()));
    rmSync(folder, { recursive: true });
  }
}

/** Commands of 1 KB proposed in the leader's process. */
async function commands(flavour: Flavour, count: number): Promise<[string, string, string]> {
  return await withServers(flavour, count, async (leader, all) => {
    await leader.ask({ callers: MANY, seconds: 2 }); // Compilers settle, files get their size.
    const cpu = () => all.reduce((sum, server) => sum + cpuSecondsOf(server.pid), 0);
    const before = cpu();
    const many = await leader.ask({ callers: MANY, seconds: SECONDS });
    const spent = (cpu() - before) / (many.perSecond * SECONDS) * 1e6;
    const one = await leader.ask({ callers: 1, seconds: SECONDS });
    return [
      `${perSecond(many.perSecond)} (p50 ${ms(many.p50Ms)}, p99 ${ms(many.p99Ms)})`,
      `${Math.round(spent)} µs`,
      `${ms(one.p50Ms)} (p99 ${ms(one.p99Ms)})`,
    ];
  });
}

export async function log(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const count of [1, 3]) {
    const servers = count === 1 ? "1 server" : `${count} server processes`;
    const three: Row[] = [
      { what: `durable commands of 1 KB through ${servers}, ${MANY} callers` },
      { what: "… CPU a command, all servers" },
      { what: `… 1 caller waits` },
    ];
    for (const flavour of flavours()) {
      if (flavour === "nomad") continue;
      const values = await commands(flavour, count);
      values.forEach((value, i) => three[i]![flavour] = value);
    }
    rows.push(...three);
  }
  return rows;
}

/** Job registrations at the leader of three whole servers. */
export async function clusterRegistrations(): Promise<Row[]> {
  const rows: Row[] = [
    { what: `job registrations through 3 servers, ${MANY} callers` },
    { what: "… CPU a registration, all servers" },
    { what: "… 1 caller waits" },
  ];
  for (const flavour of flavours()) {
    const cluster = await startCluster(flavour);
    try {
      const values = await registerAt(cluster);
      values.forEach((value, i) => rows[i]![flavour] = value);
    } finally {
      await cluster.end();
    }
  }
  return rows;
}

async function registerAt(cluster: ClusterProcess): Promise<string[]> {
  const api = new Api(cluster.leader);
  const register = (prefix: string) => (n: number) => api.put("/v1/jobs", smallJob(`${prefix}-${n}`, {}));
  try {
    await rate(16, 1000, register("warm"));
    const before = cluster.cpuSeconds();
    const began = performance.now();
    const many = await rate(MANY, 4000, register("many"));
    const took = (performance.now() - began) / 1000;
    const spent = cluster.cpuSeconds() - before;
    const waits: number[] = [];
    await rate(1, 500, async (n) => {
      const at = performance.now();
      await register("one")(n);
      waits.push(performance.now() - at);
    });
    return [
      `${perSecond(many)} (${seconds(took)})`,
      `${Math.round(spent / 4000 * 1e6)} µs`,
      `${ms(median(waits))} (p99 ${ms(percentile(waits, 99))})`,
    ];
  } finally {
    api.close();
  }
}
