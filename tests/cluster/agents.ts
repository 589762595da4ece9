// Agents of this process that form clusters over real sockets: state in memory or in a folder of their own, ports that
// the system chose. Everything that is started here is stopped by `stopAll`.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent } from "../../agent.ts";
import type { RawConfig } from "../../agent/config.ts";

export interface TestServerOptions {
  name: string;
  /** bootstrap_expect. */
  expect: number;
  /** Keeps its state here; in memory without. */
  dataDir?: string;
  /** More of the server block. */
  server?: RawConfig["server"];
}

export class TestServer {
  /** Its id in the membership. */
  readonly id: string;

  constructor(readonly agent: Agent, readonly lines: string[]) {
    this.id = agent.server!.config.id;
  }

  get name(): string {
    return this.agent.config.name;
  }

  get leads(): boolean {
    return this.agent.server?.log.isLeader ?? false;
  }

  /** Names in the log's membership as this server has it, learners in brackets, sorted. */
  get members(): string {
    const { log, cluster } = this.agent.server!;
    const text = (id: string, voter: boolean) => voter ? cluster.nameOf(id) : `(${cluster.nameOf(id)})`;
    return log.peers().map((peer) => text(peer.id, peer.voter).replace(".global", "")).sort().join(" ");
  }

  async join(other: TestServer): Promise<void> {
    const { host, port } = other.agent.config.advertise.serf;
    const { joined, errors } = await this.agent.membership!.join([`${host}:${port}`]);
    if (joined !== 1) throw new Error(errors.map((error) => error.message).join("; "));
  }

  logged(pattern: RegExp): boolean {
    return this.lines.some((line) => pattern.test(line));
  }
}

const running = new Set<Agent>();
const folders: string[] = [];

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "cluster-test-"));
  folders.push(folder);
  return folder;
}

export async function startServer(options: TestServerOptions): Promise<TestServer> {
  const { name, expect, dataDir, server } = options;
  const lines: string[] = [];
  const agent = new Agent({
    name,
    bind: "127.0.0.1",
    ports: { http: 0, rpc: 0, serf: 0 },
    log: (line) => void lines.push(line),
    logLevel: "DEBUG",
    ...(dataDir === undefined ? {} : { dataDir }),
    config: {
      advertise: { http: "127.0.0.1", rpc: "127.0.0.1", serf: "127.0.0.1" },
      autopilot: { server_stabilization_time: "200ms" },
      server: {
        enabled: true,
        bootstrap_expect: expect,
        ...(dataDir === undefined ? { storage: { inmem: {} } } : {}),
        ...server,
      },
    },
  });
  running.add(agent);
  await agent.start();
  return new TestServer(agent, lines);
}

export async function stop(server: TestServer): Promise<void> {
  running.delete(server.agent);
  await server.agent.stop();
}

export async function leave(server: TestServer): Promise<void> {
  running.delete(server.agent);
  await server.agent.leave();
}

export async function stopAll(): Promise<void> {
  const agents = [...running];
  running.clear();
  await Promise.all(agents.map((agent) => agent.stop()));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/** Waits until `probe` is true; on giving up, `explain` is in the error. */
export async function until(
  probe: () => boolean | Promise<boolean>,
  what: string,
  explain: () => string = () => "",
): Promise<void> {
  for (const end = performance.now() + 40_000; performance.now() < end;) {
    if (await probe()) return;
    await new Promise((wake) => setTimeout(wake, 20));
  }
  throw new Error(`Waited in vain for ${what}: ${explain()}`);
}

/** Waits until every one of the servers has this membership. */
export async function membersOf(servers: TestServer[], members: string): Promise<void> {
  await until(
    () => servers.every((server) => server.members === members),
    `members ${members}`,
    () => servers.map((server) => `${server.name} has ${server.members}`).join(", "),
  );
}

/** The one that leads, once there is one. */
export async function leaderOf(servers: TestServer[]): Promise<TestServer> {
  await until(() => servers.some((server) => server.leads), "a leader");
  return servers.find((server) => server.leads)!;
}
