// What the deployment commands mean: status, promotion of canaries, health set by hand, garbage collection.
//
// Invariant: a deployment that ended (failed, successful, cancelled) never moves again; the version that a successful
// one rolled out is stable.
import { formatTime } from "../core/time.ts";
import type { Deployment, DeploymentState, DeploymentStatusName, Job } from "../core/types.ts";
import type { Command } from "./commands.ts";
import type { ApplyResult } from "./log.ts";
import { formatMultiError } from "./multi_error.ts";
import { countHealth, upsertEvals } from "./state_allocs.ts";
import { putJobEvals, refuse, setVersionStable, upsertJob } from "./state_jobs.ts";
import { isActive } from "./state_status.ts";
import type { Write } from "./state_write.ts";

type Of<K extends Command["kind"]> = Extract<Command, { kind: K }>;

/** Moves a deployment that has not ended; what ended is left alone. */
export function setDeploymentStatus(
  w: Write,
  id: string,
  status: DeploymentStatusName,
  description: string,
): void {
  const known = w.deployment(id);
  if (!known || !isActive(known)) return;
  known.Status = status;
  known.StatusDescription = description;
  if (status === "successful") setVersionStable(w, known.Namespace, known.JobID, known.JobVersion, true);
}

export function updateDeployment(w: Write, c: Of<"deployment.status">): ApplyResult {
  const refusal = refuseEnded(w, c.id, VERB[c.status] ?? "update");
  if (refusal) return refusal;
  setDeploymentStatus(w, c.id, c.status, c.description);
  writeRevert(w, c.job);
  putEvals(w, c);
  return {};
}

/** What one cannot do to a deployment that ended, by the status it would have got. */
const VERB: Partial<Record<DeploymentStatusName, string>> = {
  failed: "fail",
  paused: "pause",
  running: "resume",
  cancelled: "cancel",
};

function refuseEnded(w: Write, id: string, verb: string): ApplyResult | null {
  const known = w.tables.deployments.get(id);
  if (!known) return refuse(500, "deployment not found");
  return isActive(known) ? null : refuse(500, `can't ${verb} terminal deployment`);
}

/** What is gone back to was stable, and so is the version that repeats it. */
function writeRevert(w: Write, job: Job | undefined): void {
  if (!job) return;
  const { job: written } = upsertJob(w, job, null);
  setVersionStable(w, written.Namespace, written.ID, written.Version, true);
}

function putEvals(w: Write, c: { job?: Job; evals: Of<"deployment.status">["evals"] }): void {
  if (c.job) putJobEvals(w, { ...c.job, JobModifyIndex: w.index }, c.evals);
  else upsertEvals(w, c.evals);
}

export function promoteDeployment(w: Write, c: Of<"deployment.promote">): ApplyResult {
  const refusal = refuseEnded(w, c.id, "promote") ?? refuseUnready(w, c);
  if (refusal) return refusal;
  const deployment = w.deployment(c.id)!;
  for (const name in deployment.TaskGroups) {
    const state = deployment.TaskGroups[name]!;
    if (!isChosen(c.groups, name) || state.DesiredCanaries === 0) continue;
    state.Promoted = true;
    for (const id of state.PlacedCanaries ?? []) unmarkCanary(w, id);
  }
  deployment.StatusDescription = waitsForPromotion(deployment)
    ? "Deployment is running but requires manual promotion"
    : "Deployment is running";
  upsertEvals(w, c.evals);
  return {};
}

function waitsForPromotion(deployment: Deployment): boolean {
  return Object.values(deployment.TaskGroups).some((s) => s.DesiredCanaries > 0 && !s.Promoted);
}

function isChosen(groups: readonly string[] | null, name: string): boolean {
  return groups === null || groups.includes(name);
}

/** Canaries must all be placed and healthy before they may take over. */
function refuseUnready(w: Write, c: Of<"deployment.promote">): ApplyResult | null {
  const deployment = w.tables.deployments.get(c.id)!;
  const unready: string[] = [];
  for (const name of Object.keys(deployment.TaskGroups).sort()) {
    const state = deployment.TaskGroups[name]!;
    if (!isChosen(c.groups, name) || state.DesiredCanaries === 0 || state.Promoted) continue;
    const healthy = healthyCanaries(w, state);
    if (healthy < state.DesiredCanaries) {
      unready.push(`Task group "${name}" has ${healthy}/${state.DesiredCanaries} healthy allocations`);
    }
  }
  return unready.length > 0 ? refuse(500, formatMultiError(unready)) : null;
}

function healthyCanaries(w: Write, state: DeploymentState): number {
  return (state.PlacedCanaries ?? []).filter((id) => {
    const alloc = w.tables.allocs.get(id);
    return alloc?.DesiredStatus === "run" && alloc.DeploymentStatus?.Healthy === true;
  }).length;
}

function unmarkCanary(w: Write, id: string): void {
  const alloc = w.tables.allocs.get(id);
  if (!alloc?.DeploymentStatus?.Canary) return;
  w.replaceAlloc(alloc, {
    ...alloc,
    DeploymentStatus: { ...alloc.DeploymentStatus, Canary: false, ModifyIndex: w.index },
    ModifyIndex: w.index,
    AllocModifyIndex: w.index,
  });
}

export function setHealth(w: Write, c: Of<"deployment.health">): ApplyResult {
  const refusal = refuseEnded(w, c.id, "set health of allocations for a") ?? refuseStrangers(w, c);
  if (refusal) return refusal;
  for (const id of c.healthy) judge(w, id, true);
  for (const id of c.unhealthy) judge(w, id, false);
  // Even when no counter moved the deployment was written.
  w.deployment(c.id);
  if (c.status) setDeploymentStatus(w, c.id, c.status.status, c.status.description);
  writeRevert(w, c.job);
  putEvals(w, c);
  return {};
}

function refuseStrangers(w: Write, c: Of<"deployment.health">): ApplyResult | null {
  const strangers: string[] = [];
  for (const id of [...c.healthy, ...c.unhealthy]) {
    const alloc = w.tables.allocs.get(id);
    if (!alloc) strangers.push(`unknown alloc "${id}"`);
    else if (alloc.DeploymentID !== c.id) {
      strangers.push(`alloc "${id}" is not part of deployment "${c.id}"`);
    }
  }
  return strangers.length > 0 ? refuse(500, formatMultiError(strangers)) : null;
}

function judge(w: Write, id: string, healthy: boolean): void {
  const old = w.tables.allocs.get(id)!;
  const alloc = {
    ...old,
    DeploymentStatus: {
      Healthy: healthy,
      Timestamp: formatTime(w.time),
      Canary: old.DeploymentStatus?.Canary ?? false,
      ModifyIndex: w.index,
    },
    ModifyIndex: w.index,
    AllocModifyIndex: w.index,
  };
  w.replaceAlloc(old, alloc);
  countHealth(w, old, alloc);
}

export function deleteDeployments(w: Write, c: Of<"deployment.delete">): ApplyResult {
  for (const id of c.ids) w.removeDeployment(id);
  return {};
}
