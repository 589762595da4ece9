// Small complete records for the state's tests: everything set, so that a test names only what it is about.
import type { Command, Placement, PlanResult } from "../../server/commands.ts";
import { newEvaluation } from "../../server/evaluations.ts";
import { State } from "../../server/state.ts";
import type { ApplyResult } from "../../server/log.ts";
import type { AllocUpdate } from "../../core/protocol.ts";
import type {
  AllocatedResources,
  Allocation,
  AllocMetric,
  Deployment,
  Evaluation,
  Job,
  Node,
} from "../../core/types.ts";
import { ZERO_TIME } from "../../core/types.ts";
import * as records from "../records.ts";

export { makeGroup, makeJob } from "../records.ts";

/** 2026-11-22T04:00:00Z. */
export const T0 = 1_795_320_000e9;

export function uuid(n: number): string {
  return `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;
}

/** The n-th node: ready, roomy, in dc1. */
export function makeNode(n: number, fields: Partial<Node> = {}): Node {
  return records.makeNode({ ID: uuid(0x1000 + n), SecretID: uuid(0x2000 + n), Name: `node-${n}`, ...fields });
}

export function makeEval(n: number, jobId: string, fields: Partial<Evaluation> = {}): Evaluation {
  return newEvaluation({
    ID: uuid(0x30000 + n),
    Namespace: "default",
    Priority: 50,
    Type: "service",
    TriggeredBy: "job-register",
    JobID: jobId,
    CreateTime: T0,
    ...fields,
  });
}

export function makeResources(ports: number[] = []): AllocatedResources {
  return {
    Tasks: {
      t: {
        Cpu: { CpuShares: 50, ReservedCores: null },
        Memory: { MemoryMB: 32, MemoryMaxMB: 0 },
        Networks: null,
        Devices: null,
      },
    },
    TaskLifecycles: { t: null },
    Shared: {
      DiskMB: 300,
      Networks: null,
      Ports: ports.length === 0
        ? null
        : ports.map((Value) => ({ Label: `p${Value}`, Value, To: 0, HostIP: "", IgnoreCollision: false })),
    },
  };
}

export const METRIC: AllocMetric = {
  NodesEvaluated: 1,
  NodesFiltered: 0,
  NodesInPool: 1,
  NodePool: "default",
  NodesAvailable: { dc1: 1 },
  ClassFiltered: null,
  ConstraintFiltered: null,
  NodesExhausted: 0,
  ClassExhausted: null,
  DimensionExhausted: null,
  QuotaExhausted: null,
  ResourcesExhausted: null,
  Scores: null,
  ScoreMetaData: null,
  AllocationTime: 0,
  CoalescedFailures: 0,
};

export function makePlacement(n: number, fields: Partial<Placement> = {}): Placement {
  return {
    id: uuid(0x500000 + n),
    name: `web.g[${n}]`,
    group: "g",
    nodeId: uuid(0x1000),
    job: 0,
    resources: 0,
    metrics: 0,
    deploymentId: "",
    canary: false,
    previous: "",
    ...fields,
  };
}

export function makePlan(jobId: string, fields: Partial<PlanResult> = {}): PlanResult {
  return {
    evalId: uuid(0x30000),
    namespace: "default",
    jobId,
    jobs: [{ version: 0 }],
    resources: [makeResources()],
    metrics: [METRIC],
    placements: [],
    stops: [],
    inPlace: [],
    preemptions: [],
    deployment: null,
    deploymentUpdates: [],
    evals: [],
    ...fields,
  };
}

export function makeDeployment(n: number, jobId: string, fields: Partial<Deployment> = {}): Deployment {
  return {
    ID: uuid(0x70000 + n),
    Namespace: "default",
    JobID: jobId,
    JobVersion: 0,
    JobModifyIndex: 0,
    JobSpecModifyIndex: 0,
    JobCreateIndex: 0,
    IsMultiregion: false,
    TaskGroups: {
      g: {
        AutoRevert: false,
        AutoPromote: false,
        ProgressDeadline: 600e9,
        RequireProgressBy: ZERO_TIME,
        Promoted: false,
        PlacedCanaries: null,
        DesiredCanaries: 0,
        DesiredTotal: 1,
        PlacedAllocs: 0,
        HealthyAllocs: 0,
        UnhealthyAllocs: 0,
      },
    },
    Status: "running",
    StatusDescription: "Deployment is running",
    EvalPriority: 50,
    CreateIndex: 0,
    ModifyIndex: 0,
    CreateTime: 0,
    ModifyTime: 0,
    ...fields,
  };
}

export function makeUpdate(
  id: string,
  status: Allocation["ClientStatus"],
  fields: Partial<AllocUpdate> = {},
): AllocUpdate {
  return {
    ID: id,
    ClientStatus: status,
    ClientDescription: "",
    TaskStates: null,
    DeploymentStatus: null,
    NetworkStatus: null,
    ...fields,
  };
}

/** A state and the next index to apply at. */
export class Bench {
  readonly state: State;
  time = T0;

  constructor(state = new State()) {
    this.state = state;
  }

  /** Applies at the next index, a second after the last. */
  apply(command: Command): ApplyResult {
    this.time += 1e9;
    return this.state.apply(this.state.index + 1, command);
  }

  /** Applies and insists that no rule refuses. */
  must(command: Command): unknown {
    const result = this.apply(command);
    if (result.refused) throw new Error(`refused: ${result.refused.message}`);
    return result.value;
  }

  register(job: Job, evals: Evaluation[] = []): void {
    this.must({ kind: "job.register", time: this.time, job, submission: null, evals });
  }

  node(node: Node): void {
    this.must({ kind: "node.register", time: this.time, node });
  }

  plan(plan: PlanResult): void {
    this.must({ kind: "plan", time: this.time, plan });
  }

  report(...updates: AllocUpdate[]): void {
    this.must({ kind: "alloc.client", time: this.time, updates, evals: [] });
  }
}
