// Consensus, watched from outside after every event: one leader a term, one vote a term, logs that match, committed entries
// that stay, leaders that have them, and nothing counted that is not durable (Raft paper, figures 2 and 3). Also what
// follows from those by proof and not by sight, such as that a leader counts entries of its own term only (§5.4.2):
// a break of it is reported where it happens, and not thousands of events later when data is gone.
//
// Each event costs a look at six numbers of each server; a log is read only where it changed.
import type { Raft } from "../../server/raft.ts";
import { type Configuration, type Entry, LOST_VOTE, type Role } from "../../server/raft_types.ts";
import type { StorageWrite } from "../../server/storage.ts";
import { type Checker, type SimCluster, SimFailure, type SimServer } from "./contract.ts";
import { DurableServers } from "./durable.ts";

/** An entry as it was first seen, and the term of the one before it. */
interface KnownEntry {
  entry: Entry;
  previousTerm: number;
}

/** One process's core, as it was after the event before. */
interface Seen {
  raft: Raft;
  term: number;
  vote: string;
  role: Role;
  commit: number;
  lastIndex: number;
  lastEntry: Entry | undefined;
  stable: number;
  /** Entries that were compared, above the floor. */
  verified: Map<number, Entry>;
  verifiedTo: number;
  floor: number;
  configIndex: number;
}

/** What lies behind all servers is forgotten so often (in events). */
const FORGET_EVERY = 4096;
const TERMS_KEPT = 256;

// Its own arithmetic: what counts is not left to the code under test.
function votersOf({ servers }: Configuration): string[] {
  return servers.flatMap((server) => server.voter ? [server.id] : []);
}

function isMajority(count: number, voters: readonly string[]): boolean {
  return 2 * count > voters.length;
}

export class RaftChecker implements Checker {
  readonly rule = "raft";
  readonly #durable = new DurableServers();
  readonly #seen = new Map<string, Seen>();
  /** Term → its leader. */
  readonly #leaders = new Map<number, string>();
  /** Index → entries by term. */
  readonly #entries = new Map<number, Map<number, KnownEntry>>();
  /** Index → term of the committed entry. */
  readonly #committed = new Map<number, number>();
  #committedTo = 0;
  /** Index → memberships that were seen there, as text. */
  readonly #members = new Map<number, Set<string>>();
  /** Term of a leader → the last entry that was committed in it. */
  readonly #commits = new Map<number, { index: number; term: number }>();
  #steps = 0;

  onPersist(server: SimServer, batch: StorageWrite): void {
    this.#durable.of(server.id).write(batch);
  }

  onRole(server: SimServer, role: Role, term: number): void {
    const { raft } = server;
    if (role !== "leader" || !raft) return;
    this.#look(server, raft); // A core that was loaded in this very event is known first.
    const other = this.#leaders.get(term);
    if (other !== undefined && other !== server.id) {
      throw new SimFailure("election safety", `${other} and ${server.id} both lead term ${term}`);
    }
    if (other === undefined) this.#checkElection(server.id, raft);
    this.#leaders.set(term, server.id);
    if (this.#leaders.size > FORGET_EVERY) this.#leaders.delete(this.#leaders.keys().next().value!);
  }

  #checkElection(id: string, raft: Raft): void {
    const { term } = raft;
    const voters = votersOf(raft.config);
    const votes = voters.filter((voter) => this.#durable.of(voter).votedFor(term) === id);
    if (!isMajority(votes.length, voters)) {
      throw new SimFailure(
        "vote durable",
        `${id} leads term ${term} with ${votes.length} durable votes (${votes.join(" ")}) of ${
          voters.join(" ")
        }`,
      );
    }
    this.#checkCompleteness(id, raft);
  }

  /** A leader has what was committed in earlier terms. One that was elected late may be of a term that is over. */
  #checkCompleteness(id: string, { term, log }: Raft): void {
    const earlier = [...this.#commits].filter(([leaderTerm]) => leaderTerm < term).map(([, commit]) =>
      commit
    );
    const last = earlier.reduce((a, b) => b.index > a.index ? b : a, { index: 0, term: 0 });
    if (last.index <= log.floorIndex || log.matches(last.index, last.term)) return;
    throw new SimFailure(
      "leader completeness",
      `${id} leads term ${term} without entry ${last.index}/${last.term}, which is committed; its log ends with ` +
        `${log.lastIndex}/${log.lastTerm}`,
    );
  }

