// `alloc status`: an allocation with its addresses, checks, tasks, their resources, usage and events.
import { formatDuration } from "../core/duration.ts";
import type { NetworkResource, Resources, Task, TaskGroup, TaskState } from "../core/types.ts";
import { bool, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, RequestError, UsageError } from "./errors.ts";
import {
  formatAge,
  formatAheadOf,
  formatBytes,
  formatTimeNs,
  formatTimestamp,
  quote,
  shortId,
} from "./format.ts";
import { outputData, wantsData } from "./output.ts";
import type { AllocStub, FullAllocation } from "./records.ts";
import { readAlloc, resolveAllocStub } from "./resolve.ts";
import { formatBlankTable, formatKeyValues, formatTable } from "./table.ts";

const EVENTS_MAX = 10;
const MEBIBYTE = 1024 * 1024;

export const allocStatus = command({
  form: "nomad alloc status [options] <allocation>",
  about: `Shows an allocation: where and why it runs, the state of its tasks with their
newest events, and what they use.

When ACLs are enabled, this command requires a token with the 'read-job'
capability for the allocation's namespace.`,
  general: "all",
  title: "Alloc Status Options",
  flags: {
    json: bool("Output the allocation in its JSON format."),
    short: bool("Show only the tasks and their last event."),
    stats: bool("Show what each task uses in detail."),
    t: string("Format and display allocation using a Go template."),
    ui: bool("Open the allocation's page in the browser."),
    verbose: bool("Show full information, and how the allocation was placed."),
  },
  async run(context) {
    const { flags, api } = context;
    if (context.args.length === 0 && wantsData(flags)) {
      const answer = await attempt("Error querying allocations", api.get<unknown>("/v1/allocations"));
      return await outputData(context, flags, answer, "[]*api.AllocationListStub");
    }
    if (context.args.length !== 1) {
      throw new UsageError(
        "This command takes one of the following argument conditions:\n * A single <allocation>\n * No arguments, with output format specified",
      );
    }
    return await showAllocStatus(context, context.args[0]!, flags);
  },
});

export interface AllocStatusFlags {
  json: boolean;
  short: boolean;
  stats: boolean;
  t: string;
  ui: boolean;
  verbose: boolean;
}

export async function showAllocStatus(
  context: Context,
  typed: string,
  flags: AllocStatusFlags,
): Promise<number> {
  const stub = await resolveAllocStub(context, typed, flags.verbose);
  if (wantsData(flags)) {
    const answer = await attempt("Error querying allocation", readAlloc(context.api, stub));
    return await outputData(context, flags, answer, "*api.Allocation");
  }
  context.askForHints();
  const [answer, stats, checks] = await Promise.all([
    attempt("Error querying allocation", readAlloc(context.api, stub)),
    flags.short ? undefined : readStats(context, stub),
    flags.short ? undefined : readChecks(context, stub),
  ]);
  const alloc = answer.data;
  const { ui } = context;
  if (flags.short) {
    ui.output(formatKeyValues(shortPairs(context, alloc, flags.verbose)));
    showTasksShortly(context, alloc);
  } else {
    ui.output(formatKeyValues(await headPairs(context, alloc, flags.verbose)));
    showAddresses(context, alloc);
    if (checks) showChecks(context, checks);
    for (const task of sortedTasks(alloc)) showTask(context, alloc, task, stats, flags.stats);
    if (flags.verbose) showMetrics(context, alloc);
  }
  const page = `/ui/allocations/${alloc.ID}`;
  await context.hint("View allocation details in the Web UI", page, { open: flags.ui });
  return 0;
}

function shortPairs(context: Context, alloc: FullAllocation, verbose: boolean): [string, unknown][] {
  return [["ID", alloc.ID], ["Name", alloc.Name], ...timePairs(context, alloc, verbose)];
}

function timePairs(context: Context, alloc: FullAllocation, verbose: boolean): [string, unknown][] {
  const time = (ns: number) => verbose ? formatTimeNs(ns) : formatAge(ns, context.now());
  return [["Created", time(alloc.CreateTime)], ["Modified", time(alloc.ModifyTime)]];
}

