// Collects what is over for longer than the thresholds: evaluations with their allocations, jobs, deployments, nodes.
// `system gc` does the same without waiting for age. Walks over whole tables, which is why it runs every few minutes only
// and in portions.
//
// Invariant: nothing that may still run, be replaced or be waited for is ever collected.
import type { Clock } from "../core/env.ts";
import { errorText, NotLeaderError } from "../core/errors.ts";
import type { Allocation, Evaluation, Job } from "../core/types.ts";
import { isClientTerminal, isTerminal } from "./alloc_sets.ts";
import { isActive } from "./reconcile.ts";
import { policyOf } from "./reschedule.ts";
import type { LeaderContext } from "./scheduling.ts";

/** Ids in one log entry at most. */
const PORTION = 4000;

export interface GcThresholds {
  intervalMs: number;
  jobMs: number;
  evalMs: number;
  batchEvalMs: number;
  deploymentMs: number;
  nodeMs: number;
}

export class GarbageCollector {
  #cancel: (() => void) | null = null;
  #busy: Promise<void> = Promise.resolve();

  constructor(private readonly context: LeaderContext, private readonly thresholds: GcThresholds) {}

  start(): void {
    this.#plan();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  #plan(): void {
    const clock: Clock = this.context.clock;
    this.#cancel = clock.after(this.thresholds.intervalMs, () => {
      this.#plan();
      this.collect(false).catch((error) => {
        if (error instanceof NotLeaderError) return;
        this.context.logger.warn(`Garbage collection stopped: ${errorText(error)}`);
      });
    });
  }

  /** `force`: whatever is over, however young. One collection at a time. */
  collect(force: boolean): Promise<void> {
    const run = () => this.#collect(force);
    return this.#busy = this.#busy.then(run, run);
  }

  async #collect(force: boolean): Promise<void> {
    await this.#collectJobs(force);
    await this.#collectEvals(force);
    await this.#collectDeployments(force);
    await this.#collectNodes(force);
  }

  /** Instants before it are old, nanoseconds since 1970. */
  #cutoffNs(thresholdMs: number, force: boolean): number {
    return force ? Infinity : this.context.nowNs() - thresholdMs * 1e6;
  }

  async #collectJobs(force: boolean): Promise<void> {
    const { state } = this.context;
    const cutoffNs = this.#cutoffNs(this.thresholds.jobMs, force);
    const jobs = [...state.jobs()].filter((job) => isOver(job));
    for (const job of jobs) {
      const evals = [...state.evalsByJob(job.Namespace, job.ID)];
      const allocs = [...state.allocsByJob(job.Namespace, job.ID)];
      if (!evals.every((evaluation) => isOldEval(evaluation, cutoffNs))) continue;
      if (!allocs.every((alloc) => isClientTerminal(alloc) || isNeverStarted(alloc))) continue;
      if (job.SubmitTime >= cutoffNs) continue;
      await this.#deleteEvals(evals.map(({ ID }) => ID), allocs.map(({ ID }) => ID));
      await this.context.propose({
        kind: "job.deregister",
        time: this.context.nowNs(),
        namespace: job.Namespace,
        id: job.ID,
        purge: true,
        noShutdownDelay: false,
        evals: [],
      });
    }
  }

  async #collectEvals(force: boolean): Promise<void> {
    const { state } = this.context;
    const cutoffNs = this.#cutoffNs(this.thresholds.evalMs, force);
    const batchCutoffNs = this.#cutoffNs(this.thresholds.batchEvalMs, force);
    const evals: string[] = [];
    const allocs: string[] = [];
    for (const evaluation of state.evals()) {
      const job = state.job(evaluation.Namespace, evaluation.JobID);
      const isBatch = evaluation.Type === "batch" || evaluation.Type === "sysbatch";
      const limitNs = isBatch && job ? batchCutoffNs : cutoffNs;
      if (!isOldEval(evaluation, limitNs)) continue;
      // A batch job's allocations say what it has done already: they stay as long as it could run again.
      const keepsAllocs = isBatch && job !== undefined && !job.Stop && job.Status !== "dead";
      const own = [...state.allocsByEval(evaluation.ID)];
      const collectable = keepsAllocs ? [] : own.filter((alloc) => isCollectable(alloc, job, limitNs));
      for (const alloc of collectable) allocs.push(alloc.ID);
      if (collectable.length === own.length) evals.push(evaluation.ID);
    }
    await this.#deleteEvals(evals, allocs);
  }

  async #deleteEvals(evals: string[], allocs: string[]): Promise<void> {
    for (let i = 0; i < Math.max(evals.length, allocs.length); i += PORTION) {
      await this.context.propose({
        kind: "eval.delete",
        evals: evals.slice(i, i + PORTION),
        allocs: allocs.slice(i, i + PORTION),
      });
    }
  }

  async #collectDeployments(force: boolean): Promise<void> {
    const { state } = this.context;
    const cutoffNs = this.#cutoffNs(this.thresholds.deploymentMs, force);
    const ids: string[] = [];
    for (const deployment of state.deployments()) {
      if (isActive(deployment) || deployment.ModifyTime >= cutoffNs) continue;
      if ([...state.allocsByDeployment(deployment.ID)].every(isTerminal)) ids.push(deployment.ID);
    }
    for (let i = 0; i < ids.length; i += PORTION) {
      await this.context.propose({ kind: "deployment.delete", ids: ids.slice(i, i + PORTION) });
    }
  }

  async #collectNodes(force: boolean): Promise<void> {
    const { state } = this.context;
    const cutoffNs = this.#cutoffNs(this.thresholds.nodeMs, force);
    const ids: string[] = [];
    for (const node of state.nodes()) {
      if (node.Status !== "down" || node.StatusUpdatedAt * 1e9 >= cutoffNs) continue;
      if ([...state.allocsByNode(node.ID)].every(isTerminal)) ids.push(node.ID);
    }
    if (ids.length === 0) return;
    await this.context.propose({ kind: "node.deregister", time: this.context.nowNs(), ids, evals: [] });
  }
}

/** Dead and not waiting to be launched again. */
function isOver(job: Job): boolean {
  if (job.Status !== "dead") return false;
  if (job.Stop) return true;
  return (job.Type === "batch" || job.Type === "sysbatch") && job.Periodic === null &&
    (job.ParameterizedJob === null || job.Dispatched);
}

function isOldEval(evaluation: Evaluation, cutoffNs: number): boolean {
  const { Status } = evaluation;
  const ended = Status === "complete" || Status === "failed" || Status === "canceled";
  return ended && evaluation.ModifyTime < cutoffNs;
}

/** Its device never took it, and never will. */
function isNeverStarted(alloc: Allocation): boolean {
  return alloc.DesiredStatus !== "run" && alloc.ClientStatus === "pending";
}

function isCollectable(alloc: Allocation, job: Job | undefined, cutoffNs: number): boolean {
  if (alloc.ModifyTime >= cutoffNs) return false;
  if (!isClientTerminal(alloc)) return isNeverStarted(alloc) && job === undefined;
  if (!job || job.Stop || job.Status === "dead" || alloc.DesiredStatus !== "run") return true;
  if (alloc.ClientStatus !== "failed") return true;
  // A failed one that may still be replaced is needed for its history.
  const policy = policyOf(alloc);
  const mayBeReplaced = policy !== null && (policy.Unlimited || policy.Attempts > 0);
  return !mayBeReplaced || alloc.NextAllocation !== "";
}
