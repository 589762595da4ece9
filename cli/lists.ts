// The tables that several commands print: jobs, allocations, nodes, evaluations, deployments.
import { formatAge, formatTimeNs, orNone, shortId } from "./format.ts";
import type { AllocStub, Deployment, EvalStub, JobStub, NodeStub } from "./records.ts";
import { byText, newestFirst } from "./records.ts";
import { formatTable } from "./table.ts";

export function jobTypeText(job: { Type: string; Periodic: unknown; ParameterizedJob: unknown }): string {
  return job.Type + (job.Periodic ? "/periodic" : "") + (job.ParameterizedJob ? "/parameterized" : "");
}

export function jobStatusText(job: { Status: string; Stop: boolean }): string {
  return job.Stop ? `${job.Status} (stopped)` : job.Status;
}

export function formatJobs(jobs: readonly JobStub[], withNamespace: boolean): string {
  const rows = byText(jobs, (job) => `${job.ID}\0${job.Namespace}`).map((job) => [
    job.ID,
    ...(withNamespace ? [job.Namespace] : []),
    jobTypeText(job),
    job.Priority,
    jobStatusText(job),
    formatTimeNs(job.SubmitTime),
  ]);
  return formatTable([
    ["ID", ...(withNamespace ? ["Namespace"] : []), "Type", "Priority", "Status", "Submit Date"],
    ...rows,
  ]);
}

export interface AllocTableStyle {
  verbose: boolean;
  nowMs: number;
  /** -verbose of job commands: evaluation and node name columns. */
  withEval?: boolean;
  withNodeName?: boolean;
  /** Times instead of ages. */
  exactTimes?: boolean;
}

export function formatAllocs(allocs: readonly AllocStub[], style: AllocTableStyle): string {
  if (allocs.length === 0) return "No allocations placed";
  const { verbose, nowMs } = style;
  const time = (ns: number) => style.exactTimes ? formatTimeNs(ns) : formatAge(ns, nowMs);
  const row = (alloc: AllocStub) => [
    shortId(alloc.ID, verbose),
    ...(style.withEval ? [shortId(alloc.EvalID, verbose)] : []),
    shortId(alloc.NodeID, verbose),
    ...(style.withNodeName ? [alloc.NodeName] : []),
    alloc.TaskGroup,
    alloc.JobVersion,
    alloc.DesiredStatus,
    alloc.ClientStatus,
    time(alloc.CreateTime),
    time(alloc.ModifyTime),
  ];
  return formatTable([
    [
      "ID",
      ...(style.withEval ? ["Eval ID"] : []),
      "Node ID",
      ...(style.withNodeName ? ["Node Name"] : []),
      "Task Group",
      "Version",
      "Desired",
      "Status",
      "Created",
      "Modified",
    ],
    ...newestFirst(allocs).map(row),
  ]);
}

/** The table of a job's allocations, which with -verbose names evaluation, node and exact times. */
export function formatJobAllocs(allocs: readonly AllocStub[], verbose: boolean, nowMs: number): string {
  return formatAllocs(allocs, {
    verbose,
    nowMs,
    withEval: verbose,
    withNodeName: verbose,
    exactTimes: verbose,
  });
}

/** The nodes that a prefix matched. */
export function formatNodeMatches(nodes: readonly NodeStub[], verbose: boolean): string {
  return formatTable([
    ["ID", "DC", "Name", "Class", "Drain", "Eligibility", "Status"],
    ...nodes.map((node) => [
      shortId(node.ID, verbose),
      node.Datacenter,
      node.Name,
      node.NodeClass,
      node.Drain,
      node.SchedulingEligibility,
      node.Status,
    ]),
  ]);
}

export function placementFailureText(evaluation: { Status: string; FailedTGAllocs?: object | null }): string {
  if (evaluation.Status === "blocked") return "N/A - In Progress";
  return String(Object.keys(evaluation.FailedTGAllocs ?? {}).length > 0);
}

export function formatEvals(evals: readonly (EvalStub & { Namespace?: string })[], verbose: boolean): string {
  return formatTable([
    ["ID", "Priority", "Triggered By", "Job ID", "Namespace", "Node ID", "Status", "Placement Failures"],
    ...newestFirst(evals).map((evaluation) => [
      shortId(evaluation.ID, verbose),
      evaluation.Priority,
      evaluation.TriggeredBy,
      evaluation.JobID,
      evaluation.Namespace ?? "",
      orNone(shortId(evaluation.NodeID ?? "", verbose)),
      evaluation.Status,
      placementFailureText(evaluation),
    ]),
  ]);
}

export function formatDeployments(deployments: readonly Deployment[], verbose: boolean): string {
  if (deployments.length === 0) return "No deployments found";
  return formatTable([
    ["ID", "Job ID", "Job Version", "Status", "Description"],
    ...newestFirst(deployments).map((deployment) => [
      shortId(deployment.ID, verbose),
      deployment.JobID,
      deployment.JobVersion,
      deployment.Status,
      deployment.StatusDescription,
    ]),
  ]);
}
