// /v1/operator/autopilot/…: how the servers are looked after, and how they are. Durations are text in the API and
// nanoseconds in the state.
import { formatDuration, parseDuration } from "../core/duration.ts";
import { ApiError } from "../core/errors.ts";
import { formatTimeSeconds } from "../core/time.ts";
import type { AutopilotConfiguration } from "../core/types.ts";
import { type Api, isWrite, type Route } from "./http_api.ts";
import { type Exchange, textReply } from "./http_exchange.ts";
import { write } from "./http_once.ts";
import { bool, str, struct, uint64 } from "./json_decode.ts";

const shape = struct("api.AutopilotConfiguration", {
  LastContactThreshold: str,
  ServerStabilizationTime: str,
  CleanupDeadServers: bool,
  MaxTrailingLogs: uint64,
  MinQuorum: uint64,
  EnableRedundancyZones: bool,
  DisableUpgradeMigration: bool,
  EnableCustomUpgrades: bool,
  CreateIndex: uint64,
  ModifyIndex: uint64,
});

/** What a request may say. */
type Body =
  & Partial<Omit<AutopilotConfiguration, "LastContactThreshold" | "ServerStabilizationTime">>
  & { LastContactThreshold?: string; ServerStabilizationTime?: string };

export const autopilotRoutes: Route[] = [
  { path: "/v1/operator/autopilot/configuration", scope: "server", methods: configuration },
  // Only the leader asks the others how they are.
  { path: "/v1/operator/autopilot/health", scope: "leader", methods: health },
];

function configuration(q: Exchange, api: Api): Response | Promise<Response> {
  if (q.method === "GET") return readConfiguration(q, api);
  return isWrite(q) ? setConfiguration(q, api) : textReply(404, "Invalid method");
}

function readConfiguration(q: Exchange, { server }: Api): Response {
  const config = server.state.autopilotConfig();
  return q.json200({
    LastContactThreshold: formatDuration(config.LastContactThreshold),
    ServerStabilizationTime: formatDuration(config.ServerStabilizationTime),
    CleanupDeadServers: config.CleanupDeadServers,
    MaxTrailingLogs: config.MaxTrailingLogs,
    MinQuorum: config.MinQuorum,
    EnableRedundancyZones: config.EnableRedundancyZones,
    DisableUpgradeMigration: config.DisableUpgradeMigration,
    EnableCustomUpgrades: config.EnableCustomUpgrades,
    CreateIndex: config.CreateIndex,
    ModifyIndex: config.ModifyIndex,
  });
}

async function setConfiguration(q: Exchange, api: Api): Promise<Response> {
  const cas = q.parameter("cas");
  if (cas !== "" && !/^\d+$/.test(cas)) {
    throw new ApiError(
      400,
      `Error parsing cas value: strconv.ParseUint: parsing ${JSON.stringify(cas)}: invalid syntax`,
    );
  }
  const config = await readBody(q);
  return await write(q, api, {
    kind: "autopilot.config",
    time: api.server.nowNs(),
    config,
    ...(cas === "" ? {} : { cas: Number(cas) }),
  }, { body: "value", headers: "none" });
}

/** What is left out is false or nothing, as in Nomad: the body replaces the whole configuration. */
async function readBody(q: Exchange): Promise<AutopilotConfiguration> {
  const wrong = (why: string) => new ApiError(400, `Error parsing autopilot config: ${why}`);
  let body: Body;
  try {
    body = await q.json(shape) as Body;
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 400) throw error;
    throw wrong(error.message);
  }
  const duration = (text: string | undefined): number => {
    try {
      return text ? parseDuration(text) : 0;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw wrong(`time: invalid duration ${JSON.stringify(text)}`);
    }
  };
  return {
    CleanupDeadServers: body.CleanupDeadServers ?? false,
    LastContactThreshold: duration(body.LastContactThreshold),
    MaxTrailingLogs: body.MaxTrailingLogs ?? 0,
    MinQuorum: body.MinQuorum ?? 0,
    ServerStabilizationTime: duration(body.ServerStabilizationTime),
    EnableRedundancyZones: body.EnableRedundancyZones ?? false,
    DisableUpgradeMigration: body.DisableUpgradeMigration ?? false,
    EnableCustomUpgrades: body.EnableCustomUpgrades ?? false,
    CreateIndex: 0,
    ModifyIndex: 0,
  };
}

function health(q: Exchange, { server }: Api): Response {
  if (q.method !== "GET") return textReply(404, "Invalid method");
  const { servers, healthy, failureTolerance } = server.cluster.health();
  const leader = servers.find((one) => one.leader)?.id ?? server.log.leader?.id ?? "";
  const voters = servers.filter((one) => one.voter && one.id !== leader).map((one) => one.id).sort();
  const report = {
    FailureTolerance: failureTolerance,
    Healthy: healthy,
    Leader: leader,
    Servers: servers.map((one) => ({
      LastContact: formatDuration((one.log?.lastContactMs ?? 0) * 1e6),
      ID: one.id,
      Name: one.name,
      Address: one.rpcAddress,
      SerfStatus: one.gossip,
      Version: one.build,
      Leader: one.leader,
      LastTerm: one.log?.lastTerm ?? 0,
      LastIndex: one.log?.lastIndex ?? 0,
      Healthy: one.healthy,
      Voter: one.voter,
      StableSince: formatTimeSeconds(one.sinceMs * 1e6),
    })),
    Voters: servers.some((one) => one.leader && one.voter) ? [leader, ...voters] : voters,
  };
  return healthy ? q.json200(report) : textReply(429, JSON.stringify(report));
}
