// The whole state as chunks of text, and back. A chunk is one JSON object on a line's worth of text: a header first,
// then rows by kind. Allocations name their jobs by number and share resource objects inside a chunk, so a snapshot is
// small and restoring it gives back the same sharing.
//
// Invariants: taking a snapshot copies references only (records are immutable), the text is made while it is read.
// Chunks of a kind nobody knows are an error, missing kinds are empty: version 1 loads for ever.
import { AssertionError } from "../core/errors.ts";
import type {
  AllocatedResources,
  Allocation,
  AllocMetric,
  AutopilotConfiguration,
  Deployment,
  Evaluation,
  Job,
  Namespace,
  Node,
  NodePool,
  SchedulerConfiguration,
  ServiceRegistration,
} from "../core/types.ts";
import { NO_TRANSITION } from "../core/types.ts";
import { unpackBlock } from "../core/snapshot_codec.ts";
import { jobKey } from "./state_keys.ts";
import type { Table } from "./state_reader.ts";
import type { RequestRow } from "./state_requests.ts";
import { ResourceSharer } from "./state_resources.ts";
import type { JobRow, Tables } from "./state_tables.ts";
import { compactTaskStates, sparseTaskStates } from "./state_texts.ts";
import {
  account,
  indexDeployment,
  indexService,
  isClientTerminal,
  isOpen,
  isTerminal,
  placeNode,
} from "./state_write.ts";

export const SNAPSHOT_VERSION = 1;

/** Rows in one chunk. */
const CHUNK_ROWS = 1000;

type Chunk =
  /** `offset`: see Tables.indexOffset; missing for 0. */
  | { kind: "header"; version: number; index: number; indexes: [Table, number][]; offset?: number }
  | { kind: "staged"; id: string; blocks: string[] }
  | { kind: "jobs"; rows: JobRow[] }
  /** Versions that only allocations still know: `numbers[i]` is the number of `rows[i]`. */
  | { kind: "allocJobs"; rows: Job[]; first: number }
  | { kind: "nodes"; rows: Node[] }
  | { kind: "evals"; rows: Evaluation[] }
  | { kind: "deployments"; rows: Deployment[] }
  | { kind: "services"; rows: ServiceRegistration[] }
  /** Requests with an id. */
  | { kind: "requests"; rows: RequestRow[]; clocks: [number, number] }
  | {
    kind: "cluster";
    namespaces: Namespace[];
    pools: NodePool[];
    schedulerConfig: SchedulerConfiguration;
    /** Missing in snapshots of servers that knew no clusters. */
    autopilotConfig?: AutopilotConfiguration;
    clusterId?: string;
  }
  | { kind: "allocs"; resources: AllocatedResources[]; metrics: AllocMetric[]; rows: AllocRow[] };

/** An allocation with its shared objects as positions; what its job tells and what says nothing is left out. */
type AllocRow =
  & Partial<Omit<Allocation, "Job" | "AllocatedResources" | "Metrics">>
  & Pick<Allocation, "ID">
  & { job: number; resources: number; metrics: number };

export function takeSnapshot(tables: Tables, index: number): Iterable<string> {
  // References are copied now; what is made of them later cannot change any more.
  const taken = {
    header: {
      kind: "header",
      version: SNAPSHOT_VERSION,
      index,
      indexes: [...tables.indexes],
      ...(tables.indexOffset > 0 ? { offset: tables.indexOffset } : {}),
    } as Chunk,
    staged: tables.staged && { id: tables.staged.id, blocks: [...tables.staged.blocks] },
    cluster: {
      kind: "cluster",
      namespaces: [...tables.namespaces.values()],
      pools: [...tables.pools.values()],
      schedulerConfig: tables.schedulerConfig,
      autopilotConfig: tables.autopilotConfig,
      clusterId: tables.clusterId,
    } as Chunk,
    jobs: [...tables.jobs.values()],
    nodes: [...tables.nodes.values()],
    evals: [...tables.evals.values()],
    deployments: [...tables.deployments.values()],
    services: [...tables.services.values()],
    requests: { rows: tables.requests.rows(), clocks: tables.requests.clocks },
    allocs: tables.allocs.toArray(),
  };
  return writeChunks(taken);
}

