// The union of log commands: everything that can change the shared state. A command is never changed, only added;
// what a later version adds to one is optional. Ids, times and defaults are stamped by the proposer, so that applying
// is deterministic: `time` is nanoseconds since 1970 of the proposer's clock.
import type { AllocUpdate } from "../core/protocol.ts";
import type {
  AllocatedResources,
  Allocation,
  AllocMetric,
  AutopilotConfiguration,
  Deployment,
  DeploymentStatusName,
  DesiredTransition,
  DrainStrategy,
  Evaluation,
  Job,
  JobSubmission,
  Namespace,
  Node,
  NodeEvent,
  NodePool,
  NodeStatus,
  RescheduleTracker,
  SchedulerConfiguration,
  ServiceRegistration,
} from "../core/types.ts";
import type { RequestStamp } from "./state_requests.ts";

/** Any command may carry the id of the request that it was made for: then it is applied once, however often it comes. */
export type Command = Change & { request?: RequestStamp };

export type Change =
  | { kind: "noop" }
  | {
    kind: "job.register";
    time: number;
    job: Job;
    submission: JobSubmission | null;
    evals: Evaluation[];
    enforceIndex?: number;
    /** The count was changed by scaling: noted in the group's history together with it. */
    scaling?: { group: string; event: ScalingEvent };
  }
  | {
    kind: "job.deregister";
    time: number;
    namespace: string;
    id: string;
    purge: boolean;
    noShutdownDelay: boolean;
    evals: Evaluation[];
  }
  | { kind: "job.stability"; time: number; namespace: string; id: string; version: number; stable: boolean }
  | {
    kind: "job.tag";
    time: number;
    namespace: string;
    id: string;
    name: string;
    version?: number;
    description?: string;
    unset?: boolean;
  }
  | {
    kind: "job.scalingEvent";
    time: number;
    namespace: string;
    id: string;
    group: string;
    event: ScalingEvent;
  }
  | { kind: "job.periodicLaunch"; time: number; namespace: string; id: string; launchMs: number }
  | { kind: "node.register"; time: number; node: Node; evals?: Evaluation[] }
  | { kind: "node.deregister"; time: number; ids: string[]; evals: Evaluation[] }
  /** Several at once: a wave of missed heartbeats is one entry. */
  | {
    kind: "node.status";
    time: number;
    updates: { id: string; status: NodeStatus; event: NodeEvent | null }[];
    evals: Evaluation[];
  }
  | {
    kind: "node.drain";
    time: number;
    id: string;
    drain: DrainStrategy | null;
    markEligible: boolean;
    meta: Record<string, string> | null;
    accessorId: string;
    event: NodeEvent | null;
    evals: Evaluation[];
    complete?: boolean;
  }
  | {
    kind: "node.eligibility";
    time: number;
    id: string;
    eligibility: "eligible" | "ineligible";
    event: NodeEvent | null;
    evals: Evaluation[];
  }
  | { kind: "node.events"; time: number; events: { id: string; event: NodeEvent }[] }
  | { kind: "eval.upsert"; time: number; evals: Evaluation[] }
  /** Garbage collection; allocations go with them. */
  | { kind: "eval.delete"; evals: string[]; allocs: string[] }
  | { kind: "plan"; time: number; plan: PlanResult }
  /** One entry for a batch of devices' reports. */
  | { kind: "alloc.client"; time: number; updates: AllocUpdate[]; evals: Evaluation[] }
  | {
    kind: "alloc.transition";
    time: number;
    transitions: Record<string, Partial<DesiredTransition>>;
    evals: Evaluation[];
  }
  | {
    kind: "deployment.status";
    time: number;
    id: string;
    status: DeploymentStatusName;
    description: string;
    evals: Evaluation[];
    job?: Job;
  }
  | { kind: "deployment.promote"; time: number; id: string; groups: string[] | null; evals: Evaluation[] }
  | {
    kind: "deployment.health";
    time: number;
    id: string;
    healthy: string[];
    unhealthy: string[];
    status?: { status: DeploymentStatusName; description: string };
    evals: Evaluation[];
    job?: Job;
  }
  | { kind: "deployment.delete"; ids: string[] }
  | { kind: "scheduler.config"; time: number; config: SchedulerConfiguration; cas?: number }
  /** By the first leader of a new cluster: its id and what Autopilot starts with. A later one changes nothing. */
  | { kind: "cluster.init"; time: number; id: string; autopilot: AutopilotConfiguration }
  /** By a survivor that goes on alone (raft_recovery.ts): from here on this is another cluster than it was. */
  | { kind: "cluster.rename"; time: number; id: string }
  | { kind: "autopilot.config"; time: number; config: AutopilotConfiguration; cas?: number }
  | { kind: "namespace.upsert"; time: number; namespaces: Namespace[] }
  | { kind: "namespace.delete"; names: string[] }
  | { kind: "pool.upsert"; time: number; pools: NodePool[] }
  | { kind: "pool.delete"; names: string[] }
  | { kind: "service.upsert"; services: ServiceRegistration[] }
  | { kind: "service.delete"; ids: string[] }
  /** Blocks of a saved state (base64), which nobody sees before `state.restore`; block 0 drops what was staged before. */
  | { kind: "state.stage"; time: number; id: string; first: number; blocks: string[] }
  /** Replaces the whole state by what was staged under this id. */
  | { kind: "state.restore"; time: number; id: string; blocks: number }
  | { kind: "state.unstage"; time: number; id: string }
  | { kind: "summaries.reconcile" };

