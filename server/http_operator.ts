// /v1/operator/…: the scheduler's configuration; the routes of the log's members and of Autopilot join in.
import { ApiError } from "../core/errors.ts";
import type { SchedulerConfiguration } from "../core/types.ts";
import { type Api, onWrite, type Route } from "./http_api.ts";
import { autopilotRoutes } from "./http_autopilot.ts";
import type { Exchange } from "./http_exchange.ts";
import { write } from "./http_once.ts";
import { raftRoutes } from "./http_raft.ts";
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
  ...raftRoutes,
  ...autopilotRoutes,
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
  return await write(q, api, {
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
  }, { body: { Updated: true, Index: 0 }, index: ["Index"], value: { Updated: [] } });
}

async function readSchedulerBody(q: Exchange): Promise<Partial<SchedulerConfiguration>> {
  try {
    return await q.json(schedulerShape);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 400) throw error;
    throw new ApiError(400, `Error parsing scheduler config: ${error.message}`);
  }
}
