// Clusters of real server processes: each on a loopback address of its own with the usual ports, so that addresses are
// known before anything runs and no two tests meet. Kill, pause, restart, wipe one; add more; ask all of them. A test
// that needs network namespaces gives each server a host and a command that enters its namespace.
//
// Every process is ended by its id; `destroy` leaves nothing behind.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type Output, program, run, TestAgent } from "./harness.ts";

export interface ClusterServerOptions {
  name: string;
  /** Address of its listeners, which the test can reach. */
  host: string;
  /** bootstrap_expect; 0 waits to be added. */
  expect: number;
  /** Serf addresses that it joins. */
  join: readonly string[];
  /** More configuration (HCL), at the top level. */
  config?: string;
  /** More of the server block. */
  server?: string;
  /** Goes before the program: ["ip", "netns", "exec", "s1"]. */
  prefix?: readonly string[];
}

export interface Peer {
  ID: string;
  Node: string;
  Address: string;
  Leader: boolean;
  Voter: boolean;
}

/** One server, and its successors in the same data dir. */
export class ClusterServer {
  readonly folder: string = mkdtempSync(join(tmpdir(), "cluster-"));
  #child: ChildProcess | undefined;
  #log = "";

  constructor(readonly options: ClusterServerOptions) {}

  get name(): string {
    return this.options.name;
  }

  get address(): string {
    return `http://${this.options.host}:4646`;
  }

  get rpcAddress(): string {
    return `${this.options.host}:4647`;
  }

  get serfAddress(): string {
    return `${this.options.host}:4648`;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Everything that it and its predecessors printed. */
  get log(): string {
    return this.#log;
  }

  /** Starts the process; resolves when its API answers. It need not have a leader by then. */
  async start(): Promise<void> {
    const file = join(this.folder, "server.hcl");
    writeFileSync(file, this.#configuration());
    const command = [...this.options.prefix ?? [], ...program, "agent", "-config", file];
    const child = this.#child = spawn(command[0]!, command.slice(1), {
      stdio: ["ignore", "pipe", "pipe"],
      cwd: this.folder,
    });
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on("data", (chunk: Buffer) => this.#log += chunk);
    }
    await until(async () => {
      if (!this.running) throw new Error(`Server ${this.name} ended:\n${this.#log.slice(-4000)}`);
      return await this.get("/v1/agent/self").then(() => true, () => false);
    }, `server ${this.name} to answer`);
  }

  async call<T>(method: string, path: string, body?: unknown, timeoutMs = 15_000): Promise<T> {
    const init: RequestInit = { method, signal: AbortSignal.timeout(timeoutMs) };
    if (body !== undefined) init.body = JSON.stringify(body);
    const response = await fetch(this.address + path, init);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} at ${this.name}: ${response.status} ${text}`);
    return (text ? JSON.parse(text) : undefined) as T;
  }

  get<T>(path: string): Promise<T> {
    return this.call<T>("GET", path);
  }

  put<T>(path: string, body?: unknown): Promise<T> {
    return this.call<T>("PUT", path, body);
  }

  /** Runs a command of the command line against this server. */
  nomad(...args: string[]): Promise<Output> {
    return run([...program, ...args], { env: { NOMAD_ADDR: this.address } });
  }

  /** Id in the log's membership, from its own data dir. */
  async id(): Promise<string> {
    const self = await this.get<{ member: { Tags: Record<string, string> } }>("/v1/agent/self");
    return self.member.Tags["id"]!;
  }

  /** Sends a signal and waits for the end of the process; its exit code, or null when a signal ended it. */
  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<number | null> {
    const child = this.#child;
    if (!child || !this.running) return child?.exitCode ?? null;
    const ended = new Promise<number | null>((done) => child.once("exit", (code) => done(code)));
    // Not child.kill: after that Deno reports the signal instead of the exit code.
    process.kill(child.pid!, signal);
    return await ended;
  }

  pause(): void {
    process.kill(this.#child!.pid!, "SIGSTOP");
  }

  resume(): void {
    process.kill(this.#child!.pid!, "SIGCONT");
  }

  /** Loses everything that it stored. */
  wipe(): void {
    rmSync(join(this.folder, "data"), { recursive: true, force: true });
  }

  async destroy(): Promise<void> {
    if (this.running) this.resume();
    await this.end("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }

  #configuration(): string {
    const { name, host, expect, join: addresses, config = "", server = "" } = this.options;
    mkdirSync(join(this.folder, "data"), { recursive: true });
    return `
name      = "${name}"
data_dir  = "${this.folder}/data"
bind_addr = "${host}"
log_level = "DEBUG"
leave_on_terminate = true
advertise {
  http = "${host}"
  rpc  = "${host}"
  serf = "${host}"
}
server {
  enabled          = true
  bootstrap_expect = ${expect}
  server_join {
    retry_join     = ${JSON.stringify(addresses)}
    retry_interval = "500ms"
  }
  ${server}
}
autopilot {
  server_stabilization_time = "1s"
}
${config}
`;
  }
}

export interface ClusterOptions {
  servers?: number;
  expect?: number;
  config?: string;
  server?: string;
  /** Addresses of the servers, and how to enter their namespaces. Loopback addresses of their own by default. */
  places?: { host: string; prefix?: readonly string[] }[];
}

let clusters = 0;

export class TestCluster {
  readonly servers: ClusterServer[] = [];
  readonly devices: TestAgent[] = [];
  readonly #options: ClusterOptions;
  readonly #network: string;

  /** Starts nothing yet. */
  constructor(options: ClusterOptions = {}) {
    this.#options = options;
    // 127.64.0.0/10 by process and cluster: all of 127.0.0.0/8 is loopback on Linux.
    this.#network = `127.${64 + (process.pid >> 8) % 64}.${process.pid % 256}`;
    const first = 1 + 16 * (clusters++ % 15);
    const count = options.servers ?? 3;
    const hosts = options.places?.map((place) => place.host) ??
      Array.from({ length: 16 }, (_, i) => `${this.#network}.${first + i}`);
    const join = hosts.slice(0, count).map((host) => `${host}:4648`);
    this.#hosts = hosts;
    for (let i = 0; i < count; i++) this.add({ expect: options.expect ?? count, join });
  }

