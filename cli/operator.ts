// `operator raft`, `operator scheduler` and `operator autopilot`: settings and members of the servers.
import type { SchedulerConfiguration } from "../core/types.ts";
import { type Api, readText } from "./api.ts";
import { bool, optionalBool, optionalString, string } from "./args.ts";
import { command } from "./command.ts";
import { attempt, CommandError } from "./errors.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import { formatKeyValues, formatTable } from "./table.ts";

const NONE = { min: 0, max: 0, complaint: "This command takes no arguments" };
const READ_NOTE = `When ACLs are enabled, this command requires a token with the 'operator:read'
capability.`;
const WRITE_NOTE = `When ACLs are enabled, this command requires a token with the 'operator:write'
capability.`;

interface RaftServer {
  ID: string;
  Node: string;
  Address: string;
  Leader: boolean;
  Voter: boolean;
  RaftProtocol: string;
}

export const raftListPeers = command({
  form: "nomad operator raft list-peers [options]",
  about: `Lists the servers that the log is replicated to.

When ACLs are enabled, this command requires a management token.`,
  general: "noNamespace",
  title: "List Peers Options",
  args: NONE,
  flags: { stale: bool("Let any server answer, even without a leader.") },
  async run(context) {
    const { data } = await attempt(
      "Failed to retrieve raft configuration",
      context.api.get<{ Servers: RaftServer[] }>("/v1/operator/raft/configuration", {
        query: { stale: context.flags.stale ? "" : undefined },
      }),
    );
    context.ui.output(formatTable([
      ["Node", "ID", "Address", "State", "Voter", "RaftProtocol"],
      ...data.Servers.map((server) => [
        server.Node,
        server.ID,
        server.Address,
        server.Leader ? "leader" : "follower",
        server.Voter,
        server.RaftProtocol,
      ]),
    ]));
    return 0;
  },
});

export const raftRemovePeer = command({
  form: "nomad operator raft remove-peer [options]",
  about: `Removes a server that is gone from the ones that the log is replicated to.

When ACLs are enabled, this command requires a management token.`,
  general: "noNamespace",
  title: "Remove Peer Options",
  flags: {
    "peer-address": string("IP:port of the server, as `list-peers` shows it.", "address"),
    "peer-id": string("ID of the server, as `list-peers` shows it.", "id"),
  },
  async run(context) {
    const { "peer-address": address, "peer-id": id } = context.flags;
    if (id !== "" && address !== "") {
      throw new CommandError("Error removing peer: cannot give both an address and id");
    }
    if (id === "" && address === "") throw new CommandError("Missing peer id required");
    await attempt("Error removing peer", removePeer(context.api, { id, address }));
    context.ui.output(
      `Removed peer with ${id !== "" ? "id" : "address"} ${JSON.stringify(id || address)}`,
    );
    return 0;
  },
});

/** The API takes ids only: an address is looked up in the membership. */
async function removePeer(api: Api, { id, address }: { id: string; address: string }): Promise<void> {
  let peer = id;
  if (peer === "") {
    const { data } = await api.get<{ Servers: RaftServer[] }>("/v1/operator/raft/configuration");
    const server = data.Servers.find((each) => each.Address === address);
    if (!server) {
      throw new CommandError(
        `Error removing peer: address ${JSON.stringify(address)} was not found in the Raft configuration`,
      );
    }
    peer = server.ID;
  }
  await api.delete("/v1/operator/raft/peer", { query: { id: peer } });
}

export const raftTransferLeadership = command({
  form: "nomad operator raft transfer-leadership [options]",
  about: `Hands the leadership over to another server.

When ACLs are enabled, this command requires a management token.`,
  general: "noNamespace",
  title: "Transfer Leadership Options",
  flags: {
    "peer-address": string("IP:port of the server.", "address"),
    "peer-id": string("ID of the server, as `list-peers` shows it.", "id"),
  },
  async run(context) {
    const { "peer-address": address, "peer-id": id } = context.flags;
    const what = "Error transferring leadership to peer";
    if (!address && !id) {
      throw new CommandError(`${what}: an address or id is required for the destination peer`);
    }
    if (address && id) throw new CommandError(`${what}: cannot give both an address and id`);
    await attempt(
      what,
      context.api.put("/v1/operator/raft/transfer-leadership", undefined, {
        query: { address: address || undefined, id: id || undefined },
      }),
    );
    context.ui.output(
      `Transferred leadership to peer with ${id ? "id" : "address"} ${JSON.stringify(id || address)}`,
    );
    return 0;
  },
});

