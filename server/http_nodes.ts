// /v1/nodes and /v1/node/:id: lists and reading, drain, eligibility, evaluation and purge.
import { ApiError } from "../core/errors.ts";
import { formatTime } from "../core/time.ts";
import type { DrainStrategy, Evaluation, Node, NodeEvent } from "../core/types.ts";
import { ZERO_TIME } from "../core/types.ts";
import { nodeEvaluations } from "./evaluations.ts";
import { type Api, byMethod, type Handler, type Method, onWrite, type Route, stamp } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { byId, checkUuid, checkUuidPrefix, page } from "./http_list.ts";
import { write } from "./http_once.ts";
import { bool, duration, map, str, struct } from "./json_decode.ts";
import type { AnswerPlan } from "./state_requests.ts";
import { allocationView, nodeStub, type NodeStubFields, nodeView } from "./views.ts";

const PREFIX = "/v1/node/";
const LOOKUP = "node lookup failed: ";

const drainShape = struct("api.NodeUpdateDrainRequest", {
  NodeID: str,
  DrainSpec: struct("api.DrainSpec", { Deadline: duration, IgnoreSystemJobs: bool }),
  MarkEligible: bool,
  Meta: map(str),
});
const eligibilityShape = struct("api.NodeUpdateEligibilityRequest", { NodeID: str, Eligibility: str });

interface DrainBody {
  DrainSpec?: { Deadline?: number; IgnoreSystemJobs?: boolean };
  MarkEligible?: boolean;
  Meta?: Record<string, string>;
}

const BELOW: [suffix: string, methods: Partial<Record<Method, Handler>>][] = [
  ["/allocations", { GET: nodeAllocations }],
  ["/evaluate", onWrite(evaluateNode)],
  ["/drain", onWrite(drainNode)],
  ["/eligibility", onWrite(setEligibility)],
  ["/purge", onWrite(purgeNode)],
];

export const nodeRoutes: Route[] = [
  { path: "/v1/nodes", scope: "server", methods: { GET: (q, api) => listNodes(q, api) } },
];

/** Mounted by http_pools.ts behind its own paths, because pools stand below /v1/node/ too. */
export function nodeRoute(q: Exchange, api: Api): Response | Promise<Response> {
  for (const [suffix, methods] of BELOW) if (q.path.endsWith(suffix)) return byMethod(q, api, methods);
  return byMethod(q, api, { GET: readNode });
}

function idOf(q: Exchange, suffix = ""): string {
  return q.path.slice(PREFIX.length, q.path.length - suffix.length);
}

/** Which optional columns a node list shows. */
export function nodeFields(q: Exchange): NodeStubFields {
  const asked = { status: 400, lead: "Failed to parse node list fields: " };
  return { resources: q.bool("resources", asked) ?? false, os: q.bool("os", asked) ?? false };
}

/** The node list; `pool` narrows it to one pool. */
export function listNodes(q: Exchange, api: Api, pool?: string): Promise<Response> {
  const { options } = q;
  const fields = nodeFields(q);
  checkUuidPrefix(options.prefix, LOOKUP);
  const { state } = api.server;
  return api.reads.list(q, ["nodes"], () => {
    const chosen: Node[] = [];
    for (const node of state.nodes()) {
      if (pool !== undefined && pool !== "all" && node.NodePool !== pool) continue;
      if (node.ID.startsWith(options.prefix)) chosen.push(node);
    }
    const found = page<Node>(options, {
      items: chosen,
      order: byId,
      view: (node) => nodeStub(node, fields),
      record: nodeView,
    });
    return { value: found.items, nextToken: found.nextToken };
  });
}

function readNode(q: Exchange, api: Api): Promise<Response> {
  const id = idOf(q);
  if (id === "") throw new ApiError(500, "missing node ID");
  checkUuid(id, LOOKUP);
  const { state } = api.server;
  return api.reads.object(q, { keys: [`node:${id}`] }, () => {
    const node = state.node(id);
    if (!node) return { index: state.tableIndex("nodes"), missing: "node not found" };
    return { index: node.ModifyIndex, value: () => nodeView(node) };
  });
}

function nodeAllocations(q: Exchange, api: Api): Promise<Response> {
  const id = idOf(q, "/allocations");
  checkUuid(id, LOOKUP);
  const { state } = api.server;
  return api.reads.object(q, { keys: [`node-allocs:${id}`, `node:${id}`] }, () => {
    const allocs = [...state.allocsByNode(id)];
    const newest = Math.max(0, ...allocs.map((alloc) => alloc.ModifyIndex));
    return {
      index: newest || Math.max(1, state.tableIndex("allocs")),
      value: () => allocs.sort(liveFirst).map((alloc) => allocationView(alloc)),
    };
  });
}

function liveFirst(
  a: { DesiredStatus: string; ClientStatus: string; ID: string },
  b: { DesiredStatus: string; ClientStatus: string; ID: string },
): number {
  const ended = (alloc: typeof a) =>
    alloc.DesiredStatus !== "run" || ["complete", "failed", "lost"].includes(alloc.ClientStatus) ? 1 : 0;
  return ended(a) - ended(b) || (a.ID < b.ID ? -1 : 1);
}

function demandNode(api: Api, id: string): Node {
  checkUuid(id, LOOKUP);
  const node = api.server.state.node(id);
  if (!node) throw new ApiError(500, "node not found");
  return node;
}

function nodeEvent(api: Api, subsystem: string, message: string): NodeEvent {
  return {
    Message: message,
    Subsystem: subsystem,
    Details: null,
    Timestamp: formatTime(api.server.nowNs()),
    CreateIndex: 0,
  };
}

