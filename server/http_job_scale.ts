// /v1/job/:id/scale, writing: another count for one group, or only a note in the group's scaling events.
import { ApiError } from "../core/errors.ts";
import type { Evaluation, Job } from "../core/types.ts";
import type { ScalingEvent } from "./commands.ts";
import { jobEvaluation } from "./evaluations.ts";
import { type Api, demandJob, jobIdOf, stamp, writeMeta } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
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