  onStep(cluster: SimCluster): void {
    for (const server of cluster.servers.values()) if (server.raft) this.#look(server, server.raft);
    if (++this.#steps % FORGET_EVERY === 0) this.#forget();
  }

  #look(server: SimServer, raft: Raft): void {
    const { log } = raft;
    let seen = this.#seen.get(server.id);
    if (!seen || seen.raft !== raft) seen = this.#begin(server.id, raft);
    const lastEntry = log.entryAt(log.lastIndex);
    const same = seen.lastEntry === lastEntry && seen.lastIndex === log.lastIndex &&
      seen.stable === log.stable && seen.commit === log.commit && seen.floor === log.floorIndex &&
      seen.term === raft.term && seen.vote === raft.vote && seen.role === raft.role;
    if (same) return;
    this.#checkHard(server.id, seen, raft);
    this.#checkLog(server.id, seen, raft);
    this.#checkMembers(server.id, seen, raft);
    if (log.commit !== seen.commit) this.#checkCommit(server.id, seen, raft);
    Object.assign(seen, {
      term: raft.term,
      vote: raft.vote,
      role: raft.role,
      commit: log.commit,
      lastIndex: log.lastIndex,
      lastEntry,
      stable: log.stable,
      configIndex: log.config.index,
    });
  }

