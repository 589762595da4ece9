// What an allocation is given: built once per task group and shared by all its allocations where nothing in it differs
// from one to the next (no ports, cores or devices). Pure.
import type { AllocatedResources, AllocatedTaskResources, TaskGroup } from "../core/types.ts";
import type { PortGrant } from "./ports.ts";

/** By whether memory may be oversubscribed. */
const ofGroup = [
  new WeakMap<TaskGroup, AllocatedResources>(),
  new WeakMap<TaskGroup, AllocatedResources>(),
] as const;

/** Resources by what was asked for: groups that ask alike are given one object. */
const byAsk = new Map<string, AllocatedResources>();
const ASKS_MAX = 1024;

/** The group's resources without ports, cores and devices; `memory_max` counts only where the operator allows it. */
export function groupResources(group: TaskGroup, oversubscribed: boolean): AllocatedResources {
  const cache = ofGroup[oversubscribed ? 1 : 0];
  const known = cache.get(group);
  if (known) return known;
  const ask = JSON.stringify([
    oversubscribed,
    group.EphemeralDisk.SizeMB,
    group.Tasks.map(({ Name, Lifecycle, Resources: { CPU, MemoryMB, MemoryMaxMB } }) => [
      Name,
      Lifecycle,
      CPU,
      MemoryMB,
      MemoryMaxMB,
    ]),
  ]);
  let resources = byAsk.get(ask);
  if (!resources) {
    if (byAsk.size >= ASKS_MAX) byAsk.clear();
    byAsk.set(ask, resources = makeResources(group, oversubscribed));
  }
  cache.set(group, resources);
  return resources;
}

function makeResources(group: TaskGroup, oversubscribed: boolean): AllocatedResources {
  return {
    Tasks: Object.fromEntries(group.Tasks.map((task) => [task.Name, {
      Cpu: { CpuShares: task.Resources.CPU, ReservedCores: null },
      Memory: {
        MemoryMB: task.Resources.MemoryMB,
        MemoryMaxMB: oversubscribed ? task.Resources.MemoryMaxMB : 0,
      },
      Networks: null,
      Devices: null,
    }])),
    TaskLifecycles: Object.fromEntries(group.Tasks.map((task) => [task.Name, task.Lifecycle])),
    Shared: { DiskMB: group.EphemeralDisk.SizeMB, Networks: null, Ports: null },
  };
}

/** The same with what one allocation alone is given. */
export function withGrants(
  base: AllocatedResources,
  ports: PortGrant | null,
  instances: Map<string, Pick<AllocatedTaskResources, "Cpu" | "Devices">> | null,
): AllocatedResources {
  const perTask = instances !== null || (ports !== null && ports.taskNetworks.size > 0);
  return {
    Tasks: !perTask ? base.Tasks : Object.fromEntries(
      Object.entries(base.Tasks).map(([name, task]) => [name, {
        ...task,
        ...instances?.get(name),
        Networks: ports?.taskNetworks.get(name) ?? task.Networks,
      }]),
    ),
    TaskLifecycles: base.TaskLifecycles,
    Shared: ports ? { ...base.Shared, Networks: ports.networks, Ports: ports.ports } : base.Shared,
  };
}

/** The resources of an allocation that goes on under a new version in place: it keeps its ports, cores and devices. */
export function resourcesInPlace(
  group: TaskGroup,
  old: AllocatedResources,
  oversubscribed: boolean,
): AllocatedResources {
  const base = groupResources(group, oversubscribed);
  const keeps = old.Shared.Ports !== null || old.Shared.Networks !== null ||
    Object.values(old.Tasks).some((task) => task.Networks || task.Devices || task.Cpu.ReservedCores);
  if (!keeps) return base;
  return {
    Tasks: Object.fromEntries(
      Object.entries(base.Tasks).map(([name, task]) => [name, {
        ...task,
        Cpu: old.Tasks[name]?.Cpu.ReservedCores ? old.Tasks[name].Cpu : task.Cpu,
        Networks: old.Tasks[name]?.Networks ?? null,
        Devices: old.Tasks[name]?.Devices ?? null,
      }]),
    ),
    TaskLifecycles: base.TaskLifecycles,
    Shared: { ...base.Shared, Networks: old.Shared.Networks, Ports: old.Shared.Ports },
  };
}
