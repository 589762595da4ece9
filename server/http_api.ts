// What the routes of the API share: the form of a route, what an agent offers to them (HttpDeps), and small helpers for
// writes. The routes themselves are in http_<resource>.ts, their mounting in http.ts.
import type { Clock } from "../core/env.ts";
import { ApiError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Job } from "../core/types.ts";
import type { ServerContext } from "./context.ts";
import type { Stamp } from "./evaluations.ts";
import type { GossipKeyring } from "./membership.ts";
import { type Exchange, readHeaders, textReply } from "./http_exchange.ts";
import type { Reads } from "./http_read.ts";

/** Health of one half of the agent; null when it does not have that half. */
export interface Health {
  ok: boolean;
  message: string;
}

/** What the agent itself answers: it is neither the server's nor the device's. */
export interface AgentFacade {
  /** `{config, member, stats}`. */
  self(): unknown;
  /** `{ServerName, ServerRegion, ServerDC, Members}`. */
  members(): unknown;
  health(): { client: Health | null; server: Health | null };
  /** rpc addresses that the client half knows; null without a client. */
  servers(): string[] | null;
  setServers(addresses: string[]): void;
  /** Null on an agent without a server. */
  join(addresses: string[]): Promise<{ num_joined: number; error: string; warning: string } | null>;
  forceLeave(node: string, prune: boolean): Promise<void>;
  /** Null on an agent without a server. */
  gossipKeyring(): GossipKeyring | null;
  reload(): Promise<void>;
  /** Null unless enable_debug allows it. */
  hostInfo(): Promise<unknown> | null;
  /** State of the scheduling workers. */
  schedulers(): {
    id: string;
    enabled_schedulers: string[];
    started: string;
    status: string;
    workload_status: string;
  }[];
  /** Log lines from now on, each with its newline; ends when `signal` fires. */
  monitor(
    options: { level: string; json: boolean; location: boolean },
    signal: AbortSignal,
  ): AsyncIterable<string>;
  /** `{Timestamp, Gauges, Points, Counters, Samples}`. */
  metrics(): unknown;
  /** Prometheus' text form; null when it is not enabled. */
  metricsPrometheus(): string | null;
}

/** The device half of the same agent. */
export interface LocalClient {
  nodeId: string;
  /** Whether this device has the allocation. */
  hasAllocation(id: string): boolean;
  /** Answers requests to /v1/client/… */
  fetch(request: Request): Promise<Response>;
}

export interface HttpDeps {
  /** Null on an agent that is only a client: what is the servers' is forwarded. */
  server: ServerContext | null;
  localClient: LocalClient | null;
  agent: AgentFacade;
  region: string;
  clock: Clock;
  logger: Logger;
  /**
   * Sends a request to another server and gives its answer. `address` is the host:port of that server's rpc listener,
   * null for any server that the agent knows. Rejects with HopError, or ApiError for null.
   */
  forward(request: Request, address: string | null): Promise<Response>;
  /** Serves /ui/…; null without a web page. */
  ui: ((request: Request) => Response | Promise<Response>) | null;
  /** http_api_response_headers of the configuration. */
  responseHeaders?: Record<string, string>;
}

/** One app's parts as its routes see them. */
export interface Api {
  readonly deps: HttpDeps;
  /** The server; only for routes of scope "server". */
  readonly server: ServerContext;
  readonly reads: Reads;
  /** Runs `handler` on the server that leads: here or, the request sent on, there. Reads may be asked for twice. */
  atLeader(q: Exchange, handler: Handler): Response | Promise<Response>;
}

export type Handler = (q: Exchange, api: Api) => Response | Promise<Response>;
export type Method = "GET" | "PUT" | "POST" | "DELETE";

export interface Route {
  /** Exact path, or one that ends in "/*" for everything below. */
  path: string;
  /**
   * Who answers: the cluster's servers (serving.ts finds which), the leader even where any server would do, whichever
   * server is asked, or this very agent.
   */
  scope: "server" | "leader" | "anyServer" | "agent";
  methods: Partial<Record<Method, Handler>> | Handler;
}

/** PUT and POST are the same everywhere. */
export function onWrite(handler: Handler): Partial<Record<Method, Handler>> {
  return { PUT: handler, POST: handler };
}

export function isWrite(q: Exchange): boolean {
  return q.method === "PUT" || q.method === "POST";
}

export function wrongMethod(status = 405): Response {
  return textReply(status, "Invalid method");
}

/** Picks by method; anything else is a wrong method. */
export function byMethod(
  q: Exchange,
  api: Api,
  methods: Partial<Record<Method, Handler>>,
): Response | Promise<Response> {
  const handler = methods[q.method as Method];
  return handler ? handler(q, api) : wrongMethod();
}

/** Ids and time for what this request writes. */
export function stamp(api: Api): Stamp {
  return { random: api.server.random, nowNs: api.server.nowNs() };
}

/** The job, or the refusal that its absence is. */
export function demandJob(
  api: Api,
  namespace: string,
  id: string,
  status = 500,
  message = "job not found",
): Job {
  const job = api.server.state.job(namespace, id);
  if (!job) throw new ApiError(status, message);
  return job;
}

/** A 404 that carries the index headers. */
export function missing(q: Exchange, api: Api, index: number, text: string): Response {
  return textReply(404, text, readHeaders(api.reads.meta(q, index)));
}

/** Fields that register, stop and evaluate answers carry beside their own. */
export function writeMeta(index: number): Record<string, unknown> {
  return { Index: index, LastContact: 0, KnownLeader: false, NextToken: "" };
}

const JOB_PREFIX = "/v1/job/";

/** The id in `/v1/job/<id><suffix>`; it may hold slashes. */
export function jobIdOf(q: Exchange, suffix = ""): string {
  return q.path.slice(JOB_PREFIX.length, q.path.length - suffix.length);
}