async function headPairs(
  context: Context,
  alloc: FullAllocation,
  verbose: boolean,
): Promise<[string, unknown][]> {
  const pairs: [string, unknown][] = [
    ["ID", alloc.ID],
    ["Eval ID", shortId(alloc.EvalID, verbose)],
    ["Name", alloc.Name],
    ["Node ID", shortId(alloc.NodeID, verbose)],
    ["Node Name", alloc.NodeName],
    ["Job ID", alloc.JobID],
    ["Job Version", alloc.Job?.Version ?? alloc.JobVersion ?? 0],
    ["Client Status", alloc.ClientStatus],
    ["Client Description", alloc.ClientDescription],
    ["Desired Status", alloc.DesiredStatus],
    ["Desired Description", alloc.DesiredDescription],
    ...timePairs(context, alloc, verbose),
  ];
  if (alloc.DeploymentID) {
    const healthy = alloc.DeploymentStatus?.Healthy;
    pairs.push(["Deployment ID", shortId(alloc.DeploymentID, verbose)]);
    pairs.push([
      "Deployment Health",
      healthy === null || healthy === undefined ? "unset" : healthy ? "healthy" : "unhealthy",
    ]);
    if (alloc.DeploymentStatus?.Canary) pairs.push(["Canary", true]);
  }
  if (alloc.NextAllocation) pairs.push(["Replacement Alloc ID", shortId(alloc.NextAllocation, verbose)]);
  if (alloc.FollowupEvalID) pairs.push(...await reschedulePairs(context, alloc));
  if (alloc.PreemptedByAllocation) {
    pairs.push(["Preempted by", shortId(alloc.PreemptedByAllocation, verbose)]);
  }
  if (verbose && alloc.Metrics) {
    pairs.push(
      ["Evaluated Nodes", alloc.Metrics.NodesEvaluated],
      ["Filtered Nodes", alloc.Metrics.NodesFiltered],
      ["Exhausted Nodes", alloc.Metrics.NodesExhausted],
      ["Allocation Time", formatDuration(alloc.Metrics.AllocationTime)],
      ["Failures", alloc.Metrics.CoalescedFailures],
    );
  }
  return pairs;
}

/** When a failed allocation may be placed again. */
async function reschedulePairs(context: Context, alloc: FullAllocation): Promise<[string, unknown][]> {
  try {
    const { data } = await context.api.get<{ WaitUntil: string | null }>(
      `/v1/evaluation/${alloc.FollowupEvalID}`,
    );
    const at = Date.parse(data.WaitUntil ?? "");
    if (Number.isNaN(at) || at <= context.now()) return [];
    return [["Reschedule Eligibility", formatAheadOf(at, context.now())]];
  } catch (error) {
    // The evaluation may have been collected.
    if (error instanceof RequestError && error.status === 404) return [];
    throw error;
  }
}

function showAddresses(context: Context, alloc: FullAllocation): void {
  const shared = alloc.AllocatedResources?.Shared;
  const ports = (shared?.Ports ?? []).map((port) => ({
    label: port.Label,
    address: `${hostPort(port.HostIP, port.Value)}${port.To > 0 ? ` -> ${port.To}` : ""}`,
  }));
  if (ports.length === 0) return;
  const network = shared?.Networks?.[0];
  const mode = network?.Mode ? ` (mode = ${quote(network.Mode)})` : "";
  context.ui.output(
    `\nAllocation Addresses${mode}:\n` +
      formatTable([
        ["Label", "Dynamic", "Address"],
        ...ports.map((port) => [`*${port.label}`, "yes", port.address]),
      ]),
  );
}