interface SchedulerAnswer {
  SchedulerConfig: SchedulerConfiguration;
}

const SCHEDULER_PATH = "/v1/operator/scheduler/configuration";

export const schedulerGetConfig = command({
  form: "nomad operator scheduler get-config [options]",
  about: `Shows the configuration of the scheduler.\n\n${READ_NOTE}`,
  general: "noNamespace",
  title: "Scheduler Get Config Options",
  args: NONE,
  flags: { ...dataFlags("the scheduler config") },
  async run(context) {
    const { flags, ui } = context;
    const answer = await attempt(
      "Error querying scheduler configuration",
      context.api.get<SchedulerAnswer>(SCHEDULER_PATH),
    );
    if (wantsData(flags)) {
      return await outputData(context, flags, answer, "*api.SchedulerConfigurationResponse");
    }
    const config = answer.data.SchedulerConfig;
    const preempt = config.PreemptionConfig;
    ui.output(formatKeyValues([
      ["Scheduler Algorithm", config.SchedulerAlgorithm],
      ["Memory Oversubscription", config.MemoryOversubscriptionEnabled],
      ["Reject Job Registration", config.RejectJobRegistration],
      ["Pause Eval Broker", config.PauseEvalBroker],
      ["Preemption System Scheduler", preempt.SystemSchedulerEnabled],
      ["Preemption Service Scheduler", preempt.ServiceSchedulerEnabled],
      ["Preemption Batch Scheduler", preempt.BatchSchedulerEnabled],
      ["Preemption SysBatch Scheduler", preempt.SysBatchSchedulerEnabled],
      ["Node Limit For Feasibility Checks", config.NodeLimitForFeasibilityChecks],
      ["Modify Index", config.ModifyIndex],
    ]));
    return 0;
  },
});

const TRUE_FALSE = "true|false";

export const schedulerSetConfig = command({
  form: "nomad operator scheduler set-config [options]",
  about: `Changes the configuration of the scheduler; what is not given stays.\n\n${WRITE_NOTE}`,
  general: "noNamespace",
  title: "Scheduler Set Config Options",
  args: NONE,
  flags: {
    "check-index": string("Change it only if its modify index is this one.", "index"),
    "memory-oversubscription": optionalBool(
      "Let tasks use more memory than they reserve, up to memory_max.",
      TRUE_FALSE,
    ),
    "node-limit-for-feasibility-checks": optionalString(
      "Look at no more than this many nodes for a placement.",
      "number",
    ),
    "pause-eval-broker": optionalBool("Stop handing out evaluations.", TRUE_FALSE),
    "preempt-batch-scheduler": optionalBool("Let batch jobs displace others.", TRUE_FALSE),
    "preempt-service-scheduler": optionalBool("Let service jobs displace others.", TRUE_FALSE),
    "preempt-sysbatch-scheduler": optionalBool("Let sysbatch jobs displace others.", TRUE_FALSE),
    "preempt-system-scheduler": optionalBool("Let system jobs displace others.", TRUE_FALSE),
    "reject-job-registration": optionalBool(
      "Refuse new and changed jobs from all but management tokens.",
      TRUE_FALSE,
    ),
    "scheduler-algorithm": string("binpack or spread.", "name"),
  },
  async run(context) {
    const { flags, api, ui } = context;
    const checkIndex = flags["check-index"];
    if (checkIndex !== "" && !/^\d+$/.test(checkIndex)) {
      throw new CommandError(
        `Error parsing check-index value ${JSON.stringify(checkIndex)}: strconv.ParseUint: parsing ${
          JSON.stringify(checkIndex)
        }: invalid syntax`,
      );
    }
    const { data } = await attempt(
      "Error querying for scheduler configuration",
      api.get<SchedulerAnswer>(SCHEDULER_PATH),
    );
    const current = data.SchedulerConfig;
    if (checkIndex !== "" && Number(checkIndex) !== current.ModifyIndex) {
      throw new CommandError(
        `Error performing check index set: check-index ${checkIndex} does not match current state value ${current.ModifyIndex}`,
      );
    }
    const limit = flags["node-limit-for-feasibility-checks"];
    if (limit !== undefined && !/^\d+$/.test(limit)) {
      throw new CommandError(
        `invalid value ${JSON.stringify(limit)} for flag -node-limit-for-feasibility-checks`,
      );
    }
    const preempt = current.PreemptionConfig;
    const next = {
      ...current,
      SchedulerAlgorithm: flags["scheduler-algorithm"] || current.SchedulerAlgorithm,
      MemoryOversubscriptionEnabled: flags["memory-oversubscription"] ??
        current.MemoryOversubscriptionEnabled,
      RejectJobRegistration: flags["reject-job-registration"] ?? current.RejectJobRegistration,
      PauseEvalBroker: flags["pause-eval-broker"] ?? current.PauseEvalBroker,
      NodeLimitForFeasibilityChecks: limit === undefined
        ? current.NodeLimitForFeasibilityChecks
        : Number(limit),
      PreemptionConfig: {
        SystemSchedulerEnabled: flags["preempt-system-scheduler"] ?? preempt.SystemSchedulerEnabled,
        ServiceSchedulerEnabled: flags["preempt-service-scheduler"] ?? preempt.ServiceSchedulerEnabled,
        BatchSchedulerEnabled: flags["preempt-batch-scheduler"] ?? preempt.BatchSchedulerEnabled,
        SysBatchSchedulerEnabled: flags["preempt-sysbatch-scheduler"] ?? preempt.SysBatchSchedulerEnabled,
      },
    };
    const answer = await attempt(
      "Error setting scheduler configuration",
      api.put<{ Updated: boolean }>(SCHEDULER_PATH, next, {
        query: { cas: checkIndex === "" ? undefined : checkIndex },
      }),
    );
    if (answer.data && !answer.data.Updated && checkIndex !== "") {
      throw new CommandError("Scheduler configuration could not be atomically updated, please try again");
    }
    ui.output("Scheduler configuration updated!");
    return 0;
  },
});

