// What an allocation takes from its node, as one number a dimension: the arithmetic that state (usage columns), the
// scheduler (fit) and the plan applier (re-check) share, so that they can never disagree.
//
// Tasks of one group do not all run at once: short prestart tasks end before the main ones begin and poststop tasks
// start after them, so the demand of a group is the greatest of the three phases, plus prestart sidecars throughout.
import type { AllocatedResources, TaskGroup, TaskLifecycle } from "../core/types.ts";
import type { Demand } from "./node_table.ts";

const HOST_PORT_SPAN = 65536;
const ipKeys = new Map<string, number>([["", 0], ["0.0.0.0", 0]]);

/**
 * A host port as one number: the port itself on the node's default address ("" or 0.0.0.0), and offset by a number
 * of the address elsewhere, so that two host networks may use one port number side by side.
 */
export function portKey(hostIp: string, port: number): number {
  const base = ipKeys.get(hostIp) ?? hashAddress(hostIp);
  return base * HOST_PORT_SPAN + port;
}

/** A clash only makes two addresses share their ports. */
function hashAddress(ip: string): number {
  const key = fnv(ip);
  ipKeys.set(ip, key);
  return key;
}

/** FNV-1a, folded to 30 bits; never 0. */
function fnv(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return ((hash >>> 0) % 0x3fffffff) + 1;
}

/** A whole core as a key among those of ports: like a port, it has one user. */
export function coreKey(core: number): number {
  return -1 - core;
}

const CORES_SPAN = 65536;

/** An instance of a device (`vendor/type/name/id`), as a key among those of ports. */
export function instanceKey(name: string): number {
  return -CORES_SPAN - fnv(name);
}

const demands = new WeakMap<AllocatedResources, Demand>();

/** The demand of an allocation's resources; computed once per object, and allocations share those objects. */
export function demandOf(resources: AllocatedResources): Demand {
  const known = demands.get(resources);
  if (known) return known;
  const demand = computeDemand(resources);
  demands.set(resources, demand);
  return demand;
}

function computeDemand(resources: AllocatedResources): Demand {
  const phases = new Phases();
  for (const name in resources.Tasks) {
    const task = resources.Tasks[name]!;
    phases.add(resources.TaskLifecycles[name] ?? null, task.Cpu.CpuShares, task.Memory.MemoryMB);
  }
  return {
    cpuMhz: phases.cpu,
    memoryMb: phases.memory,
    diskMb: resources.Shared.DiskMB,
    ports: portsOf(resources),
  };
}

/** Everything that only one may have: host ports, whole cores, instances of devices. */
function portsOf(resources: AllocatedResources): readonly number[] {
  const keys: number[] = [];
  for (const port of resources.Shared.Ports ?? []) {
    if (!port.IgnoreCollision) keys.push(portKey(port.HostIP, port.Value));
  }
  for (const name in resources.Tasks) {
    const { Cpu, Devices, Networks } = resources.Tasks[name]!;
    for (const network of Networks ?? []) {
      for (const port of network.ReservedPorts ?? []) keys.push(portKey(network.IP, port.Value));
      for (const port of network.DynamicPorts ?? []) keys.push(portKey(network.IP, port.Value));
    }
    for (const core of Cpu.ReservedCores ?? []) keys.push(coreKey(core));
    for (const { Vendor, Type, Name, DeviceIDs } of Devices ?? []) {
      for (const id of DeviceIDs) keys.push(instanceKey(`${Vendor}/${Type}/${Name}/${id}`));
    }
  }
  return keys;
}

/** CPU (MHz), memory and disk (MB) that one allocation of the group asks for. */
export function groupDemand(group: TaskGroup): { cpuMhz: number; memoryMb: number; diskMb: number } {
  const phases = new Phases();
  for (const task of group.Tasks) phases.add(task.Lifecycle, task.Resources.CPU, task.Resources.MemoryMB);
  return { cpuMhz: phases.cpu, memoryMb: phases.memory, diskMb: group.EphemeralDisk.SizeMB };
}

/** Sums the phases of an allocation's life. */
class Phases {
  #sums = { prestart: [0, 0], sidecar: [0, 0], main: [0, 0], poststop: [0, 0] } satisfies Record<
    string,
    [number, number] | number[]
  >;

  add(lifecycle: TaskLifecycle | null, cpu: number, memory: number): void {
    const sum = this.#sums[phaseOf(lifecycle)];
    sum[0]! += cpu;
    sum[1]! += memory;
  }

  get cpu(): number {
    return this.#greatest(0);
  }

  get memory(): number {
    return this.#greatest(1);
  }

  #greatest(i: number): number {
    const { prestart, sidecar, main, poststop } = this.#sums;
    return sidecar[i]! + Math.max(prestart[i]!, main[i]!, poststop[i]!);
  }
}

function phaseOf(lifecycle: TaskLifecycle | null): "prestart" | "sidecar" | "main" | "poststop" {
  if (lifecycle?.Hook === "prestart") return lifecycle.Sidecar ? "sidecar" : "prestart";
  return lifecycle?.Hook === "poststop" ? "poststop" : "main";
}
