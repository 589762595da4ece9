// Drives raft.ts: gives it time and messages, stores and sends what it asks for, applies what it commits and answers
// those who wait. This is the built-in engine behind the contract of log.ts; one server takes the same path as five.
//
// Invariants: one write to storage at a time, everything that comes meanwhile goes into the next one (group commit);
// a proposal resolves only when it is durable, committed and applied; on the server that proposed it the
// state machine gets the proposed object itself. An entry that cannot be applied, or a damaged log, stops the replica.
import { assert } from "../core/assert.ts";
import { formatDuration } from "../core/duration.ts";
import type { Clock, Random } from "../core/env.ts";
import { ApiError, errorText, NotLeaderError, StorageError } from "../core/errors.ts";
import type { Command } from "./commands.ts";
import type { ApplyResult, LeaderInfo, LogPeer, ReplicatedLog, StateMachine } from "./log.ts";
import { Raft, type RaftOptions } from "./raft.ts";
import type {
  Configuration,
  Entry,
  Message,
  MessageOf,
  Persist,
  RaftServer,
  RaftTransport,
  SnapshotMeta,
} from "./raft_types.ts";
import { loadRaft, restoreSnapshot } from "./replica_load.ts";
import { Snapshotter, type SnapshotTuning } from "./replica_snapshots.ts";
import type { RaftStorage } from "./storage.ts";

export interface ReplicaTuning extends SnapshotTuning {
  /** One raft tick. */
  tickMs: number;
  heartbeatTicks: number;
  electionTicks: number;
}

export const defaultReplicaTuning: ReplicaTuning = {
  tickMs: 50,
  heartbeatTicks: 2,
  electionTicks: 10,
  snapshotThreshold: 8192,
  snapshotIntervalMs: 30_000,
  trailingLogs: 10_240,
};

export interface ReplicaOptions {
  /** Stable id of this server. */
  id: string;
  /** host:port of this server's rpc listener and HTTP API, as others reach them. */
  rpcAddress: string;
  httpAddress: string;
  /** First members of a new cluster, the same on each of them; null to wait until a leader adds this server. */
  bootstrap: RaftServer[] | null;
  storage: RaftStorage;
  transport: RaftTransport;
  clock: Clock;
  random: Pick<Random, "int">;
  tuning?: Partial<ReplicaTuning>;
  logger?: (level: "debug" | "info" | "warn" | "error", message: string) => void;
  /** Runs something soon, after what is ready to run now; setImmediate by default. */
  defer?: (run: () => void) => void;
  /** The replica stopped because of damaged data or a broken invariant. By default the process ends with the error. */
  onFatal?: (error: unknown) => void;
  /** Makes the consensus core; `new Raft` by default. The simulation watches it, and plants bugs in it. */
  createRaft?: (options: RaftOptions) => Raft;
}

/** The replicated log with what only Raft has: members and leadership. */
export interface Replica extends ReplicatedLog {
  /** The membership in force, learners included. */
  configuration(): { index: number; config: Configuration };
  /** Adds a server or changes its address; `voter: false` adds a learner. Leader only. */
  addServer(server: RaftServer): Promise<void>;
  /** Leader only. */
  removeServer(id: string): Promise<void>;
  /** To `id`, or to the voter that has most of the log. Resolves when this server does not lead any more. */
  transferLeadership(id?: string): Promise<void>;
  /** How far each member is, on the leader: last durable index and whether it was heard lately. */
  progress(): { id: string; match: number; active: boolean }[];
  /** Takes a snapshot and cuts the log now. */
  snapshotNow(): Promise<void>;
  /** Gives a new cluster its first members; only while nothing is stored. */
  bootstrap(servers: RaftServer[]): void;
}

interface Proposal {
  term: number;
  command: Command | null;
  chars: number;
  resolve(answer: { index: number; result: ApplyResult }): void;
  reject(error: unknown): void;
}

interface Barrier {
  resolve(index: number): void;
  reject(error: unknown): void;
}