  /** A process has read its disk. */
  #begin(id: string, raft: Raft): Seen {
    const durable = this.#durable.of(id);
    if (raft.term < durable.term) {
      throw new SimFailure("vote", `${id} came back in term ${raft.term}, it had stored ${durable.term}`);
    }
    durable.loaded(raft);
    const seen: Seen = {
      raft,
      term: raft.term,
      vote: raft.vote,
      role: "follower",
      commit: 0,
      lastIndex: -1,
      lastEntry: undefined,
      stable: -1,
      verified: new Map(),
      verifiedTo: raft.log.floorIndex,
      floor: raft.log.floorIndex,
      configIndex: raft.log.config.index,
    };
    this.#seen.set(id, seen);
    return seen;
  }

  // ---- terms and votes ----

  #checkHard(id: string, seen: Seen, raft: Raft): void {
    if (raft.term < seen.term) {
      throw new SimFailure("vote", `${id} went back from term ${seen.term} to ${raft.term}`);
    }
    const again = raft.term === seen.term && seen.vote !== "" && raft.vote !== seen.vote;
    if (again && seen.vote !== LOST_VOTE) {
      throw new SimFailure(
        "vote",
        `${id} voted for ${seen.vote} and for "${raft.vote}" in term ${raft.term}`,
      );
    }
  }

  // ---- logs ----

  #checkLog(id: string, seen: Seen, raft: Raft): void {
    const { log } = raft;
    // A server alone may drop what it could not write and use the same index again: nobody else saw it.
    const last = raft.isSoleMember ? Math.min(log.stable, log.lastIndex) : log.lastIndex;
    let agreed = Math.min(seen.verifiedTo, last);
    while (agreed > log.floorIndex && log.entryAt(agreed) !== seen.verified.get(agreed)) agreed--;
    for (let index = agreed + 1; index <= seen.verifiedTo; index++) seen.verified.delete(index);
    agreed = Math.max(agreed, log.floorIndex);
    for (let index = agreed + 1; index <= last; index++) {
      const entry = log.entryAt(index)!;
      this.#checkEntry(id, entry, log.termAt(index - 1)!);
      seen.verified.set(index, entry);
    }
    seen.verifiedTo = Math.max(agreed, last);
    for (let index = seen.floor; index <= log.floorIndex; index++) seen.verified.delete(index);
    seen.floor = log.floorIndex;
  }

  #checkEntry(id: string, entry: Entry, previousTerm: number): void {
    const { index, term } = entry;
    let terms = this.#entries.get(index);
    if (!terms) this.#entries.set(index, terms = new Map());
    const known = terms.get(term);
    if (!known) {
      terms.set(term, { entry, previousTerm });
      return;
    }
    if (known.entry.data !== entry.data || known.entry.kind !== entry.kind) {
      throw new SimFailure("log matching", `${id} holds another entry ${index}/${term} than was seen before`);
    }
    if (known.previousTerm !== previousTerm) {
      throw new SimFailure(
        "log matching",
        `before entry ${index}/${term} ${id} holds one of term ${previousTerm}, another server one of term ` +
          `${known.previousTerm}`,
      );
    }
  }

  // ---- members ----

  /** The membership in force is the newest one in the log, and changes one voter at a time (§4.1 of the thesis). */
  #checkMembers(id: string, seen: Seen, raft: Raft): void {
    const { log } = raft;
    const { index, config } = log.config;
    if (index > log.lastIndex) {
      throw new SimFailure(
        "members",
        `${id} goes by the membership of entry ${index}, its log ends at ${log.lastIndex}`,
      );
    }
    const entry = log.entryAt(index);
    const text = JSON.stringify(config);
    const known = this.#members.get(index);
    if (entry ? entry.kind !== "config" || entry.data !== text : known && !known.has(text)) {
      throw new SimFailure(
        "members",
        `${id} does not go by the membership of entry ${index}, but by ${text}`,
      );
    }
    if (entry && !known?.has(text)) this.#members.set(index, new Set([...known ?? [], text]));
    const appended = raft.role === "leader" && seen.role === "leader" && raft.term === seen.term &&
      index > seen.configIndex;
    if (!appended) return;
    const last = log.configAt(index - 1);
    const before = votersOf(last.config);
    const after = votersOf(config);
    const changed = [...before, ...after].filter((voter) => before.includes(voter) !== after.includes(voter));
    const open = last.index > log.commit;
    if (changed.length > 1 || open || raft.termStart > log.commit) {
      throw new SimFailure(
        "members",
        `leader ${id} of term ${raft.term} changes the membership from ${before.join(" ")} to ${
          after.join(" ")
        } at ` +
          `${index} with commit ${log.commit}, the last change at ${last.index} and its term begun at ` +
          `${raft.termStart}`,
      );
    }
  }

  // ---- commits ----

  #checkCommit(id: string, seen: Seen, raft: Raft): void {
    const { log } = raft;
    if (log.commit < seen.commit) {
      throw new SimFailure("commit", `${id} went back from commit ${seen.commit} to ${log.commit}`);
    }
    const from = Math.max(seen.commit, log.floorIndex - 1) + 1;
    for (let index = from; index <= Math.min(log.commit, this.#committedTo); index++) {
      const term = index > 0 ? this.#committed.get(index) : undefined;
      if (term !== undefined && log.termAt(index) !== term) {
        throw new SimFailure(
          "commit",
          `${id} committed entry ${index}/${log.termAt(index)}, where ${index}/${term} was committed before`,
        );
      }
    }
    if (log.commit > this.#committedTo) this.#extend(id, seen, raft);
  }

  /** It is the first to know of it. */
  #extend(id: string, seen: Seen, raft: Raft): void {
    const { log } = raft;
    // A leader that sees its own removal committed steps down in the same event.
    const { role, term } = raft.role === "leader" ? raft : seen;
    const index = log.commit;
    const entryTerm = log.termAt(index)!;
    if (role !== "leader" && !raft.isSoleMember) {
      throw new SimFailure(
        "commit",
        `${id}, a ${role}, knows that ${index} is committed before any leader does`,
      );
    }
    if (role === "leader" && entryTerm !== term && !raft.isSoleMember) {
      throw new SimFailure(
        "commit own term",
        `leader ${id} of term ${term} committed entry ${index}/${entryTerm} by counting (§5.4.2)`,
      );
    }
    const voters = votersOf(raft.config);
    const holders = voters.filter((voter) => this.#durable.of(voter).holds(index, entryTerm));
    if (!isMajority(holders.length, voters)) {
      throw new SimFailure(
        "commit durable",
        `${id} committed entry ${index}/${entryTerm}, durable on ${holders.join(" ") || "none"} of ${
          voters.join(" ")
        }`,
      );
    }
    for (let at = this.#committedTo + 1; at <= index; at++) this.#committed.set(at, log.termAt(at)!);
    this.#committedTo = index;
    this.#commits.set(term, { index, term: entryTerm });
    if (this.#commits.size > TERMS_KEPT) this.#commits.delete(this.#commits.keys().next().value!);
  }

  /** Entries that no server has in memory any more. */
  #forget(): void {
    const floors = [...this.#seen.values()].map((seen) => seen.floor);
    const floor = Math.min(this.#committedTo - 1, ...floors);
    for (const index of this.#entries.keys()) {
      if (index > floor) break;
      this.#entries.delete(index);
      this.#committed.delete(index);
    }
    for (const server of this.#durable.all()) server.forget(floor);
  }
}
