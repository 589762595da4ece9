// What the allocation and evaluation commands mean: devices' reports, wishes (stop, reschedule), garbage collection.
//
// Invariant: a device's report changes ClientStatus, its texts, task states, network and health, nothing else; a
// report on an allocation that is gone changes nothing.
import { formatTime } from "../core/time.ts";
import type { AllocUpdate } from "../core/protocol.ts";
import type { Allocation, Deployment, Evaluation } from "../core/types.ts";
import { ZERO_TIME } from "../core/types.ts";
import type { Command } from "./commands.ts";
import type { ApplyResult } from "./log.ts";
import { jobKey } from "./state_keys.ts";
import { compactTaskStates, shareText } from "./state_texts.ts";
import { isClientTerminal, type Write } from "./state_write.ts";

type Of<K extends Command["kind"]> = Extract<Command, { kind: K }>;

export function upsertEvals(w: Write, evals: readonly Evaluation[]): void {
  for (const evaluation of evals) {
    const record = w.putEval(evaluation);
    if (record.Status === "complete" && !hasFailures(record)) cancelBlocked(w, record);
  }
}

function hasFailures(evaluation: Evaluation): boolean {
  for (const _ in evaluation.FailedTGAllocs ?? {}) return true;
  return false;
}

/** Everything was placed: nothing that waited for room has to wait any longer. */
function cancelBlocked(w: Write, done: Evaluation): void {
  const blocked = w.tables.work.get(jobKey(done.Namespace, done.JobID))?.blocked;
  if (!blocked || blocked.size === 0) return;
  for (const id of [...blocked]) {
    w.putEval({
      ...w.tables.evals.get(id)!,
      Status: "canceled",
      StatusDescription: `evaluation "${done.ID}" successful`,
    });
  }
}

export function deleteEvals(w: Write, c: Of<"eval.delete">): ApplyResult {
  for (const id of c.allocs) w.removeAlloc(id);
  for (const id of c.evals) w.removeEval(id);
  return {};
}

export function updateFromClient(w: Write, c: Of<"alloc.client">): ApplyResult {
  const now = formatTime(c.time);
  for (const update of c.updates) {
    const old = w.tables.allocs.get(update.ID);
    if (old) reportAlloc(w, old, update, now);
  }
  upsertEvals(w, c.evals);
  return {};
}

function reportAlloc(w: Write, old: Allocation, update: AllocUpdate, now: string): void {
  const health = update.DeploymentStatus;
  const decided = health !== null && health.Healthy !== old.DeploymentStatus?.Healthy;
  const alloc: Allocation = {
    ...old,
    ClientStatus: update.ClientStatus,
    ClientDescription: shareText(update.ClientDescription),
    TaskStates: compactTaskStates(update.TaskStates ?? old.TaskStates),
    NetworkStatus: update.NetworkStatus ?? old.NetworkStatus,
    DeploymentStatus: decided
      ? {
        Healthy: health.Healthy,
        Timestamp: health.Timestamp,
        Canary: old.DeploymentStatus?.Canary ?? false,
        ModifyIndex: w.index,
      }
      : old.DeploymentStatus,
    AllocStates: old.ClientStatus === "unknown" && update.ClientStatus !== "unknown"
      ? [...old.AllocStates ?? [], { Field: 0, Value: update.ClientStatus, Time: now }]
      : old.AllocStates,
    ModifyIndex: w.index,
    ModifyTime: w.time,
  };
  w.replaceAlloc(old, alloc, true);
  w.reported(alloc.NodeID);
  if (decided) countHealth(w, old, alloc);
  if (isClientTerminal(alloc)) w.removeServicesOf(alloc.ID);
}

/** Moves the deployment's counters by what became known of an allocation's health. */
export function countHealth(w: Write, old: Allocation, alloc: Allocation): void {
  const before = old.DeploymentStatus?.Healthy ?? null;
  const after = alloc.DeploymentStatus?.Healthy ?? null;
  if (before === after || alloc.DeploymentID === "") return;
  const state = w.deployment(alloc.DeploymentID)?.TaskGroups[alloc.TaskGroup];
  if (!state) return;
  if (before === true) state.HealthyAllocs--;
  if (before === false) state.UnhealthyAllocs--;
  if (after === true) {
    state.HealthyAllocs++;
    // By the servers' clock: a device's own may be anything.
    if (state.ProgressDeadline > 0) state.RequireProgressBy = formatTime(w.time + state.ProgressDeadline);
  }
  if (after === false) state.UnhealthyAllocs++;
}

/** An allocation has come under a deployment. */
export function countPlaced(w: Write, alloc: Allocation, now: string): void {
  const deployment: Deployment | undefined = w.deployment(alloc.DeploymentID);
  const state = deployment?.TaskGroups[alloc.TaskGroup];
  if (!state) return;
  state.PlacedAllocs++;
  if (alloc.DeploymentStatus?.Canary) {
    state.PlacedCanaries = [...(state.PlacedCanaries ?? []).filter((id) => id !== alloc.ID), alloc.ID];
  }
  if (state.ProgressDeadline > 0 && (state.RequireProgressBy === ZERO_TIME || !state.RequireProgressBy)) {
    state.RequireProgressBy = now;
  }
}

export function setTransitions(w: Write, c: Of<"alloc.transition">): ApplyResult {
  for (const id in c.transitions) {
    const old = w.tables.allocs.get(id);
    if (!old) continue;
    w.replaceAlloc(old, {
      ...old,
      DesiredTransition: { ...old.DesiredTransition, ...c.transitions[id]! },
      ModifyIndex: w.index,
      AllocModifyIndex: w.index,
    });
  }
  upsertEvals(w, c.evals);
  return {};
}
