// One command's writes: the only door to the tables. It keeps indexes, job summaries, the nodes' usage columns and the
// counters in step with every row, gathers what changed, and derives job statuses once at the end. Rules about what a
// command means stand in the state_*.ts files that use it; nothing here refuses anything.
//
// Invariants: a record is written whole and never changed afterwards; until `finish`, summaries and deployments that
// this command touches are private copies, changed in place, so that a thousand placements copy each of them once.
import { assert } from "../core/assert.ts";
import type {
  Allocation,
  Deployment,
  Evaluation,
  Job,
  JobSummary,
  Namespace,
  Node,
  NodePool,
  ServiceRegistration,
  TaskGroupSummary,
} from "../core/types.ts";
import { demandOf } from "./demand.ts";
import { isReady } from "./node_table.ts";
import { deriveJobStatus } from "./state_status.ts";
import { jobKey } from "./state_keys.ts";
import { type Changes, emptyChanges, type Table } from "./state_reader.ts";
import { addTo, type JobRow, removeFrom, type Tables } from "./state_tables.ts";

export class Write {
  readonly changes: Changes;
  #jobs = new Map<string, { before: Job["Status"] | null }>();
  #evalsDeleted = new Set<string>();
  #summaries = new Map<string, JobSummary>();
  #deployments = new Map<string, Deployment>();
  #nodes = new Map<string, Node>();
  #reportedNodes = new Set<string>();
  #allocs = new Map<string, Allocation>();
  #clientAllocs = new Map<string, Allocation>();
  #evals = new Map<string, Evaluation>();
  #jobRecords = new Set<string>();
  #lastDerived = "";

  /** `time`: nanoseconds since 1970 of the proposer, 0 where the command has none. */
  constructor(readonly tables: Tables, readonly index: number, readonly time: number) {
    this.changes = emptyChanges(index);
  }

  touch(table: Table): void {
    this.changes.tables.add(table);
  }

  // --- Jobs ----------------------------------------------------------------------------------------------------

  putJob(key: string, row: JobRow): void {
    this.derive(key);
    this.tables.setJobRow(key, row);
    this.#jobRecords.add(key);
    this.touch("jobs");
  }

  /** Changes of a job's row that are not changes of the job (submissions, scaling events, launches). */
  putJobRow(key: string, row: JobRow): void {
    this.tables.setJobRow(key, row);
  }

  removeJob(key: string): void {
    const row = this.tables.jobs.get(key);
    if (!row) return;
    if (row.job.ParentID) this.#countChild(row.job, row.job.Status, "dead");
    this.tables.deleteJobRow(key);
    this.#summaries.delete(key);
    this.#jobRecords.delete(key);
    this.changes.removedJobs.push(row.job);
    for (const table of ["jobs", "job_versions", "job_summary", "job_submission"] as const) this.touch(table);
  }

  /** The job's status is derived again when the command ends. */
  derive(key: string): void {
    if (key === this.#lastDerived) return;
    this.#lastDerived = key;
    if (this.#jobs.has(key)) return;
    this.#jobs.set(key, { before: this.tables.jobs.get(key)?.job.Status ?? null });
  }

  /** The summary as this command may change it, or undefined for a job that is not registered. */
  summary(key: string): JobSummary | undefined {
    const own = this.#summaries.get(key);
    if (own) return own;
    const row = this.tables.jobs.get(key);
    if (!row) return undefined;
    const { summary } = row;
    const groups: Record<string, TaskGroupSummary> = {};
    for (const name in summary.Summary) groups[name] = { ...summary.Summary[name]! };
    const copy: JobSummary = {
      ...summary,
      Summary: groups,
      Children: summary.Children ? { ...summary.Children } : { Pending: 0, Running: 0, Dead: 0 },
    };
    this.#summaries.set(key, copy);
    return copy;
  }

  // --- Allocations ---------------------------------------------------------------------------------------------

  insertAlloc(alloc: Allocation): void {
    this.tables.allocs.insert(alloc);
    this.#account(undefined, alloc);
    this.changes.allocs.push(alloc);
  }

  /** A new record of an allocation. `byDevice`: only what the device reported changed. */
  replaceAlloc(old: Allocation, alloc: Allocation, byDevice = false): void {
    this.tables.allocs.replace(alloc);
    this.#account(old, alloc);
    if (byDevice && !this.#allocs.has(alloc.ID)) {
      this.#clientAllocs.set(alloc.ID, alloc);
    } else {
      this.#clientAllocs.delete(alloc.ID);
      this.#allocs.set(alloc.ID, alloc);
    }
  }

  removeAlloc(id: string): void {
    const alloc = this.tables.allocs.remove(id);
    if (!alloc) return;
    const key = jobKey(alloc.Namespace, alloc.JobID);
    if (!isTerminal(alloc)) this.tables.workOf(key).openAllocs--;
    if (!isClientTerminal(alloc)) account(this.tables, alloc, -1);
    this.#allocs.delete(id);
    this.#clientAllocs.delete(id);
    this.removeServicesOf(id);
    this.changes.removedAllocs.push(alloc);
    this.touch("allocs");
    this.derive(key);
    this.tables.dropWork(key);
  }

  #account(old: Allocation | undefined, alloc: Allocation): void {
    this.touch("allocs");
    const key = jobKey(alloc.Namespace, alloc.JobID);
    const open = isTerminal(alloc) ? 0 : 1;
    const wasOpen = old && !isTerminal(old) ? 1 : 0;
    if (open !== wasOpen || !old) {
      this.tables.workOf(key).openAllocs += open - wasOpen;
      this.derive(key);
    }
    const uses = !isClientTerminal(alloc);
    const used = old !== undefined && !isClientTerminal(old);
    if (uses !== used || (uses && old!.AllocatedResources !== alloc.AllocatedResources)) {
      if (used) account(this.tables, old, -1);
      if (uses) account(this.tables, alloc, 1);
    }
    if (old?.ClientStatus !== alloc.ClientStatus) this.#countAlloc(key, old, alloc);
  }

  /** Counters only go up for finished allocations: they tell the job's history, collected ones included. */
  #countAlloc(key: string, old: Allocation | undefined, alloc: Allocation): void {
    const group = this.summary(key)?.Summary[alloc.TaskGroup];
    if (!group) return;
    if (old) {
      const before = SUMMARY_FIELD[old.ClientStatus];
      if (before !== "Complete" && before !== "Failed" && group[before] > 0) group[before]--;
    } else if (group.Queued > 0) {
      group.Queued--;
    }
    group[SUMMARY_FIELD[alloc.ClientStatus]]++;
  }