interface Taken {
  header: Chunk;
  staged: { id: string; blocks: string[] } | null;
  cluster: Chunk;
  jobs: JobRow[];
  nodes: Node[];
  evals: Evaluation[];
  deployments: Deployment[];
  services: ServiceRegistration[];
  requests: { rows: RequestRow[]; clocks: [number, number] };
  allocs: Allocation[];
}

function* writeChunks(taken: Taken): Iterable<string> {
  yield JSON.stringify(taken.header);
  yield JSON.stringify(taken.cluster);
  for (const block of taken.staged?.blocks ?? []) {
    yield text({ kind: "staged", id: taken.staged!.id, blocks: [block] });
  }
  for (const rows of slices(taken.jobs)) yield text({ kind: "jobs", rows });
  for (const rows of slices(taken.nodes)) yield text({ kind: "nodes", rows });
  for (const rows of slices(taken.evals)) yield text({ kind: "evals", rows });
  for (const rows of slices(taken.deployments)) yield text({ kind: "deployments", rows });
  const numbers = new Map<Job, number>();
  for (const allocs of slices(taken.allocs)) {
    const first = numbers.size;
    for (const { Job: job } of allocs) if (!numbers.has(job)) numbers.set(job, numbers.size);
    if (numbers.size > first) {
      yield text({ kind: "allocJobs", first, rows: [...numbers.keys()].slice(first) });
    }
    yield text(packAllocs(allocs, numbers));
  }
  for (const rows of slices(taken.services)) yield text({ kind: "services", rows });
  const { rows: requests, clocks } = taken.requests;
  for (const rows of slices(requests)) yield text({ kind: "requests", rows, clocks });
  // Also without rows: what is let go of next depends on the time that was seen.
  if (requests.length === 0 && Math.max(...clocks) > 0) yield text({ kind: "requests", rows: [], clocks });
}

function text(chunk: Chunk): string {
  return JSON.stringify(chunk);
}

function* slices<T>(rows: readonly T[]): Iterable<T[]> {
  for (let i = 0; i < rows.length; i += CHUNK_ROWS) yield rows.slice(i, i + CHUNK_ROWS);
}

/** Fields of an allocation that a row holds as they are, unless they say nothing. */
const PLAIN_FIELDS = [
  "EvalID",
  "Name",
  "NodeID",
  "NodeName",
  "TaskGroup",
  "DesiredStatus",
  "DesiredDescription",
  "DesiredTransition",
  "ClientStatus",
  "ClientDescription",
  "NetworkStatus",
  "DeploymentID",
  "DeploymentStatus",
  "PreviousAllocation",
  "NextAllocation",
  "RescheduleTracker",
  "FollowupEvalID",
  "PreemptedByAllocation",
  "PreemptedAllocations",
  "AllocStates",
  "SigningKeyID",
  "CreateIndex",
  "ModifyIndex",
  "AllocModifyIndex",
  "CreateTime",
  "ModifyTime",
] as const satisfies readonly (keyof Allocation)[];

/** The compiler's proof that no field of an allocation is forgotten above. */
type Forgotten = Exclude<
  keyof Allocation,
  | typeof PLAIN_FIELDS[number]
  | "ID"
  | "Job"
  | "Namespace"
  | "JobID"
  | "AllocatedResources"
  | "Metrics"
  | "TaskStates"
>;
const NONE_FORGOTTEN: [Forgotten] extends [never] ? true : Forgotten = true;
void NONE_FORGOTTEN;

function packAllocs(allocs: readonly Allocation[], jobs: ReadonlyMap<Job, number>): Chunk {
  const resources = new Map<AllocatedResources, number>();
  const metrics = new Map<AllocMetric, number>();
  const rows = allocs.map((alloc) => {
    const row: Record<string, unknown> = {
      ID: alloc.ID,
      job: jobs.get(alloc.Job)!,
      resources: numberOf(resources, alloc.AllocatedResources),
      metrics: alloc.Metrics ? numberOf(metrics, alloc.Metrics) : -1,
    };
    for (const key of PLAIN_FIELDS) {
      const value = alloc[key];
      if (value !== null && value !== "" && value !== NO_TRANSITION) row[key] = value;
    }
    if (alloc.TaskStates) row["TaskStates"] = sparseTaskStates(alloc.TaskStates);
    return row as AllocRow;
  });
  return { kind: "allocs", resources: [...resources.keys()], metrics: [...metrics.keys()], rows };
}

