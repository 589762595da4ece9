// /v1/agent/… and /v1/metrics: what this very agent says of itself; never forwarded.
import { Buffer } from "node:buffer";
import { ApiError, NotLeaderError } from "../core/errors.ts";
import { type AgentFacade, type Api, onWrite, type Route, wrongMethod } from "./http_api.ts";
import { forwardToNode } from "./http_client.ts";
import { type Exchange, textReply } from "./http_exchange.ts";
import { list, str, struct, uint64 } from "./json_decode.ts";
import { forwarded, isForwarded } from "./serving.ts";

const LOG_LEVELS = new Set(["trace", "debug", "info", "warn", "error"]);
const MONITOR_HEARTBEAT_MS = 1_000;
const encoder = new TextEncoder();

export const agentRoutes: Route[] = [
  { path: "/v1/agent/self", scope: "agent", methods: { GET: (q, { deps }) => q.json200(deps.agent.self()) } },
  {
    path: "/v1/agent/members",
    scope: "agent",
    methods: { GET: members },
  },
  { path: "/v1/agent/health", scope: "agent", methods: { GET: health } },
  { path: "/v1/agent/servers", scope: "agent", methods: { GET: servers, ...onWrite(setServers) } },
  { path: "/v1/agent/join", scope: "agent", methods: onWrite(join) },
  { path: "/v1/agent/force-leave", scope: "agent", methods: onWrite(forceLeave) },
  { path: "/v1/agent/host", scope: "agent", methods: { GET: host } },
  { path: "/v1/agent/reload", scope: "agent", methods: onWrite(reload) },
  { path: "/v1/agent/schedulers", scope: "agent", methods: { GET: schedulers } },
  {
    path: "/v1/agent/schedulers/config",
    scope: "agent",
    methods: { GET: schedulerConfig, ...onWrite(setSchedulerConfig) },
  },
  { path: "/v1/agent/monitor", scope: "agent", methods: monitor },
  { path: "/v1/agent/monitor/export", scope: "agent", methods: monitorExport },
  { path: "/v1/agent/keyring/*", scope: "agent", methods: gossipKeyring },
  { path: "/v1/agent/pprof/*", scope: "agent", methods: pprof },
  { path: "/v1/metrics", scope: "agent", methods: { GET: metrics } },
];

/** A device's agent takes no part in gossip: it asks the servers. */
function members(q: Exchange, { deps }: Api): Response | Promise<Response> {
  return deps.server ? q.json200(deps.agent.members()) : deps.forward(q.request, null);
}

function health(q: Exchange, { deps }: Api): Response {
  const type = q.parameter("type");
  const { client, server } = deps.agent.health();
  const absent = (half: string) => ({ ok: false, message: `${half} not enabled` });
  const report: Record<string, { ok: boolean; message: string }> = {};
  if (client || type === "client") {
    if (type === "" || type === "client") report.client = client ?? absent("client");
  }
  if (server || type === "server") {
    if (type === "" || type === "server") report.server = server ?? absent("server");
  }
  if (Object.values(report).every((half) => half.ok)) return q.json200(report);
  return textReply(500, JSON.stringify(report));
}

function servers(q: Exchange, { deps }: Api): Response {
  const known = deps.agent.servers();
  return known ? q.json200(known) : wrongMethod(501);
}

function setServers(q: Exchange, { deps }: Api): Response {
  if (!deps.agent.servers()) return wrongMethod(501);
  const addresses = q.query.getAll("address").filter((address) => address !== "");
  if (addresses.length === 0) throw new ApiError(400, "missing server address");
  deps.agent.setServers(addresses);
  return q.empty();
}

async function join(q: Exchange, { deps }: Api): Promise<Response> {
  if (!deps.server) return wrongMethod(501);
  const addresses = q.query.getAll("address").filter((address) => address !== "");
  if (addresses.length === 0) throw new ApiError(400, "missing address to join");
  const joined = await deps.agent.join(addresses);
  return joined ? q.json200(joined) : wrongMethod(501);
}