  // --- Evaluations ---------------------------------------------------------------------------------------------

  /** Stamps and writes an evaluation; its queued counts go into the job's summary. */
  putEval(evaluation: Evaluation): Evaluation {
    const old = this.tables.evals.get(evaluation.ID);
    const record: Evaluation = {
      ...evaluation,
      CreateIndex: old ? old.CreateIndex : this.index,
      ModifyIndex: this.index,
      CreateTime: old?.CreateTime || evaluation.CreateTime || this.time,
      ModifyTime: this.time || evaluation.ModifyTime,
    };
    const key = jobKey(record.Namespace, record.JobID);
    this.tables.evals.set(record.ID, record);
    const work = this.tables.workOf(key);
    work.evals.add(record.ID);
    if (record.Status === "blocked") work.blocked.add(record.ID);
    else work.blocked.delete(record.ID);
    work.openEvals += Number(isOpen(record)) - Number(old !== undefined && isOpen(old));
    this.#evals.set(record.ID, record);
    this.touch("evals");
    this.derive(key);
    // What a cancelled evaluation waited for is told by the one that made it needless.
    if (record.Status !== "canceled") this.#countQueued(key, record);
    return record;
  }

  removeEval(id: string): void {
    const old = this.tables.evals.get(id);
    if (!old) return;
    const key = jobKey(old.Namespace, old.JobID);
    const work = this.tables.workOf(key);
    this.tables.evals.delete(id);
    work.evals.delete(id);
    work.blocked.delete(id);
    if (isOpen(old)) work.openEvals--;
    this.#evals.delete(id);
    this.changes.removedEvals.push(id);
    this.touch("evals");
    this.derive(key);
    this.#evalsDeleted.add(key);
    this.tables.dropWork(key);
  }

  #countQueued(key: string, evaluation: Evaluation): void {
    const queued = evaluation.QueuedAllocations;
    if (!queued) return;
    const row = this.tables.jobs.get(key);
    if (!row) return;
    for (const group in queued) {
      const known = (this.#summaries.get(key) ?? row.summary).Summary[group];
      if (known && known.Queued !== queued[group]) this.summary(key)!.Summary[group]!.Queued = queued[group]!;
    }
  }

  // --- Deployments ---------------------------------------------------------------------------------------------

  /** The deployment as this command may change it, or undefined when there is none. */
  deployment(id: string): Deployment | undefined {
    const own = this.#deployments.get(id);
    if (own) return own;
    const known = this.tables.deployments.get(id);
    if (!known) return undefined;
    const copy = copyDeployment(known);
    this.#deployments.set(id, copy);
    return copy;
  }

  /** A deployment from outside: a new one, or a whole replacement. */
  putDeployment(deployment: Deployment): void {
    const old = this.tables.deployments.get(deployment.ID);
    const copy = copyDeployment(deployment);
    copy.CreateIndex = old ? old.CreateIndex : this.index;
    copy.CreateTime = old?.CreateTime || deployment.CreateTime || this.time;
    this.#deployments.set(copy.ID, copy);
  }

