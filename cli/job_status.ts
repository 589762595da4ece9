// `job status`: all jobs as a list, or one job with its groups, evaluations, deployment, actions and allocations.
import type { Evaluation, Job, JobSummary } from "../core/types.ts";
import { bool, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { formatDeployment } from "./deployment_text.ts";
import { attempt } from "./errors.ts";
import { formatAheadOf, formatTimeMs, formatTimeNs, formatUntil, quote, shortId } from "./format.ts";
import { formatJobAllocs, formatJobs, jobStatusText, placementFailureText } from "./lists.ts";
import { outputData, wantsData } from "./output.ts";
import { parseExact } from "./json_text.ts";
import { explainMetrics, failedGroups } from "./placement.ts";
import type { AllocStub, Deployment, JobStub } from "./records.ts";
import { completeRecords } from "./record_defaults.ts";
import { newestFirst } from "./records.ts";
import { type JobMatch, jobPath, resolveJob } from "./resolve.ts";
import { formatKeyValues, formatTable } from "./table.ts";

const FAILED_GROUPS_MAX = 5;
const GO_TYPE = "command.JobJson";

export const jobStatus = command({
  form: "nomad job status [options] <job>",
  helpName: "status",
  about: `Display status information about a job. If no job ID is given, a list of all
known jobs will be displayed.

When ACLs are enabled, this command requires a token with the 'read-job'
capability for the job's namespace. The 'list-jobs' capability is required to
run the command with a job prefix instead of the exact job ID.`,
  general: "all",
  title: "Status Options",
  hints: true,
  args: { min: 0, max: 1, complaint: "This command takes either no arguments or one: <job>" },
  flags: {
    "all-allocs": bool(
      "Display all allocations matching the job ID, including those from an older\ninstance of the job.",
    ),
    evals: bool("Display the evaluations associated with the job."),
    json: bool("Output the job status in JSON format."),
    short: bool(
      "Display short output. Used only when a single job is being\nqueried, and drops verbose information about allocations.",
    ),
    t: string("Format and display the job status using a Go template."),
    ui: bool("Open the job status page in the browser."),
    verbose: bool("Display full information."),
  },
  run: (context) => showJobStatus(context, context.args[0], context.flags),
});

export interface JobStatusFlags {
  "all-allocs": boolean;
  evals: boolean;
  json: boolean;
  short: boolean;
  t: string;
  ui: boolean;
  verbose: boolean;
}

/** What `nomad status` shows for jobs too. */
export async function showJobStatus(
  context: Context,
  typed: string | undefined,
  flags: JobStatusFlags,
): Promise<number> {
  if (typed === undefined) return await listJobs(context, flags);
  if (wantsData(flags)) {
    const match = await resolveJob(context, typed);
    return await outputData(
      context,
      flags,
      { value: [await jobData(context, match.id, match.namespace)] },
      GO_TYPE,
    );
  }
  const match = await resolveJob(context, typed);
  await showJob(context, match, flags);
  const page = `/ui/jobs/${encodeURIComponent(match.id)}@${match.namespace}`;
  await context.hint("View job details and metrics in the Web UI", page, { open: flags.ui });
  return 0;
}

async function listJobs(context: Context, flags: JobStatusFlags): Promise<number> {
  const { data } = await attempt("Error querying jobs", context.api.get<JobStub[]>("/v1/jobs"));
  if (wantsData(flags)) {
    const value = await Promise.all(data.map((job) => jobData(context, job.ID, job.Namespace)));
    return await outputData(context, flags, { value }, GO_TYPE);
  }
  context.ui.output(data.length === 0 ? "No running jobs" : formatJobs(data, context.api.namespace === "*"));
  await context.hint("View and manage Nomad jobs in the Web UI", "/ui/jobs", { open: flags.ui });
  return 0;
}

/** What -json and -t show of a job. */
async function jobData(context: Context, id: string, namespace: string) {
  const query = { namespace };
  const read = (what: string, rest: string) =>
    attempt(what, context.api.get<unknown>(jobPath(id, rest), { query }));
  const [summary, allocs, deployment, evals] = await Promise.all([
    read("Error querying job summary", "/summary"),
    read("Error querying job allocations", "/allocations"),
    read("Error querying latest job deployment", "/deployment"),
    read("Error querying job evaluations", "/evaluations"),
  ]);
  return {
    Allocations: completeRecords(parseExact(allocs.text), "*api.AllocationListStub"),
    Evaluations: completeRecords(parseExact(evals.text), "*api.Evaluation"),
    LatestDeployment: parseExact(deployment.text),
    Summary: parseExact(summary.text),
  };
}

async function showJob(context: Context, match: JobMatch, flags: JobStatusFlags): Promise<void> {
  const query = { namespace: match.namespace };
  const read = <T>(what: string, rest: string, more: Record<string, boolean> = {}) =>
    attempt(what, context.api.get<T>(jobPath(match.id, rest), { query: { ...query, ...more } }));
  const job = (await read<Job>("Error querying job", "")).data;
  const ui = context.ui;
  ui.output(formatKeyValues(await headPairs(context, job)));
  if (flags.short) return;
  if (job.Periodic && !job.ParameterizedJob) return await showPeriodic(context, job);
  if (job.ParameterizedJob) return await showParameterized(context, job);

  const [summary, allocs, evals, deployment, actions] = await Promise.all([
    read<JobSummary>("Error querying job summary", "/summary"),
    read<AllocStub[]>("Error querying job allocations", "/allocations", { all: flags["all-allocs"] }),
    read<Evaluation[]>("Error querying job evaluations", "/evaluations"),
    read<Deployment | null>("Error querying latest job deployment", "/deployment"),
    read<JobAction[] | null>("Error querying job actions", "/actions"),
  ]);
  showSummary(context, summary.data);
  const sorted = newestFirst(evals.data ?? []);
  if (flags.verbose || flags.evals) showEvaluations(context, sorted, flags.verbose);
  showPlacementFailure(context, sorted);
  showFutureReschedules(context, allocs.data ?? [], sorted, flags.verbose);
  if (deployment.data) {
    ui.heading("Latest Deployment");
    ui.coloured(formatDeployment(deployment.data, { verbose: flags.verbose, withJob: false, colours: ui.c }));
  }
  if (actions.data && actions.data.length > 0) showActions(context, actions.data);
  ui.heading("Allocations");
  ui.output(formatJobAllocs(allocs.data ?? [], flags.verbose, context.now()));
}

async function headPairs(context: Context, job: Job): Promise<[string, unknown][]> {
  const pairs: [string, unknown][] = [
    ["ID", job.ID],
    ["Name", job.Name],
    ["Submit Date", formatTimeNs(job.SubmitTime)],
    ["Type", job.Type],
    ["Priority", job.Priority],
    ["Datacenters", (job.Datacenters ?? []).join(",")],
    ["Namespace", job.Namespace],
    ["Node Pool", job.NodePool],
    ["Status", jobStatusText(job)],
    ["Periodic", Boolean(job.Periodic)],
    ["Parameterized", Boolean(job.ParameterizedJob)],
  ];
  if (job.Periodic && !job.ParameterizedJob) {
    const { nextPeriodicLaunch } = await import("./periodic.ts");
    const next = nextPeriodicLaunch(job.Periodic, context.now());
    pairs.push(["Next Periodic Launch", nextLaunchText(job, next, context.now())]);
  }
  return pairs;
}

async function showPeriodic(context: Context, job: Job): Promise<void> {
  const query = { namespace: job.Namespace };
  const [summary, children] = await Promise.all([
    attempt(
      "Error querying job summary",
      context.api.get<JobSummary>(jobPath(job.ID, "/summary"), { query }),
    ),
    readChildren(context, job, "periodic"),
  ]);
  showChildrenSummary(context, "Children Job Summary", summary.data);
  showChildren(context, children, "Previously Launched Jobs", "No instances of periodic job found");
}

async function showParameterized(context: Context, job: Job): Promise<void> {
  const { ui } = context;
  const config = job.ParameterizedJob!;
  ui.heading("Parameterized Job");
  ui.output(formatKeyValues([
    ["Payload", config.Payload],
    ["Required Metadata", (config.MetaRequired ?? []).join(", ")],
    ["Optional Metadata", (config.MetaOptional ?? []).join(", ")],
  ]));
  const query = { namespace: job.Namespace };
  const [summary, children] = await Promise.all([
    attempt(
      "Error querying job summary",
      context.api.get<JobSummary>(jobPath(job.ID, "/summary"), { query }),
    ),
    readChildren(context, job, "dispatch"),
  ]);
  showChildrenSummary(context, "Parameterized Job Summary", summary.data);
  showChildren(context, children, "Dispatched Jobs", "No dispatched instances of parameterized job found");
}

/** Jobs that a periodic or parameterized job started. */
async function readChildren(context: Context, job: Job, kind: "periodic" | "dispatch"): Promise<JobStub[]> {
  const { data } = await attempt(
    "Error querying job",
    context.api.get<JobStub[]>("/v1/jobs", {
      query: { prefix: `${job.ID}/${kind}-`, namespace: job.Namespace },
    }),
  );
  return (data ?? []).filter((child) => child.ParentID === job.ID);
}

function showChildrenSummary(context: Context, title: string, summary: JobSummary): void {
  const children = summary.Children ?? { Pending: 0, Running: 0, Dead: 0 };
  context.ui.heading(title);
  context.ui.output(
    formatTable([["Pending", "Running", "Dead"], [children.Pending, children.Running, children.Dead]]),
  );
}

function showChildren(context: Context, children: JobStub[], title: string, none: string): void {
  if (children.length === 0) {
    context.ui.output(`\n${none}`);
    return;
  }
  context.ui.heading(title);
  context.ui.output(
    formatTable([["ID", "Status"], ...children.map((child) => [child.ID, jobStatusText(child)])]),
  );
}

function showSummary(context: Context, summary: JobSummary): void {
  const groups = Object.entries(summary.Summary ?? {}).sort(([a], [b]) => a < b ? -1 : 1);
  context.ui.heading("Summary");
  context.ui.output(formatTable([
    ["Task Group", "Queued", "Starting", "Running", "Failed", "Complete", "Lost", "Unknown"],
    ...groups.map(([name, group]) => [
      name,
      group.Queued,
      group.Starting,
      group.Running,
      group.Failed,
      group.Complete,
      group.Lost,
      group.Unknown,
    ]),
  ]));
}

function showEvaluations(context: Context, evals: Evaluation[], verbose: boolean): void {
  context.ui.heading("Evaluations");
  context.ui.output(formatTable([
    ["ID", "Priority", "Triggered By", "Status", "Placement Failures"],
    ...evals.map((evaluation) => [
      shortId(evaluation.ID, verbose),
      evaluation.Priority,
      evaluation.TriggeredBy,
      evaluation.Status,
      placementFailureText(evaluation),
    ]),
  ]));
}

/** Why groups wait for room: what the newest evaluation with failures says, while one is blocked. */
function showPlacementFailure(context: Context, evals: Evaluation[]): void {
  const { ui } = context;
  const isBlocked = evals.some((evaluation) => evaluation.Status === "blocked");
  const failed = evals.find((evaluation) => failedGroups(evaluation.FailedTGAllocs).length > 0);
  if (!isBlocked || !failed) return;
  const groups = failedGroups(failed.FailedTGAllocs);
  ui.heading("Placement Failure");
  for (const [name, metric] of groups.slice(0, FAILED_GROUPS_MAX)) {
    ui.coloured(
      `Task Group ${quote(name)}:\n${ui.c.red}${explainMetrics(metric, "  ").join("\n")}${ui.c.reset}`,
    );
  }
  if (groups.length > FAILED_GROUPS_MAX) {
    ui.output(
      `\nPlacement failures truncated. To see remainder run:\nnomad eval status ${failed.ID.slice(0, 8)}`,
    );
  }
}

/** Allocations that failed and will be placed again later. */
function showFutureReschedules(
  context: Context,
  allocs: AllocStub[],
  evals: Evaluation[],
  verbose: boolean,
): void {
  const rows = allocs.flatMap((alloc) => {
    const followup = alloc.FollowupEvalID && !alloc.NextAllocation
      ? evals.find((evaluation) => evaluation.ID === alloc.FollowupEvalID && evaluation.Status === "pending")
      : undefined;
    const at = Date.parse(followup?.WaitUntil ?? "");
    if (!followup || Number.isNaN(at) || at <= context.now()) return [];
    return [[alloc.TaskGroup, shortId(followup.ID, verbose), formatAheadOf(at, context.now())]];
  });
  if (rows.length === 0) return;
  context.ui.heading("Future Rescheduling Attempts");
  context.ui.output(formatTable([["Task Group", "Eval ID", "Eval Time"], ...rows]));
}

interface JobAction {
  Name: string;
  TaskGroupName: string;
  TaskName: string;
}

function showActions(context: Context, actions: JobAction[]): void {
  context.ui.heading("Actions");
  context.ui.output(formatTable([
    ["Action Name", "Task Group", "Task"],
    ...actions.map((action) => [action.Name, action.TaskGroupName, action.TaskName]),
  ]));
}

/** The launch line of a periodic job. */
function nextLaunchText(job: Job, nextMs: number | undefined, nowMs: number): string {
  if (job.Stop) return "none (job stopped)";
  return nextMs === undefined ? "none" : `${formatTimeMs(nextMs)} (${formatUntil(nextMs, nowMs)})`;
}