function hostPort(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

export interface CheckStatus {
  ID: string;
  Check: string;
  Group: string;
  Task?: string;
  Service: string;
  Mode: string;
  Status: string;
  StatusCode?: number;
  Output: string;
  /** Seconds since 1970. */
  Timestamp: number;
}

async function readChecks(context: Context, stub: AllocStub): Promise<CheckStatus[] | undefined> {
  return await fromNode(() => queryChecks(context, stub));
}

/** Newest results of the Nomad checks of an allocation, by service and name. */
export async function queryChecks(context: Context, stub: AllocStub): Promise<CheckStatus[]> {
  const { data } = await context.api.get<Record<string, CheckStatus> | null>(
    `/v1/client/allocation/${stub.ID}/checks`,
    { query: { namespace: stub.Namespace || undefined } },
  );
  return Object.values(data ?? {}).sort((a, b) =>
    `${a.Service}\0${a.Check}` < `${b.Service}\0${b.Check}` ? -1 : 1
  );
}

function showChecks(context: Context, checks: CheckStatus[]): void {
  if (checks.length === 0) return;
  context.ui.output(
    "\nNomad Service Checks:\n" +
      formatTable([
        ["Service", "Task", "Name", "Mode", "Status"],
        ...checks.map((
          check,
        ) => [check.Service, check.Task || "(group)", check.Check, check.Mode, check.Status]),
      ]),
  );
}

interface Usage {
  CpuStats: Record<string, unknown> & { Measured: string[] | null; TotalTicks: number };
  MemoryStats: Record<string, unknown> & { Measured: string[] | null; RSS: number; Usage: number };
}
type Stats = { Tasks: Record<string, { ResourceUsage: Usage } | null> | null };

async function readStats(context: Context, stub: AllocStub): Promise<Stats | undefined> {
  return await fromNode(async () =>
    (await context.api.get<Stats>(`/v1/client/allocation/${stub.ID}/stats`, {
      query: { namespace: stub.Namespace || undefined },
    })).data
  );
}

/** What only the node can say: nothing when the node is away or has forgotten the allocation. */
async function fromNode<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof RequestError) return undefined;
    throw error;
  }
}

interface TaskView {
  name: string;
  state: TaskState;
  task: Task | undefined;
}

/** Tasks that come and go first, then sidecars, then the main ones, each by name; only those that have a state. */
function sortedTasks(alloc: FullAllocation): TaskView[] {
  const tasks = groupOf(alloc)?.Tasks ?? [];
  const views = Object.entries(alloc.TaskStates ?? {}).map(([name, state]) => ({
    name,
    state,
    task: tasks.find((task) => task.Name === name),
  }));
  const rank = (view: TaskView) => !view.task?.Lifecycle?.Hook ? 2 : view.task.Lifecycle.Sidecar ? 1 : 0;
  return views.sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
}

function groupOf(alloc: FullAllocation): TaskGroup | undefined {
  return alloc.Job?.TaskGroups?.find((group) => group.Name === alloc.TaskGroup);
}

/** "prestart sidecar", "main". */
function lifecycleText(view: TaskView): string {
  const lifecycle = view.task?.Lifecycle;
  if (!lifecycle?.Hook) return "main";
  return lifecycle.Sidecar ? `${lifecycle.Hook} sidecar` : lifecycle.Hook;
}

function showTasksShortly(context: Context, alloc: FullAllocation): void {
  context.ui.heading("Tasks");
  context.ui.output(formatTable([
    ["Name", "State", "Last Event", "Time", "Lifecycle"],
    ...sortedTasks(alloc).map((view) => {
      const last = view.state.Events?.at(-1);
      return [
        view.name,
        view.state.State,
        last?.Type ?? "<none>",
        last ? formatTimeNs(last.Time) : "<none>",
        lifecycleText(view),
      ];
    }),
  ]));
}

function showTask(
  context: Context,
  alloc: FullAllocation,
  view: TaskView,
  stats: Stats | undefined,
  withUsage: boolean,
): void {
  const { ui } = context;
  const lifecycle = lifecycleText(view);
  const kind = lifecycle === "main" ? "" : ` (${lifecycle})`;
  ui.heading(`Task ${quote(view.name)}${kind} is ${quote(view.state.State)}`);
  const usage = stats?.Tasks?.[view.name]?.ResourceUsage;
  ui.output(`Task Resources:\n${formatResources(alloc, view, usage)}`);
  if (withUsage && usage) showUsage(context, usage);
  ui.output("");
  ui.output(
    `Task Events:\n` + formatKeyValues([
      ["Started At", formatTimestamp(view.state.StartedAt)],
      ["Finished At", formatTimestamp(view.state.FinishedAt)],
      ["Total Restarts", view.state.Restarts],
      ["Last Restart", formatTimestamp(view.state.LastRestart)],
    ]),
  );
  showEvents(context, view.state);
}

