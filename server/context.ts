// What a running server offers to its HTTP routes and leader loops. server.ts builds it; tests build small ones.
import type { Clock, Random } from "../core/env.ts";
import type { AllocMetric, Evaluation, Job } from "../core/types.ts";
import type { ApplyResult, ReplicatedLog } from "./log.ts";
import type { Command, PlanResult } from "./commands.ts";
import type { Cluster } from "./cluster.ts";
import type { StateReader } from "./state_reader.ts";
import type { Watch } from "./watch.ts";
import type { EventBuffer } from "./events.ts";

/** Settings of the server block, resolved: durations in milliseconds. */
export interface ServerConfig {
  /** Stable id of this server (a UUID kept in its data dir). */
  id: string;
  /** `<name>.<region>` in members. */
  name: string;
  region: string;
  datacenter: string;
  dataDir: string | null;
  httpAddress: string;
  rpcAddress: string;
  serfAddress: string;
  bootstrapExpect: number;
  schedulers: number;
  enabledSchedulers: string[];
  heartbeatTtlMinMs: number;
  heartbeatGraceMs: number;
  heartbeatsPerSecondMax: number;
  heartbeatTtlFailoverMs: number;
  jobPriorityDefault: number;
  jobPriorityMax: number;
  jobCountMax: number;
  jobSourceMaxBytes: number;
  jobVersionsTracked: number;
  gc: {
    intervalMs: number;
    jobMs: number;
    evalMs: number;
    batchEvalMs: number;
    deploymentMs: number;
    nodeMs: number;
  };
  eventBufferSize: number;
  snapshotThreshold: number;
  snapshotIntervalMs: number;
  trailingLogs: number;
  schedulerConfig: Partial<import("../core/types.ts").SchedulerConfiguration>;
  /** This server stays a learner: it has all data and does not vote. */
  nonVoter?: boolean;
  /** What a new cluster's Autopilot starts with, where it is not Nomad's default. */
  autopilot?: Partial<import("../core/types.ts").AutopilotConfiguration>;
  /** Slows the log's clock down, 1 to 10: for servers that are far apart or slow. */
  raftMultiplier?: number;
}

/** The devices connected to this server. */
export interface Devices {
  connected(nodeId: string): boolean;
  /** The same, after a wait for a device that should be on its way here: this server leads since a moment only. */
  expected(nodeId: string): Promise<boolean>;
  /** A request to the device's own API over its connection; rejects with ApiError when it is not connected. */
  fetch(nodeId: string, request: Request): Promise<Response>;
}

/** What `job plan` wants: the same scheduler run over a hypothetical job, nothing written. */
export interface DryRun {
  plan: PlanResult | null;
  evaluation: Evaluation;
  failed: Record<string, AllocMetric>;
  createdEvals: Evaluation[];
}

export interface ServerContext {
  readonly cluster: Cluster;
  readonly config: ServerConfig;
  readonly state: StateReader;
  readonly log: ReplicatedLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly watch: Watch;
  readonly events: EventBuffer;
  readonly devices: Devices;
  /** Nanoseconds since 1970. */
  nowNs(): number;
  /**
   * Proposes one command and waits until it is durable and applied here. Throws ApiError with the refusal's status when a
   * rule refused it, NotLeaderError when this is not the leader, StorageError when the disk refused it.
   */
  propose(command: Command, options?: { patient?: boolean }): Promise<{ index: number; result: ApplyResult }>;
  /** The whole state as it is now, as text; it does not change while it is read. */
  snapshotState(): Iterable<string>;
  /** Replaces the state everywhere by what was staged under `id`; what others propose meanwhile is refused. */
  replaceState(staged: { id: string; blocks: number }): Promise<{ index: number }>;
  /** Runs the scheduler for `job` as if it were registered now. */
  dryRun(job: Job, options: { annotate: boolean }): DryRun;
  /** Runs all garbage collection now (`system gc`). */
  collectGarbage(): Promise<void>;
}
