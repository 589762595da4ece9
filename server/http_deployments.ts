// /v1/deployments and /v1/deployment/…: lists, reading, promote, pause, fail, unblock, health of allocations.
import { ApiError } from "../core/errors.ts";
import type { Deployment, Evaluation } from "../core/types.ts";
import { newEvaluation } from "./evaluations.ts";
import { type Api, byMethod, type Handler, type Method, onWrite, type Route } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { FAILED_BY_ALLOCATIONS, FAILED_BY_USER, failureOf } from "./rollback.ts";
import { byCreation, checkUuid, checkUuidPrefix, page } from "./http_list.ts";
import { write } from "./http_once.ts";
import { bool, list, str, struct } from "./json_decode.ts";
import { type AnswerPlan, fillAnswer } from "./state_requests.ts";
import { allocationStub, deploymentView } from "./views.ts";

const PREFIX = "/v1/deployment/";
const LOOKUP = "deployment lookup failed: ";
const bodyShape = struct("api.DeploymentRequest", {
  DeploymentID: str,
  All: bool,
  Groups: list(str),
  Pause: bool,
  HealthyAllocationIDs: list(str),
  UnhealthyAllocationIDs: list(str),
});

interface Body {
  DeploymentID?: string;
  All?: boolean;
  Groups?: string[];
  Pause?: boolean;
  HealthyAllocationIDs?: string[];
  UnhealthyAllocationIDs?: string[];
}

const BELOW: [prefix: string, methods: Partial<Record<Method, Handler>>][] = [
  ["allocations/", { GET: deploymentAllocations }],
  ["fail/", onWrite(fail)],
  ["pause/", onWrite(pause)],
  ["promote/", onWrite(promote)],
  ["unblock/", onWrite(unblock)],
  ["allocation-health/", onWrite(setHealth)],
];

export const deploymentRoutes: Route[] = [
  { path: "/v1/deployments", scope: "server", methods: { GET: listDeployments } },
  { path: "/v1/deployment/*", scope: "server", methods: deploymentRoute },
];

function deploymentRoute(q: Exchange, api: Api): Response | Promise<Response> {
  const rest = q.after(PREFIX);
  for (const [prefix, methods] of BELOW) if (rest.startsWith(prefix)) return byMethod(q, api, methods);
  return byMethod(q, api, { GET: readDeployment });
}

function listDeployments(q: Exchange, api: Api): Promise<Response> {
  const { options } = q;
  checkUuidPrefix(options.prefix, "");
  const { state } = api.server;
  return api.reads.list(q, ["deployment"], () => {
    const chosen: Deployment[] = [];
    for (const deployment of state.deployments()) {
      if (options.namespace !== "*" && deployment.Namespace !== options.namespace) continue;
      if (deployment.ID.startsWith(options.prefix)) chosen.push(deployment);
    }
    const found = page(options, { items: chosen, order: byCreation, view: deploymentView });
    return { value: found.items, nextToken: found.nextToken };
  });
}

function readDeployment(q: Exchange, api: Api): Promise<Response> {
  const id = q.after(PREFIX);
  if (id === "") throw new ApiError(500, "missing deployment ID");
  checkUuid(id, LOOKUP);
  const { state } = api.server;
  return api.reads.object(q, { keys: [`deployment:${id}`] }, () => {
    const deployment = state.deployment(id);
    if (!deployment) return { index: state.tableIndex("deployment"), missing: "deployment not found" };
    return { index: deployment.ModifyIndex, value: () => deploymentView(deployment) };
  });
}

function deploymentAllocations(q: Exchange, api: Api): Promise<Response> {
  const id = q.after(`${PREFIX}allocations/`);
  checkUuid(id, "");
  const { state } = api.server;
  return api.reads.list(q, ["allocs"], () => {
    const allocs = [...state.allocsByDeployment(id)].sort((a, b) => a.ID < b.ID ? -1 : 1);
    return { value: allocs.map((alloc) => allocationStub(alloc, { resources: false, taskStates: true })) };
  });
}

/** The body of an action; its DeploymentID must be the path's. */
async function readBody(q: Exchange, action: string): Promise<{ id: string; body: Body }> {
  const body = await q.json<Body>(bodyShape);
  const id = q.after(`${PREFIX}${action}/`);
  if (!body.DeploymentID) throw new ApiError(400, "DeploymentID must be specified");
  if (body.DeploymentID !== id) throw new ApiError(400, "Deployment ID does not match");
  return { id, body };
}

