// Consensus, and nothing else: a state machine of one server's part in Raft, driven by five calls. tick() says that time
// passed, step() brings a message, propose() a command; ready() hands out what to send, to store and to apply; advance()
// says what of it is done. It never waits, and knows no clock, socket or disk; random numbers are passed in, so
// that a whole cluster replays from a seed.
//
// Rules held here: one vote a term; nothing that depends on a write leaves before the write is durable; a leader commits
// by counting only entries of its own term (§5.4.2); a committed entry is never dropped; memberships change one
// server at a time and only after the leader committed in its term. docs/raft.md lists what differs from the paper.
import { assert, assertNever } from "../core/assert.ts";
import type { Random } from "../core/env.ts";
import { configChangeProblem } from "./raft_config.ts";
import { OTHER_TIME, RaftLog } from "./raft_log.ts";
import { Progress } from "./raft_progress.ts";
import {
  type Abstain,
  type Configuration,
  type Entry,
  type EntryKind,
  type HardState,
  type Message,
  type MessageBody,
  type MessageOf,
  type Persist,
  quorumOf,
  type Ready,
  type Role,
  type SnapshotMeta,
  voterIds,
} from "./raft_types.ts";

export interface RaftOptions {
  id: string;
  random: Pick<Random, "int">;
  /** A follower that hears nothing for this many ticks (up to twice as many, drawn at random) starts an election. */
  electionTicks: number;
  heartbeatTicks: number;
  appendChars?: number;
  /**
   * What is newly committed is told with the next entries, or by the ready() after that which found it (Ready.again): who
   * waited for it has often something to propose by then.
   */
  lazyCommit?: boolean;
  hard: HardState;
  /** Newest stored snapshot, and the entries after `floor` (a snapshot's end, or an index that trails it). */
  snapshot: SnapshotMeta | null;
  floor: { index: number; term: number; config: { index: number; config: Configuration } };
  entries: Entry[];
}

/** Characters of entries in one append message (unless the options say otherwise), and in one write to storage. */
const APPEND_CHARS = 1024 * 1024;
const PERSIST_CHARS = 16 * 1024 * 1024;

export class Raft {
  readonly id: string;
  readonly log: RaftLog;
  term: number;
  vote: string;
  role: Role = "follower";
  /** "" while unknown. */
  leaderId = "";
  /** Newest durable snapshot. */
  snapshot: SnapshotMeta | null;
  /** Index of the noop that opened this leader's term. */
  termStart = 0;
  /** Server that leadership is being handed to, "" for none. */
  transferTarget = "";
  /**
   * Set while entries that this server may have acknowledged are missing here: it neither votes nor campaigns, because
   * the others count on it to know them (docs/raft.md, "A lost end of the log").
   */
  abstain: Abstain | null;
  readonly progress = new Map<string, Progress>();

  readonly #random: Pick<Random, "int">;
  readonly #electionTicks: number;
  readonly #heartbeatTicks: number;
  readonly #appendChars: number;
  readonly #lazyCommit: boolean;
  /** Commit index at the last ready(). */
  #commitSeen = 0;
  #electionElapsed = 0;
  #heartbeatElapsed = 0;
  #timeout = 0;
  #votes = new Map<string, boolean>();
  #storable = true;

  /** What storage holds for certain. */
  #durable: { term: number; vote: string; abstain: Abstain | null };
  #inflight:
    | {
      term: number;
      vote: string;
      abstain: Abstain | null;
      last: number;
      install: SnapshotMeta | null;
      messages: Message[];
    }
    | null = null;
  /** When the log is durable up to here, nothing is missing any more; null while that is not known. */
  #completeAt: number | null = null;
  /** Up to here this log was found to be a leader's since this server started; -1 while no append was accepted. */
  #agreed = -1;
  #install: SnapshotMeta | null = null;
  /** Durable, and not in the state machine yet; `#restoreNews`: not handed out yet. */
  #restore: SnapshotMeta | null = null;
  #restoreNews = false;
  /** Messages that go at once, and messages that wait for the next write. */
  #outbox: Message[] = [];
  #after: Message[] = [];
  #reads: { round: number; context: number; index: number }[] = [];
  #earlyReads: number[] = [];
  #confirmed: { context: number; index: number }[] = [];
  #readRound = 0;
  #blocks: MessageOf<"snapshot">[] = [];
  #snapshotWanted: number | null = null;

