// /v1/job/:id/plan: what registering a job would do, without doing it; and the differences between versions.
import { ApiError } from "../core/errors.ts";
import { formatTimeSeconds } from "../core/time.ts";
import type { Evaluation, Job } from "../core/types.ts";
import { nextLaunchMs } from "./cron_schedule.ts";
import { annotateDiff } from "./diff_annotations.ts";
import { type Api, jobIdOf } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { admitJob, decodeJobBody, formatWarnings, preserve } from "./job_admission.ts";
import { diffJobs } from "./job_diff.ts";
import { planShape } from "./job_schema.ts";
import { formatMultiError } from "./multi_error.ts";
import { evaluationView } from "./views.ts";

/** PUT /v1/job/:id/plan. */
export async function planJob(q: Exchange, api: Api): Promise<Response> {
  const { server } = api;
  const body = await decodeJobBody(q, planShape);
  if (!body.Job.ID) throw new ApiError(400, "Job must have a valid ID");
  if (body.Job.ID !== jobIdOf(q, "/plan")) throw new ApiError(400, "Job ID does not match");
  const existing = server.state.job(q.writeNamespace(body.Job.Namespace), body.Job.ID);
  const { job, errors, warnings } = admitJob(preserve(body, existing), q, api);
  if (errors.length > 0) throw new ApiError(500, formatMultiError(errors));
  const run = server.dryRun(job, { annotate: body.Diff ?? false });
  const annotations = run.evaluation.PlanAnnotations;
  const diff = body.Diff
    ? annotateDiff(diffJobs(existing ?? null, job, { contextual: true }), annotations)
    : null;
  const index = existing?.JobModifyIndex ?? 0;
  const failed = Object.keys(run.failed).length > 0 ? run.failed : null;
  return q.written({
    Annotations: annotations,
    FailedTGAllocs: failed,
    JobModifyIndex: index,
    CreatedEvals: run.createdEvals.length > 0 ? run.createdEvals.map(createdEvaluation) : null,
    Diff: diff,
    NextPeriodicLaunch: nextLaunch(job, server.clock.nowMs()),
    Warnings: formatWarnings(warnings),
    Index: index,
  }, index);
}

/** Nothing was written, so nothing has an index. */
function createdEvaluation(evaluation: Evaluation): Record<string, unknown> {
  return evaluationView({ ...evaluation, SnapshotIndex: 0, CreateIndex: 0, ModifyIndex: 0 });
}

function nextLaunch(job: Job, nowMs: number): string | null {
  const launchMs = job.Periodic?.Enabled ? nextLaunchMs(job.Periodic, nowMs) : null;
  return launchMs === null ? null : formatTimeSeconds(launchMs * 1e6);
}

/**
 * Differences between kept versions (newest first): each to the one before it, or all to the one that `diff_tag` or
 * `diff_version` names.
 */
export function versionDiffs(q: Exchange, versions: readonly Job[]): unknown[] {
  const tag = q.parameter("diff_tag");
  const versionText = q.parameter("diff_version");
  if (tag === "" && versionText === "") {
    return versions.slice(0, -1).map((job, i) => diffJobs(versions[i + 1]!, job, { contextual: true }));
  }
  if (tag !== "" && versionText !== "") {
    throw new ApiError(400, "diff_tag and diff_version cannot be used together: give one of them");
  }
  if (versionText !== "" && !/^\d+$/.test(versionText)) {
    throw new ApiError(
      400,
      `Failed to parse value of "diff_version" (${versionText}) as a uint64: strconv.ParseUint: parsing ${
        JSON.stringify(versionText)
      }: invalid syntax`,
    );
  }
  const base = versions.find((job) =>
    tag !== "" ? job.VersionTag?.Name === tag : job.Version === Number(versionText)
  );
  if (!base) {
    throw new ApiError(
      500,
      tag !== "" ? `tag ${JSON.stringify(tag)} not found` : `version ${versionText} not found`,
    );
  }
  return versions.map((job) => diffJobs(base, job, { contextual: true }));
}
