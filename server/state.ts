// The shared state: applies every committed command, answers every reader, snapshots and restores. What commands mean
// stands in state_<subject>.ts, how tables are kept in state_write.ts and state_tables.ts.
//
// Invariants: applying is deterministic (same commands, same state, whatever the clock says); a command that a rule
// refuses changes nothing; records handed out never change. After every apply the listeners hear what changed, in the
// order of the log; they are called synchronously and must be quick.
import { assert, assertNever } from "../core/assert.ts";
import { errorText } from "../core/errors.ts";
import type {
  Allocation,
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
import type { Command, ScalingEvent } from "./commands.ts";
import type { ApplyResult, Restorer, StateMachine } from "./log.ts";
import type { NodeTable } from "./node_table.ts";
import { ReadyNodes } from "./ready_nodes.ts";
import { deleteEvals, setTransitions, updateFromClient, upsertEvals } from "./state_allocs.ts";
import {
  deleteNamespaces,
  deletePools,
  deleteServices,
  initCluster,
  renameCluster,
  setAutopilotConfig,
  setSchedulerConfig,
  stageState,
  unstageState,
  upsertNamespaces,
  upsertPools,
  upsertServices,
} from "./state_cluster.ts";
import { deleteDeployments, promoteDeployment, setHealth, updateDeployment } from "./state_deployments.ts";
import { eventTypeOf } from "./event_types.ts";
import {
  addScalingEvent,
  deregisterJob,
  reconcileSummaries,
  registerJob,
  setPeriodicLaunch,
  setStability,
  tagVersion,
} from "./state_jobs.ts";
import { jobKey } from "./state_keys.ts";
import {
  addNodeEvents,
  deregisterNodes,
  registerNode,
  setDrain,
  setEligibility,
  setNodeStatus,
} from "./state_nodes.ts";
import { applyPlan } from "./state_plan.ts";
import type { Changes, StateReader, Table } from "./state_reader.ts";
import { type RequestRow, rowOf } from "./state_requests.ts";
import { loadBlocks, SnapshotLoader, takeSnapshot } from "./state_snapshot.ts";
import { type StateOptions, Tables } from "./state_tables.ts";
import { Write } from "./state_write.ts";

const DEFAULTS: StateOptions = { jobVersionsTracked: 6, region: "global" };

export class State implements StateMachine, StateReader {
  #tables: Tables;
  #ready: ReadyNodes;
  #index = 0;
  #listeners: ((changes: Changes) => void)[] = [];
  #restoreListeners: (() => void)[] = [];
  readonly #options: StateOptions;

  constructor(options: Partial<StateOptions> = {}) {
    this.#options = { ...DEFAULTS, ...options };
    this.#tables = new Tables(this.#options);
    this.#ready = new ReadyNodes(this.#tables);
  }

  /** Calls `listener` after every apply that changed something; gives back how to stop that. */
  onChanges(listener: (changes: Changes) => void): () => void {
    this.#listeners.push(listener);
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  /** Calls `listener` after a snapshot replaced everything: what was derived from changes starts over. */
  onRestore(listener: () => void): () => void {
    this.#restoreListeners.push(listener);
    return () => {
      this.#restoreListeners = this.#restoreListeners.filter((other) => other !== listener);
    };
  }

  // --- State machine -------------------------------------------------------------------------------------------

  get index(): number {
    return this.#index;
  }

  /** `entry` is the log's index; the state's own is ahead of it once a saved state was restored. */
  apply(entry: number, command: Command): ApplyResult {
    const index = entry + this.#tables.indexOffset;
    assert(index > this.#index, `command ${index} applied after ${this.#index}`);
    if (command.kind === "state.restore") return this.#replace(entry, command);
    const { request } = command;
    if (request) {
      this.#tables.requests.expire(request.time);
      const repeated = this.#tables.requests.get(request.key);
      if (repeated) {
        this.#index = index;
        return { repeated };
      }
    }
    const write = new Write(this.#tables, index, "time" in command ? command.time : 0);
    const result = applyCommand(write, command);
    this.#index = index;
    if (request) this.#tables.requests.add(rowOf(request, index, result));
    if (result.refused) return result;
    const changes = write.finish();
    if (changes.tables.size === 0) return result;
    changes.eventType = eventTypeOf(command);
    for (const listener of this.#listeners) listener(changes);
    return result;
  }

  /** Id of the saved state that is on its way in, "" for none. */
  get stagedId(): string {
    return this.#tables.staged?.id ?? "";
  }

  snapshot(): Iterable<string> {
    return takeSnapshot(this.#tables, this.#index);
  }

  /**
   * A saved state takes the place of this one, on every server alike; its index goes on above both. What cannot be
   * loaded is refused, and nothing has changed: the same bytes fail everywhere.
   */
  #replace(entry: number, { id, blocks }: Extract<Command, { kind: "state.restore" }>): ApplyResult {
    const index = entry + this.#tables.indexOffset;
    this.#index = index;
    const { staged } = this.#tables;
    if (staged?.id !== id || staged.blocks.length !== blocks) {
      return {
        refused: { status: 409, message: "Another restore took the place of this one: start it again" },
      };
    }
    const tables = new Tables(this.#options);
    let saved: number;
    try {
      saved = loadBlocks(tables, staged.blocks);
    } catch (error) {
      this.#tables.staged = null;
      return { refused: { status: 500, message: `The saved state cannot be loaded: ${errorText(error)}` } };
    }
    this.#index = Math.max(index, saved + 1);
    tables.indexOffset = this.#index - entry;
    tables.staged = null;
    // Which cluster this is, the log decides and not what stands in it: a server of the saved one must not fit in here.
    tables.clusterId = this.#tables.clusterId;
    this.#take(tables);
    return {};
  }

  #take(tables: Tables): void {
    this.#tables = tables;
    this.#ready = new ReadyNodes(tables);
    for (const listener of this.#restoreListeners) listener();
  }

  restore(index: number, chunks: Iterable<string>): void {
    const restorer = this.restorer(index);
    for (const chunk of chunks) restorer.add(chunk);
    restorer.finish();
  }

  restorer(index: number): Restorer {
    const tables = new Tables(this.#options);
    const loader = new SnapshotLoader(tables);
    return {
      add: (chunk) => loader.add(chunk),
      finish: () => {
        const taken = loader.finish();
        const entry = taken - tables.indexOffset;
        assert(entry === index, `snapshot of entry ${entry} restored as ${index}`);
        this.#index = taken;
        this.#take(tables);
      },
    };
  }

  // --- Jobs ----------------------------------------------------------------------------------------------------

  tableIndex(...tables: Table[]): number {
    let index = 0;
    for (const table of tables) index = Math.max(index, this.#tables.indexes.get(table) ?? 0);
    return index;
  }

  job(namespace: string, id: string): Job | undefined {
    return this.#tables.jobs.get(jobKey(namespace, id))?.job;
  }

  jobVersions(namespace: string, id: string): readonly Job[] {
    return this.#tables.jobs.get(jobKey(namespace, id))?.versions ?? [];
  }

  jobVersion(namespace: string, id: string, version: number): Job | undefined {
    return this.jobVersions(namespace, id).find((job) => job.Version === version);
  }

  jobSubmission(namespace: string, id: string, version: number): JobSubmission | undefined {
    const row = this.#tables.jobs.get(jobKey(namespace, id));
    return row?.submissions.find((submission) => submission.Version === version);
  }

  jobSummary(namespace: string, id: string): JobSummary | undefined {
    return this.#tables.jobs.get(jobKey(namespace, id))?.summary;
  }

  *jobs(namespace?: string): Iterable<Job> {
    const { jobKeys, jobs } = this.#tables;
    for (const key of jobKeys.from(namespace === undefined ? "" : jobKey(namespace, ""))) {
      const { job } = jobs.get(key)!;
      if (namespace !== undefined && job.Namespace !== namespace) return;
      yield job;
    }
  }

  *systemJobs(): Iterable<Job> {
    for (const key of this.#tables.systemJobs) yield this.#tables.jobs.get(key)!.job;
  }

  jobChildren(namespace: string, parentId: string): Iterable<Job> {
    const keys = this.#tables.children.get(jobKey(namespace, parentId)) ?? [];
    return [...keys].map((key) => this.#tables.jobs.get(key)!.job);
  }

  scalingEvents(namespace: string, id: string): Readonly<Record<string, readonly ScalingEvent[]>> {
    return this.#tables.jobs.get(jobKey(namespace, id))?.scaling ?? {};
  }

  periodicLaunchMs(namespace: string, id: string): number | undefined {
    return this.#tables.jobs.get(jobKey(namespace, id))?.launchMs ?? undefined;
  }

  // --- Nodes ---------------------------------------------------------------------------------------------------

  node(id: string): Node | undefined {
    return this.#tables.nodes.get(id);
  }

  nodes(): Iterable<Node> {
    return this.#tables.nodes.values();
  }

  get nodeCount(): number {
    return this.#tables.nodes.size;
  }

  get nodeTable(): NodeTable {
    return this.#tables.nodeTable;
  }

  readyNodes(
    datacenters: readonly string[],
    pool: string,
  ): { nodes: Node[]; byDatacenter: Record<string, number> } {
    return this.#ready.find(datacenters, pool);
  }

  // --- Allocations, evaluations, deployments -------------------------------------------------------------------

  alloc(id: string): Allocation | undefined {
    return this.#tables.allocs.get(id);
  }

  allocs(): Iterable<Allocation> {
    return this.#tables.allocs.all();
  }

  allocsInOrder(start: { index: number; id: string } | null, descending: boolean): Iterable<Allocation> {
    return this.#tables.allocs.inOrder(start, descending);
  }

  get allocCount(): number {
    return this.#tables.allocs.size;
  }

  allocsByJob(namespace: string, id: string): Allocation[] {
    return this.#tables.allocs.byJob(jobKey(namespace, id));
  }

  allocsByNode(nodeId: string): Allocation[] {
    return this.#tables.allocs.byNode(nodeId);
  }

  allocsByEval(evalId: string): Allocation[] {
    return this.#tables.allocs.byEval(evalId);
  }

  allocsByDeployment(deploymentId: string): Allocation[] {
    return this.#tables.allocs.byDeployment(deploymentId);
  }

  eval(id: string): Evaluation | undefined {
    return this.#tables.evals.get(id);
  }

  evals(): Iterable<Evaluation> {
    return this.#tables.evals.values();
  }

  evalsByJob(namespace: string, id: string): Iterable<Evaluation> {
    const ids = this.#tables.work.get(jobKey(namespace, id))?.evals ?? [];
    return [...ids].map((evalId) => this.#tables.evals.get(evalId)!);
  }

  deployment(id: string): Deployment | undefined {
    return this.#tables.deployments.get(id);
  }

  deployments(): Iterable<Deployment> {
    return this.#tables.deployments.values();
  }

  deploymentsByJob(namespace: string, id: string): Deployment[] {
    const ids = this.#tables.deploymentsByJob.get(jobKey(namespace, id)) ?? [];
    return ids.map((deploymentId) => this.#tables.deployments.get(deploymentId)!).reverse();
  }

  latestDeployment(namespace: string, id: string): Deployment | undefined {
    const last = this.#tables.deploymentsByJob.get(jobKey(namespace, id))?.at(-1);
    return last === undefined ? undefined : this.#tables.deployments.get(last);
  }

  /** What became of a request that carried an id; undefined when it never came, or is forgotten. */
  request(key: string): RequestRow | undefined {
    return this.#tables.requests.get(key);
  }

  // --- Cluster objects -----------------------------------------------------------------------------------------

  autopilotConfig(): AutopilotConfiguration {
    return this.#tables.autopilotConfig;
  }

  get clusterId(): string {
    return this.#tables.clusterId;
  }

  schedulerConfig(): SchedulerConfiguration {
    return this.#tables.schedulerConfig;
  }

  namespace(name: string): Namespace | undefined {
    return this.#tables.namespaces.get(name);
  }

  namespaces(): Iterable<Namespace> {
    return sortedByName(this.#tables.namespaces);
  }

  nodePool(name: string): NodePool | undefined {
    return this.#tables.pools.get(name);
  }

  nodePools(): Iterable<NodePool> {
    return sortedByName(this.#tables.pools);
  }

  *services(namespace?: string): Iterable<ServiceRegistration> {
    for (const service of this.#tables.services.values()) {
      if (namespace === undefined || service.Namespace === namespace) yield service;
    }
  }

  servicesByName(namespace: string, name: string): ServiceRegistration[] {
    return this.#servicesOf(this.#tables.servicesByName.get(jobKey(namespace, name)));
  }

  servicesByAlloc(allocId: string): ServiceRegistration[] {
    return this.#servicesOf(this.#tables.servicesByAlloc.get(allocId));
  }

  #servicesOf(ids: ReadonlySet<string> | undefined): ServiceRegistration[] {
    return [...ids ?? []].map((id) => this.#tables.services.get(id)!);
  }
}

function sortedByName<T>(rows: ReadonlyMap<string, T>): T[] {
  return [...rows.keys()].sort().map((name) => rows.get(name)!);
}

function applyCommand(w: Write, c: Command): ApplyResult {
  switch (c.kind) {
    case "noop":
      return {};
    case "job.register":
      return registerJob(w, c);
    case "job.deregister":
      return deregisterJob(w, c);
    case "job.stability":
      return setStability(w, c);
    case "job.tag":
      return tagVersion(w, c);
    case "job.scalingEvent":
      return addScalingEvent(w, c);
    case "job.periodicLaunch":
      return setPeriodicLaunch(w, c);
    case "node.register":
      return registerNode(w, c);
    case "node.deregister":
      return deregisterNodes(w, c);
    case "node.status":
      return setNodeStatus(w, c);
    case "node.drain":
      return setDrain(w, c);
    case "node.eligibility":
      return setEligibility(w, c);
    case "node.events":
      return addNodeEvents(w, c);
    case "eval.upsert":
      upsertEvals(w, c.evals);
      return {};
    case "eval.delete":
      return deleteEvals(w, c);
    case "plan":
      return applyPlan(w, c);
    case "alloc.client":
      return updateFromClient(w, c);
    case "alloc.transition":
      return setTransitions(w, c);
    case "deployment.status":
      return updateDeployment(w, c);
    case "deployment.promote":
      return promoteDeployment(w, c);
    case "deployment.health":
      return setHealth(w, c);
    case "deployment.delete":
      return deleteDeployments(w, c);
    case "scheduler.config":
      return setSchedulerConfig(w, c);
    case "cluster.init":
      return initCluster(w, c);
    case "cluster.rename":
      return renameCluster(w, c);
    case "autopilot.config":
      return setAutopilotConfig(w, c);
    case "namespace.upsert":
      return upsertNamespaces(w, c);
    case "namespace.delete":
      return deleteNamespaces(w, c);
    case "pool.upsert":
      return upsertPools(w, c);
    case "pool.delete":
      return deletePools(w, c);
    case "service.upsert":
      return upsertServices(w, c);
    case "service.delete":
      return deleteServices(w, c);
    case "state.stage":
      return stageState(w, c);
    case "state.unstage":
      return unstageState(w, c);
    case "state.restore": // State.apply does it: all tables go.
      return {};
    case "summaries.reconcile":
      return reconcileSummaries(w);
    default:
      return assertNever(c, "command");
  }
}
