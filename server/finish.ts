// How an evaluation ends: complete, complete with a blocked successor that waits for room, blocked again, or pending
// because its plan was only a part. Shared by the generic and the system scheduler. Pure.
import type { Random } from "../core/env.ts";
import type { AllocMetric, DesiredUpdates, Evaluation, Job } from "../core/types.ts";
import { newEvaluation } from "./evaluations.ts";
import { changesNothing, type Plan, type PlanBuilder } from "./plan_builder.ts";

export const BLOCKED_PLACEMENTS = "created to place remaining allocations";

/** What the schedulers need to know besides the state. */
export interface Outcome {
  evaluation: Evaluation;
  job: Job | null;
  nowNs: number;
  random: Random;
  snapshotIndex: number;
  failed: Record<string, AllocMetric>;
  /** Allocations still to be placed by group. */
  queued: Record<string, number>;
  desired: Record<string, DesiredUpdates>;
  deploymentId: string;
  more: boolean;
  /** Classes that were looked at for the failed groups. */
  classes: Map<string, boolean>;
  escaped: boolean;
  /** Evaluations for later that the run asks for. */
  followups: Evaluation[];
  /** Whether more room would help; system jobs that constraints keep off their nodes do not wait. */
  blocks: boolean;
  /** The node without room that a system job waits for; "" for other jobs. */
  blockedNodeId: string;
}

export function finish(builder: PlanBuilder, outcome: Outcome): Plan {
  const { evaluation, more } = outcome;
  const hasFailures = Object.keys(outcome.failed).length > 0;
  const waits = hasFailures && outcome.blocks;
  const wasBlocked = evaluation.Status === "blocked";
  const created = [...outcome.followups, ...builder.evictions.values()];
  const done: Evaluation = {
    ...evaluation,
    Status: "complete",
    StatusDescription: "",
    FailedTGAllocs: hasFailures ? outcome.failed : null,
    QueuedAllocations: outcome.queued,
    PlanAnnotations: evaluation.PlanAnnotations ??
      { DesiredTGUpdates: outcome.desired, PreemptedAllocs: evictedStubs(builder) },
    DeploymentID: outcome.deploymentId || evaluation.DeploymentID,
    NextEval: outcome.followups[0]?.ID ?? evaluation.NextEval,
    SnapshotIndex: outcome.snapshotIndex,
    ModifyTime: outcome.nowNs,
  };
  if (more) done.Status = wasBlocked ? "blocked" : "pending";
  else if (waits && wasBlocked) Object.assign(done, blockAgain(evaluation, outcome));
  else if (waits) {
    const blocked = blockedEvaluation(outcome);
    // Nomad's system scheduler does not tell its successor's name.
    if (outcome.blockedNodeId === "") done.BlockedEval = blocked.ID;
    created.push(blocked);
  }
  builder.result.evals = [done, ...created];
  return {
    result: builder.result,
    holds: builder.holds,
    more,
    allAtOnce: outcome.job?.AllAtOnce ?? false,
    evaluation: done,
    created,
    failed: outcome.failed,
  };
}

/** What a plan's annotations tell of the allocations that make room; null when none does. */
function evictedStubs(builder: PlanBuilder): unknown[] | null {
  if (builder.evicted.length === 0) return null;
  return builder.evicted.map((alloc) => ({
    ID: alloc.ID,
    Namespace: alloc.Namespace,
    Name: alloc.Name,
    NodeID: alloc.NodeID,
    JobID: alloc.JobID,
    JobType: alloc.Job.Type,
    JobVersion: alloc.Job.Version,
    TaskGroup: alloc.TaskGroup,
  }));
}

/** A blocked evaluation that did not get everything goes on waiting, with what it learned. */
function blockAgain(evaluation: Evaluation, outcome: Outcome): Partial<Evaluation> {
  return {
    Status: "blocked",
    StatusDescription: evaluation.StatusDescription,
    ClassEligibility: classVerdicts(outcome),
    EscapedComputedClass: outcome.escaped,
    PlanAnnotations: null,
    QueuedAllocations: null,
    DeploymentID: evaluation.DeploymentID,
  };
}

function classVerdicts(outcome: Outcome): Record<string, boolean> | null {
  return outcome.classes.size > 0 ? Object.fromEntries(outcome.classes) : null;
}

function blockedEvaluation(outcome: Outcome): Evaluation {
  const { evaluation, job, nowNs, random } = outcome;
  return newEvaluation({
    ID: random.uuid(),
    Namespace: evaluation.Namespace,
    Priority: evaluation.Priority,
    Type: evaluation.Type,
    TriggeredBy: "queued-allocs",
    JobID: evaluation.JobID,
    JobModifyIndex: job?.JobModifyIndex ?? evaluation.JobModifyIndex,
    Status: "blocked",
    StatusDescription: BLOCKED_PLACEMENTS,
    PreviousEval: evaluation.ID,
    FailedTGAllocs: outcome.failed,
    NodeID: outcome.blockedNodeId,
    ClassEligibility: classVerdicts(outcome),
    EscapedComputedClass: outcome.escaped,
    SnapshotIndex: outcome.snapshotIndex,
    CreateTime: nowNs,
  });
}

/** Whether a blocked evaluation that ran again has nothing to write: it only goes on waiting. */
export function onlyBlocksAgain(plan: Plan): boolean {
  return plan.evaluation.Status === "blocked" && !plan.more && plan.created.length === 0 &&
    changesNothing(plan.result);
}
