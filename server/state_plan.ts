// Applying a plan: new allocations, stops, in-place updates, preemptions, the deployment and the evaluations, as one
// entry. This is the hottest apply: a plan may hold a thousand placements, and a record built here lives in memory a
// million times. Ids that many records repeat are taken from the records they name, not from the entry's own copies.
//
// Invariant: a placement whose job or version is gone (purged while the plan travelled) is left out.
import { assert } from "../core/assert.ts";
import { formatTime } from "../core/time.ts";
import {
  type AllocatedResources,
  type Allocation,
  type AllocDeploymentStatus,
  type AllocMetric,
  type Job,
  NO_TRANSITION,
  ZERO_TIME,
} from "../core/types.ts";
import type { Command, Placement, PlannedStop, PlanResult } from "./commands.ts";
import type { ApplyResult } from "./log.ts";
import { countPlaced, upsertEvals } from "./state_allocs.ts";
import { setDeploymentStatus } from "./state_deployments.ts";
import { jobKey } from "./state_keys.ts";
import { ResourceSharer } from "./state_resources.ts";
import type { Write } from "./state_write.ts";

type Of<K extends Command["kind"]> = Extract<Command, { kind: K }>;

/** Shared by every canary nobody has judged yet. */
const CANARY: AllocDeploymentStatus = Object.freeze({
  Healthy: null,
  Timestamp: ZERO_TIME,
  Canary: true,
  ModifyIndex: 0,
});

export function applyPlan(w: Write, c: Of<"plan">): ApplyResult {
  const { plan } = c;
  if (plan.deployment) w.putDeployment(plan.deployment);
  for (const update of plan.deploymentUpdates) {
    setDeploymentStatus(w, update.id, update.status, update.description);
  }
  for (const stop of plan.stops) stopAlloc(w, stop);
  for (const preemption of plan.preemptions) preempt(w, preemption);
  const jobs = plan.jobs.map(({ version }) => findVersion(w, plan, version));
  for (const update of plan.inPlace) updateInPlace(w, plan, jobs, update);
  for (const update of plan.updates ?? []) updateServerFields(w, update);
  place(w, plan, jobs);
  upsertEvals(w, plan.evals);
  return {};
}

function findVersion(w: Write, plan: PlanResult, version: number): Job | undefined {
  const row = w.tables.jobs.get(jobKey(plan.namespace, plan.jobId));
  return row?.versions.find((job) => job.Version === version);
}

function place(w: Write, plan: PlanResult, jobs: readonly (Job | undefined)[]): void {
  const evalId = w.tables.evals.get(plan.evalId)?.ID ?? plan.evalId;
  const sharer = new ResourceSharer();
  const shared = plan.resources.length > 1 ? plan.resources.map((own) => sharer.share(own)) : plan.resources;
  for (const placement of plan.placements) {
    const job = jobs[placement.job];
    if (!job) continue;
    const resources = shared[placement.resources];
    assert(resources !== undefined, `placement ${placement.id} names resources that the plan does not have`);
    const alloc = newAlloc(w, {
      placement,
      job,
      evalId,
      resources,
      metrics: plan.metrics[placement.metrics],
    });
    w.insertAlloc(alloc);
    if (alloc.DeploymentID !== "") countPlaced(w, alloc, progressBy(w, alloc));
    if (placement.previous !== "") setNext(w, placement.previous, alloc.ID);
  }
}

interface NewAlloc {
  placement: Placement;
  job: Job;
  evalId: string;
  resources: AllocatedResources;
  metrics: AllocMetric | undefined;
}

function newAlloc(w: Write, { placement, job, evalId, resources, metrics }: NewAlloc): Allocation {
  const node = w.tables.nodes.get(placement.nodeId);
  const group = job.TaskGroups.find((group) => group.Name === placement.group);
  return {
    ID: placement.id,
    Namespace: job.Namespace,
    EvalID: evalId,
    Name: placement.name,
    NodeID: node ? node.ID : placement.nodeId,
    NodeName: node ? node.Name : "",
    JobID: job.ID,
    Job: job,
    TaskGroup: group ? group.Name : placement.group,
    AllocatedResources: resources,
    Metrics: metrics ?? null,
    DesiredStatus: "run",
    DesiredDescription: "",
    DesiredTransition: NO_TRANSITION,
    ClientStatus: "pending",
    ClientDescription: "",
    TaskStates: null,
    NetworkStatus: null,
    DeploymentID: placement.deploymentId === ""
      ? ""
      : w.deployment(placement.deploymentId)?.ID ?? placement.deploymentId,
    DeploymentStatus: placement.canary ? CANARY : null,
    PreviousAllocation: placement.previous,
    NextAllocation: "",
    RescheduleTracker: placement.rescheduleTracker ?? null,
    FollowupEvalID: "",
    PreemptedByAllocation: "",
    PreemptedAllocations: placement.preempted ?? null,
    AllocStates: null,
    SigningKeyID: "",
    CreateIndex: w.index,
    ModifyIndex: w.index,
    AllocModifyIndex: w.index,
    CreateTime: w.time,
    ModifyTime: w.time,
  };
}

