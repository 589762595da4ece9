// What changes a job: register, stop, evaluate, dispatch, force a periodic launch, revert, scale, tag, stability.
//
// Invariants: ids and times are stamped here, so that applying is deterministic; nothing is proposed that was not
// admitted (job_admission.ts).
import { Buffer } from "node:buffer";
import { ApiError } from "../core/errors.ts";
import type { Evaluation, Job, JobVersionTag } from "../core/types.ts";
import type { ScalingEvent } from "./commands.ts";
import type { ServerContext } from "./context.ts";
import { jobEvaluation } from "./evaluations.ts";
import { type Api, demandJob, stamp, writeMeta } from "./http_api.ts";
import { type Exchange, readHeaders, textReply } from "./http_exchange.ts";
import { jobIdOf } from "./http_job.ts";
import { admitJob, decodeJobBody, preserve, submissionOf } from "./job_admission.ts";
import { childOf, dispatchProblem } from "./job_children.ts";
import { registerShape } from "./job_schema.ts";
import { any, bool, bytes, int, int64, map, str, struct, uint64 } from "./json_decode.ts";
import { formatMultiError } from "./multi_error.ts";
import { periodicChild } from "./periodic.ts";
import type { JobWritten } from "./state_jobs.ts";

/** Whether registering the job asks for an evaluation: templates of children do not. */
function isEvaluated(job: Job): boolean {
  return job.Periodic === null && (job.ParameterizedJob === null || job.Dispatched);
}

function checkEvalPriority(priority: number): void {
  if (priority !== 0 && (priority < 1 || priority > 100)) {
    throw new ApiError(400, "Eval priority must be between 1 and 100 inclusively");
  }
}

export function registerAt(q: Exchange, api: Api): Promise<Response> {
  return registerJob(q, api, jobIdOf(q));
}

/** PUT /v1/jobs and /v1/job/:id. */
export async function registerJob(q: Exchange, api: Api, pathId: string | null): Promise<Response> {
  const { server } = api;
  const body = await decodeJobBody(q, registerShape);
  if (!body.Job.ID) throw new ApiError(400, "Job ID hasn't been provided");
  if (pathId !== null && body.Job.ID !== pathId) throw new ApiError(400, "Job ID does not match name");
  checkEvalPriority(body.EvalPriority ?? 0);
  const existing = server.state.job(q.writeNamespace(body.Job.Namespace), body.Job.ID);
  const { job, errors, warnings } = admitJob(preserve(body, existing), q, api);
  if (job.Type === "system" && job.TaskGroups.some((group) => group.Scaling)) {
    throw new ApiError(400, "Task groups with job type system do not support scaling blocks");
  }
  if (errors.length > 0) throw new ApiError(500, formatMultiError(errors));
  const evals = isEvaluated(job)
    ? [jobEvaluation(job, "job-register", stamp(api), { Priority: body.EvalPriority || job.Priority })]
    : [];
  const { index, result } = await server.propose({
    kind: "job.register",
    time: server.nowNs(),
    job: { ...job, SubmitTime: server.nowNs() },
    submission: submissionOf(body.Submission, job, server.config.jobSourceMaxBytes),
    evals,
    ...(body.EnforceIndex ? { enforceIndex: body.JobModifyIndex ?? 0 } : {}),
  });
  return registered(q, { index, evaluation: evals[0], written: result.value as JobWritten, warnings });
}

interface Registered {
  index: number;
  evaluation: Evaluation | undefined;
  written: JobWritten;
  warnings: string;
}

function registered(q: Exchange, { index, evaluation, written, warnings }: Registered): Response {
  return q.written({
    EvalID: evaluation?.ID ?? "",
    EvalCreateIndex: evaluation ? index : 0,
    JobModifyIndex: written.job.JobModifyIndex,
    Warnings: warnings,
    ...writeMeta(index),
  }, index);
}