/** Evaluations for the jobs of a node that the write of it gives an index to. */
function evaluationsFor(api: Api, node: Node): Evaluation[] {
  return nodeEvaluations(api.server.state, { ID: node.ID, ModifyIndex: 0 }, stamp(api));
}

/** The answer is `more` and what all writes of nodes say of their evaluations; `index`: its fields besides those. */
function planned(
  evals: readonly Evaluation[],
  more: Record<string, unknown>,
  index: readonly string[] = [],
): AnswerPlan {
  return {
    body: {
      ...more,
      EvalIDs: evals.length > 0 ? evals.map((evaluation) => evaluation.ID) : null,
      EvalCreateIndex: 0,
      Index: 0,
    },
    index: [...index, ...(evals.length > 0 ? ["EvalCreateIndex"] : []), "Index"],
  };
}

/** What evaluate and purge answer: what a node would be told on registering. */
function nodeUpdate(more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    EvalIDs: null,
    EvalCreateIndex: 0,
    Index: 0,
    HeartbeatTTL: 0,
    NodeModifyIndex: 0,
    LeaderRPCAddr: "",
    NumNodes: 0,
    Servers: null,
    Features: 0,
    SchedulingEligibility: "",
    SignedIdentity: null,
    LastContact: 0,
    KnownLeader: false,
    NextToken: "",
    ...more,
  };
}

async function evaluateNode(q: Exchange, api: Api): Promise<Response> {
  const node = demandNode(api, idOf(q, "/evaluate"));
  const { server } = api;
  const evals = nodeEvaluations(server.state, node, stamp(api));
  const servers = server.log.peers().map((peer) => ({
    RPCAdvertiseAddr: peer.rpcAddress,
    RPCMajorVersion: 0,
    RPCMinorVersion: 0,
    Datacenter: server.config.datacenter,
  }));
  const update = nodeUpdate({
    LeaderRPCAddr: server.log.leader?.rpcAddress ?? server.config.rpcAddress,
    NumNodes: server.state.nodeCount,
    SchedulingEligibility: node.SchedulingEligibility,
    Servers: servers,
  });
  if (evals.length > 0) {
    return await write(q, api, { kind: "eval.upsert", time: server.nowNs(), evals }, planned(evals, update));
  }
  const index = server.state.tableIndex("nodes");
  return q.written({ ...update, Index: index }, index);
}

async function drainNode(q: Exchange, api: Api): Promise<Response> {
  const body = await q.json<DrainBody>(drainShape);
  const node = demandNode(api, idOf(q, "/drain"));
  const { server } = api;
  const drain = body.DrainSpec ? drainStrategy(api, node, body.DrainSpec) : null;
  const wasDraining = node.DrainStrategy !== null;
  const markEligible = drain === null && (body.MarkEligible ?? false);
  const evals = markEligible ? evaluationsFor(api, node) : [];
  const event = drain
    ? nodeEvent(api, "Drain", wasDraining ? "Node drain strategy updated" : "Node drain strategy set")
    : wasDraining
    ? nodeEvent(api, "Drain", "Node drain strategy unset")
    : null;
  return await write(q, api, {
    kind: "node.drain",
    time: server.nowNs(),
    id: node.ID,
    drain,
    markEligible,
    meta: body.Meta ?? null,
    accessorId: "token:acls-disabled",
    event,
    evals,
  }, planned(evals, { NodeModifyIndex: 0 }, ["NodeModifyIndex"]));
}

/** A deadline of 0 is none, a negative one forces; the time of a drain that goes on is kept. */
function drainStrategy(
  api: Api,
  node: Node,
  spec: { Deadline?: number; IgnoreSystemJobs?: boolean },
): DrainStrategy {
  const now = api.server.nowNs();
  const deadline = spec.Deadline ?? 0;
  return {
    Deadline: deadline,
    IgnoreSystemJobs: spec.IgnoreSystemJobs ?? false,
    ForceDeadline: deadline > 0 ? formatTime(now + deadline) : ZERO_TIME,
    StartedAt: node.DrainStrategy?.StartedAt ?? formatTime(now),
  };
}

async function setEligibility(q: Exchange, api: Api): Promise<Response> {
  const { Eligibility: wanted = "" } = await q.json<{ Eligibility?: string }>(eligibilityShape);
  if (wanted !== "eligible" && wanted !== "ineligible") {
    throw new ApiError(500, `invalid scheduling eligibility ${JSON.stringify(wanted)}`);
  }
  const node = demandNode(api, idOf(q, "/eligibility"));
  const { server } = api;
  const becomesEligible = wanted === "eligible" && node.SchedulingEligibility !== "eligible";
  const evals = becomesEligible ? evaluationsFor(api, node) : [];
  return await write(q, api, {
    kind: "node.eligibility",
    time: server.nowNs(),
    id: node.ID,
    eligibility: wanted,
    event: nodeEvent(api, "Cluster", `Node marked as ${wanted} for scheduling`),
    evals,
  }, planned(evals, { NodeModifyIndex: 0 }));
}

async function purgeNode(q: Exchange, api: Api): Promise<Response> {
  const node = demandNode(api, idOf(q, "/purge"));
  const { server } = api;
  const evals = evaluationsFor(api, node);
  return await write(q, api, {
    kind: "node.deregister",
    time: server.nowNs(),
    ids: [node.ID],
    evals,
  }, planned(evals, nodeUpdate(), ["NodeModifyIndex"]));
}
