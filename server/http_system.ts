// /v1/status, /v1/regions, /v1/system: who leads, who takes part, garbage collection.
import { type Api, type Route } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { write } from "./http_once.ts";

export const systemRoutes: Route[] = [
  { path: "/v1/status/leader", scope: "server", methods: { GET: leader } },
  { path: "/v1/status/peers", scope: "server", methods: { GET: peers } },
  { path: "/v1/regions", scope: "anyServer", methods: { GET: regions } },
  { path: "/v1/system/gc", scope: "server", methods: { PUT: collectGarbage } },
  { path: "/v1/system/reconcile/summaries", scope: "server", methods: { PUT: reconcileSummaries } },
];

function leader(q: Exchange, { server }: Api): Response {
  return q.json200(server.log.leader?.rpcAddress ?? (server.log.isLeader ? server.config.rpcAddress : ""));
}

function peers(q: Exchange, { server }: Api): Response {
  return q.json200(server.log.peers().map((peer) => peer.rpcAddress));
}

function regions(q: Exchange, { deps }: Api): Response {
  return q.json200([deps.region]);
}

async function collectGarbage(q: Exchange, { server }: Api): Promise<Response> {
  await server.collectGarbage();
  return q.empty();
}

function reconcileSummaries(q: Exchange, api: Api): Promise<Response> {
  return write(q, api, { kind: "summaries.reconcile" }, { body: null, headers: "none" });
}
