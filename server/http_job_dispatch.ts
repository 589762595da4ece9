// Jobs that bring forth others: dispatching parameterized ones, launching periodic ones by hand.
//
// Invariant: one idempotency token makes one child, also when two requests with it race.
import { Buffer } from "node:buffer";
import { ApiError } from "../core/errors.ts";
import type { Evaluation, Job } from "../core/types.ts";
import type { ServerContext } from "./context.ts";
import { jobEvaluation } from "./evaluations.ts";
import { type Api, demandJob, jobIdOf, stamp } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { write } from "./http_once.ts";
import { childOf, dispatchProblem } from "./job_children.ts";
import { bytes, int, map, str, struct } from "./json_decode.ts";
import { isTracked, periodicChild } from "./periodic.ts";
import { type AnswerPlan, fillAnswer } from "./state_requests.ts";

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
  const priority = body.Priority || parent.Priority;
  if (priority < 1 || priority > server.config.jobPriorityMax) {
    throw new ApiError(500, `dispatch job priority must be between [1, ${server.config.jobPriorityMax}]`);
  }
  const token = q.parameter("idempotency_token");
  if (token !== "") {
    await underWay(api.server, `${namespace}\0${id}\0${token}`);
    const earlier = dispatchedBefore(api, parent, token);
    if (earlier) {
      const index = earlier.CreateIndex;
      return q.written(fillAnswer(dispatched(earlier, undefined), index, null), index);
    }
  }
  const seconds = Math.floor(server.nowNs() / 1e9);
  const prefix = body.IdPrefixTemplate ? `${body.IdPrefixTemplate}-` : "";
  const child: Job = {
    ...childOf(parent, `${parent.ID}/dispatch-${prefix}${seconds}-${server.random.uuid().slice(0, 8)}`),
    Dispatched: true,
    DispatchIdempotencyToken: token,
    Payload: body.Payload || null,
    Meta: parent.Meta || body.Meta ? { ...parent.Meta, ...body.Meta } : null,
    Priority: priority,
    SubmitTime: server.nowNs(),
  };
  const evaluation = jobEvaluation(child, "job-register", stamp(api));
  const proposal = write(q, api, {
    kind: "job.register",
    time: server.nowNs(),
    job: child,
    submission: null,
    evals: [evaluation],
    enforceIndex: 0,
  }, dispatched(child, evaluation));
  if (token !== "") track(api.server, `${namespace}\0${id}\0${token}`, proposal);
  return await proposal;
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

function dispatched(child: Job, evaluation: Evaluation | undefined): AnswerPlan {
  return {
    body: {
      DispatchedJobID: child.ID,
      EvalID: evaluation?.ID ?? "",
      EvalCreateIndex: 0,
      JobCreateIndex: 0,
      Index: 0,
    },
    index: [...(evaluation ? ["EvalCreateIndex"] : []), "JobCreateIndex", "Index"],
  };
}

/** PUT /v1/job/:id/periodic/force. */
export async function forcePeriodic(q: Exchange, api: Api): Promise<Response> {
  const { server } = api;
  const parent = demandJob(api, q.writeNamespace(), jobIdOf(q, "/periodic/force"));
  if (!parent.Periodic) throw new ApiError(500, "can't force launch non-periodic job");
  if (!isTracked(parent)) {
    const name = JSON.stringify(parent.ID);
    const why = `can't force run non-tracked job ${name} (${parent.Namespace})`;
    throw new ApiError(500, `force launch for job ${name} failed: ${why}`);
  }
  const launchMs = server.clock.nowMs();
  const child: Job = { ...periodicChild(parent, launchMs), SubmitTime: server.nowNs() };
  const evaluation = jobEvaluation(child, "periodic-job", stamp(api));
  const response = await write(q, api, {
    kind: "job.register",
    time: server.nowNs(),
    job: child,
    submission: null,
    evals: [evaluation],
  }, {
    body: { EvalID: evaluation.ID, EvalCreateIndex: 0, Index: 0 },
    index: ["EvalCreateIndex", "Index"],
  });
  await server.propose({
    kind: "job.periodicLaunch",
    time: server.nowNs(),
    namespace: parent.Namespace,
    id: parent.ID,
    launchMs,
  });
  return response;
}
