// The one contract for the replicated log: propose, committed entries in order, snapshot, truncate. Built in is Raft
// over HTTP (replica.ts) on libsql or memory; etcd or Consul could stand behind the same contract, and nothing above
// it may know the difference.
//
// Invariants: `apply` is called once for every committed index, in order, on every server, with the same command.
// A proposal resolves only when its command is durable on a quorum and applied here. Nothing that was acknowledged
// is ever lost.
import type { Command } from "./commands.ts";
import type { RequestRow } from "./state_requests.ts";

/** What the log drives: server/state.ts. Never async, never calls out. */
export interface StateMachine {
  /** What callers see as the index of the last command applied; never below the log's. */
  readonly index: number;
  /**
   * Applies the command at this index of the log; what it returns goes to the proposer on this server. Throws
   * AssertionError only.
   */
  apply(index: number, command: Command): ApplyResult;
  /** The whole state as chunks of text, taken at once (records are immutable, so this is cheap to begin). */
  snapshot(): Iterable<string>;
  /** Replaces everything by a snapshot's chunks, taken after this index of the log. */
  restore(index: number, chunks: Iterable<string>): void;
  /** The same, chunk by chunk as they are read: a large state is then never in memory a second time as text. */
  restorer?(index: number): Restorer;
}

/** A state in the making; until `finish` the machine is as it was. */
export interface Restorer {
  add(chunk: string): void;
  finish(): void;
}

/** A command that a rule refuses (compare-and-set, namespace in use) is applied as a no-op and says why. */
export interface ApplyResult {
  refused?: { status: number; message: string };
  /** Whatever the command promises to give back. */
  value?: unknown;
  /** The command's request was applied before, as this says; nothing changed. */
  repeated?: RequestRow;
}

export interface LeaderInfo {
  id: string;
  /** host:port of its rpc listener. */
  rpcAddress: string;
  /** host:port of its HTTP API. */
  httpAddress: string;
}

export interface LogPeer extends LeaderInfo {
  voter: boolean;
  leader: boolean;
}

export interface ReplicatedLog {
  /** Loads the snapshot and the committed tail into the machine, then takes part in the cluster. */
  start(machine: StateMachine): Promise<void>;
  /**
   * `patient`: nobody waits for this one; it may stay some milliseconds to share a write to the disk with the next.
   * Rejects with NotLeaderError (nothing proposed, or its fate unknown when leadership was lost) or StorageError.
   */
  propose(command: Command, options?: { patient?: boolean }): Promise<{ index: number; result: ApplyResult }>;
  /** Resolves when this server is still leader and has applied all that was committed before the call. */
  barrier(): Promise<number>;
  readonly isLeader: boolean;
  /** Leadership is being given away, or just was: another server may lead without an election timeout's silence. */
  readonly handingOver: boolean;
  readonly term: number;
  /** Null while no leader is known. */
  readonly leader: LeaderInfo | null;
  /** Milliseconds since the leader was last heard, 0 on the leader itself. */
  readonly lastContactMs: number;
  peers(): LogPeer[];
  /** Called with true when this server has become leader and applied everything committed before, false when it lost it. */
  onLeadership(listener: (leading: boolean) => void): void;
  stats(): Record<string, number | string>;
  /** Handles a request to /v1/raft/… on the rpc listener. */
  handle(request: Request): Promise<Response>;
  stop(): Promise<void>;
}