interface AutopilotConfig {
  CleanupDeadServers: boolean;
  LastContactThreshold: string;
  MaxTrailingLogs: number;
  MinQuorum: number;
  ServerStabilizationTime: string;
  EnableRedundancyZones: boolean;
  DisableUpgradeMigration: boolean;
  EnableCustomUpgrades: boolean;
  ModifyIndex: number;
}

const AUTOPILOT_PATH = "/v1/operator/autopilot/configuration";

export const autopilotGetConfig = command({
  form: "nomad operator autopilot get-config [options]",
  about: `Shows how Autopilot looks after the servers.\n\n${READ_NOTE}`,
  general: "noNamespace",
  title: "Autopilot Get Config Options",
  args: NONE,
  flags: { ...dataFlags("the autopilot config") },
  async run(context) {
    const { flags, ui } = context;
    const answer = await attempt(
      "Error querying Autopilot configuration",
      context.api.get<AutopilotConfig>(AUTOPILOT_PATH),
    );
    if (flags.json && flags.t === "") {
      ui.info(answer.text.trimEnd());
      return 0;
    }
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.AutopilotConfiguration");
    const names = [
      "CleanupDeadServers",
      "LastContactThreshold",
      "MaxTrailingLogs",
      "MinQuorum",
      "ServerStabilizationTime",
      "EnableRedundancyZones",
      "DisableUpgradeMigration",
      "EnableCustomUpgrades",
    ] as const;
    ui.output(names.map((name) => `${name} = ${answer.data[name]}`).join("\n"));
    return 0;
  },
});

interface AutopilotServer {
  ID: string;
  Name: string;
  Address: string;
  SerfStatus: string;
  Version: string;
  Leader: boolean;
  Voter: boolean;
  Healthy: boolean;
  LastContact: string;
  LastTerm: number;
  LastIndex: number;
  StableSince: string;
}

