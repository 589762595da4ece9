// What changes a job as a whole: register, stop, evaluate. Dispatching and launching children is in
// http_job_dispatch.ts, versions in http_job_versions.ts, scaling in http_job_scale.ts.
//
// Invariants: ids and times are stamped here, so that applying is deterministic; nothing is proposed that was not
// admitted (job_admission.ts).
import { ApiError } from "../core/errors.ts";
import type { Evaluation, Job } from "../core/types.ts";
import { jobEvaluation } from "./evaluations.ts";
import { type Api, demandJob, jobIdOf, stamp, writeMeta } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { write } from "./http_once.ts";
import { admitJob, decodeJobBody, formatWarnings, preserve, readSubmission } from "./job_admission.ts";
import { registerShape } from "./job_schema.ts";
import { bool, str, struct } from "./json_decode.ts";
import { formatMultiError } from "./multi_error.ts";
import { type AnswerPlan, fillAnswer } from "./state_requests.ts";

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
  const submission = readSubmission(body.Submission, job, server.config.jobSourceMaxBytes);
  if (job.Type === "system" && job.TaskGroups.some((group) => group.Scaling)) {
    throw new ApiError(400, "Task groups with job type system do not support scaling blocks");
  }
  if (errors.length > 0) throw new ApiError(500, formatMultiError(errors));
  const evals = isEvaluated(job)
    ? [jobEvaluation(job, "job-register", stamp(api), { Priority: body.EvalPriority || job.Priority })]
    : [];
  return await write(q, api, {
    kind: "job.register",
    time: server.nowNs(),
    job: { ...job, SubmitTime: server.nowNs() },
    submission: submission.kept,
    evals,
    ...(body.EnforceIndex ? { enforceIndex: body.JobModifyIndex ?? 0 } : {}),
  }, registered(evals[0], formatWarnings([...warnings, ...submission.warnings])));
}

/** The answer of register, scale and revert. */
export function registered(
  evaluation: Evaluation | undefined,
  warnings: string,
  more: Record<string, unknown> = {},
): AnswerPlan {
  return {
    body: {
      EvalID: evaluation?.ID ?? "",
      EvalCreateIndex: 0,
      JobModifyIndex: 0,
      Warnings: warnings,
      ...writeMeta(0),
      ...more,
    },
    index: evaluation ? ["EvalCreateIndex", "Index"] : ["Index"],
    value: { JobModifyIndex: ["job", "JobModifyIndex"] },
  };
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
  // There is nothing to write, and nothing to remember.
  if (!job) return q.written(fillAnswer(stopped(undefined), 0, null), 0);
  const evals = isEvaluated(job)
    ? [jobEvaluation(job, "job-deregister", stamp(api), { Priority: priority || job.Priority })]
    : [];
  return await write(q, api, {
    kind: "job.deregister",
    time: server.nowNs(),
    namespace,
    id,
    purge,
    noShutdownDelay,
    evals,
  }, stopped(evals[0]));
}

function stopped(evaluation: Evaluation | undefined): AnswerPlan {
  return {
    body: {
      EvalID: evaluation?.ID ?? "",
      EvalCreateIndex: 0,
      JobModifyIndex: 0,
      VolumeEvalID: "",
      VolumeEvalIndex: 0,
      ...writeMeta(0),
    },
    index: [...(evaluation ? ["EvalCreateIndex"] : []), "JobModifyIndex", "Index"],
  };
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
  return await write(
    q,
    api,
    Object.keys(transitions).length > 0
      ? { kind: "alloc.transition", time, transitions, evals: [evaluation] }
      : { kind: "eval.upsert", time, evals: [evaluation] },
    {
      body: {
        EvalID: evaluation.ID,
        EvalCreateIndex: 0,
        JobModifyIndex: job.ModifyIndex,
        Warnings: "",
        ...writeMeta(0),
      },
      index: ["EvalCreateIndex", "Index"],
    },
  );
}