async function forceLeave(q: Exchange, { deps }: Api): Promise<Response> {
  if (!deps.server) return wrongMethod(501);
  const node = q.parameter("node");
  if (node === "") throw new ApiError(400, "missing node to force leave");
  await deps.agent.forceLeave(node, q.query.has("prune"));
  return q.empty();
}

async function host(q: Exchange, { deps }: Api): Promise<Response> {
  const info = deps.agent.hostInfo();
  if (!info) throw new ApiError(403, "Permission denied");
  return q.json200(await info);
}

async function reload(q: Exchange, { deps }: Api): Promise<Response> {
  await deps.agent.reload();
  return q.empty();
}

function demandServer({ deps }: Api): NonNullable<Api["deps"]["server"]> {
  if (!deps.server) throw new ApiError(400, "Server only endpoint");
  return deps.server;
}

function schedulers(q: Exchange, api: Api): Response {
  const { config } = demandServer(api);
  return q.json200({ server_id: config.name, schedulers: api.deps.agent.schedulers() });
}

function schedulerConfig(q: Exchange, api: Api): Response {
  const { config } = demandServer(api);
  return q.json200({
    server_id: config.name,
    num_schedulers: config.schedulers,
    enabled_schedulers: [...config.enabledSchedulers.filter((name) => name !== "_core"), "_core"],
  });
}

const schedulerConfigShape = struct("agent.SchedulerWorkerConfig", {
  num_schedulers: uint64,
  enabled_schedulers: list(str),
});
const SCHEDULERS = new Set(["service", "batch", "system", "sysbatch", "_core"]);

/** One worker thread schedules here, so only what is in force already can be asked for. */
async function setSchedulerConfig(q: Exchange, api: Api): Promise<Response> {
  const { config } = demandServer(api);
  let body: { num_schedulers?: number; enabled_schedulers?: string[] };
  try {
    body = await q.json(schedulerConfigShape);
  } catch (error) {
    if (error instanceof ApiError) throw new ApiError(error.status, `Invalid request: ${error.message}`);
    throw error;
  }
  const enabled = body.enabled_schedulers ?? [];
  if (enabled.length === 0 || enabled.some((name) => !SCHEDULERS.has(name))) {
    throw new ApiError(400, "Invalid request");
  }
  const inForce = new Set([...config.enabledSchedulers, "_core"]);
  const same = body.num_schedulers === config.schedulers && enabled.length === inForce.size &&
    enabled.every((name) => inForce.has(name));
  if (!same) {
    throw new ApiError(
      501,
      "Changing the schedulers of a running server is not supported: set server.num_schedulers and " +
        "server.enabled_schedulers in its configuration and restart it",
    );
  }
  return schedulerConfig(q, api);
}

/** The rpc address of the server that `server_id` names ("leader", an id or a member's name); null for this one. */
function addressOf(api: Api, name: string): string | null {
  const { config, log } = demandServer(api);
  if (name === "leader") {
    if (log.isLeader) return null;
    if (!log.leader) throw new NotLeaderError("");
    return log.leader.rpcAddress;
  }
  const members =
    (api.deps.agent.members() as { Members: { Name: string; Tags: Record<string, string> }[] }).Members;
  const id = members.find((member) => member.Name === name)?.Tags["id"] ?? name;
  if (id === config.id || name === config.name) return null;
  const peer = log.peers().find((one) => one.id === id);
  if (!peer) throw new ApiError(400, `unknown Nomad server ${name}`);
  return peer.rpcAddress;
}

function monitor(q: Exchange, api: Api): Response | Promise<Response> {
  const nodeId = q.parameter("node_id");
  if (nodeId !== "" && nodeId !== api.deps.localClient?.nodeId) {
    const url = new URL(q.request.url);
    url.searchParams.delete("node_id");
    const { headers, signal } = q.request;
    return forwardToNode(q, api, nodeId, new Request(url, { headers, signal }));
  }
  const wanted = q.parameter("server_id");
  const address = wanted === "" || isForwarded(q) ? null : addressOf(api, wanted);
  return address === null ? ownMonitor(q, api) : api.deps.forward(forwarded(q), address);
}

