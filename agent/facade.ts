// What the API's /v1/agent/… routes say and do: everything that is neither the servers' shared state nor the device's
// tasks. Reads the agent's parts when it is asked; keeps nothing.
import { readFile, statfs } from "node:fs/promises";
import { hostname, networkInterfaces, release, version } from "node:os";
import process from "node:process";
import type { Agent } from "../agent.ts";
import type { AgentFacade, Health } from "../server/http_api.ts";
import type { LogLevel } from "./config.ts";
import type { LogLine } from "./logging.ts";
import { forceLeave, joinMembers, memberView, selfMember } from "./members.ts";
import { collectGauges, metricsJson, metricsPrometheus } from "./metrics.ts";
import { runtimeStats, selfConfig } from "./self.ts";

/** Lines that a slow reader of the monitor may be behind. */
const MONITOR_LINES_MAX = 4096;

export function agentFacade(agent: Agent): AgentFacade {
  const startedMs = Date.now();
  const startedAt = new Date(startedMs).toISOString();
  const gauges = () => collectGauges(metricSources(agent, startedMs));
  const samples = () => agent.server?.leader.queues().samples ?? [];
  return {
    self: () => ({
      config: selfConfig(agent.config, agent.setup.files),
      member: selfMember(agent),
      stats: stats(agent),
    }),
    members: () => ({
      ServerName: agent.config.name,
      ServerRegion: agent.config.region,
      ServerDC: agent.config.datacenter,
      Members: agent.membership?.members().map(memberView) ?? [],
    }),
    health: () => ({ client: clientHealth(agent), server: serverHealth(agent) }),
    servers: () => agent.client ? agent.client.session.servers : null,
    setServers: (addresses) => agent.client?.session.setServers(addresses),
    join: (addresses) => joinMembers(agent, addresses),
    forceLeave: (node, prune) => forceLeave(agent, node, prune),
    gossipKeyring: () => agent.membership?.keyring ?? null,
    reload: () => reload(agent),
    hostInfo: () => agent.config.enableDebug ? hostInfo() : null,
    schedulers: () => schedulers(agent, startedAt),
    monitor: (options, signal) => monitor(agent, options, signal),
    metrics: () => metricsJson(gauges(), samples(), Date.now()),
    metricsPrometheus: () => agent.config.prometheus ? metricsPrometheus(gauges(), samples()) : null,
  };
}

function stats(agent: Agent): Record<string, Record<string, string>> {
  const { server, client, membership } = agent;
  const groups: Record<string, Record<string, string>> = { runtime: runtimeStats() };
  if (client) groups["client"] = client.agentStats;
  if (!server) return groups;
  groups["nomad"] = {
    bootstrap: String(agent.config.server!.bootstrapExpect === 1),
    known_regions: String(new Set(membership?.members().map(({ tags }) => tags["region"])).size),
    leader: String(server.log.isLeader),
    leader_addr: server.log.leader?.rpcAddress ?? "",
    server: "true",
  };
  groups["raft"] = Object.fromEntries(
    Object.entries(server.log.stats()).map(([key, value]) => [key, String(value)]),
  );
  if (membership) groups["serf"] = membership.stats();
  return groups;
}

function serverHealth(agent: Agent): Health | null {
  if (!agent.server) return null;
  return agent.server.log.leader ? { ok: true, message: "ok" } : { ok: false, message: "No cluster leader" };
}

function clientHealth(agent: Agent): Health | null {
  if (!agent.client) return null;
  return agent.client.session.servers.length > 0
    ? { ok: true, message: "ok" }
    : { ok: false, message: "no known servers" };
}

async function reload(agent: Agent): Promise<void> {
  if (!agent.setup.reload) return;
  const fresh = await agent.setup.reload();
  agent.setup.log.setLevel(fresh.log.level);
  agent.setup.log.module("agent").info("configuration was read again", { log_level: fresh.log.level });
}

/** Names of environment variables that may be shown: none that could hold a credential. */
const SHOWN_ENVIRONMENT = ["HOME", "LANG", "PATH", "USER", "SHELL", "TERM"];