export const autopilotHealth = command({
  form: "nomad operator autopilot health [options]",
  about: `Shows the health of the servers as Autopilot sees it.\n\n${READ_NOTE}`,
  general: "noNamespace",
  title: "Autopilot Health Options",
  args: NONE,
  flags: { json: bool("Output the autopilot health in JSON format.") },
  async run(context) {
    const { api, ui, flags } = context;
    // 429 is the answer of an unhealthy cluster: the same report.
    const response = await api.exchange("GET", api.url("/v1/operator/autopilot/health"));
    const text = await readText(response.body);
    if (response.status !== 200 && response.status !== 429) {
      throw new CommandError(
        `Error querying Autopilot configuration: Unexpected response code: ${response.status} (${text.trim()})`,
      );
    }
    if (flags.json) {
      ui.info(text.trimEnd());
      return 0;
    }
    const health = JSON.parse(text) as {
      Healthy: boolean;
      FailureTolerance: number;
      Leader: string;
      Voters: string[] | null;
      Servers: AutopilotServer[] | null;
    };
    const servers = formatTable([
      [
        "ID",
        "Name",
        "Address",
        "SerfStatus",
        "Version",
        "Leader",
        "Voter",
        "Healthy",
        "LastContact",
        "LastTerm",
        "LastIndex",
        "StableSince",
      ],
      ...(health.Servers ?? []).map((server) => [
        server.ID,
        server.Name,
        server.Address,
        server.SerfStatus,
        server.Version,
        server.Leader,
        server.Voter,
        server.Healthy,
        server.LastContact,
        server.LastTerm,
        server.LastIndex,
        server.StableSince.replace("T", " ").replace(/Z$/, " +0000 UTC"),
      ]),
    ]);
    ui.info(
      `Healthy: ${health.Healthy}\nFailureTolerance: ${health.FailureTolerance}\nLeader: ${health.Leader}\nVoters:  \n` +
        `\t${(health.Voters ?? []).join("\n")}\n` + `Servers: \n${servers}\n`,
    );
    return 0;
  },
});

export const autopilotSetConfig = command({
  form: "nomad operator autopilot set-config [options]",
  about: `Changes how Autopilot looks after the servers; what is not given stays.\n\n${WRITE_NOTE}`,
  general: "noNamespace",
  title: "Autopilot Set Config Options",
  args: NONE,
  flags: {
    "cleanup-dead-servers": optionalBool("Forget servers that are gone when a new one comes.", TRUE_FALSE),
    "disable-upgrade-migration": optionalBool("Enterprise only.", TRUE_FALSE),
    "enable-custom-upgrades": optionalBool("Enterprise only.", TRUE_FALSE),
    "enable-redundancy-zones": optionalBool("Enterprise only.", TRUE_FALSE),
    "last-contact-threshold": optionalString(
      "How long a healthy server may have heard nothing of the leader.",
      "duration",
    ),
    "max-trailing-logs": optionalString(
      "How many entries of the log a healthy server may be behind.",
      "number",
    ),
    "min-quorum": optionalString("Never go below this many servers by forgetting some.", "number"),
    "redundancy-zone-tag": optionalString("Enterprise only."),
    "server-stabilization-time": optionalString(
      "How long a new server has to be healthy before it votes.",
      "duration",
    ),
    "upgrade-version-tag": optionalString("Enterprise only."),
  },
  async run(context) {
    const { flags, api, ui } = context;
    const { data } = await attempt(
      "Error querying for Autopilot configuration",
      api.get<AutopilotConfig>(AUTOPILOT_PATH),
    );
    const next = {
      ...data,
      CleanupDeadServers: flags["cleanup-dead-servers"] ?? data.CleanupDeadServers,
      DisableUpgradeMigration: flags["disable-upgrade-migration"] ?? data.DisableUpgradeMigration,
      EnableCustomUpgrades: flags["enable-custom-upgrades"] ?? data.EnableCustomUpgrades,
      EnableRedundancyZones: flags["enable-redundancy-zones"] ?? data.EnableRedundancyZones,
      LastContactThreshold: flags["last-contact-threshold"] ?? data.LastContactThreshold,
      MaxTrailingLogs: readCount("max-trailing-logs", flags["max-trailing-logs"]) ?? data.MaxTrailingLogs,
      MinQuorum: readCount("min-quorum", flags["min-quorum"]) ?? data.MinQuorum,
      ServerStabilizationTime: flags["server-stabilization-time"] ?? data.ServerStabilizationTime,
    };
    for (const name of ["redundancy-zone-tag", "upgrade-version-tag"] as const) {
      if (flags[name] !== undefined) {
        throw new CommandError(`-${name} belongs to Nomad Enterprise and has no meaning here`);
      }
    }
    const answer = await attempt(
      "Error setting Autopilot configuration",
      api.put<boolean>(AUTOPILOT_PATH, next, { query: { cas: data.ModifyIndex } }),
    );
    if (answer.data === false) {
      throw new CommandError("Configuration could not be atomically updated, please try again");
    }
    ui.output("Configuration updated!");
    return 0;
  },
});

function readCount(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text)) {
    throw new CommandError(`invalid value ${JSON.stringify(text)} for flag -${name}: expected a number`);
  }
  return Number(text);
}
