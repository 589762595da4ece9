// Making evaluations: the requests to the scheduler that every write which may change placements carries along.
// Pure: ids and times come in. Status, blocking and completion are the scheduler's and the broker's business.
import type { Random } from "../core/env.ts";
import type { Evaluation, Job, Node } from "../core/types.ts";
import { isClientTerminal } from "./alloc_sets.ts";
import type { StateReader } from "./state_reader.ts";

/** Fields an evaluation cannot do without; the rest starts empty. */
export type NewEvaluation =
  & Pick<Evaluation, "ID" | "Namespace" | "Priority" | "Type" | "TriggeredBy" | "JobID" | "CreateTime">
  & Partial<Evaluation>;

/** All fields in their order, so that every evaluation has one shape. */
const BLANK: Evaluation = {
  ID: "",
  Namespace: "",
  Priority: 0,
  Type: "service",
  TriggeredBy: "",
  JobID: "",
  JobModifyIndex: 0,
  NodeID: "",
  NodeModifyIndex: 0,
  DeploymentID: "",
  Status: "pending",
  StatusDescription: "",
  Wait: 0,
  WaitUntil: null,
  NextEval: "",
  PreviousEval: "",
  BlockedEval: "",
  FailedTGAllocs: null,
  ClassEligibility: null,
  QuotaLimitReached: "",
  EscapedComputedClass: false,
  AnnotatePlan: false,
  QueuedAllocations: null,
  PlanAnnotations: null,
  SnapshotIndex: 0,
  LeaderACL: "",
  CreateIndex: 0,
  ModifyIndex: 0,
  CreateTime: 0,
  ModifyTime: 0,
};

/** A pending evaluation with everything else unset. */
export function newEvaluation(fields: NewEvaluation): Evaluation {
  return { ...BLANK, ModifyTime: fields.CreateTime, ...fields };
}

/** Source of ids and time for what a proposer stamps. */
export interface Stamp {
  random: Random;
  /** Nanoseconds since 1970. */
  nowNs: number;
}

/** One evaluation of a job. */
export function jobEvaluation(
  job: Job,
  trigger: string,
  stamp: Stamp,
  more: Partial<Evaluation> = {},
): Evaluation {
  return newEvaluation({
    ID: stamp.random.uuid(),
    Namespace: job.Namespace,
    Priority: job.Priority,
    Type: job.Type,
    TriggeredBy: trigger,
    JobID: job.ID,
    CreateTime: stamp.nowNs,
    ...more,
  });
}

/**
 * One evaluation for every job that a change of `node` may touch: those with live allocations on it, and all system
 * and sysbatch jobs whose datacenters and pool could include it.
 */
export function nodeEvaluations(
  state: StateReader,
  node: Pick<Node, "ID" | "ModifyIndex">,
  stamp: Stamp,
  trigger = "node-update",
): Evaluation[] {
  const jobs = new Map<string, Job>();
  for (const alloc of state.allocsByNode(node.ID)) {
    const job = isClientTerminal(alloc) ? undefined : state.job(alloc.Namespace, alloc.JobID) ?? alloc.Job;
    if (job) jobs.set(`${alloc.Namespace}/${alloc.JobID}`, job);
  }
  for (const job of state.systemJobs()) {
    if (!job.Stop) jobs.set(`${job.Namespace}/${job.ID}`, job);
  }
  return [...jobs.values()].map((job) =>
    jobEvaluation(job, trigger, stamp, { NodeID: node.ID, NodeModifyIndex: node.ModifyIndex })
  );
}
