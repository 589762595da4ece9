// /v1/client/…: what a device answers itself (files, logs, stats, restarts). Finds the device that is meant and
// brings it the request: the agent's own, one connected to this server, or through another server.
//
// Invariant: bodies stream both ways; nothing of a device's answer is held back or changed but the CORS headers.
import { ApiError } from "../core/errors.ts";
import { type Api, type Route, wrongMethod } from "./http_api.ts";
import { type Exchange, textReply } from "./http_exchange.ts";
import { execInAllocation } from "./http_exec.ts";
import { checkUuid } from "./http_list.ts";

const FILE_OPERATIONS = new Set(["ls", "stat", "cat", "readat", "stream", "logs"]);
const ALLOCATION_OPERATIONS = new Set([
  "stats",
  "checks",
  "exec",
  "restart",
  "signal",
  "gc",
  "pause",
  "snapshot",
]);

export const clientRoutes: Route[] = [
  { path: "/v1/client/fs/*", scope: "agent", methods: withCors(files) },
  { path: "/v1/client/allocation/*", scope: "agent", methods: withCors(allocation) },
  { path: "/v1/client/stats", scope: "agent", methods: withCors((q, api) => byNode(q, api, 404)) },
  { path: "/v1/client/gc", scope: "agent", methods: (q, api) => byNode(q, api, 500) },
  {
    path: "/v1/client/metadata",
    scope: "agent",
    methods: withCors((q, api) => ["GET", "POST"].includes(q.method) ? byNode(q, api, 500) : wrongMethod()),
  },
  { path: "/v1/client/identity", scope: "agent", methods: withCors((q, api) => byNode(q, api, 500)) },
  { path: "/v1/client/identity/renew", scope: "agent", methods: withCors((q, api) => byNode(q, api, 500)) },
];

type ClientHandler = (q: Exchange, api: Api) => Response | Promise<Response>;

/** Web pages of other origins may read what a device answers. */
function withCors(handler: ClientHandler): ClientHandler {
  return async (q, api) => {
    const { headers } = q.request;
    const origin = headers.has("origin");
    const asked = headers.get("access-control-request-method");
    if (q.method === "OPTIONS" && origin && asked) {
      return new Response(null, {
        status: 204,
        headers: {
          "Access-Control-Allow-Credentials": "true",
          "Access-Control-Allow-Methods": asked,
          "Access-Control-Allow-Origin": "*",
          Vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        },
      });
    }
    const response = await answered(() => handler(q, api));
    response.headers.set("Vary", "Origin");
    if (origin) {
      response.headers.set("Access-Control-Allow-Credentials", "true");
      response.headers.set("Access-Control-Allow-Origin", "*");
    }
    return response;
  };
}

/** Refusals become answers here already, so that they get the same headers. */
async function answered(run: () => Response | Promise<Response>): Promise<Response> {
  try {
    const response = await run();
    // What comes over a connection may have frozen headers.
    return new Response(response.body, { status: response.status, headers: new Headers(response.headers) });
  } catch (error) {
    if (error instanceof ApiError) return textReply(error.status, error.message);
    throw error;
  }
}

function files(q: Exchange, api: Api): Response | Promise<Response> {
  const [operation = "", ...rest] = q.after("/v1/client/fs/").split("/");
  if (!FILE_OPERATIONS.has(operation)) return wrongMethod(404);
  const id = rest.join("/");
  if (id === "") throw new ApiError(400, "must provide a valid alloc id");
  return forwardToAllocation(q, api, id, null);
}

function allocation(q: Exchange, api: Api): Response | Promise<Response> {
  const [id = "", operation = "", ...rest] = q.after("/v1/client/allocation/").split("/");
  if (!ALLOCATION_OPERATIONS.has(operation) || rest.length > 0) return textReply(404, "resource not found");
  if (operation === "exec") return execInAllocation(q, api, id);
  if (operation === "signal" && q.method !== "PUT" && q.method !== "POST") return wrongMethod();
  return forwardToAllocation(q, api, id, null);
}

/** Sends the request to the device that has the allocation; `path` replaces the request's own. */
export function forwardToAllocation(
  q: Exchange,
  api: Api,
  id: string,
  path: string | null,
): Response | Promise<Response> {
  const { deps } = api;
  const request = () => path === null ? q.request : withPath(q.request, path);
  if (deps.localClient?.hasAllocation(id)) return deps.localClient.fetch(request());
  // A device's own checks of a malformed request come before the question where the allocation is.
  if (!deps.server && !looksLikeId(id) && deps.localClient) return deps.localClient.fetch(request());
  if (deps.server) checkUuid(id, "alloc lookup failed: ");
  return api.atLeader(q, () => {
    const found = api.server.state.alloc(id);
    if (!found) throw new ApiError(404, `Unknown allocation ${JSON.stringify(id)}`);
    return toNode(api, found.NodeID, request());
  });
}

function looksLikeId(id: string): boolean {
  return /^[0-9a-fA-F-]{36}$/.test(id);
}

function withPath(request: Request, path: string): Request {
  const url = new URL(request.url);
  url.pathname = path;
  return new Request(url, request);
}

/** `node_id` names the device; without it the agent's own is meant. `unknownStatus`: what an unknown one gets. */
function byNode(q: Exchange, api: Api, unknownStatus: number): Response | Promise<Response> {
  const { deps } = api;
  const id = q.parameter("node_id");
  const local = deps.localClient;
  if (id === "") {
    if (local) return local.fetch(q.request);
    throw new ApiError(400, "No local Node and node_id not provided");
  }
  if (local?.nodeId === id) return local.fetch(q.request);
  if (deps.server) checkUuid(id, "node lookup failed: ");
  return api.atLeader(q, () => {
    if (!api.server.state.node(id)) throw new ApiError(unknownStatus, `Unknown node ${id}`);
    return toNode(api, id, q.request);
  });
}

/** Brings a request to a device that is named by its id. */
export function forwardToNode(
  q: Exchange,
  api: Api,
  id: string,
  request: Request,
): Response | Promise<Response> {
  checkUuid(id, "node lookup failed: ");
  return api.atLeader(q, () => {
    if (!api.server.state.node(id)) throw new ApiError(404, `Unknown node ${id}`);
    return toNode(api, id, request);
  });
}

/** Devices keep their connection at the leader. */
async function toNode({ deps, server }: Api, nodeId: string, request: Request): Promise<Response> {
  if (deps.localClient?.nodeId === nodeId) return await deps.localClient.fetch(request);
  if (await server.devices.expected(nodeId)) return await server.devices.fetch(nodeId, request);
  throw new ApiError(404, "No path to node");
}