async function hostInfo(): Promise<unknown> {
  const text = (path: string) => readFile(path, "utf8").catch(() => "");
  const [hosts, resolv, disk] = await Promise.all([
    text("/etc/hosts"),
    text("/etc/resolv.conf"),
    statfs("/"),
  ]);
  const sizeMb = Math.floor((disk.blocks * disk.bsize) / 2 ** 20);
  const freeMb = Math.floor((disk.bfree * disk.bsize) / 2 ** 20);
  const shown = SHOWN_ENVIRONMENT.filter((name) => process.env[name] !== undefined);
  return {
    OS: `${process.arch} ${hostname()} ${release()} ${version()}`,
    Network: Object.values(networkInterfaces()).flatMap((addresses) =>
      (addresses ?? []).map((each) => ({
        address: each.address,
        host: each.address,
        netmask: each.netmask,
        string: each.cidr ?? each.address,
        type: each.family,
      }))
    ),
    ResolvConf: resolv,
    Hosts: hosts,
    Environment: Object.fromEntries(shown.map((name) => [name, process.env[name]])),
    Disk: { "/": { DiskMB: sizeMb, UsedMB: sizeMb - freeMb } },
  };
}

function schedulers(agent: Agent, startedAt: string): ReturnType<AgentFacade["schedulers"]> {
  const { server } = agent;
  if (!server) return [];
  return [{
    id: server.config.id,
    enabled_schedulers: [...server.config.enabledSchedulers, "_core"],
    started: startedAt,
    status: server.leader.active ? "Started" : "Paused",
    workload_status: server.leader.active ? "WaitingToDequeue" : "Paused",
  }];
}

async function* monitor(
  agent: Agent,
  options: { level: string; json: boolean },
  signal: AbortSignal,
): AsyncIterable<string> {
  const wanted = LEVEL_ORDER.indexOf(options.level.toUpperCase() as LogLevel);
  const lines: string[] = [];
  let wake: () => void = () => undefined;
  const stop = agent.setup.log.follow((line: LogLine) => {
    if (LEVEL_ORDER.indexOf(line.level) < wanted) return;
    if (lines.length < MONITOR_LINES_MAX) lines.push(`${options.json ? line.json : line.text}\n`);
    wake();
  });
  const onAbort = () => wake();
  signal.addEventListener("abort", onAbort);
  try {
    while (!signal.aborted) {
      while (lines.length > 0) yield lines.shift()!;
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (lines.length > 0 || signal.aborted) resolve();
      });
    }
  } finally {
    stop();
    signal.removeEventListener("abort", onAbort);
  }
}

const LEVEL_ORDER: LogLevel[] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];

function metricSources(agent: Agent, startedMs: number): Parameters<typeof collectGauges>[0] {
  const { server, client } = agent;
  return {
    nodeName: agent.config.name,
    server: server && {
      jobs: server.state.jobs(),
      ...server.leader.queues(),
      appliedIndex: server.state.index,
      lastIndex: Number(server.log.stats()["last_log_index"] ?? 0),
      leader: server.log.isLeader,
      voters: server.log.peers().filter((peer) => peer.voter).length,
      autopilot: server.log.isLeader ? server.cluster.health() : null,
    },
    client: client && {
      node: client.node,
      uptimeMs: Date.now() - startedMs,
      allocations: clientAllocations(client),
    },
  };
}

function* clientAllocations(client: NonNullable<Agent["client"]>) {
  for (const runner of client.allocations.values()) {
    const { Tasks, Shared } = runner.alloc.AllocatedResources;
    const tasks = Object.values(Tasks);
    yield {
      status: runner.status.status,
      cpuMhz: tasks.reduce((sum, task) => sum + task.Cpu.CpuShares, 0),
      memoryMb: tasks.reduce((sum, task) => sum + task.Memory.MemoryMB, 0),
      diskMb: Shared.DiskMB,
    };
  }
}