function formatResources(alloc: FullAllocation, view: TaskView, usage: Usage | undefined): string {
  const allocated = alloc.AllocatedResources?.Tasks?.[view.name];
  const group = groupOf(alloc);
  const asked = view.task?.Resources as Resources | undefined;
  const cpu = allocated?.Cpu.CpuShares ?? asked?.CPU ?? 0;
  const memoryMb = allocated?.Memory.MemoryMB ?? asked?.MemoryMB ?? 0;
  const maxMb = allocated?.Memory.MemoryMaxMB ?? 0;
  const disk = group?.EphemeralDisk?.SizeMB ?? alloc.AllocatedResources?.Shared.DiskMB ?? 0;
  const used = usage ? usedMemory(usage) : undefined;
  const cpuText = usage ? `${Math.floor(usage.CpuStats.TotalTicks)}/${cpu} MHz` : `${cpu} MHz`;
  const total = formatBytes(memoryMb * MEBIBYTE);
  const addresses = (allocated?.Networks ?? []).flatMap(portTexts);
  const rows: string[][] = [["CPU", "Memory", "Disk", "Addresses"]];
  rows.push([
    cpuText,
    used === undefined ? total : `${formatBytes(used)}/${total}`,
    formatBytes(disk * MEBIBYTE),
    addresses[0] ?? "",
  ]);
  if (maxMb > 0 && maxMb !== memoryMb) rows.push(["", `Max: ${formatBytes(maxMb * MEBIBYTE)}`, "", ""]);
  for (const address of addresses.slice(1)) rows.push(["", "", "", address]);
  return formatBlankTable(rows);
}

function usedMemory(usage: Usage): number {
  const { Measured: measured, RSS: rss, Usage: total } = usage.MemoryStats;
  return (measured ?? []).includes("RSS") ? rss : total;
}

function portTexts(network: NetworkResource): string[] {
  return [...network.DynamicPorts ?? [], ...network.ReservedPorts ?? []]
    .map((port) => `${port.Label}: ${hostPort(network.IP, port.Value)}`);
}

function showUsage(context: Context, usage: Usage): void {
  const { ui } = context;
  const memory: Record<string, (value: number) => string> = {
    RSS: formatBytes,
    Cache: formatBytes,
    Swap: formatBytes,
    "Mapped File": formatBytes,
    Usage: formatBytes,
    "Max Usage": formatBytes,
    "Kernel Usage": formatBytes,
    "Kernel Max Usage": formatBytes,
  };
  const percent = (value: number) => `${value.toFixed(2)}%`;
  const cpu: Record<string, (value: number) => string> = {
    Percent: percent,
    "System Mode": percent,
    "User Mode": percent,
    "Throttled Periods": String,
    "Throttled Time": (ns) => formatDuration(ns),
  };
  showMeasured(ui, "Memory Stats", usage.MemoryStats, memory);
  showMeasured(ui, "CPU Stats", usage.CpuStats, cpu);
}

/** A table with one column for each thing that the driver measured. */
function showMeasured(
  ui: Context["ui"],
  title: string,
  stats: Record<string, unknown> & { Measured: string[] | null },
  formats: Record<string, (value: number) => string>,
): void {
  const names = (stats.Measured ?? []).filter((name) => formats[name]).sort();
  if (names.length === 0) return;
  const values = names.map((name) => formats[name]!(Number(stats[name.replaceAll(" ", "")] ?? 0)));
  ui.output(`\n${title}\n${formatTable([names, values])}`);
}

function showEvents(context: Context, state: TaskState): void {
  const events = (state.Events ?? []).toReversed().slice(0, EVENTS_MAX);
  if (events.length === 0) return;
  context.ui.output(
    "\nRecent Events:\n" +
      formatTable([
        ["Time", "Type", "Description"],
        ...events.map((
          event,
        ) => [formatTimeNs(event.Time), event.Type, (event.DisplayMessage ?? "").replaceAll("\n", " ")]),
      ]),
  );
}

/** How the scheduler rated the nodes. */
function showMetrics(context: Context, alloc: FullAllocation): void {
  const scores = alloc.Metrics?.ScoreMetaData ?? [];
  if (scores.length === 0) return;
  const names = [...new Set(scores.flatMap((entry) => Object.keys(entry.Scores ?? {})))].sort();
  context.ui.heading("Placement Metrics");
  context.ui.output(formatTable([
    ["Node", ...names, "final score"],
    ...scores.map((entry) => [
      entry.NodeID,
      ...names.map((name) => shortNumber(entry.Scores?.[name] ?? 0)),
      shortNumber(entry.NormScore),
    ]),
  ]));
}

/** Three significant digits. */
function shortNumber(value: number): string {
  return String(Number(value.toPrecision(3)));
}
