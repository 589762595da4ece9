// The agent's gauges, read when somebody asks (nothing is sampled in between): as Nomad's JSON and as Prometheus text.
// Names are Nomad's; a gauge that this program has no counterpart of is left out.
import { freemem, totalmem } from "node:os";
import process from "node:process";
import type { Node } from "../core/types.ts";

export interface Gauge {
  name: string;
  value: number;
  labels: Record<string, string>;
}

/** Something counted and added up since the agent's start. */
export interface Sample {
  name: string;
  count: number;
  sum: number;
  min: number;
  max: number;
  sumOfSquares: number;
}

/** What the parts of an agent tell of themselves. */
export interface MetricSources {
  nodeName: string;
  server: {
    jobs: Iterable<{ Status: string; Type: string }>;
    broker: { ready: number; unacked: number; pending: number; waiting: number };
    blocked: { total: number; escaped: number };
    planQueueDepth: number;
    heartbeatsActive: number;
    appliedIndex: number;
    lastIndex: number;
    leader: boolean;
    /** Voters of the log. */
    voters: number;
    /** On the leader only. */
    autopilot: { healthy: boolean; failureTolerance: number } | null;
    samples: readonly Sample[];
  } | null;
  client: {
    node: Node;
    uptimeMs: number;
    allocations: Iterable<{ status: string; cpuMhz: number; memoryMb: number; diskMb: number }>;
  } | null;
}

export function collectGauges(sources: MetricSources): Gauge[] {
  const gauges: Gauge[] = [];
  const add = (name: string, value: number, labels: Record<string, string> = {}) =>
    gauges.push({ name, value, labels });
  if (sources.client) addClient(add, sources.client);
  if (sources.server) addServer(add, sources.server);
  const memory = process.memoryUsage();
  add("nomad.runtime.alloc_bytes", memory.heapUsed);
  add("nomad.runtime.sys_bytes", memory.rss);
  return gauges.sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

type Add = (name: string, value: number, labels?: Record<string, string>) => void;

function addServer(add: Add, server: NonNullable<MetricSources["server"]>): void {
  const status: Record<string, number> = { pending: 0, running: 0, dead: 0 };
  for (const job of server.jobs) status[job.Status] = (status[job.Status] ?? 0) + 1;
  for (const [name, count] of Object.entries(status)) add(`nomad.nomad.job_status.${name}`, count);
  add("nomad.nomad.broker.total_ready", server.broker.ready);
  add("nomad.nomad.broker.total_unacked", server.broker.unacked);
  add("nomad.nomad.broker.total_pending", server.broker.pending);
  add("nomad.nomad.broker.total_waiting", server.broker.waiting);
  add("nomad.nomad.blocked_evals.total_blocked", server.blocked.total);
  add("nomad.nomad.blocked_evals.total_escaped", server.blocked.escaped);
  add("nomad.nomad.plan.queue_depth", server.planQueueDepth);
  add("nomad.nomad.heartbeat.active", server.heartbeatsActive);
  add("nomad.raft.appliedIndex", server.appliedIndex);
  add("nomad.raft.lastIndex", server.lastIndex);
  add("nomad.raft.leader", server.leader ? 1 : 0);
  add("nomad.raft.peers", server.voters);
  if (!server.autopilot) return;
  add("nomad.nomad.autopilot.failure_tolerance", server.autopilot.failureTolerance);
  add("nomad.nomad.autopilot.healthy", server.autopilot.healthy ? 1 : 0);
}

function addClient(add: Add, client: NonNullable<MetricSources["client"]>): void {
  const { node } = client;
  const labels = {
    datacenter: node.Datacenter,
    node_class: node.NodeClass || "none",
    node_id: node.ID,
    node_pool: node.NodePool,
    node_scheduling_eligibility: node.SchedulingEligibility,
    node_status: node.Status,
  };
  const counts: Record<string, number> = { pending: 0, running: 0, terminal: 0, blocked: 0, migrating: 0 };
  const used = { cpu: 0, memory: 0, disk: 0 };
  for (const alloc of client.allocations) {
    const live = alloc.status === "pending" || alloc.status === "running";
    counts[live ? alloc.status : "terminal"]!++;
    if (!live) continue;
    used.cpu += alloc.cpuMhz;
    used.memory += alloc.memoryMb;
    used.disk += alloc.diskMb;
  }
  for (const [name, count] of Object.entries(counts)) add(`nomad.client.allocations.${name}`, count, labels);
  const total = node.NodeResources;
  const kept = node.ReservedResources;
  add("nomad.client.allocated.cpu", used.cpu, labels);
  add("nomad.client.allocated.memory", used.memory, labels);
  add("nomad.client.allocated.disk", used.disk, labels);
  add("nomad.client.unallocated.cpu", total.Cpu.CpuShares - kept.Cpu.CpuShares - used.cpu, labels);
  add("nomad.client.unallocated.memory", total.Memory.MemoryMB - kept.Memory.MemoryMB - used.memory, labels);
  add("nomad.client.unallocated.disk", total.Disk.DiskMB - kept.Disk.DiskMB - used.disk, labels);
  add("nomad.client.host.memory.total", totalmem(), labels);
  add("nomad.client.host.memory.free", freemem(), labels);
  add("nomad.client.host.memory.used", totalmem() - freemem(), labels);
  add("nomad.client.uptime", Math.floor(client.uptimeMs / 1000), labels);
}

/** Body of GET /v1/metrics. `now` in ms since 1970. */
export function metricsJson(
  gauges: readonly Gauge[],
  samples: readonly Sample[],
  nowMs: number,
): Record<string, unknown> {
  const interval = new Date(Math.floor(nowMs / 10_000) * 10_000).toISOString();
  return {
    Counters: [],
    Gauges: gauges.map(({ name, value, labels }) => ({ Labels: labels, Name: name, Value: value })),
    Points: [],
    Samples: samples.map(sampleJson),
    Timestamp: `${interval.slice(0, 10)} ${interval.slice(11, 19)} +0000 UTC`,
  };
}

/** Totals since the agent's start, where Nomad tells the last ten seconds: a second look gives the difference. */
function sampleJson({ name, count, sum, min, max, sumOfSquares }: Sample): Record<string, unknown> {
  const mean = sum / count;
  const variance = count > 1 ? Math.max(0, sumOfSquares - count * mean * mean) / (count - 1) : 0;
  return {
    Count: count,
    Labels: {},
    Max: max,
    Mean: mean,
    Min: min,
    Name: name,
    Rate: sum / 10,
    Stddev: Math.sqrt(variance),
    Sum: sum,
  };
}

/** Body of GET /v1/metrics?format=prometheus (text format 0.0.4). */
export function metricsPrometheus(gauges: readonly Gauge[], samples: readonly Sample[]): string {
  let text = "";
  let last = "";
  for (const { name, value, labels } of gauges) {
    const id = name.replace(/[^a-zA-Z0-9_]/g, "_");
    if (id !== last) text += `# HELP ${id} ${id}\n# TYPE ${id} gauge\n`;
    last = id;
    const pairs = Object.entries(labels).map(([key, label]) => `${key}="${escapeLabel(label)}"`).join(",");
    text += `${id}${pairs ? `{${pairs}}` : ""} ${value}\n`;
  }
  for (const { name, count, sum } of samples) {
    const id = name.replace(/[^a-zA-Z0-9_]/g, "_");
    text += `# HELP ${id} ${id}\n# TYPE ${id} summary\n${id}_sum ${sum}\n${id}_count ${count}\n`;
  }
  return text;
}

const escapeLabel = (text: string) =>
  text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
