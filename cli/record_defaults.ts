// The API leaves empty fields of some records out; `-json` and `-t` show them, as the reference's do, so that a script
// may read `.BlockedEval` of every evaluation. Lists of such records are shown newest first.

type Fields = Record<string, unknown>;

const EVALUATION: Fields = {
  AnnotatePlan: false,
  BlockedEval: "",
  ClassEligibility: null,
  DeploymentID: "",
  EscapedComputedClass: false,
  FailedTGAllocs: null,
  JobID: "",
  MissingNonNodeResources: null,
  NextEval: "",
  NodeID: "",
  NodeModifyIndex: 0,
  PlanAnnotations: null,
  PreviousEval: "",
  QueuedAllocations: null,
  QuotaLimitReached: "",
  RelatedEvals: null,
  SnapshotIndex: 0,
  StatusDescription: "",
  Wait: 0,
  WaitUntil: null,
};

const ALLOCATION: Fields = {
  ClientDescription: "",
  DeploymentID: "",
  DeploymentStatus: null,
  DesiredDescription: "",
  FollowupEvalID: "",
  NetworkStatus: null,
  NextAllocation: "",
  PreemptedAllocations: null,
  PreemptedByAllocation: "",
  PreviousAllocation: "",
  RescheduleTracker: null,
  TaskStates: null,
};

/** By Go type name, without its pointer. */
const DEFAULTS: Record<string, Fields> = { "api.Evaluation": EVALUATION, "api.Allocation": ALLOCATION };
const NEWEST_FIRST = new Set(["api.Evaluation", "api.AllocationListStub", "api.Deployment"]);

/** `value`, a record or a list of records of the Go type `typeName`, with what the API left out. */
export function completeRecords(value: unknown, typeName: string | undefined): unknown {
  const type = typeName?.replace(/^(\[\])?\*/, "") ?? "";
  const defaults = DEFAULTS[type];
  const complete = (record: unknown) =>
    defaults && record !== null && typeof record === "object" ? { ...defaults, ...record } : record;
  if (!Array.isArray(value)) return complete(value);
  const records = value.map(complete);
  if (!NEWEST_FIRST.has(type)) return records;
  const index = (record: unknown) => Number((record as { CreateIndex?: number } | null)?.CreateIndex ?? 0);
  return records.toSorted((a, b) => index(b) - index(a));
}
