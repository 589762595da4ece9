// The API of an agent as one Hono app: Request in, Response out, no sockets. Mounts the routes of http_<resource>.ts,
// sends what is the leader's to the leader, and turns errors into the API's plain texts.
//
// Invariants: no answer holds a stack trace; a request is forwarded at most once; what is not a route is an empty
// 404, a route with another method a 405.
import { Hono } from "hono";
import { ApiError, errorText, NotLeaderError, StorageError } from "../core/errors.ts";
import { agentRoutes } from "./http_agent.ts";
import { allocationRoutes } from "./http_allocations.ts";
import { type Api, byMethod, type Handler, type HttpDeps, type Route, wrongMethod } from "./http_api.ts";
import { clientRoutes } from "./http_client.ts";
import { deploymentRoutes } from "./http_deployments.ts";
import { evaluationRoutes } from "./http_evaluations.ts";
import { eventRoutes } from "./http_events.ts";
import { bareReply, Exchange, textReply } from "./http_exchange.ts";
import { jobRoutes } from "./http_job.ts";
import { jobsRoutes } from "./http_jobs.ts";
import { namespaceRoutes } from "./http_namespaces.ts";
import { nodeRoutes } from "./http_nodes.ts";
import { operatorRoutes } from "./http_operator.ts";
import { poolRoutes } from "./http_pools.ts";
import { Reads } from "./http_read.ts";
import { scalingRoutes } from "./http_scaling.ts";
import { searchRoutes } from "./http_search.ts";
import { serviceRoutes } from "./http_services.ts";
import { absentRoutes } from "./http_absent.ts";
import { systemRoutes } from "./http_system.ts";

export type { AgentFacade, Health, HttpDeps, LocalClient } from "./http_api.ts";

/** Marks a request that another server sent on, so that it is not sent on again. */
export const FORWARDED_HEADER = "x-nomad-forwarded";
/** How long a request waits for an election to end. */
const ELECTION_WAIT_MS = 5_000;
const ELECTION_POLL_MS = 25;

const ROUTES: Route[] = [
  ...jobsRoutes,
  ...jobRoutes,
  ...nodeRoutes,
  ...poolRoutes,
  ...namespaceRoutes,
  ...allocationRoutes,
  ...evaluationRoutes,
  ...deploymentRoutes,
  ...serviceRoutes,
  ...searchRoutes,
  ...scalingRoutes,
  ...operatorRoutes,
  ...systemRoutes,
  ...agentRoutes,
  ...clientRoutes,
  ...eventRoutes,
  ...absentRoutes,
];

/** Builds the app. Mount it under "/": it knows all paths, and answers 404 for what it does not know. */
export function createHttpApp(deps: HttpDeps): Hono {
  const app = new Hono();
  const dispatcher = new Dispatcher(deps);
  for (const route of ROUTES) app.all(route.path, (c) => dispatcher.run(route, c.req.raw));
  app.all("/", (c) => redirect(c.req.raw, "/ui/"));
  app.all("/ui", (c) => redirect(c.req.raw, "/ui/"));
  app.all("/ui/*", (c) => dispatcher.ui(c.req.raw));
  app.notFound(() => dispatcher.finish(bareReply(404)));
  app.onError((error) => dispatcher.finish(dispatcher.failure(error)));
  return app;
}

/** 307 as Go's server writes it; the query is kept. */
function redirect(request: Request, path: string): Response {
  const question = request.url.indexOf("?");
  const target = path + (question < 0 ? "" : request.url.slice(question));
  return new Response(`<a href="${target.replaceAll("&", "&amp;")}">Temporary Redirect</a>.\n\n`, {
    status: 307,
    headers: { "Content-Type": "text/html; charset=utf-8", Location: target, Vary: "Accept-Encoding" },
  });
}

class Dispatcher implements Api {
  #reads: Reads | null;

  constructor(readonly deps: HttpDeps) {
    this.#reads = deps.server && new Reads(deps.server);
  }

  get server() {
    if (!this.deps.server) throw new ApiError(501, "This agent is not a server: ask one of the servers");
    return this.deps.server;
  }

  get reads(): Reads {
    if (!this.#reads) throw new ApiError(501, "This agent is not a server: ask one of the servers");
    return this.#reads;
  }

  async run(route: Route, request: Request): Promise<Response> {
    try {
      return this.finish(await this.#answer(route, new Exchange(request)));
    } catch (error) {
      return this.finish(this.failure(error));
    }
  }

  async ui(request: Request): Promise<Response> {
    try {
      if (this.deps.ui) return this.finish(await this.deps.ui(request));
    } catch (error) {
      return this.finish(this.failure(error));
    }
    const page =
      "<!DOCTYPE html>\n<html>\n<p>This agent serves no web page. The API is below /v1/, the command " +
      "line speaks it: <code>nomad status</code>.</p>\n</html>\n";
    return this.finish(
      new Response(page, {
        headers: { "Content-Type": "text/html; charset=utf-8", Vary: "Accept-Encoding" },
      }),
    );
  }

  #answer(route: Route, q: Exchange): Response | Promise<Response> {
    if (route.path.endsWith("/*") && q.path === route.path.slice(0, -2)) {
      return redirect(q.request, `${q.path}/`);
    }
    const { methods } = route;
    if (typeof methods !== "function" && !methods[q.method as "GET"]) return wrongMethod();
    const handler: Handler = typeof methods === "function" ? methods : (q, api) => byMethod(q, api, methods);
    if (route.scope === "agent") return handler(q, this);
    const region = q.parameter("region");
    if (region !== "" && region !== this.deps.region) throw new ApiError(500, "No path to region");
    const { server } = this.deps;
    if (!server) return this.deps.forward(q.request, null);
    if (server.log.isLeader || (q.method === "GET" && q.options.stale)) return handler(q, this);
    return this.#atLeader(q, handler);
  }

  /** Answers here once this server leads, or sends the request to who does. */
  async #atLeader(q: Exchange, handler: Handler): Promise<Response> {
    const { log, clock } = this.server;
    const forwarded = q.request.headers.has(FORWARDED_HEADER);
    for (const end = clock.monotonicMs() + ELECTION_WAIT_MS; clock.monotonicMs() < end;) {
      if (log.isLeader) return await handler(q, this);
      const leader = log.leader;
      if (leader && leader.httpAddress !== "" && leader.id !== this.server.config.id && !forwarded) {
        return await this.deps.forward(q.request, leader.httpAddress);
      }
      await new Promise<void>((resolve) => clock.after(ELECTION_POLL_MS, resolve));
    }
    throw new NotLeaderError("");
  }

  failure(error: unknown): Response {
    if (error instanceof ApiError) return textReply(error.status, error.message);
    if (error instanceof NotLeaderError) return textReply(500, "No cluster leader");
    if (error instanceof StorageError) {
      return textReply(error.kind === "full" || error.kind === "locked" ? 503 : 500, error.message);
    }
    this.deps.logger.error("Request failed", { error: errorText(error) });
    return textReply(500, errorText(error));
  }

  finish(response: Response): Response {
    const extra = this.deps.responseHeaders;
    if (extra) { for (const [name, value] of Object.entries(extra)) response.headers.set(name, value); }
    return response;
  }
}