/** DELETE /v1/job/:id. */
export async function deregister(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q);
  const namespace = q.writeNamespace();
  const purge = q.bool("purge") ?? false;
  q.bool("global");
  const noShutdownDelay = q.bool("no_shutdown_delay") ?? false;
  const priority = q.int("eval_priority") ?? 0;
  checkEvalPriority(priority);
  const { server } = api;
  const job = server.state.job(namespace, id);
  if (!job) return stopped(q, 0, undefined);
  const evals = isEvaluated(job)
    ? [jobEvaluation(job, "job-deregister", stamp(api), { Priority: priority || job.Priority })]
    : [];
  const { index } = await server.propose({
    kind: "job.deregister",
    time: server.nowNs(),
    namespace,
    id,
    purge,
    noShutdownDelay,
    evals,
  });
  return stopped(q, index, evals[0]);
}

function stopped(q: Exchange, index: number, evaluation: Evaluation | undefined): Response {
  return q.written({
    EvalID: evaluation?.ID ?? "",
    EvalCreateIndex: evaluation ? index : 0,
    JobModifyIndex: index,
    VolumeEvalID: "",
    VolumeEvalIndex: 0,
    ...writeMeta(index),
  }, index);
}

const evaluateShape = struct("api.JobEvaluateRequest", {
  JobID: str,
  EvalOptions: struct("api.EvalOptions", { ForceReschedule: bool }),
});

/** PUT /v1/job/:id/evaluate. */
export async function evaluate(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/evaluate");
  let force = false;
  if ((await q.body()).length > 0) {
    const body = await q.json<{ JobID?: string; EvalOptions?: { ForceReschedule?: boolean } }>(evaluateShape);
    if (!body.JobID) throw new ApiError(400, "Job ID must be specified");
    if (body.JobID !== id) throw new ApiError(400, "JobID not same as job name");
    force = body.EvalOptions?.ForceReschedule ?? false;
  }
  const namespace = q.writeNamespace();
  const job = demandJob(api, namespace, id);
  if (job.Periodic) throw new ApiError(500, "can't evaluate periodic job");
  if (job.ParameterizedJob && !job.Dispatched) throw new ApiError(500, "can't evaluate parameterized job");
  const { server } = api;
  const evaluation = jobEvaluation(job, "job-register", stamp(api), { JobModifyIndex: job.ModifyIndex });
  const transitions: Record<string, { ForceReschedule: boolean }> = {};
  if (force) {
    for (const alloc of server.state.allocsByJob(namespace, id)) {
      if (alloc.ClientStatus === "failed" && alloc.DesiredStatus === "run" && alloc.NextAllocation === "") {
        transitions[alloc.ID] = { ForceReschedule: true };
      }
    }
  }
  const time = server.nowNs();
  const { index } = await server.propose(
    Object.keys(transitions).length > 0
      ? { kind: "alloc.transition", time, transitions, evals: [evaluation] }
      : { kind: "eval.upsert", time, evals: [evaluation] },
  );
  return q.written({
    EvalID: evaluation.ID,
    EvalCreateIndex: index,
    JobModifyIndex: job.ModifyIndex,
    Warnings: "",
    ...writeMeta(index),
  }, index);
}

const dispatchShape = struct("api.JobDispatchRequest", {
  JobID: str,
  Payload: bytes,
  Meta: map(str),
  IdPrefixTemplate: str,
  Priority: int,
});

interface DispatchBody {
  Payload?: string;
  Meta?: Record<string, string>;
  IdPrefixTemplate?: string;
  Priority?: number;
}

/** PUT /v1/job/:id/dispatch. */
export async function dispatch(q: Exchange, api: Api): Promise<Response> {
  const body = await q.json<DispatchBody>(dispatchShape);
  return await dispatchChild(q, api, jobIdOf(q, "/dispatch"), body);
}

/** PUT /v1/job/:id/dispatch/payload: the body is the payload. */
export async function dispatchPayload(q: Exchange, api: Api): Promise<Response> {
  const payload = Buffer.from(await q.body()).toString("base64");
  return await dispatchChild(q, api, jobIdOf(q, "/dispatch/payload"), { Payload: payload });
}

