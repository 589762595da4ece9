// /v1/job/:id and below: reading one job, its versions, allocations, evaluations, deployments, scaling status. What
// changes a job is in http_job_<what>.ts, planning in http_plan.ts. Ids may hold slashes, escaped or not, so the last
// part of the path decides what is asked.
import { ApiError } from "../core/errors.ts";
import type { Allocation, Evaluation, Job } from "../core/types.ts";
import {
  type Api,
  byMethod,
  demandJob,
  type Handler,
  jobIdOf,
  type Method,
  onWrite,
  type Route,
} from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { runAction } from "./http_exec.ts";
import { dispatch, dispatchPayload, forcePeriodic } from "./http_job_dispatch.ts";
import { scale } from "./http_job_scale.ts";
import { revert, setStable, tag } from "./http_job_versions.ts";
import { deregister, evaluate, registerAt } from "./http_job_write.ts";
import { applyFilter, readFilter } from "./http_list.ts";
import { planJob, versionDiffs } from "./http_plan.ts";
import type { Answer } from "./http_read.ts";
import { allocationStub, deploymentView, evaluationView, jobView } from "./views.ts";

/** Longest first where one ends in the other. */
const BELOW: [suffix: string, methods: Partial<Record<Method, Handler>>][] = [
  ["/allocations", { GET: jobAllocations }],
  ["/evaluations", { GET: jobEvaluations }],
  ["/deployments", { GET: jobDeployments }],
  ["/deployment", { GET: jobDeployment }],
  ["/summary", { GET: jobSummary }],
  ["/versions", { GET: jobVersions }],
  ["/submission", { GET: jobSubmission }],
  ["/services", { GET: jobServices }],
  ["/actions", { GET: jobActions }],
  ["/action", { GET: runAction, ...onWrite(runAction) }],
  ["/scale", { GET: scaleStatus, ...onWrite(scale) }],
  ["/plan", onWrite(planJob)],
  ["/evaluate", onWrite(evaluate)],
  ["/dispatch/payload", onWrite(dispatchPayload)],
  ["/dispatch", onWrite(dispatch)],
  ["/periodic/force", onWrite(forcePeriodic)],
  ["/revert", onWrite(revert)],
  ["/stable", onWrite(setStable)],
  ["/tag", { ...onWrite(tag), DELETE: tag }],
];

const WHOLE: Partial<Record<Method, Handler>> = { GET: readJob, ...onWrite(registerAt), DELETE: deregister };

function jobRoute(q: Exchange, api: Api): Response | Promise<Response> {
  for (const [suffix, methods] of BELOW) if (q.path.endsWith(suffix)) return byMethod(q, api, methods);
  return byMethod(q, api, WHOLE);
}

export const jobRoutes: Route[] = [{ path: "/v1/job/*", scope: "server", methods: jobRoute }];

function readJob(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q);
  const { namespace } = q.options;
  return api.reads.object(q, { keys: [`job:${namespace}/${id}`] }, () => {
    const job = api.server.state.job(namespace, id);
    if (!job) return missingJob(api);
    return { index: job.ModifyIndex, value: () => jobView(job) };
  });
}