function demandDeployment(api: Api, id: string): Deployment {
  checkUuid(id, LOOKUP);
  const deployment = api.server.state.deployment(id);
  if (!deployment) throw new ApiError(500, "deployment not found");
  return deployment;
}

/** The evaluation that lets the scheduler go on with the deployment's job. */
function evaluationOf(api: Api, deployment: Deployment): Evaluation {
  const { server } = api;
  const job = server.state.job(deployment.Namespace, deployment.JobID);
  return newEvaluation({
    ID: server.random.uuid(),
    Namespace: deployment.Namespace,
    Priority: deployment.EvalPriority || (job?.Priority ?? server.config.jobPriorityDefault),
    Type: job?.Type ?? "service",
    TriggeredBy: "deployment-watcher",
    JobID: deployment.JobID,
    DeploymentID: deployment.ID,
    CreateTime: server.nowNs(),
  });
}

function updated(evaluation: Evaluation | null, revertedVersion: number | null = null): AnswerPlan {
  return {
    body: {
      EvalID: evaluation?.ID ?? "",
      EvalCreateIndex: 0,
      DeploymentModifyIndex: 0,
      RevertedJobVersion: revertedVersion,
      Index: 0,
    },
    index: [...(evaluation ? ["EvalCreateIndex"] : []), "DeploymentModifyIndex", "Index"],
  };
}

async function fail(q: Exchange, api: Api): Promise<Response> {
  const deployment = demandDeployment(api, q.after(`${PREFIX}fail/`));
  const { server } = api;
  const { description, job } = failureOf(server.state, deployment, FAILED_BY_USER);
  const evaluation = evaluationOf(api, deployment);
  return await write(q, api, {
    kind: "deployment.status",
    time: server.nowNs(),
    id: deployment.ID,
    status: "failed",
    description,
    evals: [evaluation],
    ...(job ? { job: { ...job, Stable: true } } : {}),
  }, updated(evaluation, job?.Version ?? null));
}

async function pause(q: Exchange, api: Api): Promise<Response> {
  const { id, body } = await readBody(q, "pause");
  const deployment = demandDeployment(api, id);
  const { server } = api;
  const pausing = body.Pause ?? false;
  const evaluation = pausing ? null : evaluationOf(api, deployment);
  return await write(q, api, {
    kind: "deployment.status",
    time: server.nowNs(),
    id,
    status: pausing ? "paused" : "running",
    description: pausing ? "Deployment is paused" : "Deployment is running",
    evals: evaluation ? [evaluation] : [],
  }, updated(evaluation));
}

async function promote(q: Exchange, api: Api): Promise<Response> {
  const { id, body } = await readBody(q, "promote");
  const deployment = demandDeployment(api, id);
  const { server } = api;
  const evaluation = evaluationOf(api, deployment);
  return await write(q, api, {
    kind: "deployment.promote",
    time: server.nowNs(),
    id,
    groups: body.All ? null : body.Groups ?? [],
    evals: [evaluation],
  }, updated(evaluation));
}

/** Only deployments over several regions block; there are none here, so this changes nothing. */
async function unblock(q: Exchange, api: Api): Promise<Response> {
  const { id } = await readBody(q, "unblock");
  const deployment = demandDeployment(api, id);
  if (["failed", "successful", "cancelled"].includes(deployment.Status)) {
    throw new ApiError(500, "can't unblock terminal deployment");
  }
  return q.written(fillAnswer(updated(null), 0, null), 0);
}

async function setHealth(q: Exchange, api: Api): Promise<Response> {
  const { id, body } = await readBody(q, "allocation-health");
  const healthy = body.HealthyAllocationIDs ?? [];
  const unhealthy = body.UnhealthyAllocationIDs ?? [];
  if (healthy.length + unhealthy.length === 0) {
    throw new ApiError(500, "must specify at least one healthy/unhealthy allocation ID");
  }
  const deployment = demandDeployment(api, id);
  const { server } = api;
  const fails = unhealthy.length > 0;
  const failure = fails ? failureOf(server.state, deployment, FAILED_BY_ALLOCATIONS) : null;
  const evaluation = evaluationOf(api, deployment);
  return await write(q, api, {
    kind: "deployment.health",
    time: server.nowNs(),
    id,
    healthy,
    unhealthy,
    evals: [evaluation],
    ...(failure ? { status: { status: "failed" as const, description: failure.description } } : {}),
    ...(failure?.job ? { job: { ...failure.job, Stable: true } } : {}),
  }, updated(evaluation, failure?.job?.Version ?? null));
}