async function dispatchChild(q: Exchange, api: Api, id: string, body: DispatchBody): Promise<Response> {
  const { server } = api;
  const namespace = q.writeNamespace();
  const parent = demandJob(api, namespace, id, 500, "parameterized job not found");
  const problem = dispatchProblem(parent, { payload: body.Payload ?? null, meta: body.Meta ?? {} });
  if (problem) throw new ApiError(500, problem);
  const token = q.parameter("idempotency_token");
  if (token !== "") {
    await underWay(api.server, `${namespace}\0${id}\0${token}`);
    const earlier = dispatchedBefore(api, parent, token);
    if (earlier) return dispatched(q, earlier, earlier.CreateIndex, undefined);
  }
  const seconds = Math.floor(server.nowNs() / 1e9);
  const prefix = body.IdPrefixTemplate ? `${body.IdPrefixTemplate}-` : "";
  const child: Job = {
    ...childOf(parent, `${parent.ID}/dispatch-${prefix}${seconds}-${server.random.uuid().slice(0, 8)}`),
    Dispatched: true,
    DispatchIdempotencyToken: token,
    Payload: body.Payload || null,
    Meta: parent.Meta || body.Meta ? { ...parent.Meta, ...body.Meta } : null,
    Priority: body.Priority || parent.Priority,
    SubmitTime: server.nowNs(),
  };
  const evaluation = jobEvaluation(child, "job-register", stamp(api));
  const proposal = server.propose({
    kind: "job.register",
    time: server.nowNs(),
    job: child,
    submission: null,
    evals: [evaluation],
    enforceIndex: 0,
  });
  if (token !== "") track(api.server, `${namespace}\0${id}\0${token}`, proposal);
  const { index } = await proposal;
  return dispatched(q, child, index, evaluation);
}

/** Dispatches with a token whose command is not yet applied: the next with the same token waits for it. */
const underWayByServer = new WeakMap<ServerContext, Map<string, Promise<unknown>>>();

async function underWay(server: ServerContext, key: string): Promise<void> {
  for (let known; (known = underWayByServer.get(server)?.get(key));) await known;
}

function track(server: ServerContext, key: string, proposal: Promise<unknown>): void {
  const known = underWayByServer.get(server) ?? new Map<string, Promise<unknown>>();
  underWayByServer.set(server, known);
  const done = () => void known.delete(key);
  known.set(key, proposal.then(done, done));
}

function dispatchedBefore(api: Api, parent: Job, token: string): Job | undefined {
  for (const child of api.server.state.jobChildren(parent.Namespace, parent.ID)) {
    if (child.DispatchIdempotencyToken === token) return child;
  }
  return undefined;
}

function dispatched(q: Exchange, child: Job, index: number, evaluation: Evaluation | undefined): Response {
  return q.written({
    DispatchedJobID: child.ID,
    EvalID: evaluation?.ID ?? "",
    EvalCreateIndex: evaluation ? index : 0,
    JobCreateIndex: index,
    Index: index,
  }, index);
}

/** PUT /v1/job/:id/periodic/force. */
export async function forcePeriodic(q: Exchange, api: Api): Promise<Response> {
  const { server } = api;
  const parent = demandJob(api, q.writeNamespace(), jobIdOf(q, "/periodic/force"));
  if (!parent.Periodic) throw new ApiError(500, "can't force launch non-periodic job");
  const launchMs = server.clock.nowMs();
  const child: Job = { ...periodicChild(parent, launchMs), SubmitTime: server.nowNs() };
  const evaluation = jobEvaluation(child, "periodic-job", stamp(api));
  const { index } = await server.propose({
    kind: "job.register",
    time: server.nowNs(),
    job: child,
    submission: null,
    evals: [evaluation],
  });
  await server.propose({
    kind: "job.periodicLaunch",
    time: server.nowNs(),
    namespace: parent.Namespace,
    id: parent.ID,
    launchMs,
  });
  return q.written({ EvalID: evaluation.ID, EvalCreateIndex: index, Index: index }, index);
}

const revertShape = struct("api.JobRevertRequest", {
  JobID: str,
  JobVersion: uint64,
  EnforcePriorVersion: uint64,
  ConsulToken: str,
  VaultToken: str,
});