  constructor(options: RaftOptions) {
    this.id = options.id;
    this.#random = options.random;
    this.#electionTicks = options.electionTicks;
    this.#heartbeatTicks = options.heartbeatTicks;
    this.#appendChars = options.appendChars ?? APPEND_CHARS;
    this.#lazyCommit = options.lazyCommit ?? false;
    this.term = options.hard.term;
    this.vote = options.hard.vote;
    this.abstain = options.hard.abstain ?? null;
    this.#durable = { term: this.term, vote: this.vote, abstain: this.abstain };
    this.snapshot = options.snapshot;
    this.log = new RaftLog(options.floor);
    for (const entry of options.entries) this.log.append(entry);
    this.log.stable = this.log.offered = this.log.lastIndex;
    const snapshotIndex = options.snapshot?.index ?? 0;
    assert(snapshotIndex >= this.log.floorIndex, "the log starts after the snapshot's end");
    this.log.commitTo(snapshotIndex);
    this.log.handed = this.log.applied = this.log.commit;
    this.log.commitTo(Math.min(Math.max(options.hard.commit, snapshotIndex), this.log.lastIndex));
    // Nobody else can ever have decided otherwise: what the only member holds is committed.
    if (this.isSoleMember) this.log.commitTo(this.log.lastIndex);
    this.#drawTimeout();
  }

  // ---- what others may ask ----

  get config(): Configuration {
    return this.log.config.config;
  }

  get isVoter(): boolean {
    return this.config.servers.some((s) => s.id === this.id && s.voter);
  }

