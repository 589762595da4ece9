// Collects what one scheduling run decides into a PlanResult: tables of job versions, resources and metrics that the
// placements point into, and beside it what the plan holds on its nodes until it is applied.
import type {
  AllocatedResources,
  Allocation,
  AllocMetric,
  Deployment,
  Evaluation,
  Job,
  RescheduleTracker,
} from "../core/types.ts";
import type { PlannedStop, PlanResult } from "./commands.ts";
import { jobEvaluation, type Stamp } from "./evaluations.ts";
import type { Demand } from "./node_table.ts";

/** Placements of a group that keep their own metrics; those after them share one without scores. */
export const OWN_METRICS_MAX = 32;

/**
 * Placements in one plan at most: a larger job is placed by several plans, so that no log entry gets huge, and neither
 * deciding nor applying one holds requests and heartbeats up. A job that has many already gets larger portions, because
 * every portion looks at all of them.
 */
const PLACEMENTS_MIN = 500;
const PLACEMENTS_MAX = 3000;
const PORTION_OF_JOB = 0.05;
/** Stops cost less, and nothing is searched for them. */
const STOPS_PER_PLACEMENT = 4;

/** How many placements of a job with this many allocations go into one plan; `max` overrules. */
export function portionOf(allocs: number, max: number | null): number {
  return max ?? Math.min(Math.max(Math.ceil(allocs * PORTION_OF_JOB), PLACEMENTS_MIN), PLACEMENTS_MAX);
}

/** How many stops of such a job go into one plan. */
export function stopsPortionOf(allocs: number, max: number | null): number {
  return portionOf(allocs, max) * STOPS_PER_PLACEMENT;
}

/** What an accepted plan takes from a node between being decided and being applied. */
export interface Hold {
  slot: number;
  demand: Demand;
  sign: 1 | -1;
  /** The placement it belongs to; null for updates in place. */
  placement: string | null;
}

/** The outcome of one scheduling run. */
export interface Plan {
  result: PlanResult;
  holds: Hold[];
  /** More placements are wanted than fit into one plan: run the evaluation again after this one is applied. */
  more: boolean;
  /** Nothing of it may be committed unless all of it can. */
  allAtOnce: boolean;
  /** The evaluation as it will stand; also among `result.evals` when it is to be written. */
  evaluation: Evaluation;
  /** Evaluations that this run created. */
  created: Evaluation[];
  failed: Record<string, AllocMetric>;
}

export interface PlacementInput {
  id: string;
  name: string;
  group: string;
  nodeId: string;
  slot: number;
  job: Job;
  resources: AllocatedResources;
  demand: Demand;
  metrics: AllocMetric | null;
  deploymentId: string;
  canary: boolean;
  previous: string;
  rescheduleTracker: RescheduleTracker | null;
  preempted: string[];
}

export class PlanBuilder {
  readonly result: PlanResult;
  readonly holds: Hold[] = [];
  readonly evicted: Allocation[] = [];
  /** Evaluations of the jobs that lose allocations, by job. */
  readonly evictions = new Map<string, Evaluation>();
  #jobs = new Map<number, number>();
  #resources = new Map<AllocatedResources, number>();
  #metrics = new Map<AllocMetric, number>();
  #perGroup = new Map<string, { placed: number; shared: AllocMetric | null }>();

  constructor(evaluation: Evaluation) {
    this.result = {
      evalId: evaluation.ID,
      namespace: evaluation.Namespace,
      jobId: evaluation.JobID,
      jobs: [],
      resources: [],
      metrics: [],
      placements: [],
      stops: [],
      inPlace: [],
      preemptions: [],
      deployment: null,
      deploymentUpdates: [],
      evals: [],
    };
  }

  /** Whether the next placement of the group should bring its own metrics. */
  wantsMetrics(group: string): boolean {
    return (this.#perGroup.get(group)?.placed ?? 0) < OWN_METRICS_MAX;
  }

  place(input: PlacementInput): void {
    const ofGroup = this.#perGroup.get(input.group) ?? { placed: 0, shared: null };
    this.#perGroup.set(input.group, ofGroup);
    ofGroup.placed++;
    if (input.metrics) ofGroup.shared = input.metrics;
    const metrics = input.metrics ?? this.#withoutScores(ofGroup);
    this.result.placements.push({
      id: input.id,
      name: input.name,
      group: input.group,
      nodeId: input.nodeId,
      job: this.#jobNumber(input.job),
      resources: this.#numberOf(this.#resources, this.result.resources, input.resources),
      metrics: this.#numberOf(this.#metrics, this.result.metrics, metrics),
      deploymentId: input.deploymentId,
      canary: input.canary,
      previous: input.previous,
      ...(input.rescheduleTracker ? { rescheduleTracker: input.rescheduleTracker } : {}),
      ...(input.preempted.length > 0 ? { preempted: input.preempted } : {}),
    });
    this.holds.push({ slot: input.slot, demand: input.demand, sign: 1, placement: input.id });
  }

  /** Scores belong to one allocation: shared metrics tell the rest of the search only. */
  #withoutScores(ofGroup: { shared: AllocMetric | null }): AllocMetric {
    const shared = ofGroup.shared!;
    if (shared.ScoreMetaData === null) return shared;
    return ofGroup.shared = { ...shared, ScoreMetaData: null };
  }

  updateInPlace(input: {
    id: string;
    slot: number;
    job: Job;
    before: Demand;
    after: Demand;
    resources: AllocatedResources;
    deploymentId: string;
  }): void {
    this.result.inPlace.push({
      id: input.id,
      job: this.#jobNumber(input.job),
      resources: this.#numberOf(this.#resources, this.result.resources, input.resources),
      deploymentId: input.deploymentId,
    });
    this.holds.push({ slot: input.slot, demand: input.before, sign: -1, placement: null });
    this.holds.push({ slot: input.slot, demand: input.after, sign: 1, placement: null });
  }

  /** Evicts others for a placement; their jobs look for room elsewhere. */
  preempt(evicted: readonly Allocation[], by: string, stamp: Stamp): void {
    for (const alloc of evicted) {
      this.result.preemptions.push({ id: alloc.ID, by });
      const key = `${alloc.Namespace}\0${alloc.JobID}`;
      if (this.evictions.has(key)) continue;
      this.evictions.set(key, jobEvaluation(alloc.Job, "preemption", stamp));
    }
    for (const alloc of evicted) this.evicted.push(alloc);
  }

  stop(stop: PlannedStop): void {
    this.result.stops.push(stop);
  }

  setDeployment(deployment: Deployment | null): void {
    this.result.deployment = deployment;
  }

  #jobNumber(job: Job): number {
    let number = this.#jobs.get(job.Version);
    if (number === undefined) {
      this.#jobs.set(job.Version, number = this.result.jobs.length);
      this.result.jobs.push({ version: job.Version });
    }
    return number;
  }

  #numberOf<T>(numbers: Map<T, number>, table: T[], value: T): number {
    let number = numbers.get(value);
    if (number === undefined) {
      numbers.set(value, number = table.length);
      table.push(value);
    }
    return number;
  }
}

/** Whether it changes anything besides evaluations. */
export function changesNothing(result: PlanResult): boolean {
  return result.placements.length === 0 && result.stops.length === 0 && result.inPlace.length === 0 &&
    result.preemptions.length === 0 && (result.updates?.length ?? 0) === 0 && result.deployment === null &&
    result.deploymentUpdates.length === 0;
}
