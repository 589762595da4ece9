// `node status`: all nodes as a list, or one node with its drivers, events, resources and allocations.
import { formatDuration } from "../core/duration.ts";
import type { DriverInfo, Node } from "../core/types.ts";
import { bool } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, RequestError, UsageError } from "./errors.ts";
import { formatBytes, formatTimestamp, shortId } from "./format.ts";
import { formatAllocs, formatNodeMatches } from "./lists.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import { pageFlags, pageQuery, showNextPage } from "./pages.ts";
import type { AllocStub, FullAllocation, NodeStub } from "./records.ts";
import { localNodeId, sanitizePrefix } from "./resolve.ts";
import { formatKeyValues, formatTable } from "./table.ts";

const MEBIBYTE = 1024 * 1024;
const GO_TYPE = "*api.NodeListStub";

export const nodeStatus = command({
  form: "nomad node status [options] <node>",
  about: `Shows the nodes with their state, or one node in detail: its drivers, events,
resources, usage and allocations.

When ACLs are enabled, this command requires a token with the 'node:read'
capability.`,
  general: "noNamespace",
  title: "Node Status Options",
  hints: true,
  flags: {
    ...dataFlags("nodes"),
    ...pageFlags,
    allocs: bool("Show the number of running allocations of each node."),
    os: bool("Show the operating system of each node."),
    quiet: bool("Show only node IDs."),
    self: bool("Show the node that the asked agent is."),
    short: bool("Leave out resources and usage of the node."),
    stats: bool("Show what the node uses in detail."),
    ui: bool("Open the page of the node or of all nodes in the browser."),
    verbose: bool("Show full information."),
  },
  async run(context) {
    const { flags, args } = context;
    if (args.length > 1) throw new UsageError("This command takes either one or no arguments");
    if (flags.self) {
      return await showNode(context, await localNodeId(context, "Error querying agent info"), flags);
    }
    if (args.length === 0) return await listNodes(context, flags);
    return await showNodeStatus(context, args[0]!, flags);
  },
});

export interface NodeStatusFlags {
  json: boolean;
  t: string;
  short: boolean;
  stats: boolean;
  ui: boolean;
  verbose: boolean;
}

interface ListFlags extends NodeStatusFlags {
  allocs: boolean;
  filter: string;
  os: boolean;
  "page-token": string;
  "per-page": number;
  quiet: boolean;
}

async function listNodes(context: Context, flags: ListFlags): Promise<number> {
  const answer = await attempt(
    "Error querying node status",
    context.api.get<NodeStub[]>("/v1/nodes", { query: { ...pageQuery(flags), os: flags.os || undefined } }),
  );
  if (wantsData(flags)) return await outputData(context, flags, answer, GO_TYPE);
  const nodes = answer.data ?? [];
  if (flags.quiet) {
    if (nodes.length > 0) context.ui.output(nodes.map((node) => node.ID).join("\n"));
    showNextPage(context, "nomad node status", answer.nextToken);
    return 0;
  }
  if (nodes.length > 0) {
    const running = flags.allocs
      ? await Promise.all(nodes.map((node) => countRunning(context, node.ID)))
      : [];
    context.ui.output(formatNodes(nodes, running, flags));
  }
  showNextPage(context, "nomad node status", answer.nextToken);
  await context.hint("View and manage Nomad clients in the Web UI", "/ui/clients", { open: flags.ui });
  return 0;
}

async function countRunning(context: Context, nodeId: string): Promise<number> {
  const { data } = await attempt(
    "Error querying node allocations",
    context.api.get<FullAllocation[] | null>(`/v1/node/${nodeId}/allocations`),
  );
  return (data ?? []).filter((alloc) => alloc.ClientStatus === "running").length;
}

function formatNodes(nodes: NodeStub[], running: number[], flags: ListFlags): string {
  const { verbose } = flags;
  return formatTable([
    [
      "ID",
      "Node Pool",
      "DC",
      "Name",
      "Class",
      ...(flags.os ? ["OS"] : []),
      ...(verbose ? ["Address", "Version"] : []),
      "Drain",
      "Eligibility",
      "Status",
      ...(flags.allocs ? ["Running Allocs"] : []),
    ],
    ...nodes.map((node, i) => [
      shortId(node.ID, verbose),
      node.NodePool,
      node.Datacenter,
      node.Name,
      node.NodeClass,
      ...(flags.os ? [node.Attributes?.["os.name"] ?? ""] : []),
      ...(verbose ? [node.Address, node.Version] : []),
      node.Drain,
      node.SchedulingEligibility,
      node.Status,
      ...(flags.allocs ? [running[i]] : []),
    ]),
  ]);
}

