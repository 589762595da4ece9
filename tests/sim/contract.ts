// What a simulated cluster offers to its checkers, and what checkers and planted bugs look like. Only shapes stand
// here; world.ts, server_process.ts, device_process.ts and workload.ts fill them, checkers read them.
//
// Invariants: checkers observe and never change anything, draw no random numbers of the world and schedule nothing: a
// run with or without them has the same trace. A hook is called inside the event that caused it, in order.
import type { AllocAssignment } from "../../core/protocol.ts";
import type { Command } from "../../server/commands.ts";
import type { ApplyResult } from "../../server/log.ts";
import type { Raft, RaftOptions } from "../../server/raft.ts";
import type { Role } from "../../server/raft_types.ts";
import type { Server } from "../../server/server.ts";
import type { RaftStorage, StorageWrite } from "../../server/storage.ts";

/** A rule was broken. `rule` is the checker's short name: it becomes the exit code and stands in the report. */
export class SimFailure extends Error {
  override readonly name = "SimFailure";
  constructor(readonly rule: string, message: string) {
    super(message);
  }
}

/** `safety`: faults happen. `liveness`: everything is healed and must converge. `done`: it has. */
export type Phase = "safety" | "liveness" | "done";

export interface SimCluster {
  readonly seed: number;
  /** True simulated time in milliseconds; processes see their own skewed clocks. */
  readonly nowMs: number;
  /** Events run so far. */
  readonly step: number;
  readonly phase: Phase;
  /** By server id, those that are down and those that were removed for good included. */
  readonly servers: ReadonlyMap<string, SimServer>;
  /** By node id. */
  readonly devices: ReadonlyMap<string, SimDevice>;
  /** A line of the trace (printed with --verbose); a checker may note what explains a failure. */
  note(line: string): void;
}

export interface SimServer {
  /** Stable over restarts. A server whose disk was lost comes back under a new id. */
  readonly id: string;
  /** Counts starts: 1 for the first process. */
  readonly incarnation: number;
  /** The process exists. */
  readonly up: boolean;
  /** It exists and does not run (SIGSTOP). */
  readonly paused: boolean;
  /** server.start() has resolved. */
  readonly ready: boolean;
  /** Null while down. `server.state`, `server.leader`, `server.log` are the real ones. */
  readonly server: Server | null;
  /** The real consensus core of the running process: role, term, vote, log (entryAt, commit, applied). Null while down. */
  readonly raft: Raft | null;
  /** Index of the last command that its state machine applied or restored; 0 while down. */
  readonly applied: number;
}

/** One task as it really runs on a device, whatever servers believe. */
export interface SimTask {
  readonly allocId: string;
  /** `<namespace>/<job id>`. */
  readonly job: string;
  /** The allocation's name, `<job>.<group>[<index>]`. */
  readonly allocName: string;
  readonly startedMs: number;
  /** Null while it runs. */
  stoppedMs: number | null;
}

export interface SimDevice {
  /** Node id. */
  readonly id: string;
  readonly name: string;
  /** The device is on and its agent's process exists; tasks of a device that is off are all stopped. */
  readonly up: boolean;
  readonly paused: boolean;
  /** Address (`s1:4647`) of the server that welcomed it and to which its connection is open, "" without one. */
  readonly connectedTo: string;
  /** What was last assigned to it, by allocation id. */
  readonly assigned: ReadonlyMap<string, AllocAssignment>;
  /** What runs now, by allocation id. */
  readonly running: ReadonlyMap<string, SimTask>;
}

/** What a client asked for. Keys: `job/<namespace>/<id>` (value: the job's Meta.value), `namespace/<name>` (Description). */
export type Ask =
  | { kind: "write"; key: string; value: string }
  /** A job's EnforceIndex: only while its JobModifyIndex is `index`; 0: only while it does not exist. */
  | { kind: "cas"; key: string; index: number; value: string }
  | { kind: "delete"; key: string }
  | { kind: "read"; key: string; consistency: "consistent" | "default" | "stale" };

export type Outcome =
  /** `value`: what a read found, null for nothing; what a write wrote. `index`: the answer's X-Nomad-Index or JobModifyIndex. */
  | { kind: "ok"; value: string | null; index: number }
  /** Certainly not applied, now or later: a rule refused it (compare-and-set, not found). */
  | { kind: "refused"; status: number; message: string }
  /** An error or no answer: it may have been applied, may be applied later, or never. */
  | { kind: "unknown"; message: string };

/** One operation of a client's history. A client has one under way at a time; after `unknown` it goes on as a new client. */
export interface Operation {
  readonly id: number;
  readonly client: string;
  /** Server that was asked. */
  readonly server: string;
  readonly ask: Ask;
  readonly invokedMs: number;
  readonly invokedStep: number;
  /** Null while it is under way. */
  outcome: Outcome | null;
  finishedMs: number;
  finishedStep: number;
}

/** One rule, watched. Every method is optional and throws SimFailure. */
export interface Checker {
  readonly rule: string;
  /** Before the first event. */
  begin?(cluster: SimCluster): void;
  onStart?(server: SimServer): void;
  /** Its process is gone; `raft` and `server` are already null. */
  onCrash?(server: SimServer): void;
  /** Raft's role or term changed (seen after each event). */
  onRole?(server: SimServer, role: Role, term: number): void;
  /** After the state machine of that server applied `command`; the state holds it. */
  onApply?(server: SimServer, index: number, command: Command, result: ApplyResult): void;
  /** The state machine was replaced by a snapshot of `index` (at a start or from the leader). */
  onRestore?(server: SimServer, index: number): void;
  /** A write to its disk became durable. */
  onPersist?(server: SimServer, batch: StorageWrite): void;
  onOperationStarted?(operation: Operation): void;
  onOperationFinished?(operation: Operation): void;
  onTaskStarted?(device: SimDevice, task: SimTask): void;
  /** By itself, because it was told to, or because the device died. */
  onTaskStopped?(device: SimDevice, task: SimTask): void;
  /** After every event: must be O(servers) at most. */
  onStep?(cluster: SimCluster): void;
  /** After the liveness phase converged: may look at everything. */
  end?(cluster: SimCluster): void;
}

/** A planted bug: replaces a part of every server by a wrong one. Empty: the real thing. */
export interface Plant {
  readonly name: string;
  raft?(options: RaftOptions): Raft;
  storage?(disk: RaftStorage): RaftStorage;
}

export type Profile = "full" | "log";

export interface SimOptions {
  seed: number;
  /** Length of the safety phase. */
  events: number;
  /** Makes the checkers of one run; run.ts brings `allCheckers` of checkers.ts by default. */
  checkers?: () => Checker[];
  plant?: Plant;
  /** `log`: servers and clients only, no devices and nothing to schedule, so that elections and members get all events. */
  profile?: Profile;
  verbose?: boolean;
}

export interface SimResult {
  seed: number;
  /** Null when every rule held and the cluster converged. */
  failure: { rule: string; message: string; step: number; stack: string } | null;
  events: number;
  /** Hash over every event of the run: equal seeds give equal traces. */
  trace: string;
  /** What happened, for a look at coverage: elections, commits, crashes, placements, operations … */
  counts: Record<string, number>;
}
