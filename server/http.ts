// The API of an agent as one Hono app: Request in, Response out, no sockets. Mounts the routes of http_<resource>.ts,
// lets serving.ts find who answers, and turns errors into the API's plain texts.
//
// Invariants: no answer holds a stack trace; what is not a route is an empty 404, a route with another method a 405.
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
import { snapshotRoutes } from "./http_snapshot.ts";
import { systemRoutes } from "./http_system.ts";
import { Overload } from "./overload.ts";
import { busy, FATE_HEADER, Serving } from "./serving.ts";

export type { AgentFacade, Health, HttpDeps, LocalClient } from "./http_api.ts";

const AFTER_UNKNOWN_FATE =
  "Look at what you wanted to change before you send it again; a write that carries an " +
  "Idempotency-Key header can be repeated safely";

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
  ...snapshotRoutes,
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
  #serving: Serving | null;
  readonly #overload: Overload;

  constructor(readonly deps: HttpDeps) {
    this.#reads = deps.server && new Reads(deps.server);
    this.#overload = new Overload(deps.clock, deps.logger);
    this.#serving = deps.server && new Serving({ server: deps.server, forward: deps.forward });
  }

  get server() {
    if (!this.deps.server) throw new ApiError(501, "This agent is not a server: ask one of the servers");
    return this.deps.server;
  }

  get reads(): Reads {
    if (!this.#reads) throw new ApiError(501, "This agent is not a server: ask one of the servers");
    return this.#reads;
  }

  atLeader(q: Exchange, handler: Handler): Response | Promise<Response> {
    if (!this.#serving) return this.deps.forward(q.request, null);
    return this.#serving.atLeader(q, this, handler, { repeatable: "reads" });
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
    if (!this.#serving) return this.deps.forward(q.request, null);
    if (route.scope === "anyServer") return handler(q, this);
    if (
      !route.path.startsWith("/v1/status/") && this.#overload.sheds(q.method === "GET" ? "read" : "write")
    ) {
      return busy("more is asked of it than it can do");
    }
    if (route.scope === "leader") return this.#serving.atLeader(q, this, handler, { repeatable: "ids" });
    return this.#serving.answer(q, this, handler);
  }

  failure(error: unknown): Response {
    if (error instanceof ApiError) return textReply(error.status, error.message);
    if (error instanceof NotLeaderError) {
      if (error.fate === "not proposed") return textReply(500, "No cluster leader");
      return textReply(500, `${error.message}. ${AFTER_UNKNOWN_FATE}`, { [FATE_HEADER]: "unknown" });
    }
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