/** A single command; the HTTP API refuses bodies long before. */
const COMMAND_MAX_CHARS = 64 * 1024 * 1024;
/** Commands that wait for the disk or the quorum, together. */
const PENDING_MAX_CHARS = 256 * 1024 * 1024;
/** A patient proposal's longest wait for company. */
const PATIENCE_MS = 5;
/** Applying gives way to other work after this long. */
const APPLY_SLICE_MS = 5;
/** A refused write is tried again after this long where nobody's proposal tries it. */
const STORAGE_RETRY_MS = 500;
/** How late the word to take leadership over may still arrive, and make a leader. */
const HAND_OVER_MS = 5000;

export function createReplica(options: ReplicaOptions): Replica {
  return new RaftReplica(options);
}

class RaftReplica implements Replica {
  readonly #o: ReplicaOptions;
  readonly #tuning: ReplicaTuning;
  #raft!: Raft;
  #machine!: StateMachine;
  #snapshotter!: Snapshotter;
  #state: "new" | "running" | "stopped" = "new";
  #stopping = false;
  /** What stopped it. */
  #failure: unknown = null;

  #writing: Promise<void> | null = null;
  #pumpSoon = false;
  #cancelTick: (() => void) | null = null;
  #cancelPatience: (() => void) | null = null;
  #cancelRetry: (() => void) | null = null;
  /** The storage's last refusal, null when the last write went through. */
  #refusal: StorageError | null = null;

  #queue: Entry[] = [];
  #queueAt = 0;
  #restoring = false;
  #staging: Promise<void> = Promise.resolve();
  #takingForPeer = false;

  #proposals = new Map<number, Proposal>();
  #pendingChars = 0;
  #barriers: Barrier[] = [];
  #rounds = new Map<number, Barrier[]>();
  #lastRound = 0;
  #confirmed: { index: number; waiting: Barrier[] }[] = [];

  #listeners: ((leading: boolean) => void)[] = [];
  /** Term in which this server leads and has told so; 0 while it does not. */
  #leadingTerm = 0;
  #established = false;
  /** As it was told last. */
  #abstains = false;
  #onChange: (() => void)[] = [];
  #heardMs = -Infinity;
  #handOverEndMs = -Infinity;

  constructor(options: ReplicaOptions) {
    this.#o = options;
    this.#tuning = { ...defaultReplicaTuning, ...options.tuning };
  }

  // ---- life ----