/** One node by id or prefix. */
export async function showNodeStatus(
  context: Context,
  typed: string,
  flags: NodeStatusFlags,
): Promise<number> {
  if (typed.length === 1) throw new CommandError("Identifier must contain at least two characters.");
  const { data } = await attempt(
    "Error querying node info",
    context.api.get<NodeStub[] | null>("/v1/nodes", { query: { prefix: sanitizePrefix(typed) } }),
  );
  const [first, ...others] = data ?? [];
  if (!first) throw new CommandError(`No node(s) with prefix ${JSON.stringify(typed)} found`);
  if (others.length > 0) {
    throw new CommandError(`Prefix matched multiple nodes\n\n${formatNodeMatches(data!, flags.verbose)}`);
  }
  return await showNode(context, first.ID, flags);
}

async function showNode(context: Context, id: string, flags: NodeStatusFlags): Promise<number> {
  const read = attempt("Error querying node info", context.api.get<Node>(`/v1/node/${id}`));
  if (wantsData(flags)) return await outputData(context, flags, await read, "*api.Node");
  const [answer, allocs, stats] = await Promise.all([
    read,
    attempt(
      "Error querying node allocations",
      context.api.get<FullAllocation[] | null>(`/v1/node/${id}/allocations`),
    ),
    flags.short ? undefined : readHostStats(context, id),
  ]);
  const node = answer.data;
  const { ui } = context;
  ui.output(formatKeyValues(headPairs(node, stats, flags)));
  if (!flags.short) await showDetails(context, node, allocs.data ?? [], stats, flags);
  ui.heading("Allocations");
  const stubs = (allocs.data ?? []).map(toStub);
  ui.output(formatAllocs(stubs, {
    verbose: flags.verbose,
    nowMs: context.now(),
    withEval: flags.verbose,
    exactTimes: flags.verbose,
  }));
  if (flags.verbose && !flags.short) {
    showAttributes(context, "Attributes", node.Attributes);
    showAttributes(context, "Meta", node.Meta);
  }
  await context.hint("View client details and metrics in the Web UI", `/ui/clients/${id}`, {
    open: flags.ui,
  });
  return 0;
}

function toStub(alloc: FullAllocation): AllocStub {
  return { ...alloc, JobVersion: alloc.Job?.Version ?? alloc.JobVersion ?? 0 };
}

interface HostStats {
  /** Seconds. */
  Uptime: number;
  CPUTicksConsumed: number;
  CPU: { CPU: string; User: number; System: number; Idle: number }[] | null;
  Memory: { Total: number; Available: number; Used: number; Free: number } | null;
  DiskStats: DiskStats[] | null;
  AllocDirStats: DiskStats | null;
}

interface DiskStats {
  Device: string;
  Mountpoint: string;
  Size: number;
  Used: number;
  Available: number;
  UsedPercent: number;
  InodesUsedPercent: number;
}

/** Undefined when the node cannot be asked: what the servers know of it is shown all the same. */
async function readHostStats(context: Context, id: string): Promise<HostStats | undefined> {
  try {
    return (await context.api.get<HostStats>("/v1/client/stats", { query: { node_id: id } })).data;
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    context.ui.error(`\nerror fetching node stats: ${error.message}`);
    return undefined;
  }
}

function headPairs(node: Node, stats: HostStats | undefined, flags: NodeStatusFlags): [string, unknown][] {
  const names = (record: Record<string, unknown> | null | undefined) =>
    Object.keys(record ?? {}).sort().join(",");
  const pairs: [string, unknown][] = [
    ["ID", node.ID],
    ["Name", node.Name],
    ["Node Pool", node.NodePool],
    ["Class", node.NodeClass],
    ["DC", node.Datacenter],
    ["Drain", formatDrain(node)],
    ["Eligibility", node.SchedulingEligibility],
    ["Status", node.Status],
    ["CSI Controllers", names(node.CSIControllerPlugins)],
    ["CSI Drivers", names(node.CSINodePlugins)],
  ];
  if (!flags.short && stats) pairs.push(["Uptime", formatDuration(stats.Uptime * 1e9)]);
  if (!flags.verbose || flags.short) {
    pairs.push(["Host Volumes", names(node.HostVolumes)]);
    pairs.push(["Host Networks", names(node.HostNetworks)]);
    pairs.push(["CSI Volumes", ""]);
    pairs.push([flags.short ? "Drivers" : "Driver Status", formatDrivers(node.Drivers, !flags.short)]);
  }
  return pairs;
}

