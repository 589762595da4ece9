// The tables of the shared state and what is derived from them: indexes, counters, the nodes' columns. Only the apply
// functions (state_*.ts) write here, through the methods of Write (state_write.ts); everything else reads through
// StateReader.
//
// Invariant: everything in Derived can be rebuilt from the rows alone; restoring a snapshot does exactly that.
import type {
  AutopilotConfiguration,
  Deployment,
  Evaluation,
  Job,
  JobSubmission,
  JobSummary,
  Namespace,
  Node,
  NodePool,
  SchedulerConfiguration,
  ServiceRegistration,
} from "../core/types.ts";
import { AllocTable } from "./alloc_table.ts";
import type { ScalingEvent } from "./commands.ts";
import { NodeTable } from "./node_table.ts";
import { SortedKeys } from "./sorted_keys.ts";
import { jobKey } from "./state_keys.ts";
import type { Table } from "./state_reader.ts";
import { RequestTable } from "./state_requests.ts";

export interface StateOptions {
  /** Untagged versions kept of every job. The same on all servers. */
  jobVersionsTracked: number;
  region: string;
}

/** All that is kept of one registered job. Replaced whole, never changed in place. */
export interface JobRow {
  readonly job: Job;
  /** Newest first; the first is `job`. */
  readonly versions: readonly Job[];
  readonly submissions: readonly JobSubmission[];
  readonly summary: JobSummary;
  /** By group, newest first. */
  readonly scaling: Readonly<Record<string, readonly ScalingEvent[]>>;
  readonly launchMs: number | null;
}

/** What is open for a job name: outlives the job's row, because evaluations do. */
export interface JobWork {
  /** Allocations that are not terminal. */
  openAllocs: number;
  /** Evaluations that are not terminal. */
  openEvals: number;
  readonly evals: Set<string>;
  /** Those of them that are blocked. */
  readonly blocked: Set<string>;
}

export class Tables {
  readonly jobs = new Map<string, JobRow>();
  readonly nodes = new Map<string, Node>();
  readonly allocs = new AllocTable();
  readonly evals = new Map<string, Evaluation>();
  readonly deployments = new Map<string, Deployment>();
  readonly namespaces = new Map<string, Namespace>();
  readonly pools = new Map<string, NodePool>();
  readonly services = new Map<string, ServiceRegistration>();
  schedulerConfig: SchedulerConfiguration = DEFAULT_SCHEDULER_CONFIG;
  autopilotConfig: AutopilotConfiguration = DEFAULT_AUTOPILOT_CONFIG;
  clusterId = "";
  readonly requests = new RequestTable();
  /** A saved state on its way in: its blocks in base64, in their order. */
  staged: { id: string; blocks: string[] } | null = null;
  /** What a restored state's indexes are ahead of the log's: they never go back. */
  indexOffset = 0;
  /** Index of the last change of each table. */
  readonly indexes = new Map<Table, number>();

  // Derived from here on.
  readonly jobKeys = new SortedKeys();
  /** Keys of children by key of the parent. */
  readonly children = new Map<string, Set<string>>();
  readonly systemJobs = new Set<string>();
  readonly work = new Map<string, JobWork>();
  /** Oldest first. */
  readonly deploymentsByJob = new Map<string, string[]>();
  readonly servicesByName = new Map<string, Set<string>>();
  readonly servicesByAlloc = new Map<string, Set<string>>();
  readonly nodeTable = new NodeTable();
  /** Counts the changes that can alter which nodes are ready. */
  nodesGeneration = 0;

  constructor(readonly options: StateOptions) {
    for (const table of ["namespaces", "node_pools", "scheduler_config"] as const) this.indexes.set(table, 1);
    this.namespaces.set("default", DEFAULT_NAMESPACE);
    for (const pool of BUILTIN_POOLS) this.pools.set(pool.Name, pool);
  }

  workOf(key: string): JobWork {
    let work = this.work.get(key);
    if (work === undefined) {
      work = { openAllocs: 0, openEvals: 0, evals: new Set(), blocked: new Set() };
      this.work.set(key, work);
    }
    return work;
  }

  /** Forgets a job name of which nothing is left. */
  dropWork(key: string): void {
    const work = this.work.get(key);
    if (work && work.evals.size === 0 && !this.allocs.hasJob(key) && !this.jobs.has(key)) {
      this.work.delete(key);
    }
  }

  setJobRow(key: string, row: JobRow): void {
    if (!this.jobs.has(key)) this.#indexJob(key, row.job);
    this.jobs.set(key, row);
    if (row.job.Type === "system" || row.job.Type === "sysbatch") this.systemJobs.add(key);
    else this.systemJobs.delete(key);
  }

  deleteJobRow(key: string): void {
    const row = this.jobs.get(key);
    if (!row) return;
    this.jobs.delete(key);
    this.systemJobs.delete(key);
    this.jobKeys.delete(key);
    if (row.job.ParentID) {
      removeFrom(this.children, jobKey(row.job.Namespace, row.job.ParentID), key);
    }
  }

  #indexJob(key: string, job: Job): void {
    this.jobKeys.add(key);
    if (job.ParentID) addTo(this.children, jobKey(job.Namespace, job.ParentID), key);
  }
}

export function addTo(index: Map<string, Set<string>>, key: string, value: string): void {
  const set = index.get(key);
  if (set) set.add(value);
  else index.set(key, new Set([value]));
}

export function removeFrom(index: Map<string, Set<string>>, key: string, value: string): void {
  const set = index.get(key);
  if (!set) return;
  set.delete(value);
  if (set.size === 0) index.delete(key);
}

const DAY_NS = 86_400e9;

export const DEFAULT_SCHEDULER_CONFIG: SchedulerConfiguration = {
  SchedulerAlgorithm: "binpack",
  PreemptionConfig: {
    SystemSchedulerEnabled: true,
    SysBatchSchedulerEnabled: false,
    BatchSchedulerEnabled: false,
    ServiceSchedulerEnabled: false,
  },
  MemoryOversubscriptionEnabled: false,
  RejectJobRegistration: false,
  PauseEvalBroker: false,
  NodeLimitForFeasibilityChecks: 0,
  CreateIndex: 1,
  ModifyIndex: 1,
};

export const DEFAULT_AUTOPILOT_CONFIG: AutopilotConfiguration = {
  CleanupDeadServers: true,
  LastContactThreshold: 200e6,
  MaxTrailingLogs: 250,
  MinQuorum: 0,
  ServerStabilizationTime: 10e9,
  EnableRedundancyZones: false,
  DisableUpgradeMigration: false,
  EnableCustomUpgrades: false,
  CreateIndex: 0,
  ModifyIndex: 0,
};

const DEFAULT_NAMESPACE: Namespace = {
  Name: "default",
  Description: "Default shared namespace",
  Quota: "",
  Capabilities: null,
  NodePoolConfiguration: null,
  VaultConfiguration: null,
  ConsulConfiguration: null,
  Meta: null,
  CreateIndex: 1,
  ModifyIndex: 1,
};

const BUILTIN_POOLS: NodePool[] = [
  { name: "all", description: "Node pool with all nodes in the cluster." },
  { name: "default", description: "Default node pool." },
].map(({ name, description }) => ({
  Name: name,
  Description: description,
  Meta: null,
  NodeIdentityTTL: DAY_NS,
  SchedulerConfiguration: null,
  CreateIndex: 1,
  ModifyIndex: 1,
}));
