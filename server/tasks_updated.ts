// Whether a group's new version can take over running allocations in place, or whether they must be replaced: the
// decision behind "forces create/destroy update". Pure.
//
// In place: count, constraints, affinities, spreads, restart, reschedule, update and migrate blocks, services without
// mesh, shutdown delays, kill settings, lifecycle, priority. Everything that the tasks were started with destroys. Found
// by asking Nomad 2.0.5 for plans (tests/scheduler/tasks_updated.test.ts has the table).
import type { Job, NetworkResource, Service, Task, TaskGroup } from "../core/types.ts";
import { deepEqual } from "./job_compare.ts";

const verdicts = new WeakMap<TaskGroup, WeakMap<TaskGroup, { a: Job; b: Job; updated: boolean }>>();

/** True when allocations of `before`'s group must be replaced by ones of `after`'s. */
export function tasksUpdated(before: Job, after: Job, groupName: string): boolean {
  const a = before.TaskGroups.find((group) => group.Name === groupName);
  const b = after.TaskGroups.find((group) => group.Name === groupName);
  if (!a || !b) return true;
  if (a === b && before === after) return false;
  let byAfter = verdicts.get(a);
  if (!byAfter) verdicts.set(a, byAfter = new WeakMap());
  const known = byAfter.get(b);
  if (known && known.a === before && known.b === after) return known.updated;
  const updated = groupUpdated({ before, after }, a, b);
  byAfter.set(b, { a: before, b: after, updated });
  return updated;
}

interface Jobs {
  before: Job;
  after: Job;
}

function groupUpdated({ before, after }: Jobs, a: TaskGroup, b: TaskGroup): boolean {
  if (a.Tasks.length !== b.Tasks.length) return true;
  if (!deepEqual(a.EphemeralDisk, b.EphemeralDisk)) return true;
  if (before.ConsulNamespace !== after.ConsulNamespace || !same(a.Consul, b.Consul)) return true;
  if (networksUpdated(a.Networks, b.Networks)) return true;
  if (!same(meshOf(a.Services), meshOf(b.Services))) return true;
  if (!same(a.Volumes, b.Volumes)) return true;
  if (a.RestartPolicy.RenderTemplates !== b.RestartPolicy.RenderTemplates) return true;
  return a.Tasks.some((task) => {
    const other = b.Tasks.find((candidate) => candidate.Name === task.Name);
    return !other || taskUpdated(task, other) ||
      !deepEqual(combinedMeta(before, a, task), combinedMeta(after, b, other));
  });
}

/** Fields of a task that a running process cannot take over. */
const STARTED_WITH = [
  "Driver",
  "User",
  "Config",
  "Env",
  "Artifacts",
  "Vault",
  "Consul",
  "Templates",
  "CSIPluginConfig",
  "VolumeMounts",
  "Identity",
  "Identities",
  "Schedule",
  "Secrets",
] as const satisfies readonly (keyof Task)[];

function taskUpdated(a: Task, b: Task): boolean {
  if (STARTED_WITH.some((field) => !same(a[field], b[field]))) return true;
  if (a.LogConfig.Disabled !== b.LogConfig.Disabled) return true;
  if (!same(meshOf(a.Services), meshOf(b.Services))) return true;
  if ((a.RestartPolicy?.RenderTemplates ?? false) !== (b.RestartPolicy?.RenderTemplates ?? false)) {
    return true;
  }
  if (networksUpdated(a.Resources.Networks, b.Resources.Networks)) return true;
  const resources = ["CPU", "Cores", "MemoryMB", "MemoryMaxMB", "SecretsMB", "Devices", "NUMA"] as const;
  return resources.some((field) => !same(a.Resources[field], b.Resources[field]));
}

/** Null, missing and empty are the same thing to a running task. */
function same(a: unknown, b: unknown): boolean {
  return (isEmpty(a) && isEmpty(b)) || deepEqual(a, b);
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

function networksUpdated(a: NetworkResource[] | null, b: NetworkResource[] | null): boolean {
  return !same(a, b);
}

function combinedMeta(job: Job, group: TaskGroup, task: Task): Record<string, string> {
  return { ...job.Meta, ...group.Meta, ...task.Meta };
}

/** Service mesh settings start sidecars with the allocation; plain services are registered anew at any time. */
function meshOf(services: Service[] | null): unknown[] {
  return (services ?? []).filter((service) => service.Connect !== null && service.Connect !== undefined)
    .map((service) => [service.Name, service.PortLabel, service.Connect]);
}
