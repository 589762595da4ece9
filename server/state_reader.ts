// What everyone else may ask of the state: the scheduler, the leader's loops, the HTTP routes. server/state.ts
// implements it. Records that come out are immutable and shared: never change one. Iterators walk live tables: do not
// await inside a loop over one. No method here is O(all allocations) but `allocs()`.
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
import type { ScalingEvent } from "./commands.ts";
import type { NodeTable } from "./node_table.ts";
import type { RequestRow } from "./state_requests.ts";

/** Tables that blocking queries wait on; each has the index of its last change. */
export type Table =
  | "jobs"
  | "job_summary"
  | "job_versions"
  | "job_submission"
  | "nodes"
  | "allocs"
  | "evals"
  | "deployment"
  | "scaling_event"
  | "namespaces"
  | "node_pools"
  | "scheduler_config"
  | "autopilot_config"
  | "service_registrations"
  | "periodic_launch";

/**
 * What one command changed, handed to the leader's broker, the blocking queries, the event stream and the device
 * sessions after every apply. Arrays hold the new records; removed ones are named by id.
 */
export interface Changes {
  index: number;
  /** Tables touched, for blocking queries on lists. */
  tables: Set<Table>;
  /** Event type of the API's stream ("JobRegistered", "PlanResult", "AllocationUpdated" …), "" for none. */
  eventType: string;
  jobs: Job[];
  removedJobs: Job[];
  nodes: Node[];
  /** Nodes of which only LastAllocUpdateIndex moved, because they reported on allocations: not in `nodes`. */
  reportedNodes: Node[];
  removedNodes: Node[];
  /** Changed by the servers: what devices must hear of. */
  allocs: Allocation[];
  /** Changed by a device's report only. */
  clientAllocs: Allocation[];
  removedAllocs: Allocation[];
  evals: Evaluation[];
  removedEvals: string[];
  deployments: Deployment[];
  removedDeployments: string[];
  services: ServiceRegistration[];
  removedServices: ServiceRegistration[];
  /** Set when the scheduler configuration changed. */
  schedulerConfig: SchedulerConfiguration | null;
  summaries: JobSummary[];
  namespaces: Namespace[];
  removedNamespaces: Namespace[];
  nodePools: NodePool[];
  removedNodePools: NodePool[];
}

/** Changes of nothing. Every apply makes its own, so listeners may keep what they were given. */
export function emptyChanges(index: number): Changes {
  return {
    index,
    tables: new Set(),
    eventType: "",
    jobs: [],
    removedJobs: [],
    nodes: [],
    reportedNodes: [],
    removedNodes: [],
    allocs: [],
    clientAllocs: [],
    removedAllocs: [],
    evals: [],
    removedEvals: [],
    deployments: [],
    removedDeployments: [],
    services: [],
    removedServices: [],
    schedulerConfig: null,
    summaries: [],
    namespaces: [],
    removedNamespaces: [],
    nodePools: [],
    removedNodePools: [],
  };
}

export interface StateReader {
  /** Index of the last command applied. */
  readonly index: number;
  /** Highest index at which any of `tables` changed; 0 when never. */
  tableIndex(...tables: Table[]): number;

  job(namespace: string, id: string): Job | undefined;
  /** Newest first, at most the tracked number; tagged versions are extra. */
  jobVersions(namespace: string, id: string): readonly Job[];
  jobVersion(namespace: string, id: string, version: number): Job | undefined;
  jobSubmission(namespace: string, id: string, version: number): JobSubmission | undefined;
  jobSummary(namespace: string, id: string): JobSummary | undefined;
  /** In order of (namespace, id). All namespaces when it is undefined. */
  jobs(namespace?: string): Iterable<Job>;
  /** Jobs of type system and sysbatch: what a new node asks for. */
  systemJobs(): Iterable<Job>;
  jobChildren(namespace: string, parentId: string): Iterable<Job>;
  scalingEvents(namespace: string, id: string): Readonly<Record<string, readonly ScalingEvent[]>>;
  periodicLaunchMs(namespace: string, id: string): number | undefined;

  node(id: string): Node | undefined;
  nodes(): Iterable<Node>;
  readonly nodeCount: number;
  /** Capacity and usage by slot, in typed arrays: what ranking reads. */
  readonly nodeTable: NodeTable;
  /** Ready, eligible, not draining nodes of these datacenters (globs allowed) and this pool ("all" = every pool). */
  readyNodes(
    datacenters: readonly string[],
    pool: string,
  ): { nodes: Node[]; byDatacenter: Record<string, number> };

  alloc(id: string): Allocation | undefined;
  allocs(): Iterable<Allocation>;
  /** By (CreateIndex, ID) from `start` on, or backwards; the first hundred cost little more than a pass over numbers. */
  allocsInOrder(start: { index: number; id: string } | null, descending: boolean): Iterable<Allocation>;
  readonly allocCount: number;
  allocsByJob(namespace: string, id: string): Iterable<Allocation>;
  allocsByNode(nodeId: string): Iterable<Allocation>;
  allocsByEval(evalId: string): Iterable<Allocation>;
  allocsByDeployment(deploymentId: string): Iterable<Allocation>;

  eval(id: string): Evaluation | undefined;
  evals(): Iterable<Evaluation>;
  evalsByJob(namespace: string, id: string): Iterable<Evaluation>;

  deployment(id: string): Deployment | undefined;
  deployments(): Iterable<Deployment>;
  /** Newest first. */
  deploymentsByJob(namespace: string, id: string): Iterable<Deployment>;
  latestDeployment(namespace: string, id: string): Deployment | undefined;

  /** What became of a request that carried an id (`key` stands for token, namespace and id). */
  request(key: string): RequestRow | undefined;

  schedulerConfig(): SchedulerConfiguration;
  /** The defaults until a leader has written it. */
  autopilotConfig(): AutopilotConfiguration;
  /** Made by the first leader of a cluster, the same ever after; "" before. */
  readonly clusterId: string;
  namespace(name: string): Namespace | undefined;
  namespaces(): Iterable<Namespace>;
  nodePool(name: string): NodePool | undefined;
  nodePools(): Iterable<NodePool>;

  services(namespace?: string): Iterable<ServiceRegistration>;
  servicesByName(namespace: string, name: string): Iterable<ServiceRegistration>;
  servicesByAlloc(allocId: string): Iterable<ServiceRegistration>;
}
