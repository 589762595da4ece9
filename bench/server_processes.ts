// Clusters of server processes to be measured from outside: ours or the reference binary, each server on a loopback
// address of its own with the usual ports, with its data on disk. Every process is ended by its id.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { commandOf, type Flavour } from "./agent_process.ts";

let clusters = 0;

/** One server of a cluster and its successors on the same data. */
export class ServerProcess {
  readonly #folder = mkdtempSync(join(tmpdir(), "bench-server-"));
  readonly #flavour: Flavour;
  #child: ChildProcess | undefined;

  constructor(
    readonly host: string,
    options: { flavour: Flavour; name: string; hosts: string[]; config: string },
  ) {
    this.#flavour = options.flavour;
    writeFileSync(
      join(this.#folder, "server.hcl"),
      `name      = "${options.name}"
data_dir  = "${this.#folder}/data"
bind_addr = "${host}"
log_level = "ERROR"
advertise {
  http = "${host}"
  rpc  = "${host}"
  serf = "${host}"
}
server {
  enabled          = true
  bootstrap_expect = ${options.hosts.length}
  server_join {
    retry_join     = ${JSON.stringify(options.hosts.map((each) => `${each}:4648`))}
    retry_interval = "1s"
  }
}
${options.config}
`,
    );
  }

  get address(): string {
    return `http://${this.host}:4646`;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** Throws when the process ended by itself. */
  check(): void {
    const { exitCode } = this.#child ?? {};
    if (typeof exitCode === "number") throw new Error(`server ${this.host} ended with exit code ${exitCode}`);
  }

  start(): void {
    const [command, ...args] = commandOf(this.#flavour);
    const flags = ["agent", "-config", join(this.#folder, "server.hcl")];
    this.#child = spawn(command!, [...args, ...flags], { stdio: "ignore", cwd: this.#folder });
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    process.kill(child.pid!, "SIGKILL");
    await ended;
  }

  async destroy(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export class ServerCluster {
  readonly servers: ServerProcess[];

  constructor(flavour: Flavour, count: number, config = "") {
    const network = `127.${128 + (process.pid >> 8) % 64}.${process.pid % 256}`;
    const first = 1 + 8 * (clusters++ % 30);
    const hosts = Array.from({ length: count }, (_, i) => `${network}.${first + i}`);
    this.servers = hosts.map((host, i) =>
      new ServerProcess(host, { flavour, name: `s${i + 1}`, hosts, config })
    );
  }

  async start(): Promise<void> {
    for (const server of this.servers) server.start();
    await this.leader();
  }

  /** The leader, once all of `among` name the same one. */
  async leader(among: readonly ServerProcess[] = this.servers, limitMs = 60_000): Promise<ServerProcess> {
    for (const end = performance.now() + limitMs; performance.now() < end;) {
      for (const server of among) server.check();
      const told = await Promise.all(among.map((server) => leaderOf(server)));
      const leader = among.find((server) => told.every((address) => address === `${server.host}:4647`));
      if (leader) return leader;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const told = await Promise.all(
      among.map(async (server) => `${server.host}: ${await leaderOf(server) || "none"}`),
    );
    throw new Error(`the servers did not agree on a leader within ${limitMs / 1000} s: ${told.join(", ")}`);
  }

  /** Waits until Autopilot on the leader finds every server healthy. */
  async healthy(limitMs = 60_000): Promise<void> {
    for (const end = performance.now() + limitMs; performance.now() < end;) {
      const [server] = this.servers as [ServerProcess];
      const status = await fetch(`${server.address}/v1/operator/autopilot/health`, {
        signal: AbortSignal.timeout(2000),
      }).then((response) => response.text().then(() => response.status), () => 0);
      if (status === 200) return;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error(`the servers were not healthy within ${limitMs / 1000} s`);
  }

  async destroy(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.destroy()));
  }
}

async function leaderOf(server: ServerProcess): Promise<string> {
  try {
    const response = await fetch(`${server.address}/v1/status/leader?stale`, {
      signal: AbortSignal.timeout(2000),
    });
    return response.ok ? await response.json() as string : "";
  } catch (error) {
    void error; // Not up yet, or just killed.
    return "";
  }
}