function missingJob(api: Api, text = "job not found"): Answer {
  return { index: api.server.state.tableIndex("jobs"), missing: text };
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function jobAllocations(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/allocations");
  const { namespace } = q.options;
  const { state } = api.server;
  return api.reads.list(q, ["allocs"], () => {
    const allocs: Allocation[] = [...state.allocsByJob(namespace, id)].sort((a, b) => byText(a.ID, b.ID));
    return { value: allocs.map((alloc) => allocationStub(alloc, { resources: false, taskStates: true })) };
  });
}

function jobEvaluations(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/evaluations");
  const { namespace } = q.options;
  return api.reads.list(q, ["evals"], () => {
    const evals: Evaluation[] = [...api.server.state.evalsByJob(namespace, id)];
    evals.sort((a, b) => byText(a.Status, b.Status) || byText(a.ID, b.ID));
    return { value: evals.map(evaluationView) };
  });
}

function jobDeployments(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/deployments");
  const { namespace } = q.options;
  return api.reads.list(q, ["deployment"], () => {
    const deployments = [...api.server.state.deploymentsByJob(namespace, id)];
    return { value: deployments.sort((a, b) => byText(a.ID, b.ID)).map(deploymentView) };
  });
}

function jobDeployment(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/deployment");
  const { namespace } = q.options;
  return api.reads.list(q, ["deployment"], () => {
    const latest = api.server.state.latestDeployment(namespace, id);
    return { value: latest ? deploymentView(latest) : null };
  });
}

function jobSummary(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/summary");
  const { namespace } = q.options;
  const { state } = api.server;
  return api.reads.object(q, { keys: [`summary:${namespace}/${id}`] }, () => {
    const summary = state.jobSummary(namespace, id);
    if (!summary) return { index: state.tableIndex("job_summary"), missing: "job not found" };
    return { index: summary.ModifyIndex, value: () => summary };
  });
}

function jobVersions(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/versions");
  const { namespace } = q.options;
  const withDiffs = q.bool("diffs") ?? false;
  return api.reads.object(q, { tables: ["job_versions", "jobs"] }, () => {
    const versions = api.server.state.jobVersions(namespace, id);
    if (versions.length === 0) return missingJob(api, "job versions not found");
    const index = Math.max(...versions.map((job) => job.ModifyIndex));
    return {
      index,
      value: () => ({
        Versions: versions.map(jobView),
        Diffs: withDiffs ? versionDiffs(q, versions) : null,
        Index: index,
        LastContact: 0,
        KnownLeader: true,
        NextToken: "",
      }),
    };
  });
}

function jobSubmission(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/submission");
  const { namespace } = q.options;
  const version = q.parameter("version");
  if (!/^\d+$/.test(version)) {
    throw new ApiError(400, "Unable to parse job submission version parameter");
  }
  return api.reads.object(q, { keys: [`job:${namespace}/${id}`] }, () => {
    const submission = api.server.state.jobSubmission(namespace, id, Number(version));
    if (!submission) {
      return { index: api.server.state.tableIndex("job_submission"), missing: "job source not found" };
    }
    return { index: submission.JobModifyIndex, value: () => submission };
  });
}

function jobServices(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/services");
  const { namespace, filter } = q.options;
  const { state } = api.server;
  return api.reads.object(q, { tables: ["service_registrations"] }, () => {
    if (!state.job(namespace, id)) return { index: 0, missing: "job not found" };
    return {
      index: state.tableIndex("service_registrations"),
      value: () => {
        const accepts = readFilter(filter);
        const own = [...state.services(namespace)].filter((service) => service.JobID === id);
        const kept = accepts ? own.filter((service) => applyFilter(accepts, service)) : own;
        return kept.sort((a, b) => byText(a.ID, b.ID));
      },
    };
  });
}

function jobActions(q: Exchange, api: Api): Response {
  const id = jobIdOf(q, "/actions");
  const job = demandJob(api, q.options.namespace, id, 500, `Unknown job ${JSON.stringify(id)}`);
  const actions = job.TaskGroups.flatMap((group) =>
    group.Tasks.flatMap((task) =>
      (task.Actions ?? []).map((action) => ({ ...action, TaskName: task.Name, TaskGroupName: group.Name }))
    )
  );
  return q.read(actions, { index: 0, knownLeader: false, lastContactMs: 0 });
}

function scaleStatus(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/scale");
  const { namespace } = q.options;
  const { state } = api.server;
  return api.reads.object(q, { tables: ["jobs", "scaling_event", "allocs"] }, () => {
    const job = state.job(namespace, id);
    if (!job) return missingJob(api);
    const allocs = [...state.allocsByJob(namespace, id)];
    const events = state.scalingEvents(namespace, id);
    const index = Math.max(
      job.ModifyIndex,
      ...allocs.map((alloc) => alloc.ModifyIndex),
      ...Object.values(events).map((list) => list[0]?.CreateIndex ?? 0),
    );
    return { index, value: () => scaleView(job, allocs, events) };
  });
}

function scaleView(
  job: Job,
  allocs: readonly Allocation[],
  events: Readonly<Record<string, readonly unknown[]>>,
): unknown {
  const groups = job.TaskGroups.map((group) => {
    const live = allocs.filter((alloc) =>
      alloc.TaskGroup === group.Name && alloc.DesiredStatus === "run" &&
      (alloc.ClientStatus === "pending" || alloc.ClientStatus === "running" ||
        alloc.ClientStatus === "unknown")
    );
    const count = (holds: (alloc: Allocation) => boolean) => live.filter(holds).length;
    return [group.Name, {
      Desired: group.Count,
      Placed: live.length,
      Running: count((alloc) => alloc.ClientStatus === "running"),
      Healthy: count((alloc) => alloc.DeploymentStatus?.Healthy === true),
      Unhealthy: count((alloc) => alloc.DeploymentStatus?.Healthy === false),
      Events: events[group.Name] ?? null,
    }];
  });
  return {
    JobID: job.ID,
    Namespace: job.Namespace,
    JobCreateIndex: job.CreateIndex,
    JobModifyIndex: job.ModifyIndex,
    JobStopped: job.Stop,
    TaskGroups: Object.fromEntries(groups),
  };
}
