// /v1/allocations and /v1/allocation/:id: lists, reading, stopping, services and checks.
import { ApiError } from "../core/errors.ts";
import type { Allocation } from "../core/types.ts";
import { jobEvaluation } from "./evaluations.ts";
import { type Api, byMethod, type Handler, type Method, onWrite, type Route, stamp } from "./http_api.ts";
import { forwardToAllocation } from "./http_client.ts";
import { type Exchange, type ReadOptions, textReply } from "./http_exchange.ts";
import {
  applyFilter,
  byCreation,
  checkUuid,
  checkUuidPrefix,
  creationStart,
  page,
  readFilter,
} from "./http_list.ts";
import { write } from "./http_once.ts";
import type { StateReader } from "./state_reader.ts";
import { allocationStub, allocationView } from "./views.ts";

const PREFIX = "/v1/allocation/";
const LOOKUP = "alloc lookup failed: ";

const BELOW: [suffix: string, methods: Partial<Record<Method, Handler>> | Handler][] = [
  ["/stop", onWrite(stopAllocation)],
  ["/services", { GET: allocationServices }],
  ["/checks", allocationChecks],
];

export const allocationRoutes: Route[] = [
  { path: "/v1/allocations", scope: "server", methods: { GET: listAllocations } },
  { path: "/v1/allocation/*", scope: "server", methods: allocationRoute },
];

function allocationRoute(q: Exchange, api: Api): Response | Promise<Response> {
  for (const [suffix, methods] of BELOW) {
    if (!q.path.endsWith(suffix)) continue;
    return typeof methods === "function" ? methods(q, api) : byMethod(q, api, methods);
  }
  if (q.after(PREFIX).includes("/")) return textReply(404, "resource not found");
  return byMethod(q, api, { GET: readAllocation });
}

function listAllocations(q: Exchange, api: Api): Promise<Response> {
  const { options } = q;
  const fields = { resources: q.bool("resources") ?? false, taskStates: q.bool("task_states") ?? true };
  checkUuidPrefix(options.prefix, LOOKUP);
  const { state } = api.server;
  return api.reads.list(q, ["allocs"], () => {
    const found = page<Allocation>(options, {
      items: chosenAllocations(options, state),
      inOrder: true,
      order: byCreation,
      view: (alloc) => allocationStub(alloc, fields),
    });
    return { value: found.items, nextToken: found.nextToken };
  });
}

function* chosenAllocations(options: ReadOptions, state: StateReader): Iterable<Allocation> {
  const { namespace, prefix, reverse } = options;
  for (const alloc of state.allocsInOrder(creationStart(options), reverse)) {
    if (namespace !== "*" && alloc.Namespace !== namespace) continue;
    if (alloc.ID.startsWith(prefix)) yield alloc;
  }
}

function readAllocation(q: Exchange, api: Api): Promise<Response> {
  const id = q.after(PREFIX);
  checkUuid(id, LOOKUP);
  const { state } = api.server;
  return api.reads.object(q, { keys: [`alloc:${id}`] }, () => {
    const alloc = state.alloc(id);
    if (!alloc) return { index: state.tableIndex("allocs"), missing: "alloc not found" };
    return { index: alloc.ModifyIndex, value: () => allocationView(alloc) };
  });
}

async function stopAllocation(q: Exchange, api: Api): Promise<Response> {
  const id = q.path.slice(PREFIX.length, -"/stop".length);
  const noShutdownDelay = q.bool("no_shutdown_delay") ?? false;
  const reschedule = q.bool("reschedule") ?? false;
  checkUuid(id, LOOKUP);
  const { server } = api;
  const alloc = server.state.alloc(id);
  if (!alloc) throw new ApiError(404, "allocation not found");
  const job = server.state.job(alloc.Namespace, alloc.JobID) ?? alloc.Job;
  const evaluation = jobEvaluation(job, "alloc-stop", stamp(api), { JobModifyIndex: job.ModifyIndex });
  return await write(q, api, {
    kind: "alloc.transition",
    time: server.nowNs(),
    transitions: {
      [id]: {
        Migrate: true,
        ...(noShutdownDelay ? { NoShutdownDelay: true } : {}),
        ...(reschedule ? { Reschedule: true } : {}),
      },
    },
    evals: [evaluation],
  }, { body: { EvalID: evaluation.ID, Index: 0 }, index: ["Index"] });
}

function allocationServices(q: Exchange, api: Api): Promise<Response> {
  const id = q.path.slice(PREFIX.length, -"/services".length);
  checkUuid(id, LOOKUP);
  const { state } = api.server;
  return api.reads.object(q, { keys: [`alloc-services:${id}`, `alloc:${id}`] }, () => {
    if (!state.alloc(id)) {
      return { index: state.tableIndex("allocs"), missing: "allocation not found" };
    }
    return {
      index: state.tableIndex("service_registrations"),
      value: () => {
        const accepts = readFilter(q.options.filter);
        const own = [...state.servicesByAlloc(id)];
        return accepts ? own.filter((service) => applyFilter(accepts, service)) : own;
      },
    };
  });
}

/** Checks run on the device: it answers. */
function allocationChecks(q: Exchange, api: Api): Response | Promise<Response> {
  const id = q.path.slice(PREFIX.length, -"/checks".length);
  return forwardToAllocation(q, api, id, `/v1/client/allocation/${id}/checks`);
}