/** "false", or what kind of drain goes on. */
function formatDrain(node: Node): string {
  const drain = node.DrainStrategy;
  if (!drain) return String(node.Drain);
  const parts = [
    "true",
    drain.Deadline > 0
      ? `${formatTimestamp(drain.ForceDeadline)} deadline`
      : drain.Deadline < 0
      ? "force drain"
      : "no deadline",
    ...(drain.IgnoreSystemJobs ? ["ignoring system jobs"] : []),
  ];
  return parts.join("; ");
}

/** Detected drivers by name; those that are not healthy say so. */
function formatDrivers(drivers: Record<string, DriverInfo> | null, withHealth: boolean): string {
  return Object.entries(drivers ?? {}).sort(([a], [b]) => a < b ? -1 : 1)
    .filter(([, driver]) => driver.Detected)
    .map(([name, driver]) => withHealth && !driver.Healthy ? `${name} (unhealthy)` : name)
    .join(",");
}

async function showDetails(
  context: Context,
  node: Node,
  allocs: FullAllocation[],
  stats: HostStats | undefined,
  flags: NodeStatusFlags,
): Promise<void> {
  const { ui } = context;
  if (flags.verbose) showVerboseParts(context, node);
  showEvents(context, node, flags.verbose);
  const running = allocs.filter((alloc) => alloc.ClientStatus === "running");
  ui.heading("Allocated Resources");
  ui.output(formatAllocated(node, running));
  if (!stats) return;
  ui.heading("Allocation Resource Utilization");
  ui.output(await formatUsed(context, node, running));
  ui.heading("Host Resource Utilization");
  ui.output(formatHost(node, stats));
  if (flags.stats) showStats(context, stats);
}

function showVerboseParts(context: Context, node: Node): void {
  const { ui } = context;
  const volumes = Object.values(node.HostVolumes ?? {}).length;
  if (volumes > 0) {
    ui.heading("Host Volumes");
    ui.output(formatTable([
      ["Name", "ReadOnly", "Source"],
      ...sorted(node.HostVolumes).map(([name, volume]) => [name, volume.ReadOnly ?? false, volume.Path]),
    ]));
  }
  if (Object.keys(node.HostNetworks ?? {}).length > 0) {
    ui.heading("Host Networks");
    ui.output(formatTable([
      ["Name", "CIDR", "Interface", "ReservedPorts"],
      ...sorted(node.HostNetworks).map(([name, net]) => [name, net.CIDR, net.Interface, net.ReservedPorts]),
    ]));
  }
  ui.heading("Drivers");
  ui.output(formatTable([
    ["Driver", "Detected", "Healthy", "Message", "Time"],
    ...sorted(node.Drivers).map(([name, driver]) => [
      name,
      driver.Detected,
      driver.Healthy,
      driver.HealthDescription,
      formatTimestamp(driver.UpdateTime),
    ]),
  ]));
}

function sorted<T>(record: Record<string, T> | null | undefined): [string, T][] {
  return Object.entries(record ?? {}).sort(([a], [b]) => a < b ? -1 : 1);
}

function showEvents(context: Context, node: Node, verbose: boolean): void {
  const events = (node.Events ?? []).toReversed();
  if (events.length === 0) return;
  context.ui.heading("Node Events");
  context.ui.output(formatTable([
    ["Time", "Subsystem", "Message", ...(verbose ? ["Details"] : [])],
    ...events.map((event) => [
      formatTimestamp(event.Timestamp),
      event.Subsystem,
      event.Message,
      ...(verbose ? [sorted(event.Details).map(([key, value]) => `${key}: ${value}`).join(", ")] : []),
    ]),
  ]));
}

function formatAllocated(node: Node, allocs: FullAllocation[]): string {
  let cpu = 0;
  let memoryMb = 0;
  let memoryMaxMb = 0;
  let diskMb = 0;
  for (const alloc of allocs) {
    for (const task of Object.values(alloc.AllocatedResources?.Tasks ?? {})) {
      cpu += task.Cpu?.CpuShares ?? 0;
      memoryMb += task.Memory?.MemoryMB ?? 0;
      memoryMaxMb += Math.max(task.Memory?.MemoryMaxMB ?? 0, task.Memory?.MemoryMB ?? 0);
    }
    diskMb += alloc.AllocatedResources?.Shared?.DiskMB ?? 0;
  }
  const total = totals(node);
  const withMax = memoryMaxMb > memoryMb;
  return formatTable([
    ["CPU", "Memory", ...(withMax ? ["Memory Max"] : []), "Disk", "Alloc Count"],
    [
      `${cpu}/${total.cpu} MHz`,
      `${formatBytes(memoryMb * MEBIBYTE)}/${formatBytes(total.memoryBytes)}`,
      ...(withMax ? [`${formatBytes(memoryMaxMb * MEBIBYTE)}/${formatBytes(total.memoryBytes)}`] : []),
      `${formatBytes(diskMb * MEBIBYTE)}/${formatBytes(total.diskBytes)}`,
      allocs.length,
    ],
  ]);
}