/** PUT /v1/job/:id/revert. */
export async function revert(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/revert");
  const body = await q.json<{ JobID?: string; JobVersion?: number; EnforcePriorVersion?: number }>(
    revertShape,
  );
  if (!body.JobID) throw new ApiError(400, "JobID must be specified");
  if (body.JobID !== id) throw new ApiError(400, "Job ID does not match");
  const { server } = api;
  const namespace = q.writeNamespace();
  const current = demandJob(api, namespace, id);
  const version = body.JobVersion ?? 0;
  if (body.EnforcePriorVersion !== undefined && body.EnforcePriorVersion !== current.Version) {
    throw new ApiError(
      500,
      `Current job has version ${current.Version}; enforcing version ${body.EnforcePriorVersion}`,
    );
  }
  if (version === current.Version) throw new ApiError(500, "can't revert to current version");
  const target = server.state.jobVersion(namespace, id, version);
  if (!target) {
    throw new ApiError(
      500,
      `job ${JSON.stringify(id)} in namespace ${JSON.stringify(namespace)} at version ${version} not found`,
    );
  }
  const admitted = admitJob(target, q, api);
  const evaluation = jobEvaluation(target, "job-register", stamp(api));
  const { index, result } = await server.propose({
    kind: "job.register",
    time: server.nowNs(),
    job: { ...target, VersionTag: null, SubmitTime: server.nowNs() },
    submission: server.state.jobSubmission(namespace, id, version) ?? null,
    evals: [evaluation],
    enforceIndex: current.JobModifyIndex,
  });
  const written = result.value as JobWritten;
  const response = registered(q, { index, evaluation, written, warnings: admitted.warnings });
  // This one write answers with the headers of a read.
  const headers = readHeaders({ index, knownLeader: false, lastContactMs: 0 });
  for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
  return response;
}

const stableShape = struct("api.JobStabilityRequest", { JobID: str, JobVersion: uint64, Stable: bool });

/** PUT /v1/job/:id/stable. */
export async function setStable(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/stable");
  const body = await q.json<{ JobID?: string; JobVersion?: number; Stable?: boolean }>(stableShape);
  if (!body.JobID) throw new ApiError(400, "JobID must be specified");
  if (body.JobID !== id) throw new ApiError(400, "Job ID does not match");
  const { index } = await api.server.propose({
    kind: "job.stability",
    time: api.server.nowNs(),
    namespace: q.writeNamespace(),
    id,
    version: body.JobVersion ?? 0,
    stable: body.Stable ?? false,
  });
  return q.written({ Index: index }, index);
}

const tagShape = struct("api.TagVersionRequest", { Version: uint64, Description: str });

/** PUT and DELETE /v1/job/:id/versions/:name/tag. */
export async function tag(q: Exchange, api: Api): Promise<Response> {
  const path = jobIdOf(q, "/tag");
  const at = path.lastIndexOf("/versions/");
  if (at < 0) return textReply(404, "invalid job tag endpoint");
  const id = path.slice(0, at);
  const name = path.slice(at + "/versions/".length);
  const unset = q.method === "DELETE";
  const body = unset ? {} : await q.json<{ Version?: number; Description?: string }>(tagShape);
  const namespace = q.writeNamespace();
  const { server } = api;
  if (!server.state.job(namespace, id)) {
    const missing = unset
      ? `tag ${JSON.stringify(name)} not found on job ${JSON.stringify(id)}`
      : `job ${JSON.stringify(id)} version ${body.Version ?? 0} not found`;
    throw new ApiError(500, missing);
  }
  const { index, result } = await server.propose({
    kind: "job.tag",
    time: server.nowNs(),
    namespace,
    id,
    name,
    ...(unset ? { unset: true } : { version: body.Version ?? 0, description: body.Description ?? "" }),
  });
  return q.written({ ...result.value as JobVersionTag, ...writeMeta(index) }, null);
}

const scaleShape = struct("api.ScalingRequest", {
  Count: int64,
  Target: map(str),
  Message: str,
  Error: bool,
  Meta: map(any),
  PolicyOverride: bool,
  EnforceIndex: bool,
  JobModifyIndex: uint64,
});

