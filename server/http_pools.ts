// /v1/node/pools, /v1/node/pool/:name and what is below; hands everything else below /v1/node/ to the nodes.
import { parseDuration } from "../core/duration.ts";
import { ApiError, errorText } from "../core/errors.ts";
import type { NodePool } from "../core/types.ts";
import { type Api, byMethod, isWrite, onWrite, type Route } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { jobStubs } from "./http_jobs.ts";
import { byName, page } from "./http_list.ts";
import { write } from "./http_once.ts";
import { listNodes, nodeRoute } from "./http_nodes.ts";
import { any, bool, map, str, struct } from "./json_decode.ts";
import { formatMultiError } from "./multi_error.ts";
import { nodePoolView } from "./views.ts";

const PREFIX = "/v1/node/pool/";
const IDENTITY_TTL_NS = 86_400e9;
const NAME = /^[a-zA-Z0-9-_]{1,128}$/;
const poolShape = struct("api.NodePool", {
  Name: str,
  Description: str,
  Meta: map(str),
  /** Nanoseconds, or duration text as the reference's own client sends it. */
  NodeIdentityTTL: any,
  SchedulerConfiguration: struct("api.NodePoolSchedulerConfiguration", {
    SchedulerAlgorithm: str,
    MemoryOversubscriptionEnabled: bool,
  }),
});

export const poolRoutes: Route[] = [
  { path: "/v1/node/pools", scope: "server", methods: { GET: listPools, ...onWrite(writePool) } },
  {
    path: "/v1/node/*",
    scope: "server",
    methods: (q, api) => q.path.startsWith(PREFIX) ? poolRoute(q, api) : nodeRoute(q, api),
  },
];

function poolRoute(q: Exchange, api: Api): Response | Promise<Response> {
  if (q.path.endsWith("/nodes")) return byMethod(q, api, { GET: poolNodes });
  if (q.path.endsWith("/jobs")) return byMethod(q, api, { GET: poolJobs });
  return byMethod(q, api, { GET: readPool, ...onWrite(writePool), DELETE: deletePool });
}

function listPools(q: Exchange, api: Api): Promise<Response> {
  const { options } = q;
  return api.reads.list(q, ["node_pools"], () => {
    const chosen = [...api.server.state.nodePools()].filter((pool) => pool.Name.startsWith(options.prefix));
    const found = page(options, { items: chosen, order: byName, sorted: true, view: nodePoolView });
    return { value: found.items, nextToken: found.nextToken };
  });
}

function readPool(q: Exchange, api: Api): Promise<Response> {
  const name = q.after(PREFIX);
  const { state } = api.server;
  return api.reads.object(q, { keys: [`pool:${name}`] }, () => {
    const pool = state.nodePool(name);
    if (!pool) return { index: state.tableIndex("node_pools"), missing: "node pool not found" };
    return { index: pool.ModifyIndex, value: () => nodePoolView(pool) };
  });
}

function poolNodes(q: Exchange, api: Api): Promise<Response> {
  refusePrefix(q);
  return listNodes(q, api, q.path.slice(PREFIX.length, -"/nodes".length));
}

function poolJobs(q: Exchange, api: Api): Promise<Response> {
  refusePrefix(q);
  const pool = q.path.slice(PREFIX.length, -"/jobs".length);
  const withMeta = q.bool("meta") ?? false;
  return api.reads.list(
    q,
    ["jobs", "job_summary"],
    () => jobStubs(q, api, { withMeta, keep: (job) => pool === "all" || job.NodePool === pool }),
  );
}

function refusePrefix(q: Exchange): void {
  if (q.options.prefix !== "") throw new ApiError(400, "prefix argument not allowed");
}

async function writePool(q: Exchange, api: Api): Promise<Response> {
  const body = await q.json<Partial<NodePool>>(poolShape);
  const inPath = q.path.startsWith(PREFIX) && isWrite(q) ? q.after(PREFIX) : "";
  const name = body.Name ?? "";
  if (inPath !== "" && name !== inPath) throw new ApiError(400, "Node pool name does not match request path");
  checkPool({ ...body, Name: name });
  return await write(q, api, {
    kind: "pool.upsert",
    time: api.server.nowNs(),
    pools: [{
      Name: name,
      Description: body.Description ?? "",
      Meta: body.Meta ?? null,
      NodeIdentityTTL: identityTtl(body.NodeIdentityTTL),
      SchedulerConfiguration: schedulerOf(body),
      CreateIndex: 0,
      ModifyIndex: 0,
    }],
  });
}

function checkPool(pool: Partial<NodePool> & { Name: string }): void {
  const errors: string[] = [];
  if (!NAME.test(pool.Name)) {
    errors.push(`invalid name ${JSON.stringify(pool.Name)}, must match regex ${NAME.source}`);
  }
  if ((pool.Description ?? "").length > 256) errors.push("description longer than 256");
  const algorithm = pool.SchedulerConfiguration?.SchedulerAlgorithm ?? "";
  if (!["", "binpack", "spread"].includes(algorithm)) {
    errors.push(`invalid scheduler algorithm ${JSON.stringify(algorithm)}, must be binpack or spread`);
  }
  if (errors.length > 0) {
    throw new ApiError(400, `invalid node pool ${JSON.stringify(pool.Name)}: ${formatMultiError(errors)}`);
  }
}

/** What the pool decides for itself; null where it follows the cluster in everything. */
function schedulerOf(pool: Partial<NodePool>): NodePool["SchedulerConfiguration"] {
  const own = pool.SchedulerConfiguration;
  if (!own) return null;
  return {
    SchedulerAlgorithm: own.SchedulerAlgorithm ?? "",
    MemoryOversubscriptionEnabled: own.MemoryOversubscriptionEnabled ?? null,
  };
}

async function deletePool(q: Exchange, api: Api): Promise<Response> {
  return await write(q, api, { kind: "pool.delete", names: [q.after(PREFIX)] });
}

function identityTtl(value: unknown): number {
  if (value === undefined || value === null || value === "" || value === 0) return IDENTITY_TTL_NS;
  if (typeof value === "number") return value;
  try {
    return parseDuration(String(value));
  } catch (error) {
    throw new ApiError(400, `NodeIdentityTTL: ${errorText(error)}`);
  }
}