export type CommandKind = Command["kind"];

export interface ScalingEvent {
  Time: number;
  Count: number | null;
  PreviousCount: number;
  Message: string;
  Error: boolean;
  Meta: Record<string, unknown> | null;
  EvalID: string | null;
  CreateIndex: number;
}

/**
 * The accepted part of a plan. Lean on purpose: the job is named by (namespace, id, version) and taken from state,
 * resources and metrics are tables that placements point into, so a thousand placements cost some 150 bytes each.
 */
export interface PlanResult {
  evalId: string;
  namespace: string;
  jobId: string;
  /** Jobs that placements belong to: the current one, and older versions kept by canaries. Position = Placement.job. */
  jobs: { version: number }[];
  resources: AllocatedResources[];
  metrics: AllocMetric[];
  placements: Placement[];
  /** Existing allocations to stop or evict. */
  stops: PlannedStop[];
  /** Existing allocations that go on under another job version, in place. */
  inPlace: { id: string; job: number; resources: number; deploymentId: string; metrics?: number }[];
  preemptions: { id: string; by: string }[];
  /** Existing allocations whose other server-owned fields change (follow-up evaluation, unknown, reconnect …). */
  updates?: {
    id: string;
    followupEvalId?: string;
    clientStatus?: Allocation["ClientStatus"];
    description?: string;
    rescheduleTracker?: RescheduleTracker;
  }[];
  deployment: Deployment | null;
  deploymentUpdates: { id: string; status: DeploymentStatusName; description: string }[];
  /** Evaluations written with it: the finished one, blocked and follow-up ones. */
  evals: Evaluation[];
}

export interface Placement {
  id: string;
  /** `<job>.<group>[<index>]`. */
  name: string;
  group: string;
  nodeId: string;
  job: number;
  resources: number;
  metrics: number;
  deploymentId: string;
  canary: boolean;
  previous: string;
  rescheduleTracker?: RescheduleTracker;
  preempted?: string[];
}

export interface PlannedStop {
  id: string;
  status: "stop" | "evict";
  description: string;
  /** "lost" or "unknown" when the servers know that the device does not run it any more. */
  clientStatus?: Allocation["ClientStatus"];
  followupEvalId?: string;
}