interface ScaleBody {
  Count?: number;
  Target?: Record<string, string>;
  Message?: string;
  Error?: boolean;
  Meta?: Record<string, unknown>;
  EnforceIndex?: boolean;
  JobModifyIndex?: number;
}

/** PUT /v1/job/:id/scale: another count for one group, or only a note of what an autoscaler thought. */
export async function scale(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/scale");
  const body = await q.json<ScaleBody>(scaleShape);
  const groupName = checkScaleBody(body, id);
  const { server } = api;
  const namespace = q.writeNamespace();
  const job = demandJob(api, namespace, id, 404, `job ${JSON.stringify(id)} not found`);
  const group = job.TaskGroups.find((one) => one.Name === groupName);
  if (!group) {
    throw new ApiError(
      400,
      `task group ${JSON.stringify(groupName)} specified for scaling does not exist in job`,
    );
  }
  const evaluation = body.Count === undefined ? undefined : await setCount(api, job, groupName, body);
  const event: ScalingEvent = {
    Time: server.nowNs(),
    Count: body.Count ?? null,
    PreviousCount: group.Count,
    Message: body.Message ?? "",
    Error: body.Error ?? false,
    Meta: body.Meta ?? null,
    EvalID: evaluation?.evaluation.ID ?? null,
    CreateIndex: 0,
  };
  const time = server.nowNs();
  const { index } = await server.propose({
    kind: "job.scalingEvent",
    time,
    namespace,
    id,
    group: groupName,
    event,
  });
  return q.written({
    EvalID: evaluation?.evaluation.ID ?? "",
    EvalCreateIndex: evaluation?.index ?? 0,
    JobModifyIndex: server.state.job(namespace, id)?.JobModifyIndex ?? job.JobModifyIndex,
    Warnings: "",
    ...writeMeta(index),
    KnownLeader: true,
  }, index);
}

function checkScaleBody(body: ScaleBody, id: string): string {
  const target = body.Target ?? {};
  if (target.Job !== undefined && target.Job !== id) {
    throw new ApiError(400, "job ID in payload did not match URL");
  }
  if (!target.Group) throw new ApiError(400, "missing task group name for scaling action");
  if (body.Error && body.Count !== undefined) {
    throw new ApiError(400, "scaling action should not contain count if error is true");
  }
  if (body.Count !== undefined && body.Count < 0) {
    throw new ApiError(400, "scaling action count can't be negative");
  }
  return target.Group;
}

/** Registers the job with the group's new count. */
async function setCount(
  api: Api,
  job: Job,
  groupName: string,
  body: ScaleBody,
): Promise<{ index: number; evaluation: Evaluation }> {
  const { server } = api;
  const count = body.Count!;
  const policy = job.TaskGroups.find((group) => group.Name === groupName)!.Scaling;
  if (policy && policy.Max !== null && count > policy.Max) {
    throw new ApiError(400, `group count was greater than scaling policy maximum: ${count} > ${policy.Max}`);
  }
  if (policy && count < policy.Min) {
    throw new ApiError(400, `group count was less than scaling policy minimum: ${count} < ${policy.Min}`);
  }
  const deployment = server.state.latestDeployment(job.Namespace, job.ID);
  if (deployment && ["running", "paused", "blocked", "unblocking", "pending"].includes(deployment.Status)) {
    throw new ApiError(400, "job scaling blocked due to active deployment");
  }
  const evaluation = jobEvaluation(job, "job-scaling", stamp(api));
  const { index } = await server.propose({
    kind: "job.register",
    time: server.nowNs(),
    job: {
      ...job,
      SubmitTime: server.nowNs(),
      TaskGroups: job.TaskGroups.map((group) =>
        group.Name === groupName ? { ...group, Count: count } : group
      ),
    },
    submission: null,
    evals: [evaluation],
    enforceIndex: body.EnforceIndex ? body.JobModifyIndex ?? 0 : job.JobModifyIndex,
  });
  return { index, evaluation };
}