function setNext(w: Write, previousId: string, nextId: string): void {
  const previous = w.tables.allocs.get(previousId);
  if (previous) w.replaceAlloc(previous, { ...previous, NextAllocation: nextId, ModifyIndex: w.index });
}

function stopAlloc(w: Write, stop: PlannedStop): void {
  const old = w.tables.allocs.get(stop.id);
  if (!old) return;
  const status = stop.clientStatus;
  w.replaceAlloc(old, {
    ...old,
    DesiredStatus: stop.status,
    DesiredDescription: stop.description,
    ClientStatus: status ?? old.ClientStatus,
    AllocStates: status === "unknown" ? withState(w, old, status) : old.AllocStates,
    FollowupEvalID: stop.followupEvalId ?? old.FollowupEvalID,
    ModifyIndex: w.index,
    AllocModifyIndex: w.index,
    ModifyTime: w.time,
  });
  if (status === "lost") w.removeServicesOf(old.ID);
}

function withState(w: Write, old: Allocation, status: Allocation["ClientStatus"]): Allocation["AllocStates"] {
  return [...old.AllocStates ?? [], { Field: 0, Value: status, Time: formatTime(w.time) }];
}

function preempt(w: Write, { id, by }: { id: string; by: string }): void {
  const old = w.tables.allocs.get(id);
  if (!old) return;
  w.replaceAlloc(old, {
    ...old,
    DesiredStatus: "evict",
    DesiredDescription: `Preempted by alloc ID ${by}`,
    PreemptedByAllocation: by,
    ModifyIndex: w.index,
    AllocModifyIndex: w.index,
    ModifyTime: w.time,
  });
}

function updateInPlace(
  w: Write,
  plan: PlanResult,
  jobs: readonly (Job | undefined)[],
  update: PlanResult["inPlace"][number],
): void {
  const old = w.tables.allocs.get(update.id);
  const job = jobs[update.job];
  if (!old || !job) return;
  const resources = plan.resources[update.resources];
  assert(resources !== undefined, `update of ${update.id} names resources that the plan does not have`);
  const moved = update.deploymentId !== old.DeploymentID;
  const metrics = update.metrics === undefined ? undefined : plan.metrics[update.metrics];
  const alloc: Allocation = {
    ...old,
    EvalID: w.tables.evals.get(plan.evalId)?.ID ?? plan.evalId,
    Job: job,
    AllocatedResources: resources,
    Metrics: metrics ?? old.Metrics,
    DeploymentID: update.deploymentId,
    DeploymentStatus: moved ? null : old.DeploymentStatus,
    ModifyIndex: w.index,
    AllocModifyIndex: w.index,
    ModifyTime: w.time,
  };
  w.replaceAlloc(old, alloc);
  if (moved && alloc.DeploymentID !== "") countPlaced(w, alloc, progressBy(w, alloc));
}

function updateServerFields(w: Write, update: NonNullable<PlanResult["updates"]>[number]): void {
  const old = w.tables.allocs.get(update.id);
  if (!old) return;
  const status = update.clientStatus;
  const changed = status !== undefined && status !== old.ClientStatus;
  w.replaceAlloc(old, {
    ...old,
    ClientStatus: status ?? old.ClientStatus,
    ClientDescription: update.description ?? old.ClientDescription,
    AllocStates: changed ? withState(w, old, status) : old.AllocStates,
    FollowupEvalID: update.followupEvalId ?? old.FollowupEvalID,
    RescheduleTracker: update.rescheduleTracker ?? old.RescheduleTracker,
    ModifyIndex: w.index,
    AllocModifyIndex: w.index,
    ModifyTime: w.time,
  });
  if (status === "lost") w.removeServicesOf(old.ID);
}

/** Until when the group's deployment must move on, counted from now. */
function progressBy(w: Write, alloc: Allocation): string {
  const state = w.deployment(alloc.DeploymentID)?.TaskGroups[alloc.TaskGroup];
  if (!state || (state.RequireProgressBy && state.RequireProgressBy !== ZERO_TIME)) return "";
  return formatTime(w.time + state.ProgressDeadline);
}
