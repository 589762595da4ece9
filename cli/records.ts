// The shapes of API answers that commands print and that are not whole records of core/types.ts: list stubs and
// derived fields. Only what is read here stands here.
import type {
  Allocation,
  AllocMetric,
  Deployment,
  Evaluation,
  Job,
  JobSummary,
  TaskState,
} from "../core/types.ts";

export interface JobStub {
  ID: string;
  Name: string;
  Namespace: string;
  Type: string;
  Priority: number;
  Status: string;
  Stop: boolean;
  Periodic: boolean;
  ParameterizedJob: boolean;
  SubmitTime: number;
  JobSummary: JobSummary | null;
  ParentID: string;
}

export interface AllocStub {
  ID: string;
  EvalID: string;
  Name: string;
  Namespace: string;
  NodeID: string;
  NodeName: string;
  JobID: string;
  JobVersion: number;
  TaskGroup: string;
  DesiredStatus: string;
  DesiredDescription: string;
  ClientStatus: string;
  ClientDescription: string;
  TaskStates: Record<string, TaskState> | null;
  CreateIndex: number;
  ModifyIndex: number;
  CreateTime: number;
  ModifyTime: number;
  NextAllocation: string;
  FollowupEvalID: string;
}

/** A whole allocation as the API sends it. */
export type FullAllocation = Allocation & { JobVersion?: number };

export interface NodeStub {
  ID: string;
  Name: string;
  Address: string;
  Datacenter: string;
  NodeClass: string;
  NodePool: string;
  Version: string;
  Drain: boolean;
  SchedulingEligibility: string;
  Status: string;
  StatusDescription: string;
  Attributes?: Record<string, string>;
}

export interface EvalStub {
  ID: string;
  Priority: number;
  TriggeredBy: string;
  JobID: string;
  NodeID: string;
  Status: string;
  StatusDescription: string;
  CreateIndex: number;
  FailedTGAllocs?: Record<string, AllocMetric> | null;
}

export type FullEvaluation = Evaluation & { RelatedEvals?: EvalStub[] | null };

/** What registering, stopping, scaling … a job answers. */
export interface JobChangeAnswer {
  EvalID: string;
  EvalCreateIndex: number;
  JobModifyIndex: number;
  Warnings?: string;
}

export type { Deployment, Evaluation, Job, JobSummary };

/** Newest first, as every list of them is shown. */
export function newestFirst<T extends { CreateIndex: number }>(records: readonly T[]): T[] {
  return records.toSorted((a, b) => b.CreateIndex - a.CreateIndex);
}

/** By id, as jobs and most named things are shown. */
export function byText<T>(records: readonly T[], text: (record: T) => string): T[] {
  return records.toSorted((a, b) => text(a) < text(b) ? -1 : text(a) > text(b) ? 1 : 0);
}