  readonly #hosts: string[];

  /** One more server, not started. It joins all that are there unless told otherwise. */
  add(more: Partial<ClusterServerOptions> = {}): ClusterServer {
    const at = this.servers.length;
    const place = this.#options.places?.[at];
    const server = new ClusterServer({
      name: `s${at + 1}`,
      host: this.#hosts[at]!,
      expect: 0,
      join: this.servers.map((other) => other.serfAddress),
      ...(place?.prefix ? { prefix: place.prefix } : {}),
      ...(this.#options.config === undefined ? {} : { config: this.#options.config }),
      ...(this.#options.server === undefined ? {} : { server: this.#options.server }),
      ...more,
    });
    this.servers.push(server);
    return server;
  }

  /** Starts all servers at once and waits for a leader that all of them know. */
  async start(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.start()));
    await this.leader();
  }

  get running(): ClusterServer[] {
    return this.servers.filter((server) => server.running);
  }

  /** The leader that all of `among` (the running servers) agree on. */
  leader(among: readonly ClusterServer[] = this.running, timeoutMs = 30_000): Promise<ClusterServer> {
    return this.until(
      async () => {
        const told = await Promise.all(
          among.map((server) => server.call<string>("GET", "/v1/status/leader?stale", undefined, 2000)),
        );
        if (told[0] === "" || told.some((address) => address !== told[0])) return undefined;
        return among.find((server) => server.rpcAddress === told[0]);
      },
      `one leader of ${among.map((server) => server.name).join(", ")}`,
      timeoutMs,
    );
  }

  /** The membership of the log as this server (the leader by default) has it, by name. */
  async peers(at?: ClusterServer): Promise<Peer[]> {
    const server = at ?? await this.leader();
    const { Servers } = await server.get<{ Servers: Peer[] }>("/v1/operator/raft/configuration?stale");
    return Servers.sort((a, b) => a.Node < b.Node ? -1 : 1);
  }

  /** Waits until the membership is these servers, all of them voters. */
  async voters(names: readonly string[], timeoutMs = 60_000): Promise<void> {
    let seen = "";
    const wanted = names.map((name) => `${name}.global`).sort().join(" ");
    await this.until(
      async () => {
        const peers = await this.peers();
        seen = peers.map((peer) => peer.Voter ? peer.Node : `(${peer.Node})`).join(" ");
        return seen === wanted;
      },
      `the voters ${wanted}`,
      timeoutMs,
    ).catch((error) => {
      throw new Error(`${(error as Error).message}\nseen: ${seen}`);
    });
  }

  /** A device that knows all the servers there are, ready. */
  async device(name: string): Promise<TestAgent> {
    const deviceOf = this.servers.map((server) => server.rpcAddress);
    const device = new TestAgent({ durable: true, name, deviceOf });
    this.devices.push(device);
    await device.start();
    await this.until(async () => {
      const nodes = await (await this.leader()).get<{ Name: string; Status: string }[]>("/v1/nodes");
      return nodes.some((node) => node.Name === name && node.Status === "ready");
    }, `device ${name} to be ready`);
    return device;
  }

  /** A write through one server: a namespace with this name. */
  write(name: string, at: ClusterServer, timeoutMs = 5000): Promise<unknown> {
    return at.call("PUT", `/v1/namespace/${name}`, { Name: name, Description: "written" }, timeoutMs);
  }

  /** Names of the namespaces that this server has in its own state. */
  async written(at: ClusterServer): Promise<string[]> {
    const namespaces = await at.get<{ Name: string }[]>("/v1/namespaces?stale");
    return namespaces.map((namespace) => namespace.Name).filter((name) => name !== "default");
  }

  async until<T>(
    probe: () => Promise<T | undefined | false>,
    what: string,
    timeoutMs = 30_000,
  ): Promise<Exclude<T, undefined | false>> {
    try {
      return await until(probe, what, timeoutMs);
    } catch (error) {
      const logs = this.servers.map((server) => `--- ${server.name}\n${server.log.slice(-2500)}`).join("\n");
      throw new Error(`${(error as Error).message}\n${logs}`);
    }
  }

  async destroy(): Promise<void> {
    await Promise.all(this.devices.map((device) => device.destroy()));
    await Promise.all(this.servers.map((server) => server.destroy()));
  }
}

async function until<T>(
  probe: () => Promise<T | undefined | false>,
  what: string,
  timeoutMs = 30_000,
): Promise<Exclude<T, undefined | false>> {
  let last: unknown = "no error";
  for (const end = performance.now() + timeoutMs; performance.now() < end;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>;
    } catch (error) {
      last = error;
      if (/ended:/.test(String(error))) break;
    }
    await new Promise((wake) => setTimeout(wake, 50));
  }
  throw new Error(`Waited up to ${timeoutMs} ms for ${what} (${last})`);
}
