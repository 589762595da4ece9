// /v1/job/:id/scale, writing: another count for one group, or only a note in the group's scaling events.
import { ApiError } from "../core/errors.ts";
import type { Job, TaskGroup } from "../core/types.ts";
import type { ScalingEvent } from "./commands.ts";
import { jobEvaluation } from "./evaluations.ts";
import { type Api, demandJob, jobIdOf, stamp, writeMeta } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { registered } from "./http_job_write.ts";
import { write } from "./http_once.ts";
import { any, bool, int64, map, str, struct, uint64 } from "./json_decode.ts";

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
  const time = server.nowNs();
  const event: ScalingEvent = {
    Time: time,
    Count: body.Count ?? null,
    PreviousCount: group.Count,
    Message: body.Message ?? "",
    Error: body.Error ?? false,
    Meta: body.Meta ?? null,
    EvalID: null,
    CreateIndex: 0,
  };
  if (body.Count !== undefined) {
    checkCount(api, job, group, body.Count);
    const evaluation = jobEvaluation(job, "job-scaling", stamp(api));
    const scaling = { group: groupName, event: { ...event, EvalID: evaluation.ID } };
    return await write(
      q,
      api,
      { ...withCount(api, job, groupName, body), evals: [evaluation], scaling },
      registered(evaluation, "", { KnownLeader: true }),
    );
  }
  return await write(q, api, { kind: "job.scalingEvent", time, namespace, id, group: groupName, event }, {
    body: {
      EvalID: "",
      EvalCreateIndex: 0,
      JobModifyIndex: job.JobModifyIndex,
      Warnings: "",
      ...writeMeta(0),
      KnownLeader: true,
    },
    index: ["Index"],
  });
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

function checkCount({ server }: Api, job: Job, { Scaling: policy }: TaskGroup, count: number): void {
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
}

/** The job with the group's new count, refused when it is not the one that was looked at. */
function withCount({ server }: Api, job: Job, groupName: string, body: ScaleBody) {
  const TaskGroups = job.TaskGroups.map((group) =>
    group.Name === groupName ? { ...group, Count: body.Count! } : group
  );
  const time = server.nowNs();
  return {
    kind: "job.register" as const,
    time,
    job: { ...job, SubmitTime: time, TaskGroups },
    submission: null,
    enforceIndex: body.EnforceIndex ? body.JobModifyIndex ?? 0 : job.JobModifyIndex,
  };
}
