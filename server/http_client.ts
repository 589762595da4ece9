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
export async function forwardToAllocation(
  q: Exchange,
  api: Api,
  id: string,
  path: string | null,
): Promise<Response> {
  const { deps } = api;
  const request = path === null ? q.request : withPath(q.request, path);
  if (deps.localClient?.hasAllocation(id)) return await deps.localClient.fetch(request);
  if (!deps.server) {
    // A device's own checks of a malformed request come before the question where the allocation is.
    if (!looksLikeId(id) && deps.localClient) return await deps.localClient.fetch(request);
    return await deps.forward(q.request, null);
  }
  checkUuid(id, "alloc lookup failed: ");
  const found = deps.server.state.alloc(id);
  if (!found) throw new ApiError(404, `Unknown allocation ${JSON.stringify(id)}`);
  return await toNode(q, api, found.NodeID, request);
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
async function byNode(q: Exchange, api: Api, unknownStatus: number): Promise<Response> {
  const { deps } = api;
  const id = q.parameter("node_id");
  const local = deps.localClient;
  if (id === "") {
    if (local) return await local.fetch(q.request);
    throw new ApiError(400, "No local Node and node_id not provided");
  }
  if (local?.nodeId === id) return await local.fetch(q.request);
  if (!deps.server) return await deps.forward(q.request, null);
  checkUuid(id, "node lookup failed: ");
  if (!deps.server.state.node(id)) throw new ApiError(unknownStatus, `Unknown node ${id}`);
  return await toNode(q, api, id, q.request);
}

/** Devices keep their connection at the leader, so another server asks there. */
async function toNode(q: Exchange, api: Api, nodeId: string, request: Request): Promise<Response> {
  const { deps, server } = api;
  if (deps.localClient?.nodeId === nodeId) return await deps.localClient.fetch(request);
  if (server.devices.connected(nodeId)) return await server.devices.fetch(nodeId, request);
  const { log } = server;
  const address = log.isLeader ? "" : log.leader?.httpAddress ?? "";
  if (address === "" || q.request.headers.has("x-nomad-forwarded")) {
    throw new ApiError(404, "No path to node");
  }
  return await deps.forward(q.request, address);
}
