// Which change the membership of the log needs so that it follows gossip: servers that left go, servers that came are
// added as learners, addresses that moved are corrected. Pure; one change at a time, because the log takes them one by
// one. Dead servers and promotions are autopilot.ts's.
//
// Invariants: nobody is removed here for being silent, only for having left or for being replaced at its own address;
// nothing is changed for an id that two living servers have: nobody knows whose it is.
import { raftServer, type ServerMember } from "./cluster_members.ts";
import type { RaftServer } from "./raft_types.ts";

export interface MembershipView {
  /** This server, the leader: never removed or changed here. */
  selfId: string;
  /** Members of the log. */
  servers: readonly RaftServer[];
  /** Servers of the region in gossip. */
  members: readonly ServerMember[];
  /** Not to be added, whatever gossip says: an operator or they themselves took them out. */
  held: ReadonlySet<string>;
}

export type MembershipChange =
  | { kind: "remove"; id: string; name: string; reason: string }
  /** A new learner; who it is has to be asked before. */
  | { kind: "add"; member: ServerMember; server: RaftServer }
  | { kind: "move"; name: string; server: RaftServer };

/** The changes to make, the most urgent first. Those that come later were found without the earlier ones. */
export function membershipChanges(view: MembershipView): MembershipChange[] {
  const { selfId, servers, members, held } = view;
  const changes: MembershipChange[] = [];
  const alive = members.filter((member) => member.status === "alive");
  const aliveIds = new Set(alive.map((member) => member.id));
  const twins = twinIds(alive);
  for (const member of members) {
    if (member.status !== "left" || aliveIds.has(member.id) || member.id === selfId) continue;
    if (!servers.some((server) => server.id === member.id)) continue;
    changes.push({ kind: "remove", id: member.id, name: member.name, reason: "it left" });
  }
  for (const member of alive) {
    if (member.id === selfId || twins.has(member.id)) continue;
    const known = servers.find((server) => server.id === member.id);
    if (known) {
      const moved = known.rpcAddress !== member.rpcAddress || known.httpAddress !== member.httpAddress;
      if (moved) changes.push({ kind: "move", name: member.name, server: raftServer(member, known.voter) });
      continue;
    }
    if (held.has(member.id)) continue;
    const before = servers.find((server) =>
      server.rpcAddress === member.rpcAddress && server.id !== selfId && !aliveIds.has(server.id)
    );
    if (before) {
      const reason = `server ${member.id} has its address now`;
      changes.push({ kind: "remove", id: before.id, name: member.name, reason });
    } else changes.push({ kind: "add", member, server: raftServer(member, false) });
  }
  return changes;
}

/** Ids that more than one living server has: data directories that were copied, node-id included. */
export function twinIds(alive: readonly ServerMember[]): Map<string, ServerMember[]> {
  const byId = Map.groupBy(alive, (member) => member.id);
  return new Map([...byId].filter(([, members]) => members.length > 1));
}
