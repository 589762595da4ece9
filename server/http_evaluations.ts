// /v1/evaluations and /v1/evaluation/:id: lists, counting, reading with related ones, deleting.
import { compileFilter, FilterError } from "../core/filter.ts";
import { ApiError } from "../core/errors.ts";
import type { Evaluation } from "../core/types.ts";
import { isClientTerminal } from "./alloc_sets.ts";
import { type Api, byMethod, type Route } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { applyFilter, byCreation, checkUuid, checkUuidPrefix, page } from "./http_list.ts";
import { write } from "./http_once.ts";
import { linearRegexp } from "./linear_regexp.ts";
import { list, str, struct } from "./json_decode.ts";
import { allocationStub, evaluationStub, evaluationView } from "./views.ts";

const PREFIX = "/v1/evaluation/";
const LOOKUP = "failed to lookup eval: eval lookup failed: ";
const deleteShape = struct("api.EvalDeleteRequest", { EvalIDs: list(str), Filter: str });

export const evaluationRoutes: Route[] = [
  { path: "/v1/evaluations", scope: "server", methods: { GET: listEvaluations, DELETE: deleteEvaluations } },
  { path: "/v1/evaluations/count", scope: "server", methods: { GET: countEvaluations } },
  { path: "/v1/evaluation/*", scope: "server", methods: evaluationRoute },
];

function evaluationRoute(q: Exchange, api: Api): Response | Promise<Response> {
  const methods = { GET: q.path.endsWith("/allocations") ? evaluationAllocations : readEvaluation };
  return byMethod(q, api, methods);
}

function* chosenEvaluations(q: Exchange, api: Api): Iterable<Evaluation> {
  const { namespace, prefix } = q.options;
  const status = q.parameter("status");
  const job = q.parameter("job");
  for (const evaluation of api.server.state.evals()) {
    if (namespace !== "*" && evaluation.Namespace !== namespace) continue;
    if (status !== "" && evaluation.Status !== status) continue;
    if (job !== "" && evaluation.JobID !== job) continue;
    if (evaluation.ID.startsWith(prefix)) yield evaluation;
  }
}

function listEvaluations(q: Exchange, api: Api): Promise<Response> {
  checkUuidPrefix(q.options.prefix, "eval lookup failed: ");
  return api.reads.list(q, ["evals"], () => {
    const found = page(q.options, {
      items: chosenEvaluations(q, api),
      order: byCreation,
      view: evaluationView,
    });
    return { value: found.items, nextToken: found.nextToken };
  });
}

function countEvaluations(q: Exchange, api: Api): Promise<Response> {
  const { state } = api.server;
  return api.reads.object(q, { tables: ["evals"] }, () => {
    const index = state.tableIndex("evals");
    return {
      index,
      value: () => {
        const accepts = plainFilter(q.options.filter);
        let count = 0;
        for (const evaluation of chosenEvaluations(q, api)) {
          if (!accepts || applyFilter(accepts, evaluation)) count++;
        }
        return { Count: count, Index: index, LastContact: 0, KnownLeader: true, NextToken: "" };
      },
    };
  });
}

/** A filter whose mistakes are told without a lead, with 500. */
function plainFilter(expression: string) {
  try {
    return expression === "" ? null : compileFilter(expression, linearRegexp);
  } catch (error) {
    if (error instanceof FilterError) throw new ApiError(500, error.message);
    throw error;
  }
}

function readEvaluation(q: Exchange, api: Api): Promise<Response> {
  const id = q.after(PREFIX);
  const related = q.bool("related") ?? false;
  checkUuid(id, LOOKUP);
  const { state } = api.server;
  return api.reads.object(q, { keys: [`eval:${id}`] }, () => {
    const evaluation = state.eval(id);
    if (!evaluation) return { index: state.tableIndex("evals"), missing: "eval not found" };
    return {
      index: evaluation.ModifyIndex,
      value: () => {
        const view = evaluationView(evaluation);
        const others = related ? relatedEvaluations(api, evaluation) : [];
        if (others.length > 0) view.RelatedEvals = others.map(evaluationStub);
        return view;
      },
    };
  });
}

/** Everything reachable by next, previous and blocked links. */
function relatedEvaluations(api: Api, start: Evaluation): Evaluation[] {
  const found = new Map<string, Evaluation>([[start.ID, start]]);
  const open = [start];
  for (let one = open.pop(); one; one = open.pop()) {
    for (const id of [one.NextEval, one.PreviousEval, one.BlockedEval]) {
      const other = id === "" || found.has(id) ? undefined : api.server.state.eval(id);
      if (!other) continue;
      found.set(other.ID, other);
      open.push(other);
    }
  }
  found.delete(start.ID);
  return [...found.values()].sort(byCreation.compare);
}

function evaluationAllocations(q: Exchange, api: Api): Promise<Response> {
  const id = q.path.slice(PREFIX.length, -"/allocations".length);
  checkUuid(id, LOOKUP);
  const { state } = api.server;
  return api.reads.list(q, ["allocs"], () => {
    const allocs = [...state.allocsByEval(id)].sort((a, b) => a.ID < b.ID ? -1 : 1);
    return { value: allocs.map((alloc) => allocationStub(alloc, { resources: false, taskStates: true })) };
  });
}

async function deleteEvaluations(q: Exchange, api: Api): Promise<Response> {
  const body = await q.json<{ EvalIDs?: string[]; Filter?: string }>(deleteShape);
  const ids = body.EvalIDs ?? [];
  const filter = body.Filter ?? "";
  if (ids.length === 0 && filter === "") {
    throw new ApiError(400, "evals must be deleted by either ID or filter");
  }
  if (ids.length > 0 && filter !== "") {
    throw new ApiError(400, "evals cannot be deleted by both ID and filter");
  }
  const { server } = api;
  if (!server.state.schedulerConfig().PauseEvalBroker) {
    throw new ApiError(500, "eval broker is enabled; eval broker must be paused to delete evals");
  }
  const doomed = ids.length > 0 ? ids.map((id) => demandDeletable(api, id)) : deletableMatching(api, filter);
  if (doomed.length === 0) return q.written({ Count: 0, Index: 0 }, 0);
  const plan = { body: { Count: doomed.length, Index: 0 }, index: ["Index"] };
  return await write(q, api, { kind: "eval.delete", evals: doomed, allocs: [] }, plan);
}

/** Nothing that it placed is still alive. What only waits may go too: a flood of it is what the broker is paused for. */
function isDeletable(api: Api, evaluation: Evaluation): boolean {
  return [...api.server.state.allocsByEval(evaluation.ID)].every((alloc) =>
    isClientTerminal(alloc) || (alloc.DesiredStatus !== "run" && alloc.ClientStatus !== "running")
  );
}

function demandDeletable(api: Api, id: string): string {
  checkUuid(id, LOOKUP);
  const evaluation = api.server.state.eval(id);
  if (!evaluation) throw new ApiError(500, "eval not found");
  if (!isDeletable(api, evaluation)) throw new ApiError(500, `eval ${id} is not safe to delete`);
  return id;
}

function deletableMatching(api: Api, filter: string): string[] {
  const accepts = plainFilter(filter)!;
  const found: string[] = [];
  for (const evaluation of api.server.state.evals()) {
    if (applyFilter(accepts, evaluation) && isDeletable(api, evaluation)) found.push(evaluation.ID);
  }
  return found;
}