  removeDeployment(id: string): void {
    const old = this.tables.deployments.get(id);
    if (!old) return;
    this.tables.deployments.delete(id);
    this.#deployments.delete(id);
    const key = jobKey(old.Namespace, old.JobID);
    const ids = this.tables.deploymentsByJob.get(key) ?? [];
    const left = ids.filter((other) => other !== id);
    if (left.length > 0) this.tables.deploymentsByJob.set(key, left);
    else this.tables.deploymentsByJob.delete(key);
    this.changes.removedDeployments.push(id);
    this.derive(key);
    this.touch("deployment");
  }

  #flushDeployments(): void {
    for (const deployment of this.#deployments.values()) {
      deployment.ModifyIndex = this.index;
      if (this.time) deployment.ModifyTime = this.time;
      this.derive(jobKey(deployment.Namespace, deployment.JobID));
      indexDeployment(this.tables, deployment);
      this.changes.deployments.push(deployment);
      this.touch("deployment");
    }
  }

  // --- Nodes ---------------------------------------------------------------------------------------------------

  putNode(node: Node): void {
    placeNode(this.tables, node);
    this.#nodes.set(node.ID, node);
    this.touch("nodes");
  }

  removeNode(id: string): void {
    const node = this.tables.nodes.get(id);
    if (!node) return;
    this.tables.nodes.delete(id);
    this.tables.nodeTable.remove(id);
    this.tables.nodesGeneration++;
    this.#nodes.delete(id);
    this.changes.removedNodes.push(node);
    this.touch("nodes");
  }

  /** The node reported on its allocations. */
  reported(nodeId: string): void {
    this.#reportedNodes.add(nodeId);
  }

  #flushNodes(): void {
    for (const id of this.#reportedNodes) {
      const node = this.tables.nodes.get(id);
      if (!node) continue;
      const record = { ...node, LastAllocUpdateIndex: this.index };
      this.tables.nodes.set(id, record);
      this.tables.nodeTable.refresh(record);
      if (this.#nodes.has(id)) this.#nodes.set(id, record);
      else this.changes.reportedNodes.push(record);
    }
    for (const node of this.#nodes.values()) this.changes.nodes.push(node);
  }

  // --- Services, namespaces, pools -----------------------------------------------------------------------------

  putService(service: ServiceRegistration): void {
    const old = this.tables.services.get(service.ID);
    const record = { ...service, CreateIndex: old ? old.CreateIndex : this.index, ModifyIndex: this.index };
    if (old) unindexService(this.tables, old);
    indexService(this.tables, record);
    this.changes.services.push(record);
    this.touch("service_registrations");
  }

  removeService(id: string): boolean {
    const old = this.tables.services.get(id);
    if (!old) return false;
    this.tables.services.delete(id);
    unindexService(this.tables, old);
    this.changes.removedServices.push(old);
    this.touch("service_registrations");
    return true;
  }

  removeServicesOf(allocId: string): void {
    const ids = this.tables.servicesByAlloc.get(allocId);
    if (ids) { for (const id of [...ids]) this.removeService(id); }
  }

  putNamespace(namespace: Namespace): void {
    const old = this.tables.namespaces.get(namespace.Name);
    const record = { ...namespace, CreateIndex: old ? old.CreateIndex : this.index, ModifyIndex: this.index };
    this.tables.namespaces.set(record.Name, record);
    this.changes.namespaces.push(record);
    this.touch("namespaces");
  }

  putPool(pool: NodePool): void {
    const old = this.tables.pools.get(pool.Name);
    const record = { ...pool, CreateIndex: old ? old.CreateIndex : this.index, ModifyIndex: this.index };
    this.tables.pools.set(record.Name, record);
    this.changes.nodePools.push(record);
    this.touch("node_pools");
  }

  // --- The end -------------------------------------------------------------------------------------------------

  /** Derives statuses, publishes the private copies, moves the tables' indexes. */
  finish(): Changes {
    const { changes, tables } = this;
    this.#flushDeployments();
    for (const [key, { before }] of this.#jobs) this.#deriveStatus(key, before);
    for (const key of this.#jobRecords) changes.jobs.push(tables.jobs.get(key)!.job);
    for (const [key, summary] of this.#summaries) {
      const row = tables.jobs.get(key);
      assert(row !== undefined, `summary of job ${key} without the job`);
      summary.ModifyIndex = this.index;
      tables.setJobRow(key, { ...row, summary });
      changes.summaries.push(summary);
      this.touch("job_summary");
    }
    this.#flushNodes();
    // One by one: a command may change more records than a call takes arguments.
    for (const alloc of this.#allocs.values()) changes.allocs.push(alloc);
    for (const alloc of this.#clientAllocs.values()) changes.clientAllocs.push(alloc);
    for (const evaluation of this.#evals.values()) changes.evals.push(evaluation);
    for (const table of changes.tables) tables.indexes.set(table, this.index);
    return changes;
  }

  #deriveStatus(key: string, before: Job["Status"] | null): void {
    const row = this.tables.jobs.get(key);
    if (!row) return;
    const { job } = row;
    const status = deriveJobStatus(this.tables, key, job, this.#evalsDeleted.has(key));
    if (status !== job.Status) {
      const record = { ...job, Status: status, ModifyIndex: this.index };
      this.tables.setJobRow(key, { ...row, job: record, versions: [record, ...row.versions.slice(1)] });
      this.#jobRecords.add(key);
      this.touch("jobs");
    }
    if (status !== before) this.#countChild(job, before, status);
  }

  #countChild(job: Job, before: Job["Status"] | null, after: Job["Status"]): void {
    if (!job.ParentID) return;
    const children = this.summary(jobKey(job.Namespace, job.ParentID))?.Children;
    if (!children) return;
    if (before === after) return;
    if (before !== null) children[CHILD_FIELD[before]] = Math.max(0, children[CHILD_FIELD[before]] - 1);
    children[CHILD_FIELD[after]]++;
  }
}

/** Whether the servers count on nothing more of the allocation: they stopped it, or it ended. */
export function isTerminal(alloc: Allocation): boolean {
  return alloc.DesiredStatus !== "run" || isClientTerminal(alloc);
}

/** Whether the allocation has ended on its node, so that its room is free. */
export function isClientTerminal(alloc: Allocation): boolean {
  const status = alloc.ClientStatus;
  return status === "complete" || status === "failed" || status === "lost";
}

/** Whether an evaluation is still to be worked on (blocked ones are). */
export function isOpen(evaluation: Evaluation): boolean {
  return evaluation.Status === "pending" || evaluation.Status === "blocked";
}

export const SUMMARY_FIELD = {
  pending: "Starting",
  running: "Running",
  complete: "Complete",
  failed: "Failed",
  lost: "Lost",
  unknown: "Unknown",
} as const satisfies Record<Allocation["ClientStatus"], keyof TaskGroupSummary>;

const CHILD_FIELD = { pending: "Pending", running: "Running", dead: "Dead" } as const;

function copyDeployment(deployment: Deployment): Deployment {
  const groups: Deployment["TaskGroups"] = {};
  for (const name in deployment.TaskGroups) groups[name] = { ...deployment.TaskGroups[name]! };
  return { ...deployment, TaskGroups: groups };
}

export function indexDeployment(tables: Tables, deployment: Deployment): void {
  if (!tables.deployments.has(deployment.ID)) {
    const key = jobKey(deployment.Namespace, deployment.JobID);
    const ids = tables.deploymentsByJob.get(key);
    if (ids) ids.push(deployment.ID);
    else tables.deploymentsByJob.set(key, [deployment.ID]);
  }
  tables.deployments.set(deployment.ID, deployment);
}

/** Puts a node into its table and columns; a node that comes new takes over what its allocations use. */
export function placeNode(tables: Tables, node: Node): void {
  const old = tables.nodes.get(node.ID);
  tables.nodes.set(node.ID, node);
  const slot = tables.nodeTable.put(node);
  const moved = !old || isReady(old) !== isReady(node) || old.Datacenter !== node.Datacenter ||
    old.NodePool !== node.NodePool;
  if (moved) tables.nodesGeneration++;
  if (old) return;
  for (const alloc of tables.allocs.byNode(node.ID)) {
    if (!isClientTerminal(alloc)) tables.nodeTable.account(slot, demandOf(alloc.AllocatedResources), 1);
  }
}

/** Adds or takes back what an allocation uses of its node; a node that is gone has no columns. */
export function account(tables: Tables, alloc: Allocation, sign: 1 | -1): void {
  const slot = tables.nodeTable.slot(alloc.NodeID);
  if (slot >= 0) tables.nodeTable.account(slot, demandOf(alloc.AllocatedResources), sign);
}

export function indexService(tables: Tables, service: ServiceRegistration): void {
  tables.services.set(service.ID, service);
  addTo(tables.servicesByName, jobKey(service.Namespace, service.ServiceName), service.ID);
  addTo(tables.servicesByAlloc, service.AllocID, service.ID);
}

function unindexService(tables: Tables, service: ServiceRegistration): void {
  removeFrom(tables.servicesByName, jobKey(service.Namespace, service.ServiceName), service.ID);
  removeFrom(tables.servicesByAlloc, service.AllocID, service.ID);
}