function numberOf<T>(numbers: Map<T, number>, value: T): number {
  let number = numbers.get(value);
  if (number === undefined) numbers.set(value, number = numbers.size);
  return number;
}

/** Fills empty tables from a saved state's blocks in base64; gives back its index. Throws what is wrong with it. */
export function loadBlocks(tables: Tables, blocks: readonly string[]): number {
  const loader = new SnapshotLoader(tables);
  for (const block of blocks) {
    for (const chunk of unpackBlock(Buffer.from(block, "base64"))) loader.add(chunk);
  }
  return loader.finish();
}

const KINDS: readonly string[] = [
  "header",
  "cluster",
  "staged",
  "jobs",
  "allocJobs",
  "nodes",
  "evals",
  "deployments",
  "services",
  "requests",
  "allocs",
] satisfies Chunk["kind"][];

/** What is wrong with one chunk by itself, "" for nothing. Chunk 0 is the header. */
export function chunkProblem(text: string, position: number): string {
  const chunk = JSON.parse(text) as { kind?: unknown; version?: unknown } | null;
  const kind = String(chunk?.kind);
  if ((position === 0) !== (kind === "header")) return "it does not begin with its header";
  if (!KINDS.includes(kind)) {
    return `it holds rows of kind ${JSON.stringify(kind)}: it was saved by a newer version`;
  }
  if (position > 0) return "";
  const version = Number(chunk?.version);
  return version >= 1 && version <= SNAPSHOT_VERSION
    ? ""
    : `it has version ${version}, this server reads up to ${SNAPSHOT_VERSION}: upgrade the servers`;
}

/** Fills empty tables from chunks in their order; `finish` gives the index of the snapshot. */
export class SnapshotLoader {
  #index: number | null = null;
  #jobs: Job[] = [];
  #sharer = new ResourceSharer();
  #ids = new Map<string, string>();

  constructor(private readonly tables: Tables) {}

  add(text: string): void {
    this.#load(JSON.parse(text) as Chunk);
  }

  #load(chunk: Chunk): void {
    const { tables } = this;
    switch (chunk.kind) {
      case "header":
        return this.#header(chunk);
      case "staged":
        if (tables.staged) tables.staged.blocks.push(...chunk.blocks);
        else tables.staged = { id: chunk.id, blocks: chunk.blocks };
        return;
      case "cluster":
        tables.namespaces.clear();
        tables.pools.clear();
        for (const namespace of chunk.namespaces) tables.namespaces.set(namespace.Name, namespace);
        for (const pool of chunk.pools) tables.pools.set(pool.Name, pool);
        tables.schedulerConfig = chunk.schedulerConfig;
        tables.autopilotConfig = chunk.autopilotConfig ?? tables.autopilotConfig;
        tables.clusterId = chunk.clusterId ?? "";
        return;
      case "jobs":
        for (const row of chunk.rows) this.#job(row);
        return;
      case "nodes":
        for (const node of chunk.rows) placeNode(tables, node);
        return;
      case "evals":
        for (const evaluation of chunk.rows) this.#eval(evaluation);
        return;
      case "deployments":
        for (const deployment of chunk.rows) indexDeployment(tables, deployment);
        return;
      case "services":
        for (const service of chunk.rows) indexService(tables, service);
        return;
      case "requests":
        for (const row of chunk.rows) tables.requests.add(row);
        tables.requests.clocks = chunk.clocks;
        return;
      case "allocJobs":
        chunk.rows.forEach((job, i) => this.#jobs[chunk.first + i] = this.#sameJob(job));
        return;
      case "allocs": {
        const resources = chunk.resources.map((own) => this.#sharer.share(own));
        for (const row of chunk.rows) this.#alloc(row, resources, chunk.metrics);
        return;
      }
      default:
        throw new AssertionError(
          `Snapshot holds rows of kind ${JSON.stringify((chunk as { kind: string }).kind)}: ` +
            "it was written by a newer version; upgrade this server",
        );
    }
  }

  #header(chunk: Extract<Chunk, { kind: "header" }>): void {
    if (chunk.version > SNAPSHOT_VERSION) {
      throw new AssertionError(
        `Snapshot has version ${chunk.version}, this server reads up to ${SNAPSHOT_VERSION}; upgrade this server`,
      );
    }
    this.#index = chunk.index;
    this.tables.indexOffset = chunk.offset ?? 0;
    this.tables.indexes.clear();
    for (const [table, index] of chunk.indexes) this.tables.indexes.set(table, index);
  }

