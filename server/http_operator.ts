// /v1/operator/…: the scheduler's configuration, the servers' peers and health. Snapshots, keyring and membership
// changes are refused with what to do instead until their rooms exist.
import { ApiError } from "../core/errors.ts";
import type { SchedulerConfiguration } from "../core/types.ts";
import { NOMAD_VERSION } from "../core/version.ts";
import { type Api, byMethod, isWrite, onWrite, type Route } from "./http_api.ts";
import { bareReply, type Exchange, textReply } from "./http_exchange.ts";
import { bool, int, str, struct, uint64 } from "./json_decode.ts";

const schedulerShape = struct("api.SchedulerConfiguration", {
  SchedulerAlgorithm: str,
  PreemptionConfig: struct("api.PreemptionConfig", {
    SystemSchedulerEnabled: bool,
    SysBatchSchedulerEnabled: bool,
    BatchSchedulerEnabled: bool,
    ServiceSchedulerEnabled: bool,
  }),
  MemoryOversubscriptionEnabled: bool,
  RejectJobRegistration: bool,
  PauseEvalBroker: bool,
  NodeLimitForFeasibilityChecks: int,
  CreateIndex: uint64,
  ModifyIndex: uint64,
});

export const operatorRoutes: Route[] = [
  {
    path: "/v1/operator/scheduler/configuration",
    scope: "server",
    methods: { GET: readScheduler, ...onWrite(setScheduler) },
  },
  { path: "/v1/operator/raft/*", scope: "server", methods: raft },
  { path: "/v1/operator/autopilot/health", scope: "server", methods: { GET: autopilotHealth } },
];

function readScheduler(q: Exchange, api: Api): Response {
  const config = api.server.state.schedulerConfig();
  const meta = api.reads.meta(q, config.ModifyIndex);
  return q.read({
    SchedulerConfig: config,
    Index: meta.index,
    LastContact: meta.lastContactMs,
    KnownLeader: meta.knownLeader,
    NextToken: "",
  }, meta);
}

async function setScheduler(q: Exchange, api: Api): Promise<Response> {
  const { server } = api;
  const cas = q.parameter("cas");
  if (cas !== "" && !/^\d+$/.test(cas)) {
    throw new ApiError(
      400,
      `Error parsing cas value: strconv.ParseUint: parsing ${JSON.stringify(cas)}: invalid syntax`,
    );
  }
  const body = await readSchedulerBody(q);
  const algorithm = body.SchedulerAlgorithm || "binpack";
  if (algorithm !== "binpack" && algorithm !== "spread") {
    throw new ApiError(400, `invalid scheduler algorithm: ${algorithm}`);
  }
  const { index, result } = await server.propose({
    kind: "scheduler.config",
    time: server.nowNs(),
    config: {
      SchedulerAlgorithm: algorithm,
      PreemptionConfig: {
        SystemSchedulerEnabled: body.PreemptionConfig?.SystemSchedulerEnabled ?? false,
        SysBatchSchedulerEnabled: body.PreemptionConfig?.SysBatchSchedulerEnabled ?? false,
        BatchSchedulerEnabled: body.PreemptionConfig?.BatchSchedulerEnabled ?? false,
        ServiceSchedulerEnabled: body.PreemptionConfig?.ServiceSchedulerEnabled ?? false,
      },
      MemoryOversubscriptionEnabled: body.MemoryOversubscriptionEnabled ?? false,
      RejectJobRegistration: body.RejectJobRegistration ?? false,
      PauseEvalBroker: body.PauseEvalBroker ?? false,
      NodeLimitForFeasibilityChecks: body.NodeLimitForFeasibilityChecks ?? 0,
      CreateIndex: 0,
      ModifyIndex: 0,
    },
    ...(cas === "" ? {} : { cas: Number(cas) }),
  });
  return q.written({ Updated: result.value !== false, Index: index }, index);
}

async function readSchedulerBody(q: Exchange): Promise<Partial<SchedulerConfiguration>> {
  try {
    return await q.json(schedulerShape);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 400) throw error;
    throw new ApiError(400, `Error parsing scheduler config: ${error.message}`);
  }
}

function raft(q: Exchange, api: Api): Response | Promise<Response> {
  switch (q.after("/v1/operator/raft/")) {
    case "configuration":
      return q.method === "GET" ? raftConfiguration(q, api) : bareReply(405);
    case "peer":
      return q.method === "DELETE" ? removePeer(q, api) : textReply(404, "Invalid method");
    case "transfer-leadership":
      return isWrite(q) ? transferLeadership(q, api) : byMethod(q, api, {});
    default:
      return textReply(404, "Invalid method");
  }
}

function raftConfiguration(q: Exchange, { server }: Api): Response {
  const servers = server.log.peers().map((peer) => ({
    ID: peer.id,
    Node: peer.id === server.config.id ? server.config.name : "(unknown)",
    Address: peer.rpcAddress,
    Leader: peer.leader,
    Voter: peer.voter,
    RaftProtocol: "3",
  }));
  return q.json200({ Servers: servers, Index: 0 });
}

function removePeer(q: Exchange, { server }: Api): Response {
  const id = q.parameter("id");
  if (id === "" && q.parameter("address") !== "") {
    throw new ApiError(
      400,
      "Removing a peer by address is not supported in the current raft protocol version",
    );
  }
  if (id === "") throw new ApiError(400, "Must specify the peer's ID to remove");
  demandPeer(server, id, 500);
  throw new ApiError(
    501,
    "Removing a server from the cluster is not supported yet: a cluster has one server, which cannot be removed",
  );
}

function transferLeadership(q: Exchange, { server }: Api): Response {
  const id = q.parameter("id");
  const address = q.parameter("address");
  if (id === "" && address === "") throw new ApiError(400, "must specify id or address");
  if (id !== "") demandPeer(server, id, 400);
  throw new ApiError(
    501,
    "Transferring leadership is not supported yet: a cluster has one server, which leads",
  );
}

function demandPeer(server: Api["server"], id: string, status: number): void {
  if (server.log.peers().some((peer) => peer.id === id)) return;
  throw new ApiError(status, `id ${JSON.stringify(id)} was not found in the Raft configuration`);
}

function autopilotHealth(q: Exchange, { server }: Api): Response {
  const { log, config, state } = server;
  const servers = log.peers().map((peer) => ({
    ID: peer.id,
    Name: peer.id === config.id ? config.name : peer.id,
    Address: peer.rpcAddress,
    SerfStatus: "alive",
    Version: NOMAD_VERSION,
    Leader: peer.leader,
    LastContact: "0s",
    LastTerm: log.term,
    LastIndex: state.index,
    Healthy: log.leader !== null || log.isLeader,
    Voter: peer.voter,
    StableSince: "0001-01-01T00:00:00Z",
  }));
  const voters = servers.filter((one) => one.Voter);
  const healthy = servers.every((one) => one.Healthy);
  const report = {
    Healthy: healthy,
    FailureTolerance: Math.max(0, Math.floor((voters.length - 1) / 2)),
    Servers: servers,
    Leader: servers.find((one) => one.Leader)?.ID ?? "",
    Voters: voters.map((one) => one.ID),
  };
  return healthy ? q.json200(report) : textReply(429, JSON.stringify(report));
}