  async start(machine: StateMachine): Promise<void> {
    assert(this.#state === "new", "a replica starts once");
    const { id, storage, clock, random, transport, bootstrap } = this.#o;
    this.#machine = machine;
    const loaded = await loadRaft(storage, id).catch(async (error) => {
      await storage.close();
      throw error;
    });
    const { warning, ...stored } = loaded;
    if (warning) this.#log("warn", warning);
    const { heartbeatTicks, electionTicks } = this.#tuning;
    const options = { id, random, heartbeatTicks, electionTicks, lazyCommit: true, ...stored };
    this.#raft = this.#o.createRaft?.(options) ?? new Raft(options);
    this.#snapshotter = new Snapshotter({
      raft: this.#raft,
      machine,
      storage,
      clock,
      tuning: this.#tuning,
      onDone: (error) => this.#onSnapshotDone(error),
    });
    try {
      if (loaded.snapshot) await restoreSnapshot(storage, loaded.snapshot, machine, () => !this.#stopping);
      if (this.#stopping) throw new Error("The replicated log was stopped while it started");
    } catch (error) {
      await storage.close();
      throw error;
    }
    this.#state = "running";
    if (bootstrap && this.#raft.log.lastIndex === 0 && this.#raft.term === 0) this.bootstrap(bootstrap);
    transport.start((message) => this.#receive(message));
    if (this.#raft.isSoleMember) this.#raft.campaign();
    this.#pump();
    // Alone, there is nothing to wait for but the disk: ready means ready. A full disk must not hold the start up.
    if (this.#raft.isSoleMember) await this.#until(() => this.#established || this.#refusal !== null);
    if (this.#failure !== null) throw this.#failure;
  }

  bootstrap(servers: RaftServer[]): void {
    assert(this.#state === "running", "bootstrapping a replica that does not run");
    this.#raft.bootstrap({ servers });
    if (this.#raft.isSoleMember) this.#raft.campaign();
    this.#kick();
  }

  async stop(): Promise<void> {
    if (this.#state === "stopped") return;
    if (this.#state === "new") {
      this.#stopping = true; // A start under way sees it, and closes what it opened.
      return;
    }
    this.#halt(new NotLeaderError(""));
    await this.#o.transport.stop();
    await this.#writing;
    await this.#staging;
    await this.#o.storage.close();
  }

  /** Takes no further part; everyone who waits gets `error`. */
  #halt(error: unknown): void {
    if (this.#state !== "running") return;
    this.#state = "stopped";
    this.#cancelTick?.();
    this.#cancelPatience?.();
    this.#cancelRetry?.();
    this.#snapshotter.stop();
    this.#loseLeadership(error);
    this.#changed();
  }

  #fatal(error: unknown): void {
    if (this.#state === "stopped") return;
    this.#failure = error;
    this.#log("error", `The replicated log stops: ${errorText(error)}`);
    this.#halt(error);
    if (this.#o.onFatal) this.#o.onFatal(error);
    else {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #log(level: "debug" | "info" | "warn" | "error", message: string): void {
    this.#o.logger?.(level, message);
  }

  // ---- the loop ----

  /** Runs the loop soon, once for everything that happens until then. */
  #kick(): void {
    if (this.#pumpSoon || this.#state !== "running") return;
    this.#pumpSoon = true;
    const defer = this.#o.defer ?? setImmediate;
    defer(() => {
      this.#pumpSoon = false;
      this.#pump();
    });
  }

  /** For what nobody waits for: the next kick takes it along, at the latest after PATIENCE_MS. */
  #kickLater(): void {
    this.#cancelPatience ??= this.#o.clock.after(PATIENCE_MS, () => {
      this.#cancelPatience = null;
      this.#kick();
    });
  }

  #pump(): void {
    if (this.#state !== "running") return;
    this.#cancelPatience?.();
    this.#cancelPatience = null;
    try {
      this.#watchRole();
      this.#askReads();
      const ready = this.#raft.ready(!this.#writing && !this.#cancelRetry);
      for (const message of ready.messages) this.#send(message);
      if (ready.persist) this.#writing = this.#write(ready.persist);
      if (ready.restore) this.#restore(ready.restore);
      for (const block of ready.blocks) this.#stage(block);
      if (ready.snapshotWanted !== null) this.#takeForPeer();
      if (ready.again) this.#kick();
      for (const entry of ready.committed) this.#queue.push(entry);
      for (const { context, index } of ready.reads) this.#onRead(context, index);
      this.#apply();
      this.#watchRole();
      this.#answerReads();
      this.#armTick();
    } catch (error) {
      this.#fatal(error);
    }
  }

  #armTick(): void {
    if (this.#cancelTick || !this.#raft.needsTicks || this.#state !== "running") return;
    this.#cancelTick = this.#o.clock.after(this.#tuning.tickMs, () => {
      this.#cancelTick = null;
      this.#guarded(() => this.#raft.tick());
      this.#pump();
    });
  }

  #guarded(run: () => void): void {
    if (this.#state !== "running") return;
    try {
      run();
    } catch (error) {
      this.#fatal(error);
    }
  }

  #receive(message: Message): void {
    this.#guarded(() => {
      this.#raft.step(message);
      if (message.from === this.#raft.leaderId) this.#heardMs = this.#o.clock.monotonicMs();
    });
    this.#kick();
  }

  #send(message: Message): void {
    const to = this.#raft.config.servers.find((s) => s.id === message.to);
    if (message.type !== "snapshot") return this.#o.transport.send(message, to?.rpcAddress);
    this.#o.storage.readBlock(message.snapshot, message.block).then((data) => {
      if (this.#state !== "running") return;
      if (data) this.#o.transport.send({ ...message, data }, to?.rpcAddress);
      else this.#raft.snapshotGone(message.to);
    }).catch((error) => {
      // The peer's timeout asks again; a damaged snapshot is replaced by the next one that is taken.
      this.#log(
        "error",
        `Cannot send snapshot ${message.snapshot.index} to ${message.to}: ${errorText(error)}`,
      );
    });
  }

  // ---- storage ----

  async #write(persist: Persist): Promise<void> {
    let failure: unknown = null;
    try {
      await this.#o.storage.write({ hard: persist.hard, entries: persist.entries, install: persist.install });
    } catch (error) {
      failure = error;
    }
    this.#writing = null;
    this.#guarded(() => {
      if (failure !== null) return this.#onWriteFailed(failure);
      this.#raft.advance({ persisted: true });
      if (this.#refusal) {
        this.#log("info", "The log's storage takes writes again");
        this.#refusal = null;
        this.#raft.storageRecovered();
        if (this.#raft.isSoleMember) this.#raft.campaign();
      }
    });
    this.#pump();
  }

  #onWriteFailed(error: unknown): void {
    if (!(error instanceof StorageError) || error.kind === "corrupt") throw error;
    if (!this.#refusal) this.#log("error", `${error.message} (reads go on)`);
    this.#refusal = error;
    const kept = this.#raft.persistFailed();
    if (kept !== null) this.#rejectAfter(kept, error);
    // A leader that stepped down, or a term that could not be opened: nobody's proposal will try again.
    if (this.#raft.role !== "leader") this.#retryLater();
    this.#changed();
  }

  #rejectAfter(index: number, error: StorageError): void {
    for (const [at, proposal] of this.#proposals) {
      if (at <= index) continue;
      this.#proposals.delete(at);
      this.#pendingChars -= proposal.chars;
      proposal.reject(error);
    }
  }

  /** While this timer runs nothing is given to storage. */
  #retryLater(): void {
    this.#cancelRetry ??= this.#o.clock.after(STORAGE_RETRY_MS, () => {
      this.#cancelRetry = null;
      if (this.#raft.isSoleMember) this.#guarded(() => this.#raft.campaign());
      this.#pump();
    });
  }

  #restore(snapshot: SnapshotMeta): void {
    this.#restoring = true;
    this.#queue = [];
    this.#queueAt = 0;
    const running = () => this.#state === "running";
    restoreSnapshot(this.#o.storage, snapshot, this.#machine, running).then((loaded) => {
      if (!loaded || !running()) return;
      this.#restoring = false;
      this.#raft.advance({ applied: snapshot.index });
      this.#snapshotter.restored();
      this.#log("info", `Loaded the leader's snapshot of entry ${snapshot.index}`);
      this.#pump();
    }).catch((error) => this.#fatal(error));
  }

  /** Received blocks are stored one after the other. */
  #stage(message: MessageOf<"snapshot">): void {
    const { snapshot, block, data, from } = message;
    this.#staging = this.#staging.then(async () => {
      if (this.#state !== "running" || !data) return;
      const next = await this.#o.storage.stageBlock(snapshot, block, data);
      this.#guarded(() => this.#raft.blockStored(snapshot, from, next));
      this.#kick();
    }).catch((error) => {
      if (error instanceof StorageError && error.kind !== "corrupt") {
        // Not answered, so the leader sends it again.
        this.#log("error", `Cannot store the leader's snapshot: ${error.message}`);
      } else this.#fatal(error);
    });
  }

  /** A peer needs a snapshot newer than the stored one; one at a time, it is asked for again while it is missing. */
  #takeForPeer(): void {
    if (this.#takingForPeer) return;
    this.#takingForPeer = true;
    this.#snapshotter.take().finally(() => {
      this.#takingForPeer = false;
      this.#kick();
    });
  }

  #onSnapshotDone(error: unknown): void {
    if (error === null) {
      this.#log("debug", `Took a snapshot of entry ${this.#raft.snapshot?.index ?? this.#raft.log.applied}`);
    } else if (error instanceof StorageError && error.kind !== "corrupt") {
      this.#log(
        "error",
        `No snapshot was taken: ${error.message}; the log is kept and it is tried again later`,
      );
    } else return this.#fatal(error);
    this.#kick();
  }

  // ---- applying ----

  #apply(): void {
    if (this.#restoring || this.#queueAt === this.#queue.length) return;
    const { clock } = this.#o;
    const endMs = clock.monotonicMs() + APPLY_SLICE_MS;
    let count = 0;
    let chars = 0;
    while (this.#queueAt < this.#queue.length) {
      const entry = this.#queue[this.#queueAt++]!;
      this.#applyOne(entry);
      count++;
      chars += entry.data.length;
      if (clock.monotonicMs() >= endMs) break;
    }
    this.#raft.advance({ applied: this.#queue[this.#queueAt - 1]!.index });
    if (this.#queueAt === this.#queue.length) {
      this.#queue = [];
      this.#queueAt = 0;
    } else this.#kick();
    this.#snapshotter.applied(count, chars);
  }

  #applyOne(entry: Entry): void {
    const proposal = this.#proposals.get(entry.index);
    const own = proposal?.term === entry.term ? proposal : undefined;
    let command: Command = { kind: "noop" };
    if (entry.kind === "command") command = own?.command ?? JSON.parse(entry.data) as Command;
    const result = this.#machine.apply(entry.index, command);
    if (!own) return;
    this.#proposals.delete(entry.index);
    this.#pendingChars -= own.chars;
    own.resolve({ index: this.#machine.index, result });
  }

  // ---- proposals ----

  propose(
    command: Command,
    options: { patient?: boolean } = {},
  ): Promise<{ index: number; result: ApplyResult }> {
    if (!this.isLeader) return Promise.reject(this.#notLeader());
    const data = JSON.stringify(command);
    if (data.length > COMMAND_MAX_CHARS) {
      return Promise.reject(
        new ApiError(413, `The ${command.kind} command is too large for the log: ${data.length} characters`),
      );
    }
    if (this.#pendingChars + data.length > PENDING_MAX_CHARS) {
      return Promise.reject(new ApiError(503, "Too many writes wait to be stored; try again later"));
    }
    const entry = this.#raft.propose(data);
    if (!entry) return Promise.reject(this.#notLeader());
    return this.#track(entry, command, options.patient);
  }

  #track(
    entry: Entry,
    command: Command | null,
    patient = false,
  ): Promise<{ index: number; result: ApplyResult }> {
    const chars = entry.data.length;
    this.#pendingChars += chars;
    if (patient) this.#kickLater();
    else this.#kick();
    return new Promise((resolve, reject) => {
      this.#proposals.set(entry.index, { term: entry.term, command, chars, resolve, reject });
    });
  }

  #notLeader(): Error {
    // A server alone leads as soon as its disk lets it: the disk is what to look at.
    if (this.#refusal && this.#state === "running" && this.#raft.isSoleMember) return this.#refusal;
    return new NotLeaderError(this.leader?.httpAddress ?? "");
  }

  // ---- reads ----

  barrier(): Promise<number> {
    if (!this.isLeader) return Promise.reject(this.#notLeader());
    const { log } = this.#raft;
    if (this.#raft.isSoleMember && log.applied === log.commit) {
      return Promise.resolve(this.#machine.index);
    }
    return new Promise((resolve, reject) => {
      this.#barriers.push({ resolve, reject });
      this.#kick();
    });
  }

  /** All that came since the last round share one. */
  #askReads(): void {
    if (this.#barriers.length === 0 || this.#raft.role !== "leader") return;
    const round = ++this.#lastRound;
    this.#rounds.set(round, this.#barriers);
    this.#barriers = [];
    this.#raft.readIndex(round);
  }

  #onRead(round: number, index: number): void {
    const waiting = this.#rounds.get(round);
    if (!waiting) return;
    this.#rounds.delete(round);
    this.#confirmed.push({ index, waiting });
  }

  #answerReads(): void {
    const { applied } = this.#raft.log;
    while (this.#confirmed.length > 0 && this.#confirmed[0]!.index <= applied) {
      for (const barrier of this.#confirmed.shift()!.waiting) barrier.resolve(this.#machine.index);
    }
  }

  // ---- leadership ----

  /** Compares what raft says with what was told, and tells the difference. */
  #watchRole(): void {
    const raft = this.#raft;
    if (this.#abstains && raft.abstain === null) {
      this.#log("info", "All entries that this server had lost are here again: it votes again");
    }
    this.#abstains = raft.abstain !== null;
    const term = raft.role === "leader" ? raft.term : 0;
    if (term !== this.#leadingTerm) {
      if (this.#leadingTerm !== 0) {
        this.#loseLeadership(this.#refusal ?? new NotLeaderError(this.leader?.httpAddress ?? ""));
      }
      this.#leadingTerm = term;
      if (term !== 0) this.#log("debug", `Elected in term ${term}`);
      this.#changed();
    }
    if (term !== 0 && !this.#established && raft.log.applied >= raft.termStart) {
      this.#established = true;
      this.#log("info", `Leads the cluster in term ${term}`);
      this.#announceAddress();
      for (const listener of this.#listeners) listener(true);
      this.#changed();
    }
  }

  #loseLeadership(error: unknown): void {
    const proposals = [...this.#proposals.values()];
    const barriers = [this.#barriers, ...this.#rounds.values(), ...this.#confirmed.map((c) => c.waiting)]
      .flat();
    this.#proposals.clear();
    this.#rounds.clear();
    this.#barriers = [];
    this.#confirmed = [];
    this.#pendingChars = 0;
    const unknown = error instanceof NotLeaderError ? new NotLeaderError(error.leader, "unknown") : error;
    for (const proposal of proposals) proposal.reject(unknown);
    for (const barrier of barriers) barrier.reject(error);
    if (!this.#established) return;
    this.#established = false;
    if (this.#state === "running") {
      this.#log("warn", `Does not lead the cluster any more: ${errorText(error)}`);
    }
    for (const listener of this.#listeners) listener(false);
  }

  /** The leader's own address in the membership is what others dial. */
  #announceAddress(): void {
    const { id, rpcAddress, httpAddress } = this.#o;
    const { servers } = this.#raft.config;
    const self = servers.find((s) => s.id === id);
    if (!self || (self.rpcAddress === rpcAddress && self.httpAddress === httpAddress)) return;
    const changed = { ...self, rpcAddress, httpAddress };
    const entry = this.#raft.proposeConfig({ servers: servers.map((s) => s.id === id ? changed : s) });
    if (typeof entry === "string") this.#log("debug", `The new address waits: ${entry}`);
    this.#kick();
  }

  onLeadership(listener: (leading: boolean) => void): void {
    this.#listeners.push(listener);
    if (this.#established) listener(true);
  }

  /** Resolves when `condition` holds, checked whenever the role or the storage's health changes. */
  async #until(condition: () => boolean): Promise<void> {
    while (this.#state === "running" && !condition()) {
      await new Promise<void>((resolve) => this.#onChange.push(resolve));
    }
  }

  #changed(): void {
    for (const resolve of this.#onChange.splice(0)) resolve();
  }

  get isLeader(): boolean {
    return this.#established && this.#state === "running" && this.#raft.role === "leader";
  }

  get handingOver(): boolean {
    return this.#o.clock.monotonicMs() < this.#handOverEndMs;
  }

  get term(): number {
    return this.#raft?.term ?? 0;
  }

  get leader(): LeaderInfo | null {
    if (this.#state !== "running") return null;
    const { id, rpcAddress, httpAddress } = this.#o;
    const { leaderId } = this.#raft;
    if (leaderId === id) return this.isLeader ? { id, rpcAddress, httpAddress } : null;
    const server = this.#raft.config.servers.find((s) => s.id === leaderId);
    return server ? { id: server.id, rpcAddress: server.rpcAddress, httpAddress: server.httpAddress } : null;
  }

  get lastContactMs(): number {
    if (this.isLeader) return 0;
    return this.#o.clock.monotonicMs() - this.#heardMs;
  }

  // ---- members ----

  configuration(): { index: number; config: Configuration } {
    return this.#raft.log.config;
  }

  peers(): LogPeer[] {
    if (this.#state === "new") return [];
    const leader = this.leader?.id;
    return this.#raft.config.servers.map((s) => ({ ...s, leader: s.id === leader }));
  }

  addServer(server: RaftServer): Promise<void> {
    const { servers } = this.#raft.config;
    const known = servers.some((s) => s.id === server.id);
    return this.#changeMembers(
      known ? servers.map((s) => s.id === server.id ? server : s) : [...servers, server],
    );
  }

  async removeServer(id: string): Promise<void> {
    const { servers } = this.#raft.config;
    if (!servers.some((s) => s.id === id)) {
      throw new ApiError(400, `No server with id "${id}" in the Raft configuration`);
    }
    await this.#changeMembers(servers.filter((s) => s.id !== id));
  }

  async #changeMembers(servers: RaftServer[]): Promise<void> {
    if (!this.isLeader) throw this.#notLeader();
    const entry = this.#raft.proposeConfig({ servers });
    if (typeof entry === "string") throw new ApiError(400, `Cannot change the members: ${entry}`);
    await this.#track(entry, null);
  }

  async transferLeadership(id?: string): Promise<void> {
    if (!this.isLeader) throw this.#notLeader();
    const candidates = this.progress().filter((p) => p.id !== this.#o.id && p.active && this.#isVoter(p.id));
    const target = id ?? candidates.sort((a, b) => b.match - a.match)[0]?.id;
    if (!target) throw new ApiError(400, "No other voter could take leadership over");
    if (!this.#raft.transferLeadership(target)) {
      throw new ApiError(
        400,
        `Leadership cannot be transferred to "${target}": it is not another voter of this cluster`,
      );
    }
    this.#kick();
    const { term } = this.#raft;
    let late = false;
    this.#handOverEndMs = this.#o.clock.monotonicMs() + HAND_OVER_MS;
    const cancel = this.#o.clock.after(2 * this.#tuning.electionTicks * this.#tuning.tickMs, () => {
      late = true;
      this.#changed();
    });
    await this.#until(() => this.#raft.term !== term || !this.isLeader || late);
    cancel();
    if (this.isLeader && this.#raft.term === term) {
      throw new ApiError(
        500,
        `Server "${target}" did not take leadership over in time; this server goes on leading`,
      );
    }
  }

  #isVoter(id: string): boolean {
    return this.#raft.config.servers.some((s) => s.id === id && s.voter);
  }

  progress(): { id: string; match: number; active: boolean }[] {
    return [...this.#raft.progress].map(([id, p]) => ({
      id,
      match: p.match,
      active: id === this.#o.id || p.recentActive,
    }));
  }

  async snapshotNow(): Promise<void> {
    await this.#snapshotter.take();
  }

  /** Nomad's names (agent-info, block raft). */
  stats(): Record<string, number | string> {
    if (this.#state === "new") return {};
    const { log, role, term, snapshot, config } = this.#raft;
    return {
      applied_index: log.applied,
      commit_index: log.commit,
      fsm_pending: log.commit - log.applied,
      last_contact: this.isLeader
        ? 0
        : Number.isFinite(this.lastContactMs)
        ? formatDuration(this.lastContactMs * 1e6)
        : "never",
      last_log_index: log.lastIndex,
      last_log_term: log.lastTerm,
      last_snapshot_index: snapshot?.index ?? 0,
      last_snapshot_term: snapshot?.term ?? 0,
      latest_configuration: `[${config.servers.map(configurationText).join(" ")}]`,
      latest_configuration_index: log.config.index,
      num_peers: config.servers.filter((s) => s.voter && s.id !== this.#o.id).length,
      protocol_version: 3,
      protocol_version_max: 3,
      protocol_version_min: 3,
      state: role === "leader" ? "Leader" : role === "follower" ? "Follower" : "Candidate",
      ...(this.#raft.abstain ? { abstains_until: this.#raft.abstain.index } : {}),
      storage: this.#refusal ? `refuses writes: ${this.#refusal.kind}` : "ok",
      term,
    };
  }

  handle(request: Request): Promise<Response> {
    return this.#o.transport.handle(request);
  }
}

const configurationText = ({ id, rpcAddress, voter }: RaftServer) =>
  `{Suffrage:${voter ? "Voter" : "Nonvoter"} ID:${id} Address:${rpcAddress}}`;