function ownMonitor(q: Exchange, api: Api): Response {
  const level = q.parameter("log_level").toLowerCase() || "info";
  if (!LOG_LEVELS.has(level)) throw new ApiError(400, `Unknown log level: ${q.parameter("log_level")}`);
  const json = q.bool("log_json", { status: 400 }) ?? false;
  const location = q.bool("log_include_location", { status: 400 }) ?? false;
  const plain = q.bool("plain", { status: 400 }) ?? false;
  const end = new AbortController();
  q.request.signal.addEventListener("abort", () => end.abort(), { once: true });
  const lines = api.deps.agent.monitor({ level, json, location }, end.signal);
  return new Response(logStream(lines, plain, end, api), {
    headers: { "Content-Type": plain ? "text/plain" : "application/json", Vary: "Accept-Encoding" },
  });
}

/** Log lines as they come: bare, or in frames with an empty frame every second. */
function logStream(
  lines: ReturnType<AgentFacade["monitor"]>,
  plain: boolean,
  end: AbortController,
  api: Api,
): ReadableStream<Uint8Array> {
  const reader = lines[Symbol.asyncIterator]();
  let cancelHeartbeat = () => {};
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const beat = () => {
        controller.enqueue(encoder.encode("{}"));
        cancelHeartbeat = api.deps.clock.after(MONITOR_HEARTBEAT_MS, beat);
      };
      if (!plain) cancelHeartbeat = api.deps.clock.after(MONITOR_HEARTBEAT_MS, beat);
    },
    async pull(controller) {
      const { done, value } = await reader.next();
      if (done) {
        cancelHeartbeat();
        return controller.close();
      }
      const frame = plain
        ? value
        : JSON.stringify({ Data: Buffer.from(value).toString("base64"), FileEvent: "log" });
      controller.enqueue(encoder.encode(frame));
    },
    cancel() {
      cancelHeartbeat();
      end.abort();
    },
  });
}

function monitorExport(q: Exchange): Response {
  if (q.parameter("service_name") === "" && q.parameter("on_disk") === "") {
    throw new ApiError(400, "Either -service-name or -on-disk must be set");
  }
  throw new ApiError(
    501,
    "Exporting an agent's log over the API is not supported: read its log file or journal",
  );
}

const keyShape = struct("agent.KeyringRequest", { Key: str });
const KEYRING_OPERATIONS = ["list", "install", "use", "remove"] as const;

/** Lists the keys of gossip or changes them on all servers; one server that cannot makes it a failure. */
async function gossipKeyring(q: Exchange, { deps }: Api): Promise<Response> {
  const operation = KEYRING_OPERATIONS.find((each) => each === q.after("/v1/agent/keyring/"));
  if (!operation) return textReply(404, "resource not found");
  const keyring = deps.agent.gossipKeyring();
  if (!keyring) return wrongMethod(501);
  if (!keyring.encrypted) {
    deps.logger.warn("gossip is not encrypted: there are no keys to list or change");
    return textReply(500, "1/1 nodes reported failure");
  }
  const answer = operation === "list"
    ? await keyring.list()
    : await keyring[operation]((await q.json<{ Key?: string }>(keyShape)).Key ?? "");
  const failed = Object.entries(answer.messages).map(([name, message]) => `${name}: ${message}`);
  if (failed.length > 0) {
    throw new ApiError(
      500,
      `${failed.length}/${answer.members} nodes reported failure: ${failed.sort().join("; ")}`,
    );
  }
  return q.json200({
    Keys: operation === "list" ? answer.keys : {},
    Messages: answer.messages,
    NumNodes: answer.members,
    ...(operation === "list" ? { PrimaryKeys: answer.primaryKeys } : {}),
  });
}

function pprof(): Response {
  return textReply(
    501,
    "Profiles in Go's format do not exist here: start the agent with --cpu-prof (Deno, Bun) to profile it",
  );
}

function metrics(q: Exchange, { deps }: Api): Response {
  if (q.parameter("format") !== "prometheus") return q.json200(deps.agent.metrics());
  const text = deps.agent.metricsPrometheus();
  if (text === null) throw new ApiError(415, "Prometheus is not enabled");
  return new Response(text, {
    headers: {
      "Content-Type": "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
      Vary: "Accept-Encoding",
    },
  });
}