  #job(row: JobRow): void {
    // The newest version and the job are one record.
    const versions = [row.job, ...row.versions.slice(1)];
    this.tables.setJobRow(jobKey(row.job.Namespace, row.job.ID), { ...row, versions });
  }

  #eval(evaluation: Evaluation): void {
    this.tables.evals.set(evaluation.ID, evaluation);
    const work = this.tables.workOf(jobKey(evaluation.Namespace, evaluation.JobID));
    work.evals.add(evaluation.ID);
    if (isOpen(evaluation)) work.openEvals++;
    if (evaluation.Status === "blocked") work.blocked.add(evaluation.ID);
  }

  /** The kept version when it is the same record, so that allocations share it with the job's row. */
  #sameJob(job: Job): Job {
    const row = this.tables.jobs.get(jobKey(job.Namespace, job.ID));
    const known = row?.versions.find((v) => v.Version === job.Version && v.CreateIndex === job.CreateIndex);
    return known && known.ModifyIndex === job.ModifyIndex && known.Status === job.Status ? known : job;
  }

  #alloc(row: AllocRow, resources: AllocatedResources[], metrics: AllocMetric[]): void {
    const job = this.#jobs[row.job]!;
    const group = job.TaskGroups.find((group) => group.Name === row.TaskGroup);
    const node = this.tables.nodes.get(row.NodeID ?? "");
    const alloc: Allocation = {
      ID: row.ID,
      Namespace: job.Namespace,
      EvalID: this.#id(row.EvalID),
      Name: row.Name ?? "",
      NodeID: node ? node.ID : row.NodeID ?? "",
      NodeName: node && node.Name === row.NodeName ? node.Name : row.NodeName ?? "",
      JobID: job.ID,
      Job: job,
      TaskGroup: group ? group.Name : row.TaskGroup ?? "",
      AllocatedResources: resources[row.resources]!,
      Metrics: metrics[row.metrics] ?? null,
      DesiredStatus: row.DesiredStatus ?? "run",
      DesiredDescription: this.#id(row.DesiredDescription),
      DesiredTransition: row.DesiredTransition ?? NO_TRANSITION,
      ClientStatus: row.ClientStatus ?? "pending",
      ClientDescription: this.#id(row.ClientDescription),
      TaskStates: compactTaskStates(row.TaskStates ?? null),
      NetworkStatus: row.NetworkStatus ?? null,
      DeploymentID: this.#id(row.DeploymentID),
      DeploymentStatus: row.DeploymentStatus ?? null,
      PreviousAllocation: row.PreviousAllocation ?? "",
      NextAllocation: row.NextAllocation ?? "",
      RescheduleTracker: row.RescheduleTracker ?? null,
      FollowupEvalID: row.FollowupEvalID ?? "",
      PreemptedByAllocation: row.PreemptedByAllocation ?? "",
      PreemptedAllocations: row.PreemptedAllocations ?? null,
      AllocStates: row.AllocStates ?? null,
      SigningKeyID: row.SigningKeyID ?? "",
      CreateIndex: row.CreateIndex ?? 0,
      ModifyIndex: row.ModifyIndex ?? 0,
      AllocModifyIndex: row.AllocModifyIndex ?? 0,
      CreateTime: row.CreateTime ?? 0,
      ModifyTime: row.ModifyTime ?? 0,
    };
    this.#place(alloc);
  }

  #place(alloc: Allocation): void {
    const { tables } = this;
    tables.allocs.insert(alloc);
    if (!isTerminal(alloc)) tables.workOf(jobKey(alloc.Namespace, alloc.JobID)).openAllocs++;
    else tables.workOf(jobKey(alloc.Namespace, alloc.JobID));
    if (!isClientTerminal(alloc)) account(tables, alloc, 1);
  }

  /** Ids and texts that thousands of rows repeat, one copy each. */
  #id(value: string | undefined): string {
    if (!value) return "";
    const known = this.#ids.get(value);
    if (known !== undefined) return known;
    this.#ids.set(value, value);
    return value;
  }

  finish(): number {
    if (this.#index === null) {
      throw new AssertionError("Snapshot has no header: it is cut off or not a snapshot");
    }
    return this.#index;
  }
}
