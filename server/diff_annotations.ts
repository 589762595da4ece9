// Notes on a plan's diff: how many allocations of a group will be created, destroyed or updated, and which of the
// changes forces it.
import type { JobDiff, TaskDiff, TaskGroupDiff } from "../core/job_diff.ts";
import type { DesiredUpdates, PlanAnnotations } from "../core/types.ts";
import { isChange } from "./diff_parts.ts";

const CREATE = "forces create";
const DESTROY = "forces destroy";
const IN_PLACE = "forces in-place update";
const REPLACE = "forces create/destroy update";

/** What can happen to an allocation, in the words of the API. */
const UPDATES: readonly [keyof DesiredUpdates, string][] = [
  ["Ignore", "ignore"],
  ["Place", "create"],
  ["Migrate", "migrate"],
  ["Stop", "destroy"],
  ["InPlaceUpdate", "in-place update"],
  ["DestructiveUpdate", "create/destroy update"],
  ["Canary", "canary"],
  ["Preemptions", "preemptions"],
];

/** The same diff with notes; `annotations` of the dry run, null without one. */
export function annotateDiff(diff: JobDiff, annotations: PlanAnnotations | null): JobDiff {
  const groups = diff.TaskGroups?.map((group) => annotateGroup(group, annotations));
  return { ...diff, TaskGroups: groups ?? null };
}

function annotateGroup(group: TaskGroupDiff, annotations: PlanAnnotations | null): TaskGroupDiff {
  const desired = annotations?.DesiredTGUpdates[group.Name];
  return {
    ...group,
    Updates: desired ? updatesOf(desired) : null,
    Fields: group.Fields?.map((field) => {
      const note = field.Name === "Count" ? countNote(field) : null;
      return note ? { ...field, Annotations: [note] } : field;
    }) ?? null,
    Tasks: group.Tasks?.map((task) => {
      const note = taskNote(task, group);
      return note ? { ...task, Annotations: [note] } : task;
    }) ?? null,
  };
}

function updatesOf(desired: DesiredUpdates): Record<string, number> {
  const updates: Record<string, number> = {};
  for (const [field, name] of UPDATES) if (desired[field] > 0) updates[name] = desired[field];
  return updates;
}

function countNote(field: { Old: string; New: string }): string | null {
  const [before, after] = [Number(field.Old), Number(field.New)];
  if (before === after) return null;
  return after > before ? CREATE : DESTROY;
}

function taskNote(task: TaskDiff, group: TaskGroupDiff): string | null {
  if (!isChange(task)) return null;
  if (group.Type === "Added") return CREATE;
  if (group.Type === "Deleted") return DESTROY;
  return replaces(task) ? REPLACE : IN_PLACE;
}

/** What a running task learns of without being replaced. */
const IN_PLACE_OBJECTS: ReadonlySet<string> = new Set(["LogConfig", "Service", "Constraint", "Affinity"]);

function replaces(task: TaskDiff): boolean {
  if (task.Type !== "Edited") return true;
  if ((task.Fields ?? []).some((field) => isChange(field) && field.Name !== "KillTimeout")) return true;
  return (task.Objects ?? []).some((object) => isChange(object) && !IN_PLACE_OBJECTS.has(object.Name));
}