  /**
   * A server that is being removed may still be the only one with the entry that removes it: until that is committed it
   * must be able to lead (§4.2.2 of the thesis), though its own vote does not count.
   */
  get #mayLead(): boolean {
    const { index } = this.log.config;
    if (this.isVoter || index <= this.log.commit) return this.isVoter;
    return voterIds(this.log.configAt(index - 1).config).includes(this.id);
  }

  get isSoleMember(): boolean {
    return this.#isSole(this.config);
  }

  /** A server that a leader left alone since has all that this leader had: nobody else could bring it anything. */
  get #abstains(): boolean {
    return this.abstain !== null && !this.isSoleMember;
  }

  #isSole({ servers }: Configuration): boolean {
    return servers.length === 1 && servers[0]!.id === this.id && servers[0]!.voter;
  }

  /**
   * Nothing here depends on time while a server is alone and leads, or belongs to no cluster. One that was just added
   * and has heard its leader must still notice its silence: its vote may be the one that is missing.
   */
  get needsTicks(): boolean {
    if (this.config.servers.length === 0) return this.leaderId !== "";
    return !(this.isSoleMember && this.role === "leader");
  }

  /** A leader knows all that was ever committed only when its own noop is. */
  get committedInTerm(): boolean {
    return this.role === "leader" && this.log.commit >= this.termStart;
  }

  // ---- time ----

  tick(): void {
    if (this.role === "leader") return this.#tickLeader();
    this.#electionElapsed++;
    if (this.#electionElapsed < this.#timeout) return;
    this.#electionElapsed = 0;
    this.#drawTimeout();
    this.leaderId = "";
    this.campaign();
  }

  #tickLeader(): void {
    this.#electionElapsed++;
    this.#heartbeatElapsed++;
    if (this.#electionElapsed >= this.#electionTicks) {
      this.#electionElapsed = 0;
      this.transferTarget = "";
      if (!this.#quorumIsActive()) return this.#becomeFollower(this.term, "");
    }
    for (const p of this.progress.values()) {
      if (p.state === "snapshot" && p.snapshot && ++p.ticksSinceBlock > this.#electionTicks) {
        p.ticksSinceBlock = 0;
        // When all blocks are there, the last one again: its answer may have been lost.
        p.blockNext = Math.min(p.blockAcked, p.snapshot.blocks - 1);
      }
    }
    if (this.#heartbeatElapsed >= this.#heartbeatTicks) this.#broadcastHeartbeat();
  }

  /** CheckQuorum: a leader that a majority cannot hear must not go on believing in itself. */
  #quorumIsActive(): boolean {
    const voters = voterIds(this.config);
    const active = voters.filter((id) => id === this.id || this.progress.get(id)?.recentActive).length;
    for (const p of this.progress.values()) p.recentActive = false;
    return active >= quorumOf(voters.length);
  }

  #drawTimeout(): void {
    this.#timeout = this.#electionTicks + this.#random.int(this.#electionTicks);
  }

  // ---- elections ----

  /** Starts an election if this server may lead. */
  campaign(options: { force: boolean } = { force: false }): void {
    if (this.role === "leader" || !this.#mayLead || !this.#storable || this.#install || this.#restore) return;
    if (this.#abstains) return;
    // The only member has nobody to ask: it leads as soon as its own vote is durable.
    if (this.isSoleMember || options.force) return this.#startElection(options.force);
    this.role = "precandidate";
    this.leaderId = "";
    this.#votes = new Map([[this.id, true]]);
    this.#broadcast((to) => ({
      type: "prevote",
      to,
      from: this.id,
      term: this.term + 1,
      lastIndex: this.log.lastIndex,
      lastTerm: this.log.lastTerm,
    }));
    this.#countVotes();
  }

  #startElection(force: boolean): void {
    this.#becomeCandidate();
    const { lastIndex, lastTerm } = this.log;
    for (const id of voterIds(this.config)) {
      if (id !== this.id) this.#sendAfter(id, { type: "vote", lastIndex, lastTerm, force });
    }
  }

  #becomeCandidate(): void {
    this.#setTerm(this.term + 1);
    this.vote = this.id;
    this.role = "candidate";
    this.leaderId = "";
    this.#electionElapsed = 0;
    this.#votes = new Map();
    this.#drawTimeout();
  }

  #setTerm(term: number): void {
    if (term === this.term) return;
    assert(term > this.term, `term went back from ${this.term} to ${term}`);
    this.term = term;
    this.vote = "";
    // What was promised to an older term's leader may never become true: entries may be truncated first.
    this.#after = [];
  }

  #becomeFollower(term: number, leader: string): void {
    this.#setTerm(term);
    this.role = "follower";
    this.leaderId = leader;
    this.#electionElapsed = 0;
    this.#drawTimeout();
    this.#votes.clear();
    this.progress.clear();
    this.transferTarget = "";
    this.#reads = [];
    this.#earlyReads = [];
    this.#snapshotWanted = null;
  }

  #becomeLeader(): void {
    this.role = "leader";
    this.leaderId = this.id;
    this.#electionElapsed = 0;
    this.#heartbeatElapsed = 0;
    this.progress.clear();
    this.#syncProgress(this.log.lastIndex + 1);
    this.termStart = this.log.lastIndex + 1;
    this.#appendOwn("noop", "");
  }

  #countVotes(): void {
    const voters = voterIds(this.config);
    const votes = voters.map((id) => this.#votes.get(id));
    const quorum = quorumOf(voters.length);
    if (votes.filter((v) => v === true).length >= quorum) {
      if (this.role === "precandidate") this.#startElection(false);
      else this.#becomeLeader();
    } else if (votes.filter((v) => v === false).length >= quorum) {
      this.#becomeFollower(this.term, "");
    }
  }

  /** Followers that hear a leader do not help to depose it. */
  #leaseHolds(): boolean {
    return this.leaderId !== "" && this.#electionElapsed < this.#electionTicks;
  }

  // ---- messages ----

  step(m: Message): void {
    if (m.to !== this.id) return;
    if (m.term > this.term && !this.#acceptNewerTerm(m)) return;
    if (m.term < this.term) return this.#answerOlderTerm(m);
    switch (m.type) {
      case "prevote":
      case "vote":
        return this.#onVote(m);
      case "prevote.response":
      case "vote.response":
        return this.#onVoteResponse(m);
      case "append":
      case "heartbeat":
      case "snapshot":
        return this.#onLeaderMessage(m);
      case "append.response":
      case "heartbeat.response":
      case "snapshot.response":
        return this.#onFollowerMessage(m);
      case "timeout.now":
        if (this.role === "follower") this.campaign({ force: true });
        return;
      default:
        assertNever(m, "message");
    }
  }

  /** Moves to the newer term where the message proves it; false when the message is to be ignored. */
  #acceptNewerTerm(m: Message): boolean {
    switch (m.type) {
      case "prevote":
        return !this.#leaseHolds();
      case "vote":
        if (!m.force && this.#leaseHolds()) return false;
        this.#becomeFollower(m.term, "");
        return true;
      case "prevote.response":
        // Granted ones carry the term that we would open.
        if (!m.granted) this.#becomeFollower(m.term, "");
        return true;
      case "append":
      case "heartbeat":
      case "snapshot":
        this.#becomeFollower(m.term, m.from);
        return true;
      default:
        this.#becomeFollower(m.term, "");
        return true;
    }
  }

  /** A leader or candidate that is behind must learn the term, or it would never stop (with PreVote nobody tells it). */
  #answerOlderTerm(m: Message): void {
    if (m.type === "append" || m.type === "heartbeat" || m.type === "snapshot") {
      this.#sendAfter(m.from, { type: "append.response", ok: false, prevIndex: 0, match: 0, hintTerm: 0 });
    } else if (m.type === "prevote") {
      this.#sendAfter(m.from, { type: "prevote.response", granted: false });
    }
  }

  #onVote(m: MessageOf<"vote"> | MessageOf<"prevote">): void {
    const pre = m.type === "prevote";
    const free = this.vote === m.from || (this.vote === "" && this.leaderId === "") ||
      (pre && m.term > this.term);
    const granted = free && !this.#abstains && this.log.isUpToDate(m.lastIndex, m.lastTerm) &&
      !this.#isOfOtherFounding(m);
    if (pre) {
      const answer = { type: "prevote.response", granted } as const;
      this.#after.push({ ...answer, from: this.id, to: m.from, term: granted ? m.term : this.term });
      return;
    }
    if (granted) {
      this.vote = m.from;
      this.#electionElapsed = 0;
    }
    this.#sendAfter(m.from, { type: "vote.response", granted });
  }

  /**
   * A server that began a cluster and died before anybody heard of it comes back with a first entry of its own, while the
   * others began without it: as long as that entry is all there is, the logs look alike and both could win a term.
   */
  #isOfOtherFounding({ from, lastIndex }: MessageOf<"vote"> | MessageOf<"prevote">): boolean {
    return this.log.lastIndex === 1 && lastIndex === 1 && !this.config.servers.some((s) => s.id === from);
  }

  #onVoteResponse(m: MessageOf<"vote.response"> | MessageOf<"prevote.response">): void {
    if (m.type === "prevote.response") {
      if (this.role !== "precandidate" || (m.granted && m.term !== this.term + 1)) return;
    } else if (this.role !== "candidate") {
      return;
    }
    if (!this.#votes.has(m.from)) this.#votes.set(m.from, m.granted);
    this.#countVotes();
  }

  // ---- follower ----

  #onLeaderMessage(m: MessageOf<"append"> | MessageOf<"heartbeat"> | MessageOf<"snapshot">): void {
    assert(this.role !== "leader", `two leaders in term ${this.term}: ${this.id} and ${m.from}`);
    if (this.role !== "follower" || this.leaderId !== m.from) this.#becomeFollower(m.term, m.from);
    this.#electionElapsed = 0;
    if (m.type === "append") this.#onAppend(m);
    else if (m.type === "snapshot") this.#onSnapshotBlock(m);
    else {
      // It never exceeds what this follower acknowledged to this leader, see #broadcastHeartbeat. What was acknowledged
      // and lost may have another entry in its place by now.
      const held = this.abstain ? Math.min(this.#agreed, this.log.lastIndex) : this.log.lastIndex;
      if (!this.#install) this.log.commitTo(Math.min(m.commit, held));
      this.#sendAfter(m.from, { type: "heartbeat.response", read: m.read });
      if (this.abstain && this.#agreed < 0) this.#askForLost(m.from);
    }
  }

  /** The leader may believe that this server holds what it has lost: only what is committed here is certain. */
  #askForLost(leader: string): void {
    const match = Math.min(this.log.commit, this.log.stable);
    this.#sendAfter(leader, {
      type: "append.response",
      ok: false,
      prevIndex: 0,
      match,
      hintTerm: 0,
      lost: true,
    });
  }

  /** The leader's log and this one are the same up to `match`. */
  #agreedTo(match: number): void {
    this.#agreed = Math.max(this.#agreed, match);
    const { abstain, log } = this;
    if (!abstain || (match < abstain.index && (log.termAt(match) ?? 0) <= abstain.term)) return;
    this.#completeAt = match;
    this.#maybeComplete();
  }

  /** What was lost is here again, durably. */
  #maybeComplete(): void {
    if (this.#completeAt === null || this.log.stable < this.#completeAt) return;
    this.#completeAt = null;
    this.abstain = null;
  }

  #onAppend(m: MessageOf<"append">): void {
    if (this.#install) return; // Its log is about to be replaced; the leader asks again.
    const log = this.log;
    // What is committed here is the same at the leader: only what comes after it can be news.
    const known = Math.max(0, log.commit - m.prevIndex);
    const entries = known > 0 ? m.entries.slice(known) : m.entries;
    if (known > m.entries.length) return this.#acknowledge(m, log.commit);
    if (known === 0 && !log.matches(m.prevIndex, m.prevTerm)) return this.#rejectAppend(m);
    const fresh = log.firstNew(entries);
    if (fresh) {
      if (fresh.index <= log.lastIndex) {
        log.truncateAfter(fresh.index - 1);
        this.#clipInflight();
        this.#agreed = Math.min(this.#agreed, fresh.index - 1);
        if (this.#completeAt !== null && this.#completeAt >= fresh.index) this.#completeAt = null;
      }
      for (const entry of entries) if (entry.index >= fresh.index) log.append(entry);
    }
    const last = m.prevIndex + m.entries.length;
    log.commitTo(Math.min(m.commit, last));
    this.#acknowledge(m, last);
  }

  /** A write under way may hold entries that were just dropped: it must not count for what replaced them. */
  #clipInflight(): void {
    if (this.#inflight) this.#inflight.last = Math.min(this.#inflight.last, this.log.lastIndex);
  }

  #acknowledge(m: MessageOf<"append">, match: number): void {
    this.#agreedTo(match);
    // Later answers to the same leader include the earlier ones.
    this.#after = this.#after.filter((a) => a.type !== "append.response" || !a.ok || a.match > match);
    this.#sendAfter(m.from, {
      type: "append.response",
      ok: true,
      prevIndex: m.prevIndex,
      match,
      hintTerm: 0,
    });
  }

  /** Says the last place that could agree: skips a whole term at a time instead of one entry (§5.3, last part). */
  #rejectAppend(m: MessageOf<"append">): void {
    if (this.abstain) return this.#askForLost(m.from);
    let hint = Math.min(m.prevIndex, this.log.lastIndex);
    while (hint > this.log.floorIndex && this.log.termAt(hint)! > m.prevTerm) hint--;
    const hintTerm = this.log.termAt(hint) ?? 0;
    this.#sendAfter(m.from, {
      type: "append.response",
      ok: false,
      prevIndex: m.prevIndex,
      match: hint,
      hintTerm,
    });
  }

  #onSnapshotBlock(m: MessageOf<"snapshot">): void {
    const { index, term } = m.snapshot;
    if (index <= this.log.commit || this.log.matches(index, term)) {
      this.log.commitTo(Math.max(this.log.commit, index));
      this.#agreedTo(index);
      return this.#sendAfter(m.from, {
        type: "append.response",
        ok: true,
        prevIndex: index,
        match: Math.max(index, this.log.commit),
        hintTerm: 0,
      });
    }
    // One at a time: storing the next one would drop the blocks that are being loaded. The leader sends it again.
    if (!this.#install && !this.#restore) this.#blocks.push(m);
  }

  /** The driver stored a block; `next` is the first one missing. Complete: the snapshot replaces the log. */
  blockStored(snapshot: SnapshotMeta, from: string, next: number): void {
    if (this.role !== "follower" || this.leaderId !== from) return;
    this.#sendAfter(from, {
      type: "snapshot.response",
      index: snapshot.index,
      snapshotTerm: snapshot.term,
      next,
    });
    if (next < snapshot.blocks || this.#install || this.#restore || snapshot.index <= this.log.commit) return;
    // A late append brought all of it while the last block was being stored: what came with it may be acknowledged
    // already, so nothing is dropped.
    if (this.log.matches(snapshot.index, snapshot.term)) this.log.commitTo(snapshot.index);
    else {
      this.log.reset({
        index: snapshot.index,
        term: snapshot.term,
        config: { index: snapshot.configIndex, config: snapshot.config },
      });
      if (this.#inflight) this.#inflight.last = 0;
      this.#install = snapshot;
    }
    this.#sendAfter(from, {
      type: "append.response",
      ok: true,
      prevIndex: snapshot.index,
      match: snapshot.index,
      hintTerm: 0,
    });
  }

  // ---- leader ----

  /** Appends a command; null when this server cannot take it (not leader, or handing leadership over). */
  propose(data: string): Entry | null {
    if (this.role !== "leader" || this.transferTarget !== "") return null;
    return this.#appendOwn("command", data);
  }

  /** Changes the membership by at most one voter. Returns the entry, or why not. */
  proposeConfig(config: Configuration): Entry | string {
    if (this.role !== "leader" || this.transferTarget !== "") return "this server is not the leader";
    if (!this.committedInTerm) return "the leader has not committed an entry of its term yet; try again";
    if (this.log.config.index > this.log.commit) return "another membership change is under way; try again";
    const problem = configChangeProblem(this.config, config);
    if (problem) return problem;
    const entry = this.#appendOwn("config", JSON.stringify(config));
    this.#syncProgress(entry.index); // A new member hears of itself at once.
    return entry;
  }

  #appendOwn(kind: EntryKind, data: string): Entry {
    const entry = { index: this.log.lastIndex + 1, term: this.term, kind, data };
    this.log.append(entry);
    return entry;
  }

  /** One progress for every other member (and this server) of the membership in force. */
  #syncProgress(next: number): void {
    const members = new Set(this.config.servers.map((s) => s.id));
    for (const id of this.progress.keys()) if (!members.has(id)) this.progress.delete(id);
    for (const id of members) {
      if (this.progress.has(id)) continue;
      const p = new Progress(next);
      p.recentActive = true; // A new member has one election timeout to answer.
      if (id === this.id) p.acknowledge(this.log.stable);
      this.progress.set(id, p);
    }
  }

  #onFollowerMessage(
    m: MessageOf<"append.response"> | MessageOf<"heartbeat.response"> | MessageOf<"snapshot.response">,
  ): void {
    const p = this.role === "leader" ? this.progress.get(m.from) : undefined;
    if (!p) return;
    p.recentActive = true;
    switch (m.type) {
      case "append.response":
        return m.ok ? this.#onAcknowledged(m, p) : this.#onRejected(m, p);
      case "heartbeat.response":
        p.read = Math.max(p.read, m.read);
        this.#confirmReads();
        if (p.state === "probe") p.probing = false;
        else if (p.state === "replicate" && p.paused) p.freeOne();
        // Something sent may have been lost: an empty append makes the follower say where it stands.
        if (p.match < this.log.lastIndex && p.state === "replicate" && !p.paused) {
          this.#sendAppend(m.from, p, true);
        }
        return;
      case "snapshot.response":
        if (p.snapshot?.index !== m.index || p.snapshot.term !== m.snapshotTerm) return;
        p.ticksSinceBlock = 0;
        if (m.next < p.blockAcked) p.blockNext = m.next;
        p.blockAcked = m.next;
        p.blockNext = Math.max(p.blockNext, m.next);
        return;
      default:
        assertNever(m, "answer");
    }
  }

  #onAcknowledged(m: MessageOf<"append.response">, p: Progress): void {
    assert(
      m.match <= this.log.lastIndex,
      `server ${m.from} has entry ${m.match}, the leader's log ends at ${this.log.lastIndex}: ${OTHER_TIME}`,
    );
    const grew = p.acknowledge(m.match);
    if (p.state === "probe" || (p.state === "snapshot" && p.match >= this.log.floorIndex)) {
      p.becomeReplicate();
    } else if (p.snapshot && p.match >= p.snapshot.index) {
      p.becomeSnapshot(null); // The log was cut beyond it meanwhile: only a newer one helps.
    }
    if (grew) this.#maybeCommit();
    if (this.transferTarget === m.from) this.#maybeHandOver();
  }

  #onRejected(m: MessageOf<"append.response">, p: Progress): void {
    if (m.lost) {
      p.match = Math.min(p.match, m.match);
      if (p.state !== "snapshot") p.becomeProbe(m.match + 1);
      return;
    }
    if (p.state === "snapshot") return;
    // Old news: what was rejected is known to be there, or is not what was asked last.
    if (m.prevIndex <= p.match || (p.state === "probe" && m.prevIndex !== p.next - 1)) return;
    let next = Math.min(m.prevIndex, m.match + 1);
    while (next - 1 > this.log.floorIndex && this.log.termAt(next - 1)! > m.hintTerm) next--;
    p.becomeProbe(next);
  }

  #maybeCommit(): void {
    const voters = voterIds(this.config);
    const matches = voters.map((id) => this.progress.get(id)!.match).sort((a, b) => b - a);
    const index = matches[quorumOf(voters.length) - 1] ?? 0;
    if (this.log.termAt(index) !== this.term || !this.log.commitTo(index)) return;
    if (this.#earlyReads.length > 0 && this.committedInTerm) {
      for (const context of this.#earlyReads.splice(0)) this.readIndex(context);
    }
    if (!this.isVoter && this.log.config.index <= this.log.commit) this.#leave();
  }

  /** A leader that removed itself leads until that is committed (§4.2.2 of the thesis), then calls the next one. */
  #leave(): void {
    this.#sendAppends({ tellCommit: true });
    const next =
      voterIds(this.config).sort((a, b) => this.progress.get(b)!.match - this.progress.get(a)!.match)[0];
    if (next) this.#send(next, { type: "timeout.now" });
    this.#becomeFollower(this.term, "");
  }

  #sendAppends({ tellCommit }: { tellCommit: boolean }): void {
    for (const [id, p] of this.progress) {
      if (id === this.id) continue;
      if (p.state === "snapshot") {
        this.#sendSnapshot(id, p);
        continue;
      }
      while (!p.paused && p.next <= this.log.lastIndex) if (!this.#sendAppend(id, p, false)) break;
      // Followers serve reads, too: they learn at once what is committed, not with the next heartbeat.
      if (tellCommit && p.state === "replicate" && Math.min(p.match, this.log.commit) > p.commitTold) {
        this.#sendAppend(id, p, true);
      }
    }
  }

  /** Returns false when the follower needs a snapshot instead. */
  #sendAppend(to: string, p: Progress, empty: boolean): boolean {
    const prevIndex = p.next - 1;
    const prevTerm = this.log.termAt(prevIndex);
    if (prevTerm === undefined) {
      p.becomeSnapshot(null);
      this.#sendSnapshot(to, p);
      return false;
    }
    const entries = empty ? [] : this.log.slice(p.next, this.#appendChars);
    this.#send(to, { type: "append", prevIndex, prevTerm, entries, commit: this.log.commit });
    p.commitTold = Math.max(p.commitTold, Math.min(this.log.commit, prevIndex + entries.length));
    if (entries.length > 0) {
      p.sent(prevIndex + entries.length, entries.reduce((sum, e) => sum + e.data.length, 0));
    }
    return true;
  }

  #sendSnapshot(to: string, p: Progress): void {
    if (!p.snapshot) {
      if (!this.snapshot || this.snapshot.index < this.log.floorIndex) {
        this.#snapshotWanted = this.log.floorIndex;
        return;
      }
      p.becomeSnapshot(this.snapshot);
    }
    for (const block of p.takeBlocks()) {
      this.#send(to, { type: "snapshot", snapshot: p.snapshot!, block, data: null });
    }
  }

  /** The driver cannot read a block it sent before (the snapshot was replaced): begin again with the newest. */
  snapshotGone(to: string): void {
    const p = this.progress.get(to);
    if (p?.state === "snapshot") p.becomeSnapshot(null);
  }

  #broadcastHeartbeat(): void {
    this.#heartbeatElapsed = 0;
    for (const [id, p] of this.progress) {
      if (id === this.id) continue;
      const commit = Math.min(p.match, this.log.commit);
      this.#send(id, { type: "heartbeat", commit, read: this.#readRound });
    }
  }

  /** Hands leadership to a voter, as soon as it has the whole log; given up after an election timeout. */
  transferLeadership(to: string): boolean {
    if (this.role !== "leader" || to === this.id || !voterIds(this.config).includes(to)) return false;
    this.transferTarget = to;
    this.#electionElapsed = 0;
    this.#maybeHandOver();
    return true;
  }

  #maybeHandOver(): void {
    const p = this.progress.get(this.transferTarget);
    if (p && p.match === this.log.lastIndex) this.#send(this.transferTarget, { type: "timeout.now" });
  }

  // ---- linearizable reads ----

  /** Confirms with a quorum that this server still leads; the answer comes in `ready().reads` (§6.4 of the thesis). */
  readIndex(context: number): void {
    assert(this.role === "leader", "readIndex on a server that does not lead");
    if (!this.committedInTerm) {
      this.#earlyReads.push(context);
      return;
    }
    const index = this.log.commit;
    if (voterIds(this.config).length === 1 && this.isVoter) {
      this.#confirmed.push({ context, index });
      return;
    }
    this.#readRound++;
    this.#reads.push({ round: this.#readRound, context, index });
    this.#broadcastHeartbeat();
  }

  #confirmReads(): void {
    if (this.#reads.length === 0) return;
    const voters = voterIds(this.config);
    const rounds = voters.map((id) => id === this.id ? Infinity : this.progress.get(id)!.read).sort((a, b) =>
      b - a
    );
    const round = rounds[quorumOf(voters.length) - 1] ?? 0;
    while (this.#reads.length > 0 && this.#reads[0]!.round <= round) {
      this.#confirmed.push(this.#reads.shift()!);
    }
  }

  // ---- work for the driver ----

  /** Everything there is to do now. `storageIdle`: no earlier write is outstanding, so a new one may be given out. */
  ready(storageIdle: boolean): Ready {
    const tellCommit = !this.#lazyCommit || this.log.commit === this.#commitSeen;
    this.#commitSeen = this.log.commit;
    if (this.role === "leader") this.#sendAppends({ tellCommit });
    const persist = storageIdle ? this.#takePersist() : null;
    if (this.#after.length > 0 && !persist) this.#releaseHarmless();
    const ready: Ready = {
      messages: this.#outbox,
      persist,
      restore: this.#restoreNews ? this.#restore : null,
      committed: this.#install || this.#restore ? [] : this.log.takeCommitted(),
      reads: this.#confirmed,
      blocks: this.#blocks,
      snapshotWanted: this.#snapshotWanted,
      again: this.role === "leader" && !tellCommit && !this.isSoleMember,
    };
    this.#outbox = [];
    this.#confirmed = [];
    this.#blocks = [];
    this.#restoreNews = false;
    this.#snapshotWanted = null;
    return ready;
  }

  #takePersist(): Persist | null {
    assert(!this.#inflight, "a write is already under way");
    const durable = this.#durable;
    const hardDirty = durable.term !== this.term || durable.vote !== this.vote ||
      durable.abstain !== this.abstain;
    const log = this.log;
    const entries = log.offered < log.lastIndex ? log.slice(log.offered + 1, PERSIST_CHARS) : [];
    if (!hardDirty && entries.length === 0 && !this.#install) {
      this.#outbox.push(...this.#after);
      this.#after = [];
      return null;
    }
    log.offered += entries.length;
    // Answers may speak of entries that did not fit into this write.
    const complete = log.offered === log.lastIndex;
    const persist: Persist = {
      // Never beyond what is stored with it: a restarted server takes that for a loss.
      hard: {
        term: this.term,
        vote: this.vote,
        commit: Math.min(log.commit, log.offered),
        ...(this.abstain ? { abstain: this.abstain } : {}),
      },
      entries,
      install: this.#install,
      messages: complete ? this.#after : [],
    };
    if (complete) this.#after = [];
    this.#inflight = {
      term: this.term,
      vote: this.vote,
      abstain: this.abstain,
      last: log.offered,
      install: this.#install,
      messages: persist.messages,
    };
    return persist;
  }

  /** While a write runs: answers that tell of nothing but a durable term need not wait for it. */
  #releaseHarmless(): void {
    if (this.#durable.term !== this.term) return;
    const harmless = (m: Message) => m.type === "heartbeat.response" || m.type === "prevote.response";
    this.#outbox.push(...this.#after.filter(harmless));
    this.#after = this.#after.filter((m) => !harmless(m));
  }

  /** Says what of an earlier ready() is done. */
  advance(done: { persisted?: boolean; applied?: number }): void {
    if (done.persisted) this.#persisted();
    if (done.applied !== undefined) {
      if (this.#restore && done.applied === this.#restore.index) this.#restore = null;
      this.log.appliedTo(done.applied);
    }
  }

  #persisted(): void {
    const written = this.#inflight;
    assert(written, "no write was under way");
    this.#inflight = null;
    this.#durable = { term: written.term, vote: written.vote, abstain: written.abstain };
    this.log.stable = Math.max(this.log.stable, written.last);
    this.#maybeComplete();
    if (written.install) {
      this.#agreedTo(written.install.index);
      this.#install = null;
      this.snapshot = this.#restore = written.install;
      this.#restoreNews = true;
    }
    this.#outbox.push(...written.messages);
    if (this.role === "leader") {
      if (this.progress.get(this.id)?.acknowledge(this.log.stable)) this.#maybeCommit();
    } else if (this.role === "candidate" && this.#durable.term === this.term && this.vote === this.id) {
      this.#votes.set(this.id, true);
      this.#countVotes();
    }
  }

  /**
   * The write failed as a whole and storage is as before. The only member of a cluster (which it must have been before
   * these entries, too) drops what nobody else can have seen, and stays up; any other server gives leadership up and keeps trying to write.
   * Returns the index after which entries were dropped, or null.
   */
  persistFailed(): number | null {
    const failed = this.#inflight;
    assert(failed, "no write was under way");
    this.#inflight = null;
    this.log.offered = Math.min(this.log.offered, this.log.stable);
    if (failed.term === this.term) this.#after.unshift(...failed.messages);
    if (
      this.role === "leader" && this.isSoleMember && this.#isSole(this.log.configAt(this.log.stable).config)
    ) {
      this.log.truncateAfter(this.log.stable);
      this.#syncProgress(this.log.lastIndex + 1);
      if (this.termStart > this.log.lastIndex) this.#becomeFollower(this.term, "");
      return this.log.stable;
    }
    if (this.role !== "follower") this.#becomeFollower(this.term, "");
    this.#storable = false;
    return null;
  }

  /** A write went through again: this server may lead. */
  storageRecovered(): void {
    this.#storable = true;
  }

  /** A snapshot of the state machine is durable. */
  snapshotStored(snapshot: SnapshotMeta): void {
    if (!this.snapshot || snapshot.index > this.snapshot.index) this.snapshot = snapshot;
  }

  /** Gives a new cluster its first membership, as entry 1 of term 1: the same on every first server. */
  bootstrap(config: Configuration): void {
    assert(this.log.lastIndex === 0 && this.term === 0, "bootstrapping a server that already has a log");
    this.#setTerm(1);
    this.log.append({ index: 1, term: 1, kind: "config", data: JSON.stringify(config) });
  }

  #send(to: string, body: MessageBody): void {
    this.#outbox.push({ ...body, from: this.id, to, term: this.term });
  }

  /** Sent when everything that this server knows now is durable. */
  #sendAfter(to: string, body: MessageBody): void {
    this.#after.push({ ...body, from: this.id, to, term: this.term });
  }

  #broadcast(message: (to: string) => Message): void {
    for (const id of voterIds(this.config)) if (id !== this.id) this.#outbox.push(message(id));
  }
}
