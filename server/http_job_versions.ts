// A job's kept versions: going back to one, calling it stable, giving it a name.
import { ApiError } from "../core/errors.ts";
import { jobEvaluation } from "./evaluations.ts";
import { type Api, demandJob, jobIdOf, stamp, writeMeta } from "./http_api.ts";
import { type Exchange, textReply } from "./http_exchange.ts";
import { registered } from "./http_job_write.ts";
import { write } from "./http_once.ts";
import { admitJob, formatWarnings } from "./job_admission.ts";
import { bool, str, struct, uint64 } from "./json_decode.ts";

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
  const plan = registered(evaluation, formatWarnings(admitted.warnings));
  return await write(q, api, {
    kind: "job.register",
    time: server.nowNs(),
    job: { ...target, VersionTag: null, SubmitTime: server.nowNs() },
    submission: server.state.jobSubmission(namespace, id, version) ?? null,
    evals: [evaluation],
    enforceIndex: current.JobModifyIndex,
    // This one write answers with the headers of a read.
  }, { ...plan, headers: "read" });
}

const stableShape = struct("api.JobStabilityRequest", { JobID: str, JobVersion: uint64, Stable: bool });

/** PUT /v1/job/:id/stable. */
export async function setStable(q: Exchange, api: Api): Promise<Response> {
  const id = jobIdOf(q, "/stable");
  const body = await q.json<{ JobID?: string; JobVersion?: number; Stable?: boolean }>(stableShape);
  if (!body.JobID) throw new ApiError(400, "JobID must be specified");
  if (body.JobID !== id) throw new ApiError(400, "Job ID does not match");
  return await write(q, api, {
    kind: "job.stability",
    time: api.server.nowNs(),
    namespace: q.writeNamespace(),
    id,
    version: body.JobVersion ?? 0,
    stable: body.Stable ?? false,
  }, { body: { Index: 0 }, index: ["Index"] });
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
  return await write(q, api, {
    kind: "job.tag",
    time: server.nowNs(),
    namespace,
    id,
    name,
    ...(unset ? { unset: true } : { version: body.Version ?? 0, description: body.Description ?? "" }),
  }, { body: writeMeta(0), index: ["Index"], spread: true, headers: "none" });
}
