// Autopilot's decisions: who of the servers is healthy and since when, which learner may vote, which dead server is
// taken out of the membership. Pure: the leader's loop (cluster.ts) brings reports and the time, and acts on the answer.
//
// The stabilization time counts both ways: so long a new server has to be healthy before it votes, and so long a dead
// one has to be gone before it is removed. Where its removal would not let the cluster bear one more failure it waits
// longer: a server that only restarts votes again at once when it still belongs.
//
// Invariants: a removal never leaves fewer living voters than a majority of the voters there were, nor fewer voters
// than MinQuorum; only servers that gossip calls failed (or that nobody has known for long) are removed; a server
// that is to stay a learner is never promoted.
import type { AutopilotConfiguration } from "../core/types.ts";
import type { MemberStatus } from "./membership.ts";
import { quorumOf } from "./raft_types.ts";

/** What is known of one member of the log at this moment. */
export interface ServerReport {
  id: string;
  name: string;
  rpcAddress: string;
  voter: boolean;
  leader: boolean;
  /** "none": gossip does not know it. */
  gossip: MemberStatus | "none";
  build: string;
  /** It is to stay a learner. */
  nonVoter: boolean;
  /** Null when it did not answer. Milliseconds since it heard the leader, null for never. */
  log: { lastContactMs: number | null; lastTerm: number; lastIndex: number } | null;
  /** How long gossip has not known it, while this server led; 0 when it does. */
  unknownMs: number;
}

export interface ServerHealth extends ServerReport {
  healthy: boolean;
  /** Since when `healthy` has been what it is: milliseconds since 1970. */
  sinceMs: number;
  /** The better of its last two reports' lastContactMs: one late heartbeat is no illness, two in a row are. */
  contactMs: number | null;
}

export interface ClusterHealth {
  servers: ServerHealth[];
  /** All of them are. */
  healthy: boolean;
  /** Voters that may die without the cluster losing its quorum. */
  failureTolerance: number;
}

export type AutopilotChange =
  | { kind: "promote"; id: string; name: string }
  | { kind: "remove"; id: string; name: string; reason: string };

/** How long a server has to be dead whose removal changes nothing for the others. */
const PATIENCE_MS = 30_000;
/** A member that gossip has not known for this long is gone: it did not come back after the servers' restart. */
const UNKNOWN_MAX_MS = 60_000;

/** Judges every report; `before` is the last judgement, from which a state that did not change keeps its time. */
export function assessHealth(
  reports: readonly ServerReport[],
  before: ClusterHealth | null,
  config: AutopilotConfiguration,
  nowMs: number,
): ClusterHealth {
  const leader = reports.find((report) => report.leader);
  const known = new Map(before?.servers.map((server) => [server.id, server]));
  const servers = reports.map((report): ServerHealth => {
    const last = known.get(report.id);
    const contactMs = contactOf(report, last);
    const healthy = isHealthy({ ...report, contactMs }, leader, config);
    return { ...report, contactMs, healthy, sinceMs: last?.healthy === healthy ? last.sinceMs : nowMs };
  });
  const voters = servers.filter((server) => server.voter);
  const alive = voters.filter((server) => server.healthy).length;
  return {
    servers,
    healthy: servers.every((server) => server.healthy),
    failureTolerance: Math.max(0, alive - quorumOf(voters.length)),
  };
}

/** Heartbeats are as many times rarer as raft_multiplier says: so much longer a server may have heard none. */
export function scaled(config: AutopilotConfiguration, raftMultiplier = 1): AutopilotConfiguration {
  return { ...config, LastContactThreshold: config.LastContactThreshold * raftMultiplier };
}

function contactOf({ log }: ServerReport, last: ServerHealth | undefined): number | null {
  if (!log || log.lastContactMs === null) return null;
  if (last?.log === log) return last.contactMs; // Judged again on what it said before.
  return Math.min(log.lastContactMs, last?.log?.lastContactMs ?? Infinity);
}

function isHealthy(
  report: ServerReport & { contactMs: number | null },
  leader: ServerReport | undefined,
  config: AutopilotConfiguration,
): boolean {
  if (report.leader) return true;
  const { log, contactMs } = report;
  if (!log || !leader?.log || report.gossip !== "alive" || contactMs === null) return false;
  return contactMs * 1e6 <= config.LastContactThreshold && log.lastTerm === leader.log.lastTerm &&
    log.lastIndex >= leader.log.lastIndex - config.MaxTrailingLogs;
}

/** The next change to make, or null. New voters first: they make room for removals. */
export function nextAutopilotChange(
  { servers }: ClusterHealth,
  config: AutopilotConfiguration,
  nowMs: number,
): AutopilotChange | null {
  for (const { id, name, voter, nonVoter, healthy, sinceMs } of servers) {
    if (voter || nonVoter || !healthy) continue;
    if ((nowMs - sinceMs) * 1e6 >= config.ServerStabilizationTime) return { kind: "promote", id, name };
  }
  return config.CleanupDeadServers ? nextCleanup(servers, config, nowMs) : null;
}

function nextCleanup(
  servers: readonly ServerHealth[],
  config: AutopilotConfiguration,
  nowMs: number,
): AutopilotChange | null {
  const deadMs = (server: ServerHealth) => deathOf(server) === "" ? -1 : nowMs - server.sinceMs;
  const gone = servers.filter((server) =>
    deadMs(server) * 1e6 >= config.ServerStabilizationTime && deadMs(server) >= 0
  );
  const patient = gone.filter((server) => deadMs(server) >= PATIENCE_MS);
  const learner = patient.find((server) => !server.voter);
  if (learner) return removal(learner);
  const voters = servers.filter((server) => server.voter);
  const alive = voters.filter((server) => deathOf(server) === "").length;
  if (alive < quorumOf(voters.length) || voters.length - 1 < Math.max(1, config.MinQuorum)) return null;
  const goneVoters = gone.filter((server) => server.voter);
  const helps = quorumOf(voters.length - goneVoters.length) < quorumOf(voters.length);
  const victim = helps ? goneVoters[0] : patient[0];
  return victim ? removal(victim) : null;
}

function removal(server: ServerHealth): AutopilotChange {
  return { kind: "remove", id: server.id, name: server.name, reason: deathOf(server) };
}

/** Why a server counts as dead, "" when it does not. One that answers is not dead, whatever gossip thinks. */
function deathOf({ leader, gossip, log, unknownMs }: ServerReport): string {
  if (leader || log) return "";
  if (gossip === "failed") return "it failed";
  return gossip === "none" && unknownMs >= UNKNOWN_MAX_MS ? "no server knows it any more" : "";
}