/** What tasks can have: the node's resources without what is reserved for the host. */
function totals(node: Node): { cpu: number; memoryBytes: number; diskBytes: number } {
  const { NodeResources: all, ReservedResources: reserved } = node;
  return {
    cpu: (all?.Cpu?.CpuShares ?? 0) - (reserved?.Cpu?.CpuShares ?? 0),
    memoryBytes: ((all?.Memory?.MemoryMB ?? 0) - (reserved?.Memory?.MemoryMB ?? 0)) * MEBIBYTE,
    diskBytes: ((all?.Disk?.DiskMB ?? 0) - (reserved?.Disk?.DiskMB ?? 0)) * MEBIBYTE,
  };
}

interface AllocUsage {
  ResourceUsage: { CpuStats: { TotalTicks: number }; MemoryStats: { RSS: number; Usage: number } } | null;
}

async function formatUsed(context: Context, node: Node, running: FullAllocation[]): Promise<string> {
  const usages = await Promise.all(running.map((alloc) => readUsage(context, alloc)));
  let cpu = 0;
  let memory = 0;
  for (const usage of usages) {
    cpu += usage?.ResourceUsage?.CpuStats?.TotalTicks ?? 0;
    const stats = usage?.ResourceUsage?.MemoryStats;
    memory += stats?.RSS || stats?.Usage || 0;
  }
  const total = totals(node);
  return formatTable([
    ["CPU", "Memory"],
    [`${Math.floor(cpu)}/${total.cpu} MHz`, `${formatBytes(memory)}/${formatBytes(total.memoryBytes)}`],
  ]);
}

async function readUsage(context: Context, alloc: FullAllocation): Promise<AllocUsage | undefined> {
  try {
    const path = `/v1/client/allocation/${alloc.ID}/stats`;
    return (await context.api.get<AllocUsage>(path, { query: { namespace: alloc.Namespace } })).data;
  } catch (error) {
    // It may have ended meanwhile; the sum is of those that still run.
    if (error instanceof RequestError) return undefined;
    throw error;
  }
}

function formatHost(node: Node, stats: HostStats): string {
  const total = totals(node);
  const diskUsed = stats.AllocDirStats?.Used ?? 0;
  const diskSize = stats.AllocDirStats?.Size ?? total.diskBytes;
  return formatTable([
    ["CPU", "Memory", "Disk"],
    [
      `${Math.floor(stats.CPUTicksConsumed)}/${total.cpu} MHz`,
      `${formatBytes(stats.Memory?.Used ?? 0)}/${formatBytes(stats.Memory?.Total ?? total.memoryBytes)}`,
      `${formatBytes(diskUsed)}/${formatBytes(diskSize)}`,
    ],
  ]);
}

function showStats(context: Context, stats: HostStats): void {
  const { ui } = context;
  const percent = (value: number) => `${value.toFixed(2)}%`;
  const list = (title: string, entries: [string, unknown][][]) => {
    ui.heading(title);
    ui.output(entries.map(formatKeyValues).join("\n\n"));
  };
  list(
    "CPU Stats",
    (stats.CPU ?? []).map((cpu) => [
      ["CPU", cpu.CPU],
      ["User", percent(cpu.User)],
      ["System", percent(cpu.System)],
      ["Idle", percent(cpu.Idle)],
    ]),
  );
  if (stats.Memory) {
    list("Memory Stats", [[
      ["Total", formatBytes(stats.Memory.Total)],
      ["Available", formatBytes(stats.Memory.Available)],
      ["Used", formatBytes(stats.Memory.Used)],
      ["Free", formatBytes(stats.Memory.Free)],
    ]]);
  }
  list(
    "Disk Stats",
    (stats.DiskStats ?? []).map((disk) => [
      ["Device", disk.Device],
      ["MountPoint", disk.Mountpoint],
      ["Size", formatBytes(disk.Size)],
      ["Used", formatBytes(disk.Used)],
      ["Available", formatBytes(disk.Available)],
      ["Used Percent", percent(disk.UsedPercent)],
      ["Inodes Percent", percent(disk.InodesUsedPercent)],
    ]),
  );
}

function showAttributes(context: Context, title: string, attributes: Record<string, string> | null): void {
  context.ui.heading(title);
  context.ui.output(formatKeyValues(sorted(attributes)));
}
